//! A hospital's day from the page, while the broker, the projector and the sidecar are each killed once.

use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use helix_tests::{
    cli,
    stack::{Stack, until},
};
use serde_json::{Value, json};

use super::driver::{PATIENCE, Page, current, id, with_page};
use crate::{Outcome, proof};

/// Three hours in forty-five seconds.
const DAY: [&str; 15] = [
    "simulate",
    "--workspace",
    "global",
    "--agents",
    "8",
    "--calls-per-hour",
    "90",
    "--hours",
    "3",
    "--speed",
    "240",
    "--seed",
    "11",
    "--start",
    "2026-04-10T08:00:00",
];

fn begin(stack: &Stack) -> Result<Child> {
    let mut day = Command::new(cli::binary()?);
    day.arg("--config").arg(stack.config()).args(DAY).arg("--json").stdout(Stdio::null());
    Ok(day.spawn()?)
}

pub(crate) async fn a_day_with_kills_ends_with_the_folded_logs_board_on_the_page(stack: &Stack) -> Outcome {
    with_page("day", async |page| {
        page.supervise(stack).await?;
        let mut day = begin(stack)?;
        let killed = killed(stack, page, &mut day).await;
        if killed.is_err() {
            // Nothing plays on into the next test.
            day.kill()?;
        }
        let ended = day.wait()?;
        killed?;
        ensure!(ended.success(), "the simulated day ended with {ended}");
        page.shot("over").await?;
        proof::caught_up(stack).await?;
        page.shows(&current()).await?;
        ensure!(page.mismatches().await? == 0, "the page's hash differed");
        is_the_folded_log(stack, page).await?;
        cli::succeed(&stack.config(), &["audit", "verify", "--projection", "live", "--workspace", "global"])?;
        Ok(())
    })
    .await
}

async fn killed(stack: &Stack, page: &Page, day: &mut Child) -> Outcome {
    page.shows("[data-testid='waiting'] li").await.context("nobody ever waited")?;
    page.shows("[data-testid='worklist'] li").await.context("no call was ever missed")?;
    for component in ["kafka", "project-live", "sidecar-global"] {
        ensure!(day.try_wait()?.is_none(), "the day was over before {component} was killed: make it longer");
        stack.kill(component).await?;
        goes_on(page).await.with_context(|| format!("after {component} was killed"))?;
        page.shot(&format!("after-{component}")).await?;
    }
    ensure!(day.try_wait()?.is_none(), "the day was over before the last kill: make it longer");
    Ok(())
}

/// Waits until the page is live and further than it was.
async fn goes_on(page: &Page) -> Outcome {
    let before = page.text(&id("counter-offered")).await?;
    until(PATIENCE, "the page goes on", async || {
        let is_live = page.has(&current()).await?;
        Ok(is_live && page.text(&id("counter-offered")).await? != before)
    })
    .await
}

/// What a person reads on the page is what the log means, folded afresh.
async fn is_the_folded_log(stack: &Stack, page: &Page) -> Outcome {
    let (mut folded, mut seen) = (Value::Null, None);
    // Folded afresh each time: a decision may come after the one before.
    let equal = until(PATIENCE, "the page's board is the folded log's", async || {
        folded = serde_json::from_str(&cli::succeed(&stack.config(), &["replay", "board", "--workspace", "global"])?)?;
        seen = page.root().await?;
        Ok(seen.as_deref() == Some(folded["root"].as_str().context("a root")?))
    });
    let equal = equal.await;
    equal.with_context(|| format!("the page's root is {seen:?}, the folded log's {}", folded["root"]))?;
    let script = "return Object.fromEntries([...document.querySelectorAll('li.agent')].map(
        (tile) => [tile.dataset.testid.slice(6), tile.dataset.state]))";
    let shown = page.run(script, &[]).await?;
    let agents = folded["agents"].as_array().context("agents")?;
    let expected =
        agents.iter().filter_map(|agent| Some((agent["agentId"].as_str()?.to_owned(), agent["state"].clone())));
    ensure!(shown == Value::Object(expected.collect()), "{shown}\n is not\n{}", json!(agents));
    for (counter, name) in [("offered", "offered"), ("answered", "answered"), ("missed", "missed")] {
        let shown = page.text(&id(&format!("counter-{counter}"))).await?;
        ensure!(shown.parse::<u64>()? == folded["today"][name], "{name}: {shown}, not {}", folded["today"]);
    }
    ensure!(folded["today"]["offered"].as_u64().unwrap_or(0) > 50, "the day was too quiet: {}", folded["today"]);
    Ok(())
}
