//! Telling a story in facts, a log in memory, and what Postgres makes of it.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use helix_fold::{
    row::{Cell, Row},
    workspace::{Rows, WorkspaceFold},
};
use helix_postgres::{AllSettings, Generations, LogSource, PostgresStore, Snapshot};
use helix_runtime::{Batch, NextOffset, Offset, Parked, Position, Record, Slice, Store as _, StoreError};
use helix_schemas::{
    codec::Codec,
    decision::{Deciding, Decision, attribute},
    fact::{
        AgentState, AgentStateChanged, AgentStateWord, Body, CallAnswered, CallEnded, CallParty, CallRang,
        CallSummarised, ChainedAgent, Direction, Fact, OccurredAtFrom, Source,
    },
    id::FactId,
    names::{AgentId, CallId, WorkspaceId},
    registry::Registry,
    schema,
    time::{OccurredAt, ReceivedAt},
    topics,
};
use sqlx::PgPool;
use uuid::Uuid;

use crate::server::Database;

/// Second 0 of every story: 2025-10-09T08:53:20Z.
pub const EPOCH_MILLIS: i64 = 1_760_000_000_000;
pub const TOPIC: &str = topics::FACTS;
pub const PARTITIONS: i32 = 3;

/// A moment of the story, in seconds from its beginning.
pub fn at(seconds: i64) -> OccurredAt {
    OccurredAt::from_millis(EPOCH_MILLIS + seconds * 1000)
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

pub fn of(name: &str, mut fact: Fact) -> Fact {
    fact.workspace = workspace(name);
    fact
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

/// A decision, resting on a fact or made by a person.
pub fn decided(
    seconds: i64,
    decision: Decision,
    agent: Option<&str>,
    call: Option<&str>,
    rests_on: Option<FactId>,
) -> Fact {
    let person = rests_on.is_none();
    let deciding = Deciding {
        workspace: workspace("ramaiah"),
        decision,
        agent: agent.map(|agent| AgentId::new(agent).unwrap()),
        call: call.map(|call| CallId::new(call).unwrap()),
        effective_at: at(seconds),
        received_at: ReceivedAt::from_micros(at(seconds).millis() * 1000),
        evidence: rests_on.into_iter().collect(),
        attributes: [(attribute::BY.to_owned(), "supervisor".to_owned())].into(),
        request: person.then(|| Uuid::new_v4().to_string()),
        source: Source::default(),
    };
    deciding.into_fact()
}

/// A missed call of a caller, at a second.
pub fn missed_call(seconds: i64, call: &str, caller: &str) -> Vec<Fact> {
    let party = || CallParty { caller: Some(caller.to_owned()), skill: Some("front desk".to_owned()), ..inbound() };
    vec![rang(seconds, call, None, party()), ended(seconds + 30, call, None, party())]
}

/// Records by partition, as a broker keeps them.
#[derive(Clone)]
pub struct Log {
    codec: Arc<Codec<Fact>>,
    partitions: Vec<Vec<Record>>,
}

impl Log {
    pub fn new(codec: Arc<Codec<Fact>>) -> Self {
        Self { codec, partitions: vec![Vec::new(); usize::try_from(PARTITIONS).unwrap()] }
    }

    /// A key's partition.
    pub fn partition_of(key: &[u8]) -> i32 {
        i32::try_from(key.iter().copied().map(u32::from).sum::<u32>() % PARTITIONS.unsigned_abs()).unwrap()
    }

    pub fn append(&mut self, fact: &Fact) -> (i32, Offset) {
        let value = self.codec.encode(fact).unwrap();
        self.append_raw(fact.key().as_bytes(), &value)
    }

    pub fn append_raw(&mut self, key: &[u8], value: &[u8]) -> (i32, Offset) {
        let partition = Self::partition_of(key);
        let records = &mut self.partitions[usize::try_from(partition).unwrap()];
        let offset = Offset(i64::try_from(records.len()).unwrap());
        records.push(Record { offset, key: Bytes::copy_from_slice(key), value: Bytes::copy_from_slice(value) });
        (partition, offset)
    }

    pub fn end(&self, partition: i32) -> NextOffset {
        NextOffset(i64::try_from(self.partitions[usize::try_from(partition).unwrap()].len()).unwrap())
    }

    pub fn between(&self, partition: i32, from: NextOffset, to: NextOffset) -> Vec<Record> {
        let (from, to) = (usize::try_from(from.0).unwrap(), usize::try_from(to.0).unwrap());
        self.partitions[usize::try_from(partition).unwrap()][from..to].to_vec()
    }

    /// Without one workspace's records; what lies behind moves up.
    pub fn without(&self, workspace: &str) -> Self {
        let prefix = format!("{workspace}/");
        let mut log = Self::new(Arc::clone(&self.codec));
        for (kept, records) in log.partitions.iter_mut().zip(&self.partitions) {
            let others = records.iter().filter(|record| !record.key.starts_with(prefix.as_bytes()));
            kept.extend(others.zip(0..).map(|(record, at)| Record { offset: Offset(at), ..record.clone() }));
        }
        log
    }

    /// What each workspace's facts mean up to these offsets.
    pub fn folded(&self, settings: &AllSettings, progress: &BTreeMap<i32, i64>) -> BTreeMap<WorkspaceId, Rows> {
        let mut folds: BTreeMap<WorkspaceId, WorkspaceFold> = BTreeMap::new();
        for (partition, records) in (0..).zip(&self.partitions) {
            let until = progress.get(&partition).copied().unwrap_or(0);
            for record in records.iter().filter(|record| record.offset.0 < until) {
                let Ok(fact) = self.codec.decode(&record.value) else { continue };
                let fold = folds.entry(fact.workspace.clone());
                fold.or_insert_with(|| WorkspaceFold::new(fact.workspace.clone(), settings.of(&fact.workspace)))
                    .apply(&fact, record.offset.0);
            }
        }
        folds.into_iter().map(|(workspace, fold)| (workspace, fold.rows())).collect()
    }
}

#[async_trait]
impl LogSource for Log {
    async fn records(
        &mut self,
        _: &str,
        partition: i32,
        from: NextOffset,
        to: NextOffset,
    ) -> Result<Vec<Record>, StoreError> {
        Ok(self.between(partition, from, to))
    }
}

/// The codec knows every schema of these tests: the registry is never asked.
pub fn registry() -> Registry {
    Registry::new("http://127.0.0.1:9")
}

/// A database, a store that holds every partition, and a log.
pub struct World {
    pub database: Database,
    pub pool: PgPool,
    pub codec: Arc<Codec<Fact>>,
    pub settings: AllSettings,
    pub store: PostgresStore,
    pub held: BTreeMap<i32, Position>,
    pub log: Log,
}

impl World {
    pub async fn new() -> Self {
        let database = Database::empty().await;
        let pool = database.pool().await;
        helix_postgres::migrate(&pool).await.unwrap();
        let codec = Arc::new(Codec::new(1, &schema::FACT).unwrap());
        let settings = AllSettings::default();
        let store = PostgresStore::new(pool.clone(), registry(), Arc::clone(&codec), settings.clone());
        let log = Log::new(Arc::clone(&codec));
        let mut world = Self { database, pool, codec, settings, store, held: BTreeMap::new(), log };
        world.acquire().await;
        world
    }

    pub fn another_store(&self) -> PostgresStore {
        PostgresStore::new(self.pool.clone(), registry(), Arc::clone(&self.codec), self.settings.clone())
    }

    pub fn generations(&self) -> Generations {
        Generations::new(self.pool.clone(), registry(), Arc::clone(&self.codec), self.settings.clone())
    }

    pub async fn acquire(&mut self) {
        let all: Vec<i32> = (0..PARTITIONS).collect();
        let positions = self.store.acquire(TOPIC, &all).await.unwrap();
        self.held = positions.into_iter().map(|position| (position.partition, position)).collect();
    }

    pub fn append(&mut self, facts: impl IntoIterator<Item = Fact>) {
        for fact in facts {
            self.log.append(&fact);
        }
    }

    /// What lies in a partition from where it is held up to `to`.
    pub fn slice(&self, partition: i32, to: NextOffset) -> Slice {
        let held = &self.held[&partition];
        let records = self.log.between(partition, held.next_offset, to);
        Slice { partition, epoch: held.epoch, from: held.next_offset, to, records, parked: Vec::new() }
    }

    /// Everything that is not applied yet, as one batch.
    pub fn rest(&self) -> Batch {
        let slices = self.held.keys().map(|partition| self.slice(*partition, self.log.end(*partition)));
        let slices = slices.filter(|slice| slice.from != slice.to).collect();
        Batch { topic: TOPIC.to_owned(), slices }
    }

    pub async fn apply(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.store.apply(batch).await?;
        for slice in &batch.slices {
            self.held.get_mut(&slice.partition).unwrap().next_offset = slice.to;
        }
        Ok(())
    }

    /// Applies all that is in the log.
    pub async fn drain(&mut self) {
        let batch = self.rest();
        self.apply(&batch).await.unwrap();
    }

    /// Appends and applies.
    pub async fn tell(&mut self, facts: impl IntoIterator<Item = Fact>) {
        self.append(facts);
        self.drain().await;
    }

    /// The rest of the log in which this record, and what follows of its key, is parked.
    pub fn rest_with_parked(&self, at: (i32, Offset), cause: &str) -> Batch {
        let mut batch = self.rest();
        for slice in batch.slices.iter_mut().filter(|slice| slice.partition == at.0) {
            let key = slice.records.iter().find(|record| record.offset == at.1).unwrap().key.clone();
            let is_parked = |record: &Record| record.key == key && record.offset >= at.1;
            let parked: Vec<Record> = slice.records.iter().filter(|record| is_parked(record)).cloned().collect();
            slice.records.retain(|record| !is_parked(record));
            slice.parked = parked.into_iter().map(|record| parked_as(&record, at.1, cause)).collect();
        }
        batch
    }

    pub async fn snapshot(&self) -> Snapshot {
        Snapshot::take(&self.pool, TOPIC, None).await.unwrap()
    }

    /// Compares rows and roots with the fold of the log up to the progress.
    pub async fn agrees_with_the_fold(&self) {
        let stored = self.snapshot().await;
        let folded = self.log.folded(&self.settings, &stored.progress);
        for (workspace, rows) in &folded {
            same_rows(&stored.rows.get(workspace).cloned().unwrap_or_default(), rows);
            let root = stored.roots.get(workspace.as_str()).copied().unwrap_or_default();
            assert_eq!(root.root, rows.root(), "root of {workspace}");
            assert_eq!(root.rows, i64::try_from(rows.len()).unwrap(), "row count of {workspace}");
        }
        for workspace in stored.rows.keys() {
            let nothing = stored.rows[workspace].is_empty();
            assert!(nothing || folded.contains_key(workspace), "{workspace} has rows without facts");
        }
    }
}

fn parked_as(record: &Record, first: Offset, cause: &str) -> Parked {
    use helix_runtime::Cause;
    let cause = if record.offset == first { Cause::Poison(cause.to_owned()) } else { Cause::Behind(first) };
    Parked { offset: record.offset, key: record.key.clone(), cause }
}

/// Fails at the first row that is not the same.
pub fn same_rows(stored: &Rows, folded: &Rows) {
    same(&stored.agents, &folded.agents);
    same(&stored.intervals, &folded.intervals);
    same(&stored.calls, &folded.calls);
    same(&stored.legs, &folded.legs);
    same(&stored.missed_calls, &folded.missed_calls);
    same(&stored.queue_days, &folded.queue_days);
}

fn same<R: Row>(stored: &[R], folded: &[R]) {
    let cells = |rows: &[R]| -> BTreeMap<String, Vec<(&'static str, Cell)>> {
        rows.iter().map(|row| (row.key(), row.columns())).collect()
    };
    let (stored, folded) = (cells(stored), cells(folded));
    for (key, row) in &folded {
        assert_eq!(stored.get(key), Some(row), "{} {key}: stored left, fold right", R::TABLE);
    }
    assert_eq!(stored.len(), folded.len(), "rows of {}", R::TABLE);
}
