// What the plots show, made of the metrics' rows.

import type { MetricsRow } from "../api-contract.ts";

export interface LevelPoint {
  from: number;
  to: number;
  /** Of the interval. */
  within: number;
  of: number;
  /** Of the day until the end of the interval. */
  withinSoFar: number;
  ofSoFar: number;
}

export interface CallsBar {
  from: number;
  to: number;
  answered: number;
  missed: number;
  shortAbandoned: number;
  inProgress: number;
  offered: number;
}

const inOrder = (rows: readonly MetricsRow[]): MetricsRow[] =>
  rows.filter((row) => row.by === null).sort((one, other) => one.from.localeCompare(other.from));

/** The service level of each interval that has calls, and that of the day so far; nothing of the time to come. */
export function levels(rows: readonly MetricsRow[]): LevelPoint[] {
  let withinSoFar = 0;
  let ofSoFar = 0;
  const points: LevelPoint[] = [];
  for (const row of inOrder(rows)) {
    const { answeredWithin, denominator } = row.serviceLevel;
    if (denominator === 0) continue;
    withinSoFar += answeredWithin;
    ofSoFar += denominator;
    const [from, to] = [Date.parse(row.from), Date.parse(row.to)];
    points.push({ from, to, within: answeredWithin, of: denominator, withinSoFar, ofSoFar });
  }
  return points;
}

export function bars(rows: readonly MetricsRow[]): CallsBar[] {
  return inOrder(rows)
    .filter((row) => row.offered > 0)
    .map(({ from, to, answered, missed, shortAbandoned, inProgress, offered }) => ({
      from: Date.parse(from),
      to: Date.parse(to),
      answered,
      missed,
      shortAbandoned,
      inProgress,
      offered,
    }));
}
