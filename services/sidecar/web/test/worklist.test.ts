import assert from "node:assert/strict";
import { test } from "node:test";

import type { MissedCall } from "../src/api-contract.ts";
import { emptyWorklist, type Event, reduce, type Refusal, refusalOf, type Worklist } from "../src/worklist.ts";
import { chosen, counted, emptiness, shown } from "../src/worklist-shown.ts";

const row = (callId: string, more: Partial<MissedCall> = {}): MissedCall => ({
  callId,
  caller: "919800000001",
  did: null,
  skill: "OPD",
  missedAt: "2026-03-02T04:00:00.000Z",
  status: "open",
  attempts: 0,
  priority: 100,
  dueAt: "2026-03-02T04:10:00.000Z",
  claimedBy: null,
  claimedAt: null,
  closedAt: null,
  closedBy: null,
  closedReason: null,
  ...more,
});
const ME = "me@hospital.example";
const AT = "2026-03-02T04:05:00.000Z";
const after = (...events: Event[]): Worklist => events.reduce(reduce, emptyWorklist);
const loaded = (askedAt: number, ...rows: MissedCall[]): Event => ({
  kind: "loaded",
  rows,
  total: rows.length,
  askedAt,
});
const claim = (callId: string): Event => ({ kind: "asked", callId, action: "claim", by: ME, at: AT });
const ids = (list: Worklist): string[] => list.rows.map((one) => one.callId);

test("a claim shows at once, and is undone when it could not be saved", () => {
  const asked = after(loaded(0, row("a")), claim("a"));
  assert.deepEqual([shown(asked)[0]?.row.claimedBy, shown(asked)[0]?.pending], [ME, "claim"]);
  assert.equal(asked.rows[0]?.claimedBy, null, "what the server said stays as it is");
  const failed = reduce(asked, { kind: "refused", callId: "a", refusal: { kind: "unavailable" }, now: 5 });
  assert.deepEqual(
    [shown(failed)[0]?.row.claimedBy, shown(failed)[0]?.pending, shown(failed)[0]?.refusal?.kind],
    [null, null, "unavailable"],
  );
});

test("an answer replaces what was expected", () => {
  const list = after(loaded(0, row("a")), claim("a"), {
    kind: "answered",
    row: row("a", { claimedBy: ME, claimedAt: AT, attempts: 2 }),
    now: 5,
  });
  assert.equal(list.rows[0]?.attempts, 2);
  assert.equal(list.pending.size, 0);
});

test("of two supervisors the one who was later sees who was first", () => {
  const refusal = refusalOf({
    status: 409,
    code: "missed_call_claimed",
    text: (name) => ({ claimedBy: "meera", claimedAt: AT })[name] ?? null,
  });
  const list = after(loaded(0, row("a")), claim("a"), { kind: "refused", callId: "a", refusal, now: 5 });
  assert.deepEqual(shown(list)[0]?.refusal, { kind: "claimed", by: "meera", at: AT });
  assert.deepEqual([list.rows[0]?.claimedBy, list.rows[0]?.claimedAt], ["meera", AT]);
});

test("a list that was asked for before an answer does not undo it", () => {
  const claimed = row("a", { claimedBy: ME, claimedAt: AT });
  const answered = after(loaded(0, row("a")), claim("a"), { kind: "answered", row: claimed, now: 20 });
  assert.equal(reduce(answered, loaded(10, row("a"))).rows[0]?.claimedBy, ME);
  assert.equal(reduce(answered, loaded(30, row("a"))).rows[0]?.claimedBy, null, "a later list is the truth");
});

test("a waived call goes, and an older list does not bring it back", () => {
  const waived = after(
    loaded(0, row("a"), row("b")),
    { kind: "asked", callId: "a", action: "waive", by: ME, at: AT },
    { kind: "answered", row: row("a", { status: "closed", closedReason: "waived" }), now: 20 },
  );
  assert.deepEqual([ids(waived), waived.total], [["b"], 1]);
  const stale = reduce(waived, loaded(10, row("a"), row("b")));
  assert.deepEqual([ids(stale), stale.total], [["b"], 1]);
  assert.deepEqual(ids(reduce(stale, loaded(30, row("b")))), ["b"]);
});

const refusedWith = (kind: "closed" | "unknown" | "unavailable" | "forbidden", now: number): Event => ({
  kind: "refused",
  callId: "a",
  refusal: { kind } as Refusal,
  now,
});

test("what is closed or gone stays where it was until that could be read, counted no more", () => {
  for (const kind of ["closed", "unknown"] as const) {
    const list = after(loaded(0, row("a"), row("b")), claim("a"), refusedWith(kind, 20));
    assert.deepEqual([ids(list), list.total, shown(list)[0]?.isGone], [["a", "b"], 1, true]);
    const older = reduce(list, loaded(10, row("a"), row("b")));
    assert.deepEqual([ids(older), older.total], [["a", "b"], 1], "a list from before does not bring it back");
    const newer = reduce(older, loaded(5000, row("b")));
    assert.deepEqual([ids(newer), newer.total, shown(newer)[0]?.refusal?.kind], [["a", "b"], 1, kind]);
    const later = reduce(newer, loaded(7000, row("b")));
    assert.deepEqual([ids(later), later.total, later.refusals.size], [["b"], 1, 0]);
  }
});

test("a call that is being acted on is not asked for twice", () => {
  const once = after(loaded(0, row("a")), claim("a"));
  assert.equal(reduce(once, { kind: "asked", callId: "a", action: "release", by: ME, at: AT }), once);
});

test("why nothing was done is told for some time, or until the next attempt", () => {
  for (const kind of ["unavailable", "forbidden"] as const) {
    const refused = after(loaded(0, row("a")), claim("a"), refusedWith(kind, 20));
    assert.equal(reduce(refused, loaded(1000, row("a"))).refusals.size, 1, "the list itself says nothing of it");
    assert.equal(reduce(refused, loaded(14_000, row("a"))).refusals.size, 1);
    assert.equal(reduce(refused, loaded(16_000, row("a"))).refusals.size, 0);
    assert.equal(reduce(refused, claim("a")).refusals.size, 0);
  }
});

test("that somebody else has it can be read as the reason, unless a newer list says otherwise", () => {
  const refusal: Refusal = { kind: "claimed", by: "meera", at: AT };
  const refused = after(loaded(0, row("a")), claim("a"), { kind: "refused", callId: "a", refusal, now: 20 });
  const theirs = row("a", { claimedBy: "meera", claimedAt: AT });
  assert.equal(reduce(refused, loaded(10, row("a"))).refusals.size, 1, "a list from before knows nothing of it");
  assert.equal(reduce(refused, loaded(30, theirs)).refusals.size, 1, "the list comes at once, and nobody reads so fast");
  assert.equal(reduce(refused, loaded(7000, theirs)).refusals.size, 0, "then it is one of those that others have");
  assert.equal(reduce(refused, loaded(30, row("a"))).refusals.size, 0, "it is free again");
  assert.equal(reduce(refused, loaded(30, row("a", { claimedBy: "asha", claimedAt: AT }))).refusals.size, 0);
  assert.equal(reduce(refused, loaded(30)).refusals.size, 0, "it is closed");
});

test("a list never touches what is still being asked for", () => {
  const list = after(loaded(0, row("a")), claim("a"), loaded(10, row("a")));
  assert.equal(shown(list)[0]?.row.claimedBy, ME);
});

test("a release shows the call as free while it is asked for", () => {
  const mine = row("a", { claimedBy: ME, claimedAt: AT });
  const list = after(loaded(0, mine), { kind: "asked", callId: "a", action: "release", by: ME, at: AT });
  assert.equal(shown(list)[0]?.row.claimedBy, null);
});

test("rows are chosen by who has them, by queue, and by what is overdue", () => {
  const rows = shown(
    after(
      loaded(
        0,
        row("free"),
        row("mine", { claimedBy: ME }),
        row("late", { claimedBy: "meera", dueAt: "2026-03-02T03:00:00.000Z", skill: "Billing" }),
      ),
    ),
  );
  const now = Date.parse("2026-03-02T04:00:00.000Z");
  const of = (filter: "all" | "free" | "mine" | "overdue", queue: string | null = null): string[] =>
    chosen(rows, { filter, queue, me: ME, now }).map((entry) => entry.row.callId);
  assert.deepEqual(of("all"), ["free", "mine", "late"]);
  assert.deepEqual(of("free"), ["free"]);
  assert.deepEqual(of("mine"), ["mine"]);
  assert.deepEqual(of("overdue"), ["late"]);
  assert.deepEqual(of("all", "Billing"), ["late"]);
});

test("of a list that is not here as a whole, counts come from the server, or are told as at least", () => {
  const first = [row("free"), row("mine", { claimedBy: ME }), row("late", { dueAt: "2026-03-02T03:00:00.000Z" })];
  const by = { queue: null, me: ME, now: Date.parse("2026-03-02T04:00:00.000Z") };
  const whole = after(loaded(0, ...first));
  assert.deepEqual(counted(whole, by, null), { all: "3", free: "2", mine: "1", overdue: "1" });
  const part = reduce(emptyWorklist, { kind: "loaded", rows: first, total: 612, askedAt: 0 });
  assert.deepEqual(counted(part, by, null), { all: "612", free: "2+", mine: "1+", overdue: "1+" });
  const summary = { open: 612, overdue: 540, claimed: 12, oldestMissedAt: null };
  assert.deepEqual(counted(part, by, summary), { all: "612", free: "600", mine: "1+", overdue: "540" });
});

test("nobody is praised for a list that is behind, or for calls that were never missed", () => {
  assert.equal(emptiness(3, 9), "behind");
  assert.equal(emptiness(0, 9), "emptied");
  assert.equal(emptiness(0, 0), "none");
  assert.equal(emptiness(null, 0), "none");
});

test("every answer that is no success has a meaning", () => {
  const told = (status: number, code: string) => refusalOf({ status, code, text: () => null }).kind;
  assert.equal(refusalOf(null).kind, "unavailable");
  assert.deepEqual(
    [
      told(409, "missed_call_closed"),
      told(404, "no_such_missed_call"),
      told(403, "role_not_allowed"),
      told(503, "log_unavailable"),
      told(500, ""),
    ],
    ["closed", "unknown", "forbidden", "unavailable", "unavailable"],
  );
});
