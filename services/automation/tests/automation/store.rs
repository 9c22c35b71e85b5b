//! The store on a real Postgres; the tests play the engine and the log.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use helix_automation::{AllBounds, Append, AppendError, AutomationStore, Bounds, forget_everything};
use helix_runtime::{Batch, Cause, Lag, NextOffset, Offset, Parked, Position, Record, Slice, Store, StoreError};
use helix_schemas::{
    decision::Decision,
    fact::{AgentState, Fact},
    id::FactId,
    names::WorkspaceId,
    topics,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use rdkafka::error::KafkaError;
use sqlx::Row as _;

use crate::{
    machine::{PARTITIONS, partition_of},
    postgres::Database,
    story::{Story, bounds, codec, ours, record},
};

pub const HOUR: i64 = 3600;
pub const ALL: [i32; PARTITIONS as usize] = [0, 1, 2];

/// Our clock, and by how many seconds each append moves it on.
pub type Slow = (Arc<AtomicI64>, i64);

/// A log in memory that takes what is appended, unless it is told not to.
#[derive(Clone, Default)]
pub struct Log {
    partitions: Arc<Mutex<BTreeMap<i32, Vec<Record>>>>,
    appended: Arc<Mutex<Vec<Fact>>>,
    is_down: Arc<AtomicBool>,
    pub slow: Arc<Mutex<Option<Slow>>>,
}

impl Log {
    pub fn put(&self, fact: &Fact) {
        let mut partitions = self.partitions.lock().unwrap();
        let records = partitions.entry(partition_of(fact)).or_default();
        let offset = i64::try_from(records.len()).unwrap();
        records.push(record(fact, offset));
    }

    /// All there is, a partition after the other.
    pub fn facts(&self) -> Vec<Fact> {
        let partitions = self.partitions.lock().unwrap();
        let records = partitions.values().flatten();
        records.map(|record| codec().decode(&record.value).unwrap()).collect()
    }

    pub fn appended(&self) -> Vec<Fact> {
        self.appended.lock().unwrap().clone()
    }

    /// Decisions that were appended, by word and second.
    pub fn told(&self) -> Vec<(String, i64)> {
        let second = |fact: &Fact| (fact.occurred_at.millis() - crate::story::START) / 1000;
        let mut told: Vec<(String, i64)> = self
            .appended()
            .iter()
            .map(|fact| (Decision::of(fact).unwrap().0.as_str().to_owned(), second(fact)))
            .collect();
        told.sort();
        told
    }
}

#[async_trait]
impl Append for Log {
    async fn append(&self, fact: &Fact) -> Result<(), AppendError> {
        if self.is_down.load(Ordering::Relaxed) {
            return Err(AppendError::Log(KafkaError::Canceled));
        }
        if let Some((second, by)) = &*self.slow.lock().unwrap() {
            second.fetch_add(*by, Ordering::Relaxed);
        }
        self.put(fact);
        self.appended.lock().unwrap().push(fact.clone());
        Ok(())
    }
}

/// An instance, with the part of the engine that its store sees.
pub struct Instance {
    pub store: AutomationStore,
    pub positions: Vec<Position>,
    log: Log,
    pub second: Arc<AtomicI64>,
}

impl Instance {
    pub async fn start(database: &Database, log: &Log, partitions: &[i32]) -> Self {
        Self::with(database, log, partitions, bounds()).await
    }

    pub async fn with(database: &Database, log: &Log, partitions: &[i32], bounds: Bounds) -> Self {
        let workspaces = ["w", "x"].map(|slug| (WorkspaceId::new(slug).unwrap(), bounds));
        let bounds = AllBounds(BTreeMap::from(workspaces));
        let second = Arc::new(AtomicI64::new(0));
        let clock = second.clone();
        let mut store = AutomationStore::new(database.pool.clone(), (None, codec()), bounds, Arc::new(log.clone()))
            .with_clock(move || ours(clock.load(Ordering::Relaxed)));
        let positions = store.acquire(topics::FACTS, partitions).await.unwrap();
        Self { store, positions, log: log.clone(), second }
    }

    /// What lies ahead, at most `most` records of each partition.
    pub fn batch(&self, most: usize) -> Batch {
        let log = self.log.partitions.lock().unwrap();
        let mut slices = Vec::new();
        for position in &self.positions {
            let records = log.get(&position.partition).map(Vec::as_slice).unwrap_or_default();
            let from = usize::try_from(position.next_offset.0).unwrap();
            let to = records.len().min(from + most);
            if from < to {
                slices.push(Slice {
                    partition: position.partition,
                    epoch: position.epoch,
                    from: position.next_offset,
                    to: NextOffset(i64::try_from(to).unwrap()),
                    records: records[from..to].to_vec(),
                    parked: Vec::new(),
                });
            }
        }
        Batch { topic: topics::FACTS.to_owned(), slices }
    }

    pub async fn apply(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.store.apply(batch).await?;
        for slice in &batch.slices {
            let position = self.positions.iter_mut().find(|at| at.partition == slice.partition).unwrap();
            position.next_offset = slice.to;
        }
        Ok(())
    }

    /// Applies all there is, at most `most` records of a partition at once.
    pub async fn catch_up(&mut self, most: usize) {
        loop {
            let batch = self.batch(most);
            if batch.is_empty() {
                return;
            }
            self.apply(&batch).await.unwrap();
        }
    }

    /// The beat, when it is that second here.
    pub async fn look(&mut self, second: i64) {
        self.second.store(second, Ordering::Relaxed);
        self.store.beat(Some(Lag::default())).await.unwrap();
    }
}

pub async fn count(database: &Database, table: &str) -> i64 {
    let query = format!("select count(*) from automation.{table}");
    sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_one(&database.pool).await.unwrap()
}

/// Everything that is remembered, but for when it was written.
async fn remembered(database: &Database) -> Vec<String> {
    let mut rows = Vec::new();
    for table in ["agents", "calls", "timers", "clocks"] {
        let query = format!("select to_jsonb(held) - 'set_at' as held from automation.{table} as held");
        let found = sqlx::query(sqlx::AssertSqlSafe(query)).fetch_all(&database.pool).await.unwrap();
        rows.extend(found.iter().map(|row| format!("{table} {}", row.get::<serde_json::Value, _>("held"))));
    }
    rows.sort();
    rows
}

pub fn wrap_up(log: &Log) {
    let story = Story::of("w");
    log.put(&story.state("a", 0, AgentState::OnCall));
    log.put(&story.state("a", 60, AgentState::WrapUp));
}

#[tokio::test]
async fn a_decision_is_made_once_when_it_is_due() {
    let (database, log) = (Database::new().await, Log::default());
    wrap_up(&log);
    let mut instance = Instance::start(&database, &log, &ALL).await;
    instance.catch_up(10).await;
    instance.look(89).await;
    assert_eq!(log.told(), []);
    let next: String = sqlx::query_scalar("select decision from automation.pending order by due_in limit 1")
        .fetch_one(&database.pool)
        .await
        .unwrap();
    assert_eq!(next, "WrapUpExpired");
    instance.look(90).await;
    // Not read back yet: nothing says so but this process's memory.
    instance.look(91).await;
    instance.catch_up(10).await;
    instance.look(3 * HOUR).await;
    assert_eq!(log.told(), [("WrapUpExpired".to_owned(), 90)]);
    let fact = &log.appended()[0];
    assert_eq!((fact.key().as_str(), fact.provider.as_str()), ("w/a", "helix"));
    assert_eq!(fact.received_at, ours(90));
}

#[tokio::test]
async fn whoever_is_behind_decides_nothing() {
    let (database, log) = (Database::new().await, Log::default());
    wrap_up(&log);
    let mut instance = Instance::start(&database, &log, &ALL).await;
    instance.catch_up(10).await;
    instance.second.store(1000, Ordering::Relaxed);
    instance.store.beat(None).await.unwrap();
    instance.store.beat(Some(Lag { facts: 1, ..Lag::default() })).await.unwrap();
    assert_eq!(log.told(), []);
    instance.look(1000).await;
    assert_eq!(log.told().len(), 1);
}

#[tokio::test]
async fn a_decision_that_was_not_read_back_is_the_same_fact_after_a_restart() {
    let (database, log) = (Database::new().await, Log::default());
    wrap_up(&log);
    let mut first = Instance::start(&database, &log, &ALL).await;
    first.catch_up(10).await;
    first.look(90).await;
    drop(first);
    let mut second = Instance::start(&database, &log, &ALL).await;
    second.look(400).await;
    let ids: BTreeSet<FactId> = log.appended().iter().map(|fact| fact.id).collect();
    assert_eq!((log.appended().len(), ids.len()), (2, 1), "the same decision twice");
    // The engine does not let it act before it has read all there is, so that in truth not even that happens.
    let mut third = Instance::start(&database, &log, &ALL).await;
    third.catch_up(10).await;
    third.look(400).await;
    assert_eq!(log.appended().len(), 2);
}

#[tokio::test]
async fn an_instance_that_lost_its_partitions_writes_and_decides_nothing() {
    let (database, log) = (Database::new().await, Log::default());
    let mut first = Instance::start(&database, &log, &ALL).await;
    wrap_up(&log);
    first.catch_up(10).await;
    log.put(&Story::of("w").state("b", 70, AgentState::WrapUp));
    let mut second = Instance::start(&database, &log, &ALL).await;
    let before = remembered(&database).await;
    // A zombie: it does not know yet.
    let refused = first.apply(&first.batch(10)).await;
    assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{refused:?}");
    first.look(1000).await;
    assert_eq!(log.told(), []);
    assert_eq!(remembered(&database).await, before);
    let standing = first.store.standing(topics::FACTS, &ALL).await.unwrap().unwrap();
    assert_ne!(standing.positions, first.positions, "the engine sees that it is fenced");
    second.catch_up(10).await;
    second.look(1000).await;
    assert_eq!(log.told().len(), 2);
}

#[tokio::test]
async fn a_call_over_several_partitions_is_decided_by_one_instance() {
    let (database, log) = (Database::new().await, Log::default());
    let story = Story::of("w");
    // Agents whose keys lie in different partitions.
    let names: Vec<String> = (0..20).map(|number| format!("a{number}")).collect();
    let partition = |name: &String| partition_of(&story.state(name, 0, AgentState::Ready));
    let (one, other) = (&names[0], names.iter().find(|name| partition(name) != partition(&names[0])).unwrap());
    log.put(&story.rang("c", Some(one), 0));
    log.put(&story.answered("c", one, 5));
    log.put(&story.answered("c", other, 60));
    log.put(&story.state(one, 100, AgentState::Ready));
    log.put(&story.state(other, 200, AgentState::Offline));
    let mine = [partition(one)];
    let theirs: Vec<i32> = ALL.into_iter().filter(|partition| !mine.contains(partition)).collect();
    let mut first = Instance::start(&database, &log, &mine).await;
    let mut second = Instance::start(&database, &log, &theirs).await;
    first.catch_up(1).await;
    second.catch_up(1).await;
    // Each says that it has read its part before either decides.
    first.look(200).await;
    second.look(300).await;
    first.look(300).await;
    assert_eq!(log.told(), [("CallPresumedEnded".to_owned(), 200)]);
    // Whoever reads it back, it is made.
    first.catch_up(1).await;
    second.catch_up(1).await;
    drop((first, second));
    let mut all = Instance::start(&database, &log, &ALL).await;
    all.look(400).await;
    assert_eq!(log.told().len(), 1);
}

#[tokio::test]
async fn a_log_that_does_not_answer_delays_a_decision_and_changes_nothing_of_it() {
    let (database, log) = (Database::new().await, Log::default());
    wrap_up(&log);
    let mut instance = Instance::start(&database, &log, &ALL).await;
    instance.catch_up(10).await;
    log.is_down.store(true, Ordering::Relaxed);
    instance.look(90).await;
    instance.look(120).await;
    assert_eq!(log.told(), []);
    log.is_down.store(false, Ordering::Relaxed);
    instance.look(500).await;
    assert_eq!(log.told(), [("WrapUpExpired".to_owned(), 90)]);
}

#[tokio::test]
async fn what_is_remembered_does_not_depend_on_how_batches_were_cut() {
    for seed in [1_u64, 2, 3] {
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let (story, log) = (Story::of("w"), Log::default());
        let states =
            [AgentState::Ready, AgentState::WrapUp, AgentState::Paused, AgentState::OnCall, AgentState::Offline];
        let mut second = 0;
        for number in 0..120 {
            let agent = format!("a{}", random.random_range(0..4));
            let call = format!("c{}", random.random_range(0..30));
            second += random.random_range(0..400);
            log.put(&match number % 6 {
                0 | 1 => story.state(&agent, second, states[random.random_range(0..states.len())]),
                2 => story.rang(&call, Some(&agent), second),
                3 => story.answered(&call, &agent, second),
                4 => story.ended(&call, None, second),
                _ => story.summarised(&call, second),
            });
        }
        let mut rows = Vec::new();
        for most in [1, 7, 1000] {
            let database = Database::new().await;
            let mut instance = Instance::start(&database, &log, &ALL).await;
            instance.catch_up(most).await;
            rows.push(remembered(&database).await);
        }
        assert!(rows[0].len() > 20);
        assert_eq!(rows[0], rows[1]);
        assert_eq!(rows[0], rows[2]);
    }
}

#[tokio::test]
async fn nothing_is_decided_of_a_key_of_which_a_fact_is_parked() {
    let (database, log) = (Database::new().await, Log::default());
    wrap_up(&log);
    log.put(&Story::of("w").state("b", 60, AgentState::WrapUp));
    let mut instance = Instance::start(&database, &log, &ALL).await;
    instance.catch_up(10).await;
    // What follows of agent a cannot be read.
    let position = instance
        .positions
        .iter()
        .find(|at| at.partition == partition_of(&Story::of("w").state("a", 0, AgentState::Ready)));
    let position = position.unwrap().clone();
    let key = Bytes::from_static(b"w/a");
    let slice = Slice {
        partition: position.partition,
        epoch: position.epoch,
        from: position.next_offset,
        to: NextOffset(position.next_offset.0 + 1),
        records: Vec::new(),
        parked: vec![Parked {
            offset: Offset(position.next_offset.0),
            key: key.clone(),
            cause: Cause::Poison("the value is not Confluent framed".to_owned()),
        }],
    };
    log.partitions.lock().unwrap().get_mut(&position.partition).unwrap().push(Record {
        offset: Offset(position.next_offset.0),
        key: key.clone(),
        value: Bytes::from_static(b"?"),
    });
    let unreadable = instance.apply(&instance.batch(10)).await;
    assert!(matches!(unreadable, Err(StoreError::Poison { .. })), "{unreadable:?}");
    instance.apply(&Batch { topic: topics::FACTS.to_owned(), slices: vec![slice] }).await.unwrap();
    instance.look(100).await;
    drop(instance);
    let mut again = Instance::start(&database, &log, &ALL).await;
    let parked: Vec<_> = again.positions.iter().flat_map(|at| at.parked.clone()).collect();
    assert_eq!(parked, [(key, Offset(position.next_offset.0))]);
    again.look(100).await;
    let agents: BTreeSet<String> = log.appended().iter().map(|fact| fact.agent.clone().unwrap().to_string()).collect();
    assert_eq!(agents, BTreeSet::from(["b".to_owned()]));
}

/// Parks what follows of a key, as the engine does.
pub async fn park(instance: &mut Instance, key: &'static [u8], partition: i32) {
    let position = instance.positions.iter().find(|at| at.partition == partition).unwrap().clone();
    let (from, offset) = (position.next_offset, Offset(position.next_offset.0));
    let cause = Cause::Poison("the value is not Confluent framed".to_owned());
    let parked = vec![Parked { offset, key: Bytes::from_static(key), cause }];
    let slice = Slice { partition, epoch: position.epoch, from, to: offset.next(), records: Vec::new(), parked };
    instance.apply(&Batch { topic: topics::FACTS.to_owned(), slices: vec![slice] }).await.unwrap();
}

#[tokio::test]
async fn however_much_is_due_of_a_parked_key_the_others_are_decided() {
    let (database, log) = (Database::new().await, Log::default());
    let story = Story::of("w");
    for number in 0..1100 {
        log.put(&story.dialled(&format!("c{number}"), Some("a"), 0));
    }
    log.put(&story.state("b", 60, AgentState::WrapUp));
    let mut instance = Instance::start(&database, &log, &ALL).await;
    instance.catch_up(2000).await;
    park(&mut instance, b"w/a", partition_of(&story.state("a", 0, AgentState::Ready))).await;
    instance.look(2 * HOUR).await;
    assert_eq!(log.told(), [("WrapUpExpired".to_owned(), 90)]);
}

#[tokio::test]
async fn a_decision_whose_key_another_instance_has_parked_is_not_made() {
    let (database, log) = (Database::new().await, Log::default());
    let story = Story::of("w");
    let partition = |agent: &str| partition_of(&story.state(agent, 0, AgentState::Ready));
    let names: Vec<String> = (0..20).map(|number| format!("b{number}")).collect();
    let other = names.iter().find(|name| partition(name) != partition("a")).unwrap();
    // Agent a had it, so that the decision is a's; its last sign of life lies with another, who decides.
    log.put(&story.answered("c", "a", 0));
    log.put(&story.rang("c", Some(other), 60));
    let mine = [partition("a")];
    let theirs: Vec<i32> = ALL.into_iter().filter(|partition| !mine.contains(partition)).collect();
    let mut first = Instance::start(&database, &log, &mine).await;
    let mut second = Instance::start(&database, &log, &theirs).await;
    first.catch_up(10).await;
    second.catch_up(10).await;
    let bound: i32 = sqlx::query_scalar("select partition from automation.timers where subject = 'call'")
        .fetch_one(&database.pool)
        .await
        .unwrap();
    assert_eq!(bound, partition(other), "the other decides");
    park(&mut first, b"w/a", mine[0]).await;
    first.look(9 * HOUR).await;
    second.look(9 * HOUR).await;
    assert!(!log.told().iter().any(|(word, _)| word == "CallPresumedEnded"), "{:?}", log.told());
}

#[tokio::test]
async fn a_key_of_any_bytes_can_be_parked() {
    let (database, log) = (Database::new().await, Log::default());
    let mut instance = Instance::start(&database, &log, &ALL).await;
    park(&mut instance, b"w\0w/a\xff", 0).await;
    let again = Instance::start(&database, &log, &ALL).await;
    let parked: Vec<Bytes> = again.positions.iter().flat_map(|at| at.parked.keys().cloned()).collect();
    assert_eq!(parked, [Bytes::from_static(b"w\0w/a\xff")]);
}

#[tokio::test]
async fn what_was_given_back_is_not_decided_even_before_another_has_it() {
    let (database, log) = (Database::new().await, Log::default());
    wrap_up(&log);
    let mut instance = Instance::start(&database, &log, &ALL).await;
    instance.catch_up(10).await;
    let left: Vec<i32> =
        ALL.into_iter().filter(|at| *at != partition_of(&Story::of("w").state("a", 0, AgentState::Ready))).collect();
    instance.store.standing(topics::FACTS, &left).await.unwrap();
    instance.look(1000).await;
    assert_eq!(log.told(), []);
}

#[tokio::test]
async fn a_call_that_no_rule_ends_is_forgotten_after_a_year() {
    let (database, log) = (Database::new().await, Log::default());
    let (nobody, year) = (Story::of("nobody"), 365 * 24 * HOUR);
    log.put(&nobody.rang("ghost", None, 0));
    let mut instance = Instance::start(&database, &log, &ALL).await;
    instance.catch_up(10).await;
    instance.look(year - HOUR).await;
    assert_eq!(count(&database, "calls").await, 1);
    drop(instance);
    Instance::start(&database, &log, &ALL).await.look(year + 2 * 24 * HOUR).await;
    assert_eq!(count(&database, "calls").await, 0);
}

#[tokio::test]
async fn what_was_decided_stays_decided_when_everything_is_read_anew() {
    let (database, log) = (Database::new().await, Log::default());
    let story = Story::of("w");
    wrap_up(&log);
    log.put(&story.rang("c", None, 60));
    let mut instance = Instance::start(&database, &log, &ALL).await;
    instance.catch_up(10).await;
    instance.look(2 * HOUR).await;
    instance.catch_up(10).await;
    let before = remembered(&database).await;
    assert_eq!(log.told().len(), 2);
    forget_everything(&database.pool).await.unwrap();
    let standing = instance.store.standing(topics::FACTS, &ALL).await.unwrap().unwrap();
    assert!(standing.positions.iter().all(|at| at.next_offset == NextOffset(0)), "a running instance sees it");
    // Also with another bound: what is decided is not decided again.
    let bounds = Bounds { wrap_up_seconds: 45, ..bounds() };
    let mut anew = Instance::with(&database, &log, &ALL, bounds).await;
    anew.catch_up(2).await;
    anew.look(2 * HOUR).await;
    assert_eq!(log.told().len(), 2);
    assert_eq!(remembered(&database).await, before);
}

#[tokio::test]
async fn what_no_later_fact_changes_is_decided_once_too() {
    let (database, log) = (Database::new().await, Log::default());
    let story = Story::of("w");
    wrap_up(&log);
    log.put(&story.state("a", 200, AgentState::Paused));
    log.put(&story.state("a", 300, AgentState::Offline));
    log.put(&story.state("a", 2 * HOUR, AgentState::Offline));
    let mut instance = Instance::start(&database, &log, &ALL).await;
    instance.catch_up(1).await;
    let stands: Vec<String> = sqlx::query_scalar("select decision from automation.timers where stands")
        .fetch_all(&database.pool)
        .await
        .unwrap();
    assert_eq!(stands, ["WrapUpExpired"]);
    instance.look(2 * HOUR).await;
    instance.catch_up(1).await;
    assert_eq!(count(&database, "timers").await, 0);
    drop(instance);
    Instance::start(&database, &log, &ALL).await.look(3 * HOUR).await;
    assert_eq!(log.told(), [("WrapUpExpired".to_owned(), 90)]);
}

#[tokio::test]
async fn a_rule_that_was_turned_off_decides_no_more() {
    let (database, log) = (Database::new().await, Log::default());
    wrap_up(&log);
    Instance::start(&database, &log, &ALL).await.catch_up(10).await;
    assert_eq!(count(&database, "timers").await, 2);
    let off = Bounds { wrap_up_seconds: 0, ..bounds() };
    let mut instance = Instance::with(&database, &log, &ALL, off).await;
    instance.look(5 * HOUR).await;
    assert_eq!(log.told(), [("AgentPresumedOffline".to_owned(), 4 * HOUR + 60)]);
}

#[tokio::test]
async fn what_is_over_for_long_is_forgotten_and_what_is_open_is_not() {
    let (database, log) = (Database::new().await, Log::default());
    let (story, week) = (Story::of("w"), 7 * 24 * HOUR);
    log.put(&story.rang("over", None, 0));
    log.put(&story.ended("over", None, 10));
    log.put(&story.rang("open", None, 20));
    // A wrap-up that expired so long ago that nobody corrects it any more: it stands, another state followed.
    log.put(&story.state("a", 0, AgentState::WrapUp));
    log.put(&story.state("a", 100, AgentState::Offline));
    log.put(&story.state("a", HOUR, AgentState::Offline));
    let mut instance = Instance::start(&database, &log, &ALL).await;
    instance.catch_up(10).await;
    assert_eq!((count(&database, "calls").await, count(&database, "timers").await), (2, 2));
    instance.look(week + 2 * HOUR).await;
    assert_eq!(log.told(), [("CallPresumedEnded".to_owned(), HOUR + 20)]);
    assert_eq!((count(&database, "calls").await, count(&database, "timers").await), (1, 1));
}

#[tokio::test]
async fn the_list_of_migrations_is_automations_own() {
    let database = Database::new().await;
    helix_automation::migrate(&database.pool).await.unwrap();
    let lists: Vec<String> = sqlx::query_scalar(
        "select table_schema || '.' || table_name from information_schema.tables
         where table_schema in ('public', 'automation') and table_name like '%migrations'",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    assert_eq!(lists, ["automation.migrations"]);
}

#[tokio::test]
async fn a_role_sees_its_workspace_and_nothing_without_one() {
    let (database, log) = (Database::new().await, Log::default());
    for workspace in ["w", "x"] {
        let story = Story::of(workspace);
        log.put(&story.state("a", 0, AgentState::WrapUp));
        log.put(&story.rang("c", None, 0));
    }
    Instance::start(&database, &log, &ALL).await.catch_up(10).await;
    let mut reader = database.reader().await;
    for table in ["agents", "calls", "timers", "clocks", "pending"] {
        let query = format!("select distinct workspace_id from automation.{table}");
        let seen: Vec<String> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(query.clone())).fetch_all(&mut reader).await.unwrap();
        assert!(seen.is_empty(), "{table}: {seen:?}");
        sqlx::query("select set_config('helix.workspace', 'x', false)").execute(&mut reader).await.unwrap();
        let seen: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_all(&mut reader).await.unwrap();
        assert_eq!(seen, ["x"], "{table}");
        sqlx::query("select set_config('helix.workspace', '', false)").execute(&mut reader).await.unwrap();
    }
}

/// How many timers have been as they are for an hour and more.
async fn settled(database: &Database) -> i64 {
    let query = "select count(*) from automation.timers where set_at <= now() - interval '1 hour'";
    sqlx::query_scalar(query).fetch_one(&database.pool).await.unwrap()
}

#[tokio::test]
async fn reading_back_its_own_decision_lets_nobody_wait_anew() {
    let (database, log) = (Database::new().await, Log::default());
    wrap_up(&log);
    let mut instance = Instance::start(&database, &log, &ALL).await;
    instance.catch_up(10).await;
    sqlx::query("update automation.timers set set_at = now() - interval '2 hours'")
        .execute(&database.pool)
        .await
        .unwrap();
    instance.look(90).await;
    instance.catch_up(10).await;
    let timers = count(&database, "timers").await;
    assert!(timers > 0, "the agent's own timers outlive the wrap-up's");
    assert_eq!(settled(&database).await, timers);
    log.put(&Story::of("w").state("a", 200, AgentState::Ready));
    instance.catch_up(10).await;
    assert_eq!(settled(&database).await, 0, "the provider's word starts the wait anew");
}

#[tokio::test]
async fn one_event_of_tomorrow_presumes_and_forgets_nothing_today() {
    let (database, log) = (Database::new().await, Log::default());
    let story = Story::of("w");
    log.put(&story.state("a", 0, AgentState::OnCall));
    log.put(&story.answered("c", "a", 0));
    let mut tomorrow = story.state("b", 20 * HOUR, AgentState::Ready);
    tomorrow.received_at = ours(60);
    log.put(&tomorrow);
    let mut instance = Instance::start(&database, &log, &ALL).await;
    instance.catch_up(10).await;
    instance.look(60).await;
    assert_eq!(log.told(), []);
    instance.look(4 * HOUR).await;
    let both = [("AgentPresumedOffline".to_owned(), 4 * HOUR), ("CallPresumedEnded".to_owned(), 4 * HOUR)];
    assert_eq!(log.told(), both);
}
