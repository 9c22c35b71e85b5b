// Scales of plots: values to pixels, and the ticks that are worth drawing.

export type Scale = (value: number) => number;

export function linear(domain: readonly [number, number], range: readonly [number, number]): Scale {
  const width = domain[1] - domain[0];
  return (value) => (width === 0 ? range[0] : range[0] + ((value - domain[0]) / width) * (range[1] - range[0]));
}

/** Whole steps of 1, 2 or 5 times a power of ten from zero to the first at or above `most`, about `count` of them. */
export function countTicks(most: number, count: number): number[] {
  const rough = Math.max(1, most / count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5, 10].find((times) => times * power >= rough) ?? 10) * power;
  const ticks = [];
  for (let at = 0; at < most + step; at += step) ticks.push(at);
  return ticks;
}
