//! The web monitor in headless Chromium, driven through its WebDriver.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use fantoccini::{Client, ClientBuilder, Locator};
use helix_tests::stack::{Stack, until};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::json;

use crate::Outcome;

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

async fn driver() -> Result<Driver> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let child = Command::new("chromedriver")
        .arg(format!("--port={port}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("chromedriver is missing: scripts/install --tests installs it")?;
    let driver = Driver { child, url: format!("http://127.0.0.1:{port}") };
    let status = format!("{}/status", driver.url);
    until(Duration::from_secs(20), "chromedriver answers", async || {
        Ok(reqwest::get(&status).await.is_ok_and(|answer| answer.status().is_success()))
    })
    .await?;
    Ok(driver)
}

async fn browser(driver: &Driver, profile: &std::path::Path) -> Result<Client> {
    let arguments = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=1400,900",
    ];
    let mut arguments: Vec<String> = arguments.iter().map(|flag| (*flag).to_owned()).collect();
    arguments.push(format!("--user-data-dir={}", profile.display()));
    let mut capabilities = fantoccini::wd::Capabilities::new();
    capabilities.insert("goog:chromeOptions".to_owned(), json!({"args": arguments, "binary": "/usr/bin/chromium"}));
    ClientBuilder::new(HttpConnector::new()).capabilities(capabilities).connect(&driver.url).await.context("chromium")
}

async fn text(page: &Client, test_id: &str) -> Result<String> {
    Ok(page.find(Locator::Css(&format!("[data-testid='{test_id}']"))).await?.text().await?)
}

async fn shot(page: &Client, name: &str) -> Result<()> {
    let folder = helix_tests::cli::binary()?.parent().context("the target folder")?.join("e2e").join("screenshots");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(format!("{name}.png")), page.screenshot().await?)?;
    Ok(())
}

pub(crate) async fn the_monitor_moves_while_calls_come_and_go(stack: &Stack) -> Outcome {
    let driver = driver().await?;
    let profile = tempfile::tempdir()?;
    let page = browser(&driver, profile.path()).await?;
    let watched = watch(stack, &page).await;
    if watched.is_err() {
        shot(&page, "monitor-failed").await?;
    }
    page.close().await?;
    watched
}

/// An agent or call event of global, taken.
async fn tell(stack: &Stack, kind: &str, data: serde_json::Value) -> Outcome {
    let at = data["event_time"].as_str().or_else(|| data["eventTime"].as_str()).unwrap_or_default().to_owned();
    let event = json!({"eventType": kind, "eventTime": at, "username": "demo_user", "data": data});
    let (status, body) = stack
        .post("/api/supervisor/call-event", stack.env("HELIX_INGEST_KEY"), "application/json", event.to_string())
        .await?;
    ensure!(status == 202, "{status} {body}");
    Ok(())
}

async fn agent(stack: &Stack, action: &str, at: &str) -> Outcome {
    let data = json!({"action": action, "agentUniqeId": 100_007, "agentId": "ganesh.cc", "agentMode": "INBOUND", "eventTime": at});
    tell(stack, "Agent", data).await
}

async fn call(stack: &Stack, action: &str, at: &str) -> Outcome {
    let data = json!({"action": action, "call_type": "Inbound", "ucid": CALL, "monitor_ucid": CALL, "agent_id": "ganesh.cc",
        "skill": "OPD", "caller_id": "919000000088", "did": "918041763265", "agent_number": "500507", "event_time": at});
    tell(stack, "Call", data).await
}

const CALL: &str = "9062174000000701";

/// Waits until an element says so; the page is awaited, nothing is slept over.
async fn shows(page: &Client, test_id: &str, attribute: &str, value: &str) -> Outcome {
    let selector = format!("[data-testid='{test_id}'][{attribute}='{value}']");
    let wait = page.wait().at_most(Duration::from_secs(10));
    wait.for_element(Locator::Css(&selector)).await.with_context(|| format!("the page never showed {selector}"))?;
    Ok(())
}

async fn watch(stack: &Stack, page: &Client) -> Outcome {
    let url = stack.env("HELIX_SIDECAR_GLOBAL_URL");
    // Another hospital's token opens nothing.
    page.goto(&format!("{url}/#token={}", stack.env("HELIX_TOKEN_RAMAIAH_SUPERVISOR"))).await?;
    let form =
        page.wait().at_most(Duration::from_secs(10)).for_element(Locator::Css("[data-testid='signin-form']")).await;
    form.context("ramaiah's token was taken by global's monitor")?;

    page.goto("about:blank").await?;
    page.goto(&format!("{url}/#token={}", stack.env("HELIX_TOKEN_GLOBAL_SUPERVISOR"))).await?;
    shows(page, "connection", "data-state", "live").await?;
    let address = page.current_url().await?;
    ensure!(address.fragment().is_none_or(|fragment| !fragment.contains("token")), "the token stayed in the address");

    agent(stack, "login", "2026-04-02 09:00:00").await?;
    agent(stack, "release", "2026-04-02 09:00:05").await?;
    shows(page, "agent-ganesh.cc", "data-state", "ready").await?;
    call(stack, "Calling", "2026-04-02 09:10:00").await?;
    agent(stack, "calling", "2026-04-02 09:10:00").await?;
    shows(page, "agent-ganesh.cc", "data-state", "ringing").await?;
    let waiting = format!("[data-testid='waiting-{CALL}']");
    let wait = page.wait().at_most(Duration::from_secs(10));
    wait.for_element(Locator::Css(&waiting)).await.context("the caller is not among those waiting")?;
    call(stack, "Answered", "2026-04-02 09:10:12").await?;
    agent(stack, "incall", "2026-04-02 09:10:12").await?;
    shows(page, "agent-ganesh.cc", "data-state", "on_call").await?;
    shot(page, "monitor-on-call").await?;
    ensure!(page.find_all(Locator::Css(&waiting)).await?.is_empty(), "an answered caller still waits");
    ensure!(text(page, "calls").await?.contains("OPD"), "the call is not among those in progress");

    // The sidecar is killed: the page says so, comes back by itself and goes on from where it was.
    let before = text(page, "counter-answered").await?;
    let pid = stack.pid("sidecar-global")?.context("sidecar-global is not ready")?;
    let frozen = Command::new("kill").args(["-STOP", &pid.to_string()]).status()?;
    ensure!(frozen.success());
    shows(page, "connection", "data-state", "disconnected").await?;
    shot(page, "monitor-disconnected").await?;
    let ended = Command::new("kill").args(["-9", &pid.to_string()]).status()?;
    ensure!(ended.success());
    call(stack, "Disconnect", "2026-04-02 09:12:00").await?;
    agent(stack, "ACW", "2026-04-02 09:12:00").await?;
    shows(page, "connection", "data-state", "live").await?;
    shows(page, "agent-ganesh.cc", "data-state", "wrap_up").await?;
    ensure!(text(page, "counter-answered").await? != before, "the answered call was not counted: {before}");
    let mismatches = page.find(Locator::Css("[data-testid='connection']")).await?.attr("data-mismatches").await?;
    ensure!(mismatches.as_deref().unwrap_or("0") == "0", "the page's hash differed {mismatches:?} times");
    shot(page, "monitor-wrap-up").await?;
    Ok(())
}
