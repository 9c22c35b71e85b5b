// What needs a person: readings of the board against the workspace's bounds, or against ours where it has none.

import type { AlertRule } from "./api-contract.ts";

export const ALERT_METRICS = [
  "longestWait",
  "noneReady",
  "waitingCallers",
  "serviceLevel",
  "overdueMissedCalls",
  "openMissedCalls",
] as const;
export type AlertMetric = (typeof ALERT_METRICS)[number];

export interface Bound {
  metric: AlertMetric;
  side: "above" | "below";
  value: number;
}

/** What is read now; null where nothing can be said yet. */
export interface Readings {
  /** Seconds. */
  longestWait: number | null;
  /** How many callers wait while no agent is ready. */
  noneReady: number | null;
  waitingCallers: number | null;
  /** Percent of the day. */
  serviceLevel: number | null;
  overdueMissedCalls: number | null;
  openMissedCalls: number | null;
}

export interface Alert extends Bound {
  reading: number;
}

/** The service level of the first few calls of a day says nothing. */
const LEAST_CALLS = 10;

export function serviceLevelReading(level: { answeredWithin: number; denominator: number }): number | null {
  return level.denominator < LEAST_CALLS ? null : (level.answeredWithin * 100) / level.denominator;
}

/** Bounds for what the workspace says nothing about. */
function defaults(serviceLevelSeconds: number): Bound[] {
  return [
    { metric: "longestWait", side: "above", value: 3 * serviceLevelSeconds },
    { metric: "noneReady", side: "above", value: 0 },
    { metric: "serviceLevel", side: "below", value: 80 },
    { metric: "overdueMissedCalls", side: "above", value: 0 },
  ];
}

/** The workspace's bounds, and ours for metrics it does not name. Metrics that this page does not know are passed over. */
export function bounds(given: readonly AlertRule[], serviceLevelSeconds: number): Bound[] {
  const own: Bound[] = [];
  for (const rule of given) {
    const metric = ALERT_METRICS.find((known) => known === rule.metric);
    if (metric === undefined) continue;
    if (typeof rule.above === "number") own.push({ metric, side: "above", value: rule.above });
    if (typeof rule.below === "number") own.push({ metric, side: "below", value: rule.below });
  }
  const named = new Set(own.map((bound) => bound.metric));
  const all = [...own, ...defaults(serviceLevelSeconds).filter((bound) => !named.has(bound.metric))];
  return all.sort((one, other) => ALERT_METRICS.indexOf(one.metric) - ALERT_METRICS.indexOf(other.metric));
}

/** The bounds that are passed now, the most urgent metric first; of several bounds of one metric the furthest. */
export function firing(all: readonly Bound[], readings: Readings): Alert[] {
  const alerts = new Map<string, Alert>();
  for (const bound of all) {
    const reading = readings[bound.metric];
    if (reading === null) continue;
    const passed = bound.side === "above" ? reading > bound.value : reading < bound.value;
    if (!passed) continue;
    const key = `${bound.metric} ${bound.side}`;
    const known = alerts.get(key)?.value ?? bound.value;
    const value = bound.side === "above" ? Math.max(known, bound.value) : Math.min(known, bound.value);
    alerts.set(key, { ...bound, value, reading });
  }
  return [...alerts.values()];
}

/** The name for machines: `longestWait` is `longest-wait`. */
export function alertName(metric: AlertMetric): string {
  return metric.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
