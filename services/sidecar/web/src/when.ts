// Moments and lengths of time as people read them.

import { type BoardClock, duration, hourAndMinute, timeOfDay } from "./clock.ts";
import { localDate } from "./day.ts";
import { fill, locale, strings } from "./strings/index.ts";

const DAY_MS = 86_400_000;

/** A time of day, with its date where that is not today's: nights lie between shifts. */
export function dayAndTime(at: number, today: string, zone: string, precise = true): string {
  const time = precise ? timeOfDay(at, zone) : hourAndMinute(at, zone);
  if (localDate(at, zone) === today) return time;
  return `${dateFormat(zone).format(at)} ${time}`;
}

const dateFormats = new Map<string, Intl.DateTimeFormat>();

/** Made once for a language and a zone: making one costs more than a hundred uses. */
function dateFormat(zone: string): Intl.DateTimeFormat {
  const key = `${locale()} ${zone}`;
  let format = dateFormats.get(key);
  if (format === undefined) {
    format = new Intl.DateTimeFormat(locale(), { day: "numeric", month: "short", timeZone: zone });
    dateFormats.set(key, format);
  }
  return format;
}

/** A moment of the server's clock, as the board tells time. What today is, a clock that stands still does not say. */
export function boardMoment(clock: BoardClock, at: number, zone: string): string {
  return dayAndTime(clock.boardTime(at), localDate(clock.boardTime(clock.now()), zone), zone);
}

/** A length of time: to the second within a day, beyond it in days and hours. */
export function lasted(milliseconds: number): string {
  if (milliseconds < DAY_MS) return duration(milliseconds);
  const hours = Math.floor(milliseconds / 3_600_000);
  return fill(strings.daysAndHours, { days: Math.floor(hours / 24), hours: hours % 24 });
}
