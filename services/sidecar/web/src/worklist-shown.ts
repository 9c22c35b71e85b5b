// How the worklist is shown: its rows with what was asked for, the filters over them, and what is said of them.

import type { MissedCall, MissedSummary } from "./api-contract.ts";
import { strings } from "./strings/index.ts";
import { type Action, isGone, type Refusal, type Worklist } from "./worklist.ts";

/** A row as it is shown: with what was asked for as if it were done. */
export interface ShownRow {
  row: MissedCall;
  pending: Action | null;
  refusal: Refusal | null;
  /** It is closed, and only stays until that has been read. */
  isGone: boolean;
}

export function shown(list: Worklist): ShownRow[] {
  return list.rows.map((row) => {
    const pending = list.pending.get(row.callId);
    const refusal = list.refusals.get(row.callId)?.refusal ?? null;
    const told = { refusal, isGone: isGone(refusal ?? undefined) };
    if (pending === undefined) return { row, pending: null, ...told };
    const { action, by, at } = pending;
    if (action === "claim") return { row: { ...row, claimedBy: by, claimedAt: at }, pending: action, ...told };
    if (action === "release") return { row: { ...row, claimedBy: null, claimedAt: null }, pending: action, ...told };
    return { row, pending: action, ...told };
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

/** How many each filter would show, as text: of a list that is not here as a whole, as far as it is known. */
export function counted(
  list: Worklist,
  by: { queue: string | null; me: string; now: number },
  summary: MissedSummary | null,
): Record<MissedFilter, string> {
  const here = shown(list).filter((row) => !row.isGone);
  const isWhole = here.length >= list.total;
  const of = (filter: MissedFilter, known: number | undefined): string => {
    const count = chosen(here, { ...by, filter }).length;
    if (isWhole) return String(count);
    return known === undefined ? `${count}+` : String(Math.max(count, known));
  };
  return {
    all: of("all", summary?.open ?? list.total),
    free: of("free", summary === null ? undefined : summary.open - summary.claimed),
    mine: of("mine", undefined),
    overdue: of("overdue", summary?.overdue),
  };
}

/** What an empty list means. `emptied`: what the board counts says that none is open, and that some were missed. */
export type Emptiness = "behind" | "emptied" | "none";

/** The list is read from the records, which may be behind the board: nobody is praised while the board counts open calls. */
export function emptiness(openOnBoard: number | null, missedToday: number): Emptiness {
  if (openOnBoard !== null && openOnBoard > 0) return "behind";
  return missedToday > 0 ? "emptied" : "none";
}

/** A refusal as people read it, where the row it is of is not seen. */
export function refusalText(refusal: Refusal): string {
  if (refusal.kind !== "claimed") return strings.refused[refusal.kind];
  return refusal.by === null ? strings.claimedByNobody : `${strings.claimedByNobody}: ${refusal.by}`;
}
