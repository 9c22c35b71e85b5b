import { useEffect, useReducer, useRef } from "preact/hooks";

import type { MissedCall, MissedCalls } from "../api-contract.ts";
import { ApiError } from "../api.ts";
import { useHelix } from "../context.ts";
import { iso } from "../day.ts";
import { fill, strings } from "../strings/index.ts";
import { type Action, emptyWorklist, reduce, refusalOf, type Worklist } from "../worklist.ts";
import { pageNow, type Polled, usePolled } from "./polled.ts";

const EVERY_MS = 5000;
/** The most that one answer holds; who has more open is told so. */
const LIMIT = 200;

export const MISSED_SORTS = ["priority", "due", "missedAt"] as const;
export type MissedSort = (typeof MISSED_SORTS)[number];

export interface WorklistHandle {
  list: Worklist;
  polled: Polled<MissedCalls>;
  act: (action: Action, row: MissedCall, reason?: string) => void;
}

/** The open missed calls: renewed every 5 s and whenever the board counts another number of them. */
export function useWorklist(sort: MissedSort, openOnBoard: number | null): WorklistHandle {
  const { api, workspace, announce } = useHelix();
  const [list, dispatch] = useReducer(reduce, emptyWorklist);
  const load = (signal: AbortSignal) =>
    api.get<MissedCalls>("/api/missed-calls", { status: "open", sort, limit: LIMIT }, signal);
  const polled = usePolled(`missed-calls ${sort}`, load, EVERY_MS, openOnBoard);
  const running = useRef(new Set<string>());
  useEffect(() => {
    const { data, askedAt } = polled;
    if (data !== null && askedAt !== null)
      dispatch({ kind: "loaded", rows: data.missedCalls, total: data.total, askedAt });
  }, [polled.data, polled.askedAt]);

  const act = (action: Action, row: MissedCall, reason?: string) => {
    const { callId } = row;
    if (workspace === null || running.current.has(callId)) return;
    running.current.add(callId);
    dispatch({ kind: "asked", callId, action, by: workspace.me.subject, at: iso(Date.now()) });
    const body = reason === undefined ? undefined : { reason };
    api
      .post<MissedCall>(`/api/missed-calls/${encodeURIComponent(callId)}/${action}`, body)
      .then(
        (answer) => {
          dispatch({ kind: "answered", row: answer, now: pageNow() });
          announce(fill(strings.done[action], { caller: row.caller ?? strings.unknownCaller }));
        },
        (error: unknown) => {
          const refusal = refusalOf(error instanceof ApiError ? error : null);
          dispatch({ kind: "refused", callId, refusal, now: pageNow() });
          announce(refusal.kind === "claimed" ? strings.claimedByNobody : strings.refused[refusal.kind]);
          polled.reload();
        },
      )
      .finally(() => running.current.delete(callId));
  };
  return { list, polled, act };
}
