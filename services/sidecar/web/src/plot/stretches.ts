// An agent's intervals, cut to what is shown of a day.

import type { Interval } from "../api-contract.ts";
import type { AgentState } from "../contract.ts";
import type { Span } from "../day.ts";

export interface Stretch extends Span {
  state: AgentState;
  reason: string | null;
  callId: string | null;
  presumed: boolean;
  /** It has not ended: `to` is the present. */
  open: boolean;
}

/** Intervals as stretches of the day; one that has not ended lasts until `now`, and nothing lasts beyond it. */
export function stretches(intervals: readonly Interval[], day: Span, now: number): Stretch[] {
  const end = Math.min(day.to, now);
  const found: Stretch[] = [];
  for (const { state, reason, startedAt, endedAt, callId, presumed } of intervals) {
    const from = Math.max(day.from, Date.parse(startedAt));
    const to = Math.min(end, endedAt === null ? Infinity : Date.parse(endedAt));
    const open = endedAt === null && now <= day.to;
    if (to > from) found.push({ state, reason, callId, presumed, open, from, to });
  }
  return found;
}
