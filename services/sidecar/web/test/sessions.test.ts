import assert from "node:assert/strict";
import { test } from "node:test";

import { announce, onAnnounced, type Said } from "../src/announcer.ts";
import type { CallRow } from "../src/api-contract.ts";
import { Api, ApiError } from "../src/api.ts";
import { type CallPage, continued, renewed } from "../src/call-pages.ts";
import { isEnding, isRenewalDue, termOf } from "../src/renewal.ts";
import { keepToken, readSession, renewToken, storedToken } from "../src/session.ts";
import { TILE_SIZES, wallLayout } from "../src/wall-layout.ts";

const HOUR = 3_600_000;

/** Answers every request with the same; gives what was asked. */
async function answering(status: number, body: unknown, run: () => Promise<unknown>): Promise<Request[]> {
  const asked: Request[] = [];
  const before = globalThis.fetch;
  globalThis.fetch = (input, init) => {
    asked.push(new Request(new URL(String(input), "http://helix.test"), init));
    return Promise.resolve(new Response(JSON.stringify(body), { status }));
  };
  try {
    await run();
  } finally {
    globalThis.fetch = before;
  }
  return asked;
}

test("a sign-in is renewed when half of it is over, and its end is told ten minutes before", () => {
  const end = 1_800_000_000;
  const claims = btoa(JSON.stringify({ sub: "meera", iat: end - 4 * 3600 })).replace(/=+$/, "");
  const term = termOf(`x.${claims}.y`, end);
  assert.deepEqual([term.from, term.to], [(end - 4 * 3600) * 1000, end * 1000]);
  assert.deepEqual(
    [2.1 * HOUR, 1.9 * HOUR].map((left) => isRenewalDue(term, term.to - left)),
    [false, true],
  );
  assert.deepEqual(
    [11, 9].map((minutes) => isEnding(term, term.to - minutes * 60_000)),
    [false, true],
  );
  assert.equal(termOf("no such token", end).from, (end - 12 * 3600) * 1000, "a token that says nothing lasts as usual");
});

test("a token that cannot be renewed is told apart from a server that does not answer", async () => {
  const told = async (status: number, body: unknown = {}) => {
    let found: unknown;
    await answering(status, body, async () => (found = await renewToken("t")));
    return found;
  };
  assert.deepEqual(await told(200, { token: "n", expiresInSeconds: 60 }), { token: "n", lastsSeconds: 60 });
  assert.deepEqual([await told(401), await told(403), await told(404)], ["never", "never", "never"]);
  assert.deepEqual([await told(503), await told(429)], ["later", "later"]);
});

test("a refused session says with which status: another hospital's token is no ended session", async () => {
  const told = async (status: number) => {
    let found: unknown;
    await answering(status, {}, async () => (found = await readSession("t")));
    return found;
  };
  assert.deepEqual([await told(401), await told(403)], [{ refused: 401 }, { refused: 403 }]);
  await assert.rejects(told(500));
});

test("a browser that forbids storage signs in all the same", () => {
  assert.equal(typeof globalThis.sessionStorage, "undefined", "there is none here");
  keepToken("t");
  assert.equal(storedToken(), "t");
  keepToken(null);
  assert.equal(storedToken(), null);
});

test("every request has a limit, and carries the token of now", async () => {
  let token = "first";
  const api = new Api(
    () => token,
    () => {},
  );
  const own = new AbortController();
  const asked = await answering(200, {}, async () => {
    await api.get("/api/workspace", {}, own.signal);
    token = "second";
    await api.post("/api/missed-calls/1/release", { claimedAt: "2026-03-02T03:30:00.000Z" });
  });
  assert.deepEqual(
    asked.map((request) => request.headers.get("authorization")),
    ["Bearer first", "Bearer second"],
  );
  assert.ok(asked.every((request) => request.signal instanceof AbortSignal));
  own.abort();
  assert.ok(asked[0]?.signal.aborted, "whoever asked may still give up");
  assert.ok(!asked[1]?.signal.aborted);
  assert.deepEqual(await asked[1]?.json(), { claimedAt: "2026-03-02T03:30:00.000Z" });
});

test("a sign-in that has ended is told once, and nothing more is asked with it", async () => {
  const refused: number[] = [];
  const api = new Api(
    () => "t",
    (status) => refused.push(status),
  );
  const asked = await answering(401, { code: "token_expired" }, async () => {
    const together = await Promise.allSettled([api.get("/api/workspace"), api.get("/api/calls")]);
    assert.ok(together.every(({ status }) => status === "rejected"));
    await assert.rejects(api.get("/api/workspace"), ApiError);
  });
  assert.deepEqual([asked.length, refused], [2, [401]]);
});

test("the same words said again are said again", () => {
  const heard: Said[] = [];
  const end = onAnnounced((said) => heard.push(said));
  announce("Copied");
  announce("Copied");
  end();
  announce("Copied");
  assert.equal(heard.length, 2);
  assert.notEqual(heard[0]?.times, heard[1]?.times);
});

const call = (id: number): CallRow =>
  ({ callId: `c${id}`, startedAt: new Date(id * 60_000).toISOString() }) as unknown as CallRow;
const page = (nextCursor: string | null, ...ids: number[]): CallPage => ({ calls: ids.map(call), nextCursor });
const ids = ({ calls }: CallPage): string[] => calls.map((one) => one.callId);

test("a list whose first page is read again keeps what was read further down", () => {
  const known = page("after 3", 6, 5, 4, 3);
  const fresh = page("after 6", 8, 7, 6);
  assert.deepEqual([ids(renewed(known, fresh)), renewed(known, fresh).nextCursor], [
    ["c8", "c7", "c6", "c5", "c4", "c3"],
    "after 3",
  ]);
  assert.deepEqual(ids(renewed(page("x", 6, 5, 4), page("y", 7, 6, 4))), ["c7", "c6", "c4"], "what no longer fits goes");
  assert.deepEqual(ids(renewed(known, page("y", 30, 29, 28))), ["c30", "c29", "c28"], "no gap is hidden");
  assert.deepEqual(ids(renewed(known, page(null, 7, 6))), ["c7", "c6"], "a page without a next is all there is");
});

test("the next page repeats nothing that moved down onto it", () => {
  const whole = continued(page("a", 6, 5, 4), page(null, 4, 3));
  assert.deepEqual([ids(whole), whole.nextCursor], [["c6", "c5", "c4", "c3"], null]);
});

test("what is put on a wall fits on it", () => {
  const room = { width: 1867, height: 660, em: 22.08 };
  assert.deepEqual(wallLayout(10, room), { tiles: "large", plots: wallLayout(10, room).plots });
  const { plots } = wallLayout(10, room);
  assert.ok(plots > 1 && plots < 2, `${plots}: what is left is the plots'`);
  const tall = { ...room, height: 800 };
  assert.deepEqual(wallLayout(120, tall), { tiles: null, plots: 2.5 }, "too many to be read are counted");
  assert.deepEqual(wallLayout(0, tall), { tiles: null, plots: 2.5 });
  let before = 0;
  for (let agents = 1; agents <= 60; agents += 1) {
    const { tiles } = wallLayout(agents, room);
    const size = tiles === null ? TILE_SIZES.length : TILE_SIZES.indexOf(tiles);
    // Between two sizes the plots may go and come; tiles never grow with more people, save for the room the plots leave.
    assert.ok(size < TILE_SIZES.length, `${agents} agents fit`);
    before = Math.max(before, size);
  }
  assert.ok(before > 0, "of sixty the tiles are smaller");
  assert.deepEqual(wallLayout(44, { ...room, height: 90 }), { tiles: null, plots: 0 }, "no room, no tiles");
});
