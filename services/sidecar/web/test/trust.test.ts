import assert from "node:assert/strict";
import { test } from "node:test";

import { BoardCopy } from "../src/board.ts";
import { BoardClock } from "../src/clock.ts";
import type { Board, Freshness } from "../src/contract.ts";
import { isLate, retryAfter } from "../src/hooks/polled.ts";
import { LiveBoard } from "../src/live.ts";
import { titleOf } from "../src/title.ts";
import { todayOf } from "../src/today.ts";
import { lastTruth, type LiveState, recordsTruth, trustOf } from "../src/trust.ts";
import { dayAndTime, lasted } from "../src/when.ts";

const SINCE = "2026-03-02T03:30:00.000Z";
const fresh: Freshness = {
  asOf: SINCE,
  version: 0,
  stale: false,
  staleSince: null,
  staleReasons: [],
  watermark: { occurredAt: null, lagFacts: 0, lagSeconds: 0, receivedAt: null },
};
const staleFor = (...staleReasons: string[]): Freshness => ({ ...fresh, stale: true, staleSince: SINCE, staleReasons });
const state = (more: Partial<LiveState>): LiveState => ({
  line: "live",
  brokenSince: null,
  freshness: fresh,
  board: null,
  clock: new BoardClock(),
  mismatches: 0,
  ...more,
});

test("the last truth is the last word of a dead line, or the moment since which the board is stale", () => {
  assert.equal(lastTruth(state({})), null);
  assert.equal(lastTruth(state({ freshness: staleFor("projector") })), Date.parse(SINCE));
  assert.equal(lastTruth(state({ line: "disconnected", brokenSince: 5 })), 5);
  assert.equal(lastTruth(state({ line: "ended", brokenSince: 5 })), 5);
});

test("a quiet provider alone makes nothing untrue; together with anything else it does", () => {
  const quiet = state({ freshness: staleFor("quiet") });
  assert.deepEqual([trustOf(quiet), lastTruth(quiet), recordsTruth(quiet)], ["quiet", null, null]);
  const more = state({ freshness: staleFor("quiet", "lag") });
  assert.deepEqual([trustOf(more), lastTruth(more)], ["stale", Date.parse(SINCE)]);
  assert.equal(trustOf(state({ freshness: staleFor() })), "stale", "without a reason nothing is known");
  assert.equal(trustOf(state({ line: "disconnected", freshness: staleFor("quiet") })), "disconnected");
});

test("what is read from the records is as old as they are, or as the board where that is older", () => {
  const recordsStaleSince = "2026-03-02T03:29:00.000Z";
  assert.equal(recordsTruth(state({})), null);
  assert.equal(recordsTruth(state({ freshness: { ...fresh, recordsStaleSince: null } })), null);
  const behind = state({ freshness: { ...fresh, recordsStaleSince } });
  assert.deepEqual([recordsTruth(behind), lastTruth(behind)], [Date.parse(recordsStaleSince), null]);
  const both = state({ freshness: { ...staleFor("redis"), recordsStaleSince } });
  assert.equal(recordsTruth(both), Date.parse(recordsStaleSince));
  assert.equal(recordsTruth(state({ ...behind, line: "disconnected", brokenSince: 5 })), 5);
});

test("yesterday's counters are not today's: a day without an event begins at zero", () => {
  const counters = {
    offered: 214,
    answered: 180,
    missed: 30,
    shortAbandoned: 4,
    inProgress: 0,
    serviceLevel: { answeredWithin: 100, denominator: 210, thresholdSeconds: 20 },
  };
  const zone = "Asia/Kolkata";
  const lastNight = "2026-03-01T16:20:00.000Z";
  const { counters: none, isNew } = todayOf(counters, lastNight, "2026-03-02", zone);
  assert.deepEqual([isNew, none.offered, none.answered, none.missed], [true, 0, 0, 0]);
  assert.deepEqual(none.serviceLevel, { answeredWithin: 0, denominator: 0, thresholdSeconds: 20 });
  assert.equal(todayOf(counters, lastNight, "2026-03-01", zone).counters, counters);
  // Half past midnight in the hospital is still yesterday in UTC.
  assert.equal(todayOf(counters, "2026-03-01T19:00:00.000Z", "2026-03-02", zone).isNew, false);
  assert.equal(todayOf(counters, null, "2026-03-02", zone).isNew, false);
});

test("counters of a day that has not come are not passed off as today's", () => {
  const serviceLevel = { answeredWithin: 0, denominator: 0, thresholdSeconds: 20 };
  const counters = { offered: 1, answered: 0, missed: 0, shortAbandoned: 0, inProgress: 1, serviceLevel };
  const zone = "Asia/Kolkata";
  const tomorrow = "2026-03-02T19:00:00.000Z";
  assert.equal(todayOf(counters, tomorrow, "2026-03-02", zone).isAhead, true);
  assert.equal(todayOf(counters, tomorrow, "2026-03-03", zone).isAhead, false);
  assert.equal(todayOf(counters, null, "2026-03-02", zone).isAhead, false);
});

const board = (root: string): Board => ({
  ...fresh,
  workspace: "ramaiah",
  root,
  asOf: new Date().toISOString(),
  agents: [],
  calls: [],
  waiting: [],
  today: null,
  openMissedCalls: 0,
});
const snapshot = (root: string) => ({ id: "g-1", name: "snapshot", data: JSON.stringify(board(root)) });

test("a snapshot that is not proven moves neither the board nor the clock", () => {
  const live = new LiveBoard(
    () => "",
    () => {},
    () => {},
  );
  const root = BoardCopy.of(board("")).root();
  assert.ok(live.take(snapshot(root)));
  const { board: known } = live.state;
  assert.ok(known !== null);
  live.state.clock.freeze(Date.now() - 4000);
  const stood = live.state.clock.server();
  assert.equal(live.take(snapshot("0".repeat(64))), false);
  assert.deepEqual([live.state.board === known, live.state.mismatches, live.state.clock.server()], [true, 1, stood]);
  assert.ok(live.take(snapshot(root)));
  assert.ok(live.state.clock.server() > stood, "a proven one lets it go");
});

test("a clock says by itself whether it was running when it was stopped", () => {
  const clock = new BoardClock();
  assert.deepEqual([clock.freeze(5), clock.freeze(9), clock.server()], [true, false, 5]);
});

test("failures are asked again soon, and less and less", () => {
  assert.deepEqual(
    [1, 2, 3, 4, 9].map((failures) => retryAfter(failures, 300_000)),
    [1000, 2000, 4000, 5000, 5000],
  );
  assert.equal(retryAfter(4, 2000), 2000, "never later than what is asked regularly");
});

test("an answer is late after three rounds, whatever became of those", () => {
  const at = (askedAt: number | null) => isLate({ askedAt, every: 5000 }, 20_000);
  assert.deepEqual([at(null), at(4999), at(5001), at(19_000)], [false, true, false, false]);
});

test("the title of the tab says first what is wrong with what it shows", () => {
  assert.equal(titleOf("live", 0), "Helix · Live monitor");
  assert.equal(titleOf("live", 2), "▲ 2 · Helix · Live monitor");
  assert.equal(titleOf("quiet", 2), "▲ 2 · Helix · Live monitor");
  assert.equal(titleOf("disconnected", 2), "✕ Disconnected · Helix · Live monitor");
  assert.equal(titleOf("stale", 2), "✕ Stale · Helix · Live monitor");
});

test("a time of another day has its date, and what lasts for days is not told in hours", () => {
  const at = Date.parse("2026-03-01T16:20:05.000Z");
  assert.equal(dayAndTime(at, "2026-03-01", "Asia/Kolkata"), "21:50:05");
  assert.equal(dayAndTime(at, "2026-03-01", "Asia/Kolkata", false), "21:50");
  assert.equal(dayAndTime(at, "2026-03-02", "Asia/Kolkata"), "1 Mar 21:50:05");
  assert.equal(lasted(86_399_000), "23:59:59");
  assert.equal(lasted((166 * 3600 + 49 * 60) * 1000), "6 d 22 h");
});
