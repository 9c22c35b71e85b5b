//! The agents on the page: how keys lead among them, and what is shown of a time that cannot be.

use anyhow::{Context, Result, ensure};
use fantoccini::key::Key;
use helix_tests::stack::{Stack, until};

use super::{
    driver::{PATIENCE, Page, id, state, with_page},
    hospital::Day,
};
use crate::Outcome;

/// Of whom nobody else tells anything.
const MISDATED: &str = "gita.cc";
const OTHER: &str = "hari.cc";
const TILES: &str = "[data-testid=agents] li";

pub(crate) async fn a_state_dated_in_years_to_come_says_so_and_stops_no_other_time(stack: &Stack) -> Outcome {
    let day = Day { stack, date: "2026-04-09" };
    day.register(&[MISDATED, OTHER]).await?;
    with_page("misdated", async |page| {
        page.supervise(stack).await?;
        day.ready(OTHER, "15:00").await?;
        page.shows(&state(&format!("agent-{OTHER}"), "ready")).await?;
        let clock = page.text(&id("clock")).await?;
        Day { stack, date: "2043-01-14" }.ready(MISDATED, "09:00").await?;
        let card = id(&format!("agent-{MISDATED}"));
        page.says(&format!("{card} .since"), "dated ahead").await?;
        // Ten minutes are far more than this took, and far less than the years that were told.
        let (before, now) = (minutes(&clock)?, minutes(&page.text(&id("clock")).await?)?);
        ensure!((before..before + 10).contains(&now), "the board's clock went from {clock} to minute {now}");
        page.says(&format!("{} .since", id(&format!("agent-{OTHER}"))), ":").await?;
        page.lacks(&id("events-ahead")).await?;
        page.shot("ahead").await
    })
    .await
}

/// Of the day, of a text as 14:03:09.
fn minutes(clock: &str) -> Result<u32> {
    let mut parts = clock.split(':').map(str::parse::<u32>);
    let (hour, minute) = (parts.next().context("an hour")??, parts.next().context("a minute")??);
    Ok(60 * hour + minute)
}

pub(crate) async fn the_agents_are_one_stop_of_the_tab_key_and_arrow_keys_lead_among_them(stack: &Stack) -> Outcome {
    with_page("keys", async |page| {
        page.supervise(stack).await?;
        page.shows(TILES).await?;
        let tiles = tiles(page).await?;
        ensure!(tiles.len() > 2, "too few agents to move among: {tiles:?}");
        let (first, second, last) = (&tiles[0], &tiles[1], &tiles[tiles.len() - 1]);
        let stops = page.count(&format!("{TILES} button[tabindex=\"0\"]")).await?;
        ensure!(stops == 1, "the Tab key stops at {stops} of them");
        page.run("[...document.querySelectorAll('.agents .chip')].at(-1).focus()", &[]).await?;
        page.key(Key::Tab).await?;
        for (key, expected) in [(Key::Home, first), (Key::Right, second), (Key::Left, first), (Key::End, last)] {
            page.key(key).await?;
            is_on(page, expected).await?;
        }
        page.key(Key::Enter).await?;
        page.shows(&id("agent-dialog")).await?;
        page.key(Key::Escape).await?;
        page.lacks(&id("agent-dialog")).await?;
        is_on(page, last).await?;
        page.key(Key::Tab).await?;
        let on = focused(page).await?;
        ensure!(on.is_none(), "the Tab key went on to {on:?}");
        Ok(())
    })
    .await
}

/// Whose tiles there are, in their order.
async fn tiles(page: &Page) -> Result<Vec<String>> {
    let script = "return [...document.querySelectorAll(arguments[0])].map((tile) => tile.dataset.id)";
    Ok(serde_json::from_value(page.run(script, &[TILES.into()]).await?)?)
}

/// Whose tile has the focus.
async fn focused(page: &Page) -> Result<Option<String>> {
    let script = "return document.activeElement.closest(arguments[0])?.dataset.id ?? null";
    Ok(page.run(script, &[TILES.into()]).await?.as_str().map(str::to_owned))
}

async fn is_on(page: &Page, expected: &str) -> Outcome {
    let mut on = None;
    let came = until(PATIENCE, "the focus comes to a tile", async || {
        on = focused(page).await?;
        Ok(on.as_deref() == Some(expected))
    });
    let came = came.await;
    came.with_context(|| format!("the focus is on {on:?}, not on {expected}"))
}
