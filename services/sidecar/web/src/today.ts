// The day's counters: the board counts the day of its latest event, which in the early morning may be yesterday.

import type { Today } from "./contract.ts";
import { localDate } from "./day.ts";

export interface TodayShown {
  counters: Today;
  /** Nothing has happened on this day: whatever the board counts is of an earlier one. */
  isNew: boolean;
}

/** The counters of `day`; `occurredAt` is the latest moment any event speaks of. */
export function todayOf(counters: Today, occurredAt: string | null, day: string, zone: string): TodayShown {
  if (occurredAt === null || localDate(Date.parse(occurredAt), zone) >= day) return { counters, isNew: false };
  const { thresholdSeconds } = counters.serviceLevel;
  const serviceLevel = { answeredWithin: 0, denominator: 0, thresholdSeconds };
  const none = { offered: 0, answered: 0, missed: 0, shortAbandoned: 0, inProgress: 0, serviceLevel };
  return { counters: none, isNew: true };
}
