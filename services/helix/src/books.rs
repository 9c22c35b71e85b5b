//! The continuous check of the books: counts and rows of every queue, and missed calls against their list.

use std::{collections::BTreeMap, time::Duration};

use chrono::Utc;
use helix_postgres::{AllSettings, BooksCheck, check_books};
use sqlx::PgPool;

/// How often they are checked.
const EVERY: Duration = Duration::from_secs(60);
/// Days that are checked each time; `helix audit verify` looks at all of them.
const DAYS: u32 = 3;

/// Checks for ever; a database that does not answer is asked again in its turn.
pub(crate) async fn keep(pool: PgPool, settings: AllSettings) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match check_books(&pool, &settings, Some(DAYS)).await {
            Ok(check) => tell(&check, &settings),
            Err(error) => tracing::warn!(%error, "the books could not be checked"),
        }
    }
}

fn tell(check: &BooksCheck, settings: &AllSettings) {
    let mut by_workspace: BTreeMap<&str, usize> = settings.0.keys().map(|workspace| (workspace.as_str(), 0)).collect();
    for difference in &check.books {
        *by_workspace.entry(&difference.workspace).or_default() += 1;
        tracing::error!(
            workspace = difference.workspace,
            queue = difference.queue,
            day = difference.day,
            "the books of a queue do not balance: `helix audit verify`"
        );
    }
    for difference in &check.obligations {
        *by_workspace.entry(&difference.workspace).or_default() += 1;
        tracing::error!(
            workspace = difference.workspace,
            call = difference.call,
            missed = difference.missed,
            "a missed call and the list of missed calls do not agree: `helix audit verify`"
        );
    }
    for (workspace, differences) in by_workspace {
        metrics::gauge!("helix_books_differences", "workspace" => workspace.to_owned()).set(differences as f64);
    }
    metrics::gauge!("helix_books_checked_timestamp_seconds").set(Utc::now().timestamp() as f64);
}
