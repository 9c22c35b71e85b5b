//! Every row of the table "Calls" in `docs/rules.md`.

use std::collections::BTreeMap;

use helix_fold::settings::Settings;
use helix_schemas::{
    fact::{AgentState, Body, CallEnded, CallParty, Fact},
    time::{OccurredAt, ReceivedAt},
};
use serde_json::{Value, json};

use crate::story::{
    EPOCH_MILLIS, World, answered, at, clock, ended, fact, inbound, link, numbered, outbound, presumed_ended, rang,
    state, summary, workspace,
};

/// The call `c` that these facts mean.
async fn call(facts: impl IntoIterator<Item = Fact>) -> Value {
    let mut world = World::new().await;
    world.tell(facts).await;
    world.call("c").await
}

fn received(mut fact: Fact, seconds: i64) -> Fact {
    fact.received_at = ReceivedAt::from_micros(at(seconds).millis() * 1000);
    fact
}

fn milliseconds_later(mut fact: Fact, millis: i64) -> Fact {
    fact.occurred_at = OccurredAt::from_millis(fact.occurred_at.millis() + millis);
    fact
}

#[tokio::test]
async fn an_answered_call_reads_ringing_answer_and_end() {
    let row = call([
        rang(0, "c", Some("agent.one"), inbound()),
        answered(7, "c", Some("agent.one"), inbound()),
        ended(67, "c", Some("agent.one"), inbound()),
    ])
    .await;
    let expected = json!({
        "workspace_id": "ramaiah", "call_id": "c", "direction": "inbound", "outcome": "answered",
        "caller": "919000000001", "did": null, "campaign": null, "skill": null, "agent_id": "agent.one",
        "agent_ids": ["agent.one"], "started_at": clock(0), "answered_at": clock(7), "ended_at": clock(67),
        "wait_seconds": 7, "talk_seconds": 60, "hold_seconds": null, "wrap_up_seconds": null, "disposition": null,
        "hangup_by": null, "recording_url": null, "presumed": false,
        "conflicts": [], "call_seconds_sent": null, "talk_seconds_sent": null,
    });
    assert_eq!(row, expected);
}

#[tokio::test]
async fn the_order_of_arrival_and_the_cut_do_not_matter() {
    let story = || {
        vec![
            rang(0, "c", Some("agent.one"), inbound()),
            rang(3, "c", Some("agent.two"), CallParty { skill: Some("front desk".into()), ..inbound() }),
            answered(7, "c", Some("agent.two"), inbound()),
            ended(60, "c", Some("agent.two"), inbound()),
            ended(67, "c", Some("agent.one"), inbound()),
            received(summary(68, "c", |said| said.disposition = Some("Booked".into())), 70),
        ]
    };
    let forward = call(story()).await;
    let backward = call(story().into_iter().rev()).await;
    assert_eq!(forward, backward);
    let mut world = World::new().await;
    for fact in story().into_iter().rev() {
        world.tell([fact.clone(), fact]).await;
    }
    assert_eq!(world.call("c").await, forward);
}

#[tokio::test]
async fn direction_is_the_summarys_else_that_of_the_latest_event_that_has_one() {
    let silent = || CallParty { direction: None, ..inbound() };
    let events =
        || vec![rang(0, "c", None, inbound()), answered(5, "c", None, outbound()), ended(9, "c", None, silent())];
    assert_eq!(call(events()).await["direction"], "outbound");
    let said = summary(10, "c", |said| said.party.direction = inbound().direction);
    assert_eq!(call(events().into_iter().chain([said])).await["direction"], "inbound");
    assert_eq!(call([rang(0, "c", None, silent())]).await["direction"], Value::Null);
}

#[tokio::test]
async fn started_at_is_the_summarys_else_first_ringing_else_first_event_else_the_summary_itself() {
    let says_start = || summary(90, "c", |said| said.started_at = Some(at(-3)));
    let events =
        || vec![answered(2, "c", None, inbound()), rang(5, "c", None, inbound()), rang(4, "c", None, inbound())];
    assert_eq!(call(events().into_iter().chain([says_start()])).await["started_at"], clock(-3));
    assert_eq!(call(events()).await["started_at"], clock(4));
    let without_ringing = [ended(3, "c", None, inbound()), answered(6, "c", None, inbound())];
    assert_eq!(call(without_ringing).await["started_at"], clock(3));
    assert_eq!(call([summary(90, "c", |_| {})]).await["started_at"], clock(90));
}

#[tokio::test]
async fn answered_at_follows_what_the_summary_says_of_it() {
    let events =
        || vec![rang(0, "c", None, inbound()), answered(8, "c", None, inbound()), answered(6, "c", None, inbound())];
    let with = |answered: Option<bool>, answered_at: Option<i64>| {
        summary(90, "c", move |said| {
            said.answered = answered;
            said.answered_at = answered_at.map(at);
        })
    };
    let events_and = async |summary| call(events().into_iter().chain([summary])).await["answered_at"].clone();
    assert_eq!(events_and(with(Some(true), Some(4))).await, clock(4));
    assert_eq!(events_and(with(Some(true), None)).await, clock(6));
    assert_eq!(events_and(with(Some(false), Some(4))).await, Value::Null, "a summary that says NotAnswered overrules");
    assert_eq!(events_and(with(None, Some(4))).await, clock(6));
    let alone = call([rang(1, "c", None, inbound()), with(Some(true), None)]).await;
    assert_eq!(alone["answered_at"], clock(1));
}

#[tokio::test]
async fn ended_at_is_the_summarys_else_the_last_end_else_the_latest_summary_itself() {
    let events =
        || vec![rang(0, "c", None, inbound()), ended(9, "c", None, inbound()), ended(30, "c", None, inbound())];
    let says_end = summary(90, "c", |said| said.ended_at = Some(at(20)));
    assert_eq!(call(events().into_iter().chain([says_end])).await["ended_at"], clock(20));
    assert_eq!(call(events().into_iter().chain([summary(90, "c", |_| {})])).await["ended_at"], clock(30));
    let summaries = [
        rang(0, "c", None, inbound()),
        received(summary(80, "c", |_| {}), 100),
        received(summary(90, "c", |_| {}), 95),
    ];
    assert_eq!(call(summaries).await["ended_at"], clock(80), "latest by received_at, not by occurred_at");
    let open = call([rang(0, "c", None, inbound()), answered(4, "c", None, inbound())]).await;
    assert_eq!(
        (&open["ended_at"], &open["outcome"], &open["wait_seconds"]),
        (&Value::Null, &json!("in_progress"), &json!(4))
    );
    assert_eq!(call([rang(0, "c", None, inbound())]).await["wait_seconds"], Value::Null);
}

#[tokio::test]
async fn an_end_holds_only_where_nothing_of_the_call_is_heard_later() {
    let mut world = World::new().await;
    let one = || Some("agent.one");
    let two = || Some("agent.two");
    world.tell([rang(0, "c", one(), inbound()), ended(15, "c", one(), inbound())]).await;
    assert_eq!(world.call("c").await["outcome"], "missed");
    world.tell([rang(16, "c", two(), inbound())]).await;
    let row = world.call("c").await;
    assert_eq!((&row["outcome"], &row["ended_at"]), (&json!("in_progress"), &Value::Null));
    assert_eq!(world.number("SELECT count() FROM {db}.missed_calls").await, 0);
    world.tell([answered(20, "c", two(), inbound())]).await;
    let row = world.call("c").await;
    assert_eq!((&row["outcome"], &row["talk_seconds"]), (&json!("in_progress"), &Value::Null));
    world.tell([presumed_ended(600, "c", two())]).await;
    assert_eq!(world.call("c").await["presumed"], true);
    world.tell([ended(60, "c", two(), inbound())]).await;
    let row = world.call("c").await;
    assert_eq!((&row["outcome"], &row["ended_at"], &row["presumed"]), (&json!("answered"), &clock(60), &json!(false)));
    let at_once = [rang(0, "c", one(), inbound()), ended(15, "c", one(), inbound()), rang(15, "c", two(), inbound())];
    assert_eq!(call(at_once).await["ended_at"], clock(15), "of one second the end counts");
}

#[tokio::test]
async fn outcomes_are_told_by_direction_answer_and_the_short_abandon_bound() {
    let unanswered =
        |party: fn() -> CallParty, seconds: i64| [rang(0, "c", None, party()), ended(seconds, "c", None, party())];
    let silent = || CallParty { direction: None, ..inbound() };
    assert_eq!(call(unanswered(inbound, 10)).await["outcome"], "short_abandon");
    assert_eq!(call(unanswered(inbound, 11)).await["outcome"], "missed");
    assert_eq!(call(unanswered(silent, 11)).await["outcome"], "missed");
    assert_eq!(call(unanswered(outbound, 5)).await["outcome"], "no_answer");
    let [rings, end] = unanswered(inbound, 10);
    assert_eq!(call([rings, milliseconds_later(end, 999)]).await["outcome"], "short_abandon", "milliseconds are cut");
    let reached = [rang(0, "c", None, outbound()), answered(5, "c", None, outbound()), ended(6, "c", None, outbound())];
    assert_eq!(call(reached).await["outcome"], "answered");
}

#[tokio::test]
async fn a_bare_disconnect_is_missed_and_never_a_short_abandon() {
    let row = call([ended(5, "c", None, inbound())]).await;
    assert_eq!((&row["outcome"], &row["wait_seconds"]), (&json!("missed"), &json!(0)));
    // Its summary says when it began: then ringing is known.
    let row = call([ended(5, "c", None, inbound()), summary(9, "c", |said| said.started_at = Some(at(0)))]).await;
    assert_eq!(row["outcome"], "short_abandon");
}

#[tokio::test]
async fn the_short_abandon_bound_is_each_workspaces_own() {
    let of = |seconds| Settings { short_abandon_seconds: seconds, ..Settings::default() };
    let settings = BTreeMap::from([(workspace("ramaiah"), of(30)), (workspace("global"), of(0))]);
    let mut world = World::with_settings(settings).await;
    for name in ["ramaiah", "global", "elsewhere"] {
        let mut facts = [rang(0, "c", None, inbound()), ended(10, "c", None, inbound())];
        for fact in &mut facts {
            fact.workspace = workspace(name);
        }
        world.tell(facts).await;
    }
    world.agrees_with_the_fold().await;
    let outcomes = world.rows("SELECT workspace_id, outcome FROM {db}.calls ORDER BY workspace_id").await;
    assert_eq!(
        outcomes,
        [
            json!({"workspace_id": "elsewhere", "outcome": "short_abandon"}),
            json!({"workspace_id": "global", "outcome": "missed"}),
            json!({"workspace_id": "ramaiah", "outcome": "short_abandon"}),
        ]
    );
    // A bound that changes is written at the next start.
    world.settings.insert(workspace("ramaiah"), of(9));
    let _ = world.another_store().await;
    let _ = world.another_store().await;
    world.agrees_with_the_fold().await;
    assert_eq!(world.number("SELECT count() FROM {db}.workspace_settings WHERE workspace_id = 'global'").await, 1);
}

#[tokio::test]
async fn a_negative_duration_is_zero_and_milliseconds_are_cut() {
    let row = call([
        rang(10, "c", None, inbound()),
        answered(8, "c", None, inbound()),
        milliseconds_later(ended(10, "c", None, inbound()), 999),
    ])
    .await;
    assert_eq!((&row["wait_seconds"], &row["talk_seconds"]), (&json!(0), &json!(2)));
    let end = summary(9, "c", |said| said.ended_at = Some(at(3)));
    let row = call([answered(8, "c", None, inbound()), ended(3, "c", None, inbound()), end]).await;
    assert_eq!((&row["wait_seconds"], &row["talk_seconds"]), (&json!(5), &json!(0)));
}

#[tokio::test]
async fn a_summary_outranks_the_events_and_its_empty_fields_never_erase() {
    let full = received(
        summary(60, "c", |said| {
            said.hold_seconds = Some(6);
            said.wrap_up_seconds = Some(20);
            said.disposition = Some("Booked".into());
            said.recording_url = Some("https://recordings.example/c".into());
            said.hangup_by = Some("Customer".into());
            said.party.did = Some("918040000002".into());
            said.party.skill = Some("emergency".into());
            said.agents = vec![link("agent.three"), link("agent.one")];
        }),
        61,
    );
    let later = received(
        summary(60, "c", |said| {
            said.hold_seconds = Some(0);
            said.party.skill = Some("radiology".into());
            said.agents = vec![link("")];
        }),
        65,
    );
    let party = CallParty {
        did: Some("918040000001".into()),
        skill: Some("front desk".into()),
        campaign: Some("Recall".into()),
        ..inbound()
    };
    let end = Body::CallEnded(CallEnded { party: inbound(), hangup_by: Some("Agent".into()) });
    let row =
        call([later, rang(0, "c", Some("agent.one"), party), full, fact(50, Some("agent.two"), Some("c"), end)]).await;
    let expected = json!({
        "hold_seconds": 0, "wrap_up_seconds": 20, "disposition": "Booked", "hangup_by": "Customer", "did": "918040000002",
        "recording_url": "https://recordings.example/c", "skill": "radiology", "campaign": "Recall", "agent_id": "agent.one",
        "agent_ids": ["agent.three", "agent.one", "agent.two"], "caller": "919000000001",
    });
    for (column, value) in expected.as_object().unwrap() {
        assert_eq!(&row[column], value, "{column}");
    }
}

#[tokio::test]
async fn a_summary_delivered_again_does_not_outrank_a_newer_one() {
    let mut world = World::new().await;
    let says = |word: &str, seconds| received(summary(60, "c", |said| said.disposition = Some(word.into())), seconds);
    let older = says("older", 61);
    let again = received(older.clone(), 99);
    world.hold_merges().await;
    for fact in [older, says("newer", 70), again] {
        world.tell([fact]).await;
    }
    for _ in 0..2 {
        assert_eq!(world.rows("SELECT disposition FROM {db}.calls").await, [json!({"disposition": "newer"})]);
        world.merge().await;
    }
}

#[tokio::test]
async fn of_equal_moments_the_greater_id_is_the_later_byte_by_byte() {
    // Apart in the upper half of the id alone, and in the lower half the other way round.
    let low = 1_u128 << 64 | 9;
    let high = 2_u128 << 64 | 1;
    let with = |skill: &str| CallParty { skill: Some(skill.into()), ..inbound() };
    let row = call([
        numbered(rang(0, "c", Some("agent.high"), with("high")), high),
        numbered(rang(0, "c", Some("agent.low"), with("low")), low),
    ])
    .await;
    assert_eq!((&row["skill"], &row["agent_id"]), (&json!("high"), &json!("agent.high")));
    assert_eq!(row["agent_ids"], json!(["agent.low", "agent.high"]));
    let says = |word: &str, id| numbered(summary(9, "c", |said| said.disposition = Some(word.into())), id);
    assert_eq!(call([says("high", high), says("low", low)]).await["disposition"], "high");
}

#[tokio::test]
async fn the_agent_is_the_chains_last_else_who_answered_else_who_was_rung_else_who_ended() {
    let rings = |seconds, agent| rang(seconds, "c", agent, inbound());
    let ends = || ended(60, "c", Some("agent.end"), inbound());
    let row = call([rings(0, Some("agent.one")), rings(3, Some("agent.two")), rings(5, None), ends()]).await;
    assert_eq!(
        (&row["agent_id"], &row["agent_ids"]),
        (&json!("agent.two"), &json!(["agent.one", "agent.two", "agent.end"]))
    );
    let row = call([
        rings(0, Some("agent.one")),
        answered(2, "c", Some("agent.one"), inbound()),
        rings(3, Some("agent.two")),
    ])
    .await;
    assert_eq!(row["agent_id"], "agent.one");
    assert_eq!(call([ends()]).await["agent_id"], "agent.end");
    let chain = summary(70, "c", |said| {
        said.agents = vec![link("agent.x"), link("agent.y"), link("agent.x"), link("")];
    });
    let row = call([rings(0, Some("agent.one")), chain]).await;
    assert_eq!((&row["agent_id"], &row["agent_ids"]), (&json!("agent.x"), &json!(["agent.x", "agent.y", "agent.one"])));
    assert_eq!(call([rings(0, None)]).await["agent_ids"], json!([]));
}

#[tokio::test]
async fn hangup_by_is_the_summarys_else_that_of_the_latest_end() {
    let end = |seconds, by: Option<&str>| {
        let body = CallEnded { party: inbound(), hangup_by: by.map(str::to_owned) };
        fact(seconds, None, Some("c"), Body::CallEnded(body))
    };
    let row = call([end(5, Some("Agent")), end(6, Some("Customer")), end(7, None)]).await;
    assert_eq!(row["hangup_by"], "Customer");
}

#[tokio::test]
async fn a_call_that_only_other_kinds_of_facts_name_is_no_row() {
    let mut world = World::new().await;
    let mut ready = state(0, "agent.one", AgentState::OnCall, None);
    ready.call = helix_schemas::names::CallId::new("c").ok();
    world.tell([ready]).await;
    world.agrees_with_the_fold().await;
    assert_eq!(world.number("SELECT count() FROM {db}.calls").await, 0);
    assert_eq!(EPOCH_MILLIS % 1000, 0);
}

#[tokio::test]
async fn a_presumed_end_holds_until_the_call_is_heard_of_again() {
    let mut world = World::new().await;
    world.tell([presumed_ended(60, "c", Some("agent.one")), presumed_ended(40, "c", Some("agent.one"))]).await;
    world.agrees_with_the_fold().await;
    assert_eq!(world.number("SELECT count() FROM {db}.calls").await, 0, "a decision alone is no call");
    world.tell([rang(0, "c", Some("agent.one"), inbound())]).await;
    let row = world.call("c").await;
    assert_eq!((&row["outcome"], &row["presumed"], &row["ended_at"]), (&json!("missed"), &json!(true), &clock(60)));
    world.tell([answered(61, "c", Some("agent.one"), inbound())]).await;
    let row = world.call("c").await;
    assert_eq!((&row["outcome"], &row["presumed"]), (&json!("in_progress"), &json!(false)));
    world.tell([ended(70, "c", Some("agent.one"), inbound())]).await;
    let row = world.call("c").await;
    assert_eq!((&row["ended_at"], &row["presumed"]), (&clock(70), &json!(false)));
}

#[tokio::test]
async fn what_does_not_fit_together_is_named() {
    let mut world = World::new().await;
    world
        .tell([
            rang(0, "c", Some("agent.one"), inbound()),
            answered(10, "c", Some("agent.one"), inbound()),
            ended(70, "c", Some("agent.one"), inbound()),
            summary(70, "c", |said| {
                said.call_seconds = Some(72);
                said.talk_seconds = Some(61);
                said.answered = Some(true);
                said.dial_status = Some("NormalUnspecified -> Not Answered".into());
            }),
        ])
        .await;
    let row = world.call("c").await;
    assert_eq!(row["conflicts"], json!(["call_seconds", "status"]));
    assert_eq!((&row["call_seconds_sent"], &row["talk_seconds_sent"]), (&json!(72), &json!(61)));
}
