// Headless Chromium over WebDriver, as little of it as looking at the page needs.

import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const FLAGS = [
  "--headless=new",
  "--no-sandbox",
  "--disable-gpu",
  "--hide-scrollbars",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const ELEMENT = "element-6066-11e4-a52e-4f735466cecf";
const later = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

function freePort() {
  return new Promise((done) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });
}

export class Browser {
  static async open({ width = 1440, height = 900, dark = false } = {}) {
    const browser = new Browser();
    const port = await freePort();
    browser.profile = await mkdtemp(join(tmpdir(), "helix-look-"));
    browser.driver = spawn("chromedriver", [`--port=${port}`], { stdio: "ignore" });
    browser.url = `http://127.0.0.1:${port}`;
    for (let tries = 0; tries < 100; tries += 1) {
      if (
        await fetch(`${browser.url}/status`).then(
          (answer) => answer.ok,
          () => false,
        )
      )
        break;
      await later(100);
    }
    const args = [
      ...FLAGS,
      `--user-data-dir=${browser.profile}`,
      `--window-size=${width},${height}`,
      ...(dark ? ["--force-dark-mode"] : []),
    ];
    const capabilities = {
      alwaysMatch: {
        browserName: "chrome",
        "goog:loggingPrefs": { browser: "ALL" },
        "goog:chromeOptions": { binary: "/usr/bin/chromium", args },
      },
    };
    const { sessionId } = await browser.ask("POST", "/session", { capabilities });
    browser.url += `/session/${sessionId}`;
    await browser.size(width, height);
    return browser;
  }

  async ask(method, path, body) {
    const answer = await fetch(this.url + path, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const { value } = await answer.json();
    if (!answer.ok) throw new Error(`${path}: ${value.error}: ${value.message}`);
    return value;
  }

  devtools(cmd, params) {
    return this.ask("POST", "/goog/cdp/execute", { cmd, params });
  }

  /** In CSS pixels: what a page zoomed by `scale` is given. */
  size(width, height, scale = 1) {
    return this.devtools("Emulation.setDeviceMetricsOverride", {
      width: Math.round(width),
      height: Math.round(height),
      deviceScaleFactor: scale,
      mobile: width < 500,
    });
  }

  /** Media features by name; those not named are the browser's own. */
  media(values) {
    const features = Object.entries(values).map(([name, value]) => ({ name, value }));
    return this.devtools("Emulation.setEmulatedMedia", { features });
  }

  async goto(url) {
    await this.ask("POST", "/url", { url: "about:blank" });
    await this.ask("POST", "/url", { url });
  }

  run(script, ...args) {
    return this.ask("POST", "/execute/sync", { script, args });
  }

  later(script, ...args) {
    return this.ask("POST", "/execute/async", { script, args });
  }

  async until(selector, seconds = 10) {
    const end = Date.now() + seconds * 1000;
    for (;;) {
      if (await this.run("return document.querySelector(arguments[0]) !== null", selector)) return;
      if (Date.now() > end) throw new Error(`the page never showed ${selector}`);
      await later(50);
    }
  }

  async click(selector) {
    const element = await this.ask("POST", "/element", { using: "css selector", value: selector });
    await this.run("arguments[0].scrollIntoView({block: 'center'})", element);
    await this.ask("POST", `/element/${element[ELEMENT]}/click`, {});
  }

  async type(selector, text) {
    const element = await this.ask("POST", "/element", { using: "css selector", value: selector });
    await this.ask("POST", `/element/${element[ELEMENT]}/value`, { text });
  }

  async press(key) {
    const actions = [
      {
        type: "key",
        id: "keyboard",
        actions: [
          { type: "keyDown", value: key },
          { type: "keyUp", value: key },
        ],
      },
    ];
    await this.ask("POST", "/actions", { actions });
  }

  async shot(path, whole = false) {
    if (whole) {
      const { cssContentSize } = await this.devtools("Page.getLayoutMetrics", {});
      const clip = { x: 0, y: 0, width: cssContentSize.width, height: Math.min(cssContentSize.height, 4000), scale: 1 };
      const { data } = await this.devtools("Page.captureScreenshot", {
        format: "png",
        captureBeyondViewport: true,
        clip,
      });
      await writeFile(path, Buffer.from(data, "base64"));
      return;
    }
    await writeFile(path, Buffer.from(await this.ask("GET", "/screenshot"), "base64"));
  }

  logs() {
    return this.ask("POST", "/se/log", { type: "browser" });
  }

  async close() {
    await this.ask("DELETE", "").catch(() => {});
    this.driver.kill();
    await rm(this.profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }
}
