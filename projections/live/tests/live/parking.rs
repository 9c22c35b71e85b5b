//! What is set aside: written in the batch's own step, seen again, and parked anew by a replay.

use std::collections::BTreeMap;

use bytes::Bytes;
use helix_fold::{board::Board, settings::Settings};
use helix_live::{BoardReader, parked};
use helix_runtime::{Batch, Cause, Lag, Offset, Parked, Position, Store as _, StoreError};
use helix_schemas::fact::{AgentState, Fact};

use crate::support::{Facts, Feeder, Log, TestRedis, store};

const KEY: &[u8] = b"ramaiah/agent.one";

fn story() -> Vec<Fact> {
    let facts = Facts::of("ramaiah");
    let mut all: Vec<Fact> = (0..3)
        .map(|n| facts.state("agent.one", n * 10, [AgentState::Ready, AgentState::Paused][n as usize % 2], None))
        .collect();
    all.push(facts.state("agent.two", 5, AgentState::Ready, None));
    all
}

/// Everything that is not applied yet, with `agent.one` parked from its second fact on.
fn parking(feeder: &Feeder) -> Batch {
    let mut batch = feeder.log.batch(&feeder.positions, 1000);
    for slice in &mut batch.slices {
        let first = slice.records.iter().filter(|record| record.key == KEY).nth(1).map(|record| record.offset);
        let Some(first) = first else { continue };
        for record in slice.records.extract_if(.., |record| record.key == KEY && record.offset >= first) {
            let poison = record.offset == first;
            let cause = if poison { Cause::Poison("injected".to_owned()) } else { Cause::Behind(first) };
            slice.parked.push(Parked { offset: record.offset, key: record.key, cause });
        }
    }
    assert_eq!((batch.len(), batch.parked()), (2, 2));
    batch
}

fn of_keys(positions: &[Position]) -> BTreeMap<Bytes, Offset> {
    positions.iter().flat_map(|position| position.parked.clone()).collect()
}

async fn fed(redis: &TestRedis) -> (Feeder, Batch) {
    let mut feeder = Feeder::acquire(store(&redis.url(), "ramaiah"), Log::default()).await;
    story().iter().for_each(|fact| feeder.log.append(fact));
    let batch = parking(&feeder);
    feeder.apply(&batch).await.unwrap();
    (feeder, batch)
}

#[tokio::test]
async fn what_a_batch_parks_is_written_once_in_its_step_and_told_at_the_next_acquisition() {
    let redis = TestRedis::start();
    let (mut feeder, batch) = fed(&redis).await;
    // As if the answer had been lost: the same batch again.
    feeder.store.forget_outcome();
    feeder.store.apply(&batch).await.unwrap();
    let workspace = Facts::of("ramaiah").workspace;
    let entries = parked(&redis.url(), &workspace).await.unwrap();
    let given: Vec<&Parked> = batch.slices.iter().flat_map(|slice| &slice.parked).collect();
    assert_eq!(entries.iter().map(|entry| &entry.parked).collect::<Vec<_>>(), given);
    assert!(entries.iter().all(|entry| entry.projection == "live" && entry.parked_at > 0));
    let root = feeder.root();
    let again = Feeder::acquire(store(&redis.url(), "ramaiah"), feeder.log).await;
    assert_eq!(again.root(), root, "the board is read, not made anew");
    assert_eq!(of_keys(&again.positions), BTreeMap::from([(Bytes::from_static(KEY), given[0].offset)]));
}

#[tokio::test]
async fn a_key_that_is_no_text_is_kept_exactly() {
    let redis = TestRedis::start();
    let mut feeder = Feeder::acquire(store(&redis.url(), "ramaiah"), Log::default()).await;
    story().iter().for_each(|fact| feeder.log.append(fact));
    let key = Bytes::from_static(b"ramaiah/agent\xff\0one");
    let mut batch = feeder.log.batch(&feeder.positions, 1);
    let slice = &mut batch.slices[0];
    let record = slice.records.remove(0);
    let cause = Cause::Poison("injected".to_owned());
    slice.parked.push(Parked { offset: record.offset, key: key.clone(), cause });
    feeder.apply(&batch).await.unwrap();
    let entries = parked(&redis.url(), &Facts::of("ramaiah").workspace).await.unwrap();
    assert_eq!(entries.iter().map(|entry| &entry.parked.key).collect::<Vec<_>>(), [&key]);
    let again = Feeder::acquire(store(&redis.url(), "ramaiah"), feeder.log).await;
    assert_eq!(of_keys(&again.positions), BTreeMap::from([(key, record.offset)]));
}

#[tokio::test]
async fn a_fenced_batch_parks_nothing() {
    let redis = TestRedis::start();
    let mut old = Feeder::acquire(store(&redis.url(), "ramaiah"), Log::default()).await;
    story().iter().for_each(|fact| old.log.append(fact));
    let batch = parking(&old);
    let _new = Feeder::acquire(store(&redis.url(), "ramaiah"), Log::default()).await;
    let refused = old.apply(&batch).await;
    assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{refused:?}");
    assert_eq!(parked(&redis.url(), &Facts::of("ramaiah").workspace).await.unwrap(), []);
}

#[tokio::test]
async fn entries_that_were_evicted_make_the_board_anew_rather_than_out_of_order() {
    let redis = TestRedis::start();
    let (mut feeder, _) = fed(&redis).await;
    redis.command(&["DEL", "helix:ramaiah:live:parked"]).await;
    let refused = feeder.feed(&[Facts::of("ramaiah").state("agent.two", 50, AgentState::Paused, None)]).await;
    assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{refused:?}");
    assert!(feeder.store.loss().happened());
    let again = Feeder::acquire(store(&redis.url(), "ramaiah"), feeder.log).await;
    assert!(again.positions.iter().all(|position| position.next_offset.0 == 0));
}

#[tokio::test]
async fn a_state_that_is_thrown_away_is_noticed_and_the_replay_begins_with_nothing_parked() {
    let redis = TestRedis::start();
    let (mut feeder, _) = fed(&redis).await;
    let (url, workspace) = (redis.url(), Facts::of("ramaiah").workspace);
    redis.command(&["DEL", "helix:ramaiah:live:meta"]).await;
    feeder.store.beat(Some(Lag::default())).await.unwrap();
    feeder.store.loss().wait().await;
    let mut again = Feeder::acquire(store(&url, "ramaiah"), feeder.log.clone()).await;
    assert!(again.positions.iter().all(|position| position.next_offset.0 == 0 && position.parked.is_empty()));
    assert!(again.positions.iter().zip(&feeder.positions).all(|(new, old)| new.epoch > old.epoch));
    assert_eq!(parked(&url, &workspace).await.unwrap(), []);
    // Mended meanwhile: the board is that of the whole log.
    again.drain(1000).await.unwrap();
    let mut board = Board::new(workspace, Settings::default());
    story().iter().for_each(|fact| drop(board.apply(fact)));
    assert_eq!(again.root(), board.root().to_string());
}

#[tokio::test]
async fn a_lag_that_is_not_known_is_not_told_to_readers() {
    let redis = TestRedis::start();
    let (mut feeder, _) = fed(&redis).await;
    let reader = BoardReader::new(&redis.url(), &Facts::of("ramaiah").workspace).unwrap();
    feeder.store.beat(None).await.unwrap();
    assert_eq!(reader.snapshot().await.unwrap().0.pulse.age, None);
    feeder.store.beat(Some(Lag { facts: 3, ..Lag::default() })).await.unwrap();
    let pulse = reader.snapshot().await.unwrap().0.pulse;
    assert!(pulse.age.is_some() && pulse.lag_facts == 3);
}
