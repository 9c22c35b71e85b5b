// Walks through the built page with the keyboard alone, and holds it to what is promised. `node dev/walk.js`; ends with 1 where it fails.

import assert from "node:assert/strict";

import { Browser } from "./browser.js";
import { start } from "./mock.js";

const PORT = 4194;
const [TAB, ENTER, ESCAPE] = ["\uE004", "\uE007", "\uE00C"];
const later = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

const mock = start({ agents: 12, port: PORT, rate: 0 });
const page = await Browser.open();
const focused = () => page.run("const e = document.activeElement; return e.dataset.testid ?? e.id ?? e.tagName");
const heard = () => page.run("return document.querySelector('[data-testid=announcer]').textContent");
const is = async (expected, what) => assert.equal(await focused(), expected, what);
try {
  await page.goto(`http://127.0.0.1:${PORT}/?lang=en#token=supervisor`);
  await page.until("[data-testid^=claim-]");
  assert.doesNotMatch(await page.run("return location.href"), /token/, "the token stays in no address");

  await page.press(TAB);
  assert.equal(await page.run("return document.activeElement.className"), "skip", "the first stop skips the header");
  await page.press(ENTER);
  await is("board", "the skip link leads to the board");

  await page.press("m");
  await is("worklist-title", "m leads to the missed calls");
  const free = await page.run(
    "return document.querySelector('[data-state=free] [data-testid^=claim-]').dataset.testid.slice(6)",
  );
  await page.run("document.querySelector(`[data-testid='claim-${arguments[0]}']`).focus()", free);
  await page.press(ENTER);
  await page.until(`[data-testid="missed-${free}"][data-state=mine]`);
  await later(100);
  await is(`call-back-${free}`, "after a claim the focus is on what comes next");
  assert.match(await heard(), /^Claimed: /, "the claim is said");

  await page.press(TAB);
  await page.press(TAB);
  await page.press(TAB);
  await is(`waive-${free}`, "call back, copy, release, waive: in this order");
  await page.press(ENTER);
  await page.until("[data-testid=waive-dialog]");
  await page.press(ESCAPE);
  await later(100);
  await is(`waive-${free}`, "Escape closes a dialog and gives the focus back");
  await page.press(ENTER);
  await page.until("[data-testid=waive-dialog]");
  for (let stop = 0; stop < 30; stop += 1) {
    await page.press(TAB);
    const inside = await page.run(
      "return document.activeElement === document.body || document.activeElement.closest('dialog') !== null",
    );
    assert.ok(inside, "the focus stays in a dialog");
  }
  assert.ok(
    await page.run("return document.querySelector('[data-testid=waive-submit]').disabled"),
    "no reason, no waiving",
  );
  await page.type("[data-testid=waive-reason]", "   ");
  assert.ok(
    await page.run("return document.querySelector('[data-testid=waive-submit]').disabled"),
    "blanks are no reason",
  );
  await page.type("[data-testid=waive-reason]", "Wrong number");
  await page.press(ENTER);
  await later(400);
  assert.equal(
    await page.run("return document.querySelector(`[data-testid='missed-${arguments[0]}']`)", free),
    null,
    "a waived call is gone",
  );
  await is("worklist-title", "the focus is not lost with the row");
  assert.equal(mock.mock.hospital.missed.find((row) => row.callId === free).closedReason, "waived");

  await page.press("/");
  await is("find-agent", "/ leads to the search");
  await page.press("w");
  assert.ok(
    await page.run("return document.querySelector('[data-testid=wall]') === null"),
    "a letter that is typed is no shortcut",
  );
  await page.run("document.activeElement.blur()");
  await page.press("w");
  await page.until("[data-testid=wall]");
  assert.equal(
    await page.run(
      "return document.querySelectorAll('.wall button:not(.plot button), .wall a, .wall select, .wall input').length",
    ),
    0,
    "nothing on a wall can be pressed",
  );
  assert.doesNotMatch(
    await page.run("return document.querySelector('[data-testid=wall]').innerText"),
    /9198\d{8}/,
    "no caller's number hangs on a wall",
  );
  await page.press(ESCAPE);
  await page.until("[data-testid=worklist]");

  await page.press("?");
  await page.until("[data-testid=help-dialog]");
  await page.click("[data-testid=shortcuts]");
  await page.press(ESCAPE);
  await later(100);
  await page.press("w");
  await later(100);
  assert.ok(
    await page.run("return document.querySelector('[data-testid=wall]') === null"),
    "shortcuts can be switched off",
  );
  await page.run("localStorage.clear()");

  await page.click("[data-testid='agent-agent.001'] button");
  await page.until("[data-testid=agent-dialog] [data-testid=call-list]");
  await page.click("[data-testid=agent-dialog] [data-testid=call-list] button.link");
  await page.until("[data-testid=call-dialog] [data-testid=facts]");
  await page.press(ESCAPE);
  await later(200);
  assert.ok(
    await page.run(
      "return document.querySelector('[data-testid=call-dialog]') === null && document.querySelector('[data-testid=agent-dialog]') !== null",
    ),
    "Escape closes the upper of two dialogs",
  );
  await page.run("history.back()");
  await later(200);
  assert.ok(
    await page.run("return document.querySelector('[data-testid=call-dialog]') !== null"),
    "Back goes where one was",
  );
  console.log("the walk went well");
} finally {
  await page.close();
  mock.stop();
}
