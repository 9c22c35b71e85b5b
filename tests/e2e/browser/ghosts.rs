//! Ghosts: what nobody told is presumed, is shown as presumed, and gives way to the truth however late that comes.
//!
//! Automation acts by the provider's clock; once that has passed a bound, it may still wait for half a minute of ours, lest
//! what is on its way be overtaken. So all ghosts are made first, and then awaited together.

use std::time::Duration;

use anyhow::{Context, ensure};
use helix_tests::stack::{Stack, until};

use super::{
    driver::{Page, id, state, with_page},
    hospital::{Call, Day},
};
use crate::Outcome;

/// A bound of the provider's, half a minute of ours, and what a loaded machine needs.
const PATIENCE: Duration = Duration::from_secs(180);

/// Closed the browser at 09:05 and was never heard of again.
const GONE: &str = "asha.cc";
/// Was free again at 09:20, and nobody said that the call had ended.
const FREE: &str = "bina.cc";
const LOST: Call = Call { id: "9062174000001401", agent: FREE, caller: "919000001401", kind: "Inbound" };
/// Signed out in the middle of a call.
const LEFT: &str = "chetan.cc";
const CUT_OFF: Call = Call { id: "9062174000001402", agent: LEFT, caller: "919000001402", kind: "Inbound" };
/// Took a break while it rang.
const BREAK: &str = "divya.cc";
const RANG: Call = Call { id: "9062174000001403", agent: BREAK, caller: "919000001403", kind: "Inbound" };
/// Never ended the wrap-up.
const WRAPS: &str = "esha.cc";
/// Whose events move the clock.
const OTHER: &str = "farah.cc";

fn presumed(agent: &str, agent_state: &str) -> String {
    format!("{}[data-presumed='true']", state(&format!("agent-{agent}"), agent_state))
}

fn known(agent: &str, agent_state: &str) -> String {
    format!("{}[data-presumed='false']", state(&format!("agent-{agent}"), agent_state))
}

fn call(call: Call) -> String {
    id(&format!("call-{}", call.id))
}

pub(crate) async fn what_the_provider_never_said_is_presumed_until_the_truth_comes(stack: &Stack) -> Outcome {
    let day = Day { stack, date: "2026-04-09" };
    day.register(&[GONE, FREE, LEFT, BREAK, WRAPS, OTHER]).await?;
    with_page("ghosts", async |page| {
        page.supervise(stack).await?;
        appear(&day, page).await?;
        page.shot("before").await?;
        lingers(&day, page).await?;
        // Five quiet hours for the hospital.
        day.agent(OTHER, "AUX", "14:10:00").await?;
        are_presumed(stack, page).await?;
        page.shot("presumed").await?;
        give_way(&day, page).await?;
        page.shot("truth").await?;
        ensure!(page.mismatches().await? == 0, "the page's hash differed");
        Ok(())
    })
    .await
}

async fn appear(day: &Day<'_>, page: &Page) -> Outcome {
    for agent in [GONE, FREE, LEFT, BREAK, WRAPS, OTHER] {
        day.ready(agent, "09:05").await?;
    }
    day.answered(LOST, "09:10").await?;
    day.answered(CUT_OFF, "09:11").await?;
    page.shows(&call(LOST)).await?;
    day.agent(WRAPS, "ACW", "09:12:00").await?;
    day.agent(LEFT, "logout", "09:14:00").await?;
    day.call(RANG, "Calling", "09:15:00").await?;
    day.agent(BREAK, "calling", "09:15:00").await?;
    page.shows(&known(BREAK, "ringing")).await?;
    day.agent(BREAK, "AUX", "09:15:05").await?;
    day.agent(FREE, "release", "09:20:00").await?;
    page.shows(&known(LEFT, "offline")).await?;
    page.shows(&known(FREE, "ready")).await?;
    // The agent took a break; the caller is still there, and must not be forgotten.
    page.shows(&known(BREAK, "paused")).await?;
    page.shows(&id(&format!("waiting-{}", RANG.id))).await?;
    Ok(())
}

/// Ten minutes after the agent was free again the call is presumed to have ended; for a while it stays in sight, as that.
async fn lingers(day: &Day<'_>, page: &Page) -> Outcome {
    day.agent(OTHER, "release", "09:30:00").await?;
    page.shows_within(PATIENCE, &state(&format!("call-{}", LOST.id), "over")).await?;
    page.says(&call(LOST), "presumed").await?;
    page.shot("lingering").await
}

async fn are_presumed(stack: &Stack, page: &Page) -> Outcome {
    page.shows_within(PATIENCE, &presumed(GONE, "offline")).await?;
    page.says(&id(&format!("agent-{GONE}")), "presumed").await?;
    for ended in [LOST, CUT_OFF, RANG] {
        is_presumed(stack, ended, true).await?;
        page.lacks(&call(ended)).await?;
    }
    page.lacks(&id(&format!("waiting-{}", RANG.id))).await?;
    // Silent for hours since the wrap-up expired: what was presumed first is shown in the day, the last on the board.
    page.shows_within(PATIENCE, &presumed(WRAPS, "offline")).await?;
    expired(stack).await?;
    // Who rang and was not answered is to be called back.
    page.shows(&id(&format!("missed-{}", RANG.id))).await?;
    Ok(())
}

/// Waits until the row of a call says whether its end is presumed.
async fn is_presumed(stack: &Stack, call: Call, expected: bool) -> Outcome {
    until(PATIENCE, "its end is, or is no longer, presumed", async || {
        let found: Option<bool> = sqlx::query_scalar(
            "select presumed from read.calls where workspace_id = 'global' and call_id = $1 and ended_at is not null",
        )
        .bind(call.id)
        .fetch_optional(&stack.postgres)
        .await?;
        Ok(found == Some(expected))
    })
    .await
    .with_context(|| format!("{} of {}", call.id, call.agent))
}

/// The wrap-up ended after its bound of 30 s, by a decision.
async fn expired(stack: &Stack) -> Outcome {
    let found: Vec<(String, bool)> = sqlx::query_as(
        "select state, presumed from read.agent_intervals where workspace_id = 'global' and agent_id = $1
           and started_at = '2026-04-09 09:12:30+05:30'",
    )
    .bind(WRAPS)
    .fetch_all(&stack.postgres)
    .await?;
    ensure!(found == [("ready".to_owned(), true)], "{found:?}");
    Ok(())
}

async fn give_way(day: &Day<'_>, page: &Page) -> Outcome {
    // The one who had gone had a call at noon, of which we hear now: not offline at all.
    day.agent(GONE, "AUX", "12:00:00").await?;
    page.shows(&known(GONE, "paused")).await?;
    // Calls have their real ends; one went on for longer than was presumed, and one was answered by somebody else.
    day.call(LOST, "Disconnect", "09:18:30").await?;
    is_presumed(day.stack, LOST, false).await?;
    day.call(CUT_OFF, "Disconnect", "09:16:00").await?;
    is_presumed(day.stack, CUT_OFF, false).await?;
    let other = Call { agent: OTHER, ..RANG };
    day.call(other, "Answered", "09:15:20").await?;
    day.call(other, "Disconnect", "09:19:00").await?;
    is_presumed(day.stack, RANG, false).await?;
    page.lacks(&id(&format!("missed-{}", RANG.id))).await?;
    day.agent(WRAPS, "release", "14:11:00").await?;
    page.shows(&known(WRAPS, "ready")).await?;
    let ends: Vec<(String, bool)> = sqlx::query_as(
        "select to_char(ended_at at time zone 'Asia/Kolkata', 'HH24:MI:SS'), answered_at is not null from read.calls
         where workspace_id = 'global' and call_id = any($1) order by call_id",
    )
    .bind([LOST.id, CUT_OFF.id, RANG.id])
    .fetch_all(&day.stack.postgres)
    .await?;
    let expected = ["09:18:30", "09:16:00", "09:19:00"].map(|end| (end.to_owned(), true));
    ensure!(ends == expected, "{ends:?}");
    Ok(())
}
