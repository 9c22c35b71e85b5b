//! Verbs that read the log and prove by it.

use std::{
    io::{self, BufWriter},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use chrono::DateTime;
use helix_fold::settings::Settings;
use helix_kit::config::{Config, ProjectorConfig};
use helix_postgres::{AllSettings, PostgresStore};
use helix_replay::{
    board::{self, Moment, board_as_of},
    export,
    filter::Filter,
    log::{FactLog, Stop},
    rebuild, tail,
    verify::{self, Report},
};
use helix_runtime::Membership;
use helix_schemas::{fact::Kind, names::WorkspaceId, registry::Registry, time::OccurredAt, topics};
use serde::Serialize;
use sqlx::PgPool;

use crate::{
    cli::{AuditVerb, Clock, FilterArgs, Projection, ProjectionVerb, ReplayVerb},
    failure::Failure,
    projectors::{POSTGRES_GROUP, engine_config},
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

fn slug(text: &str) -> Result<WorkspaceId, Failure> {
    WorkspaceId::new(text).map_err(|error| Failure::of(2, &error))
}

fn tell(value: &impl Serialize) -> Result<(), Failure> {
    println!("{}", serde_json::to_string_pretty(value).map_err(|error| Failure::of(1, &error))?);
    Ok(())
}

/// Runs blocking work beside the runtime.
async fn blocking<T: Send + 'static>(
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
            blocking(move || {
                let mut out = BufWriter::new(io::stdout());
                tail::tail(&log, &filter, from, !no_follow, json, &stop, &mut out)
            })
            .await?;
        }
        ReplayVerb::Export { filter: args, out, json } => {
            let filter = filter(args)?;
            let Some(path) = out.filter(|path| path.as_os_str() != "-") else {
                blocking(move || {
                    let mut out = BufWriter::new(io::stdout());
                    tail::tail(&log, &filter, tail::From::Beginning, false, true, &stop, &mut out)
                })
                .await?;
                return Ok(ExitCode::SUCCESS);
            };
            let shown = path.display().to_string();
            let manifest = blocking(move || export::export(&log, &filter, &path, &stop)).await?;
            if json {
                tell(&manifest)?;
            } else {
                println!("{} facts in {shown}, sha256 {}", manifest.facts, manifest.sha256);
            }
        }
        ReplayVerb::Board { workspace, as_of, clock, json: _ } => {
            let workspace = slug(&workspace)?;
            let own = settings(&config)?.get(&workspace).copied().unwrap_or_else(Settings::default);
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

async fn pool(config: &Config) -> Result<PgPool, Failure> {
    helix_postgres::connect(config.postgres.url.reveal(), config.postgres.connections)
        .await
        .map_err(|error| Failure::unreachable("postgres", &error))
}

pub(crate) async fn audit(config: Option<&Path>, verb: AuditVerb) -> Result<ExitCode, Failure> {
    let AuditVerb::Verify { workspace, projection, json } = verb;
    if projection != Projection::Postgres {
        return Err(Failure::usage("audit verify takes the projection postgres; the others follow"));
    }
    let config = load(config)?;
    let only = workspace.as_deref().map(slug).transpose()?;
    let all = AllSettings(settings(&config)?);
    let log = FactLog::open(&config).await?;
    let report = verify::verify(log, &pool(&config).await?, &all, only, Stop::on_ctrl_c()).await?;
    if json {
        tell(&report)?;
    } else {
        show(&report);
    }
    Ok(if report.agrees() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn show(report: &Report) {
    println!("projection {}: {} facts folded", report.projection, report.facts);
    for workspace in &report.workspaces {
        match &workspace.difference {
            None => println!("  {:<16} {:>8} rows, root {} meets", workspace.workspace, workspace.rows, workspace.root),
            Some(difference) => {
                let column = difference.column.map(|column| format!(", column {column}")).unwrap_or_default();
                println!("  {:<16} {:>8} rows, DIFFERS", workspace.workspace, workspace.rows);
                println!(
                    "    first difference: {}.{}, row {}{column}",
                    report.projection, difference.table, difference.key
                );
                println!("      stored: {}", difference.stored);
                println!("      log:    {}", difference.folded);
            }
        }
    }
}

#[derive(Serialize)]
struct Standing {
    projection: &'static str,
    topic: &'static str,
    partition: i32,
    next_offset: i64,
    high_water: i64,
    lag: i64,
    epoch: i64,
}

pub(crate) async fn projection(config: Option<&Path>, verb: ProjectionVerb) -> Result<ExitCode, Failure> {
    let config = load(config)?;
    let log = FactLog::open(&config).await?;
    let pool = pool(&config).await?;
    match verb {
        ProjectionVerb::List { json } => {
            let ends = blocking(move || log.whole()).await?;
            let held = helix_postgres::progress(&pool, topics::FACTS)
                .await
                .map_err(|error| Failure::unreachable("postgres", &error))?;
            let standings: Vec<Standing> = held
                .into_iter()
                .map(|at| {
                    let high_water = ends.0.get(&at.partition).map_or(0, |(_, high)| *high);
                    Standing {
                        projection: helix_postgres::PROJECTION,
                        topic: topics::FACTS,
                        partition: at.partition,
                        next_offset: at.next_offset,
                        high_water,
                        lag: (high_water - at.next_offset).max(0),
                        epoch: at.epoch,
                    }
                })
                .collect();
            if json {
                tell(&standings)?;
            } else {
                println!(
                    "{:<12} {:<18} {:>9} {:>12} {:>12} {:>8} {:>6}",
                    "projection", "topic", "partition", "next", "end", "lag", "epoch"
                );
                for at in standings {
                    println!(
                        "{:<12} {:<18} {:>9} {:>12} {:>12} {:>8} {:>6}",
                        at.projection, at.topic, at.partition, at.next_offset, at.high_water, at.lag, at.epoch
                    );
                }
            }
        }
        ProjectionVerb::Rebuild { projection, json } => {
            if projection != Projection::Postgres {
                return Err(Failure::usage("rebuild takes the projection postgres; the others follow"));
            }
            let registry = Registry::new(&config.registry.url);
            let codec =
                registry.fact_codec().await.map_err(|error| Failure::unreachable("the schema registry", &error))?;
            let store = PostgresStore::new(pool.clone(), registry, Arc::new(codec), AllSettings(settings(&config)?));
            // A member of its own beside the projector that may be running.
            let own = ProjectorConfig { instance: String::new(), ..config.project.postgres.clone() };
            let engine = engine_config(&config, &own, POSTGRES_GROUP.to_owned(), Membership::Group);
            let done = rebuild::rebuild(log, &pool, store, engine, Stop::on_ctrl_c()).await?;
            if json {
                tell(&done)?;
            } else {
                println!("rebuilt from {} facts in {:.1} s; `helix audit verify` proves it", done.facts, done.seconds);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
