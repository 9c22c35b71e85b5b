//! Telling a story in facts, and what the views make of it.

use std::{collections::BTreeMap, sync::Arc};

use clickhouse::Client;
use helix_clickhouse::{ClickHouseStore, Options};
use helix_fold::{
    agent::{Interval, IntervalRow},
    row::Row,
    session::{EndedBy, sessions},
    settings::Settings,
    workspace::WorkspaceFold,
};
use helix_runtime::{Batch, NextOffset, Offset, Position, Record, Slice, Store as _};
use helix_schemas::{
    codec::Codec,
    decision::{Deciding, Decision, attribute},
    fact::{
        AgentState, AgentStateChanged, AgentStateWord, Body, CallAnswered, CallEnded, CallParty, CallRang,
        CallSummarised, ChainedAgent, Direction, Fact, OccurredAtFrom, Source, Unknown,
    },
    id::FactId,
    names::{AgentId, CallId, WorkspaceId},
    registry::Registry,
    schema,
    time::{OccurredAt, ReceivedAt},
    topics,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::engine;

/// Second 0 of every story: 2025-10-09T08:53:20Z.
pub const EPOCH_MILLIS: i64 = 1_760_000_000_000;

/// A moment of the story, in seconds from its beginning.
pub fn at(seconds: i64) -> OccurredAt {
    OccurredAt::from_millis(EPOCH_MILLIS + seconds * 1000)
}

/// The same as the views write it.
pub fn clock(seconds: i64) -> Value {
    Value::String(at(seconds).to_rfc3339())
}

pub fn workspace(name: &str) -> WorkspaceId {
    WorkspaceId::new(name).unwrap()
}

/// A fact of workspace `ramaiah`, with a random id, received a second after it happened.
pub fn fact(seconds: i64, agent: Option<&str>, call: Option<&str>, body: Body) -> Fact {
    Fact {
        id: FactId::from_uuid(Uuid::new_v4()),
        workspace: workspace("ramaiah"),
        agent: agent.map(|agent| AgentId::new(agent).unwrap()),
        call: call.map(|call| CallId::new(call).unwrap()),
        leg: None,
        provider: "ozonetel".into(),
        kind: body.kind(),
        occurred_at: at(seconds),
        occurred_at_from: OccurredAtFrom::Event,
        received_at: ReceivedAt::from_micros((at(seconds).millis() + 1000) * 1000),
        raw: b"{}".to_vec(),
        raw_content_type: "application/json".into(),
        source: Source::default(),
        normaliser: 1,
        body,
    }
}

pub fn state(seconds: i64, agent: &str, state: AgentState, reason: Option<&str>) -> Fact {
    let body = AgentStateChanged {
        action: state.as_str().to_owned(),
        state: AgentStateWord(state),
        reason: reason.map(str::to_owned),
        mode: None,
        agent_name: None,
        agent_unique_id: None,
    };
    fact(seconds, Some(agent), None, Body::AgentStateChanged(body))
}

pub fn unknown_word(seconds: i64, agent: &str, word: &str) -> Fact {
    let body = Unknown { event: "agent".into(), word: word.into(), ..Unknown::default() };
    fact(seconds, Some(agent), None, Body::Unknown(body))
}

pub fn inbound() -> CallParty {
    CallParty { direction: Some(Direction::Inbound), caller: Some("919000000001".into()), ..CallParty::default() }
}

pub fn outbound() -> CallParty {
    CallParty { direction: Some(Direction::Outbound), ..inbound() }
}

pub fn rang(seconds: i64, call: &str, agent: Option<&str>, party: CallParty) -> Fact {
    fact(seconds, agent, Some(call), Body::CallRang(CallRang { party }))
}

pub fn answered(seconds: i64, call: &str, agent: Option<&str>, party: CallParty) -> Fact {
    fact(seconds, agent, Some(call), Body::CallAnswered(CallAnswered { party }))
}

pub fn ended(seconds: i64, call: &str, agent: Option<&str>, party: CallParty) -> Fact {
    fact(seconds, agent, Some(call), Body::CallEnded(CallEnded { party, hangup_by: None }))
}

/// A summary that says what `says` sets and nothing else.
pub fn summary(seconds: i64, call: &str, says: impl FnOnce(&mut CallSummarised)) -> Fact {
    let mut body = CallSummarised::default();
    says(&mut body);
    fact(seconds, None, Some(call), Body::CallSummarised(Box::new(body)))
}

pub fn link(agent: &str) -> ChainedAgent {
    ChainedAgent { agent: AgentId::new(agent).ok(), ..ChainedAgent::default() }
}

fn deciding(seconds: i64, decision: Decision) -> Deciding {
    Deciding {
        workspace: workspace("ramaiah"),
        decision,
        agent: None,
        call: None,
        effective_at: at(seconds),
        received_at: ReceivedAt::from_micros((at(seconds).millis() + 1000) * 1000),
        evidence: Vec::new(),
        attributes: BTreeMap::new(),
        request: None,
        source: Source::default(),
    }
}

/// What a person decides about a missed call.
pub fn wished(seconds: i64, call: &str, decision: Decision, by: &str) -> Fact {
    let attributes = BTreeMap::from([(attribute::BY.to_owned(), by.to_owned())]);
    let request = Some(Uuid::new_v4().to_string());
    Deciding { call: CallId::new(call).ok(), attributes, request, ..deciding(seconds, decision) }.into_fact()
}

/// An agent's decision on a state fact, so many seconds after it.
pub fn decided(on: &Fact, after: i64, decision: Decision) -> Fact {
    let seconds = (on.occurred_at.millis() - EPOCH_MILLIS) / 1000 + after;
    Deciding { agent: on.agent.clone(), evidence: vec![on.id], ..deciding(seconds, decision) }.into_fact()
}

/// That a call ended, by decision.
pub fn presumed_ended(seconds: i64, call: &str, agent: Option<&str>) -> Fact {
    let agent = agent.map(|agent| AgentId::new(agent).unwrap());
    Deciding { agent, call: CallId::new(call).ok(), ..deciding(seconds, Decision::CallPresumedEnded) }.into_fact()
}

/// With an id that is a small number, to decide ties.
pub fn numbered(mut fact: Fact, id: u128) -> Fact {
    fact.id = FactId::from_uuid(Uuid::from_u128(id));
    fact
}

/// Its agent's or call's.
pub fn partition_of(fact: &Fact) -> i32 {
    i32::try_from(fact.key().bytes().map(u32::from).sum::<u32>() % 3).unwrap()
}

/// A database, a store that holds partitions 0 to 2, and everything that was appended.
pub struct World {
    pub options: Options,
    pub store: ClickHouseStore,
    pub client: Client,
    pub codec: Arc<Codec<Fact>>,
    pub settings: BTreeMap<WorkspaceId, Settings>,
    pub held: BTreeMap<i32, Position>,
    /// In the order of arrival.
    pub log: Vec<(i32, i64, Fact)>,
}

impl World {
    pub async fn new() -> Self {
        Self::with_settings(BTreeMap::new()).await
    }

    pub async fn with_settings(settings: BTreeMap<WorkspaceId, Settings>) -> Self {
        Self::in_database(&format!("test_{}", Uuid::new_v4().simple()), settings).await
    }

    pub async fn in_database(database: &str, settings: BTreeMap<WorkspaceId, Settings>) -> Self {
        let database = database.to_owned();
        let options = Options { url: engine::url().to_owned(), database, user: String::new(), password: String::new() };
        let codec = Arc::new(Codec::new(1, &schema::FACT).unwrap());
        let store = open(&options, &codec, &settings).await;
        let client = Client::default().with_url(engine::url());
        let mut world = Self { options, store, client, codec, settings, held: BTreeMap::new(), log: Vec::new() };
        world.acquire().await;
        world
    }

    pub async fn acquire(&mut self) {
        let positions = self.store.acquire(topics::FACTS, &[0, 1, 2]).await.unwrap();
        self.held = positions.into_iter().map(|position| (position.partition, position)).collect();
    }

    /// A second store over the same database.
    pub async fn another_store(&self) -> ClickHouseStore {
        open(&self.options, &self.codec, &self.settings).await
    }

    /// Adds to the log without applying it. A fact's partition is its agent's or call's.
    pub fn append(&mut self, fact: &Fact) -> (i32, i64) {
        let partition = partition_of(fact);
        let offset = self.log.iter().filter(|(other, _, _)| *other == partition).count();
        let offset = i64::try_from(offset).unwrap();
        self.log.push((partition, offset, fact.clone()));
        (partition, offset)
    }

    /// A slice of what lies in a partition from where it is held up to `to`.
    pub fn slice(&self, partition: i32, to: i64) -> Slice {
        let held = self.held[&partition].clone();
        let records = self
            .log
            .iter()
            .filter(|(other, offset, _)| *other == partition && *offset >= held.next_offset.0 && *offset < to)
            .map(|(_, offset, fact)| self.record(*offset, fact))
            .collect();
        Slice { partition, epoch: held.epoch, from: held.next_offset, to: NextOffset(to), records, parked: Vec::new() }
    }

    pub fn record(&self, offset: i64, fact: &Fact) -> Record {
        let value = self.codec.encode(fact).unwrap().into();
        Record { offset: Offset(offset), key: fact.key().into(), value }
    }

    /// Everything that is not applied yet, as one batch.
    pub fn rest(&self) -> Batch {
        let end = |partition: i32| {
            self.log.iter().filter(|(other, _, _)| *other == partition).map(|(_, offset, _)| offset + 1).max()
        };
        let slices = self
            .held
            .keys()
            .filter_map(|partition| end(*partition).map(|end| self.slice(*partition, end)))
            .filter(|slice| !slice.records.is_empty())
            .collect();
        Batch { topic: topics::FACTS.to_owned(), slices }
    }

    pub async fn apply(&mut self, batch: &Batch) {
        self.store.apply(batch).await.unwrap();
        for slice in &batch.slices {
            self.held.get_mut(&slice.partition).unwrap().next_offset = slice.to;
        }
    }

    /// Appends and applies.
    pub async fn tell(&mut self, facts: impl IntoIterator<Item = Fact>) {
        for fact in facts {
            self.append(&fact);
        }
        let batch = self.rest();
        self.apply(&batch).await;
    }

    pub fn sql(&self, template: &str) -> String {
        template.replace("{db}", &self.options.database)
    }

    pub async fn run(&self, template: &str) {
        self.client.query_raw(&self.sql(template)).execute().await.unwrap();
    }

    /// From now on no part of `facts` is merged but by [`Self::merge`]. Not by `SYSTEM STOP MERGES`: a merge that is
    /// asked for soon after `START` is now and then cancelled.
    pub async fn hold_merges(&self) {
        self.run("ALTER TABLE {db}.facts MODIFY SETTING max_bytes_to_merge_at_max_space_in_pool = 1").await;
    }

    /// Merges all parts of `facts` into one.
    pub async fn merge(&self) {
        self.run("OPTIMIZE TABLE {db}.facts FINAL").await;
    }

    /// The rows of a query, as JSON objects with times in RFC 3339.
    pub async fn rows(&self, template: &str) -> Vec<Value> {
        let bytes = self
            .client
            .query_raw(&self.sql(template))
            .with_setting("output_format_json_quote_64bit_integers", "0")
            .with_setting("date_time_output_format", "iso")
            .fetch_bytes("JSONEachRow")
            .unwrap()
            .collect()
            .await
            .unwrap();
        bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    pub async fn number(&self, template: &str) -> i64 {
        let rows = self.rows(template).await;
        rows[0].as_object().unwrap().values().next().unwrap().as_i64().unwrap()
    }

    /// The one call of the story, after all views were compared with the fold.
    pub async fn call(&self, call: &str) -> Value {
        self.agrees_with_the_fold().await;
        let rows = self.rows(&format!("SELECT * FROM {{db}}.calls WHERE call_id = '{call}'")).await;
        assert_eq!(rows.len(), 1, "{rows:?}");
        rows.into_iter().next().unwrap()
    }

    /// Intervals of an agent as (state, from, to, call), in seconds of the story, after the comparison.
    pub async fn intervals(&self, agent: &str) -> Vec<(String, i64, Option<i64>, Option<String>)> {
        self.agrees_with_the_fold().await;
        let sql = format!(
            "SELECT state, toUnixTimestamp64Milli(started_at) AS from, toUnixTimestamp64Milli(ended_at) AS to, call_id
             FROM {{db}}.agent_intervals WHERE agent_id = '{agent}' ORDER BY started_at"
        );
        let seconds = |value: &Value| value.as_i64().map(|millis| (millis - EPOCH_MILLIS) / 1000);
        self.rows(&sql)
            .await
            .iter()
            .map(|row| {
                let call = row["call_id"].as_str().map(str::to_owned);
                (row["state"].as_str().unwrap().to_owned(), seconds(&row["from"]).unwrap(), seconds(&row["to"]), call)
            })
            .collect()
    }

    /// Compares `calls`, `agent_intervals`, `agents`, `agent_sessions` and `missed_calls` with the fold, row by row.
    pub async fn agrees_with_the_fold(&self) {
        let mut folds: BTreeMap<WorkspaceId, WorkspaceFold> = BTreeMap::new();
        for (_, offset, fact) in &self.log {
            let settings = self.settings.get(&fact.workspace).cloned().unwrap_or_default();
            let fold = folds.entry(fact.workspace.clone());
            fold.or_insert_with(|| WorkspaceFold::new(fact.workspace.clone(), settings)).apply(fact, *offset);
        }
        let mut expected: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for fold in folds.values() {
            let rows = fold.rows();
            take(&mut expected, &rows.calls);
            take(&mut expected, &rows.intervals);
            take(&mut expected, &rows.agents);
            take(&mut expected, &rows.missed_calls);
            expected.entry("agent_sessions").or_default().extend(session_rows(&rows.intervals));
        }
        for view in ["calls", "agent_intervals", "agents", "agent_sessions", "missed_calls"] {
            let mut found = self.rows(&format!("SELECT * FROM {{db}}.{view}")).await;
            let mut wanted = expected.remove(view).unwrap_or_default();
            found.sort_by_key(Value::to_string);
            wanted.sort_by_key(Value::to_string);
            for (found, wanted) in found.iter().zip(&wanted) {
                assert_eq!(found, wanted, "{view}: ClickHouse left, fold right");
            }
            assert_eq!(found.len(), wanted.len(), "rows of {view}");
        }
    }
}

fn take<R: Row>(into: &mut BTreeMap<&str, Vec<Value>>, rows: &[R]) {
    let objects = rows.iter().map(|row| {
        let columns = row.columns().into_iter().map(|(name, cell)| (name.to_owned(), cell.to_json()));
        Value::Object(columns.collect())
    });
    into.entry(R::TABLE).or_default().extend(objects);
}

/// The sessions in the intervals of one workspace, which are sorted by agent.
fn session_rows(rows: &[IntervalRow]) -> Vec<Value> {
    let of_agents = rows.chunk_by(|one, other| one.agent == other.agent);
    let of_agent = |rows: &[IntervalRow]| {
        let intervals: Vec<Interval> = rows.iter().map(|row| row.interval.clone()).collect();
        let (workspace, agent) = (rows[0].workspace.to_string(), rows[0].agent.to_string());
        let object = |session: helix_fold::session::Session| {
            json!({
                "workspace_id": workspace, "agent_id": agent,
                "started_at": session.started_at.to_rfc3339(),
                "ended_at": session.ended_at.map(OccurredAt::to_rfc3339),
                "ended_by": session.ended_by.map(EndedBy::as_str),
                "signed_in_seconds": session.signed_in_seconds,
                "ready_seconds": session.ready_seconds,
                "ringing_seconds": session.ringing_seconds,
                "on_call_seconds": session.on_call_seconds,
                "wrap_up_seconds": session.wrap_up_seconds,
                "paused_seconds": session.paused_seconds,
                "unknown_seconds": session.unknown_seconds,
            })
        };
        sessions(&intervals).into_iter().map(object).collect::<Vec<Value>>()
    };
    of_agents.flat_map(of_agent).collect()
}

async fn open(
    options: &Options,
    codec: &Arc<Codec<Fact>>,
    settings: &BTreeMap<WorkspaceId, Settings>,
) -> ClickHouseStore {
    // The codec knows every schema of these tests: the registry is never asked.
    let registry = Registry::new("http://127.0.0.1:9");
    ClickHouseStore::open(options, registry, Arc::clone(codec), settings).await.unwrap()
}
