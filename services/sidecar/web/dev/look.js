// Looks at every part of the built page on the mock: screenshots, axe, what the console said. `node dev/look.js FOLDER [SCENE…]`
// Ends with 1 where axe finds anything serious or critical, or the page logged an error it should not have.

import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";

import { Browser } from "./browser.js";
import { start } from "./mock.js";

const [folder = "shots", ...only] = process.argv.slice(2);
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const PORT = 4191;
const BIG_PORT = 4192;
const TEAM_PORT = 4196;
const later = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
const post = (path, port = PORT) => fetch(`http://127.0.0.1:${port}/dev/${path}`, { method: "POST" });

const live =
  (role, view = "", port = PORT) =>
  async (page) => {
    await page.goto(`http://127.0.0.1:${port}/?lang=en#token=${role}${view === "" ? "" : `&view=${view}`}`);
    await page.until("[data-testid=connection][data-state=live]");
    if (role !== "agent" && view === "") await page.until("[data-testid=plot-calls] rect");
    await later(400);
  };
const SUPERVISOR = live("supervisor");

/** Name, window, what is done before the look; `whole` takes the page beyond the window. */
const SCENES = [
  { name: "desktop-light", act: SUPERVISOR, whole: true },
  { name: "desktop-dark", dark: true, act: SUPERVISOR },
  {
    name: "desktop-hindi",
    act: async (page) => {
      await SUPERVISOR(page);
      await page.run(
        "const s=document.querySelector('[data-testid=language]'); s.value='hi'; s.dispatchEvent(new Event('change',{bubbles:true}))",
      );
      await page.until("html[lang=hi] [data-testid=plot-calls] rect");
      await later(300);
    },
  },
  {
    name: "worklist-claim",
    act: async (page) => {
      await SUPERVISOR(page);
      await page.click("[data-state=free] [data-testid^=claim-]");
      await later(400);
    },
  },
  {
    name: "worklist-conflict",
    act: async (page) => {
      await SUPERVISOR(page);
      const id = await page.run(
        "return document.querySelector('[data-state=free] [data-testid^=claim-]').dataset.testid.slice(6)",
      );
      await post(`steal/${id}`);
      await page.click(`[data-testid="claim-${id}"]`);
      await page.until(`[data-testid="missed-${id}"] .standing.bad`);
    },
  },
  {
    name: "one-queue",
    act: async (page) => {
      await SUPERVISOR(page);
      await page.run(
        "const s=document.querySelector('[data-testid=filter-queue]'); s.value='OPD'; s.dispatchEvent(new Event('change',{bubbles:true}))",
      );
      await later(300);
      await page.until("[data-testid=plot-calls] rect");
    },
  },
  {
    name: "worklist-log-down",
    errors: true,
    act: async (page) => {
      await SUPERVISOR(page);
      await post("log-down");
      await page.click("[data-state=free] [data-testid^=claim-]");
      await page.until(".standing.bad");
      await post("log-up");
    },
  },
  {
    name: "waive-dialog",
    act: async (page) => {
      await SUPERVISOR(page);
      await page.click("[data-state=free] [data-testid^=waive-]");
      await page.type("[data-testid=waive-reason]", "Spam or test call");
    },
  },
  {
    name: "agent-dialog",
    act: async (page) => {
      await SUPERVISOR(page);
      await page.click("[data-testid='agent-agent.001'] button");
      await page.until("[data-testid=figures]");
      await page.until("[data-testid=call-list]");
    },
  },
  {
    name: "call-dialog",
    dark: true,
    act: async (page) => {
      await SUPERVISOR(page);
      await page.click("[data-testid=calls] button.link");
      await page.until("[data-testid=facts]");
    },
  },
  {
    name: "help-dialog",
    act: async (page) => {
      await SUPERVISOR(page);
      await page.press("?");
      await page.until("[data-testid=help-dialog]");
    },
  },
  {
    name: "plots-as-tables",
    act: async (page) => {
      await SUPERVISOR(page);
      await page.click("[data-testid=plot-calls] button");
      await page.click("[data-testid=plot-service-level] button");
    },
  },
  {
    name: "calls-page",
    act: async (page) => {
      await live("supervisor", "calls")(page);
      await page.until("[data-testid=call-list]");
    },
  },
  {
    name: "agent-page",
    act: async (page) => {
      await live("agent")(page);
      await page.until("[data-testid=figures]");
      await page.until("[data-testid=call-list]");
    },
    whole: true,
  },
  {
    name: "agent-page-phone",
    width: 390,
    height: 844,
    act: async (page) => {
      await live("agent")(page);
      await page.until("[data-testid=call-list]");
    },
    whole: true,
  },
  { name: "analyst", act: live("analyst") },
  { name: "wall", width: 1920, height: 1080, dark: true, act: live("supervisor", "wall") },
  { name: "wall-team", width: 1920, height: 1080, dark: true, act: live("supervisor", "wall", TEAM_PORT) },
  { name: "wall-many", width: 1920, height: 1080, act: live("supervisor", "wall", BIG_PORT) },
  { name: "wall-light", width: 1920, height: 1080, act: live("supervisor", "wall") },
  { name: "phone", width: 390, height: 844, act: SUPERVISOR, whole: true },
  { name: "phone-dark-top", width: 390, height: 844, dark: true, act: SUPERVISOR },
  {
    name: "phone-agents",
    width: 390,
    height: 844,
    act: async (page) => {
      await SUPERVISOR(page);
      await page.run("document.getElementById('agents-title').scrollIntoView()");
      await later(400);
    },
  },
  {
    name: "phone-agent-dialog",
    width: 390,
    height: 844,
    act: async (page) => {
      await SUPERVISOR(page);
      await page.click("[data-testid='agent-agent.001'] button");
      await page.until("[data-testid=figures]");
    },
  },
  { name: "wide", width: 2200, height: 1200, act: SUPERVISOR },
  { name: "many-agents", port: BIG_PORT, act: live("supervisor", "", BIG_PORT) },
  {
    name: "stale",
    act: async (page) => {
      await SUPERVISOR(page);
      await post("stale");
      await page.until("[data-testid=connection][data-state=stale]");
      await later(1500);
    },
    after: () => post("fresh"),
  },
  {
    name: "stale-dark",
    dark: true,
    act: async (page) => {
      await SUPERVISOR(page);
      await post("stale");
      await page.until("[data-testid=connection][data-state=stale]");
    },
    after: () => post("fresh"),
  },
  {
    name: "wall-disconnected",
    width: 1920,
    height: 1080,
    dark: true,
    errors: true,
    act: async (page) => {
      await live("supervisor", "wall")(page);
      await post("silent?seconds=8");
      await page.until("[data-testid=connection][data-state=disconnected]");
      await later(600);
    },
  },
  {
    name: "disconnected",
    errors: true,
    act: async (page) => {
      await later(8000);
      await SUPERVISOR(page);
      await post("silent?seconds=9");
      await page.until("[data-testid=connection][data-state=disconnected]");
      await later(1500);
    },
  },
  {
    name: "signin",
    errors: true,
    act: async (page) => {
      await later(8000);
      await page.goto(`http://127.0.0.1:${PORT}/`);
      await page.run("sessionStorage.clear()");
      await page.goto(`http://127.0.0.1:${PORT}/`);
      await page.until("[data-testid=signin-form]");
    },
  },
];

async function checked(page) {
  await page.run(axe);
  const found = await page.later(
    "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']}).then((r) => done(r.violations.map((v) => ({id: v.id, impact: v.impact, nodes: v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160) + ' :: ' + n.failureSummary.replaceAll('\\n', ' ').slice(0, 220))}))))",
  );
  for (const { id, impact, nodes } of found) console.log(`    axe ${impact}: ${id}\n      ${nodes.join("\n      ")}`);
  return found.filter(({ impact }) => impact === "serious" || impact === "critical").length;
}

await mkdir(folder, { recursive: true });
const small = start({ agents: 12, port: PORT, rate: 1 });
const big = start({ agents: 500, port: BIG_PORT, rate: 20 });
const team = start({ agents: 40, port: TEAM_PORT, rate: 2 });
const page = await Browser.open();
let wrong = 0;
try {
  for (const { name, width = 1440, height = 900, dark = false, whole = false, errors = false, act, after } of SCENES) {
    if (only.length > 0 && !only.includes(name)) continue;
    await page.size(width, height);
    await page.scheme(dark ? "dark" : "light");
    await page.logs();
    console.log(name);
    try {
      await act(page);
      await page.shot(join(folder, `${name}.png`), whole);
      const sideways = await page.run("return document.documentElement.scrollWidth - innerWidth");
      if (sideways > 0) console.log(`    ${sideways} px wider than the window`);
      wrong += await checked(page);
      const severe = (await page.logs()).filter(
        (entry) => entry.level === "SEVERE" && !/409|favicon/.test(entry.message),
      );
      if (!errors) for (const entry of severe) console.log(`    console: ${entry.message}`);
      if (!errors) wrong += severe.length;
    } catch (error) {
      wrong += 1;
      console.log(`    ${error.message}`);
      await page.shot(join(folder, `${name}-failed.png`)).catch(() => {});
    }
    await after?.();
  }
} finally {
  await page.close();
  small.stop();
  big.stop();
  team.stop();
}
console.log(wrong === 0 ? "nothing serious" : `${wrong} to mend`);
process.exitCode = wrong === 0 ? 0 : 1;
