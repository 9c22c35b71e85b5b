import assert from "node:assert/strict";
import { test } from "node:test";

import type { Interval, MetricsRow } from "../src/api-contract.ts";
import { addDays, busyHours, dayRange, dayStart, hourTicks, isDate, iso, localDate } from "../src/day.ts";
import { countersOf } from "../src/hooks/metrics.ts";
import { dialable, percent } from "../src/format.ts";
import { countTicks, linear } from "../src/plot/scale.ts";
import { bars, levels } from "../src/plot/series.ts";
import { stretches } from "../src/plot/stretches.ts";

const HOUR = 3_600_000;

test("a scale meets both ends, and a domain without width does not divide by zero", () => {
  const scale = linear([10, 20], [100, 300]);
  assert.deepEqual([scale(10), scale(15), scale(20)], [100, 200, 300]);
  assert.equal(linear([5, 5], [0, 9])(5), 0);
});

test("ticks are whole, begin at zero and reach the most", () => {
  for (let most = 1; most <= 3000; most += 7) {
    const ticks = countTicks(most, 4);
    assert.equal(ticks[0], 0);
    assert.ok((ticks.at(-1) ?? 0) >= most, `${most}: ${ticks.join(" ")}`);
    assert.ok(ticks.every(Number.isInteger) && ticks.length <= 7, `${most}: ${ticks.join(" ")}`);
  }
});

test("a local day begins at its midnight, in any zone and across changes of the clock", () => {
  assert.equal(iso(dayStart("2026-03-02", "Asia/Kolkata")), "2026-03-01T18:30:00.000Z");
  const hours = (date: string, zone: string): number => {
    const { from, to } = dayRange(date, zone);
    return (to - from) / HOUR;
  };
  assert.equal(hours("2026-03-02", "Asia/Kolkata"), 24);
  assert.equal(hours("2026-03-29", "Europe/Berlin"), 23);
  assert.equal(hours("2026-10-25", "Europe/Berlin"), 25);
  // Midnight itself is skipped here.
  assert.equal(iso(dayStart("2026-09-06", "America/Santiago")), "2026-09-06T04:00:00.000Z");
  assert.equal(localDate(dayStart("2026-09-06", "America/Santiago"), "America/Santiago"), "2026-09-06");
});

test("every day of a year begins in itself and ends where the next begins", () => {
  for (const zone of ["Asia/Kolkata", "Europe/Berlin", "America/Santiago", "Pacific/Auckland", "UTC"]) {
    for (let date = "2026-01-01"; date < "2027-01-01"; date = addDays(date, 1)) {
      const { from, to } = dayRange(date, zone);
      assert.equal(localDate(from, zone), date);
      assert.equal(localDate(from - 1, zone), addDays(date, -1));
      assert.equal(localDate(to, zone), addDays(date, 1));
    }
  }
});

test("a plot shows the hours in which something happened, and never a sliver", () => {
  const day = dayRange("2026-03-02", "Asia/Kolkata");
  const at = (hour: number): number => day.from + hour * HOUR;
  const shown = (from: number, to: number) => {
    const span = busyHours(day, [{ from: at(from), to: at(to) }]);
    return [(span.from - day.from) / HOUR, (span.to - day.from) / HOUR];
  };
  assert.deepEqual(shown(7.5, 17.1), [7, 18]);
  assert.deepEqual(shown(9.5, 9.75), [9, 17]);
  assert.deepEqual(shown(22.5, 23.9), [16, 24]);
  assert.deepEqual(shown(-3, 30), [0, 24]);
  assert.ok(busyHours(day, []).to > busyHours(day, []).from);
});

test("whoever types a year asks for no year in between", () => {
  assert.deepEqual(["0002-03-04", "0202-03-04", "2026-3-4", "", "2026-13-01"].map(isDate), Array(5).fill(false));
  assert.ok(isDate("2026-03-04"));
});

test("labels of hours stay few", () => {
  const day = dayRange("2026-03-02", "Asia/Kolkata");
  for (let count = 3; count < 20; count++) assert.ok(hourTicks(day, count).length <= count + 2);
  assert.equal(hourTicks({ from: 0, to: 8 * HOUR }, 10).length, 9);
});

const metrics = (
  quarter: number,
  answered: number,
  missed: number,
  within: number,
  by: string | null = null,
): MetricsRow => ({
  from: iso(quarter * 900_000),
  to: iso((quarter + 1) * 900_000),
  by,
  offered: answered + missed,
  answered,
  missed,
  shortAbandoned: 0,
  inProgress: 0,
  serviceLevel: { answeredWithin: within, denominator: answered + missed },
  asa: { totalWaitSeconds: 0, answered },
  aht: { totalSeconds: 0, handled: answered },
  abandonment: { numerator: missed, denominator: answered + missed },
});

test("the day's service level is the sum of its quarters, in order, whatever order they came in", () => {
  const points = levels([metrics(3, 4, 0, 4), metrics(1, 3, 1, 2), metrics(2, 0, 0, 0), metrics(1, 9, 9, 0, "OPD")]);
  assert.deepEqual(
    points.map(({ within, of, withinSoFar, ofSoFar }) => [within, of, withinSoFar, ofSoFar]),
    [
      [2, 4, 2, 4],
      [4, 4, 6, 8],
    ],
  );
});

test("a bar's parts are its calls; a quarter-hour without calls has none", () => {
  const found = bars([metrics(2, 0, 0, 0), metrics(1, 3, 1, 2)]);
  assert.equal(found.length, 1);
  const [bar] = found;
  assert.ok(bar !== undefined);
  assert.equal(bar.answered + bar.missed + bar.shortAbandoned + bar.inProgress, bar.offered);
});

test("a queue's counters are the sum of its rows, and nothing where it has none", () => {
  const { offered, answered, missed, serviceLevel } = countersOf([metrics(1, 3, 1, 2), metrics(2, 4, 0, 4)], 20);
  assert.deepEqual([offered, answered, missed], [8, 7, 1]);
  assert.deepEqual(serviceLevel, { answeredWithin: 6, denominator: 8, thresholdSeconds: 20 });
  assert.equal(countersOf([], 20).serviceLevel.denominator, 0);
});

test("intervals are cut to the day and to the present; the open one is told", () => {
  const interval = (startedAt: number, endedAt: number | null): Interval => ({
    state: "ready",
    reason: null,
    startedAt: iso(startedAt),
    endedAt: endedAt === null ? null : iso(endedAt),
    callId: null,
    presumed: false,
  });
  const day = { from: 10 * HOUR, to: 34 * HOUR };
  const found = stretches(
    [interval(8 * HOUR, 9 * HOUR), interval(9 * HOUR, 11 * HOUR), interval(11 * HOUR, null)],
    day,
    15 * HOUR,
  );
  assert.deepEqual(
    found.map(({ from, to, open }) => [from / HOUR, to / HOUR, open]),
    [
      [10, 11, false],
      [11, 15, true],
    ],
  );
  const [past] = stretches([interval(11 * HOUR, null)], day, 40 * HOUR);
  assert.deepEqual([past?.to, past?.open], [day.to, false]);
});

test("percent is cut, and nothing of nothing is no percent", () => {
  assert.deepEqual([percent(799, 1000), percent(1, 1), percent(0, 4), percent(0, 0)], ["79%", "100%", "0%", "–"]);
});

test("a number is dialled as it is written; a country is never guessed", () => {
  assert.equal(dialable("919845012345"), "+919845012345");
  assert.equal(dialable("+91 98450-12345"), "+919845012345");
  assert.equal(dialable("09845012345"), "09845012345");
  assert.equal(dialable("9845012345"), "9845012345");
  assert.equal(dialable("••••••2345"), null);
  assert.equal(dialable("anonymous"), null);
  assert.equal(dialable("12"), null);
});
