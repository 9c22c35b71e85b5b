//! The worklist of missed calls: two people who work on it at once, and what is left of what they did.

use anyhow::{Context, Result, ensure};
use helix_tests::{
    cli,
    stack::{Stack, until},
};
use serde_json::Value;
use sqlx::Row as _;

use super::{
    driver::{PATIENCE, Page, id, with_two_pages},
    hospital::{Call, Day},
    sign_in::SignIn,
};
use crate::{Outcome, proof};

const WANTED: Call = Call { id: "9062174000001201", agent: "rekha.cc", caller: "919000001201", kind: "Inbound" };
const REACHED: Call = Call { id: "9062174000001202", agent: "rekha.cc", caller: "919000001202", kind: "Inbound" };
const CALL_BACK: Call = Call { id: "9062174000001203", agent: "rekha.cc", caller: "919000001202", kind: "Manual" };
const REASON: &str = "Came to the desk";

/// A person at a page.
struct Person<'a> {
    page: &'a Page,
    /// As decisions name the person.
    name: String,
}

fn row(call: Call) -> String {
    id(&format!("missed-{}", call.id))
}

impl Person<'_> {
    async fn press(&self, action: &str, call: Call) -> Outcome {
        self.page.press(&id(&format!("{action}-{}", call.id))).await
    }

    /// Waits until the page shows in which hands a missed call is.
    async fn sees(&self, call: Call, standing: &str) -> Outcome {
        self.page.shows(&format!("{}[data-state='{standing}']", row(call))).await?;
        Ok(())
    }

    /// Waits until the page shows it no more.
    async fn loses(&self, call: Call) -> Outcome {
        self.page.lacks(&row(call)).await
    }

    async fn has_claimed(&self, call: Call) -> Result<bool> {
        // Asked for and not answered is neither.
        let settled = format!("{0}[data-state='mine'],{0}[data-state='claimed']", row(call));
        self.page.shows(&settled).await?;
        self.page.has(&format!("{}[data-state='mine']", row(call))).await
    }
}

async fn sign_in<'a>(stack: &Stack, page: &'a Page, role: &str) -> Result<Person<'a>> {
    let user = SignIn::of(stack, role)?;
    page.open(&format!("{}/?lang=en", stack.env("HELIX_SIDECAR_GLOBAL_URL"))).await?;
    user.by_form(page).await?;
    Ok(Person { page, name: user.email })
}

pub(crate) async fn of_two_supervisors_at_once_one_has_the_missed_call(stack: &Stack) -> Outcome {
    let day = Day { stack, date: "2026-04-07" };
    with_two_pages("worklist", async |one, two| {
        let one = sign_in(stack, one, "supervisor").await?;
        let two = sign_in(stack, two, "admin").await?;
        day.ready("rekha.cc", "09:00").await?;
        day.missed(WANTED, "09:10").await?;
        tokio::try_join!(one.sees(WANTED, "free"), two.sees(WANTED, "free"))?;

        let (winner, loser) = both_claim(stack, &one, &two).await?;
        winner.press("release", WANTED).await?;
        tokio::try_join!(winner.sees(WANTED, "free"), loser.sees(WANTED, "free"))?;
        loser.press("claim", WANTED).await?;
        tokio::try_join!(loser.sees(WANTED, "mine"), winner.sees(WANTED, "claimed"))?;
        waived(stack, loser, winner).await?;
        called_back(&day, winner, loser).await?;
        for page in [one.page, two.page] {
            ensure!(page.mismatches().await? == 0, "the page's hash differed");
        }
        left_in_the_log(stack, winner, loser).await?;
        proof::caught_up(stack).await?;
        cli::succeed(&stack.config(), &["audit", "verify", "--workspace", "global"])?;
        Ok(())
    })
    .await
}

/// Who has it, and who has not.
async fn both_claim<'a>(
    stack: &Stack,
    one: &'a Person<'a>,
    two: &'a Person<'a>,
) -> Result<(&'a Person<'a>, &'a Person<'a>)> {
    tokio::try_join!(one.press("claim", WANTED), two.press("claim", WANTED))?;
    let (first, second) = tokio::try_join!(one.has_claimed(WANTED), two.has_claimed(WANTED))?;
    ensure!(first != second, "of two at once both or neither have it: {first}, {second}");
    let (winner, loser) = if first { (one, two) } else { (two, one) };
    let held_by: Option<String> =
        sqlx::query_scalar("select claimed_by from read.missed_calls where workspace_id = 'global' and call_id = $1")
            .bind(WANTED.id)
            .fetch_one(&stack.postgres)
            .await?;
    ensure!(held_by.as_deref() == Some(&winner.name), "{held_by:?} holds it, not {}", winner.name);
    loser.page.says(&format!("{} .standing", row(WANTED)), &winner.name).await?;
    // Who has it calls; nobody else is offered to.
    let call_back = id(&format!("call-back-{}", WANTED.id));
    let number = winner.page.attribute(&call_back, "href").await?.context("the winner cannot call back")?;
    ensure!(number.starts_with("tel:") && number.ends_with(WANTED.caller), "{number}");
    ensure!(!loser.page.has(&call_back).await?, "two people would ring the same patient");
    winner.page.shot("mine").await?;
    loser.page.shot("theirs").await?;
    Ok((winner, loser))
}

async fn waived(stack: &Stack, by: &Person<'_>, other: &Person<'_>) -> Outcome {
    by.press("waive", WANTED).await?;
    by.page.fill(&id("waive-reason"), REASON).await?;
    by.page.shot("waive").await?;
    by.page.press(&id("waive-submit")).await?;
    // It stays until the log has it, so that no reason is typed twice.
    by.page.lacks(&id("waive-dialog")).await?;
    tokio::try_join!(by.loses(WANTED), other.loses(WANTED))?;
    ensure!(
        closed(stack, WANTED).await? == ("waived".to_owned(), by.name.clone()),
        "{:?}",
        closed(stack, WANTED).await?
    );
    Ok(())
}

/// Why and by what a missed call is closed.
async fn closed(stack: &Stack, call: Call) -> Result<(String, String)> {
    let row = sqlx::query(
        "select status, closed_reason, closed_by from read.missed_calls where workspace_id = 'global' and call_id = $1",
    )
    .bind(call.id)
    .fetch_one(&stack.postgres)
    .await?;
    ensure!(row.try_get::<&str, _>("status")? == "closed", "it is not closed");
    Ok((row.try_get("closed_reason")?, row.try_get("closed_by")?))
}

/// A call back that is answered closes the missed call, without a word of whoever claimed it.
async fn called_back(day: &Day<'_>, by: &Person<'_>, other: &Person<'_>) -> Outcome {
    day.missed(REACHED, "09:20").await?;
    by.press("claim", REACHED).await?;
    tokio::try_join!(by.sees(REACHED, "mine"), other.sees(REACHED, "claimed"))?;
    day.answered(CALL_BACK, "09:25").await?;
    tokio::try_join!(by.loses(REACHED), other.loses(REACHED))?;
    let found = closed(day.stack, REACHED).await?;
    ensure!(found == ("reached".to_owned(), CALL_BACK.id.to_owned()), "{found:?}");
    Ok(())
}

/// What was decided, in order, by whom; and that each attempt, the loser's too, left a fact of its own.
async fn left_in_the_log(stack: &Stack, winner: &Person<'_>, loser: &Person<'_>) -> Outcome {
    let (first, second) = (winner.name.as_str(), loser.name.as_str());
    let attempts = [
        (first, "missed_calls.claim"),
        (second, "missed_calls.claim"),
        (first, "missed_calls.release"),
        (second, "missed_calls.claim"),
        (second, "missed_calls.waive"),
    ];
    let mut seen = Vec::new();
    // Audit facts follow their answers.
    until(PATIENCE, "every attempt is in the log", async || {
        seen = decided(stack)?;
        Ok(attempts.iter().all(|(by, action)| {
            let wanted = attempts.iter().filter(|one| *one == &(*by, *action)).count();
            seen.iter().filter(|one| one.is_audit(by, action)).count() == wanted
        }))
    })
    .await
    .with_context(|| format!("{seen:#?}"))?;
    let decisions: Vec<&Decided> = seen.iter().filter(|one| one.word != "Audited").collect();
    let said: Vec<(&str, &str)> = decisions.iter().map(|one| (one.word.as_str(), one.by.as_str())).collect();
    let claims = said.iter().filter(|one| one.0 == "MissedCallClaimed").count();
    // The loser's claim may be in the log, where it takes nothing, or was refused before it got there.
    ensure!((2..=3).contains(&claims) && said.len() == claims + 2, "{said:?}");
    ensure!(said.contains(&("MissedCallReleased", first)), "{said:?}");
    ensure!(said.last() == Some(&("MissedCallWaived", second)), "{said:?}");
    ensure!(decisions.last().is_some_and(|one| one.reason == REASON), "the reason is not in the log");
    Ok(())
}

/// A decision about the missed call, or what was written down of who asked for one.
#[derive(Debug)]
struct Decided {
    word: String,
    by: String,
    action: String,
    reason: String,
}

impl Decided {
    fn is_audit(&self, by: &str, action: &str) -> bool {
        self.word == "Audited" && self.by == by && self.action == action
    }
}

fn decided(stack: &Stack) -> Result<Vec<Decided>> {
    let config = stack.config();
    let words =
        ["replay", "tail", "--workspace", "global", "--kind", "Decided", "--from-beginning", "--no-follow", "--json"];
    let told = cli::succeed(&config, &words)?;
    let facts = told.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let about = |fact: &&Value| fact["call"] == WANTED.id || fact["body"]["attributes"]["about"] == WANTED.id;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let found = facts.iter().filter(about).map(|fact| {
        let body = &fact["body"];
        let attributes = &body["attributes"];
        Decided {
            word: text(&body["decision"]),
            by: text(&attributes["by"]),
            action: text(&attributes["action"]),
            reason: text(&attributes["reason"]),
        }
    });
    Ok(found.collect())
}
