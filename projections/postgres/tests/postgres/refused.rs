//! Records that no build of ours writes: each is told as poison, by its place, and nothing waits for it but its key.

use helix_runtime::{Offset, StoreError};
use helix_schemas::{
    fact::{AgentState, Fact},
    time::{MOMENTS, OccurredAt},
};

use crate::story::{World, inbound, rang, state};

/// The record of a fact in which these bytes stand for others, as many.
fn with_bytes(world: &mut World, fact: &Fact, said: &str, text: &str) -> (i32, Offset) {
    assert_eq!(said.len(), text.len());
    let value = world.codec.encode(fact).unwrap();
    let place = value.windows(said.len()).position(|window| window == said.as_bytes()).unwrap();
    let mut changed = value;
    changed[place..place + said.len()].copy_from_slice(text.as_bytes());
    world.log.append_raw(fact.key().replace(said, text).as_bytes(), &changed)
}

async fn is_poison(world: &mut World, at: (i32, Offset), why: &str) {
    world.append([state(0, "agent.nine", AgentState::Ready, None)]);
    let told = world.apply(&world.rest()).await.unwrap_err();
    let StoreError::Poison { partition, offset, reason } = told else { panic!("{told:?}") };
    assert_eq!((partition, offset), at);
    assert!(reason.contains(why), "{reason}");
    let batch = world.rest_with_parked(at, "a test");
    world.apply(&batch).await.unwrap();
}

#[tokio::test]
async fn a_name_that_no_constructor_takes_is_poison_and_holds_nobody_up() {
    let mut world = World::new().await;
    let call = rang(0, "c_1", None, inbound());
    for text in ["c\u{1}1", "c1\0", "c1 "] {
        let at = with_bytes(&mut world, &call, "c_1", text);
        is_poison(&mut world, at, "call id has").await;
    }
    let at = with_bytes(&mut world, &state(0, "agent.one_", AgentState::Ready, None), "agent.one_", "agent.one ");
    is_poison(&mut world, at, "agent id has white space around it").await;
    let at = with_bytes(&mut world, &state(1, "agent.two", AgentState::Ready, None), "ramaiah", "Ramaiah");
    is_poison(&mut world, at, "workspace has a character that is not allowed").await;
}

#[tokio::test]
async fn a_moment_that_lies_in_no_year_of_facts_is_poison() {
    let mut world = World::new().await;
    for (number, millis) in
        [i64::MIN, -62_135_596_800_000, MOMENTS.start - 1, MOMENTS.end, i64::MAX].into_iter().enumerate()
    {
        let mut fact = state(0, &format!("agent.{number}"), AgentState::Ready, None);
        fact.occurred_at = OccurredAt::from_millis(millis);
        let at = world.log.append(&fact);
        is_poison(&mut world, at, "a moment outside of the years").await;
    }
}
