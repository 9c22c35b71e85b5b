// Walks through the built page with the keyboard alone, and holds it to what is promised. `node dev/walk.js`; ends with 1 where it fails.

import assert from "node:assert/strict";

import { Browser } from "./browser.js";
import { start } from "./mock.js";

const PORT = 4194;
const [TAB, ENTER, ESCAPE] = ["\uE004", "\uE007", "\uE00C"];
const [LEFT, UP, RIGHT, DOWN, END, HOME] = ["\uE012", "\uE013", "\uE014", "\uE015", "\uE010", "\uE011"];
const later = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

const mock = start({ agents: 12, port: PORT, rate: 0 });
const page = await Browser.open();
const focused = () => page.run("const e = document.activeElement; return e.dataset.testid ?? e.id ?? e.tagName");
const heard = () => page.run("return document.querySelector('[data-testid=announcer]').textContent");
/** The focus comes to where it belongs: soon, but on a busy machine not at once. */
const is = async (expected, what) => {
  for (let tries = 0; tries < 60 && (await focused()) !== expected; tries += 1) await later(50);
  assert.equal(await focused(), expected, what);
};
const post = (path) => fetch(`http://127.0.0.1:${PORT}/dev/${path}`, { method: "POST" });
const rows = () => page.run("return [...document.querySelectorAll('li.missed')].map((row) => row.dataset.testid.slice(7))");

/** What is chosen outlives a visit to another page, and loading anew. */
async function chosenStays() {
  await page.run(
    "const s=document.querySelector('[data-testid=filter-queue]'); s.value='OPD'; s.dispatchEvent(new Event('change',{bubbles:true}))",
  );
  await page.until("[data-testid=counters-of-queue]");
  await page.click("[data-testid=missed-filter-free]");
  await page.click("[data-testid=page-calls]");
  await page.until("[data-testid=call-list]");
  await page.click("[data-testid=page-live]");
  await page.until("[data-testid=counters-of-queue]");
  await page.run("location.reload()");
  await page.until("[data-testid=missed-filter-free][aria-pressed=true]");
  assert.equal(await page.run("return document.querySelector('[data-testid=filter-queue]').value"), "OPD");
  const { asked } = mock.mock;
  assert.ok(asked.some(({ url }) => url.startsWith("/api/missed-calls?") && url.includes("queue=OPD")));
  assert.ok(asked.some(({ url }) => url.startsWith("/api/metrics?") && url.includes("interval=15m&queue=OPD")));
  await page.run(
    "const s=document.querySelector('[data-testid=filter-queue]'); s.value=''; s.dispatchEvent(new Event('change',{bubbles:true}))",
  );
  await page.until("[data-testid=missed-filter-all]");
  await page.click("[data-testid=missed-filter-all]");
  await page.until("[data-state=free] [data-testid^=claim-]");
}

/** After a claim the page leaves the focus, and where it is scrolled to, alone. */
async function focusStays() {
  const id = await page.run("return document.querySelector('[data-state=free] [data-testid^=claim-]').dataset.testid.slice(6)");
  await page.click(`[data-testid="claim-${id}"]`);
  await page.until(`[data-testid="missed-${id}"][data-state=mine]`);
  await page.run("document.activeElement.blur(); scrollTo(0, 400)");
  await later(6500);
  assert.equal(await page.run("return document.activeElement.tagName"), "BODY", "nobody takes the focus");
  assert.equal(await page.run("return scrollY"), 400, "nobody scrolls the page");
  await page.click(`[data-testid="copy-${id}"]`);
  await later(300);
  assert.match(await page.run(`return document.querySelector('[data-testid="copy-${id}"]').textContent`), /opied/);
  const claimedAt = mock.mock.hospital.missed.find((row) => row.callId === id).claimedAt;
  await page.click(`[data-testid="release-${id}"]`);
  await page.until(`[data-testid="missed-${id}"][data-state=free]`);
  const release = mock.mock.asked.findLast(({ url }) => url.endsWith(`${id}/release`));
  assert.deepEqual(release.body, { claimedAt }, "a release names the claim that is meant");
}

/** A press on a dialog's edge, where its scrollbar is, does not close it; one beside it does. */
async function scrollbarStays() {
  await page.click("[data-testid='agent-agent.001'] button");
  await page.until("[data-testid=agent-dialog]");
  const at = "const d=document.querySelector('dialog'), b=d.getBoundingClientRect();";
  const press = (x) =>
    page.run(`${at} d.dispatchEvent(new MouseEvent('mousedown', {bubbles: true, clientX: ${x}, clientY: b.top + 60}))`);
  await press("b.right - 4");
  await later(200);
  assert.ok(await page.run("return document.querySelector('dialog') !== null"), "it stays");
  await press("b.right + 20");
  await later(200);
  assert.ok(await page.run("return document.querySelector('dialog') === null"), "it closes");
}

/** Why nothing was done can be read, also after the list was renewed. */
async function refusalsStay() {
  const first = await page.run(
    "return document.querySelector('[data-state=free] [data-testid^=claim-]').dataset.testid.slice(6)",
  );
  await post("log-down");
  await page.click(`[data-testid="claim-${first}"]`);
  await page.until(`[data-testid="missed-${first}"] .standing.bad`);
  await later(7000);
  await page.until(`[data-testid="missed-${first}"] .standing.bad`, 0.1);
  await post("log-up");
  await post(`close/${first}`);
  await page.click(`[data-testid="claim-${first}"]`);
  await page.until(`[data-testid="missed-${first}"].gone .standing.bad`);
  await later(2000);
  assert.ok((await rows()).includes(first), "it is read as closed");
  await later(11_000);
  assert.ok(!(await rows()).includes(first), "and goes");
}

/** A request that hangs does not pass for one that is well. */
async function hangs() {
  await post("hang?seconds=40");
  await page.until("[data-testid=connection][data-state=live]");
  await page.until(".worklist [data-testid=not-fresh]", 20);
  await post("hang?seconds=0");
  await later(18_000);
  assert.ok(await page.run("return document.querySelector('.worklist [data-testid=not-fresh]') === null"), "it recovers");
}

/** A quiet provider stops no timer; a sign-in that is half over is renewed, and nobody notices. */
async function quietAndRenewed() {
  await post("expires?seconds=300");
  await page.run("location.reload()");
  await page.until("[data-testid^=claim-]");
  await post("quiet");
  await page.until("[data-testid=connection][data-state=quiet]");
  const since = () => page.run("return document.querySelector('[data-testid=agents] .since').textContent");
  const before = await since();
  await later(1700);
  assert.notEqual(await since(), before, "timers run on");
  assert.ok(await page.run("return document.querySelector('.untrusted, .as-of') === null"), "nothing is grey");
  assert.ok(mock.mock.renewals > 0, "it was renewed");
  assert.ok(await page.run("return document.querySelector('[data-testid=sign-in-ends]') === null"));
  await post("fresh");
}

/** Nobody is praised while the board counts calls that the list does not have yet. */
async function listBehind() {
  const { missed } = mock.mock.hospital;
  const open = missed.filter((row) => row.status === "open");
  for (const row of open) row.status = "closed";
  await page.until("[data-testid=worklist-empty]", 12);
  const said = await page.run("return document.querySelector('[data-testid=worklist-empty]').textContent");
  assert.match(said, /counts open missed calls/);
  for (const row of open) row.status = "open";
  await page.until("[data-testid^=claim-]", 12);
}

/** On a wall the end of a sign-in leaves the board, grey, and a way to sign in. */
async function endOnWall() {
  await page.press("w");
  await page.until("[data-testid=wall]");
  await post("sign-out");
  await page.until("[data-testid=connection][data-state=ended]");
  await page.until(".wall .untrusted");
  assert.match(await page.run("return document.title"), /^✕ Signed out/);
  await post("sign-in");
  await page.click("[data-testid=sign-in-again]");
  await page.until("[data-testid=signin-form]");
  assert.notEqual(await page.run("return getComputedStyle(document.body).cursor"), "none", "a form has a pointer");
}

/** What had the focus may go with a delta: the focus is then on a heading near it, never at the top of the page. */
async function focusOutlivesDeltas() {
  const { hospital } = mock.mock;
  const call = [...hospital.live.values()].find((one) => one.answeredAt !== null && !one.presumed);
  const link = `[data-testid="call-${call.callId}"] button.link`;
  await page.run(`document.querySelector('${link}').focus()`);
  hospital.end(call);
  await page.until(`body:not(:has([data-testid="call-${call.callId}"]))`);
  await is("calls-title", "a call that ends takes no focus with it");
  const row = (await rows()).at(-1);
  await page.run(`document.querySelector('[data-testid="missed-${row}"] button').focus()`);
  await post(`close/${row}`);
  await page.until(`body:not(:has([data-testid="missed-${row}"]))`, 15);
  await is("worklist-title", "nor does a missed call that another has closed");
  const ready = hospital.agents.find((agent) => agent.state === "ready");
  await page.click("[data-testid=filter-ready]");
  await page.run(`document.querySelector('[data-testid="agent-${ready.agentId}"] button').focus()`);
  hospital.set(ready, "paused", { reason: "tea" });
  await page.until(`body:not(:has([data-testid="agent-${ready.agentId}"]))`);
  await is("agents-title", "nor an agent who fits the filter no more");
  await page.click("[data-testid=filter-all]");
}

/** The name is typed, the number of those found is said, and Enter goes to the first of them. */
async function findsAgent() {
  await page.press("/");
  await page.type("[data-testid=find-agent]", "deepa");
  await page.until("[data-testid=agents] li:only-child");
  for (let tries = 0; tries < 60 && !/found/.test(await heard()); tries += 1) await later(50);
  assert.equal(await heard(), "1 agent found");
  await page.press(ENTER);
  const on = () => page.run("return document.activeElement.closest('li')?.dataset.testid ?? null");
  assert.match(await on(), /^agent-/, "Enter leads to who was found");
  await page.press(ENTER);
  await page.until("[data-testid=agent-dialog]");
  await page.press(ESCAPE);
  await page.until("body:not(:has(dialog))");
  assert.match(await on(), /^agent-/, "and back");
  await page.run(
    "const s=document.querySelector('[data-testid=find-agent]'); s.value=''; s.dispatchEvent(new Event('input',{bubbles:true}))",
  );
}

/** However many agents there are, the Tab key passes them with one stop; arrows, Home and End lead on from there. */
async function agentsAreOneStop() {
  const on = () => page.run("return document.activeElement.closest('[data-testid=agents] li')?.dataset.id ?? null");
  const hint = () => page.run("return document.getElementById(document.activeElement.getAttribute('aria-describedby'))?.textContent ?? null");
  const ids = await page.run("return [...document.querySelectorAll('[data-testid=agents] li')].map((one) => one.dataset.id)");
  const columns = await page.run(
    "return new Set([...document.querySelectorAll('[data-testid=agents] li')].map((one) => one.getBoundingClientRect().left)).size",
  );
  assert.ok(columns > 1 && ids.length > columns + 1, "there are rows and columns");
  assert.equal(await page.run("return document.querySelectorAll('[data-testid=agents] button[tabindex=\"0\"]').length"), 1);
  await page.run("[...document.querySelectorAll('.agents .chip')].at(-1).focus()");
  await page.press(TAB);
  assert.equal(await on(), await page.run("return document.querySelector('[data-testid=agents] [tabindex=\"0\"]').closest('li').dataset.id"));
  await page.press(HOME);
  assert.equal(await on(), ids[0]);
  await page.run("[...document.querySelectorAll('.agents .chip')].at(-1).focus()");
  await page.press(TAB);
  assert.equal(await on(), ids[0]);
  assert.match((await hint()) ?? "", /arrow keys/, "how to go on is said where one comes in");
  for (const [key, place] of [[RIGHT, 1], [DOWN, 1 + columns], [LEFT, columns], [UP, 0], [LEFT, 0], [END, ids.length - 1]]) {
    await page.press(key);
    assert.equal(await on(), ids[place], `${key.charCodeAt(0).toString(16)} leads to ${place}`);
  }
  await later(100);
  assert.equal(await hint(), null, "and not again at every step");
  const { hospital } = mock.mock;
  const last = hospital.agents.find(({ agentId }) => agentId === ids.at(-1));
  const was = last.state;
  hospital.set(last, was === "offline" ? "offline" : "paused", { reason: "lunch" });
  await page.until(`[data-testid="agent-${last.agentId}"] .about:not(:empty)`);
  assert.equal(await on(), last.agentId, "a tile that is drawn anew keeps the focus");
  await page.press(ENTER);
  await page.until("[data-testid=agent-dialog]");
  await page.press(ESCAPE);
  await page.until("body:not(:has(dialog))");
  assert.equal(await on(), last.agentId, "and has it back from the dialog");
  await page.press(TAB);
  assert.equal(await on(), null, "one Tab leaves them all");
}

/** A state that is dated in a year to come counts nothing, and says why; everybody else's time runs on as it did. */
async function datedAhead() {
  const { hospital } = mock.mock;
  const agent = hospital.agents.find(({ state }) => state === "ready");
  const since = () => page.run(`return document.querySelector('[data-testid="agent-${agent.agentId}"] .since').textContent`);
  assert.match(await since(), /^\d+:\d\d/);
  hospital.set(agent, "ready", { at: Date.parse("2043-01-14T06:00:00Z") });
  await page.until(`[data-testid="agent-${agent.agentId}"] .since.ahead[title*="later than now"]`);
  assert.equal(await since(), "dated ahead");
  hospital.set(agent, "ready");
  await page.until(`[data-testid="agent-${agent.agentId}"]:not(:has(.ahead))`);
  assert.match(await since(), /^0:\d\d$/);
  assert.equal(await page.run(`return document.querySelector('[data-testid="agent-${agent.agentId}"] .since').title`), "");
}

/** An alert leads to what it is about. */
async function alertsLead() {
  await page.until("[data-testid=alert-overdue-missed-calls] button");
  await page.run("document.querySelector('[data-testid=alert-overdue-missed-calls] button').focus()");
  await page.press(ENTER);
  await page.until("[data-testid=missed-filter-overdue][aria-pressed=true]");
  await is("worklist-title", "the alert leads to the list");
  await page.click("[data-testid=missed-filter-all]");
}

/** What is heard of a button or a link says which one it is; lists, tables and the page's parts have names. */
async function namesAreUnique() {
  for (const row of await rows()) mock.mock.hospital.missed.find(({ callId }) => callId === row).caller = null;
  await page.until("li.missed:last-child button[aria-label*='Number unknown']", 12);
  const [names, tables, headings] = await page.run(`
    const seen = [...document.querySelectorAll("button, a, select, input")].filter((one) => one.checkVisibility());
    const name = (one) => one.getAttribute("aria-label") ?? one.labels?.[0]?.querySelector("span")?.textContent ?? one.innerText;
    return [seen.map((one) => name(one).trim()),
      [...document.querySelectorAll("table")].filter((one) => one.caption === null || one.querySelector("th[scope]") === null).length,
      [...document.querySelectorAll("h1, h2, h3")].map((one) => one.tagName).join("")];`);
  assert.deepEqual(names.filter((name, at) => name === "" || names.indexOf(name) !== at), [], "every name once");
  assert.equal(tables, 0, "every table has a caption and headers");
  assert.match(headings, /^H1(H2)+$/, "one heading for the hospital, one for each part");
}

/** A minute of deltas says nothing to who hears the page, but what needs a person. */
async function liveRegionsAreCalm() {
  await page.run(
    "window.said_ = []; new MutationObserver((list) => { for (const { target } of list) { const live = (target.nodeType === 1 ? target : target.parentElement)?.closest('[role=status], [role=alert], [aria-live]'); if (live) said_.push(live.textContent); } }).observe(document.body, {subtree: true, childList: true, characterData: true})",
  );
  const before = mock.mock.version;
  const timer = setInterval(() => mock.mock.hospital.step(), 50);
  await later(6000);
  clearInterval(timer);
  assert.ok(mock.mock.version - before > 5, "deltas came");
  const said = await page.run("return said_");
  assert.ok(said.length <= 2, `said within six seconds: ${said.join(" | ")}`);
}

/** The form asks for nothing but keys, and leads to the board. */
async function signsInByKeys() {
  await is("signin-email", "the form begins at its first field");
  await page.type("[data-testid=signin-email]", "supervisor@hospital.example");
  await page.press(TAB);
  await is("signin-password", "and goes on to the next");
  await page.type("[data-testid=signin-password]", "a password");
  await page.press(ENTER);
  await page.until("[data-testid=connection][data-state=live]");
  await is("board", "who has signed in is on the board");
}

async function linkWithToken() {
  await page.run("location.hash = '#token=analyst&view=calls'");
  await page.until("[data-testid=call-list]");
  assert.equal(await page.run("return location.hash"), "#calls", "a token stays in no address");
  assert.equal(await page.run("return document.querySelector('.who').textContent"), "Analyst");
}

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
  await page.until(`body:not(:has([data-testid="missed-${free}"]))`);
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
  await is("board", "the focus is on the page that is shown");
  await later(4500);
  assert.equal(
    await page.run(
      "return document.querySelectorAll('.wall button:not(.plot button), .wall a, .wall select, .wall input').length",
    ),
    0,
    "nothing on a wall can be pressed while nobody is there",
  );
  assert.equal(await page.run("return getComputedStyle(document.querySelector('.wall h1')).cursor"), "none");
  await page.run("dispatchEvent(new PointerEvent('pointermove'))");
  await page.until("[data-testid=leave-wall]");
  assert.notEqual(await page.run("return getComputedStyle(document.querySelector('.wall h1')).cursor"), "none");
  await page.click("[data-testid=leave-wall]");
  await page.until("[data-testid=worklist]");
  await page.press("w");
  await page.until("[data-testid=wall]");
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
  await page.run("location.hash = '#wall'");
  await page.until("[data-testid=wall]");
  await page.press(ESCAPE);
  await page.until("[data-testid=worklist]");
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
  await page.press(ESCAPE);
  await later(200);
  assert.ok(await page.run("return document.querySelector('dialog') === null"), "and the lower one");
  await page.click("[data-testid='agent-agent.001'] button");
  await page.until("[data-testid=agent-dialog]");
  await page.run("history.back()");
  await later(200);
  assert.ok(await page.run("return document.querySelector('dialog') === null"), "Back closes what was opened");

  await focusOutlivesDeltas();
  await findsAgent();
  await agentsAreOneStop();
  await datedAhead();
  await alertsLead();
  await chosenStays();
  await focusStays();
  await scrollbarStays();
  await refusalsStay();
  await hangs();
  await quietAndRenewed();
  await listBehind();
  await liveRegionsAreCalm();
  await namesAreUnique();
  await endOnWall();
  await signsInByKeys();
  await linkWithToken();
  console.log("the walk went well");
} finally {
  await page.close();
  mock.stop();
}
