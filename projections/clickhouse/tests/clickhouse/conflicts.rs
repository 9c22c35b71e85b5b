//! Two bodies under one id.

use helix_schemas::{
    fact::{Body, OccurredAtFrom},
    time::{OccurredAt, ReceivedAt},
};
use serde_json::json;

use crate::story::{World, at, summary};

#[tokio::test]
async fn the_first_body_counts_and_the_second_stays_visible_also_after_a_merge() {
    let mut world = World::new().await;
    let first = summary(60, "c", |said| said.disposition = Some("Booked".into()));
    let mut second = first.clone();
    second.received_at = ReceivedAt::from_micros(first.received_at.micros() + 1);
    if let Body::CallSummarised(said) = &mut second.body {
        said.disposition = Some("Cancelled".into());
    }
    world.tell([first.clone(), second]).await;
    for _ in 0..2 {
        let calls = world.rows("SELECT disposition FROM {db}.calls").await;
        assert_eq!(calls, [json!({"disposition": "Booked"})]);
        let conflicts =
            world.rows("SELECT fact_id, kind, bodies, arrivals.log_offset AS offsets FROM {db}.fact_conflicts").await;
        assert_eq!(
            conflicts,
            [json!({"fact_id": first.id.to_string(), "kind": "CallSummarised", "bodies": 2, "offsets": [0, 1]})]
        );
        assert_eq!(world.number("SELECT count() FROM {db}.facts_once").await, 1);
        world.merge().await;
    }
}

#[tokio::test]
async fn a_repeat_with_another_send_time_is_no_conflict() {
    let mut world = World::new().await;
    let mut first = summary(60, "c", |said| said.disposition = Some("Booked".into()));
    first.occurred_at_from = OccurredAtFrom::Envelope;
    let mut repeat = first.clone();
    repeat.occurred_at = OccurredAt::from_millis(at(75).millis());
    repeat.received_at = ReceivedAt::from_micros(at(76).millis() * 1000);
    repeat.raw = b"{\"sent\":75}".to_vec();
    world.hold_merges().await;
    world.tell([first]).await;
    world.tell([repeat]).await;
    assert_eq!(world.number("SELECT count() FROM {db}.fact_conflicts").await, 0);
    let first_only = "SELECT countIf(ended_at = fromUnixTimestamp64Milli(1760000060000, 'UTC')) FROM {db}.calls";
    assert_eq!(world.number(first_only).await, 1);
    world.merge().await;
    assert_eq!(world.number("SELECT count() FROM {db}.facts").await, 1);
    assert_eq!(world.number(first_only).await, 1);
}
