//! Missed calls as obligations.

use helix_schemas::fact::{CallParty, Fact};
use serde_json::{Value, json};

use crate::story::{World, answered, clock, ended, inbound, outbound, rang};

fn missed(start: i64, call: &str, party: CallParty) -> [Fact; 2] {
    [rang(start, call, None, party.clone()), ended(start + 30, call, None, party)]
}

async fn obligation(world: &World, call: &str) -> Value {
    world.agrees_with_the_fold().await;
    let rows = world.rows(&format!("SELECT * FROM {{db}}.missed_calls WHERE call_id = '{call}'")).await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.into_iter().next().unwrap()
}

#[tokio::test]
async fn a_missed_call_is_open_and_due_ten_minutes_later() {
    let mut world = World::new().await;
    world.tell(missed(0, "m", CallParty { did: Some("918040000001".into()), ..inbound() })).await;
    let expected = json!({
        "workspace_id": "ramaiah", "call_id": "m", "caller": "919000000001", "did": "918040000001", "missed_at": clock(30),
        "status": "open", "attempts": 0, "priority": 100, "due_at": clock(630), "closed_at": null, "closed_by": null,
        "closed_reason": null,
    });
    assert_eq!(obligation(&world, "m").await, expected);
}

#[tokio::test]
async fn it_is_closed_by_the_earliest_answer_and_counts_the_attempts_until_then() {
    let mut world = World::new().await;
    world.tell(missed(0, "m", inbound())).await;
    world.tell([rang(10, "before", None, outbound())]).await;
    world.tell([rang(30, "first", None, outbound()), ended(50, "first", None, outbound())]).await;
    world.tell([rang(60, "slow", None, outbound()), answered(100, "slow", None, outbound())]).await;
    world.tell([rang(70, "quick", None, inbound()), answered(90, "quick", None, inbound())]).await;
    world.tell([rang(95, "after", None, outbound())]).await;
    let row = obligation(&world, "m").await;
    assert_eq!(
        (&row["status"], &row["closed_by"], &row["closed_reason"]),
        (&json!("closed"), &json!("quick"), &json!("rang_again"))
    );
    assert_eq!((&row["closed_at"], &row["attempts"]), (&clock(90), &json!(2)));
}

#[tokio::test]
async fn an_answered_call_back_reaches_the_caller_and_is_itself_an_attempt() {
    let mut world = World::new().await;
    world.tell(missed(0, "m", inbound())).await;
    let other = CallParty { caller: Some("919000000009".into()), ..outbound() };
    world.tell([rang(40, "other", None, other.clone()), answered(45, "other", None, other)]).await;
    world.tell([rang(60, "back", None, outbound()), answered(70, "back", None, outbound())]).await;
    let row = obligation(&world, "m").await;
    assert_eq!(
        (&row["closed_reason"], &row["closed_by"], &row["attempts"]),
        (&json!("reached"), &json!("back"), &json!(1))
    );
}

#[tokio::test]
async fn priority_grows_with_the_callers_other_missed_calls_of_a_day() {
    const DAY: i64 = 86_400;
    let mut world = World::new().await;
    world.tell(missed(0, "yesterday", inbound())).await;
    world.tell(missed(DAY, "at-the-edge", inbound())).await;
    world.tell(missed(DAY + 1, "beyond", inbound())).await;
    for nth in 0..7 {
        world.tell(missed(DAY + 1000 + nth * 100, &format!("m{nth}"), inbound())).await;
    }
    world.tell([rang(DAY + 5000, "short", None, inbound()), ended(DAY + 5005, "short", None, inbound())]).await;
    for (call, priority) in
        [("yesterday", 100), ("at-the-edge", 110), ("beyond", 110), ("m0", 120), ("m6", 150), ("short", 100)]
    {
        assert_eq!(obligation(&world, call).await["priority"], json!(priority), "{call}");
    }
}

#[tokio::test]
async fn a_call_without_a_caller_is_linked_to_nothing() {
    let mut world = World::new().await;
    let nobody = || CallParty { caller: None, ..inbound() };
    let to_nobody = || CallParty { caller: None, ..outbound() };
    world.tell(missed(0, "m", nobody())).await;
    world.tell(missed(40, "n", nobody())).await;
    world.tell([rang(100, "back", None, to_nobody()), answered(110, "back", None, to_nobody())]).await;
    let row = obligation(&world, "n").await;
    assert_eq!((&row["status"], &row["attempts"], &row["priority"]), (&json!("open"), &json!(0), &json!(100)));
}

#[tokio::test]
async fn an_obligation_disappears_when_the_call_turns_out_answered() {
    let mut world = World::new().await;
    world.tell(missed(0, "m", inbound())).await;
    obligation(&world, "m").await;
    world.tell([answered(12, "m", Some("agent.one"), inbound())]).await;
    world.agrees_with_the_fold().await;
    assert_eq!(world.number("SELECT count() FROM {db}.missed_calls").await, 0);
}
