//! The projector's side: one step or nothing, fences, restarts and losses.

use helix_fold::{board::Board, settings::Settings};
use helix_runtime::{Epoch, Lag, Store, StoreError};
use helix_schemas::{
    fact::{AgentState, Fact},
    topics,
};

use crate::support::{Facts, Feeder, Log, PARTITIONS, TestRedis, store};

/// Everything that lies in the Redis, to prove that nothing changed.
async fn contents(redis: &TestRedis) -> String {
    let mut all = String::new();
    for key in ["meta", "progress", "board", "agents", "calls"] {
        let key = format!("helix:ramaiah:live:{key}");
        all.push_str(&format!("{:?}\n", redis.command(&["HGETALL", &key]).await));
    }
    all.push_str(&format!("{:?}", redis.command(&["XRANGE", "helix:ramaiah:live:deltas", "-", "+"]).await));
    all
}

fn morning(facts: &Facts) -> Vec<Fact> {
    let mut all = Vec::new();
    for minute in 0..20_i64 {
        let at = minute * 60;
        let agent = ["agent.one", "agent.two", "agent.three"][(minute % 3) as usize];
        let (call, caller) = (format!("c{minute}"), format!("91984500000{}", minute % 4));
        all.push(facts.state(agent, at, AgentState::Ready, None));
        all.push(facts.rang(&call, None, at + 5, &caller));
        if minute % 4 == 3 {
            all.push(facts.ended(&call, None, at + 30, &caller));
        } else {
            all.push(facts.state(agent, at + 12, AgentState::Ringing, None));
            all.push(facts.rang(&call, Some(agent), at + 12, &caller));
            all.push(facts.state(agent, at + 15, AgentState::OnCall, None));
            all.push(facts.answered(&call, agent, at + 15, &caller));
            if minute < 18 {
                all.push(facts.ended(&call, Some(agent), at + 50, &caller));
                all.push(facts.state(agent, at + 50, AgentState::WrapUp, None));
            }
        }
    }
    all
}

fn expected(facts: &[Fact]) -> Board {
    let mut board = Board::new(facts[0].workspace.clone(), Settings::default());
    facts.iter().for_each(|fact| drop(board.apply(fact)));
    board
}

#[tokio::test]
async fn the_board_in_redis_is_the_fold_of_the_log_however_it_is_cut() {
    let facts = morning(&Facts::of("ramaiah"));
    let expected = expected(&facts);
    for most in [1, 7, 1000] {
        let redis = TestRedis::start();
        let mut log = Log::default();
        facts.iter().for_each(|fact| log.append(fact));
        let mut feeder = Feeder::acquire(store(&redis.url(), "ramaiah"), log).await;
        feeder.drain(most).await.unwrap();
        let reader = helix_live::BoardReader::new(&redis.url(), expected.workspace()).unwrap();
        let (snapshot, _) = reader.snapshot().await.unwrap();
        assert!(snapshot.visible == *expected.visible(), "cut at {most}");
        assert_eq!(feeder.root(), expected.root().to_string());
    }
}

#[tokio::test]
async fn another_workspaces_facts_are_passed_over_but_progress_moves_on() {
    let redis = TestRedis::start();
    let mut feeder = Feeder::acquire(store(&redis.url(), "ramaiah"), Log::default()).await;
    let before = feeder.root();
    feeder.feed(&morning(&Facts::of("global"))).await.unwrap();
    assert_eq!(feeder.root(), before);
    let again = Feeder::acquire(store(&redis.url(), "ramaiah"), feeder.log.clone()).await;
    for position in &again.positions {
        let end = feeder.log.partitions.get(&position.partition).map_or(0, Vec::len);
        assert_eq!(position.next_offset.0, end as i64);
    }
}

#[tokio::test]
async fn a_fenced_write_changes_nothing() {
    let redis = TestRedis::start();
    let facts = Facts::of("ramaiah");
    let mut old = Feeder::acquire(store(&redis.url(), "ramaiah"), Log::default()).await;
    old.feed(&morning(&facts)).await.unwrap();
    let new = Feeder::acquire(store(&redis.url(), "ramaiah"), old.log.clone()).await;
    assert!(new.positions.iter().zip(&old.positions).all(|(new, old)| new.epoch > old.epoch));
    let before = contents(&redis).await;
    let refused = old.feed(&[facts.state("agent.one", 5000, AgentState::Paused, Some("tea"))]).await;
    assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{refused:?}");
    assert_eq!(contents(&redis).await, before);
    old.store.beat(Some(Lag { facts: 9, millis: 9, ..Lag::default() })).await.unwrap();
    assert_eq!(format!("{:?}", redis.command(&["EXISTS", "helix:ramaiah:live:pulse"]).await), "int(0)");
}

#[tokio::test]
async fn a_slice_that_does_not_start_at_progress_or_has_another_epoch_changes_nothing() {
    let redis = TestRedis::start();
    let facts = Facts::of("ramaiah");
    for case in ["behind", "ahead", "epoch"] {
        let mut feeder = Feeder::acquire(store(&redis.url(), "ramaiah"), Log::default()).await;
        let mut log = Log::default();
        morning(&facts).iter().for_each(|fact| log.append(fact));
        let mut batch = log.batch(&feeder.positions, 1000);
        let slice = batch.slices.last_mut().unwrap();
        match case {
            "behind" => slice.from.0 -= 1,
            "ahead" => slice.from.0 += 1,
            _ => slice.epoch = Epoch(slice.epoch.0 - 1),
        }
        let refused_partition = slice.partition;
        let before = contents(&redis).await;
        let refused = feeder.store.apply(&batch).await;
        assert!(
            matches!(refused, Err(StoreError::Fenced { partition }) if partition == refused_partition),
            "{case}: {refused:?}"
        );
        assert_eq!(contents(&redis).await, before, "{case}");
    }
}

#[tokio::test]
async fn a_fact_that_cannot_be_read_is_told_and_changes_nothing() {
    let redis = TestRedis::start();
    let mut feeder = Feeder::acquire(store(&redis.url(), "ramaiah"), Log::default()).await;
    let mut log = Log::default();
    morning(&Facts::of("ramaiah")).iter().for_each(|fact| log.append(fact));
    let mut batch = log.batch(&feeder.positions, 1000);
    let slice = batch.slices.last_mut().unwrap();
    let record = slice.records.last_mut().unwrap();
    record.value = record.value.slice(..20);
    let (partition, offset) = (slice.partition, slice.records.last().unwrap().offset);
    let before = contents(&redis).await;
    let refused = feeder.store.apply(&batch).await;
    assert!(
        matches!(refused, Err(StoreError::Poison { partition: p, offset: o, .. }) if p == partition && o == offset),
        "{refused:?}"
    );
    assert_eq!(contents(&redis).await, before);
    feeder.log = log;
    feeder.drain(1000).await.unwrap();
}

#[tokio::test]
async fn a_restart_goes_on_where_the_last_one_ended() {
    let redis = TestRedis::start();
    let facts = morning(&Facts::of("ramaiah"));
    let (first, second) = facts.split_at(facts.len() / 2);
    let mut feeder = Feeder::acquire(store(&redis.url(), "ramaiah"), Log::default()).await;
    feeder.feed(first).await.unwrap();
    let log = feeder.log.clone();
    let root = feeder.root();
    drop(feeder);
    let mut feeder = Feeder::acquire(store(&redis.url(), "ramaiah"), log).await;
    assert_eq!(feeder.root(), root);
    assert!(feeder.positions.iter().any(|position| position.next_offset.0 > 0));
    feeder.feed(second).await.unwrap();
    assert_eq!(feeder.root(), expected(&facts).root().to_string());
}

#[tokio::test]
async fn a_wiped_redis_is_noticed_and_rebuilt_from_the_start_of_the_log() {
    let mut redis = TestRedis::start();
    let facts = morning(&Facts::of("ramaiah"));
    let mut feeder = Feeder::acquire(store(&redis.url(), "ramaiah"), Log::default()).await;
    feeder.feed(&facts).await.unwrap();
    let loss = feeder.store.loss();
    redis.stop();
    redis.start_again();
    let late = Facts::of("ramaiah").state("agent.one", 5000, AgentState::Paused, Some("tea"));
    // The first attempt may meet the dead connection; the engine would try again.
    let mut refused = feeder.feed(std::slice::from_ref(&late)).await;
    while matches!(refused, Err(StoreError::Unavailable(_))) {
        refused = feeder.drain(usize::MAX / 2).await;
    }
    assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{refused:?}");
    assert!(loss.happened());
    let mut again = Feeder::acquire(store(&redis.url(), "ramaiah"), feeder.log.clone()).await;
    assert!(again.positions.iter().all(|position| position.next_offset.0 == 0));
    again.drain(11).await.unwrap();
    let all: Vec<Fact> = facts.into_iter().chain([late]).collect();
    assert_eq!(again.root(), expected(&all).root().to_string());
}

#[tokio::test]
async fn a_wiped_redis_is_noticed_by_the_beat_when_no_facts_come() {
    let redis = TestRedis::start();
    let mut feeder = Feeder::acquire(store(&redis.url(), "ramaiah"), Log::default()).await;
    let loss = feeder.store.loss();
    feeder.store.beat(Some(Lag::default())).await.unwrap();
    assert!(!loss.happened());
    redis.command(&["FLUSHALL"]).await;
    feeder.store.beat(Some(Lag::default())).await.unwrap();
    loss.wait().await;
}

#[tokio::test]
async fn a_key_that_was_evicted_makes_the_state_anew_rather_than_wrong() {
    for key in ["board", "agents", "calls"] {
        let redis = TestRedis::start();
        let facts = morning(&Facts::of("ramaiah"));
        let mut feeder = Feeder::acquire(store(&redis.url(), "ramaiah"), Log::default()).await;
        feeder.feed(&facts).await.unwrap();
        redis.command(&["DEL", &format!("helix:ramaiah:live:{key}")]).await;
        let refused = feeder.feed(&[Facts::of("ramaiah").state("agent.one", 5000, AgentState::Paused, None)]).await;
        assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{key}: {refused:?}");
        assert!(feeder.store.loss().happened());
        let again = Feeder::acquire(store(&redis.url(), "ramaiah"), feeder.log.clone()).await;
        assert!(again.positions.iter().all(|position| position.next_offset.0 == 0), "{key}");
        assert!(again.positions.iter().zip(&feeder.positions).all(|(new, old)| new.epoch > old.epoch), "{key}");
    }
}

#[tokio::test]
async fn an_answer_that_was_lost_on_the_way_does_not_apply_a_batch_twice() {
    let redis = TestRedis::start();
    let facts = morning(&Facts::of("ramaiah"));
    let (first, second) = facts.split_at(facts.len() / 2);
    let mut feeder = Feeder::acquire(store(&redis.url(), "ramaiah"), Log::default()).await;
    first.iter().for_each(|fact| feeder.log.append(fact));
    let batch = feeder.log.batch(&feeder.positions, 1000);
    feeder.store.apply(&batch).await.unwrap();
    // As if the answer had been lost: the engine still believes in the old progress and cuts a longer batch.
    feeder.store.forget_outcome();
    second.iter().for_each(|fact| feeder.log.append(fact));
    feeder.drain(1000).await.unwrap();
    assert_eq!(feeder.root(), expected(&facts).root().to_string());
}

#[tokio::test]
async fn a_write_that_nobody_waited_for_any_more_does_not_apply_a_batch_twice() {
    let redis = TestRedis::start();
    let facts = morning(&Facts::of("ramaiah"));
    let (first, second) = facts.split_at(facts.len() / 2);
    let mut feeder = Feeder::acquire(store(&redis.url(), "ramaiah"), Log::default()).await;
    feeder.feed(first).await.unwrap();
    second.iter().for_each(|fact| feeder.log.append(fact));
    let batch = feeder.log.batch(&feeder.positions, 1000);
    // The Redis answers late, and the engine's patience ends before.
    redis.command(&["CLIENT", "PAUSE", "1500", "ALL"]).await;
    let given_up = tokio::time::timeout(std::time::Duration::from_millis(100), feeder.store.apply(&batch)).await;
    assert!(given_up.is_err(), "{given_up:?}");
    feeder.drain(1000).await.unwrap();
    assert_eq!(feeder.root(), expected(&facts).root().to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_owner_is_taken_over_from() {
    let redis = TestRedis::start();
    let facts = Facts::of("ramaiah");
    let mut old = Feeder::acquire(store(&redis.url(), "ramaiah"), Log::default()).await;
    old.feed(&morning(&facts)).await.unwrap();
    let log = old.log.clone();
    let busy = tokio::spawn(async move {
        for second in 5000.. {
            let state = [AgentState::Ready, AgentState::Paused][second as usize % 2];
            let fed = old.feed(&[facts.state("agent.one", second, state, None)]).await;
            if let Err(refused) = fed {
                return refused;
            }
        }
        panic!("never fenced");
    });
    let taken = Feeder::acquire(store(&redis.url(), "ramaiah"), log);
    tokio::time::timeout(std::time::Duration::from_secs(60), taken).await.unwrap();
    let refused = busy.await.unwrap();
    assert!(matches!(refused, StoreError::Fenced { .. }), "{refused:?}");
}

#[tokio::test]
async fn other_settings_rebuild_the_board() {
    let redis = TestRedis::start();
    let mut feeder = Feeder::acquire(store(&redis.url(), "ramaiah"), Log::default()).await;
    feeder.feed(&morning(&Facts::of("ramaiah"))).await.unwrap();
    let settings = Settings { service_level_seconds: 60, ..Settings::default() };
    let decoder = helix_live::Decoder::new(crate::support::codec(), None);
    let workspace = Facts::of("ramaiah").workspace;
    let mut other = helix_live::LiveStore::new(&redis.url(), workspace, settings, decoder).unwrap();
    let all: Vec<i32> = (0..PARTITIONS).collect();
    let positions = other.acquire(topics::FACTS, &all).await.unwrap();
    assert!(positions.iter().all(|position| position.next_offset.0 == 0));
}
