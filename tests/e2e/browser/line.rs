//! The line from the hospital to the page: what moves, what is told when it breaks, and that nothing is lost by it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use helix_tests::stack::{Stack, until};

use super::{
    driver::{PATIENCE, Page, current, id, state, with_page},
    hospital::{Call, Day},
};
use crate::Outcome;

/// Within so much a page says that what it shows may be old.
const TOLD_WITHIN: Duration = Duration::from_secs(5);

const CALL: Call = Call { id: "9062174000000701", agent: "ganesh.cc", caller: "919000000088", kind: "Inbound" };

pub(crate) async fn the_monitor_moves_while_calls_come_and_go(stack: &Stack) -> Outcome {
    with_page("monitor", async |page| moves(stack, page).await).await
}

async fn moves(stack: &Stack, page: &Page) -> Outcome {
    let day = Day { stack, date: "2026-04-02" };
    page.supervise(stack).await?;
    day.ready("ganesh.cc", "09:00").await?;
    page.shows(&state("agent-ganesh.cc", "ready")).await?;
    day.call(CALL, "Calling", "09:10:00").await?;
    day.agent("ganesh.cc", "calling", "09:10:00").await?;
    page.shows(&state("agent-ganesh.cc", "ringing")).await?;
    let waiting = id(&format!("waiting-{}", CALL.id));
    page.shows(&waiting).await.context("the caller is not among those waiting")?;
    day.call(CALL, "Answered", "09:10:12").await?;
    day.agent("ganesh.cc", "incall", "09:10:12").await?;
    page.shows(&state("agent-ganesh.cc", "on_call")).await?;
    page.lacks(&waiting).await?;
    page.says(&id("calls"), "OPD").await?;
    page.shot("on-call").await?;

    // The sidecar hangs, and is killed: the page says so, comes back by itself and goes on from where it was.
    let before = page.text(&id("counter-answered")).await?;
    let sidecar = stack.freeze("sidecar-global")?;
    let frozen_at = Instant::now();
    told(page, frozen_at, "disconnected").await?;
    page.shot("disconnected").await?;
    sidecar.kill()?;
    day.call(CALL, "Disconnect", "09:12:00").await?;
    day.agent("ganesh.cc", "ACW", "09:12:00").await?;
    page.shows(&current()).await?;
    page.shows(&state("agent-ganesh.cc", "wrap_up")).await?;
    ensure!(page.text(&id("counter-answered")).await? != before, "the answered call was not counted: {before}");
    ensure!(page.mismatches().await? == 0, "the page's hash differed");
    page.shot("wrap-up").await?;
    of_one_queue(page).await?;
    falls_quiet(&day, page).await
}

/// One queue's day is read from the records, and says that it is one queue's; the choice is in the address.
async fn of_one_queue(page: &Page) -> Outcome {
    page.choose("filter-queue", "OPD").await?;
    page.says(&id("counters-of-queue"), "OPD").await?;
    page.shows(&id("counter-answered")).await?;
    ensure!(page.address().await?.contains("queue=OPD"), "the choice does not survive: {}", page.address().await?);
    page.choose("filter-queue", "").await?;
    page.lacks(&id("counters-of-queue")).await
}

const HUSHED: Call = Call { id: "9062174000000704", agent: "ganesh.cc", caller: "919000000091", kind: "Inbound" };

/// A call is up and the provider tells nothing more: the page says so, and goes on counting, as nothing of it need be wrong.
/// The sidecar has just begun, and has learned of no longer silence.
async fn falls_quiet(day: &Day<'_>, page: &Page) -> Outcome {
    day.answered(HUSHED, "09:20").await?;
    page.shows(&state("agent-ganesh.cc", "on_call")).await?;
    page.shows(&id("last-heard")).await?;
    page.took(Instant::now(), &state("connection", "quiet")).await?;
    page.says(&id("banner"), "nothing from the provider").await?;
    ensure!(!page.has("#board.untrusted").await?, "what may still be true looks as if it were not");
    let stood = running(page).await?;
    page.run_until_told("const done = arguments[0]; setTimeout(done, 1100)").await?;
    ensure!(running(page).await? != stood, "a quiet board stopped counting at {stood}");
    page.shot("quiet").await?;
    day.call(HUSHED, "Disconnect", "09:22:00").await?;
    day.agent("ganesh.cc", "ACW", "09:22:00").await?;
    page.shows(&state("connection", "live")).await?;
    Ok(())
}

/// Waits until the page says that it is not to be trusted, and holds it to the time and to how it says so.
async fn told(page: &Page, since: Instant, word: &str) -> Outcome {
    page.watch_lateness().await?;
    let took = page.took(since, &state("connection", word)).await?;
    let late = page.lateness().await?;
    ensure!(took <= TOLD_WITHIN + late, "the page said {word} only after {took:?}, {late:?} of them the machine's");
    ensure!(page.has("#board.untrusted").await?, "what is {word} looks as if it were current");
    ensure!(page.has(&id("banner")).await?, "nobody is told why");
    // Every part of the page says of when it is.
    let parts = page.count("#board .panel-head, #board .today").await?;
    let dated = page.count("#board .panel-head .as-of, #board .today > .as-of").await?;
    ensure!(parts > 3 && dated == parts, "{dated} of {parts} parts say of when they are");
    Ok(())
}

/// Everything that runs with time: the clock, and how long each thing has lasted.
async fn running(page: &Page) -> Result<String> {
    let script = "return [...document.querySelectorAll('.clock, time.since')].map((one) => one.textContent).join(' ')";
    Ok(page.run(script, &[]).await?.to_string())
}

pub(crate) async fn a_cut_network_loses_nothing_and_the_page_says_so(stack: &Stack) -> Outcome {
    let day = Day { stack, date: "2026-04-06" };
    let gateway = stack.env("HELIX_GATEWAY_URL").replace("127.0.0.1", "global.engage.localhost");
    with_page("cut", async |page| {
        day.ready("ganesh.cc", "09:00").await?;
        // As a supervisor comes to it: through the gateway.
        page.open_as(stack, &gateway, "SUPERVISOR", "live").await?;
        page.shows(&current()).await?;
        page.shows(&state("agent-ganesh.cc", "ready")).await?;

        // A line that swallows everything: nobody is told that it broke.
        let line = stack.freeze("gateway")?;
        told(page, Instant::now(), "disconnected").await?;
        stays_as_it_was(&day, page, ["Calling", "calling"], "09:10:00", "ready").await?;
        page.shot("silent-line").await?;
        drop(line);
        comes_back(stack, page, "ringing").await?;

        // A line that breaks, and a browser that finds no other.
        page.offline(true).await?;
        stack.freeze("gateway")?.kill()?;
        told(page, Instant::now(), "disconnected").await?;
        stays_as_it_was(&day, page, ["Answered", "incall"], "09:10:09", "ringing").await?;
        page.offline(false).await?;
        comes_back(stack, page, "on_call").await?;
        page.shot("back").await
    })
    .await
}

const CUT: Call = Call { id: "9062174000000702", agent: "ganesh.cc", caller: "919000000089", kind: "Inbound" };

/// While the hospital goes on, nothing on the page does: not even a clock.
async fn stays_as_it_was(day: &Day<'_>, page: &Page, told: [&str; 2], time: &str, before: &str) -> Outcome {
    let stood = running(page).await?;
    day.call(CUT, told[0], time).await?;
    let said = day.agent("ganesh.cc", told[1], time).await?;
    day.stack.applied(&said).await?;
    ensure!(page.has(&state("agent-ganesh.cc", before)).await?, "the page moved without a line");
    // Two of the page's own rounds later, which draw whatever runs.
    page.run_until_told("const done = arguments[0]; setTimeout(done, 1100)").await?;
    let stands = running(page).await?;
    ensure!(stands == stood, "without a line the page counted on: {stood} became {stands}");
    Ok(())
}

/// By itself, without a press of a button: live again, with what happened meanwhile, equal to the sidecar's board.
async fn comes_back(stack: &Stack, page: &Page, agent_state: &str) -> Outcome {
    page.shows(&current()).await?;
    page.shows(&state("agent-ganesh.cc", agent_state)).await?;
    ensure!(!page.has("#board.untrusted").await?, "it still looks old");
    // Lists and plots are read from the records, which have a line of their own.
    page.lacks(".as-of").await?;
    ensure!(page.mismatches().await? == 0, "the page's hash differed");
    // What comes meanwhile is on the one a moment before it is on the other.
    let mut seen = String::new();
    let equal = until(PATIENCE, "the page's board is the sidecar's", async || {
        let (shown, board) = (page.root().await?, stack.board("global").await?);
        seen = format!("{shown:?}, not {}", board["root"]);
        Ok(shown.as_deref() == board["root"].as_str())
    });
    let equal = equal.await;
    equal.with_context(|| format!("the page's board is {seen}"))
}

const BEHIND: Call = Call { id: "9062174000000703", agent: "ganesh.cc", caller: "919000000090", kind: "Inbound" };

pub(crate) async fn a_silent_projector_makes_the_page_stale_and_it_recovers(stack: &Stack) -> Outcome {
    let day = Day { stack, date: "2026-04-06" };
    with_page("stale", async |page| {
        page.supervise(stack).await?;
        day.ready("ganesh.cc", "10:00").await?;
        day.answered(BEHIND, "10:10").await?;
        page.shows(&state("agent-ganesh.cc", "on_call")).await?;
        let projector = stack.freeze("project-live")?;
        told(page, Instant::now(), "stale").await?;
        let stood = running(page).await?;
        day.call(BEHIND, "Disconnect", "10:14:00").await?;
        let said = day.agent("ganesh.cc", "ACW", "10:14:00").await?;
        stack.applied(&said).await?;
        ensure!(page.has(&state("agent-ganesh.cc", "on_call")).await?, "who moved the board?");
        page.run_until_told("const done = arguments[0]; setTimeout(done, 1100)").await?;
        let stands = running(page).await?;
        ensure!(stands == stood, "a stale page counted on: {stood} became {stands}");
        page.shot("projector").await?;
        drop(projector);
        comes_back(stack, page, "wrap_up").await
    })
    .await
}
