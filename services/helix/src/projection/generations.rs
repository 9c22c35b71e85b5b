//! Generations of the Postgres rows: built beside the live ones, compared, exchanged.

use std::{collections::BTreeSet, fmt::Display, process::ExitCode, sync::Arc};

use helix_kit::config::Config;
use helix_postgres::{AllSettings, Generations, RowDiff};
use helix_replay::{
    evidence::{About, Evidence, evidence},
    log::{FactLog, Stop},
    rebuild::{Rebuilt, Source, fault, rebuild},
};
use helix_runtime::fill::StandbyState;
use helix_schemas::{registry::Registry, scope::Scope, topics};
use serde_json::{Value, json};

use crate::{
    failure::Failure,
    replay::{blocking, pool, tell},
    setup::settings,
};

pub(super) async fn generations(config: &Config) -> Result<Generations, Failure> {
    let registry = Registry::new(&config.registry.url);
    let codec = registry.fact_codec().await.map_err(|error| Failure::unreachable("the schema registry", &error))?;
    Ok(Generations::new(pool(config).await?, registry, Arc::new(codec), AllSettings(settings(config)?)))
}

pub(super) async fn build(config: &Config, scope: Scope, cut_over: bool, as_json: bool) -> Result<ExitCode, Failure> {
    let generations = generations(config).await?;
    let log = FactLog::open(config).await?;
    let mut source = Source::new(&log)?;
    let done = rebuild(&generations, &mut source, &scope, &Stop::on_ctrl_c()).await?;
    if cut_over {
        generations.cut_over(topics::FACTS, &mut source).await.map_err(fault)?;
    }
    tell_rebuilt(&done, cut_over, as_json, "")
}

/// Tells what a rebuild did, and which verbs go on from there; they take `name`.
pub(super) fn tell_rebuilt(done: &Rebuilt, cut_over: bool, as_json: bool, name: &str) -> Result<ExitCode, Failure> {
    if as_json {
        tell(&json!({"rebuilt": done, "cut_over": cut_over}))?;
        return Ok(ExitCode::SUCCESS);
    }
    let parked = if done.parked > 0 { format!(", {} parked", done.parked) } else { String::new() };
    println!(
        "{}: rebuilt from {} facts in {:.1} s, {:.0} facts/s{parked}",
        done.scope, done.facts, done.seconds, done.facts_per_second,
    );
    if cut_over {
        println!("cut over; `helix projection cut-back{name}` takes it back, `helix audit verify` proves it");
    } else {
        println!(
            "it stands beside the live rows: `helix projection diff{name}` compares, `helix projection cut-over{name}` exchanges"
        );
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn diff(config: &Config, limit: usize, as_json: bool) -> Result<ExitCode, Failure> {
    let generations = generations(config).await?;
    let log = FactLog::open(config).await?;
    let mut source = Source::new(&log)?;
    let found = generations.diff(topics::FACTS, &mut source, limit).await.map_err(fault)?;
    let about = |row: &RowDiff| About::of_row(&row.workspace, row.table, &row.key);
    let asked: BTreeSet<About> = found.rows.iter().filter_map(about).collect();
    let stop = Stop::on_ctrl_c();
    let facts = blocking(move || evidence(&log, &asked, &stop)).await?;
    let facts_of = |row: &RowDiff| about(row).and_then(|about| facts.get(&about)).cloned().unwrap_or_default();
    if as_json {
        let rows: Vec<Value> =
            found.rows.iter().map(|row| json!({"difference": row, "facts": facts_of(row)})).collect();
        tell(&json!({
            "same": found.is_empty(), "standby": found.standby, "roots": found.roots, "tables": found.tables, "rows": rows,
        }))?;
    } else {
        for root in &found.roots {
            show_root(&root.workspace, "rows", (root.live_rows, root.standby_rows), root.equal);
        }
        for table in found.tables.iter().filter(|table| table.differing > 0) {
            println!(
                "  {}: {} of {} live and {} standby rows differ",
                table.table, table.differing, table.live, table.standby
            );
        }
        found.rows.iter().for_each(|row| show(row, &facts_of(row)));
    }
    Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn show(row: &RowDiff, facts: &[Evidence]) {
    println!("  {} {} {}", row.table, row.workspace, row.key);
    show_columns(&row.columns, row.live.as_ref(), row.standby.as_ref());
    show_evidence(facts);
}

/// Whether the roots of a workspace meet, and of how many rows they are.
pub(super) fn show_root(workspace: &str, what: &str, (live, standby): (impl Display, impl Display), equal: bool) {
    let word = if equal { "roots meet" } else { "ROOTS DIFFER" };
    println!("{workspace:<16} {live} {what} live, {standby} standby, {word}");
}

/// The facts behind a row.
pub(super) fn show_evidence(facts: &[Evidence]) {
    for fact in facts {
        println!("    {} {} at {}/{}/{}", fact.occurred_at, fact.kind, fact.topic, fact.partition, fact.offset);
    }
}

/// The columns of a row that differ, with both values.
pub(super) fn show_columns(columns: &[String], live: Option<&Value>, standby: Option<&Value>) {
    match (live, standby) {
        (Some(live), Some(standby)) => {
            for column in columns {
                let value = |side: &Value| side.get(column).cloned().unwrap_or(Value::Null);
                println!("    {column}: {} live, {} standby", value(live), value(standby));
            }
        }
        (Some(_), None) => println!("    only live"),
        (None, _) => println!("    only standby"),
    }
}

/// Why a standby is not exchanged by the verb that was used.
pub(super) fn refused_swap(cutting_over: bool) -> Failure {
    Failure::usage(if cutting_over {
        "the standby is what was live before: `cut-back` takes it back, `discard` drops it"
    } else {
        "nothing was cut over: the standby is a rebuild that was never live"
    })
}

pub(super) async fn swap(config: &Config, wanted: StandbyState, as_json: bool) -> Result<ExitCode, Failure> {
    let generations = generations(config).await?;
    let standby = generations.standby().await.map_err(fault)?;
    let standby = standby.ok_or_else(|| Failure::usage("there is no standby: `helix projection rebuild` makes one"))?;
    if standby.state != wanted {
        return Err(refused_swap(wanted == StandbyState::Filling));
    }
    let log = FactLog::open(config).await?;
    let done = generations.cut_over(topics::FACTS, &mut Source::new(&log)?).await.map_err(fault)?;
    if as_json {
        tell(&json!({"exchanged": done.scope.to_string(), "standby": done}))?;
    } else {
        println!("{}: exchanged; what was live until now is the standby", done.scope);
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn discard(config: &Config) -> Result<ExitCode, Failure> {
    let gone = generations(config).await?.discard().await.map_err(fault)?;
    println!("the standby ({}) is gone", gone.scope);
    Ok(ExitCode::SUCCESS)
}
