//! A generation's life beside the live one: filled, compared, exchanged, brought back, discarded; and who dies meanwhile.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use helix_clickhouse::{
    ClickHouseStore, GenerationError, Generations, Options, RowDiff, audit::Audit, parked, parked_standby,
};
use helix_runtime::{
    Batch, Cause, NextOffset, Offset, Parked, Position, Record, Slice, Store as _, StoreError,
    fault::{self, Point},
    fill::{LogSource, StandbyState},
};
use helix_schemas::{
    codec::Codec,
    fact::{AgentState, Body, Fact},
    registry::Registry,
    schema,
    scope::Scope,
    topics,
};
use rand::RngExt as _;
use serde_json::json;

use crate::story::{World, answered, ended, inbound, numbered, partition_of, rang, state, summary, workspace};

pub const TOPIC: &str = topics::FACTS;

/// A log that others may append to.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<(i32, Record)>>>);

impl Log {
    pub fn of(world: &World) -> Self {
        let records = world.log.iter().map(|(partition, offset, fact)| (*partition, world.record(*offset, fact)));
        Self(Arc::new(Mutex::new(records.collect())))
    }

    fn end(&self, partition: i32) -> i64 {
        let records = self.0.lock().unwrap();
        records
            .iter()
            .filter(|(other, _)| *other == partition)
            .map(|(_, record)| record.offset.0 + 1)
            .max()
            .unwrap_or(0)
    }

    fn append(&self, key: &str, value: Vec<u8>, partition: i32) -> Offset {
        let offset = Offset(self.end(partition));
        let record = Record { offset, key: Bytes::copy_from_slice(key.as_bytes()), value: value.into() };
        self.0.lock().unwrap().push((partition, record));
        offset
    }

    fn tell(&self, codec: &Codec<Fact>, fact: &Fact) {
        self.append(&fact.key(), codec.encode(fact).unwrap(), partition_of(fact));
    }

    fn between(&self, partition: i32, from: NextOffset, to: NextOffset) -> Vec<Record> {
        let records = self.0.lock().unwrap();
        let of = records
            .iter()
            .filter(|(other, record)| *other == partition && record.offset.0 >= from.0 && record.offset.0 < to.0);
        of.map(|(_, record)| record.clone()).collect()
    }
}

#[async_trait::async_trait]
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

pub fn quiet(_: u64, _: u64) {}

fn registry() -> Registry {
    Registry::new("http://127.0.0.1:1")
}

pub fn generations(world: &World) -> Generations {
    Generations::new(&world.options, registry(), world.codec.clone()).unwrap()
}

/// Two hospitals with a call and an agent each, a fact that came twice and one that came in two versions. The same in every
/// process.
pub fn story() -> Vec<Fact> {
    let mut facts = Vec::new();
    for (number, name) in ["ramaiah", "global"].into_iter().enumerate() {
        let first = summary(66, "c", |said| said.disposition = Some("Booked".into()));
        let mut other = first.clone();
        if let Body::CallSummarised(said) = &mut other.body {
            said.disposition = Some("Cancelled".into());
        }
        let ids = [1, 2, 3, 4, 5, 6, 7, 7, 8, 9, 4];
        let told = [
            rang(0, "c", Some("agent.one"), inbound()),
            state(0, "agent.one", AgentState::Ringing, None),
            answered(4, "c", Some("agent.one"), inbound()),
            state(4, "agent.one", AgentState::OnCall, None),
            ended(64, "c", Some("agent.one"), inbound()),
            state(64, "agent.one", AgentState::WrapUp, None),
            first,
            other,
            rang(90, "d", None, inbound()),
            ended(120, "d", None, inbound()),
            state(4, "agent.one", AgentState::OnCall, None),
        ];
        for (fact, id) in told.into_iter().zip(ids) {
            let mut fact = numbered(fact, 1000 * (number as u128 + 1) + id);
            fact.workspace = workspace(name);
            facts.push(fact);
        }
    }
    facts
}

async fn told() -> World {
    let mut world = World::new().await;
    world.tell(story()).await;
    world
}

async fn filled(world: &World, scope: &Scope) -> Generations {
    let generations = generations(world);
    generations.begin(TOPIC, scope).await.unwrap();
    generations.fill(TOPIC, &mut Log::of(world), &mut quiet, &|| false).await.unwrap();
    generations
}

pub fn both_scopes() -> [Scope; 2] {
    [Scope::All, Scope::Workspace(workspace("ramaiah"))]
}

/// By partition, how far the live generation came.
pub async fn reached(world: &World) -> BTreeMap<i32, i64> {
    let standings = Audit::new(&world.options).unwrap().standings(TOPIC).await.unwrap();
    standings.positions.into_iter().map(|(partition, at)| (partition, at.next_offset.0)).collect()
}

pub async fn has_all(world: &World, log: &Log) {
    for (partition, next) in reached(world).await {
        assert_eq!(next, log.end(partition), "progress of partition {partition}");
    }
    world.agrees_with_the_fold().await;
    let once = format!("SELECT uniqExact(fact_id) FROM {{db}}.facts WHERE log_topic = '{TOPIC}'");
    let mut ids: Vec<_> = world.log.iter().map(|(_, _, fact)| fact.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(usize::try_from(world.number(&once).await).unwrap(), ids.len());
}

#[tokio::test]
async fn a_rebuilt_generation_is_the_live_one_row_by_row_and_root_by_root() {
    for scope in both_scopes() {
        let world = told().await;
        // What a merge leaves and what it has not come to yet are the same facts.
        world.merge().await;
        let generations = filled(&world, &scope).await;
        let diff = generations.diff(TOPIC, &mut Log::of(&world), 10).await.unwrap();
        assert!(diff.is_empty(), "{diff:?}");
        let rows: Vec<(&str, u64, u64)> =
            diff.roots.iter().map(|root| (root.workspace.as_str(), root.live_rows, root.standby_rows)).collect();
        // Eleven arrivals: one fact came twice, one in two versions.
        assert_eq!(rows, [("global", 10, 10), ("ramaiah", 10, 10)]);
        assert_ne!(diff.roots[0].live, diff.roots[1].live);
        assert_eq!(diff.progress, reached(&world).await);
        assert_eq!(diff.standby.scope, scope);
    }
}

#[tokio::test]
async fn a_flipped_value_is_found_with_its_fact_and_both_values_and_a_cut_over_mends_it() {
    for scope in both_scopes() {
        let mut world = told().await;
        let generations = filled(&world, &scope).await;
        let flip = "ALTER TABLE {db}.facts UPDATE disposition = 'tampered'
                    WHERE workspace_id = 'ramaiah' AND disposition = 'Booked' SETTINGS mutations_sync = 2";
        world.run(flip).await;
        world
            .run("DELETE FROM {db}.facts WHERE workspace_id = 'ramaiah' AND call_id = 'd' AND kind = 'CallEnded'")
            .await;
        let diff = generations.diff(TOPIC, &mut Log::of(&world), 10).await.unwrap();
        let unequal: Vec<&str> =
            diff.roots.iter().filter(|root| !root.equal).map(|root| root.workspace.as_str()).collect();
        assert_eq!((unequal, diff.differing, diff.rows.len()), (vec!["ramaiah"], 2, 2));
        let (flipped, missing): (Vec<&RowDiff>, Vec<&RowDiff>) = diff.rows.iter().partition(|row| row.live.is_some());
        assert_eq!(flipped[0].columns, ["disposition"]);
        assert_eq!(flipped[0].live.as_ref().unwrap()["disposition"], "tampered");
        assert_eq!(flipped[0].standby.as_ref().unwrap()["disposition"], "Booked");
        for row in [flipped[0], missing[0]] {
            let of_log =
                |(partition, offset, _): &&(i32, i64, Fact)| (*partition, *offset) == (row.partition, row.offset);
            let (_, _, fact) = world.log.iter().find(of_log).unwrap();
            assert_eq!(row.standby.as_ref().unwrap()["fact_id"], json!(fact.id));
        }
        assert_eq!(generations.diff(TOPIC, &mut Log::of(&world), 1).await.unwrap().rows.len(), 1);

        let standby = generations.cut_over(TOPIC, &mut Log::of(&world)).await.unwrap();
        assert_eq!((standby.scope.clone(), standby.state), (Scope::All, StandbyState::Previous));
        has_all(&world, &Log::of(&world)).await;

        // Whoever projected finds that it stands elsewhere, idle or not, comes back, and goes on with the new table.
        let idle = world.store.standing(TOPIC, &[0, 1, 2]).await.unwrap().unwrap();
        assert!(idle.positions.iter().all(|at| at.epoch != world.held[&at.partition].epoch), "{idle:?}");
        assert_eq!(idle.positions.len(), 3);
        world.append(&state(500, "agent.one", AgentState::Ready, None));
        let fenced = world.store.apply(&world.rest()).await;
        assert!(matches!(fenced, Err(StoreError::Fenced { .. })), "{fenced:?}");
        world.acquire().await;
        let rest = world.rest();
        world.apply(&rest).await;
        has_all(&world, &Log::of(&world)).await;

        // And back: what was live before is brought up to date, with its flaw.
        generations.cut_over(TOPIC, &mut Log::of(&world)).await.unwrap();
        let flawed = "SELECT countIf(disposition = 'tampered') FROM {db}.facts FINAL";
        assert_eq!(world.number(flawed).await, 1);
        assert_eq!(reached(&world).await, world.held.iter().map(|(id, at)| (*id, at.next_offset.0)).collect());
        let diff = generations.diff(TOPIC, &mut Log::of(&world), 9).await.unwrap();
        assert_eq!((diff.differing, diff.standby.state), (2, StandbyState::Previous));
        generations.discard().await.unwrap();
        assert_eq!(generations.standby().await.unwrap(), None);
        let tables = "SELECT count() FROM system.tables WHERE database = '{db}' AND startsWith(name, 'facts_standby')";
        let names = "SELECT uniqExact(projection) FROM {db}.projection_progress";
        assert_eq!((world.number(tables).await, world.number(names).await), (0, 1));
        assert!(matches!(generations.discard().await, Err(GenerationError::NoStandby)));
        // Nothing of the next one is of this one.
        filled(&world, &Scope::All).await.cut_over(TOPIC, &mut Log::of(&world)).await.unwrap();
        has_all(&world, &Log::of(&world)).await;
    }
}

/// Projects the log as it grows, as an engine does: fenced, it comes back.
async fn project(mut store: ClickHouseStore, log: &Log, finished: &AtomicBool) -> u32 {
    let all = [0, 1, 2];
    let mut held = store.acquire(TOPIC, &all).await.unwrap();
    let mut fences = 0;
    loop {
        let last_round = finished.load(Ordering::SeqCst);
        let slice = |held: &Position| {
            let to = NextOffset(log.end(held.partition).min(held.next_offset.0 + 40));
            let records = log.between(held.partition, held.next_offset, to);
            let (partition, epoch, from) = (held.partition, held.epoch, held.next_offset);
            Slice { partition, epoch, from, to, records, parked: Vec::new() }
        };
        let slices: Vec<Slice> = held.iter().map(slice).filter(|slice| slice.from != slice.to).collect();
        if slices.is_empty() {
            let standing = store.standing(TOPIC, &all).await.unwrap().unwrap();
            let elsewhere = standing.positions.iter().any(|at| held.iter().all(|held| held.epoch != at.epoch));
            match (elsewhere, last_round) {
                (true, _) => held = store.acquire(TOPIC, &all).await.unwrap(),
                (false, true) => return fences,
                (false, false) => {}
            }
            continue;
        }
        match store.apply(&Batch { topic: TOPIC.to_owned(), slices: slices.clone() }).await {
            Ok(()) => {
                for slice in slices {
                    held.iter_mut().find(|held| held.partition == slice.partition).unwrap().next_offset = slice.to;
                }
            }
            Err(StoreError::Fenced { .. }) => {
                fences += 1;
                held = store.acquire(TOPIC, &all).await.unwrap();
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cutting_over_and_back_under_traffic_loses_and_doubles_nothing() {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    for scope in both_scopes() {
        let mut world = World::new().await;
        let log = Log::default();
        let [exchanged, finished] = [AtomicBool::new(false), AtomicBool::new(false)];
        let fact = |nth: i64| {
            let agent = format!("agent.{}", nth.unsigned_abs().wrapping_mul(seed | 1) % 17);
            let word = AgentState::ALL[usize::try_from(nth).unwrap() % AgentState::ALL.len()];
            let mut fact = state(nth, &agent, word, None);
            fact.workspace = workspace(if nth % 3 == 0 { "global" } else { "ramaiah" });
            fact
        };
        // Facts come until all is exchanged.
        let traffic = async {
            let mut facts = Vec::new();
            while !exchanged.load(Ordering::SeqCst) {
                let next = i64::try_from(facts.len()).unwrap();
                facts.extend((next..next + 5).map(fact));
                facts.iter().rev().take(5).rev().for_each(|fact| log.tell(&world.codec, fact));
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            facts
        };
        let operator = async {
            let generations = generations(&world);
            generations.begin(TOPIC, &scope).await.unwrap();
            generations.fill(TOPIC, &mut log.clone(), &mut quiet, &|| false).await.unwrap();
            for _ in 0..4 {
                let diff = generations.diff(TOPIC, &mut log.clone(), 3).await.unwrap();
                assert!(diff.is_empty(), "{diff:?}");
                generations.cut_over(TOPIC, &mut log.clone()).await.unwrap();
            }
            exchanged.store(true, Ordering::SeqCst);
        };
        let projecting = project(world.another_store().await, &log, &finished);
        let working = async {
            let (facts, ()) = tokio::join!(traffic, operator);
            finished.store(true, Ordering::SeqCst);
            facts
        };
        let (fences, facts) = tokio::join!(projecting, working);
        assert!(fences > 0, "the projector was fenced");
        for fact in &facts {
            world.append(fact);
        }
        has_all(&world, &log).await;
    }
}

#[tokio::test]
async fn a_fill_that_is_stopped_goes_on_where_it_was() {
    for scope in both_scopes() {
        let world = told().await;
        let generations = generations(&world);
        let begun = generations.begin(TOPIC, &scope).await.unwrap();
        assert_eq!(begun.state, StandbyState::Filling);
        let stopped = generations.fill(TOPIC, &mut Log::of(&world), &mut quiet, &|| true).await;
        assert!(matches!(stopped, Err(GenerationError::Interrupted)), "{stopped:?}");
        assert_eq!(generations.begin(TOPIC, &scope).await.unwrap(), begun, "the same again goes on");
        let other = generations.begin(TOPIC, &Scope::Workspace(workspace("global"))).await;
        assert!(matches!(other, Err(GenerationError::AnotherStandby { .. })), "{other:?}");
        let mut last = (0, 0);
        let mut report = |done, total| last = (done, total);
        generations.fill(TOPIC, &mut Log::of(&world), &mut report, &|| false).await.unwrap();
        assert_eq!(last, (22, 22));
        assert!(generations.diff(TOPIC, &mut Log::of(&world), 1).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_standby_that_nobody_finished_counts_for_nothing() {
    let world = told().await;
    world.run("CREATE TABLE {db}.facts_standby AS {db}.facts").await;
    let generations = generations(&world);
    assert_eq!(generations.standby().await.unwrap(), None);
    assert!(matches!(generations.cut_over(TOPIC, &mut Log::of(&world)).await, Err(GenerationError::NoStandby)));
    // Likewise beside a generation that has a label, which the unfinished one takes over.
    filled(&world, &Scope::All).await.cut_over(TOPIC, &mut Log::of(&world)).await.unwrap();
    generations.discard().await.unwrap();
    world.run("CREATE TABLE {db}.facts_standby AS {db}.facts").await;
    assert_eq!(generations.standby().await.unwrap(), None);
    let generations = filled(&world, &Scope::All).await;
    assert!(generations.diff(TOPIC, &mut Log::of(&world), 1).await.unwrap().is_empty());
}

/// Everything that is not applied yet, with an agent's key parked from its first fact on.
fn parking(world: &World, key: &str) -> Batch {
    let mut batch = world.rest();
    for slice in &mut batch.slices {
        let mut first = None;
        for record in slice.records.extract_if(.., |record| record.key == key) {
            let cause = first.map_or_else(|| Cause::Poison("injected".to_owned()), Cause::Behind);
            first = first.or(Some(record.offset));
            slice.parked.push(Parked { offset: record.offset, key: record.key, cause });
        }
    }
    assert!(batch.parked() > 0);
    batch
}

#[tokio::test]
async fn a_key_is_parked_in_the_generation_that_could_not_apply_it_and_in_no_other() {
    let mut world = World::new().await;
    for fact in story() {
        world.append(&fact);
    }
    let batch = parking(&world, "ramaiah/agent.one");
    world.apply(&batch).await;
    let live = parked(&world.options).await.unwrap();
    assert_eq!(live.len(), batch.parked());
    // The build that fills the standby can apply it.
    let generations = filled(&world, &Scope::All).await;
    assert_eq!(parked_standby(&world.options).await.unwrap(), []);
    let diff = generations.diff(TOPIC, &mut Log::of(&world), 99).await.unwrap();
    assert!(diff.differing > 0 && diff.rows.iter().all(|row| row.live.is_none()), "{diff:?}");
    generations.cut_over(TOPIC, &mut Log::of(&world)).await.unwrap();
    assert_eq!(parked(&world.options).await.unwrap(), []);
    let told_as: Vec<String> =
        parked_standby(&world.options).await.unwrap().into_iter().map(|entry| entry.projection).collect();
    assert_eq!(told_as, vec!["clickhouse.standby"; live.len()]);
    world.acquire().await;
    assert!(world.held.values().all(|at| at.parked.is_empty()));
    has_all(&world, &Log::of(&world)).await;
    // What lies behind a parked key is parked there too while the standby follows.
    world.tell([state(600, "agent.one", AgentState::Ready, None)]).await;
    generations.cut_over(TOPIC, &mut Log::of(&world)).await.unwrap();
    assert_eq!(parked(&world.options).await.unwrap().len(), live.len() + 1);
    assert_eq!(parked_standby(&world.options).await.unwrap(), []);
}

#[tokio::test]
async fn a_rebuild_of_one_workspace_parks_its_own_and_keeps_what_is_parked_of_others() {
    let mut world = World::new().await;
    for fact in story() {
        world.append(&fact);
    }
    let batch = parking(&world, "global/agent.one");
    let of_other = batch.parked();
    world.apply(&batch).await;
    // The log has a record that nobody can read, which the live projector passed: it is not in the world's story.
    let log = Log::of(&world);
    let key = "ramaiah/agent.broken";
    let broken = log.append(key, b"no fact".to_vec(), 0);
    let held = world.held[&0].clone();
    let cause = Cause::Poison("cannot be read".to_owned());
    let entry = Parked { offset: broken, key: Bytes::from_static(key.as_bytes()), cause };
    let (from, to) = (held.next_offset, broken.next());
    let slice = Slice { partition: 0, epoch: held.epoch, from, to, records: Vec::new(), parked: vec![entry] };
    world.apply(&Batch { topic: TOPIC.to_owned(), slices: vec![slice] }).await;

    let generations = generations(&world);
    generations.begin(TOPIC, &Scope::Workspace(workspace("ramaiah"))).await.unwrap();
    let filled = generations.fill(TOPIC, &mut log.clone(), &mut quiet, &|| false).await.unwrap();
    assert_eq!(filled.parked, 1);
    let places = |entries: Vec<helix_runtime::ParkedEntry>| -> Vec<(i32, i64, Bytes)> {
        entries.into_iter().map(|one| (one.partition, one.parked.offset.0, one.parked.key)).collect()
    };
    let live = places(parked(&world.options).await.unwrap());
    assert_eq!(live.len(), of_other + 1);
    assert_eq!(places(parked_standby(&world.options).await.unwrap()), live);
    assert!(generations.diff(TOPIC, &mut log.clone(), 9).await.unwrap().is_empty());
    generations.cut_over(TOPIC, &mut log.clone()).await.unwrap();
    assert_eq!(places(parked(&world.options).await.unwrap()), live);
    world.acquire().await;
    let keys: usize = world.held.values().map(|at| at.parked.len()).sum();
    assert_eq!(keys, 2);
}

#[tokio::test]
async fn an_operators_pause_is_heard_and_taken_back() {
    let mut world = told().await;
    for paused in [false, true, true, false] {
        if paused || helix_clickhouse::paused(&world.options).await.unwrap() {
            helix_clickhouse::pause(&world.options, paused).await.unwrap();
        }
        assert_eq!(helix_clickhouse::paused(&world.options).await.unwrap(), paused);
        let standing = world.store.standing(TOPIC, &[0, 1, 2]).await.unwrap().unwrap();
        assert_eq!(standing.paused, paused);
        assert!(standing.positions.iter().all(|at| at.epoch == world.held[&at.partition].epoch));
    }
}

/// What a child process is to do: `<verb> <url> <database>`.
const CHILD: &str = "HELIX_CLICKHOUSE_TEST_GENERATIONS";
/// How a child says that it died where it was told to.
const DIED: i32 = 86;

/// Does something in a process of its own, for what is armed there is armed once; gives its exit code.
fn child(verb: &str, world: &World) -> i32 {
    let told = format!("{verb} {} {}", world.options.url, world.options.database);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["generations::does_what_another_test_tells", "--exact", "--ignored", "--nocapture"]);
    let output = command.env(CHILD, told).output().unwrap();
    print!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    output.status.code().unwrap()
}

/// Not a test: a child's work. Run by hand it does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a process of its own, started by the tests that need it"]
async fn does_what_another_test_tells() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let [verb, url, database] = told.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let options =
        Options { url: url.to_owned(), database: database.to_owned(), user: String::new(), password: String::new() };
    let codec = Arc::new(Codec::new(1, &schema::FACT).unwrap());
    let log = Log::default();
    story().iter().for_each(|fact| log.tell(&codec, fact));
    match verb {
        "die-before" | "die-after" => {
            let point = if verb == "die-before" { Point::AfterWrite } else { Point::AfterCommit };
            let generations = Generations::new(&options, registry(), codec).unwrap();
            fault::arm(point, 1, || std::process::exit(DIED));
            let done = generations.cut_over(TOPIC, &mut log.clone()).await;
            panic!("it lives: {done:?}");
        }
        "exchange-in-a-batch" => {
            let mut store = ClickHouseStore::open(&options, registry(), codec, &BTreeMap::new()).await.unwrap();
            let held = store.acquire(TOPIC, &[0, 1, 2]).await.unwrap();
            let slice = |held: &Position| {
                let to = NextOffset(log.end(held.partition));
                let records = log.between(held.partition, held.next_offset, to);
                let (partition, epoch, from) = (held.partition, held.epoch, held.next_offset);
                Slice { partition, epoch, from, to, records, parked: Vec::new() }
            };
            let slices = held.iter().map(slice).filter(|slice| slice.from != slice.to).collect();
            // After the look at the generation, before the block is on its way.
            fault::arm(Point::MidBatch, 1, exchange);
            let outcome = store.apply(&Batch { topic: TOPIC.to_owned(), slices }).await;
            assert!(matches!(outcome, Err(StoreError::Fenced { .. })), "{outcome:?}");
            std::process::exit(DIED);
        }
        other => panic!("no verb {other}"),
    }
}

/// As somebody else's cut-over at the worst moment.
fn exchange() {
    let told = std::env::var(CHILD).unwrap();
    let [_, url, database] = told.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let statement = format!("EXCHANGE TABLES {database}.facts AND {database}.facts_standby");
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    let length = statement.len();
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: engine\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{statement}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_cut_over_that_dies_has_exchanged_rows_progress_and_parked_keys_or_none_of_them() {
    for verb in ["die-before", "die-after"] {
        let mut world = World::new().await;
        for fact in story() {
            world.append(&fact);
        }
        let batch = parking(&world, "ramaiah/agent.one");
        world.apply(&batch).await;
        let parked_live = parked(&world.options).await.unwrap().len();
        let generations = filled(&world, &Scope::All).await;
        assert_eq!(child(verb, &world), DIED, "{verb}");
        let state = generations.standby().await.unwrap().unwrap().state;
        let parked_now = parked(&world.options).await.unwrap().len();
        match verb {
            "die-before" => assert_eq!((state, parked_now), (StandbyState::Filling, parked_live)),
            _ => assert_eq!((state, parked_now), (StandbyState::Previous, 0)),
        }
        // The projector, whichever it finds, loses nothing and doubles nothing, and the operator can go on.
        world.acquire().await;
        assert_eq!(world.held.values().map(|at| at.parked.len()).sum::<usize>(), usize::from(parked_now > 0));
        world.tell([state_of_two(700)]).await;
        if state == StandbyState::Filling {
            generations.cut_over(TOPIC, &mut Log::of(&world)).await.unwrap();
        }
        has_all(&world, &Log::of(&world)).await;
    }
}

fn state_of_two(seconds: i64) -> Fact {
    state(seconds, "agent.two", AgentState::Ready, None)
}

#[tokio::test]
async fn a_block_that_meets_an_exchange_moves_no_progress() {
    let mut world = World::new().await;
    for fact in story() {
        world.append(&fact);
    }
    filled(&world, &Scope::All).await;
    // It was filled before anything was projected: both generations stand at the beginning.
    assert_eq!(child("exchange-in-a-batch", &world), DIED);
    assert!(reached(&world).await.values().all(|next| *next == 0));
    let block = "SELECT count() FROM {db}.facts";
    // Each fact once, as ClickHouse leaves a block.
    assert_eq!(world.number(block).await, 20, "the block went into the table that is live by now");
    assert_eq!(world.number("SELECT count() FROM {db}.facts_standby").await, 0);
    // The generation that it was meant for never says that it has these facts.
    let first = "SELECT max(next_offset) FROM {db}.projection_progress WHERE projection = 'clickhouse'";
    assert_eq!(world.number(first).await, 0);
    world.acquire().await;
    let rest = world.rest();
    world.apply(&rest).await;
    has_all(&world, &Log::of(&world)).await;
}
