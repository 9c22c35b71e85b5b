// Local days of the workspace, as instants. A day may last 23 or 25 hours.

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

const formats = new Map<string, Intl.DateTimeFormat>();

/** The wall clock of a zone at an instant, as if it were UTC. */
function wall(at: number, zone: string): number {
  let format = formats.get(zone);
  if (format === undefined) {
    const two = "2-digit" as const;
    const fields = { year: "numeric", month: two, day: two, hour: two, minute: two, second: two } as const;
    format = new Intl.DateTimeFormat("en-US", { ...fields, hourCycle: "h23", timeZone: zone });
    formats.set(zone, format);
  }
  const parts = new Map(format.formatToParts(at).map((part) => [part.type, Number(part.value)]));
  const get = (name: Intl.DateTimeFormatPartTypes): number => parts.get(name) ?? 0;
  return Date.UTC(get("year"), get("month") - 1, get("day"), get("hour"), get("minute"), get("second"));
}

/** The local date of an instant, `YYYY-MM-DD`. */
export function localDate(at: number, zone: string): string {
  return new Date(wall(at, zone)).toISOString().slice(0, 10);
}

/** The first instant of a local date. */
export function dayStart(date: string, zone: string): number {
  const midnight = Date.parse(`${date}T00:00:00Z`);
  // Two steps meet every offset; where midnight is skipped the day begins when the clocks have jumped.
  let at = midnight - (wall(midnight, zone) - midnight);
  at = midnight - (wall(at, zone) - at);
  return localDate(at, zone) < date ? at + HOUR_MS : at;
}

/** No hospital asks for anything before; whoever types a year passes through the year 2. */
export const FIRST_DATE = "2000-01-01";

/** Whether a text is a date that can be asked for. */
export function isDate(text: string): boolean {
  return /^\d{4}-\d{2}-\d{2}$/.test(text) && text >= FIRST_DATE && !Number.isNaN(Date.parse(text));
}

/** The date some days later, or earlier. */
export function addDays(date: string, days: number): string {
  return new Date(Date.parse(`${date}T12:00:00Z`) + days * DAY_MS).toISOString().slice(0, 10);
}

export interface Span {
  from: number;
  to: number;
}

/** A local day from its first instant to the first of the next. */
export function dayRange(date: string, zone: string): Span {
  return { from: dayStart(date, zone), to: dayStart(addDays(date, 1), zone) };
}

export function iso(at: number): string {
  return new Date(at).toISOString();
}

/** The part of a day that is worth showing: whole hours around what happened, and never less than some hours. */
export function busyHours(day: Span, happened: readonly Span[], leastHours = 8): Span {
  if (happened.length === 0) return { from: day.from + 7 * HOUR_MS, to: day.from + 19 * HOUR_MS };
  const first = Math.max(day.from, Math.min(...happened.map((span) => span.from)));
  const last = Math.min(day.to, Math.max(...happened.map((span) => span.to)));
  const from = day.from + Math.floor((first - day.from) / HOUR_MS) * HOUR_MS;
  const to = day.from + Math.ceil((last - day.from) / HOUR_MS) * HOUR_MS;
  const end = Math.min(day.to, Math.max(to, from + leastHours * HOUR_MS));
  return { from: Math.max(day.from, Math.min(from, end - leastHours * HOUR_MS)), to: end };
}

/** Full hours of a span that are worth a label, at most about `count`. */
export function hourTicks(span: Span, count: number): number[] {
  const hours = (span.to - span.from) / HOUR_MS;
  const step = [1, 2, 3, 4, 6, 12].find((step) => hours / step <= count) ?? 24;
  const ticks = [];
  for (let at = span.from; at <= span.to; at += step * HOUR_MS) ticks.push(at);
  return ticks;
}
