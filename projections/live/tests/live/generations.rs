//! A board folded afresh beside the live one: equal to it, compared with it, exchanged under whoever writes and follows it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use helix_fold::{board::Board, settings::Settings};
use helix_live::{BoardReader, Decoder, Followed, GenerationError, Generations, LiveStore, parked, parked_standby};
use helix_runtime::{
    Cause, Lag, NextOffset, Parked, Record, Store, StoreError,
    fill::{LogSource, StandbyState},
};
use helix_schemas::{
    fact::{AgentState, Fact},
    topics,
};
use serde_json::Value;
use tokio::sync::watch;

use crate::{
    standing_by::World,
    support::{Facts, Feeder, Log, PARTITIONS, TestRedis, codec, store},
};

/// A log in memory, as whoever rebuilds reads it.
struct Source(Log);

#[async_trait]
impl LogSource for Source {
    async fn records(
        &mut self,
        _topic: &str,
        partition: i32,
        from: NextOffset,
        to: NextOffset,
    ) -> Result<Vec<Record>, StoreError> {
        let all = self.0.partitions.get(&partition).map(Vec::as_slice).unwrap_or_default();
        Ok(all[from.0 as usize..to.0 as usize].to_vec())
    }
}

fn generations_under(redis: &TestRedis, settings: Settings) -> Generations {
    Generations::new(&redis.url(), Facts::of("ramaiah").workspace, settings, Decoder::new(codec(), None)).unwrap()
}

fn generations(redis: &TestRedis) -> Generations {
    generations_under(redis, Settings::default())
}

async fn fill(generations: &Generations, log: &Log) {
    generations.fill(topics::FACTS, &mut Source(log.clone()), &mut |_, _| (), &|| false).await.unwrap();
}

/// The same draws for a seed, anywhere.
struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as i64 % bound
    }
}

/// Some days of two hospitals, with facts that come late.
fn history(seed: u64, facts: usize) -> Vec<Fact> {
    let mut draws = Draws(seed);
    let hospitals = [Facts::of("ramaiah"), Facts::of("ramaiah"), Facts::of("global")];
    let states = [AgentState::Ready, AgentState::Paused, AgentState::OnCall, AgentState::WrapUp, AgentState::Offline];
    let mut at = 0;
    let mut next = |_| {
        at += draws.below(1200);
        let second = (at - draws.below(900)).max(0);
        let hospital = &hospitals[draws.below(3) as usize];
        let (agent, call) = (format!("agent.{}", draws.below(6)), format!("c{}", at / 1500 - draws.below(3)));
        let caller = format!("91984500000{}", draws.below(4));
        match draws.below(6) {
            0 | 1 => hospital.state(&agent, second, states[draws.below(5) as usize], None),
            2 => hospital.rang(&call, Some(&agent), second, &caller),
            3 => hospital.dialled(&call, Some(&agent), second, &caller),
            4 => hospital.answered(&call, &agent, second, &caller),
            _ => hospital.ended(&call, None, second, &caller),
        }
    };
    (0..facts).map(&mut next).collect()
}

fn expected<'a>(facts: impl IntoIterator<Item = &'a Fact>) -> Board {
    let mut board = Board::new(Facts::of("ramaiah").workspace, Settings::default());
    facts.into_iter().for_each(|fact| drop(board.apply(fact)));
    board
}

async fn shown(redis: &TestRedis) -> (String, u64, String) {
    let reader = BoardReader::new(&redis.url(), &Facts::of("ramaiah").workspace).unwrap();
    let (snapshot, _) = reader.snapshot().await.unwrap();
    (snapshot.generation, snapshot.version, snapshot.visible.root().to_string())
}

async fn fed(redis: &TestRedis, facts: &[Fact]) -> Feeder {
    let mut feeder = Feeder::acquire(store(&redis.url(), "ramaiah"), Log::default()).await;
    facts.iter().for_each(|fact| feeder.log.append(fact));
    feeder.drain(7).await.unwrap();
    feeder
}

/// Changes a value of the live board behind everybody's back.
async fn tamper(redis: &TestRedis, path: &str, value: &str) {
    redis.command(&["HSET", "helix:ramaiah:live:board", path, value]).await;
}

#[tokio::test]
async fn a_standby_of_any_history_is_the_live_board_however_often_it_was_left() {
    for seed in 1..=12 {
        println!("seed {seed}");
        let redis = TestRedis::start();
        let facts = history(seed, 400);
        let mut feeder = fed(&redis, &facts[..250]).await;
        let before = shown(&redis).await;
        let generations = generations(&redis);
        let asked = AtomicUsize::new(0);
        let enough = || asked.fetch_add(1, Ordering::Relaxed) == 1;
        let left = generations.fill(topics::FACTS, &mut Source(feeder.log.clone()), &mut |_, _| (), &enough).await;
        assert!(matches!(left, Err(GenerationError::Interrupted)), "{left:?}");
        assert_eq!(shown(&redis).await, before, "the live board is as it was");
        // The live board moves on in between.
        feeder.feed(&facts[250..]).await.unwrap();
        let mut told = (0, 0);
        let mut report = |done, total| told = (done, total);
        let filled = generations.fill(topics::FACTS, &mut Source(feeder.log.clone()), &mut report, &|| false).await;
        let rest = filled.unwrap().records;
        assert!(rest > 150 && rest < 400 && told == (rest, rest), "it went on where it was left: {rest}, {told:?}");
        let diff = generations.diff(topics::FACTS, &mut Source(feeder.log.clone()), 10).await.unwrap();
        assert!(diff.is_empty() && diff.rows.is_empty(), "{diff:?}");
        assert_eq!(diff.root.standby, expected(&facts).root().to_string());
        assert_eq!(diff.progress.values().sum::<i64>(), 400);
    }
}

#[tokio::test]
async fn a_value_that_was_changed_is_found_with_what_it_should_be_and_mended_by_the_exchange() {
    let redis = TestRedis::start();
    let facts = history(21, 300);
    let mut feeder = fed(&redis, &facts).await;
    let generations = generations(&redis);
    fill(&generations, &feeder.log).await;
    let (generation, version, root) = shown(&redis).await;
    let reader = BoardReader::new(&redis.url(), &Facts::of("ramaiah").workspace).unwrap();
    let (_, mut follower) = reader.snapshot().await.unwrap();
    let mut today: Value = serde_json::from_str(feeder.store.board().unwrap().visible().get("today").unwrap()).unwrap();
    let offered = today["offered"].as_i64().unwrap();
    today["offered"] = (offered + 1).into();
    tamper(&redis, "today", &today.to_string()).await;

    // Another hospital's fact, so that the standby has to be brought up first.
    feeder.feed(&[Facts::of("global").state("agent.1", 1, AgentState::Ready, None)]).await.unwrap();
    let diff = generations.diff(topics::FACTS, &mut Source(feeder.log.clone()), 10).await.unwrap();
    assert!(!diff.is_empty() && !diff.root.equal);
    assert_eq!(diff.rows.len(), 1);
    let row = &diff.rows[0];
    assert_eq!(
        (row.table.as_str(), row.key.as_str(), row.columns.as_slice()),
        ("today", "", &["offered".to_owned()][..])
    );
    assert_eq!(row.live.as_ref().unwrap()["offered"], offered + 1);
    assert_eq!(row.standby.as_ref().unwrap()["offered"], offered);
    assert_eq!(diff.tables.iter().map(|table| table.differing).sum::<usize>(), 1);

    let was = generations.cut_over(topics::FACTS, &mut Source(feeder.log.clone())).await.unwrap();
    assert_eq!(was.state, StandbyState::Previous);
    assert!(was.cut_over_at.is_some() && was.made_at.is_some());
    assert_eq!(shown(&redis).await, (generation, version + 1, root), "one version more of the same life");
    let Followed::Deltas(deltas) = follower.next().await.unwrap() else { panic!("followers are told a delta") };
    let [delta] = deltas.as_slice() else { panic!("one delta") };
    assert_eq!((delta.version, delta.changes.len(), delta.changes[0].path.as_str()), (version + 1, 1, "today"));
}

#[tokio::test]
async fn who_held_the_old_board_writes_nothing_more_and_its_successor_goes_on_from_the_new_one() {
    let redis = TestRedis::start();
    let facts = history(22, 300);
    let mut old = fed(&redis, &facts[..200]).await;
    let generations = generations(&redis);
    fill(&generations, &old.log).await;
    let before = shown(&redis).await;
    let log = old.log.clone();
    generations.cut_over(topics::FACTS, &mut Source(log.clone())).await.unwrap();
    assert_eq!(shown(&redis).await, before, "nothing differs, so nobody is told anything");
    let loss = old.store.loss();
    let refused = old.feed(&facts[200..]).await;
    assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{refused:?}");
    assert!(loss.happened());
    assert_eq!(shown(&redis).await, before);
    // Also where it does not know what became of its last write, and where it has nothing to write.
    let mut idle = Feeder::acquire(store(&redis.url(), "ramaiah"), old.log.clone()).await;
    let epochs = |feeder: &Feeder| feeder.positions.iter().map(|at| at.epoch).collect::<Vec<_>>();
    assert!(epochs(&idle) > epochs(&old), "epochs outlive the exchange");
    idle.drain(11).await.unwrap();
    let back = generations.cut_over(topics::FACTS, &mut Source(idle.log.clone())).await.unwrap();
    assert_eq!(back.state, StandbyState::Previous);
    let loss = idle.store.loss();
    idle.store.beat(Some(Lag::default())).await.unwrap();
    assert!(loss.happened());
    idle.store.forget_outcome();
    let refused = idle.feed(&facts[..1]).await;
    assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{refused:?}");
    let mut now = Feeder::acquire(store(&redis.url(), "ramaiah"), idle.log.clone()).await;
    now.drain(11).await.unwrap();
    assert_eq!(now.root(), expected(facts.iter().chain(&facts[..1])).root().to_string());
    assert_eq!(shown(&redis).await.2, now.root());
}

#[tokio::test]
async fn what_was_parked_is_applied_by_a_rebuild_and_the_exchange_frees_its_key() {
    let redis = TestRedis::start();
    let facts = history(23, 120);
    let mut feeder = Feeder::acquire(store(&redis.url(), "ramaiah"), Log::default()).await;
    facts.iter().for_each(|fact| feeder.log.append(fact));
    let mut batch = feeder.log.batch(&feeder.positions, 1000);
    for slice in &mut batch.slices {
        let aside = slice.records.extract_if(.., |record| record.key.as_ref() == b"ramaiah/agent.1");
        let park = |record: Record| Parked {
            offset: record.offset,
            key: record.key,
            cause: Cause::Poison("injected".to_owned()),
        };
        slice.parked = aside.map(park).collect();
    }
    assert!(batch.parked() > 0);
    feeder.apply(&batch).await.unwrap();
    let (url, workspace) = (redis.url(), Facts::of("ramaiah").workspace);
    let generations = generations(&redis);
    fill(&generations, &feeder.log).await;
    assert_eq!(parked_standby(&url, &workspace).await.unwrap(), []);
    generations.cut_over(topics::FACTS, &mut Source(feeder.log.clone())).await.unwrap();
    assert_eq!(parked(&url, &workspace).await.unwrap(), []);
    let beside = parked_standby(&url, &workspace).await.unwrap();
    assert!(beside.len() == batch.parked() && beside.iter().all(|entry| entry.projection == "live.standby"));
    let now = Feeder::acquire(store(&url, "ramaiah"), feeder.log.clone()).await;
    assert!(now.positions.iter().all(|at| at.parked.is_empty()));
    assert_eq!(now.root(), expected(&facts).root().to_string());
}

#[tokio::test]
async fn a_standby_is_asked_for_and_refused_for_what_it_is() {
    let redis = TestRedis::start();
    let generations = generations(&redis);
    let empty = &mut Source(Log::default());
    assert!(matches!(generations.diff(topics::FACTS, empty, 1).await, Err(GenerationError::Read(_))), "no board yet");
    let feeder = fed(&redis, &history(24, 60)).await;
    let source = &mut Source(feeder.log.clone());
    assert!(matches!(generations.diff(topics::FACTS, source, 1).await, Err(GenerationError::NoStandby)));
    assert!(matches!(generations.cut_over(topics::FACTS, source).await, Err(GenerationError::NoStandby)));
    assert!(matches!(generations.discard(topics::FACTS).await, Err(GenerationError::NoStandby)));
    assert!(generations.standby(topics::FACTS).await.unwrap().is_none(), "asking makes none");

    fill(&generations, &feeder.log).await;
    let (standby, at) = generations.standby(topics::FACTS).await.unwrap().unwrap();
    assert_eq!((standby.state, standby.cut_over_at, at.values().sum::<i64>()), (StandbyState::Filling, None, 60));
    generations.cut_over(topics::FACTS, source).await.unwrap();
    let again = generations.fill(topics::FACTS, source, &mut |_, _| (), &|| false).await;
    assert!(matches!(again, Err(GenerationError::AnotherStandby { .. })), "{again:?}");
    assert_eq!(generations.discard(topics::FACTS).await.unwrap().state, StandbyState::Previous);
    let left = redis.command(&["KEYS", "helix:ramaiah:standby:*"]).await;
    assert_eq!(redis::from_redis_value::<Vec<String>>(left).unwrap(), Vec::<String>::new());

    // The live board began anew: what stands beside it is ahead.
    fill(&generations, &feeder.log).await;
    redis.command(&["DEL", "helix:ramaiah:live:meta"]).await;
    let mut anew = Feeder::acquire(store(&redis.url(), "ramaiah"), feeder.log.clone()).await;
    assert!(matches!(generations.cut_over(topics::FACTS, source).await, Err(GenerationError::Ahead)));
    assert!(matches!(generations.diff(topics::FACTS, source, 1).await, Err(GenerationError::Ahead)));
    anew.drain(9).await.unwrap();
    // Of other settings: compared, and not exchanged, for the projector would throw it away.
    let other = generations_under(&redis, Settings { service_level_seconds: 60, ..Settings::default() });
    fill(&other, &feeder.log).await;
    assert!(!other.diff(topics::FACTS, source, 1).await.unwrap().is_empty());
    assert!(matches!(other.cut_over(topics::FACTS, source).await, Err(GenerationError::OtherSettings)));
}

/// A source that lets another instance take the live board each time it is asked.
struct Interfering {
    log: Source,
    url: String,
    times: usize,
}

#[async_trait]
impl LogSource for Interfering {
    async fn records(
        &mut self,
        topic: &str,
        partition: i32,
        from: NextOffset,
        to: NextOffset,
    ) -> Result<Vec<Record>, StoreError> {
        self.times += 1;
        let mut other: LiveStore = store(&self.url, "ramaiah");
        let positions = other.acquire(topic, &(0..PARTITIONS).collect::<Vec<_>>()).await?;
        // It goes on: there is something to be read again.
        let fact = Facts::of("ramaiah").state("agent.1", 1_000_000 + self.times as i64, AgentState::Ready, None);
        self.log.0.append(&fact);
        other.apply(&self.log.0.batch(&positions, 1000)).await?;
        self.log.records(topic, partition, from, to).await
    }
}

#[tokio::test]
async fn a_board_that_is_taken_back_each_time_is_not_exchanged() {
    let redis = TestRedis::start();
    let facts = history(25, 60);
    let mut feeder = fed(&redis, &facts).await;
    let generations = generations(&redis);
    fill(&generations, &feeder.log).await;
    feeder.feed(&[Facts::of("ramaiah").state("agent.1", 999_999, AgentState::Paused, None)]).await.unwrap();
    let mut source = Interfering { log: Source(feeder.log.clone()), url: redis.url(), times: 0 };
    let refused = generations.cut_over(topics::FACTS, &mut source).await;
    assert!(matches!(refused, Err(GenerationError::Behind)), "{refused:?}");
    assert!(source.times >= 3, "it was tried again");
    let (standby, _) = generations.standby(topics::FACTS).await.unwrap().unwrap();
    assert_eq!(standby.state, StandbyState::Filling);
    let now = Feeder::acquire(store(&redis.url(), "ramaiah"), source.log.0.clone()).await;
    assert!(now.positions.iter().all(|at| at.next_offset.0 > 0), "the live board is whole");
    // Whoever could not read the log lets go of the board.
    struct Gone;
    #[async_trait]
    impl LogSource for Gone {
        async fn records(&mut self, _: &str, _: i32, _: NextOffset, _: NextOffset) -> Result<Vec<Record>, StoreError> {
            Err(StoreError::unavailable(std::io::Error::other("the broker is gone")))
        }
    }
    let mut feeder = now;
    feeder.feed(&facts[..1]).await.unwrap();
    let failed = generations.cut_over(topics::FACTS, &mut Gone).await;
    assert!(matches!(failed, Err(GenerationError::Store(_))), "{failed:?}");
    let owned = redis.command(&["HEXISTS", "helix:ramaiah:live:meta", "owner"]).await;
    assert_eq!(owned, redis::Value::Int(0));
}

/// What is appended to the broker, as whoever rebuilds reads it.
#[derive(Clone, Default)]
struct Appended(Arc<Mutex<Vec<Fact>>>);

#[async_trait]
impl LogSource for Appended {
    async fn records(&mut self, _: &str, _: i32, from: NextOffset, to: NextOffset) -> Result<Vec<Record>, StoreError> {
        let all = self.0.lock().unwrap();
        let range = from.0 as usize..to.0 as usize;
        let record = |(offset, fact): (usize, &Fact)| Record {
            offset: helix_runtime::Offset(offset as i64),
            key: fact.key().into(),
            value: codec().encode(fact).unwrap().into(),
        };
        Ok(all.iter().enumerate().skip(range.start).take(range.len()).map(record).collect())
    }
}

/// Follows the board until it shows `root`: every delta fits the one before, and none is of another life.
async fn followed(redis: &TestRedis, root: watch::Receiver<Option<String>>) -> usize {
    let reader = BoardReader::new(&redis.url(), &Facts::of("ramaiah").workspace).unwrap();
    let (snapshot, mut follower) = reader.snapshot().await.unwrap();
    let mut visible = snapshot.visible;
    let mut deltas_seen = 0;
    while root.borrow().as_deref() != Some(visible.root().to_string().as_str()) {
        match follower.next().await.unwrap() {
            Followed::Broken => panic!("following broke"),
            Followed::Quiet => {}
            Followed::Deltas(deltas) => {
                for delta in deltas {
                    delta.changes.iter().for_each(|change| drop(visible.apply(change)));
                    assert_eq!(visible.root(), delta.hash);
                    deltas_seen += 1;
                }
            }
        }
    }
    deltas_seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exchanges_under_a_running_projector_lose_nothing_double_nothing_and_break_no_hash() {
    let world = World::new();
    let (stop, running) = world.start();
    world.changed("owner", "nil").await;
    let facts = history(26, 1000);
    let appended = Appended::default();
    let generations = generations(&world.redis);
    let (told, root) = watch::channel(None);
    let appending = async {
        for fact in &facts {
            appended.0.lock().unwrap().push(fact.clone());
            world.append(fact);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        told.send_replace(Some(expected(&facts).root().to_string()));
    };
    let exchanging = async {
        let mut source = appended.clone();
        generations.fill(topics::FACTS, &mut source, &mut |_, _| (), &|| false).await.unwrap();
        // So that something may differ.
        tamper(&world.redis, "openMissedCalls", "99999").await;
        for _ in 0..4 {
            let owner = world.meta("owner").await;
            generations.cut_over(topics::FACTS, &mut source).await.unwrap();
            // The projector is back before the next.
            world.owned_by_another_than(&owner).await;
        }
    };
    let (deltas, (), ()) = tokio::join!(followed(&world.redis, root), appending, exchanging);
    assert!(deltas > 20, "{deltas}");
    let (_, _, shown) = shown(&world.redis).await;
    assert_eq!(shown, expected(&facts).root().to_string());
    let diff = generations.diff(topics::FACTS, &mut appended.clone(), 5).await.unwrap();
    assert!(diff.is_empty(), "{diff:?}");
    assert_eq!(diff.progress, BTreeMap::from([(0, 1000)]));
    stop.send(true).unwrap();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projector_takes_the_board_back_from_an_operator_who_died_holding_it() {
    let world = World::new();
    let (stop, running) = world.start();
    let owner = world.changed("owner", "nil").await;
    let facts = history(27, 40);
    world.append(&facts[0]);
    let (told, root) = watch::channel(Some(expected(&facts[..1]).root().to_string()));
    followed(&world.redis, root).await;
    world.redis.command(&["HSET", "helix:ramaiah:live:meta", "owner", "operator who died"]).await;
    facts[1..].iter().for_each(|fact| world.append(fact));
    world.owned_by_another_than(&owner).await;
    told.send_replace(Some(expected(&facts).root().to_string()));
    followed(&world.redis, told.subscribe()).await;
    stop.send(true).unwrap();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_board_rests_through_a_restart_says_how_far_behind_it_is_and_goes_on() {
    let world = World::new();
    let (url, workspace) = (world.redis.url(), Facts::of("ramaiah").workspace);
    let (stop, running) = world.start();
    let facts = history(28, 40);
    world.append(&facts[0]);
    world.changed("owner", "nil").await;
    let (told, root) = watch::channel(Some(expected(&facts[..1]).root().to_string()));
    followed(&world.redis, root).await;
    assert!(!helix_live::paused(&url, &workspace).await.unwrap());
    helix_live::pause(&url, &workspace, true).await.unwrap();
    assert!(helix_live::paused(&url, &workspace).await.unwrap());
    stop.send(true).unwrap();
    running.await.unwrap();
    let (stop, running) = world.start();
    facts[1..].iter().for_each(|fact| world.append(fact));
    let reader = BoardReader::new(&url, &workspace).unwrap();
    let mut connection = reader.connect().await.unwrap();
    let resting = async {
        while reader.pulse(&mut connection).await.unwrap().lag_facts < 39 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), resting).await.unwrap();
    assert_eq!(shown(&world.redis).await.2, expected(&facts[..1]).root().to_string(), "it applied nothing");
    helix_live::pause(&url, &workspace, false).await.unwrap();
    told.send_replace(Some(expected(&facts).root().to_string()));
    followed(&world.redis, told.subscribe()).await;
    stop.send(true).unwrap();
    running.await.unwrap();
}
