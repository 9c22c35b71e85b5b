import { useEffect, useReducer, useRef, useState } from "preact/hooks";

import type { MissedCall, MissedCalls, MissedSummary } from "../api-contract.ts";
import { type Api, ApiError } from "../api.ts";
import { announce } from "../announcer.ts";
import { useHelix } from "../context.ts";
import { iso } from "../day.ts";
import { fill, strings } from "../strings/index.ts";
import { type Action, emptyWorklist, reduce, type Refusal, refusalOf, type Worklist } from "../worklist.ts";
import { refusalText } from "../worklist-shown.ts";
import { pageNow, type Polled, usePolled } from "./polled.ts";

const EVERY_MS = 5000;
/** The most that one answer holds. */
const A_PAGE = 200;

export const MISSED_SORTS = ["priority", "due", "missedAt"] as const;
export type MissedSort = (typeof MISSED_SORTS)[number];

export interface WorklistHandle {
  list: Worklist;
  polled: Polled<MissedCalls>;
  /** Reads one page more, from here on; null where all of it is here. */
  more: (() => void) | null;
  /** Why it was not done, or null where it was. */
  act: (action: Action, row: MissedCall, reason?: string) => Promise<Refusal | null>;
}

/** As many pages as are wanted, as one list. */
async function readPages(
  api: Api,
  query: { sort: MissedSort; queue: string | null },
  pages: number,
  signal: AbortSignal,
): Promise<MissedCalls> {
  const ask = (cursor: string | null) =>
    api.get<MissedCalls>("/api/missed-calls", { status: "open", ...query, limit: A_PAGE, cursor }, signal);
  const rows = new Map<string, MissedCall>();
  let last = await ask(null);
  for (let page = 1; ; page += 1) {
    // What moved down between two pages comes twice.
    for (const row of last.missedCalls) rows.set(row.callId, row);
    if (page >= pages || last.nextCursor === null) return { ...last, missedCalls: [...rows.values()] };
    last = await ask(last.nextCursor);
  }
}

function bodyOf(action: Action, row: MissedCall, reason?: string): unknown {
  if (action === "waive") return { reason };
  // The claim that is meant: another may have come meanwhile.
  return action === "release" && row.claimedAt !== null ? { claimedAt: row.claimedAt } : undefined;
}

/** The open missed calls: renewed every 5 s and whenever the board counts another number of them. */
export function useWorklist(sort: MissedSort, queue: string | null, openOnBoard: number | null): WorklistHandle {
  const { api, me } = useHelix();
  const [list, dispatch] = useReducer(reduce, emptyWorklist);
  const [pages, setPages] = useState(1);
  const load = (signal: AbortSignal) => readPages(api, { sort, queue }, pages, signal);
  const key = `missed-calls ${sort} ${queue ?? ""}`;
  const polled = usePolled(key, load, EVERY_MS, `${openOnBoard ?? ""} ${pages}`);
  const running = useRef(new Set<string>());
  useEffect(() => {
    const { data, askedAt } = polled;
    if (data !== null && askedAt !== null)
      dispatch({ kind: "loaded", rows: data.missedCalls, total: data.total, askedAt });
  }, [polled.data, polled.askedAt]);

  const act = async (action: Action, row: MissedCall, reason?: string): Promise<Refusal | null> => {
    const { callId } = row;
    if (me === null || running.current.has(callId)) return { kind: "unavailable" };
    running.current.add(callId);
    dispatch({ kind: "asked", callId, action, by: me, at: iso(Date.now()) });
    try {
      const path = `/api/missed-calls/${encodeURIComponent(callId)}/${action}`;
      const answer = await api.post<MissedCall>(path, bodyOf(action, row, reason));
      dispatch({ kind: "answered", row: answer, now: pageNow() });
      announce(fill(strings.done[action], { caller: row.caller ?? strings.unknownCaller }));
      return null;
    } catch (error) {
      const refusal = refusalOf(error instanceof ApiError ? error : null);
      dispatch({ kind: "refused", callId, refusal, now: pageNow() });
      announce(refusalText(refusal));
      polled.reload();
      return refusal;
    } finally {
      running.current.delete(callId);
    }
  };
  const isWhole = polled.data === null || polled.data.nextCursor === null;
  return { list, polled, act, more: isWhole ? null : () => setPages(pages + 1) };
}

/** How many are open, overdue and claimed: of all queues, of one, or of none where nobody asks. */
export function useMissedSummary(
  queue: string | null,
  openOnBoard: number | null,
  isWanted = true,
): MissedSummary | null {
  const { api } = useHelix();
  const ask = (signal: AbortSignal) => api.get<MissedSummary>("/api/missed-calls/summary", { queue }, signal);
  const load = (signal: AbortSignal) => (isWanted ? ask(signal) : Promise.resolve(null));
  return usePolled(`missed-summary ${queue ?? ""}`, load, EVERY_MS, openOnBoard).data;
}
