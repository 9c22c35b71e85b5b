import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Redraws } from "../src/redraws.ts";

/** Draws of a page whose clock stands under the test's hand. */
function page() {
  mock.timers.enable({ apis: ["setTimeout"] });
  let now = 0;
  const drawn: number[] = [];
  const redraws = new Redraws(
    () => drawn.push(now),
    () => now,
  );
  const pass = (milliseconds: number) => {
    for (let step = 0; step < milliseconds; step += 1) {
      now += 1;
      mock.timers.tick(1);
    }
  };
  return { redraws, drawn, pass };
}

test("a change on a quiet board is drawn at once", () => {
  const { redraws, drawn, pass } = page();
  pass(5000);
  redraws.changed();
  pass(1);
  assert.equal(drawn.length, 1);
  mock.timers.reset();
});

test("however many deltas come, the page is drawn ten times a second, and the last of them is drawn", () => {
  const { redraws, drawn, pass } = page();
  for (let delta = 0; delta < 200; delta += 1) {
    redraws.changed();
    pass(5);
  }
  const last = 1000;
  assert.ok(drawn.length >= 9 && drawn.length <= 11, `${drawn.length} in a second`);
  redraws.changed();
  pass(200);
  assert.ok((drawn.at(-1) ?? 0) > last, "the last change is drawn");
  const count = drawn.length;
  pass(1000);
  assert.equal(drawn.length, count, "nothing is drawn for nothing");
  mock.timers.reset();
});

test("a page that is left draws nothing more", () => {
  const { redraws, drawn, pass } = page();
  redraws.changed();
  redraws.stop();
  pass(500);
  assert.deepEqual(drawn, []);
  mock.timers.reset();
});
