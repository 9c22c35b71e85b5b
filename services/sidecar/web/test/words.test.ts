import assert from "node:assert/strict";
import { test } from "node:test";

import { address } from "../src/api.ts";
import { formatRoute, PAGES, parseRoute } from "../src/route.ts";
import { en } from "../src/strings/en.ts";
import { fill, languages } from "../src/strings/index.ts";

/** Every text by its path. */
function texts(value: unknown, path = ""): Map<string, string> {
  if (typeof value === "string") return new Map([[path, value]]);
  const found = new Map<string, string>();
  for (const [name, part] of Object.entries(value as object)) {
    for (const entry of texts(part, path === "" ? name : `${path}.${name}`)) found.set(...entry);
  }
  return found;
}

const gaps = (text: string): string[] => [...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1] ?? "").sort();

for (const [name, { load }] of Object.entries(languages)) {
  test(`${name} says everything that English says, with the same gaps to fill`, async () => {
    const [own, english] = [texts(await load()), texts(en)];
    assert.deepEqual([...own.keys()].sort(), [...english.keys()].sort());
    for (const [path, text] of own) {
      assert.notEqual(text.trim(), "", path);
      assert.deepEqual(gaps(text), gaps(english.get(path) ?? ""), path);
    }
  });

  test(`${name} names a button as it is seen in what is read aloud`, async () => {
    const own = await load();
    const pairs = [
      [own.claim, own.claimFor],
      [own.release, own.releaseFor],
      [own.callBack, own.callBackFor],
    ] as const;
    for (const [seen, heard] of pairs) assert.ok(heard.startsWith(seen), `${heard} / ${seen}`);
    assert.ok(own.waiveFor.startsWith(own.waive.replace("…", "")), own.waiveFor);
  });
}

test("a language is more than English under another name", async () => {
  for (const [name, { load }] of Object.entries(languages)) {
    if (name === "en") continue;
    const [own, english] = [texts(await load()), texts(en)];
    const same = [...own]
      .filter(([path, text]) => /[a-z]{3}/.test(text) && english.get(path) === text)
      .map(([path]) => path);
    assert.deepEqual(same, []);
  }
});

test("gaps are filled, and one without a value stays to be seen", () => {
  assert.equal(fill("{a} of {b} {c}", { a: 0, b: "x" }), "0 of x {c}");
});

test("a place survives the address bar, whatever is in an id", () => {
  for (const page of PAGES) {
    for (const id of [null, "agent.one", "a/b?c&d=e#f", "é"]) {
      const route = { page, agent: id, call: id };
      assert.deepEqual(parseRoute(formatRoute(route)), route);
    }
  }
  assert.equal(parseRoute("").page, "live");
  assert.equal(parseRoute("#nowhere").page, "live");
});

test("a query leaves out what is not asked for", () => {
  assert.equal(
    address("/api/calls", { from: "2026-03-02T00:00:00.000Z", cursor: null, outcome: "", limit: 20 }),
    "/api/calls?from=2026-03-02T00%3A00%3A00.000Z&limit=20",
  );
  assert.equal(address("/api/calls", {}), "/api/calls");
});
