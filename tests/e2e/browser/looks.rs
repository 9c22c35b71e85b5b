//! Every part of the page as axe sees it: no finding that keeps somebody from using it, in light and in dark.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use helix_tests::stack::{Stack, until};

use super::{
    driver::{PATIENCE, Page, current, id, with_page},
    hospital::{Call, Day},
};
use crate::Outcome;

const MISSED: Call = Call { id: "9062174000001301", agent: "rekha.cc", caller: "919000001301", kind: "Inbound" };
const OVER: Call = Call { id: "9062174000001302", agent: "globaladmin", caller: "919000001302", kind: "Inbound" };
const TALKING: Call = Call { id: "9062174000001303", agent: "ganesh.cc", caller: "919000001303", kind: "Inbound" };
const WAITING: Call = Call { id: "9062174000001304", agent: "rekha.cc", caller: "919000001304", kind: "Inbound" };

/// A part of the page: what is pressed to come to it from the live page, what is then there, and what leaves it.
const PARTS: [(&str, &str, &str, &str); 6] = [
    ("live", "", "plot-calls", ""),
    ("agent-dialog", "agent-ganesh.cc", "figures", "dialog-close"),
    ("call-dialog", "call-9062174000001303", "facts", "dialog-close"),
    ("waive-dialog", "waive-9062174000001301", "waive-reason", "dialog-close"),
    ("help-dialog", "help", "shortcuts", "dialog-close"),
    ("calls", "page-calls", "call-list", "page-live"),
];

fn axe() -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../services/sidecar/web/node_modules/axe-core/axe.min.js");
    std::fs::read_to_string(path).context("axe-core is missing: `make web` installs it")
}

pub(crate) async fn every_part_of_the_page_is_accessible_in_both_themes(stack: &Stack) -> Outcome {
    let day = Day { stack, date: "2026-04-08" };
    for agent in ["rekha.cc", "ganesh.cc", "globaladmin"] {
        day.ready(agent, "09:00").await?;
    }
    day.missed(MISSED, "09:05").await?;
    day.answered(OVER, "09:08").await?;
    day.call(OVER, "Disconnect", "09:11:00").await?;
    day.agent("globaladmin", "ACW", "09:11:00").await?;
    day.answered(TALKING, "09:11").await?;
    let said = day.call(WAITING, "Calling", "09:11:20").await?;
    stack.applied(&said).await?;
    let axe = axe()?;
    with_page("axe", async |page| {
        let monitor = stack.env("HELIX_SIDECAR_GLOBAL_URL");
        for theme in ["light", "dark"] {
            page.open_as(stack, monitor, "SUPERVISOR", "live").await?;
            page.shows(&current()).await?;
            page.choose("theme", theme).await?;
            for (part, way, there, back) in PARTS {
                if !way.is_empty() {
                    // A tile and a row hold the button; others are one.
                    let inner = format!("{0} button, {0}:is(button, a)", id(way));
                    page.press(&inner).await?;
                }
                page.shows(&id(there)).await?;
                checked(page, &axe, part, theme).await?;
                if !back.is_empty() {
                    page.press(&id(back)).await?;
                    page.lacks(&id(there)).await?;
                }
            }
            page.press(&id("page-wall")).await?;
            page.shows(&id("wall")).await?;
            checked(page, &axe, "wall", theme).await?;
            for (width, height) in [(1920, 1080), (1366, 768)] {
                page.size(width, height).await?;
                fits(page).await.with_context(|| format!("a wall of {width} by {height}"))?;
            }
            page.size(1440, 900).await?;
            page.open_as(stack, monitor, "AGENT", "performance").await?;
            page.shows(&id("call-list")).await?;
            checked(page, &axe, "performance", theme).await?;
            page.press(&id("signout")).await?;
            page.shows(&id("signin-form")).await?;
            checked(page, &axe, "sign-in", theme).await?;
        }
        let complaints = page.complaints().await?;
        ensure!(complaints.is_empty(), "the console said {complaints:#?}");
        Ok(())
    })
    .await
}

/// Nobody scrolls a wall: what it cuts off is never seen.
async fn fits(page: &Page) -> Outcome {
    let script = "const [wall, rest] = ['.wall', '.wall-rest'].map((one) => document.querySelector(one));
        return Math.max(wall.scrollHeight - innerHeight, rest.scrollHeight - rest.clientHeight)";
    let mut cut = None;
    let settled = until(PATIENCE, "everything is in sight", async || {
        cut = page.run(script, &[]).await?.as_i64();
        Ok(cut.is_some_and(|cut| cut <= 0))
    });
    let settled = settled.await;
    settled.with_context(|| format!("{cut:?} px are cut off"))
}

async fn checked(page: &Page, axe: &str, part: &str, theme: &str) -> Outcome {
    page.shot(&format!("{part}-{theme}")).await?;
    let told = page.run("return document.documentElement.dataset.theme", &[]).await?;
    ensure!(told == theme, "{part} is {told}, not {theme}");
    let wider = page.run("return document.documentElement.scrollWidth - innerWidth", &[]).await?;
    ensure!(wider.as_i64().is_some_and(|wider| wider <= 0), "{part} is {wider} px wider than the window");
    page.run(axe, &[]).await?;
    let found = page
        .run_until_told(
            "const done = arguments[0];
             const word = (found) => `${found.impact} ${found.id}: ${found.nodes.map((node) => node.html).slice(0, 3).join(' ')}`;
             axe.run(document, {resultTypes: ['violations']}).then((seen) => done({
                 passes: seen.passes.length,
                 bad: seen.violations.filter((one) => ['serious', 'critical'].includes(one.impact)).map(word),
             }));",
        )
        .await?;
    // A check that looked at nothing finds nothing.
    ensure!(found["passes"].as_u64().unwrap_or(0) > 10, "axe looked at nothing of {part}: {found}");
    ensure!(found["bad"].as_array().is_some_and(Vec::is_empty), "{part} in {theme}: {:#}", found["bad"]);
    Ok(())
}
