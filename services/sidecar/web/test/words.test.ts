import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { test } from "node:test";

import { address } from "../src/api.ts";
import { count } from "../src/format.ts";
import { reading } from "./reader.ts";
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
      .filter(([path, text]) => /[a-z]{3}/.test(text.replace(/\{\w+\}/g, "")) && english.get(path) === text)
      .map(([path]) => path);
    assert.deepEqual(same, []);
  }
});

test("a name that is written from right to left does not turn the text around it", () => {
  assert.equal(fill("claimed by {name} at {time}", { name: "רחל", time: "11:38" }), "claimed by \u2068רחל\u2069 at 11:38");
});

test("numbers are grouped as the reader's country groups them, from five digits on", () => {
  const shown = (tag: string): string[] => reading([tag], () => [999, 9358, 12_345, 1_234_567].map(count));
  assert.deepEqual(shown("en-GB"), ["999", "9358", "12,345", "1,234,567"]);
  assert.deepEqual(shown("en-IN"), ["999", "9358", "12,345", "12,34,567"]);
  assert.deepEqual(shown("de-DE"), shown("en-GB"), "of a page in English, as English does");
});

test("a language may count otherwise than English", () => {
  const forms = { one: "1", few: "2-4", many: "5+", other: "1.5" };
  assert.deepEqual(
    [1, 3, 5, 22].map((number) => formFor(forms, number, "pl")),
    ["1", "2-4", "5+", "2-4"],
  );
});

test("no view says a word that is in no language file", async () => {
  const WORD = /[A-Za-z]{3}/;
  let read = 0;
  for (const folder of ["src/view", "src/plot"]) {
    for (const name of await readdir(folder)) {
      const text = (await readFile(`${folder}/${name}`, "utf8")).replace(/^\s*(\/\/|\/?\*).*$/gm, "");
      const between = [...text.matchAll(/<\w[^<>=]*(?:="[^"]*"[^<>=]*)*>\s*([^<>{}()=;]+?)\s*<\//g)].map((found) => found[1] ?? "");
      const given = [...text.matchAll(/\b(?:aria-label|title|placeholder|alt|label)="([^"]*)"/g)].map((found) => found[1] ?? "");
      // The name of a key is the same on every keyboard.
      const words = [...between, ...given].filter((word) => WORD.test(word) && word !== "Esc");
      assert.deepEqual(words, [], name);
      read += between.length;
    }
  }
  assert.ok(read > 0, "texts between tags are found at all");
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
