// How long the page takes to show a board, what it costs to keep it, and how soon it answers who types. `node dev/measure.js [SECONDS] [small] [large] [storm]
// [--profile]`

import { Browser } from "./browser.js";
import { start } from "./mock.js";

const PORT = 4193;
const seconds = Number(process.argv[2] ?? 10);
const later = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

const LONG = `
window.long_ = [];
new PerformanceObserver((list) => { for (const entry of list.getEntries()) long_.push(Math.round(entry.duration)); }).observe({type: "longtask"});`;

const WATCH = `
window.frames_ = [];
let last = performance.now();
const next = (now) => { frames_.push(now - last); last = now; requestAnimationFrame(next); };
requestAnimationFrame(next);`;

/** Until the agents and both plots are drawn, by the page's own clock since navigation began. */
const SHOWN = `
const done = arguments[0];
const look = () => document.querySelector("[data-testid=agents] li") && document.querySelector("[data-testid=plot-calls] rect") && document.querySelector("[data-testid^=missed-9]")
  ? requestAnimationFrame(() => done(performance.now())) : setTimeout(look, 5);
look();`;

/** Types a letter into the search, and gives the time until the list it leaves has been painted. */
const TYPE = `
const [text, done] = arguments;
const field = document.querySelector("[data-testid=find-agent]");
const begun = performance.now();
field.value = text;
field.dispatchEvent(new Event("input", {bubbles: true}));
requestAnimationFrame(() => { const channel = new MessageChannel(); channel.port1.onmessage = () => done(performance.now() - begun); channel.port2.postMessage(0); });`;

async function metrics(page) {
  const { metrics } = await page.devtools("Performance.getMetrics", {});
  return Object.fromEntries(metrics.map(({ name, value }) => [name, value]));
}

async function heap(page) {
  await page.devtools("HeapProfiler.collectGarbage", {});
  return (await metrics(page)).JSHeapUsedSize / 2 ** 20;
}

/** Where script time goes, by the profiler: self time by function, the largest first. */
async function profile(page) {
  await page.devtools("Profiler.enable", {});
  await page.devtools("Profiler.setSamplingInterval", { interval: 500 });
  await page.devtools("Profiler.start", {});
  await later(5000);
  const { profile: told } = await page.devtools("Profiler.stop", {});
  const self = new Map();
  const names = new Map(told.nodes.map(({ id, callFrame: { functionName, url, columnNumber } }) => [id, functionName.startsWith("(") || url === "" ? functionName : `${functionName || "anonymous"}:${columnNumber}`]));
  told.samples.forEach((id, at) => {
    const name = names.get(id);
    self.set(name, (self.get(name) ?? 0) + told.timeDeltas[at]);
  });
  const total = told.timeDeltas.reduce((sum, delta) => sum + delta, 0);
  return [...self]
    .sort((one, other) => other[1] - one[1])
    .slice(0, 24)
    .map(([name, time]) => `${name} ${((time / total) * 100).toFixed(2)}%`);
}

async function measure({ title, loads: runs = 7, profiled = false, ...options }) {
  const mock = start({ port: PORT, ...options });
  const page = await Browser.open();
  try {
    // The thread's own time: what else runs on this machine does not count.
    await page.devtools("Performance.enable", { timeDomain: "threadTicks" });
    const [loads, work] = [[], []];
    for (let run = 0; run < runs; run += 1) {
      await page.goto("about:blank");
      const { TaskDuration } = await metrics(page);
      await page.goto(`http://127.0.0.1:${PORT}/?lang=en#token=supervisor`);
      loads.push(await page.later(SHOWN));
      work.push(((await metrics(page)).TaskDuration - TaskDuration) * 1000);
    }
    await later(2000);
    await page.run(LONG);
    // Counting frames makes a frame of every frame: the cost is taken without.
    const heapBefore = await heap(page);
    const before = await metrics(page);
    const sent = mock.mock.version;
    await later(seconds * 1000);
    const after = await metrics(page);
    const told = mock.mock.version - sent;
    const heapAfter = await heap(page);
    const longWhileWatching = (await page.run("return long_.splice(0)")).join(" ") || "none";
    await page.run(WATCH);
    const typed = [];
    const beforeTyping = await metrics(page);
    for (let round = 0; round < 6; round += 1) {
      for (const text of ["a", "as", "ash", "asha", "asha 1", ""]) {
        typed.push(await page.later(TYPE, text));
        await later(120);
      }
    }
    const letters = ((await metrics(page)).TaskDuration - beforeTyping.TaskDuration) * 1000;
    const [frames, long, mismatches, tags] = await page.run(
      "return [frames_, long_, document.querySelector('[data-testid=connection]').dataset.mismatches, document.getElementsByTagName('*').length]",
    );
    const share = (name) => `${(((after[name] - before[name]) / seconds) * 100).toFixed(1)}%`;
    const ordered = (list) => [...list].sort((one, other) => one - other);
    const at = (list, part) => ordered(list)[Math.min(list.length - 1, Math.floor(list.length * part))].toFixed(1);
    const { hospital } = mock.mock;
    console.log(
      `${title}: ${hospital.agents.length} agents, ${hospital.live.size} calls, ${hospital.open().length} missed calls open, ${(told / seconds).toFixed(0)} deltas a second`,
    );
    console.log(`  shown after ${loads.map((load) => Math.round(load)).join(" ")} ms, median ${at(loads, 0.5)} ms; median work ${at(work, 0.5)} ms`);
    console.log(
      `  main thread ${share("TaskDuration")}: script ${share("ScriptDuration")}, layout ${share("LayoutDuration")}, style ${share("RecalcStyleDuration")}`,
    );
    console.log(
      `  long tasks ${longWhileWatching}; while typing ${long.join(" ") || "none"}`,
    );
    console.log(
      `  frames p99 ${at(frames, 0.99)} ms, worst ${at(frames, 1)} ms; typing p50 ${at(typed, 0.5)} p95 ${at(typed, 0.95)} worst ${at(typed, 1)} ms, ${(letters / typed.length).toFixed(1)} ms of work a letter, with all else`,
    );
    console.log(
      `  elements ${tags}, nodes ${after.Nodes}, heap ${heapBefore.toFixed(1)} -> ${heapAfter.toFixed(1)} MiB in ${seconds} s, hash mismatches ${mismatches}`,
    );
    if (profiled) console.log(`  ${(await profile(page)).join("\n  ")}`);
  } finally {
    await page.close();
    mock.stop();
  }
}

/** Parts may be named: `storm` alone. */
const only = process.argv.slice(2).filter((word) => /^[a-z]+$/.test(word));
const isWanted = (name) => only.length === 0 || only.includes(name);
const STORM = { agents: 500, calls: 60, waiting: 15, longestWait: 840_000, missed: 205 };
if (isWanted("small")) await measure({ title: "a small team", agents: 12, rate: 2 });
if (isWanted("large"))
  await measure({ title: "a large team, when nothing happens", ...STORM, rate: 0 });
if (isWanted("storm"))
  await measure({ title: "a storm", ...STORM, deltas: 100, profiled: process.argv.includes("--profile") });
