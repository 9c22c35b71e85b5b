import assert from "node:assert/strict";
import { test } from "node:test";

import { placeAfter } from "../src/roving.ts";

// Three columns, the last row of two:  0 1 2 / 3 4 5 / 6 7
const after = (key: string, ...places: number[]) => places.map((place) => placeAfter(key, place, 8, 3));

test("arrows go to the neighbour, across the ends of rows, and never round", () => {
  assert.deepEqual(after("ArrowRight", 0, 2, 7), [1, 3, null]);
  assert.deepEqual(after("ArrowLeft", 7, 3, 0), [6, 2, null]);
});

test("arrows go up and down a column; where the last row is shorter, to its end", () => {
  assert.deepEqual(after("ArrowDown", 0, 4, 5, 6, 7), [3, 7, 7, null, null]);
  assert.deepEqual(after("ArrowUp", 7, 3, 1), [4, 0, null]);
});

test("Home and End go to the first and the last, and all other keys are the page's", () => {
  assert.deepEqual(after("Home", 5, 0), [0, null]);
  assert.deepEqual(after("End", 0, 7), [7, null]);
  assert.deepEqual(after("PageDown", 0), [null]);
  assert.deepEqual(after("a", 4), [null]);
});
