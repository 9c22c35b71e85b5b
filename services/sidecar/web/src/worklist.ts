// The worklist's state: what the server said last, and on top of it what was asked for and not answered yet.
//
// An action shows at once and is corrected by its answer. A list that was asked for before an answer came does not undo it:
// moments are the page's own, in milliseconds, and only compared with each other. How it looks is worklist-shown.ts.

import type { MissedCall } from "./api-contract.ts";

export type Action = "claim" | "release" | "waive";

/** Why an action did not do what was wanted. */
export type Refusal =
  | { kind: "claimed"; by: string | null; at: string | null }
  | { kind: "closed" }
  | { kind: "unknown" }
  | { kind: "forbidden" }
  | { kind: "unavailable" };

/** So long a reason stays where the list itself does not tell it, and so long what it does tell can be read as the reason. */
const TOLD_MS = 15_000;
const READ_MS = 6_000;
/** The call is on nobody's list any more. */
export const isGone = (refusal: Refusal | undefined): boolean => refusal?.kind === "closed" || refusal?.kind === "unknown";

export interface Worklist {
  rows: readonly MissedCall[];
  total: number;
  /** Asked for and not answered yet. */
  pending: ReadonlyMap<string, { action: Action; by: string; at: string }>;
  refusals: ReadonlyMap<string, { refusal: Refusal; at: number }>;
  /** When the server last answered an action on a call. */
  answeredAt: ReadonlyMap<string, number>;
}

export type Event =
  | { kind: "loaded"; rows: readonly MissedCall[]; total: number; askedAt: number }
  | { kind: "asked"; callId: string; action: Action; by: string; at: string }
  | { kind: "answered"; row: MissedCall; now: number }
  | { kind: "refused"; callId: string; refusal: Refusal; now: number };

export const emptyWorklist: Worklist = {
  rows: [],
  total: 0,
  pending: new Map(),
  refusals: new Map(),
  answeredAt: new Map(),
};

export function reduce(list: Worklist, event: Event): Worklist {
  switch (event.kind) {
    case "loaded":
      return loaded(list, event);
    case "asked": {
      const { callId, action, by, at } = event;
      if (list.pending.has(callId)) return list;
      return {
        ...list,
        pending: new Map(list.pending).set(callId, { action, by, at }),
        refusals: without(list.refusals, callId),
      };
    }
    case "answered": {
      const { row, now } = event;
      const settled = settle(list, row.callId, now);
      return row.status === "open" ? replace(settled, row) : remove(settled, row.callId);
    }
    case "refused":
      return refused(list, event.callId, event.refusal, event.now);
  }
}

/** Takes a list as the server's word on every call on which it has not said something newer. */
function loaded(list: Worklist, told: { rows: readonly MissedCall[]; total: number; askedAt: number }): Worklist {
  const isNewer = (callId: string): boolean => (list.answeredAt.get(callId) ?? -Infinity) > told.askedAt;
  const refusals = stillTold(list, told);
  const known = new Map(list.rows.map((row) => [row.callId, row]));
  let { total } = told;
  const rows: MissedCall[] = [];
  for (const row of told.rows) {
    const kept = isNewer(row.callId) ? known.get(row.callId) : row;
    const isLeaving = isGone(refusals.get(row.callId)?.refusal);
    if (kept === undefined || isLeaving) total -= 1;
    if (kept !== undefined && !isLeaving) rows.push(kept);
  }
  // Whoever pressed its button reads why it goes, where it was.
  list.rows.forEach((row, at) => {
    if (isGone(refusals.get(row.callId)?.refusal)) rows.splice(Math.min(at, rows.length), 0, row);
  });
  const answeredAt = new Map([...list.answeredAt].filter(([, at]) => at > told.askedAt));
  return { ...list, rows, total, answeredAt, refusals };
}

/** The refusals that a list asked for at a moment leaves to be told. A newer list that says otherwise of who has it is the truth. */
function stillTold(list: Worklist, told: { rows: readonly MissedCall[]; askedAt: number }): Worklist["refusals"] {
  const { rows, askedAt } = told;
  const isHeldBy = (callId: string, by: string | null): boolean =>
    rows.some((row) => row.callId === callId && row.claimedBy !== null && row.claimedBy === (by ?? row.claimedBy));
  return new Map(
    [...list.refusals].filter(([callId, { refusal, at }]) => {
      if (refusal.kind === "claimed" && at <= askedAt && !isHeldBy(callId, refusal.by)) return false;
      return askedAt - at < (refusal.kind === "claimed" || isGone(refusal) ? READ_MS : TOLD_MS);
    }),
  );
}

function refused(list: Worklist, callId: string, refusal: Refusal, now: number): Worklist {
  const settled = settle(list, callId, now);
  const row = settled.rows.find((row) => row.callId === callId);
  if (row === undefined) return settled;
  const told = { ...settled, refusals: new Map(settled.refusals).set(callId, { refusal, at: now }) };
  if (isGone(refusal)) return { ...told, total: told.total - 1 };
  if (refusal.kind !== "claimed") return told;
  return replace(told, {
    ...row,
    claimedBy: refusal.by ?? row.claimedBy,
    claimedAt: refusal.at ?? row.claimedAt,
  });
}

function settle(list: Worklist, callId: string, now: number): Worklist {
  return { ...list, pending: without(list.pending, callId), answeredAt: new Map(list.answeredAt).set(callId, now) };
}

function replace(list: Worklist, row: MissedCall): Worklist {
  return { ...list, rows: list.rows.map((known) => (known.callId === row.callId ? row : known)) };
}

function remove(list: Worklist, callId: string): Worklist {
  const rows = list.rows.filter((row) => row.callId !== callId);
  return {
    ...list,
    rows,
    total: list.total - (list.rows.length - rows.length),
    refusals: without(list.refusals, callId),
  };
}

function without<T>(map: ReadonlyMap<string, T>, key: string): ReadonlyMap<string, T> {
  const rest = new Map(map);
  rest.delete(key);
  return rest;
}

/** What an answer that is no success means for an action. */
export function refusalOf(error: { status: number; code: string; text(name: string): string | null } | null): Refusal {
  if (error === null) return { kind: "unavailable" };
  if (error.code === "missed_call_claimed") {
    return { kind: "claimed", by: error.text("claimedBy"), at: error.text("claimedAt") };
  }
  if (error.code === "missed_call_closed") return { kind: "closed" };
  if (error.status === 404) return { kind: "unknown" };
  return error.status === 403 ? { kind: "forbidden" } : { kind: "unavailable" };
}
