//! What is set aside: stored with progress, seen again, and applied after all.

use std::collections::BTreeMap;

use bytes::Bytes;
use helix_clickhouse::{Unpark, UnparkError, parked};
use helix_runtime::{Batch, Cause, Epoch, Offset, Parked, ParkedEntry, Record, Store as _, StoreError};
use helix_schemas::{
    fact::{AgentState, Fact},
    registry::Registry,
    topics,
};

use crate::story::{World, state};

/// Three facts of one agent and one of another.
fn story() -> [Fact; 4] {
    [
        state(0, "agent.one", AgentState::Ready, None),
        state(5, "agent.two", AgentState::Ready, None),
        state(10, "agent.one", AgentState::Paused, Some("tea")),
        state(20, "agent.one", AgentState::Ready, None),
    ]
}

/// What is not applied yet, with `agent.one` parked from its second fact on.
fn parking(world: &World) -> Batch {
    let mut batch = world.rest();
    for slice in &mut batch.slices {
        let first = slice.records.iter().filter(|record| record.key == key()).nth(1).map(|record| record.offset);
        let Some(first) = first else { continue };
        for record in slice.records.extract_if(.., |record| record.key == key() && record.offset >= first) {
            let poison = record.offset == first;
            let cause = if poison { Cause::Poison("injected".to_owned()) } else { Cause::Behind(first) };
            slice.parked.push(Parked { offset: record.offset, key: record.key, cause });
        }
    }
    assert_eq!((batch.len(), batch.parked()), (2, 2));
    batch
}

fn key() -> Bytes {
    Bytes::from(story()[0].key())
}

/// A world in which `agent.one` is parked, what was parked of it, and its batch.
async fn parked_world() -> (World, Vec<Record>, Batch) {
    let mut world = World::new().await;
    for fact in story() {
        world.append(&fact);
    }
    let whole = world.rest();
    let batch = parking(&world);
    let is_parked = |record: &Record| {
        batch
            .slices
            .iter()
            .flat_map(|slice| &slice.parked)
            .any(|parked| parked.key == record.key && parked.offset == record.offset)
    };
    let records =
        whole.slices.iter().flat_map(|slice| &slice.records).filter(|record| is_parked(record)).cloned().collect();
    world.apply(&batch).await;
    (world, records, batch)
}

fn registry() -> Registry {
    Registry::new("http://127.0.0.1:1")
}

fn unpark<'a>(entries: &'a [ParkedEntry], key: &'a [u8], records: Vec<Record>) -> Unpark<'a> {
    Unpark { topic: topics::FACTS, partition: entries[0].partition, key, records }
}

#[tokio::test]
async fn what_a_batch_parks_is_stored_once_and_told_at_the_next_acquisition() {
    let (mut world, records, batch) = parked_world().await;
    // As where the answer was lost: the same batch again.
    world.store.apply(&batch).await.unwrap();
    let entries = parked(&world.options).await.unwrap();
    assert_eq!(entries.len(), 2);
    let causes: Vec<&Cause> = entries.iter().map(|entry| &entry.parked.cause).collect();
    assert_eq!(causes, [&Cause::Poison("injected".to_owned()), &Cause::Behind(records[0].offset)]);
    for (entry, record) in entries.iter().zip(&records) {
        assert_eq!((&entry.parked.key, entry.parked.offset), (&record.key, record.offset));
        assert_eq!((entry.projection.as_str(), entry.topic.as_str()), ("clickhouse", topics::FACTS));
        assert!(entry.parked_at > 0);
    }
    world.acquire().await;
    let held = &world.held[&entries[0].partition];
    assert_eq!(held.parked, BTreeMap::from([(key(), records[0].offset)]));
    assert_eq!(world.held.values().map(|at| at.parked.len()).sum::<usize>(), 1);
    let of_workspace = "SELECT countIf(workspace_id = 'ramaiah') FROM {db}.parked_facts FINAL";
    assert_eq!(world.number(of_workspace).await, 2);
}

#[tokio::test]
async fn a_batch_that_is_all_parked_moves_progress() {
    let mut world = World::new().await;
    for fact in story() {
        world.append(&fact);
    }
    let mut batch = world.rest();
    for slice in &mut batch.slices {
        for record in slice.records.drain(..) {
            let cause = Cause::Poison("injected".to_owned());
            slice.parked.push(Parked { offset: record.offset, key: record.key, cause });
        }
    }
    world.apply(&batch).await;
    let reached = world.held.clone();
    world.acquire().await;
    for (partition, at) in reached {
        assert_eq!(world.held[&partition].next_offset, at.next_offset);
    }
    assert_eq!(world.number("SELECT count() FROM {db}.facts").await, 0);
    assert_eq!(parked(&world.options).await.unwrap().len(), 4);
}

#[tokio::test]
async fn an_entry_ahead_of_progress_is_no_entry_until_its_record_comes_again() {
    let mut world = World::new().await;
    for fact in story() {
        world.append(&fact);
    }
    let batch = parking(&world);
    let slice = batch.slices.iter().find(|slice| !slice.parked.is_empty()).unwrap();
    // A crash between the entry and its progress.
    let (partition, offset) = (slice.partition, slice.parked[0].offset.0);
    world
        .run(&format!(
            "INSERT INTO {{db}}.parked_facts (projection, topic, partition, offset, key, workspace_id, cause, behind, epoch, removed, parked_at)
             VALUES ('clickhouse', 'telephony.facts', {partition}, {offset}, 'ramaiah/agent.one', 'ramaiah', 'x', NULL, 1, false, 0)"
        ))
        .await;
    assert_eq!(parked(&world.options).await.unwrap().len(), 1);
    world.acquire().await;
    assert!(world.held[&partition].parked.is_empty());
    assert_eq!(parked(&world.options).await.unwrap(), []);
    // Under the later epoch it is parked anew.
    let batch = parking(&world);
    world.apply(&batch).await;
    assert_eq!(parked(&world.options).await.unwrap().len(), 2);
}

#[tokio::test]
async fn unparking_stores_the_facts_and_fences_whoever_has_the_key_among_its_parked() {
    let (mut world, records, _) = parked_world().await;
    let (registry, key) = (registry(), key());
    let entries = parked(&world.options).await.unwrap();
    let unpark = unpark(&entries, &key, records.clone());
    let told = unpark.dry_run(&world.options, &registry, &world.codec).await.unwrap();
    let offsets: Vec<Offset> = told.facts.iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, [records[0].offset, records[1].offset]);
    assert_eq!(told.facts[0].1, story_again(&world, records[0].offset));
    assert_eq!(parked(&world.options).await.unwrap(), entries, "a dry run changes nothing");
    assert_eq!(world.number("SELECT count() FROM {db}.facts").await, 2);

    let done = unpark.run(&world.options, &registry, &world.codec).await.unwrap();
    assert_eq!((done.facts, done.left), (told.facts, 0));
    assert_eq!(parked(&world.options).await.unwrap(), []);
    assert_eq!(world.number("SELECT count() FROM {db}.facts_once").await, 4);
    world.append(&state(30, "agent.one", AgentState::Paused, None));
    let refused = world.store.apply(&world.rest()).await;
    assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{refused:?}");
    let before = world.held[&entries[0].partition].epoch;
    world.acquire().await;
    let held = &world.held[&entries[0].partition];
    assert_eq!((held.parked.len(), held.epoch), (0, Epoch(before.0 + 2)));
    let rest = world.rest();
    world.apply(&rest).await;
    let again = unpark.run(&world.options, &registry, &world.codec).await;
    assert!(matches!(again, Err(UnparkError::NotParked)), "{again:?}");
    world.agrees_with_the_fold().await;
}

fn story_again(world: &World, offset: Offset) -> Fact {
    let agent = story()[0].agent.clone();
    world
        .log
        .iter()
        .find(|(_, at, fact)| *at == offset.0 && fact.agent == agent)
        .map(|(_, _, fact)| fact.clone())
        .unwrap()
}

#[tokio::test]
async fn unparking_that_cannot_be_done_in_order_and_whole_changes_nothing() {
    let (world, records, _) = parked_world().await;
    let (registry, key) = (registry(), key());
    let entries = parked(&world.options).await.unwrap();
    let missing = unpark(&entries, &key, records[1..].to_vec());
    let refused = missing.run(&world.options, &registry, &world.codec).await;
    assert!(matches!(refused, Err(UnparkError::Differs { offset }) if offset == records[0].offset), "{refused:?}");
    let mut unreadable = records.clone();
    unreadable[1].value = Bytes::from_static(b"not framed");
    for outcome in [
        unpark(&entries, &key, unreadable.clone()).dry_run(&world.options, &registry, &world.codec).await,
        unpark(&entries, &key, unreadable).run(&world.options, &registry, &world.codec).await,
    ] {
        assert!(
            matches!(&outcome, Err(UnparkError::Store(StoreError::Poison { offset, .. })) if *offset == records[1].offset),
            "{outcome:?}"
        );
    }
    assert_eq!(parked(&world.options).await.unwrap(), entries);
    assert_eq!(world.number("SELECT count() FROM {db}.facts").await, 2);
}

#[tokio::test]
async fn a_row_that_is_refused_for_what_it_holds_is_refused_and_not_tried_for_ever() {
    let mut world = World::new().await;
    for fact in story() {
        world.append(&fact);
    }
    world.run("ALTER TABLE {db}.facts ADD CONSTRAINT no_two CHECK agent_id != 'agent.two'").await;
    let batch = world.rest();
    let refused = world.store.apply(&batch).await;
    assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
    assert_eq!(world.number("SELECT count() FROM {db}.facts").await, 0);
}
