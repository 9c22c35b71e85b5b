// The worklist's state: what the server said last, and on top of it what was asked for and not answered yet.
//
// An action shows at once and is corrected by its answer. A list that was asked for before an answer came does not undo it:
// moments are the page's own, in milliseconds, and only compared with each other.

import type { MissedCall } from "./api-contract.ts";

export type Action = "claim" | "release" | "waive";

/** Why an action did not do what was wanted. */
export type Refusal =
  | { kind: "claimed"; by: string | null; at: string | null }
  | { kind: "closed" }
  | { kind: "unknown" }
  | { kind: "forbidden" }
  | { kind: "unavailable" };

export interface Worklist {
  rows: readonly MissedCall[];
  total: number;
  /** Asked for and not answered yet. */
  pending: ReadonlyMap<string, { action: Action; by: string; at: string }>;
  refusals: ReadonlyMap<string, Refusal>;
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
  const known = new Map(list.rows.map((row) => [row.callId, row]));
  let { total } = told;
  const rows: MissedCall[] = [];
  for (const row of told.rows) {
    const kept = isNewer(row.callId) ? known.get(row.callId) : row;
    if (kept === undefined) total -= 1;
    else rows.push(kept);
  }
  const open = new Set(rows.map((row) => row.callId));
  const answeredAt = new Map([...list.answeredAt].filter(([, at]) => at > told.askedAt));
  // What a refusal said is on the row itself once the list has caught up with it.
  const refusals = new Map([...list.refusals].filter(([callId]) => open.has(callId) && isNewer(callId)));
  return { ...list, rows, total, answeredAt, refusals };
}

function refused(list: Worklist, callId: string, refusal: Refusal, now: number): Worklist {
  const settled = settle(list, callId, now);
  if (refusal.kind === "closed" || refusal.kind === "unknown") return remove(settled, callId);
  const refusals = new Map(settled.refusals).set(callId, refusal);
  const row = settled.rows.find((row) => row.callId === callId);
  if (refusal.kind !== "claimed" || row === undefined) return { ...settled, refusals };
  return replace(
    { ...settled, refusals },
    { ...row, claimedBy: refusal.by ?? row.claimedBy, claimedAt: refusal.at ?? row.claimedAt },
  );
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

/** A row as it is shown: with what was asked for as if it were done. */
export interface ShownRow {
  row: MissedCall;
  pending: Action | null;
  refusal: Refusal | null;
}

export function shown(list: Worklist): ShownRow[] {
  return list.rows.map((row) => {
    const pending = list.pending.get(row.callId);
    const refusal = list.refusals.get(row.callId) ?? null;
    if (pending === undefined) return { row, pending: null, refusal };
    const { action, by, at } = pending;
    if (action === "claim") return { row: { ...row, claimedBy: by, claimedAt: at }, pending: action, refusal };
    if (action === "release") return { row: { ...row, claimedBy: null, claimedAt: null }, pending: action, refusal };
    return { row, pending: action, refusal };
  });
}

export const MISSED_FILTERS = ["all", "free", "mine", "overdue"] as const;
export type MissedFilter = (typeof MISSED_FILTERS)[number];

export function isOverdue(row: MissedCall, now: number): boolean {
  return Date.parse(row.dueAt) < now;
}

export function chosen(
  rows: readonly ShownRow[],
  by: { filter: MissedFilter; queue: string | null; me: string; now: number },
): ShownRow[] {
  return rows.filter(({ row }) => {
    if (by.queue !== null && row.skill !== by.queue) return false;
    if (by.filter === "free") return row.claimedBy === null;
    if (by.filter === "mine") return row.claimedBy === by.me;
    return by.filter === "all" || isOverdue(row, by.now);
  });
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
