//! `helix projection`: where projections stand, what they set aside, and their generations.

mod clickhouse;
mod generations;
mod live;
mod parked;
mod unparking;

use std::{collections::BTreeMap, path::Path, process::ExitCode};

use helix_kit::config::Config;
use helix_postgres::{AllSettings, Generation, OtherSetting, PROJECTION, STANDBY_PROJECTION};
use helix_replay::log::FactLog;
use helix_runtime::{ParkedEntry, Position, fill::StandbyState};
use helix_schemas::{names::WorkspaceId, scope::Scope, topics};
use serde::Serialize;
use sqlx::PgPool;

use crate::{
    cli::{Projection, ProjectionVerb},
    failure::Failure,
    replay::{blocking, pool, slug, tell},
    setup::{clickhouse_options, load, settings},
    table::{Column, Table},
};

pub(crate) async fn projection(config: Option<&Path>, verb: ProjectionVerb) -> Result<ExitCode, Failure> {
    let config = load(config)?;
    match verb {
        ProjectionVerb::List { json } => list(&config, json).await,
        ProjectionVerb::Rebuild { projection, workspace, cut_over, json } => {
            let scope = Scope::from(workspace.as_deref().map(slug).transpose()?);
            match rows_of(projection, "rebuild")? {
                Rows::Postgres => generations::build(&config, scope, cut_over, json).await,
                Rows::Clickhouse => clickhouse::alone(&config, clickhouse::build(&config, scope, cut_over, json)).await,
                Rows::Live => live::build(&config, &scope, cut_over, json).await,
            }
        }
        ProjectionVerb::Diff { projection, workspace, limit, json } => {
            match of_one_board(projection, "diff", workspace.as_deref())? {
                (Rows::Postgres, _) => generations::diff(&config, limit, json).await,
                (Rows::Clickhouse, _) => clickhouse::alone(&config, clickhouse::diff(&config, limit, json)).await,
                (Rows::Live, scope) => live::diff(&config, &scope, limit, json).await,
            }
        }
        ProjectionVerb::CutOver { projection, workspace, json } => {
            swap(&config, of_one_board(projection, "cut-over", workspace.as_deref())?, StandbyState::Filling, json)
                .await
        }
        ProjectionVerb::CutBack { projection, workspace, json } => {
            swap(&config, of_one_board(projection, "cut-back", workspace.as_deref())?, StandbyState::Previous, json)
                .await
        }
        ProjectionVerb::Discard { projection, workspace } => {
            match of_one_board(projection, "discard", workspace.as_deref())? {
                (Rows::Postgres, _) => generations::discard(&config).await,
                (Rows::Clickhouse, _) => clickhouse::alone(&config, clickhouse::discard(&config)).await,
                (Rows::Live, scope) => live::discard(&config, &scope).await,
            }
        }
        ProjectionVerb::Parked { projection, workspace, key, json } => {
            let workspace = workspace.as_deref().map(slug).transpose()?;
            let filter = parked::Filter { projection, workspace, key };
            parked::list(&config, &filter, json).await
        }
        ProjectionVerb::Unpark { projection, key, dry_run, json } => {
            parked::unpark(&config, projection, &key, dry_run, json).await
        }
        ProjectionVerb::Pause { projection, workspace } => pause(&config, &projection, workspace, true).await,
        ProjectionVerb::Resume { projection, workspace } => pause(&config, &projection, workspace, false).await,
    }
}

async fn swap(
    config: &Config,
    (rows, scope): (Rows, Scope),
    wanted: StandbyState,
    as_json: bool,
) -> Result<ExitCode, Failure> {
    match rows {
        Rows::Postgres => generations::swap(config, wanted, as_json).await,
        Rows::Clickhouse => clickhouse::alone(config, clickhouse::swap(config, wanted, as_json)).await,
        Rows::Live => live::swap(config, &scope, wanted, as_json).await,
    }
}

/// Projections that have generations.
enum Rows {
    Postgres,
    Clickhouse,
    Live,
}

fn rows_of(projection: Projection, verb: &str) -> Result<Rows, Failure> {
    match projection {
        Projection::Postgres => Ok(Rows::Postgres),
        Projection::Clickhouse => Ok(Rows::Clickhouse),
        Projection::Live => Ok(Rows::Live),
        Projection::Forward => Err(Failure::usage(format!("{verb} takes the projection postgres, clickhouse or live"))),
    }
}

/// Boards have a standby each; all others have one, whose scope is known from its rebuild.
fn of_one_board(projection: Projection, verb: &str, workspace: Option<&str>) -> Result<(Rows, Scope), Failure> {
    let rows = rows_of(projection, verb)?;
    let scope = Scope::from(workspace.map(slug).transpose()?);
    match (&rows, &scope) {
        (Rows::Postgres | Rows::Clickhouse, Scope::Workspace(_)) => Err(Failure::usage(format!(
            "{verb} takes a workspace for live alone: the others' standby has its own scope"
        ))),
        (Rows::Live, _) | (_, Scope::All) => Ok((rows, scope)),
    }
}

/// By value, so that it serves as the closure of a `map_err`.
#[allow(clippy::needless_pass_by_value)]
fn postgres_fault(error: helix_postgres::PostgresError) -> Failure {
    Failure::unreachable("postgres", &error)
}

/// By value, for the same reason.
#[allow(clippy::needless_pass_by_value)]
fn clickhouse_unreachable(error: helix_clickhouse::ClickHouseError) -> Failure {
    Failure::unreachable("clickhouse", &error)
}

/// By value, for the same reason.
#[allow(clippy::needless_pass_by_value)]
fn redis_unreachable(error: helix_live::ReadError) -> Failure {
    Failure::unreachable("the workspace's Redis", &error)
}

/// The workspaces whose boards are asked for: all where none is named.
fn boards(config: &Config, only: Option<&str>) -> Result<Vec<(WorkspaceId, String)>, Failure> {
    let mut boards = Vec::new();
    for (name, own) in &config.workspaces {
        if only.is_none_or(|only| only == name) {
            boards.push((slug(name)?, own.redis_url.reveal().to_owned()));
        }
    }
    match only {
        Some(only) if boards.is_empty() => Err(Failure::usage(format!("workspace {only} is not configured"))),
        Some(_) | None => Ok(boards),
    }
}

#[derive(Serialize)]
struct Standing {
    projection: String,
    topic: &'static str,
    partition: i32,
    next_offset: i64,
    high_water: i64,
    lag: i64,
    /// Null where the store does not say.
    epoch: Option<i64>,
    parked: usize,
    paused: bool,
    /// What workspaces have configured otherwise than their rows were made with, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    other_settings: BTreeMap<String, Vec<String>>,
}

/// Where a projection stands in one partition: next offset, epoch.
type At = (i32, i64, Option<i64>);

async fn list(config: &Config, as_json: bool) -> Result<ExitCode, Failure> {
    let log = FactLog::open(config).await?;
    let ends = blocking(move || log.whole()).await?;
    let parked = parked::all(config).await?;
    let pool = pool(config).await?;
    let mut paused = helix_postgres::paused(&pool).await.map_err(postgres_fault)?;
    if helix_clickhouse::paused(&clickhouse_options(config)).await.map_err(clickhouse_unreachable)? {
        paused.insert(helix_clickhouse::PROJECTION.to_owned());
    }
    let mut held: Vec<(String, Vec<At>)> = in_postgres(config, &pool).await?;
    held.extend(in_clickhouse(config).await?);
    for (name, at, is_paused) in live::standings(config).await? {
        if is_paused {
            paused.insert(name.clone());
        }
        held.push((name, at));
    }
    let others = other_settings(config, &pool).await?;
    let mut standings: Vec<Standing> = Vec::new();
    for (projection, places) in held {
        for (partition, next_offset, epoch) in places {
            let high_water = ends.0.get(&partition).map_or(0, |(_, high)| *high);
            let here = |entry: &&ParkedEntry| entry.projection == projection && entry.partition == partition;
            standings.push(Standing {
                topic: topics::FACTS,
                partition,
                next_offset,
                high_water,
                lag: (high_water - next_offset).max(0),
                epoch,
                parked: parked.iter().filter(here).count(),
                paused: paused.contains(&projection),
                other_settings: if projection == PROJECTION { others.clone() } else { BTreeMap::new() },
                projection: projection.clone(),
            });
        }
    }
    if as_json {
        tell(&standings)?;
    } else {
        print!("{}", table(standings));
        for (workspace, names) in &others {
            println!(
                "{PROJECTION}: the rows of {workspace} were made with other settings: {}; \
                 run `helix projection rebuild {PROJECTION} --workspace {workspace} --cut-over`",
                names.join(", ")
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What workspaces have configured otherwise than their rows in Postgres were made with (docs/decisions/0025).
async fn other_settings(config: &Config, pool: &PgPool) -> Result<BTreeMap<String, Vec<String>>, Failure> {
    let configured = AllSettings(settings(config)?);
    let found = helix_postgres::other_settings(pool, Generation::Live, &configured).await.map_err(postgres_fault)?;
    let names = |others: Vec<OtherSetting>| others.into_iter().map(|other| other.name).collect();
    Ok(found.into_iter().map(|(workspace, others)| (workspace.to_string(), names(others))).collect())
}

fn table(standings: Vec<Standing>) -> Table {
    let mut table = Table::new([
        Column::Text("projection"),
        Column::Number("partition"),
        Column::Number("next"),
        Column::Number("end"),
        Column::Number("lag"),
        Column::Number("epoch"),
        Column::Number("parked"),
        Column::Text("state"),
    ]);
    for at in standings {
        let state = if at.paused { "paused" } else { "" };
        let numbers = [i64::from(at.partition), at.next_offset, at.high_water, at.lag];
        let mut cells = vec![at.projection];
        cells.extend(numbers.map(|number| number.to_string()));
        cells.push(at.epoch.map_or_else(|| "-".to_owned(), |epoch| epoch.to_string()));
        cells.extend([at.parked.to_string(), state.to_owned()]);
        table.row(cells);
    }
    table
}

/// Projections that keep their progress in Postgres: the read models, what stands beside them, and receivers.
async fn in_postgres(config: &Config, pool: &PgPool) -> Result<Vec<(String, Vec<At>)>, Failure> {
    let mut names = vec![PROJECTION.to_owned()];
    if helix_postgres::standby(pool).await.map_err(postgres_fault)?.is_some() {
        names.push(STANDBY_PROJECTION.to_owned());
    }
    for (workspace, own) in &config.workspaces {
        if own.forward.is_some() {
            names.push(helix_forward::projection(&slug(workspace)?));
        }
    }
    let mut held = Vec::new();
    for name in names {
        let at = helix_postgres::progress_of(pool, &name, topics::FACTS).await.map_err(postgres_fault)?;
        held.push((name, at.into_iter().map(|at| (at.partition, at.next_offset, Some(at.epoch))).collect()));
    }
    Ok(held)
}

/// ClickHouse's live generation, and the one beside it.
async fn in_clickhouse(config: &Config) -> Result<Vec<(String, Vec<At>)>, Failure> {
    let audit = helix_clickhouse::audit::Audit::new(&clickhouse_options(config)).map_err(clickhouse_unreachable)?;
    let live = audit.standings(topics::FACTS).await.map_err(clickhouse_unreachable)?;
    let standby = audit.standby_standings(topics::FACTS).await.map_err(clickhouse_unreachable)?;
    let names = [helix_clickhouse::PROJECTION, helix_clickhouse::STANDBY_PROJECTION];
    let at = |at: Position| (at.partition, at.next_offset.0, Some(at.epoch.0));
    let both = names.into_iter().zip([Some(live), standby]);
    Ok(both.filter_map(|(name, of)| Some((name.to_owned(), of?.positions.into_values().map(at).collect()))).collect())
}

async fn pause(
    config: &Config,
    projection: &str,
    workspace: Option<String>,
    paused: bool,
) -> Result<ExitCode, Failure> {
    if let Some(scope) = live::named(projection, workspace.as_deref())? {
        return live::pause(config, &scope, paused).await;
    }
    if workspace.is_some() {
        return Err(Failure::usage("a workspace is taken for live alone: a receiver is named `forward:<slug>`"));
    }
    if projection == helix_clickhouse::PROJECTION {
        let told = helix_clickhouse::pause(&clickhouse_options(config), paused).await;
        told.map_err(clickhouse_unreachable)?;
    } else {
        let pool = pool(config).await?;
        let known = in_postgres(config, &pool).await?;
        let mut names: Vec<&str> = known.iter().map(|(name, _)| name.as_str()).collect();
        if !names.contains(&projection) {
            names.extend([helix_clickhouse::PROJECTION, live::PROJECTION]);
            return Err(Failure::usage(format!("these can be paused: {}", names.join(", "))));
        }
        helix_postgres::pause(&pool, projection, paused).await.map_err(postgres_fault)?;
    }
    tell_paused(projection, paused);
    Ok(ExitCode::SUCCESS)
}

fn tell_paused(projection: &str, paused: bool) {
    println!("{projection} {}", if paused { "is told to pause" } else { "goes on" });
}
