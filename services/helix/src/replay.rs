//! `helix replay`: the log read directly.

use std::{
    io::{self, BufWriter},
    path::Path,
    process::ExitCode,
};

use chrono::DateTime;
use helix_fold::settings::Settings;
use helix_kit::config::Config;
use helix_replay::{
    board::{self, Moment, board_as_of},
    export,
    filter::Filter,
    log::{FactLog, Place, Stop},
    tail,
};
use helix_schemas::{fact::Kind, names::WorkspaceId, time::OccurredAt};
use serde::Serialize;
use sqlx::PgPool;

use crate::{
    cli::{Clock, FilterArgs, ReplayVerb},
    failure::Failure,
    setup::{load, settings},
};

fn moment(text: &str) -> Result<OccurredAt, Failure> {
    DateTime::parse_from_rfc3339(text)
        .map(|at| OccurredAt::from_millis(at.timestamp_millis()))
        .map_err(|_| Failure::usage(format!("{text} is no RFC 3339 time, as 2026-03-24T09:30:00+05:30")))
}

fn filter(args: FilterArgs) -> Result<Filter, Failure> {
    let kind = args.kind.map(|word| {
        let named = Kind::ALL.into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(&word));
        named.ok_or_else(|| {
            Failure::usage(format!("there is no kind {word}: {}", Kind::ALL.map(Kind::as_str).join(", ")))
        })
    });
    Ok(Filter {
        workspace: args.workspace,
        agent: args.agent,
        call: args.call,
        kind: kind.transpose()?,
        since: args.since.as_deref().map(moment).transpose()?,
        until: args.until.as_deref().map(moment).transpose()?,
    })
}

pub(crate) fn slug(text: &str) -> Result<WorkspaceId, Failure> {
    WorkspaceId::new(text).map_err(|error| Failure::of(2, &error))
}

pub(crate) fn tell(value: &impl Serialize) -> Result<(), Failure> {
    println!("{}", serde_json::to_string_pretty(value).map_err(|error| Failure::of(1, &error))?);
    Ok(())
}

fn tell_unreadable(places: &[Place]) {
    for Place { partition, offset } in places.iter().take(10) {
        eprintln!("helix: the record at partition {partition} offset {offset} is no fact of ours: it was passed over");
    }
    if places.len() > 10 {
        eprintln!("helix: and {} more", places.len() - 10);
    }
}

/// Runs blocking work beside the runtime.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, helix_replay::ReplayError> + Send + 'static,
) -> Result<T, Failure> {
    Ok(tokio::task::spawn_blocking(work).await.map_err(|error| Failure::of(1, &error))??)
}

pub(crate) async fn replay(config: Option<&Path>, verb: ReplayVerb) -> Result<ExitCode, Failure> {
    let config = load(config)?;
    let stop = Stop::on_ctrl_c();
    let log = FactLog::open(&config).await?;
    match verb {
        ReplayVerb::Tail { filter: args, from_beginning, last, no_follow, json } => {
            let filter = filter(args)?;
            let from = if from_beginning { tail::From::Beginning } else { tail::From::Last(last) };
            let unreadable = blocking(move || {
                let mut out = BufWriter::new(io::stdout());
                tail::tail(&log, &filter, from, !no_follow, json, &stop, &mut out)
            })
            .await?;
            tell_unreadable(&unreadable);
        }
        ReplayVerb::Export { filter: args, out, json } => {
            let filter = filter(args)?;
            let Some(path) = out.filter(|path| path.as_os_str() != "-") else {
                let unreadable = blocking(move || {
                    let mut out = BufWriter::new(io::stdout());
                    tail::tail(&log, &filter, tail::From::Beginning, false, true, &stop, &mut out)
                })
                .await?;
                tell_unreadable(&unreadable);
                return Ok(ExitCode::SUCCESS);
            };
            let shown = path.display().to_string();
            let manifest = blocking(move || export::export(&log, &filter, &path, &stop)).await?;
            if json {
                tell(&manifest)?;
            } else {
                println!("{} facts in {shown}, sha256 {}", manifest.facts, manifest.sha256);
                tell_unreadable(&manifest.unreadable);
            }
        }
        ReplayVerb::Board { workspace, as_of, clock, json: _ } => {
            let workspace = slug(&workspace)?;
            let own = settings(&config)?.get(&workspace).cloned().unwrap_or_else(Settings::default);
            let clock = match clock {
                Clock::Event => board::Clock::Event,
                Clock::Received => board::Clock::Received,
            };
            let at = as_of.as_deref().map(moment).transpose()?.map(|at| Moment { at, clock });
            let board = blocking(move || board_as_of(&log, &workspace, own, at, &stop)).await?;
            tell(&board)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A pool for one verb.
pub(crate) async fn pool(config: &Config) -> Result<PgPool, Failure> {
    helix_postgres::connect(config.postgres.url.reveal(), config.postgres.connections)
        .await
        .map_err(|error| Failure::unreachable("postgres", &error))
}
