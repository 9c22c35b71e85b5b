//! Generations of the boards, and rest: each workspace's in its own Redis.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
    sync::Arc,
};

use helix_kit::config::Config;
use helix_live::{Decoder, Diff, Generations, RowDiff, Standby};
use helix_replay::{
    evidence::{About, Evidence, evidence},
    log::{FactLog, Stop},
    rebuild::{Rebuilt, Source, live_fault, rebuild_live},
};
use helix_runtime::fill::StandbyState;
use helix_schemas::{names::WorkspaceId, registry::Registry, scope::Scope, topics};
use serde_json::{Value, json};

use crate::{
    failure::Failure,
    projection::{
        At, boards,
        generations::{refused_swap, show_columns, show_evidence, show_root, tell_rebuilt},
        redis_unreachable, tell_paused,
    },
    replay::{blocking, slug, tell},
    setup::settings,
};

/// How people say all boards.
pub(super) const PROJECTION: &str = "live";
/// How the verbs name it.
const NAME: &str = " live";

/// What a board is called in `helix projection list`.
pub(super) fn name(workspace: &WorkspaceId) -> String {
    format!("{PROJECTION}:{workspace}")
}

/// What stands beside it, there.
pub(super) fn standby_name(workspace: &WorkspaceId) -> String {
    format!("{PROJECTION}:{workspace}.standby")
}

/// The boards that a name means; `None` where it means another projection.
pub(super) fn named(projection: &str, workspace: Option<&str>) -> Result<Option<Scope>, Failure> {
    let one = projection.strip_prefix("live:");
    if projection != PROJECTION && one.is_none() {
        return Ok(None);
    }
    if one.is_some() && workspace.is_some() && one != workspace {
        return Err(Failure::usage(format!("{projection} is not of that workspace")));
    }
    Ok(Some(Scope::from(one.or(workspace).map(slug).transpose()?)))
}

/// The generations of each board in a scope. Nothing is asked of a Redis yet.
async fn generations(config: &Config, scope: &Scope) -> Result<Vec<(WorkspaceId, Generations)>, Failure> {
    let asked = boards(config, scope.only().map(WorkspaceId::as_str))?;
    let registry = Registry::new(&config.registry.url);
    let codec = registry.fact_codec().await.map_err(|error| Failure::unreachable("the schema registry", &error))?;
    let decoder = Decoder::new(Arc::new(codec), Some(registry));
    let mut settings = settings(config)?;
    let mut all = Vec::new();
    for (workspace, url) in asked {
        let Some(own) = settings.remove(&workspace) else { continue };
        let generations = Generations::new(&url, workspace.clone(), own, decoder.clone());
        all.push((workspace, generations.map_err(|error| Failure::unreachable("the workspace's Redis", &error))?));
    }
    Ok(all)
}

/// Those of a scope that have a standby. One that is asked for by name must have one.
async fn with_standby(config: &Config, scope: &Scope) -> Result<Vec<(WorkspaceId, Generations, Standby)>, Failure> {
    let mut found = Vec::new();
    for (workspace, generations) in generations(config, scope).await? {
        let standby = generations.standby(topics::FACTS).await.map_err(|error| live_fault(&workspace, error))?;
        if let Some((standby, _)) = standby {
            found.push((workspace, generations, standby));
        }
    }
    if found.is_empty() {
        return Err(Failure::usage("there is no standby: `helix projection rebuild live` makes one"));
    }
    Ok(found)
}

pub(super) async fn build(config: &Config, scope: &Scope, cut_over: bool, as_json: bool) -> Result<ExitCode, Failure> {
    let asked = generations(config, scope).await?;
    // All or none are rebuilt, as far as can be told before.
    for (workspace, generations) in &asked {
        generations.begin(topics::FACTS).await.map_err(|error| live_fault(workspace, error))?;
    }
    let log = FactLog::open(config).await?;
    let mut source = Source::new(&log)?;
    let stop = Stop::on_ctrl_c();
    let mut all = Rebuilt { scope: scope.to_string(), facts: 0, parked: 0, seconds: 0.0, facts_per_second: 0.0 };
    for (workspace, generations) in asked {
        let done = rebuild_live(&workspace, &generations, &mut source, &stop).await?;
        if cut_over {
            let exchanged = generations.cut_over(topics::FACTS, &mut source).await;
            exchanged.map_err(|error| live_fault(&workspace, error))?;
        }
        all.facts += done.facts;
        all.parked += done.parked;
        all.seconds += done.seconds;
    }
    all.facts_per_second = all.facts as f64 / all.seconds.max(f64::EPSILON);
    tell_rebuilt(&all, cut_over, as_json, NAME)
}

pub(super) async fn diff(config: &Config, scope: &Scope, limit: usize, as_json: bool) -> Result<ExitCode, Failure> {
    let asked = with_standby(config, scope).await?;
    let log = FactLog::open(config).await?;
    let mut source = Source::new(&log)?;
    let mut found: Vec<Diff> = Vec::new();
    for (workspace, generations, _) in asked {
        let left = limit.saturating_sub(found.iter().map(|diff| diff.rows.len()).sum());
        let diff = generations.diff(topics::FACTS, &mut source, left).await;
        found.push(diff.map_err(|error| live_fault(&workspace, error))?);
    }
    let asked: BTreeSet<About> = found.iter().flat_map(|diff| &diff.rows).filter_map(about).collect();
    let stop = Stop::on_ctrl_c();
    let facts = blocking(move || evidence(&log, &asked, &stop)).await?;
    let same = found.iter().all(Diff::is_empty);
    if as_json {
        tell_json(&found, same, &facts)?;
    } else {
        found.iter().for_each(|diff| show(diff, &facts));
    }
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// What a value is about; counters and the watermark are about no one fact.
fn about(row: &RowDiff) -> Option<About> {
    let of = |about: fn(String, String) -> About| about(row.workspace.clone(), row.key.clone());
    match row.table.as_str() {
        "agents" => Some(of(About::Agent)),
        "calls" | "waiting" => Some(of(About::Call)),
        _ => None,
    }
}

type Facts = BTreeMap<About, Vec<Evidence>>;

fn facts_of(row: &RowDiff, facts: &Facts) -> Vec<Evidence> {
    about(row).and_then(|about| facts.get(&about)).cloned().unwrap_or_default()
}

/// As of the other projections, with a standby and tables for each board.
fn tell_json(found: &[Diff], same: bool, facts: &Facts) -> Result<(), Failure> {
    let rows = found.iter().flat_map(|diff| &diff.rows);
    let rows: Vec<Value> = rows.map(|row| json!({"difference": row, "facts": facts_of(row, facts)})).collect();
    let roots: Vec<_> = found.iter().map(|diff| &diff.root).collect();
    let standbys: Vec<_> = found.iter().map(|diff| &diff.standby).collect();
    let of_board = |diff: &Diff| {
        let workspace = diff.root.workspace.clone();
        diff.tables.clone().into_iter().map(move |table| {
            json!({"workspace": workspace, "table": table.table, "live": table.live, "standby": table.standby,
                "differing": table.differing})
        })
    };
    let tables: Vec<Value> = found.iter().flat_map(of_board).collect();
    tell(&json!({"same": same, "standby": standbys, "roots": roots, "tables": tables, "rows": rows}))
}

fn show(diff: &Diff, facts: &Facts) {
    let root = &diff.root;
    show_root(&root.workspace, "values", (root.live_rows, root.standby_rows), root.equal);
    for table in diff.tables.iter().filter(|table| table.differing > 0) {
        let (name, differing, live, standby) = (&table.table, table.differing, table.live, table.standby);
        println!("  {name}: {differing} of {live} live and {standby} standby values differ");
    }
    for row in &diff.rows {
        println!("  {} {} {}", row.table, row.workspace, row.key);
        match (&row.live, &row.standby) {
            (Some(live), Some(standby)) if row.columns.is_empty() => println!("    {live} live, {standby} standby"),
            (live, standby) => show_columns(&row.columns, live.as_ref(), standby.as_ref()),
        }
        show_evidence(&facts_of(row, facts));
    }
}

/// Exchanges each board in scope whose standby is what the verb is for.
pub(super) async fn swap(
    config: &Config,
    scope: &Scope,
    wanted: StandbyState,
    as_json: bool,
) -> Result<ExitCode, Failure> {
    let mut asked = with_standby(config, scope).await?;
    asked.retain(|(_, _, standby)| standby.state == wanted);
    if asked.is_empty() {
        return Err(refused_swap(wanted == StandbyState::Filling));
    }
    let log = FactLog::open(config).await?;
    let mut source = Source::new(&log)?;
    let mut exchanged = Vec::new();
    for (workspace, generations, _) in asked {
        let done = generations.cut_over(topics::FACTS, &mut source).await;
        exchanged.push(done.map_err(|error| live_fault(&workspace, error))?);
        if !as_json {
            println!("{workspace}: exchanged; what was live until now is the standby");
        }
    }
    if as_json {
        tell(&json!({"exchanged": scope.to_string(), "standby": exchanged}))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn discard(config: &Config, scope: &Scope) -> Result<ExitCode, Failure> {
    for (workspace, generations, _) in with_standby(config, scope).await? {
        let gone = generations.discard(topics::FACTS).await.map_err(|error| live_fault(&workspace, error))?;
        println!("the standby ({}) is gone", gone.scope);
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn pause(config: &Config, scope: &Scope, paused: bool) -> Result<ExitCode, Failure> {
    for (workspace, url) in boards(config, scope.only().map(WorkspaceId::as_str))? {
        helix_live::pause(&url, &workspace, paused).await.map_err(redis_unreachable)?;
        tell_paused(&name(&workspace), paused);
    }
    Ok(ExitCode::SUCCESS)
}

/// Each board and what stands beside it: its name, where it stands, whether it rests.
pub(super) async fn standings(config: &Config) -> Result<Vec<(String, Vec<At>, bool)>, Failure> {
    let at = |progress: BTreeMap<i32, i64>| progress.into_iter().map(|(id, next)| (id, next, None)).collect();
    let mut all = Vec::new();
    for (workspace, url) in boards(config, None)? {
        let stored = helix_live::audit::stored_board(&url, &workspace, topics::FACTS).await;
        let progress = stored.map_err(redis_unreachable)?.progress;
        let paused = helix_live::paused(&url, &workspace).await.map_err(redis_unreachable)?;
        all.push((name(&workspace), at(progress), paused));
        let beside = helix_live::audit::standby_progress(&url, &workspace, topics::FACTS).await;
        if let Some(progress) = beside.map_err(redis_unreachable)? {
            all.push((standby_name(&workspace), at(progress), false));
        }
    }
    Ok(all)
}
