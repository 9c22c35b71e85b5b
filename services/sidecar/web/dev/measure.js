// How long the page takes to show a board, and what it costs to keep it, at 12 and at 500 agents. `node dev/measure.js`

import { Browser } from "./browser.js";
import { start } from "./mock.js";

const PORT = 4193;
const SECONDS = 10;
const later = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

const WATCH = `
window.frames_ = []; window.long_ = [];
new PerformanceObserver((list) => { for (const entry of list.getEntries()) long_.push(Math.round(entry.duration)); }).observe({type: "longtask"});
let last = performance.now();
const next = (now) => { frames_.push(now - last); last = now; requestAnimationFrame(next); };
requestAnimationFrame(next);`;

/** Until the agents and both plots are drawn, by the page's own clock since navigation began. */
const SHOWN = `
const done = arguments[0];
const look = () => document.querySelector("[data-testid=agents] li") && document.querySelector("[data-testid=plot-calls] rect") && document.querySelector("[data-testid^=missed-9]")
  ? requestAnimationFrame(() => done(performance.now())) : setTimeout(look, 5);
look();`;

async function metrics(page) {
  const { metrics } = await page.devtools("Performance.getMetrics", {});
  return Object.fromEntries(metrics.map(({ name, value }) => [name, value]));
}

async function measure(agents, rate) {
  const mock = start({ agents, port: PORT, rate });
  const page = await Browser.open();
  try {
    await page.devtools("Performance.enable", {});
    const loads = [];
    for (let run = 0; run < 7; run += 1) {
      await page.goto(`http://127.0.0.1:${PORT}/?lang=en#token=supervisor`);
      loads.push(await page.later(SHOWN));
    }
    await later(2000);
    // Counting frames makes a frame of every frame: the cost is taken without.
    const before = await metrics(page);
    await later(SECONDS * 1000);
    const after = await metrics(page);
    await page.run(WATCH);
    await later(SECONDS * 1000);
    const [frames, long, mismatches] = await page.run(
      "return [frames_, long_, document.querySelector('[data-testid=connection]').dataset.mismatches]",
    );
    const share = (name) => `${(((after[name] - before[name]) / SECONDS) * 100).toFixed(1)}%`;
    frames.sort((one, other) => one - other);
    loads.sort((one, other) => one - other);
    console.log(`${agents} agents, ${rate} events a second`);
    console.log(
      `  shown after ${loads.map((load) => Math.round(load)).join(" ")} ms, median ${Math.round(loads[3])} ms`,
    );
    console.log(
      `  main thread ${share("TaskDuration")}: script ${share("ScriptDuration")}, layout ${share("LayoutDuration")}, style ${share("RecalcStyleDuration")}`,
    );
    console.log(
      `  frames ${frames.length} in ${SECONDS} s, p99 ${frames[Math.floor(frames.length * 0.99)].toFixed(1)} ms, worst ${frames.at(-1).toFixed(1)} ms; long tasks ${long.join(" ") || "none"}`,
    );
    console.log(
      `  nodes ${after.Nodes}, heap ${(after.JSHeapUsedSize / 2 ** 20).toFixed(1)} MiB, hash mismatches ${mismatches}`,
    );
  } finally {
    await page.close();
    mock.stop();
  }
}

await measure(12, 2);
await measure(500, 20);
await measure(500, 200);
