import type { Metrics, MetricsRow } from "../api-contract.ts";
import type { Api } from "../api.ts";
import type { Today } from "../contract.ts";
import { iso, type Span } from "../day.ts";

function ask(api: Api, day: Span, by: Record<string, string | null>, signal: AbortSignal): Promise<Metrics> {
  return api.get<Metrics>("/api/metrics", { from: iso(day.from), to: iso(day.to), ...by }, signal);
}

/** A day in quarter-hours, of all calls or of one queue's. */
export async function readDay(api: Api, day: Span, queue: string | null, signal: AbortSignal): Promise<MetricsRow[]> {
  return (await ask(api, day, { interval: "15m", queue }, signal)).rows;
}

/** The day's counters of one queue, which the board does not keep. */
export async function readQueue(api: Api, day: Span, queue: string, signal: AbortSignal): Promise<Today> {
  const { rows, thresholdSeconds } = await ask(api, day, { interval: "1d", queue }, signal);
  return countersOf(rows, thresholdSeconds);
}

export function countersOf(rows: readonly MetricsRow[], thresholdSeconds: number): Today {
  const sum = (of: (row: MetricsRow) => number): number => rows.reduce((total, row) => total + of(row), 0);
  return {
    offered: sum((row) => row.offered),
    answered: sum((row) => row.answered),
    missed: sum((row) => row.missed),
    shortAbandoned: sum((row) => row.shortAbandoned),
    inProgress: sum((row) => row.inProgress),
    serviceLevel: {
      answeredWithin: sum((row) => row.serviceLevel.answeredWithin),
      denominator: sum((row) => row.serviceLevel.denominator),
      thresholdSeconds,
    },
  };
}

/** The queues that had calls on a day. */
export async function readQueues(api: Api, day: Span, signal: AbortSignal): Promise<{ skill: string | null }[]> {
  const { rows } = await ask(api, day, { interval: "1d", by: "queue" }, signal);
  return rows.filter((row) => row.offered > 0 || row.answered > 0).map((row) => ({ skill: row.by }));
}
