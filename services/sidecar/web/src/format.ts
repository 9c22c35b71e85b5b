// Numbers as people read them. What has no value is a dash, never a zero.

export const NONE = "–";

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
