import type { Metrics, MetricsRow } from "../api-contract.ts";
import type { Api } from "../api.ts";
import { iso, pieces, type Span } from "../day.ts";

/** An answer holds 400 rows, intervals times queues: in pieces of four hours that is 25 queues. */
const PIECE_MS = 4 * 3_600_000;

/** A day in quarter-hours until now, of all calls or of one queue's; the rows are named after nobody. */
export async function readDay(
  api: Api,
  day: Span,
  queue: string | null,
  now: number,
  signal: AbortSignal,
): Promise<MetricsRow[]> {
  const ask = (span: Span, by: string | null): Promise<Metrics> =>
    api.get<Metrics>("/api/metrics", { from: iso(span.from), to: iso(span.to), interval: "15m", by }, signal);
  if (queue === null) return (await ask(day, null)).rows;
  const answers = await Promise.all(pieces(day, PIECE_MS, now).map((piece) => ask(piece, "queue")));
  const rows = answers.flatMap((answer) => answer.rows);
  return rows.filter((row) => row.by === queue).map((row) => ({ ...row, by: null }));
}
