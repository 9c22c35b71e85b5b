// Looks at every part of the built page on the mock: screenshots, axe, what the console said. `node dev/look.js FOLDER [SCENE…]`
// Ends with 1 where axe finds anything serious or critical, or the page logged an error it should not have.

import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";

import { Browser } from "./browser.js";
import { start } from "./mock.js";

const [folder = "shots", ...only] = process.argv.slice(2);
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const LONG = [
  "Sri Venkata Subrahmanya Narasimha Raju Chintalapati",
  "Dr. Maria-Magdalena Wolfeschlegelsteinhausenbergerdorff",
  "فاطمة الزهراء بنت عبد الرحمن",
  "رحیم خان",
  "אסתר בן־דוד",
  "सौभाग्यलक्ष्मी विश्वनाथन नारायणस्वामी",
  "Ng",
  "agent.without.a.name.but.with.a.very.long.identifier@hospital.example",
];
const STORM = { agents: 500, rate: 20, calls: 60, waiting: 25, longestWait: 840_000, missed: 205 };
/** A hospital a port: started when a scene first looks at it. */
const HOSPITALS = {
  4191: { agents: 12, rate: 1 },
  4192: { agents: 500, rate: 20 },
  4196: { agents: 48, rate: 2 },
  4197: { agents: 120, rate: 4 },
  4198: { agents: 12, isMorning: true },
  4199: { agents: 12, missed: 800 },
  4181: STORM,
  4182: { agents: 0, missed: 0 },
  4183: { agents: 12, isNight: true },
  4184: { agents: 24, names: LONG },
  4185: { agents: 24, waiting: 25, longestWait: 840_000 },
};
const [PORT, BIG_PORT, TEAM_PORT, CROWD_PORT, MORNING_PORT, FULL_PORT] = [4191, 4192, 4196, 4197, 4198, 4199];
const [STORM_PORT, EMPTY_PORT, NIGHT_PORT, NAMES_PORT, SMALL_STORM_PORT] = [4181, 4182, 4183, 4184, 4185];
const later = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
const post = (path, port = PORT) => opened(port) && fetch(`http://127.0.0.1:${port}/dev/${path}`, { method: "POST" });

const isIdle = (port) => port === EMPTY_PORT || port === NIGHT_PORT;
const live =
  (role, view = "", port = PORT) =>
  async (page) => {
    opened(port);
    await page.goto(`http://127.0.0.1:${port}/?lang=en#token=${role}${view === "" ? "" : `&view=${view}`}`);
    await page.until("[data-testid=connection][data-state=live]");
    if (role !== "agent" && view === "" && !isIdle(port)) await page.until("[data-testid=plot-calls] rect");
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
  {
    name: "wall-44-alerts-banner",
    width: 1920,
    height: 1080,
    act: async (page) => {
      await post("quiet", TEAM_PORT);
      opened(TEAM_PORT);
      await page.goto(`http://127.0.0.1:${TEAM_PORT}/?lang=en#token=supervisor&view=wall`);
      await page.until("[data-testid=connection][data-state=quiet]");
      await later(800);
    },
    after: () => post("fresh", TEAM_PORT),
  },
  { name: "wall-120", width: 1920, height: 1080, dark: true, act: live("supervisor", "wall", CROWD_PORT) },
  {
    name: "wall-records-behind",
    width: 1920,
    height: 1080,
    act: async (page) => {
      await live("supervisor", "wall")(page);
      await post("records-behind");
      await page.until(".wall .panel .as-of");
      await later(600);
    },
    after: () => post("fresh"),
  },
  { name: "wall-laptop", width: 1366, height: 768, act: live("supervisor", "wall") },
  { name: "wall-phone", width: 360, height: 740, act: live("supervisor", "wall") },
  {
    name: "wall-awake",
    width: 1920,
    height: 1080,
    act: async (page) => {
      await live("supervisor", "wall")(page);
      await page.press("\uE008");
      await page.until("[data-testid=leave-wall]");
    },
  },
  { name: "wall-new-day", width: 1920, height: 1080, act: live("supervisor", "wall", MORNING_PORT) },
  {
    name: "wall-signed-out",
    width: 1920,
    height: 1080,
    dark: true,
    errors: true,
    act: async (page) => {
      await live("supervisor", "wall")(page);
      await post("sign-out");
      await page.until("[data-testid=connection][data-state=ended]");
      await later(800);
    },
    after: () => post("sign-in"),
  },
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
  { name: "storm", act: live("supervisor", "", STORM_PORT) },
  { name: "storm-dark", dark: true, act: live("supervisor", "", STORM_PORT) },
  { name: "storm-1080", width: 1920, height: 1080, act: live("supervisor", "", STORM_PORT) },
  { name: "storm-phone", width: 390, height: 844, act: live("supervisor", "", STORM_PORT) },
  { name: "storm-wall", width: 1920, height: 1080, dark: true, act: live("supervisor", "wall", STORM_PORT) },
  { name: "storm-small-team", act: live("supervisor", "", SMALL_STORM_PORT), whole: true },
  { name: "storm-small-team-wall", width: 1920, height: 1080, act: live("supervisor", "wall", SMALL_STORM_PORT) },
  { name: "empty", act: live("supervisor", "", EMPTY_PORT), whole: true },
  { name: "empty-wall", width: 1920, height: 1080, act: live("supervisor", "wall", EMPTY_PORT) },
  { name: "empty-phone", width: 390, height: 844, act: live("supervisor", "", EMPTY_PORT), whole: true },
  { name: "night", dark: true, act: live("supervisor", "", NIGHT_PORT), whole: true },
  { name: "night-wall", width: 1920, height: 1080, dark: true, act: live("supervisor", "wall", NIGHT_PORT) },
  { name: "names", act: live("supervisor", "", NAMES_PORT), whole: true },
  { name: "names-wall", width: 1920, height: 1080, act: live("supervisor", "wall", NAMES_PORT) },
  { name: "names-phone", width: 390, height: 844, act: live("supervisor", "", NAMES_PORT), whole: true },
  { name: "zoomed", zoom: 2, act: SUPERVISOR, whole: true },
  { name: "zoomed-4", zoom: 4, act: SUPERVISOR },
  { name: "forced-colours", media: { "forced-colors": "active" }, act: SUPERVISOR },
  { name: "forced-colours-dark", dark: true, media: { "forced-colors": "active" }, act: SUPERVISOR },
  { name: "deuteranopia", vision: "deuteranopia", act: SUPERVISOR },
  { name: "without-colour", vision: "achromatopsia", act: SUPERVISOR },
  {
    name: "agent-page-deuteranopia",
    vision: "deuteranopia",
    act: async (page) => {
      await live("agent")(page);
      await page.until("[data-testid=call-list]");
    },
  },
  { name: "phone-landscape", width: 844, height: 390, act: SUPERVISOR },
  { name: "reduced-motion", media: { "prefers-reduced-motion": "reduce" }, act: SUPERVISOR },
  {
    name: "stale-an-hour",
    act: async (page) => {
      await SUPERVISOR(page);
      await post("stale?seconds=3600");
      await page.until("[data-testid=connection][data-state=stale]");
      await later(600);
    },
    after: () => post("fresh"),
  },
  { name: "wide", width: 2200, height: 1200, act: SUPERVISOR },
  { name: "many-agents", port: BIG_PORT, act: live("supervisor", "", BIG_PORT) },
  {
    name: "new-day",
    act: async (page) => {
      opened(MORNING_PORT);
      await page.goto(`http://127.0.0.1:${MORNING_PORT}/?lang=en#token=supervisor`);
      await page.until("[data-testid=no-events-yet]");
      await page.until("[data-testid=worklist] li");
      await later(800);
    },
  },
  {
    name: "quiet",
    act: async (page) => {
      await SUPERVISOR(page);
      await post("quiet");
      await page.until("[data-testid=connection][data-state=quiet]");
      await later(1200);
    },
    after: () => post("fresh"),
  },
  {
    name: "quiet-dark",
    dark: true,
    act: async (page) => {
      await SUPERVISOR(page);
      await post("quiet");
      await page.until("[data-testid=connection][data-state=quiet]");
    },
    after: () => post("fresh"),
  },
  {
    name: "records-behind",
    act: async (page) => {
      await SUPERVISOR(page);
      await post("records-behind");
      await page.until(".as-of");
    },
    after: () => post("fresh"),
  },
  {
    name: "sign-in-ends",
    act: async (page) => {
      await post("expires?seconds=400");
      await post("cannot-renew");
      await SUPERVISOR(page);
      await page.until("[data-testid=sign-in-ends]");
    },
    errors: true,
    after: () => post("can-renew"),
  },
  {
    name: "worklist-full",
    act: async (page) => {
      await live("supervisor", "", FULL_PORT)(page);
      await page.click(".worklist [data-testid=show-all]");
      await page.run("document.querySelector('[data-testid=more-missed]').scrollIntoView({block: 'center'})");
    },
  },
  { name: "phone-360", width: 360, height: 740, act: SUPERVISOR, whole: true },
  {
    name: "phone-360-agents",
    width: 360,
    height: 740,
    act: async (page) => {
      await SUPERVISOR(page);
      await page.run("document.getElementById('agents-title').scrollIntoView()");
      await later(400);
    },
  },
  {
    name: "phone-360-quiet",
    width: 360,
    height: 740,
    act: async (page) => {
      await SUPERVISOR(page);
      await post("quiet");
      await page.until("[data-testid=connection][data-state=quiet]");
    },
    after: () => post("fresh"),
  },
  {
    name: "waive-refused",
    errors: true,
    act: async (page) => {
      await SUPERVISOR(page);
      await post("log-down");
      await page.click("[data-state=free] [data-testid^=waive-]");
      await page.type("[data-testid=waive-reason]", "Spam or test call");
      await page.click("[data-testid=waive-submit]");
      await page.until("[data-testid=waive-problem]:not(:empty)");
    },
    after: () => post("log-up"),
  },
  {
    name: "dialog-disconnected",
    errors: true,
    act: async (page) => {
      await SUPERVISOR(page);
      await page.click("[data-testid='agent-agent.001'] button");
      await page.until("[data-testid=figures]");
      await post("silent?seconds=8");
      await page.until("[data-testid=connection][data-state=disconnected]");
      await later(600);
    },
    after: () => later(8000),
  },
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
const mocks = new Map();
const opened = (port) => mocks.has(port) || mocks.set(port, start({ port, ...HOSPITALS[port] }));
const page = await Browser.open();
let wrong = 0;
try {
  for (const scene of SCENES) {
    const { name, width = 1440, height = 900, zoom = 1, dark = false, whole = false, errors = false, media = {}, vision = "none", act, after } = scene;
    if (only.length > 0 && !only.includes(name)) continue;
    await page.size(width / zoom, height / zoom, zoom);
    await page.media({ "prefers-color-scheme": dark ? "dark" : "light", ...media });
    await page.devtools("Emulation.setEmulatedVisionDeficiency", { type: vision });
    await page.logs();
    console.log(name);
    try {
      await act(page);
      // Tiles out of sight are not painted, which a picture beyond the window would show.
      if (whole)
        await page.run("const s = new CSSStyleSheet(); s.replaceSync('.agent { content-visibility: visible }'); document.adoptedStyleSheets = [s]");
      await page.shot(join(folder, `${name}.png`), whole);
      // What a wall cuts off nobody ever sees.
      const cut = await page.run(
        "const e=document.querySelector('.wall'); const r=document.querySelector('.wall-rest'); return e && innerWidth > 900 ? Math.max(e.scrollHeight - innerHeight, r.scrollHeight - r.clientHeight) : 0",
      );
      if (cut > 0) console.log(`    ${cut} px of the wall are cut off`);
      if (cut > 0) wrong += 1;
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
  for (const mock of mocks.values()) mock.stop();
}
console.log(wrong === 0 ? "nothing serious" : `${wrong} to mend`);
process.exitCode = wrong === 0 ? 0 : 1;
