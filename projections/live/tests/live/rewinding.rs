//! A Redis that comes back with an older state, as after a crash that lost its last appends, or a failover: readers saw
//! versions that are gone, and what follows must not be taken for them.

use helix_fold::{board::Board, settings::Settings};
use helix_live::{BoardReader, Followed};
use helix_runtime::{Lag, Store, StoreError};
use helix_schemas::fact::{AgentState, Fact};

use crate::support::{Facts, Feeder, Log, TestRedis, store};

fn pauses(from: i64) -> Vec<Fact> {
    let facts = Facts::of("ramaiah");
    let state = |second: i64| [AgentState::Ready, AgentState::Paused][usize::try_from(second % 2).unwrap()];
    (from..from + 5).map(|second| facts.state("agent.one", second, state(second), None)).collect()
}

fn expected(facts: &[&[Fact]]) -> String {
    let mut board = Board::new(Facts::of("ramaiah").workspace, Settings::default());
    facts.iter().copied().flatten().for_each(|fact| drop(board.apply(fact)));
    board.root().to_string()
}

async fn started(redis: &TestRedis) -> (Feeder, BoardReader) {
    let feeder = Feeder::acquire(store(&redis.url(), "ramaiah"), Log::default()).await;
    (feeder, BoardReader::new(&redis.url(), &Facts::of("ramaiah").workspace).unwrap())
}

/// Each fact in a batch of its own: a version each.
async fn feed(feeder: &mut Feeder, facts: &[Fact]) {
    for fact in facts {
        feeder.feed(std::slice::from_ref(fact)).await.unwrap();
    }
}

/// Applies what is in the log, as the engine does: a connection that died is tried again.
async fn drained(feeder: &mut Feeder) -> Result<(), StoreError> {
    loop {
        match feeder.drain(1).await {
            Err(StoreError::Unavailable(_)) => {}
            outcome => return outcome,
        }
    }
}

const KEYS: [&str; 7] = ["meta", "progress", "board", "agents", "calls", "deltas", "parked"];

/// Copies everything that lies there, or puts it back: as if the Redis were another one that is behind.
async fn copy(redis: &TestRedis, back: bool) {
    for key in KEYS {
        let (live, kept) = (format!("helix:ramaiah:live:{key}"), format!("kept:{key}"));
        let (from, to) = if back { (kept, live) } else { (live, kept) };
        redis.command(&["DEL", &to]).await;
        redis.command(&["COPY", &from, &to]).await;
    }
}

#[tokio::test]
async fn a_state_from_the_past_goes_on_from_there_under_another_name() {
    let mut redis = TestRedis::start();
    let (first, second, third) = (pauses(0), pauses(10), pauses(20));
    let (mut feeder, reader) = started(&redis).await;
    feed(&mut feeder, &first).await;
    redis.command(&["SAVE"]).await;
    feed(&mut feeder, &second).await;
    let (seen, _) = reader.snapshot().await.unwrap();
    let loss = feeder.store.loss();
    redis.stop();
    redis.start_again();
    third.iter().for_each(|fact| feeder.log.append(fact));
    let refused = drained(&mut feeder).await;
    assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{refused:?}");
    assert!(loss.happened());
    let (past, _) = reader.snapshot().await.unwrap();
    assert!(past.generation == seen.generation && past.version < seen.version, "nothing was written over it");
    let mut again = Feeder::acquire(store(&redis.url(), "ramaiah"), feeder.log.clone()).await;
    assert!(again.positions.iter().any(|at| at.next_offset.0 == 5), "not from the start: {:?}", again.positions);
    again.drain(1).await.unwrap();
    assert_eq!(again.root(), expected(&[&first, &second, &third]));
    let (now, _) = reader.snapshot().await.unwrap();
    assert_ne!(now.generation, seen.generation, "version {} is another than it was", seen.version);
}

#[tokio::test]
async fn a_newcomer_that_finds_a_redis_started_anew_begins_a_new_name() {
    let mut redis = TestRedis::start();
    let (mut feeder, reader) = started(&redis).await;
    feed(&mut feeder, &pauses(0)).await;
    redis.command(&["SAVE"]).await;
    feed(&mut feeder, &pauses(10)).await;
    let (seen, _) = reader.snapshot().await.unwrap();
    redis.stop();
    redis.start_again();
    // The machine was off: nobody remembers that there was more.
    let log = feeder.log.clone();
    drop(feeder);
    let mut again = Feeder::acquire(store(&redis.url(), "ramaiah"), log).await;
    again.drain(1).await.unwrap();
    assert_ne!(reader.snapshot().await.unwrap().0.generation, seen.generation);
    // The next one finds the same Redis, and goes on.
    let generation = reader.snapshot().await.unwrap().0.generation;
    let log = again.log.clone();
    drop(again);
    Feeder::acquire(store(&redis.url(), "ramaiah"), log).await;
    assert_eq!(reader.snapshot().await.unwrap().0.generation, generation);
}

#[tokio::test]
async fn a_redis_that_lost_nothing_goes_on_under_its_name() {
    let mut redis = TestRedis::start();
    let (mut feeder, reader) = started(&redis).await;
    feed(&mut feeder, &pauses(0)).await;
    redis.command(&["SAVE"]).await;
    let (before, _) = reader.snapshot().await.unwrap();
    redis.stop();
    redis.start_again();
    pauses(10).iter().for_each(|fact| feeder.log.append(fact));
    drained(&mut feeder).await.unwrap();
    let (now, _) = reader.snapshot().await.unwrap();
    assert_eq!(now.generation, before.generation);
    assert!(now.version > before.version && !feeder.store.loss().happened());
}

#[tokio::test]
async fn whoever_follows_is_told_and_takes_nothing_for_what_it_was() {
    let redis = TestRedis::start();
    let (mut feeder, reader) = started(&redis).await;
    feed(&mut feeder, &pauses(0)).await;
    copy(&redis, false).await;
    feed(&mut feeder, &pauses(10)).await;
    let (seen, mut follower) = reader.snapshot().await.unwrap();
    copy(&redis, true).await;
    let loss = feeder.store.loss();
    let facts = pauses(20);
    facts.iter().for_each(|fact| feeder.log.append(fact));
    assert!(matches!(drained(&mut feeder).await, Err(StoreError::Fenced { .. })));
    assert!(loss.happened());
    // The new holder goes past the version that was seen before anybody looks.
    let mut again = Feeder::acquire(store(&redis.url(), "ramaiah"), feeder.log.clone()).await;
    again.drain(1).await.unwrap();
    assert!(reader.snapshot().await.unwrap().0.version > seen.version);
    let followed = follower.next().await.unwrap();
    assert!(matches!(followed, Followed::Broken), "{followed:?}");
}

#[tokio::test]
async fn a_state_from_the_past_is_noticed_by_the_beat_and_after_an_unheard_write() {
    let redis = TestRedis::start();
    let (mut feeder, _) = started(&redis).await;
    feed(&mut feeder, &pauses(0)).await;
    copy(&redis, false).await;
    feed(&mut feeder, &pauses(10)).await;
    let loss = feeder.store.loss();
    feeder.store.beat(Some(Lag::default())).await.unwrap();
    assert!(!loss.happened());
    copy(&redis, true).await;
    feeder.store.beat(Some(Lag::default())).await.unwrap();
    assert!(loss.happened());

    let mut feeder = Feeder::acquire(store(&redis.url(), "ramaiah"), feeder.log.clone()).await;
    feeder.drain(1).await.unwrap();
    let loss = feeder.store.loss();
    copy(&redis, false).await;
    feed(&mut feeder, &pauses(20)).await;
    feeder.store.forget_outcome();
    copy(&redis, true).await;
    feeder.log.append(&pauses(30)[0]);
    assert!(matches!(feeder.drain(1).await, Err(StoreError::Fenced { .. })));
    assert!(loss.happened());
}
