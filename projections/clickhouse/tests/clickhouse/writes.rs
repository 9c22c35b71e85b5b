//! Blocks and progress: retries, crashes, zombies, poison.

use helix_runtime::{Batch, Epoch, NextOffset, Position, Record, Store as _, StoreError};
use helix_schemas::{fact::AgentState, time::ReceivedAt, topics};

use crate::story::{World, answered, ended, inbound, rang, state, summary};

fn story() -> Vec<helix_schemas::fact::Fact> {
    vec![
        rang(0, "c", Some("agent.one"), inbound()),
        state(0, "agent.one", AgentState::Ringing, None),
        answered(4, "c", Some("agent.one"), inbound()),
        state(4, "agent.one", AgentState::OnCall, None),
        ended(64, "c", Some("agent.one"), inbound()),
        state(64, "agent.one", AgentState::WrapUp, None),
        summary(66, "c", |said| said.disposition = Some("Booked".into())),
        rang(90, "d", None, inbound()),
        ended(120, "d", None, inbound()),
    ]
}

async fn stored(world: &World) -> i64 {
    world.number("SELECT count() FROM {db}.facts").await
}

/// As after a crash between the block and its progress: the rows are in, progress is not.
async fn forget_progress(world: &mut World) {
    world.run("TRUNCATE TABLE {db}.projection_progress").await;
    world.acquire().await;
}

#[tokio::test]
async fn a_new_partition_stands_at_zero_and_each_acquisition_raises_the_epoch() {
    let mut world = World::new().await;
    world.tell(story()).await;
    let reached = world.held.clone();
    world.acquire().await;
    for (partition, position) in &world.held {
        assert_eq!(position.next_offset, reached[partition].next_offset);
        assert_eq!(position.epoch, Epoch(2));
    }
    let fresh = world.store.acquire(topics::FACTS, &[11]).await.unwrap();
    assert_eq!(
        fresh,
        [Position { partition: 11, next_offset: NextOffset(0), epoch: Epoch(1), parked: Default::default() }]
    );
}

#[tokio::test]
async fn a_batch_is_one_part_however_many_partitions_and_rows_it_has() {
    let mut world = World::new().await;
    for agent in 0..3_000 {
        world.append(&state(agent, &format!("agent.{agent}"), AgentState::Ready, None));
    }
    let batch = world.rest();
    assert_eq!(batch.slices.len(), 3);
    world.hold_merges().await;
    world.apply(&batch).await;
    let parts = "SELECT count() FROM system.parts WHERE active AND database = '{db}' AND table = 'facts'";
    assert_eq!((world.number(parts).await, stored(&world).await), (1, 3_000));
}

#[tokio::test]
async fn the_same_block_again_is_written_once() {
    let mut world = World::new().await;
    for fact in story() {
        world.append(&fact);
    }
    world.hold_merges().await;
    let batch = world.rest();
    world.apply(&batch).await;
    world.store.apply(&batch).await.unwrap();
    forget_progress(&mut world).await;
    let again = world.rest();
    world.apply(&again).await;
    assert_eq!(stored(&world).await, 9);
    world.agrees_with_the_fold().await;
}

#[tokio::test]
async fn the_same_cut_with_other_rows_is_not_taken_for_the_same_block() {
    let mut world = World::new().await;
    for fact in story() {
        world.append(&fact);
    }
    let whole = world.rest();
    let mut parked = whole.clone();
    let withheld =
        parked.slices.iter_mut().find_map(|slice| (slice.records.len() > 1).then(|| slice.records.remove(0)));
    assert!(withheld.is_some());
    world.apply(&parked).await;
    assert_eq!(stored(&world).await, 8);
    forget_progress(&mut world).await;
    world.apply(&whole).await;
    world.agrees_with_the_fold().await;
    assert_eq!(world.number("SELECT uniqExact(fact_id) FROM {db}.facts").await, 9);
}

#[tokio::test]
async fn a_crash_between_block_and_progress_and_another_cut_count_nothing_twice() {
    let mut world = World::new().await;
    for fact in story() {
        world.append(&fact);
    }
    world.hold_merges().await;
    let whole = world.rest();
    world.apply(&whole).await;
    forget_progress(&mut world).await;
    loop {
        let mut next = world.rest();
        let Some(slice) = next.slices.first_mut() else { break };
        slice.records.truncate(1);
        slice.to = NextOffset(slice.from.0 + 1);
        next.slices.truncate(1);
        world.apply(&next).await;
    }
    assert_eq!(stored(&world).await, 18, "every fact is stored twice");
    world.agrees_with_the_fold().await;
    assert_eq!(world.number("SELECT count() FROM {db}.facts_once").await, 9);
    world.merge().await;
    assert_eq!(stored(&world).await, 9, "a merge leaves each fact once");
    world.agrees_with_the_fold().await;
}

#[tokio::test]
async fn a_fact_delivered_again_counts_at_its_first_arrival_before_and_after_a_merge() {
    let mut world = World::new().await;
    world.hold_merges().await;
    let ready = state(10, "agent.one", AgentState::Ready, None);
    let mut again = ready.clone();
    again.received_at = ReceivedAt::from_micros(ready.received_at.micros() + 5_000_000);
    again.source.request_id = "later".into();
    world.tell([ready]).await;
    // Of one second the last to arrive counts: the repeat of `ready` must not make it the last.
    world.tell([state(10, "agent.one", AgentState::Paused, None), again]).await;
    for _ in 0..2 {
        world.agrees_with_the_fold().await;
        assert_eq!(world.intervals("agent.one").await, [("paused".to_owned(), 10, None, None)]);
        let first = "SELECT countIf(request_id = '') FROM {db}.facts_once";
        assert_eq!(world.number(first).await, 2);
        world.merge().await;
    }
    assert_eq!(stored(&world).await, 2);
}

#[tokio::test]
async fn an_older_epoch_is_fenced_and_writes_nothing() {
    let mut world = World::new().await;
    for fact in story() {
        world.append(&fact);
    }
    let batch = world.rest();
    let mut newer = world.another_store().await;
    newer.acquire(topics::FACTS, &[0]).await.unwrap();
    let refused = world.store.apply(&batch).await;
    let in_zero = batch.slices.iter().any(|slice| slice.partition == 0);
    assert!(in_zero && matches!(refused, Err(StoreError::Fenced { partition: 0 })), "{refused:?}");
    assert_eq!(stored(&world).await, 0);
    // A zombie that came past the look all the same: its progress ranks below.
    world.run("INSERT INTO {db}.projection_progress (projection, topic, partition, epoch, next_offset) VALUES ('clickhouse', 'telephony.facts', 0, 1, 500)").await;
    let next = newer.acquire(topics::FACTS, &[0]).await.unwrap();
    assert_eq!(
        next,
        [Position { partition: 0, next_offset: NextOffset(0), epoch: Epoch(3), parked: Default::default() }]
    );
}

#[tokio::test]
async fn a_gap_between_progress_and_the_batch_is_refused() {
    let mut world = World::new().await;
    world.tell(story()).await;
    let reached = world.held.clone();
    for fact in story() {
        world.append(&fact);
    }
    let batch = world.rest();
    forget_progress(&mut world).await;
    world.held = reached;
    assert!(matches!(world.store.apply(&batch).await, Err(StoreError::Fenced { .. })));
}

#[tokio::test]
async fn a_value_that_cannot_be_read_is_poison_and_its_batch_leaves_no_trace() {
    let mut world = World::new().await;
    for fact in story() {
        world.append(&fact);
    }
    let batch = world.rest();
    for bad in [&b"not framed"[..], &[0, 0, 0, 0, 1, 7]] {
        let mut poisoned: Batch = batch.clone();
        let slice = poisoned.slices.last_mut().unwrap();
        let record = slice.records.last_mut().unwrap();
        *record = Record { value: bad.to_vec().into(), ..record.clone() };
        let (partition, offset) = (slice.partition, record.offset);
        match world.store.apply(&poisoned).await {
            Err(StoreError::Poison { partition: at, offset: found, .. }) => {
                assert_eq!((at, found), (partition, offset));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(stored(&world).await, 0);
    }
    world.apply(&batch).await;
    assert_eq!(stored(&world).await, 9);
}

#[tokio::test]
async fn a_refusal_is_unavailable_and_says_its_code_without_data() {
    let mut world = World::new().await;
    for fact in story() {
        world.append(&fact);
    }
    let batch = world.rest();
    world.run("DROP TABLE {db}.facts").await;
    let error = world.store.apply(&batch).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert!(error.to_string().contains("60 UNKNOWN_TABLE"), "{error}");
    let moved = "SELECT max(next_offset) FROM {db}.projection_progress";
    assert_eq!(world.number(moved).await, 0, "progress never goes ahead of the rows");
    world.run("DROP DATABASE {db}").await;
    let error = world.store.acquire(topics::FACTS, &[0]).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
}
