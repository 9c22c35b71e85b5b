//! Missed calls as obligations.

use std::collections::{BTreeMap, BTreeSet};

use helix_fold::settings::{Priority, Rules, Settings};
use helix_schemas::{
    decision::Decision,
    fact::{CallParty, Fact},
};
use serde_json::{Value, json};

use crate::story::{World, answered, clock, ended, inbound, outbound, rang, summary, wished, workspace};

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
        "closed_reason": null, "claimed_by": null, "claimed_at": null,
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

#[tokio::test]
async fn the_last_attempt_that_fails_closes_and_each_makes_it_less_urgent() {
    let mut world = World::new().await;
    world.tell(missed(0, "m", inbound())).await;
    for (nth, status) in [(1, "open"), (2, "open"), (3, "closed")] {
        let call = format!("o{nth}");
        world.tell([rang(nth * 100, &call, None, outbound()), ended(nth * 100 + 20, &call, None, outbound())]).await;
        let row = obligation(&world, "m").await;
        assert_eq!((&row["status"], &row["attempts"]), (&json!(status), &json!(nth)));
        assert_eq!(row["priority"], json!(100 - 10 * nth));
    }
    let row = obligation(&world, "m").await;
    assert_eq!((&row["closed_reason"], &row["closed_by"]), (&json!("attempts_exhausted"), &json!("o3")));
    assert_eq!(row["closed_at"], clock(320));
}

#[tokio::test]
async fn a_person_claims_releases_and_waives_and_repeats_change_nothing() {
    let mut world = World::new().await;
    world.tell(missed(0, "m", inbound())).await;
    let claim = wished(40, "m", Decision::MissedCallClaimed, "asha");
    world.tell([claim.clone(), wished(45, "m", Decision::MissedCallClaimed, "ravi"), claim]).await;
    let row = obligation(&world, "m").await;
    assert_eq!((&row["claimed_by"], &row["claimed_at"]), (&json!("asha"), &clock(40)));
    world.tell([wished(50, "m", Decision::MissedCallReleased, "asha")]).await;
    assert_eq!(obligation(&world, "m").await["claimed_by"], Value::Null);
    world.tell([wished(55, "m", Decision::MissedCallClaimed, "ravi")]).await;
    assert_eq!(obligation(&world, "m").await["claimed_by"], json!("ravi"));
    world.tell([wished(60, "m", Decision::MissedCallWaived, "ravi")]).await;
    let row = obligation(&world, "m").await;
    assert_eq!((&row["closed_reason"], &row["closed_by"]), (&json!("waived"), &json!("ravi")));
    assert_eq!(row["claimed_by"], Value::Null);
}

#[tokio::test]
async fn the_rules_are_each_workspaces_own() {
    let rules = Rules {
        due_after_seconds: 60,
        attempts: 1,
        priority: Priority {
            missed: 7,
            repeat: 3,
            repeat_most: 4,
            repeat_window_seconds: 50,
            per_attempt: -2,
            ..Priority::default()
        },
        spam_dispositions: BTreeSet::from(["Spam".to_owned()]),
    };
    let settings = BTreeMap::from([(workspace("ramaiah"), Settings { rules, ..Settings::default() })]);
    let mut world = World::with_settings(settings).await;
    let spam = summary(5, "spam", |said| {
        said.party = inbound();
        said.answered = Some(true);
        said.disposition = Some("Spam".into());
    });
    world.tell([spam]).await;
    for (nth, start) in [0, 40, 60, 75].into_iter().enumerate() {
        world.tell(missed(start, &format!("m{nth}"), inbound())).await;
    }
    world.tell([rang(200, "o", None, outbound()), ended(210, "o", None, outbound())]).await;
    // Missed at 30, 70, 90 and 105; an attempt each; spam.
    for (call, priority) in [("m0", 7 - 82), ("m1", 10 - 82), ("m2", 10 - 82), ("m3", 11 - 82)] {
        let row = obligation(&world, call).await;
        assert_eq!(
            (&row["priority"], &row["closed_reason"]),
            (&json!(priority), &json!("attempts_exhausted")),
            "{call}"
        );
    }
    assert_eq!(obligation(&world, "m0").await["due_at"], clock(90));
}

fn from(number: &str, party: CallParty) -> CallParty {
    CallParty { caller: Some(number.into()), ..party }
}

#[tokio::test]
async fn one_callers_calls_are_linked_however_the_number_is_written() {
    let mut world = World::new().await;
    world.tell(missed(0, "m", from("9876543210", inbound()))).await;
    world.tell(missed(40, "n", from("+91 98765 43210", inbound()))).await;
    assert_eq!(obligation(&world, "n").await["priority"], json!(110), "a repeat of the first");
    // Numbers that are withheld are nobody's in particular, and so is a call whose own id is a number.
    world.tell(missed(50, "x", from("Anonymous", inbound()))).await;
    world.tell([rang(80, "y", None, from("Anonymous", inbound())), answered(85, "y", None, inbound())]).await;
    world.tell(missed(50, "919876543210", from("-", inbound()))).await;
    let back = || from("09876543210", outbound());
    world.tell([rang(100, "back", None, back()), answered(110, "back", None, back())]).await;
    for (call, sent) in [("m", "9876543210"), ("n", "+91 98765 43210")] {
        let row = obligation(&world, call).await;
        assert_eq!((&row["closed_by"], &row["caller"]), (&json!("back"), &json!(sent)), "{call}");
    }
    for call in ["x", "919876543210"] {
        assert_eq!(obligation(&world, call).await["status"], "open", "{call}");
    }
}

#[tokio::test]
async fn the_country_before_a_number_is_each_workspaces_own() {
    let abroad = Settings { country_code: "1".into(), ..Settings::default() };
    let mut world = World::with_settings(BTreeMap::from([(workspace("ramaiah"), abroad)])).await;
    world.tell(missed(0, "m", from("(415) 555-0100", inbound()))).await;
    let back = || from("0014155550100", outbound());
    world.tell([rang(100, "back", None, back()), answered(110, "back", None, back())]).await;
    assert_eq!(obligation(&world, "m").await["closed_by"], "back");
}

#[tokio::test]
async fn a_waive_that_came_before_the_end_closes_at_the_end() {
    let mut world = World::new().await;
    world.tell(missed(0, "m", inbound())).await;
    world.tell([wished(50, "m", Decision::MissedCallWaived, "asha"), ended(90, "m", None, inbound())]).await;
    let row = obligation(&world, "m").await;
    assert_eq!((&row["missed_at"], &row["closed_at"]), (&clock(90), &clock(90)));
}
