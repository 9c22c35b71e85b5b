//! Chromium, driven through its WebDriver: pages of the monitor, what they show, and pictures of them.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use fantoccini::{Client, ClientBuilder, Locator, elements::Element, key::Key, wd::Capabilities};
use helix_tests::{
    cli,
    stack::{Stack, answer, free_port, until},
};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Outcome;

/// What a loaded machine may need until a page shows what it should.
pub(super) use helix_tests::stack::PATIENCE;
const LOOK: Duration = Duration::from_millis(50);

const FLAGS: [&str; 9] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// A driver process that ends with the value.
struct Driver {
    child: Child,
    url: String,
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It may have ended already; either way nothing is left of it.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Driver {
    async fn start() -> Result<Self> {
        let port = free_port()?;
        let child = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("chromedriver is missing: scripts/install --tests installs it")?;
        let driver = Self { child, url: format!("http://127.0.0.1:{port}") };
        let status = format!("{}/status", driver.url);
        until(PATIENCE, "chromedriver answers", async || {
            Ok(reqwest::get(&status).await.is_ok_and(|answer| answer.status().is_success()))
        })
        .await?;
        Ok(driver)
    }

    /// A browser of its own: nothing is shared with another one, as between two people.
    async fn open(&self, name: &str) -> Result<Page> {
        let profile = tempfile::tempdir()?;
        let mut arguments = FLAGS.map(str::to_owned).to_vec();
        arguments.push("--window-size=1440,900".to_owned());
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        let options = json!({"args": arguments, "binary": "/usr/bin/chromium"});
        let wanted = Capabilities::from_iter([
            ("goog:chromeOptions".to_owned(), options),
            ("goog:loggingPrefs".to_owned(), json!({"browser": "ALL"})),
        ]);
        let client = ClientBuilder::new(HttpConnector::new()).capabilities(wanted).connect(&self.url).await;
        let client = client.context("chromium")?;
        let session = client.session_id().await?.context("a session")?;
        let session = format!("{}/session/{session}", self.url);
        let page = Page { name: name.to_owned(), client, session, http: reqwest::Client::new(), _profile: profile };
        page.size(1440, 900).await?;
        Ok(page)
    }
}

/// Runs a test with one page. Where it fails, a picture of the page is kept.
pub(super) async fn with_page(name: &str, test: impl AsyncFnOnce(&Page) -> Outcome) -> Outcome {
    let driver = Driver::start().await?;
    let page = driver.open(name).await?;
    let outcome = test(&page).await;
    page.end(outcome).await
}

/// Runs a test with the pages of two people.
pub(super) async fn with_two_pages(name: &str, test: impl AsyncFnOnce(&Page, &Page) -> Outcome) -> Outcome {
    let driver = Driver::start().await?;
    let (one, two) = (driver.open(name).await?, driver.open(&format!("{name}-2")).await?);
    let outcome = test(&one, &two).await;
    let failed = outcome.as_ref().err().map(|error| anyhow::anyhow!("{error:#}"));
    let two = two.end(failed.map_or(Ok(()), Err)).await;
    one.end(outcome).await.and(two)
}

/// A browser with one page.
pub(super) struct Page {
    name: String,
    client: Client,
    session: String,
    http: reqwest::Client,
    _profile: TempDir,
}

/// A selector of a test id.
pub(super) fn id(test_id: &str) -> String {
    format!("[data-testid='{test_id}']")
}

/// A selector of a test id with a state.
pub(super) fn state(test_id: &str, state: &str) -> String {
    format!("[data-testid='{test_id}'][data-state='{state}']")
}

/// A selector of a page that shows what is known now. Whether the provider has been heard lately is not the page's doing: with
/// a call up and nothing more to tell, a board falls quiet within seconds (docs/decisions/0018).
pub(super) fn current() -> String {
    format!("{},{}", state("connection", "live"), state("connection", "quiet"))
}

impl Page {
    async fn end(self, outcome: Outcome) -> Outcome {
        let shot = if outcome.is_err() { self.shot("failed").await } else { Ok(()) };
        let closed = self.client.close().await;
        outcome?;
        shot?;
        Ok(closed?)
    }

    async fn driver(&self, path: &str, body: Value) -> Result<Value> {
        let (status, said) = answer(self.http.post(format!("{}/{path}", self.session)).json(&body)).await?;
        ensure!(status == 200, "the driver answered {status} to {path}: {said}");
        Ok(said["value"].clone())
    }

    async fn devtools(&self, command: &str, parameters: Value) -> Outcome {
        self.driver("goog/cdp/execute", json!({"cmd": command, "params": parameters})).await?;
        Ok(())
    }

    pub(super) async fn size(&self, width: u32, height: u32) -> Outcome {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500});
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await
    }

    /// Whether this browser finds a network. Chromium goes on with what it is reading: a line must be cut as well.
    pub(super) async fn offline(&self, offline: bool) -> Outcome {
        let none = json!({"offline": offline, "latency": 0, "download_throughput": -1, "upload_throughput": -1});
        self.driver("chromium/network_conditions", json!({"network_conditions": none})).await?;
        Ok(())
    }

    /// What the console said of errors since it was last asked.
    pub(super) async fn complaints(&self) -> Result<Vec<String>> {
        let entries = self.driver("se/log", json!({"type": "browser"})).await?;
        let entries = entries.as_array().context("a list")?;
        let severe = entries.iter().filter(|entry| entry["level"] == "SEVERE");
        Ok(severe.map(|entry| entry["message"].to_string()).collect())
    }

    pub(super) async fn run(&self, script: &str, arguments: &[Value]) -> Result<Value> {
        Ok(self.client.execute(script, arguments.to_vec()).await?)
    }

    /// Runs a script that calls its last argument with what it found.
    pub(super) async fn run_until_told(&self, script: &str) -> Result<Value> {
        Ok(self.client.execute_async(script, Vec::new()).await?)
    }

    /// Leaves the page that is shown, if any, and opens an address.
    pub(super) async fn open(&self, address: &str) -> Outcome {
        // Another fragment alone would not load it anew.
        self.client.goto("about:blank").await?;
        Ok(self.client.goto(address).await?)
    }

    /// Opens a page of a monitor with somebody's token.
    pub(super) async fn open_as(&self, stack: &Stack, monitor: &str, role: &str, view: &str) -> Outcome {
        let token = stack.env(&format!("HELIX_TOKEN_GLOBAL_{role}"));
        self.open(&format!("{monitor}/?lang=en#token={token}&view={view}")).await
    }

    /// Opens global's live page as its supervisor and waits until it shows the board.
    pub(super) async fn supervise(&self, stack: &Stack) -> Outcome {
        self.open_as(stack, stack.env("HELIX_SIDECAR_GLOBAL_URL"), "SUPERVISOR", "live").await?;
        self.shows(&current()).await?;
        Ok(())
    }

    pub(super) async fn address(&self) -> Result<String> {
        Ok(self.client.current_url().await?.to_string())
    }

    /// Waits until the page shows an element.
    pub(super) async fn shows(&self, selector: &str) -> Result<Element> {
        self.shows_within(PATIENCE, selector).await
    }

    pub(super) async fn shows_within(&self, patience: Duration, selector: &str) -> Result<Element> {
        let wait = self.client.wait().at_most(patience).every(LOOK);
        let found = wait.for_element(Locator::Css(selector)).await;
        found.with_context(|| format!("{}: the page never showed {selector}", self.name))
    }

    /// Waits until the page shows it no more.
    pub(super) async fn lacks(&self, selector: &str) -> Outcome {
        until(PATIENCE, &format!("{} no longer shows {selector}", self.name), async || Ok(!self.has(selector).await?))
            .await
    }

    /// Waits until a text is somewhere in an element.
    pub(super) async fn says(&self, selector: &str, text: &str) -> Outcome {
        let mut seen = String::new();
        let said = until(PATIENCE, "it says so", async || {
            seen = self.text(selector).await.unwrap_or_default();
            Ok(seen.contains(text))
        });
        let said = said.await;
        said.with_context(|| format!("{}: {selector} says {seen:?}, not {text:?}", self.name))
    }

    /// Whether it is shown now.
    pub(super) async fn has(&self, selector: &str) -> Result<bool> {
        Ok(self.count(selector).await? > 0)
    }

    pub(super) async fn count(&self, selector: &str) -> Result<u64> {
        let found = self.run("return document.querySelectorAll(arguments[0]).length", &[json!(selector)]).await?;
        found.as_u64().context("a number")
    }

    /// What a person reads there.
    pub(super) async fn text(&self, selector: &str) -> Result<String> {
        let found = self.run("return document.querySelector(arguments[0])?.innerText", &[json!(selector)]).await?;
        found.as_str().map(str::to_owned).with_context(|| format!("{}: there is no {selector}", self.name))
    }

    /// An attribute, or nothing.
    pub(super) async fn attribute(&self, selector: &str, name: &str) -> Result<Option<String>> {
        let script = "return document.querySelector(arguments[0])?.getAttribute(arguments[1]) ?? null";
        Ok(self.run(script, &[json!(selector), json!(name)]).await?.as_str().map(str::to_owned))
    }

    /// Presses what is shown there, once it is.
    pub(super) async fn press(&self, selector: &str) -> Outcome {
        let element = self.shows(selector).await?;
        let into_view = "document.querySelector(arguments[0])?.scrollIntoView({block: 'center'})";
        self.run(into_view, &[json!(selector)]).await?;
        element.click().await.with_context(|| format!("{}: {selector} cannot be pressed", self.name))
    }

    /// Presses a key, wherever the focus is.
    pub(super) async fn key(&self, key: Key) -> Outcome {
        let value = char::from(key).to_string();
        let presses = ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": value}));
        self.driver("actions", json!({"actions": [{"type": "key", "id": "keyboard", "actions": presses}]})).await?;
        Ok(())
    }

    pub(super) async fn fill(&self, selector: &str, text: &str) -> Outcome {
        let field = self.shows(selector).await?;
        field.clear().await?;
        Ok(field.send_keys(text).await?)
    }

    /// Chooses from a list, once it offers that. An option whose text is its value has no attribute that tells it.
    pub(super) async fn choose(&self, test_id: &str, value: &str) -> Outcome {
        let chosen = "
            const list = document.querySelector(arguments[0]);
            if (![...(list?.options ?? [])].some((option) => option.value === arguments[1])) return false;
            list.value = arguments[1];
            list.dispatchEvent(new Event('change', { bubbles: true }));
            return true";
        let arguments = [id(test_id).into(), value.into()];
        until(PATIENCE, &format!("{}: {test_id} offers {value}", self.name), async || {
            Ok(self.run(chosen, &arguments).await? == true)
        })
        .await
    }

    /// How long it took until the page showed it, from a moment on.
    pub(super) async fn took(&self, since: Instant, selector: &str) -> Result<Duration> {
        self.shows(selector).await?;
        let took = since.elapsed();
        println!("{selector} after {} ms", took.as_millis());
        Ok(took)
    }

    /// From now on the page tells by how much it is later than asked, in all: what a busy machine takes from it.
    pub(super) async fn watch_lateness(&self) -> Outcome {
        let script = "
            let last = performance.now();
            window.helixLate = 0;
            setInterval(() => {
                const now = performance.now();
                window.helixLate += Math.max(0, now - last - 20);
                last = now;
            }, 20)";
        self.run(script, &[]).await?;
        Ok(())
    }

    /// What has come of [`Page::watch_lateness`] so far.
    pub(super) async fn lateness(&self) -> Result<Duration> {
        let late = self.run("return Math.ceil(window.helixLate)", &[]).await?;
        Ok(Duration::from_millis(late.as_u64().context("the page's lateness")?))
    }

    /// How often the page's copy of the board did not have the sidecar's hash.
    pub(super) async fn mismatches(&self) -> Result<u64> {
        let told = self.attribute(&id("connection"), "data-mismatches").await?;
        Ok(told.context("the page tells no mismatches")?.parse()?)
    }

    /// The hash that the page computed of its copy.
    pub(super) async fn root(&self) -> Result<Option<String>> {
        self.attribute(&id("connection"), "data-root").await
    }

    /// Keeps a picture as `target/…/e2e/screenshots/<test>-<what>.png`.
    pub(super) async fn shot(&self, what: &str) -> Outcome {
        let folder: PathBuf = cli::binary()?.parent().context("the target folder")?.join("e2e").join("screenshots");
        std::fs::create_dir_all(&folder)?;
        let picture = self.client.screenshot().await?;
        Ok(std::fs::write(folder.join(format!("{}-{what}.png", self.name)), picture)?)
    }
}
