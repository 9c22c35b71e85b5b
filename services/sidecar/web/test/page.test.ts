import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";

import { BoardCopy } from "../src/board.ts";
import { BoardClock, duration } from "../src/clock.ts";
import type { Board } from "../src/contract.ts";
import { sha256 } from "../src/sha256.ts";
import { SseParser } from "../src/sse.ts";

const hex = (words: Int32Array): string =>
  Array.from(words, (word) => (word >>> 0).toString(16).padStart(8, "0")).join("");

/** A moment like any other. */
const NOON = Date.parse("2026-03-02T06:30:00.000Z");

test("sha256 gives what a well-kept implementation gives, at every length around a block", () => {
  for (let length = 0; length < 200; length++) {
    const text = "aé✓".repeat(length).slice(0, length);
    assert.equal(hex(sha256(text)), createHash("sha256").update(text).digest("hex"), `length ${length}`);
  }
});

test("events are read whole however the stream is cut", () => {
  const stream =
    ': hello\nretry: 1000\n\nid: g-1\nevent: delta\ndata: {"a":1}\n\n:\n\nid: g-2\r\nevent: heartbeat\r\ndata: {}\r\n\r\n';
  for (let size = 1; size < stream.length; size++) {
    const parser = new SseParser();
    const found = [];
    for (let at = 0; at < stream.length; at += size) found.push(...parser.push(stream.slice(at, at + size)));
    assert.deepEqual(found, [
      { id: "g-1", name: "delta", data: '{"a":1}' },
      { id: "g-2", name: "heartbeat", data: "{}" },
    ]);
  }
});

const empty: Board = {
  workspace: "ramaiah",
  asOf: "2026-03-02T03:30:00.000Z",
  version: 0,
  root: "",
  stale: false,
  staleSince: null,
  staleReasons: [],
  agents: [],
  calls: [],
  waiting: [],
  today: null,
  openMissedCalls: 0,
  watermark: { occurredAt: null, lagFacts: 0, lagSeconds: 0, receivedAt: null },
};

test("changes may come twice, and what is removed leaves no trace in the root", () => {
  const copy = BoardCopy.of(empty);
  const before = copy.root();
  const set = { op: "set" as const, path: "agents/a/b", value: { agentId: "a/b", name: "é" } };
  copy.apply([set]);
  const during = copy.root();
  assert.notEqual(during, before);
  copy.apply([set]);
  assert.equal(copy.root(), during);
  copy.apply([
    { op: "remove", path: "agents/a/b" },
    { op: "remove", path: "agents/a/b" },
  ]);
  assert.equal(copy.root(), before);
});

test("the root is the one the fold computes", () => {
  // The same value stands in helix_fold::board::visible's tests.
  assert.equal(BoardCopy.of(empty).root(), "6f2f361500cbf54217fd7532acd68fe65807ddef99858eff834cfeb47225de59");
});

test("durations follow the provider's clock, not ours", ({ mock }) => {
  // Time stands under the test's hand: between two looks at a clock that runs, it may have moved on.
  mock.timers.enable({ apis: ["Date"], now: NOON });
  const clock = new BoardClock();
  const now = Date.now();
  const iso = (at: number): string => new Date(at).toISOString();
  clock.told(iso(now + 60_000), { occurredAt: iso(now - 3_600_000), receivedAt: iso(now + 59_000) });
  assert.equal(clock.provider(), now - 3_599_000);
  const ahead = clock.provider() - clock.server();
  clock.hold(now + 30_000);
  assert.equal(clock.server(), now + 30_000, "a stale board's time does not go on");
  assert.equal(clock.provider(), clock.boardTime(now + 30_000));
  assert.equal(clock.boardTime(0), ahead);
  clock.hold(null);
  clock.freeze();
  const frozen = clock.provider();
  mock.timers.tick(20);
  assert.equal(clock.provider(), frozen);
  assert.equal(duration(3_599_999), "59:59");
  assert.equal(duration(3_600_000), "1:00:00");
  assert.equal(duration(-5), "0:00");
});

test("one misdated event takes the provider's now no further than five minutes ahead, and what lies beyond is not counted from", ({ mock }) => {
  mock.timers.enable({ apis: ["Date"], now: NOON });
  const clock = new BoardClock();
  const now = Date.now();
  const iso = (at: number): string => new Date(at).toISOString();
  const hours = (count: number): number => count * 3_600_000;
  clock.told(iso(now), { occurredAt: iso(now - 3000), receivedAt: iso(now - 1000) });
  assert.ok(!clock.liesAhead(now + 30_000), "two clocks differ by some seconds");
  assert.ok(clock.liesAhead(now + hours(24 * 365)));
  clock.told(iso(now), { occurredAt: iso(now + hours(20)), receivedAt: iso(now) });
  assert.equal(clock.provider(), now + 300_000, "as the sidecar takes it");
  assert.ok(clock.liesAhead(now + hours(20)));
  assert.ok(!clock.liesAhead(now + 300_000));
  clock.freeze(now - hours(1));
  assert.ok(!clock.liesAhead(now), "a board that stands still knows that time goes on");
});

test("a provider whose streams all run ahead is followed, however far; where one of them does it is a misdated event", ({ mock }) => {
  mock.timers.enable({ apis: ["Date"], now: NOON });
  const clock = new BoardClock();
  const iso = (at: number): string => new Date(at).toISOString();
  const ahead = (milliseconds: number) => ({ occurredAt: iso(NOON + milliseconds), receivedAt: iso(NOON) });
  const hours = 4 * 3_600_000;
  clock.told(iso(NOON), ahead(hours), [ahead(hours), ahead(hours - 1000), ahead(hours - 90_000)]);
  assert.equal(clock.provider(), NOON + hours - 1000);
  clock.told(iso(NOON), ahead(hours), [ahead(hours), ahead(-2000), ahead(-90_000)]);
  assert.equal(clock.provider(), NOON + 300_000);
  clock.told(iso(NOON), ahead(hours), [ahead(hours), ahead(-2000)]);
  assert.equal(clock.provider(), NOON + 300_000, "of two that disagree the nearer is believed");
  clock.told(iso(NOON), ahead(-3_600_000), [ahead(-3_600_000)]);
  assert.equal(clock.provider(), NOON - 3_600_000, "a day that is over is played as ever");
});

test("a clock that froze stands at the moment the server was last heard", ({ mock }) => {
  mock.timers.enable({ apis: ["Date"], now: NOON });
  const clock = new BoardClock();
  const now = Date.now();
  clock.told(new Date(now).toISOString(), { occurredAt: null, receivedAt: null });
  clock.freeze(now - 4000);
  assert.equal(clock.server(), now - 4000);
});

test("a collection is the same array until one of its members changes", () => {
  const copy = BoardCopy.of(empty);
  const [agents, calls] = [copy.agents(), copy.calls()];
  copy.apply([{ op: "set", path: "agents/a", value: { agentId: "a" } }]);
  assert.notEqual(copy.agents(), agents);
  assert.equal(copy.calls(), calls);
  assert.equal(copy.agents(), copy.agents());
  const one = copy.agents();
  copy.apply([{ op: "remove", path: "agents/a" }]);
  assert.equal(one.length, 1, "what was told before is not changed behind its reader's back");
  assert.equal(copy.agents().length, 0);
});

test("what the provider's streams last told is part of the board, and of its root", () => {
  const producer = (name: string, second: number) => ({
    producer: name,
    receivedAt: `2026-03-02T03:29:${second}.000Z`,
    occurredAt: `2026-03-02T03:29:${second - 1}.000Z`,
  });
  const [agents, calls] = [producer("agent-event", 31), producer("call-event", 44)];
  const copy = BoardCopy.of({ ...empty, producers: [agents, calls] });
  assert.notEqual(copy.root(), BoardCopy.of(empty).root());
  const built = BoardCopy.of(empty);
  built.apply([
    { op: "set", path: "producers/call-event", value: calls },
    { op: "set", path: "producers/agent-event", value: agents },
  ]);
  assert.equal(built.root(), copy.root());
  assert.equal(copy.heardAt(), calls.receivedAt, "whichever spoke last");
});

test("a server that names no producers was last heard when its watermark came", () => {
  const receivedAt = "2026-03-02T03:29:31.000Z";
  const watermark = { ...empty.watermark, occurredAt: receivedAt, receivedAt };
  assert.equal(BoardCopy.of({ ...empty, watermark }).heardAt(), receivedAt);
  assert.equal(BoardCopy.of(empty).heardAt(), null);
});
