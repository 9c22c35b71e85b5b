//! `helix simulate`: a hospital's day in fast motion through the real ingest.

use std::{path::Path, process::ExitCode};

use chrono::{DateTime, NaiveDateTime, TimeZone, Utc};
use helix_kit::config::Config;
use helix_simulator::{Faults, Options, WorkspaceTarget, unseen_day};

use crate::{
    cli::SimulateOptions,
    failure::Failure,
    setup::{load, settings},
};

pub(crate) async fn run(config: Option<&Path>, asked: SimulateOptions) -> Result<ExitCode, Failure> {
    let config = load(config)?;
    let mut targets = targets(&config);
    if let Some(only) = &asked.workspace {
        targets.retain(|target| target.slug == *only);
    }
    if targets.is_empty() {
        return Err(Failure::usage("no such workspace in the configuration: start the local stack with `make up`"));
    }
    let ingest = asked.ingest.unwrap_or_else(|| config.ingest.url.clone());
    let start = match asked.start {
        Some(start) => start,
        None => next_day(&config, asked.hours).await?,
    };
    let options = Options {
        seed: asked.seed,
        agents: asked.agents,
        calls_per_hour: asked.calls_per_hour,
        hours: asked.hours,
        speed: asked.speed,
        start: Some(start),
        faults: if asked.clean { Faults::none() } else { Faults::default() },
        concurrency: asked.concurrency,
        json: asked.json,
        ..Options::demo(&ingest, account_key(&config), targets)
    };
    helix_simulator::run(options).await.map_err(|error| Failure::of(error.exit_code(), &error))?;
    Ok(ExitCode::SUCCESS)
}

/// The key of the account that the simulated provider posts for: the first one.
fn account_key(config: &Config) -> &str {
    config.accounts.values().next().map_or("", |account| account.key.reveal())
}

fn targets(config: &Config) -> Vec<WorkspaceTarget> {
    config
        .workspaces
        .iter()
        .map(|(slug, workspace)| WorkspaceTarget {
            slug: slug.clone(),
            username: "demo_user".to_owned(),
            // What the provider puts into the callback's body; never stored.
            api_key: config.account_of(workspace).map_or("", |(_, account)| account.key.reveal()).to_owned(),
            webhook_key: workspace.webhook_key.reveal().to_owned(),
            register_key: Some(workspace.register_key.reveal().to_owned()),
            sidecar_url: workspace.sidecar_url.clone(),
            agents: workspace.agents.clone(),
            dids: workspace.dids.clone(),
        })
        .collect()
}

/// A day that was not seen yet: one that was played already would only be late facts, and the board would not move. Where
/// Postgres does not answer, the first.
async fn next_day(config: &Config, hours: u32) -> Result<NaiveDateTime, Failure> {
    let zone = settings(config)?.values().next().map_or(chrono_tz_default(), |own| own.zone);
    let local = |at: DateTime<Utc>| zone.from_utc_datetime(&at.naive_utc()).naive_local();
    unseen_day(local(Utc::now()), latest_seen(config).await.map(local), hours).ok_or_else(|| {
        Failure::usage(
            "every day up to now was played, and the board shows nothing of one that lies further ahead: wait a day, or begin anew with `make clean`",
        )
    })
}

fn chrono_tz_default() -> helix_fold::settings::Tz {
    helix_fold::settings::Settings::default().zone
}

async fn latest_seen(config: &Config) -> Option<DateTime<Utc>> {
    let pool = helix_postgres::connect(config.postgres.url.reveal(), 1).await.ok()?;
    let latest: Option<DateTime<Utc>> =
        sqlx::query_scalar("select max(since) from read.agents").fetch_one(&pool).await.ok()?;
    latest
}
