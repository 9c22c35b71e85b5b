//! `helix simulate`: a hospital's day in fast motion through the real ingest.

use std::{path::Path, process::ExitCode};

use chrono::{Days, NaiveDateTime, NaiveTime, TimeZone, Utc};
use helix_kit::config::Config;
use helix_simulator::{Faults, Options, WorkspaceTarget};

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
        None => first_unseen_day(&config).await?,
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

/// 08:00 of yesterday, or of the day after the latest one that was seen: a day that was played already would only be
/// late facts, and the board would not move. Where Postgres does not answer, yesterday.
async fn first_unseen_day(config: &Config) -> Result<NaiveDateTime, Failure> {
    let zone = settings(config)?.values().next().map_or(chrono_tz_default(), |own| own.zone);
    let yesterday = zone.from_utc_datetime(&Utc::now().naive_utc()).date_naive() - Days::new(1);
    let seen = latest_seen(config).await.map(|at| zone.from_utc_datetime(&at.naive_utc()).date_naive() + Days::new(1));
    let day = seen.map_or(yesterday, |next| next.max(yesterday));
    let opening = NaiveTime::from_hms_opt(8, 0, 0).unwrap_or_default();
    Ok(day.and_time(opening))
}

fn chrono_tz_default() -> helix_fold::settings::Tz {
    helix_fold::settings::Settings::default().zone
}

async fn latest_seen(config: &Config) -> Option<chrono::DateTime<Utc>> {
    let pool = helix_postgres::connect(config.postgres.url.reveal(), 1).await.ok()?;
    let latest: Option<chrono::DateTime<Utc>> =
        sqlx::query_scalar("select max(since) from read.agents").fetch_one(&pool).await.ok()?;
    latest
}
