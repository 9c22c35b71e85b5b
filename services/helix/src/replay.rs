//! `helix replay`: the log read directly.

use std::{
    io::{self, BufWriter},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use chrono::DateTime;
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
use serde_json::Value;
use sqlx::{Connection as _, PgPool};

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
    let workspace = args.workspace.as_deref().map(slug).transpose()?;
    Ok(Filter {
        workspace: workspace.map(|workspace| workspace.to_string()),
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
    match verb {
        ReplayVerb::Tail { filter: args, from_beginning, last, no_follow, json } => {
            let from = if from_beginning { tail::From::Beginning } else { tail::From::Last(last) };
            tail(&config, filter(args)?, from, !no_follow, json).await
        }
        ReplayVerb::Export { filter: args, out, json } => {
            let filter = filter(args)?;
            match out.filter(|path| path.as_os_str() != "-") {
                None => tail(&config, filter, tail::From::Beginning, false, true).await,
                Some(path) => export(&config, filter, path, json).await,
            }
        }
        ReplayVerb::Board { workspace, as_of, clock, json: _ } => {
            let clock = match clock {
                Clock::Event => board::Clock::Event,
                Clock::Received => board::Clock::Received,
            };
            let at = as_of.as_deref().map(moment).transpose()?.map(|at| Moment { at, clock });
            past_board(&config, slug(&workspace)?, at).await
        }
    }
}

async fn tail(
    config: &Config,
    filter: Filter,
    from: tail::From,
    follow: bool,
    as_json: bool,
) -> Result<ExitCode, Failure> {
    let (log, stop) = (FactLog::open(config).await?, Stop::on_ctrl_c());
    let unreadable = blocking(move || {
        let mut out = BufWriter::new(io::stdout());
        tail::tail(&log, &filter, from, follow, as_json, &stop, &mut out)
    })
    .await?;
    tell_unreadable(&unreadable);
    Ok(ExitCode::SUCCESS)
}

async fn export(config: &Config, filter: Filter, path: PathBuf, as_json: bool) -> Result<ExitCode, Failure> {
    let (log, stop) = (FactLog::open(config).await?, Stop::on_ctrl_c());
    let shown = path.display().to_string();
    let manifest = blocking(move || export::export(&log, &filter, &path, &stop)).await?;
    if as_json {
        tell(&manifest)?;
    } else {
        println!("{} facts in {shown}, sha256 {}", manifest.facts, manifest.sha256);
        tell_unreadable(&manifest.unreadable);
    }
    Ok(ExitCode::SUCCESS)
}

async fn past_board(config: &Config, workspace: WorkspaceId, at: Option<Moment>) -> Result<ExitCode, Failure> {
    let configured = settings(config)?.get(&workspace).cloned();
    let known = configured.is_some();
    let (log, stop) = (FactLog::open(config).await?, Stop::on_ctrl_c());
    let asked = workspace.clone();
    let board = blocking(move || board_as_of(&log, &asked, configured.unwrap_or_default(), at, &stop)).await?;
    // A workspace that is configured no more has its facts still.
    if !known && board.get("version").and_then(Value::as_u64) == Some(0) {
        return Err(Failure::usage(format!("workspace {workspace} is not configured, and the log has no facts of it")));
    }
    tell(&board)?;
    Ok(ExitCode::SUCCESS)
}

/// How long a verb waits for Postgres to take a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// A pool for one verb.
pub(crate) async fn pool(config: &Config) -> Result<PgPool, Failure> {
    let url = config.postgres.url.reveal();
    // A pool asks again for half a minute where nobody listens: whoever stands at a terminal is told at once.
    match tokio::time::timeout(CONNECT_WITHIN, sqlx::PgConnection::connect(url)).await {
        Ok(Ok(first)) => drop(first),
        Ok(Err(error)) => return Err(Failure::unreachable("postgres", &error)),
        Err(elapsed) => return Err(Failure::unreachable("postgres", &elapsed)),
    }
    let pool = helix_postgres::connect(url, config.postgres.connections).await;
    pool.map_err(|error| Failure::unreachable("postgres", &error))
}
