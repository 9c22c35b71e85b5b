// The day's counters: the board counts the day of its latest event, which in the early morning may be yesterday, and where
// an event was misdated may be tomorrow.

import type { Today } from "./contract.ts";
import { localDate } from "./day.ts";

export interface TodayShown {
  counters: Today;
  /** Nothing has happened on this day: whatever the board counts is of an earlier one. */
  isNew: boolean;
  /** Some event is dated later than today: what the board counts is of that day. */
  isAhead: boolean;
}

/** The counters of `day`; `occurredAt` is the latest moment any event speaks of. */
export function todayOf(counters: Today, occurredAt: string | null, day: string, zone: string): TodayShown {
  const counted = occurredAt === null ? day : localDate(Date.parse(occurredAt), zone);
  if (counted >= day) return { counters, isNew: false, isAhead: counted > day };
  const { thresholdSeconds } = counters.serviceLevel;
  const serviceLevel = { answeredWithin: 0, denominator: 0, thresholdSeconds };
  const none = { offered: 0, answered: 0, missed: 0, shortAbandoned: 0, inProgress: 0, serviceLevel };
  return { counters: none, isNew: true, isAhead: false };
}
