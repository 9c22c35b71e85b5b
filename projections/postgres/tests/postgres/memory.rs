//! What a store remembers of agents between batches: never more than it wrote itself, and never less than is needed.

use helix_runtime::{Batch, Slice, Store as _, StoreError};
use helix_schemas::fact::{AgentState, CallParty};

use crate::story::{Log, PARTITIONS, TOPIC, World, answered, inbound, rang, state};

const AGENT: &str = "agent.one";

/// An agent's calls from a second on, one after the other, each in a batch of its own.
async fn work(world: &mut World, from: i64, calls: i64) {
    for number in 0..calls {
        let (call, second) = (format!("c{from}-{number}"), from + number * 100);
        world
            .tell([
                state(second, AGENT, AgentState::Ringing, None),
                rang(second, &call, Some(AGENT), inbound()),
                state(second + 10, AGENT, AgentState::OnCall, None),
                answered(second + 10, &call, Some(AGENT), inbound()),
            ])
            .await;
        world
            .tell([
                state(second + 50, AGENT, AgentState::WrapUp, None),
                state(second + 60, AGENT, AgentState::Ready, None),
            ])
            .await;
    }
}

#[tokio::test]
async fn a_fact_that_is_older_than_what_is_remembered_corrects_the_tables() {
    let mut world = World::new().await;
    work(&mut world, 1_000, 8).await;
    world.agrees_with_the_fold().await;
    // Within what is remembered, before it, and before everything.
    for second in [1_755, 1_205, 900, 1_705] {
        world.tell([state(second, AGENT, AgentState::Paused, Some("late"))]).await;
        world.agrees_with_the_fold().await;
    }
    work(&mut world, 3_000, 1).await;
    world.agrees_with_the_fold().await;
}

#[tokio::test]
async fn what_another_instance_wrote_meanwhile_is_read_again() {
    let mut world = World::new().await;
    work(&mut world, 1_000, 2).await;
    // The same agent in a partition that is not its own, as after partitions were added.
    let own = Log::partition_of(state(0, AGENT, AgentState::Ready, None).key().as_bytes());
    let other = (own + 1) % PARTITIONS;
    let elsewhere = (0..).map(|number| format!("ramaiah/call:{number}"));
    let key = elsewhere.into_iter().find(|key| Log::partition_of(key.as_bytes()) == other).unwrap();
    let fact = state(1_170, AGENT, AgentState::Paused, Some("elsewhere"));
    let value = world.codec.encode(&fact).unwrap();
    world.log.append_raw(key.as_bytes(), &value);
    let mut store = world.another_store();
    let at = store.acquire(TOPIC, &[other]).await.unwrap().remove(0);
    let (from, to) = (at.next_offset, world.log.end(other));
    let records = world.log.between(other, from, to);
    let slice = Slice { partition: other, epoch: at.epoch, from, to, records, parked: Vec::new() };
    store.apply(&Batch { topic: TOPIC.to_owned(), slices: vec![slice] }).await.unwrap();
    // The first instance goes on with the partition that it still has.
    let fact = state(1_180, AGENT, AgentState::Ready, None);
    let (partition, offset) = world.log.append(&fact);
    let slice = world.slice(partition, offset.next());
    world.apply(&Batch { topic: TOPIC.to_owned(), slices: vec![slice] }).await.unwrap();
    world.agrees_with_the_fold().await;
}

#[tokio::test]
async fn what_a_refused_batch_would_have_written_is_not_remembered() {
    let mut world = World::new().await;
    work(&mut world, 1_000, 2).await;
    let (partition, offset) = world.log.append(&state(1_300, AGENT, AgentState::Paused, Some("lunch")));
    let party = CallParty { caller: Some("91900\u{0}".to_owned()), ..inbound() };
    world.append([rang(1_310, "refused", None, party)]);
    let refused = world.store.apply(&world.rest()).await;
    assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
    let slice = world.slice(partition, offset.next());
    world.apply(&Batch { topic: TOPIC.to_owned(), slices: vec![slice] }).await.unwrap();
    world.agrees_with_the_fold().await;
}
