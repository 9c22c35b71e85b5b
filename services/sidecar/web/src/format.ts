// Numbers as people read them. What has no value is a dash, never a zero.

import { locale } from "./strings/index.ts";

export const NONE = "–";

const formats = new Map<string, Intl.NumberFormat>();

/** A count as the reader's country groups it, from five digits on: 9358, but 12,345 or 1,23,456. */
export function count(value: number): string {
  const known = formats.get(locale());
  if (known !== undefined) return known.format(value);
  const format = new Intl.NumberFormat(locale(), { useGrouping: "min2" });
  formats.set(locale(), format);
  return format.format(value);
}

/** A ratio in whole percent, cut and not rounded: 79.9 % is not 80 %. */
export function percent(numerator: number, denominator: number): string {
  return denominator === 0 ? NONE : `${Math.floor((numerator * 100) / denominator)}%`;
}

/** The number as a telephone dials it. Only what is written internationally gets its `+`: a country is never guessed. */
export function dialable(caller: string): string | null {
  if (/[^\d\s+().-]/.test(caller)) return null;
  const digits = caller.replace(/\D/g, "");
  if (digits.length < 5) return null;
  if (caller.trim().startsWith("+")) return `+${digits}`;
  return digits.length > 10 && !digits.startsWith("0") ? `+${digits}` : digits;
}
