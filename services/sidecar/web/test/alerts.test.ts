import assert from "node:assert/strict";
import { test } from "node:test";

import { ALERT_METRICS, alertName, bounds, firing, type Readings, serviceLevelReading } from "../src/alerts.ts";

const quiet: Readings = {
  longestWait: null,
  noneReady: 0,
  waitingCallers: 0,
  serviceLevel: null,
  overdueMissedCalls: 0,
  openMissedCalls: 0,
};
const names = (readings: Partial<Readings>, given: Parameters<typeof bounds>[0] = []): string[] =>
  firing(bounds(given, 20), { ...quiet, ...readings }).map((alert) => alert.metric);

test("a quiet morning alerts nobody", () => {
  assert.deepEqual(names({}), []);
});

test("without bounds of the workspace there are sensible ones", () => {
  assert.deepEqual(names({ longestWait: 60 }), []);
  assert.deepEqual(names({ longestWait: 61 }), ["longestWait"]);
  assert.deepEqual(names({ serviceLevel: 79.9 }), ["serviceLevel"]);
  assert.deepEqual(names({ serviceLevel: 80 }), []);
  assert.deepEqual(names({ overdueMissedCalls: 1 }), ["overdueMissedCalls"]);
  assert.deepEqual(names({ noneReady: 2 }), ["noneReady"]);
  assert.deepEqual(
    names({ openMissedCalls: 500, waitingCallers: 500 }),
    [],
    "how many is too many is the workspace's to say",
  );
});

test("the workspace's bound replaces ours, and may be one more", () => {
  const given = [
    { metric: "longestWait", above: 30 },
    { metric: "openMissedCalls", above: 5, below: null },
  ];
  assert.deepEqual(names({ longestWait: 45, openMissedCalls: 6 }, given), ["longestWait", "openMissedCalls"]);
  assert.deepEqual(names({ longestWait: 61 }, [{ metric: "longestWait", above: 120 }]), []);
});

test("of several bounds of one metric the furthest that is passed is told, once", () => {
  const given = [60, 30, 120].map((above) => ({ metric: "longestWait", above }));
  const told = (longestWait: number): number[] =>
    firing(bounds(given, 20), { ...quiet, longestWait }).map((alert) => alert.value);
  assert.deepEqual([told(20), told(40), told(61), told(500)], [[], [30], [60], [120]]);
});

test("a metric that this page does not know alerts nobody, and breaks nothing", () => {
  assert.deepEqual(bounds([{ metric: "moonPhase", above: 1 }], 20), bounds([], 20));
});

test("the most urgent comes first", () => {
  const all = names({ longestWait: 99, noneReady: 1, serviceLevel: 10, overdueMissedCalls: 3 });
  assert.deepEqual(all, ["longestWait", "noneReady", "serviceLevel", "overdueMissedCalls"]);
});

test("the first calls of a day are no service level yet", () => {
  assert.equal(serviceLevelReading({ answeredWithin: 0, denominator: 9 }), null);
  assert.equal(serviceLevelReading({ answeredWithin: 4, denominator: 10 }), 40);
});

test("alerts have names for machines, each its own", () => {
  assert.equal(alertName("overdueMissedCalls"), "overdue-missed-calls");
  assert.equal(new Set(ALERT_METRICS.map(alertName)).size, ALERT_METRICS.length);
});
