//! Facts that projections have set aside.

use std::process::ExitCode;

use chrono::DateTime;
use helix_clickhouse::Unpark;
use helix_kit::config::Config;
use helix_postgres::ParkedFilter;
use helix_replay::log::FactLog;
use helix_runtime::{Cause, ParkedEntry, Record};
use helix_schemas::{codec::Codec, fact::Fact, key::workspace_of_key, names::WorkspaceId, registry::Registry, topics};
use serde_json::{Value, json};

use crate::{
    cli::Projection,
    failure::Failure,
    projection::{
        boards, clickhouse::alone, clickhouse_unreachable, live, postgres_fault, redis_unreachable, unparking,
    },
    replay::{blocking, pool, tell},
    setup::clickhouse_options,
    table::{Column, Table},
};

/// Which are asked for.
pub(super) struct Filter {
    pub(super) projection: Option<String>,
    pub(super) workspace: Option<WorkspaceId>,
    pub(super) key: Option<String>,
}

impl Filter {
    fn takes(&self, entry: &ParkedEntry) -> bool {
        self.projection.as_ref().is_none_or(|asked| *asked == entry.projection)
            && self.workspace.as_ref().is_none_or(|asked| workspace_of_key(&entry.parked.key) == Some(asked.as_str()))
            && self.key.as_ref().is_none_or(|asked| entry.parked.key == asked.as_bytes())
    }
}

/// What is parked anywhere. A board's are those of `live:<workspace>`.
pub(super) async fn all(config: &Config) -> Result<Vec<ParkedEntry>, Failure> {
    let mut entries =
        helix_postgres::parked(&pool(config).await?, &ParkedFilter::default()).await.map_err(postgres_fault)?;
    let options = clickhouse_options(config);
    entries.extend(helix_clickhouse::parked(&options).await.map_err(clickhouse_unreachable)?);
    entries.extend(helix_clickhouse::parked_standby(&options).await.map_err(clickhouse_unreachable)?);
    for (workspace, url) in boards(config, None)? {
        let of_board = helix_live::parked(&url, &workspace).await.map_err(redis_unreachable)?;
        let beside = helix_live::parked_standby(&url, &workspace).await.map_err(redis_unreachable)?;
        for (name, of) in [(live::name(&workspace), of_board), (live::standby_name(&workspace), beside)] {
            entries.extend(of.into_iter().map(|entry| ParkedEntry { projection: name.clone(), ..entry }));
        }
    }
    Ok(entries)
}

fn cause(entry: &ParkedEntry) -> String {
    match &entry.parked.cause {
        Cause::Poison(reason) => reason.clone(),
        Cause::Behind(first) => format!("behind offset {}", first.0),
    }
}

fn parked_at(entry: &ParkedEntry) -> String {
    DateTime::from_timestamp_millis(entry.parked_at).map(|at| at.to_rfc3339()).unwrap_or_default()
}

pub(super) async fn list(config: &Config, filter: &Filter, as_json: bool) -> Result<ExitCode, Failure> {
    let entries: Vec<ParkedEntry> = all(config).await?.into_iter().filter(|entry| filter.takes(entry)).collect();
    if as_json {
        let told: Vec<Value> = entries
            .iter()
            .map(|entry| {
                json!({
                    "projection": entry.projection, "topic": entry.topic, "partition": entry.partition,
                    "offset": entry.parked.offset.0, "key": String::from_utf8_lossy(&entry.parked.key),
                    "workspace": workspace_of_key(&entry.parked.key), "cause": cause(entry), "parked_at": parked_at(entry),
                })
            })
            .collect();
        tell(&told)?;
        return Ok(ExitCode::SUCCESS);
    }
    if entries.is_empty() {
        println!("nothing is parked");
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new([
        Column::Text("projection"),
        Column::Number("partition"),
        Column::Number("offset"),
        Column::Text("key"),
        Column::Text("parked"),
        Column::Text("cause"),
    ]);
    for entry in &entries {
        table.row([
            entry.projection.clone(),
            entry.partition.to_string(),
            entry.parked.offset.0.to_string(),
            String::from_utf8_lossy(&entry.parked.key).into_owned(),
            parked_at(entry),
            cause(entry),
        ]);
    }
    print!("{table}");
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn unpark(
    config: &Config,
    projection: Projection,
    key: &str,
    dry_run: bool,
    as_json: bool,
) -> Result<ExitCode, Failure> {
    let name = match projection {
        Projection::Postgres => return unparking::unpark(config, key, dry_run, as_json).await,
        Projection::Clickhouse => helix_clickhouse::PROJECTION,
        Projection::Live => {
            return Err(Failure::usage(
                "a board is unparked by folding it afresh: `helix projection rebuild live --workspace <slug> --cut-over`",
            ));
        }
        Projection::Forward => return Err(Failure::usage("unpark takes postgres or clickhouse")),
    };
    let filter = Filter { projection: Some(name.to_owned()), workspace: None, key: Some(key.to_owned()) };
    let entries: Vec<ParkedEntry> = all(config).await?.into_iter().filter(|entry| filter.takes(entry)).collect();
    if entries.is_empty() {
        return Err(Failure::usage(format!("nothing is parked of the key {key}: `helix projection parked` lists")));
    }
    let log = FactLog::open(config).await?;
    let records = blocking(move || {
        let reader = log.ranges()?;
        let mut records = Vec::with_capacity(entries.len());
        for entry in &entries {
            let offset = entry.parked.offset.0;
            let found = reader.read(entry.partition, offset, offset + 1)?;
            records.extend(found.into_iter().map(|record| (entry.partition, record)));
        }
        Ok(records)
    })
    .await?;
    let registry = Registry::new(&config.registry.url);
    let codec = registry.fact_codec().await.map_err(|error| Failure::unreachable("the schema registry", &error))?;
    // Nobody exchanges generations meanwhile.
    alone(config, in_clickhouse(config, (registry, codec), key, records, dry_run, as_json)).await
}

type Reading = (Registry, Codec<Fact>);

async fn in_clickhouse(
    config: &Config,
    (registry, codec): Reading,
    key: &str,
    records: Vec<(i32, Record)>,
    dry_run: bool,
    as_json: bool,
) -> Result<ExitCode, Failure> {
    let options = clickhouse_options(config);
    // A key lies in one partition.
    let partition = records.first().map_or(0, |(partition, _)| *partition);
    let records: Vec<Record> = records.into_iter().map(|(_, record)| record).collect();
    let unpark = Unpark { topic: topics::FACTS, partition, key: key.as_bytes(), records };
    let done = if dry_run {
        unpark.dry_run(&options, &registry, &codec).await
    } else {
        unpark.run(&options, &registry, &codec).await
    };
    let done = done.map_err(|error| Failure::of(1, &error))?;
    if as_json {
        let facts: Vec<Value> = done
            .facts
            .iter()
            .map(|(offset, fact)| json!({"offset": offset.0, "id": fact.id, "kind": fact.kind}))
            .collect();
        tell(&json!({"facts": facts, "left": done.left, "done": !dry_run}))?;
        return Ok(ExitCode::SUCCESS);
    }
    for (offset, fact) in &done.facts {
        println!("{partition}/{} {} {}", offset.0, fact.kind.as_str(), fact.id);
    }
    let verb = if dry_run { "would become rows" } else { "are rows now" };
    println!("{} facts {verb}; {} came meanwhile and are still parked", done.facts.len(), done.left);
    Ok(ExitCode::SUCCESS)
}
