//! Generations of ClickHouse's facts: built beside the live ones, compared, exchanged.

use std::{collections::BTreeMap, process::ExitCode, sync::Arc};

use helix_clickhouse::{Diff, Generations, RowDiff};
use helix_kit::config::Config;
use helix_replay::{
    ReplayError,
    evidence::Evidence,
    log::{FactLog, Place, Stop},
    rebuild::{Source, clickhouse_fault as fault, rebuild_clickhouse},
};
use helix_runtime::fill::StandbyState;
use helix_schemas::{registry::Registry, scope::Scope, topics};
use serde_json::{Value, json};
use sqlx::Executor as _;

use crate::{
    failure::Failure,
    projection::generations::{refused_swap, show_columns, show_root, tell_rebuilt},
    replay::{blocking, pool, tell},
    setup::clickhouse_options,
};

/// How the verbs name it.
const NAME: &str = " clickhouse";

/// Does work on ClickHouse's generations, or unparks there, while nobody else does. ClickHouse has no lock that ends with whoever
/// holds it; every installation has Postgres, which has: it is held by a connection of its own, so that it ends with a process
/// that dies.
pub(super) async fn alone(
    config: &Config,
    work: impl Future<Output = Result<ExitCode, Failure>>,
) -> Result<ExitCode, Failure> {
    let fault = |error: sqlx::Error| Failure::unreachable("postgres", &error);
    let mut connection = pool(config).await?.acquire().await.map_err(fault)?.detach();
    const LOCK: &str = "select pg_try_advisory_lock(hashtextextended('helix.generations.clickhouse', 0))";
    let taken: bool = sqlx::query_scalar(LOCK).fetch_one(&mut connection).await.map_err(fault)?;
    if !taken {
        return Err(Failure::usage(
            "somebody else rebuilds, compares, exchanges or unparks in clickhouse at the moment",
        ));
    }
    let done = work.await;
    // Waited for, so that the next verb of a script finds it free.
    const UNLOCK: &str = "select pg_advisory_unlock(hashtextextended('helix.generations.clickhouse', 0))";
    let left = connection.execute(UNLOCK).await.map_err(fault);
    let done = done?;
    left?;
    Ok(done)
}

async fn generations(config: &Config) -> Result<Generations, Failure> {
    let registry = Registry::new(&config.registry.url);
    let codec = registry.fact_codec().await.map_err(|error| Failure::unreachable("the schema registry", &error))?;
    let generations = Generations::new(&clickhouse_options(config), registry, Arc::new(codec));
    generations.map_err(|error| Failure::unreachable("clickhouse", &error))
}

pub(super) async fn build(config: &Config, scope: Scope, cut_over: bool, as_json: bool) -> Result<ExitCode, Failure> {
    let generations = generations(config).await?;
    let log = FactLog::open(config).await?;
    let mut source = Source::new(&log)?;
    let done = rebuild_clickhouse(&generations, &mut source, &scope, &Stop::on_ctrl_c()).await?;
    if cut_over {
        generations.cut_over(topics::FACTS, &mut source).await.map_err(fault)?;
    }
    tell_rebuilt(&done, cut_over, as_json, NAME)
}

pub(super) async fn diff(config: &Config, limit: usize, as_json: bool) -> Result<ExitCode, Failure> {
    let generations = generations(config).await?;
    let log = FactLog::open(config).await?;
    let mut source = Source::new(&log)?;
    let found = generations.diff(topics::FACTS, &mut source, limit).await.map_err(fault)?;
    let places: Vec<Place> = found.rows.iter().map(place).collect();
    let facts = blocking(move || facts_at(&log, &places)).await?;
    if as_json {
        tell_json(&found, &facts)?;
    } else {
        show(&found, &facts);
    }
    Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

const fn place(row: &RowDiff) -> Place {
    Place { partition: row.partition, offset: row.offset }
}

/// What the log holds at these places; nothing where it holds no fact.
fn facts_at(log: &FactLog, places: &[Place]) -> Result<BTreeMap<Place, Evidence>, ReplayError> {
    let reader = log.ranges()?;
    let mut facts = BTreeMap::new();
    for place in places {
        for record in reader.read(place.partition, place.offset, place.offset + 1)? {
            let Ok(fact) = log.decode(*place, &record.value) else { continue };
            let evidence = Evidence {
                topic: topics::FACTS,
                partition: place.partition,
                offset: place.offset,
                id: fact.id.to_string(),
                kind: fact.kind.as_str(),
                occurred_at: fact.occurred_at.to_rfc3339(),
            };
            facts.insert(*place, evidence);
        }
    }
    Ok(facts)
}

fn tell_json(found: &Diff, facts: &BTreeMap<Place, Evidence>) -> Result<(), Failure> {
    let of = |row: &RowDiff| facts.get(&place(row)).into_iter().cloned().collect::<Vec<Evidence>>();
    let rows: Vec<Value> = found.rows.iter().map(|row| json!({"difference": row, "facts": of(row)})).collect();
    let live: u64 = found.roots.iter().map(|root| root.live_rows).sum();
    let standby: u64 = found.roots.iter().map(|root| root.standby_rows).sum();
    tell(&json!({
        "same": found.is_empty(), "standby": found.standby, "roots": found.roots,
        "tables": [{"table": "facts", "live": live, "standby": standby, "differing": found.differing}], "rows": rows,
    }))
}

fn show(found: &Diff, facts: &BTreeMap<Place, Evidence>) {
    for root in &found.roots {
        show_root(&root.workspace, "facts", (root.live_rows, root.standby_rows), root.equal);
    }
    if found.differing > 0 {
        println!("  facts: {} differ", found.differing);
    }
    for row in &found.rows {
        println!("  facts {} at {}/{}/{}", row.workspace, topics::FACTS, row.partition, row.offset);
        let [live, standby] = [&row.live, &row.standby].map(|side| side.clone().map(Value::Object));
        show_columns(&row.columns, live.as_ref(), standby.as_ref());
        if let Some(fact) = facts.get(&place(row)) {
            println!("    {} {} {}", fact.occurred_at, fact.kind, fact.id);
        }
    }
}

pub(super) async fn swap(config: &Config, wanted: StandbyState, as_json: bool) -> Result<ExitCode, Failure> {
    let generations = generations(config).await?;
    let standby = generations.standby().await.map_err(fault)?;
    let standby = standby
        .ok_or_else(|| Failure::usage("there is no standby: `helix projection rebuild clickhouse` makes one"))?;
    if standby.state != wanted {
        return Err(refused_swap(wanted == StandbyState::Filling));
    }
    let log = FactLog::open(config).await?;
    let done = generations.cut_over(topics::FACTS, &mut Source::new(&log)?).await.map_err(fault)?;
    if as_json {
        tell(&json!({"exchanged": standby.scope.to_string(), "standby": done}))?;
    } else {
        println!("{}: exchanged; what was live until now is the standby", standby.scope);
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn discard(config: &Config) -> Result<ExitCode, Failure> {
    let gone = generations(config).await?.discard().await.map_err(fault)?;
    println!("the standby ({}) is gone", gone.scope);
    Ok(ExitCode::SUCCESS)
}
