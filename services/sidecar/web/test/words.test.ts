import assert from "node:assert/strict";
import { test } from "node:test";

import { address } from "../src/api.ts";
import { chooses, formatRoute, PAGES, parseRoute } from "../src/route.ts";
import { en } from "../src/strings/en.ts";
import { formFor } from "../src/strings/forms.ts";
import { fill, fillFor, languages } from "../src/strings/index.ts";

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
      const choices = id === null ? {} : { queue: id, date: "2026-03-02" };
      const route = { page, agent: id, call: id, choices };
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

test("a choice is made, made anew, and taken back", () => {
  const made = chooses(chooses({}, "queue", "OPD"), "missed", "mine");
  assert.deepEqual(made, { queue: "OPD", missed: "mine" });
  assert.deepEqual(chooses(made, "queue", "Billing"), { queue: "Billing", missed: "mine" });
  assert.deepEqual(chooses(chooses(made, "queue", null), "missed", ""), {});
  assert.deepEqual(parseRoute("#live?queue=OPD&nonsense=1").choices, { queue: "OPD" });
});

test("one is not many, as each language tells them apart", () => {
  const forms = { one: "one", other: "many" };
  assert.deepEqual(
    [0, 1, 2].map((count) => formFor(forms, count, "en")),
    ["many", "one", "many"],
  );
  // Hindi counts nought as one.
  assert.equal(formFor(forms, 0, "hi"), "one");
  assert.equal(fillFor(1, en.alert.overdueMissedCalls, { value: 1 }), "1 missed call overdue");
  assert.equal(fillFor(2, en.alert.overdueMissedCalls, { value: 2 }), "2 missed calls overdue");
  assert.equal(fillFor(2, "{value}%", { value: 2 }), "2%");
});
