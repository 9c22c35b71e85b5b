//! Automation under faults: where its decisions go, and what became of them.
//!
//! The oracle is its pure part, given all of the topic at once, decisions included: whatever is then still to be decided was
//! lost, and what an agent is remembered by must be what is stored. The histories lie in the past, so that all is due.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use anyhow::Result;
use async_trait::async_trait;
use helix_automation::{
    AllBounds, Append, AppendError, Bounds,
    timer::ENDPOINT,
    watch::{Arrived, Watched},
};
use helix_schemas::{
    codec::Codec,
    decision::Decision,
    fact::Fact,
    id::FactId,
    names::{AgentId, CallId, WorkspaceId},
};
use rdkafka::{
    ClientConfig,
    producer::{FutureProducer, FutureRecord},
};
use serde_json::Value;
use sqlx::{PgPool, Row as _};

use crate::world::Placed;

/// The bounds of a case's workspace.
#[must_use]
pub fn bounds(workspace: &WorkspaceId) -> AllBounds {
    AllBounds(BTreeMap::from([(workspace.clone(), Bounds::in_zone(chrono_tz::Tz::Asia__Kolkata))]))
}

/// Whether automation made a fact.
#[must_use]
pub fn is_decision(fact: &Fact) -> bool {
    fact.source.endpoint == ENDPOINT
}

/// A case's topic, as where decisions go.
pub struct Topic {
    name: String,
    codec: Arc<Codec<Fact>>,
    producer: FutureProducer,
}

impl Topic {
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// Where the client refuses its settings.
    pub fn new(brokers: &str, name: &str, codec: Arc<Codec<Fact>>) -> Result<Self> {
        let mut settings = ClientConfig::new();
        settings.set("bootstrap.servers", brokers).set("enable.idempotence", "true");
        let producer = settings.set("partitioner", "murmur2_random").set("linger.ms", "2").create()?;
        Ok(Self { name: name.to_owned(), codec, producer })
    }
}

#[async_trait]
impl Append for Topic {
    async fn append(&self, fact: &Fact) -> Result<(), AppendError> {
        let (key, value) = (fact.key(), self.codec.encode(fact)?);
        let record = FutureRecord::to(&self.name).key(&key).payload(&value);
        let sent = self.producer.send(record, std::time::Duration::from_secs(10)).await;
        sent.map(|_| ()).map_err(|(error, _)| error.into())
    }
}

/// How far it is.
///
/// # Errors
/// Where the database does not answer.
pub async fn progress(pool: &PgPool, topic: &str) -> Result<BTreeMap<i32, i64>> {
    let query = "select partition, next_offset from automation.progress where topic = $1";
    let rows = sqlx::query(query).bind(topic).fetch_all(pool).await?;
    rows.iter().map(|row| Ok((row.try_get("partition")?, row.try_get("next_offset")?))).collect()
}

/// Decisions that are due and not in the log, or not read back. What stands is too old here to be decided.
///
/// # Errors
/// Where the database does not answer.
pub async fn owed(pool: &PgPool) -> Result<i64> {
    Ok(sqlx::query_scalar("select count(*) from automation.timers where not stands").fetch_one(pool).await?)
}

/// What became of the decisions.
#[derive(Debug, Default)]
pub struct Decided {
    /// How many there are.
    pub made: usize,
    /// Those that are not in the log and should be.
    pub missing: Vec<String>,
    /// Those that are there more than once: under one id, or on one ground under two.
    pub twice: Vec<String>,
    /// Agents that are remembered otherwise than the log says.
    pub different: Vec<String>,
}

/// Judges the decisions in a topic, and what is remembered.
///
/// # Errors
/// Where the database does not answer.
pub async fn judge(pool: &PgPool, workspace: &WorkspaceId, log: &[Placed]) -> Result<Decided> {
    let mut decided = Decided::default();
    let mut grounds: BTreeSet<(&str, Option<&str>, Option<FactId>)> = BTreeSet::new();
    for fact in log.iter().map(|placed| &placed.fact).filter(|fact| is_decision(fact)) {
        let Some((decision, body)) = Decision::of(fact) else { continue };
        decided.made += 1;
        let agent = fact.agent.as_ref().map(AgentId::as_str);
        let subject = if decision.is_of_call() { fact.call.as_ref().map(CallId::as_str) } else { agent };
        if !grounds.insert((decision.as_str(), subject, body.rests_on())) {
            decided.twice.push(format!("{} {}", decision.as_str(), fact.id));
        }
    }
    let arrived = log.iter().map(|placed| Arrived {
        fact: placed.fact.clone(),
        partition: placed.partition,
        offset: placed.offset,
    });
    let (bounds, mut meant) = (bounds(workspace), Watched::default());
    meant.apply(&bounds, &arrived.collect::<Vec<_>>());
    let left = meant.timers(&bounds).into_iter().filter(|set| !set.stands).map(|set| set.timer);
    decided.missing.extend(left.map(|timer| format!("{} of {:?}", timer.decision.as_str(), timer.subject.columns())));
    let rows = sqlx::query("select agent_id, watch from automation.agents where workspace_id = $1")
        .bind(workspace.as_str())
        .fetch_all(pool)
        .await?;
    let mut stored: BTreeMap<String, Value> = BTreeMap::new();
    for row in &rows {
        stored.insert(row.try_get("agent_id")?, row.try_get("watch")?);
    }
    for ((_, agent), _, watch) in meant.changed_agents() {
        if stored.remove(agent.as_str()) != Some(serde_json::to_value(watch)?) {
            decided.different.push(format!("agent {agent}"));
        }
    }
    decided.different.extend(stored.into_keys().map(|agent| format!("agent {agent}")));
    Ok(decided)
}
