//! The sidecar's side: a snapshot, then every delta, or the word that a new snapshot is needed.

use std::time::{Duration, Instant};

use helix_fold::board::visible::Visible;
use helix_live::{BoardReader, Followed, Follower, ReadError};
use helix_runtime::{Lag, Store};
use helix_schemas::{fact::AgentState, topics};

use crate::support::{Facts, Feeder, Log, TestRedis, store};

async fn started(redis: &TestRedis) -> (Feeder, BoardReader) {
    let feeder = Feeder::acquire(store(&redis.url(), "ramaiah"), Log::default()).await;
    (feeder, BoardReader::new(&redis.url(), &Facts::of("ramaiah").workspace).unwrap())
}

/// Follows until `version`; false where following broke.
async fn follow_to(follower: &mut Follower, visible: &mut Visible, version: u64) -> bool {
    loop {
        match follower.next().await.unwrap() {
            Followed::Broken => return false,
            Followed::Quiet => {}
            Followed::Deltas(deltas) => {
                for delta in deltas {
                    delta.changes.iter().for_each(|change| drop(visible.apply(change)));
                    assert_eq!(visible.root(), delta.hash);
                    if delta.version == version {
                        return true;
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn deltas_replayed_on_a_snapshot_give_the_board() {
    let redis = TestRedis::start();
    let (mut feeder, reader) = started(&redis).await;
    let facts = Facts::of("ramaiah");
    let (snapshot, mut follower) = reader.snapshot().await.unwrap();
    assert_eq!(snapshot.version, 0);
    let mut visible = snapshot.visible;
    for second in 0..60 {
        let call = format!("c{second}");
        feeder.feed(&[facts.rang(&call, None, second, "919845012345")]).await.unwrap();
        if second % 2 == 0 {
            feeder.feed(&[facts.ended(&call, None, second, "919845012345")]).await.unwrap();
        }
    }
    let (now, _) = reader.snapshot().await.unwrap();
    assert!(follow_to(&mut follower, &mut visible, now.version).await);
    assert!(visible == now.visible);
    assert_eq!(visible.root().to_string(), feeder.root());
}

#[tokio::test]
async fn a_batch_that_shows_nothing_new_makes_no_version() {
    let redis = TestRedis::start();
    let (mut feeder, reader) = started(&redis).await;
    let facts = Facts::of("ramaiah");
    let fact = facts.state("agent.one", 10, AgentState::Ready, None);
    feeder.feed(std::slice::from_ref(&fact)).await.unwrap();
    let before = reader.snapshot().await.unwrap().0.version;
    feeder.feed(&[fact, facts.state("agent.one", 5, AgentState::Paused, None)]).await.unwrap();
    assert_eq!(reader.snapshot().await.unwrap().0.version, before);
}

#[tokio::test]
async fn a_new_life_of_the_state_breaks_following_even_while_nothing_happens() {
    let redis = TestRedis::start();
    let (mut feeder, reader) = started(&redis).await;
    feeder.feed(&[Facts::of("ramaiah").state("agent.one", 1, AgentState::Ready, None)]).await.unwrap();
    let (old, mut follower) = reader.snapshot().await.unwrap();
    redis.command(&["FLUSHALL"]).await;
    let again = Feeder::acquire(store(&redis.url(), "ramaiah"), Log::default()).await;
    let (new, _) = reader.snapshot().await.unwrap();
    assert_ne!(old.generation, new.generation);
    assert!(!follow_to(&mut follower, &mut old.visible.clone(), u64::MAX).await);
    drop(again);
}

#[tokio::test]
async fn deltas_of_a_new_life_are_not_taken_for_those_of_the_old() {
    let redis = TestRedis::start();
    let (mut feeder, reader) = started(&redis).await;
    let facts = Facts::of("ramaiah");
    feeder.feed(&[facts.state("agent.one", 1, AgentState::Ready, None)]).await.unwrap();
    let (old, mut follower) = reader.snapshot().await.unwrap();
    redis.command(&["FLUSHALL"]).await;
    let mut again = Feeder::acquire(store(&redis.url(), "ramaiah"), Log::default()).await;
    for second in 1..4 {
        again.feed(&[facts.state("agent.two", second, AgentState::Paused, Some("tea"))]).await.unwrap();
    }
    assert!(!follow_to(&mut follower, &mut old.visible.clone(), u64::MAX).await);
}

#[tokio::test]
async fn trimmed_deltas_are_a_gap_and_not_silence() {
    let redis = TestRedis::start();
    let (mut feeder, reader) = started(&redis).await;
    let facts = Facts::of("ramaiah");
    let (old, mut follower) = reader.snapshot().await.unwrap();
    for second in 1..6 {
        feeder.feed(&[facts.rang(&format!("c{second}"), None, second, "1")]).await.unwrap();
    }
    redis.command(&["XTRIM", "helix:ramaiah:live:deltas", "MAXLEN", "=", "2"]).await;
    assert!(!follow_to(&mut follower, &mut old.visible.clone(), u64::MAX).await);
}

#[tokio::test]
async fn an_empty_redis_has_no_board_and_the_pulse_tells_its_age() {
    let redis = TestRedis::start();
    let reader = BoardReader::new(&redis.url(), &Facts::of("ramaiah").workspace).unwrap();
    assert!(matches!(reader.snapshot().await, Err(ReadError::NoBoard)));
    let (mut feeder, reader) = started(&redis).await;
    assert_eq!(reader.snapshot().await.unwrap().0.pulse.age, None);
    let begun = Instant::now();
    feeder.store.beat(Some(Lag { facts: 7, millis: 2500, ..Lag::default() })).await.unwrap();
    let pulse = reader.snapshot().await.unwrap().0.pulse;
    assert!(pulse.age.unwrap() < begun.elapsed() + Duration::from_secs(1));
    assert_eq!((pulse.lag_facts, pulse.lag), (7, Duration::from_millis(2500)));
}

#[tokio::test]
async fn a_pulse_is_as_old_as_the_measurement_that_it_rests_on() {
    let redis = TestRedis::start();
    let (mut feeder, reader) = started(&redis).await;
    let (age, begun) = (Duration::from_secs(3), Instant::now());
    feeder.store.beat(Some(Lag { age, ..Lag::default() })).await.unwrap();
    let told = reader.snapshot().await.unwrap().0.pulse.age.unwrap();
    assert!(told >= age && told < age + begun.elapsed() + Duration::from_secs(1), "{told:?}");
}

#[tokio::test]
async fn a_pulse_from_before_the_clock_was_set_back_is_none() {
    let redis = TestRedis::start();
    let (mut feeder, reader) = started(&redis).await;
    feeder.store.beat(Some(Lag::default())).await.unwrap();
    let now = chrono::Utc::now().timestamp_millis();
    for (ahead, is_one) in [(900, true), (60_000, false)] {
        redis.command(&["HSET", "helix:ramaiah:live:pulse", "at", &(now + ahead).to_string()]).await;
        let pulse = reader.pulse(&mut reader.connect().await.unwrap()).await.unwrap();
        assert_eq!(pulse.age.is_some(), is_one, "{ahead} ms ahead");
    }
}

#[tokio::test]
async fn the_board_says_up_to_where_it_has_read_the_log() {
    let redis = TestRedis::start();
    let (mut feeder, reader) = started(&redis).await;
    let facts = Facts::of("ramaiah");
    let states = (0..9).map(|agent| facts.state(&format!("agent.{agent}"), 1, AgentState::Ready, None));
    feeder.feed(&states.collect::<Vec<_>>()).await.unwrap();
    let told = reader.progress(&mut reader.connect().await.unwrap()).await.unwrap();
    let expected = feeder.positions.iter().map(|at| ((topics::FACTS.to_owned(), at.partition), at.next_offset.0));
    assert_eq!(told, expected.collect());
    assert_eq!(told.values().sum::<i64>(), 9);
}
