//! The rules of agents and their intervals.

use helix_schemas::{
    decision::Decision,
    fact::{AgentState, Body},
};
use serde_json::json;

use crate::story::{World, answered, clock, decided, ended, inbound, rang, state, unknown_word};

type Interval<'a> = (&'a str, i64, Option<i64>, Option<&'a str>);

async fn assert_intervals(world: &World, agent: &str, expected: &[Interval<'_>]) {
    let found = world.intervals(agent).await;
    let found: Vec<Interval<'_>> =
        found.iter().map(|(state, from, to, call)| (state.as_str(), *from, *to, call.as_deref())).collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_state_lasts_until_the_next_and_the_last_is_open() {
    let mut world = World::new().await;
    world
        .tell([
            state(0, "agent.one", AgentState::Paused, Some("signed_in")),
            state(5, "agent.one", AgentState::Ready, None),
            state(9, "agent.one", AgentState::Offline, None),
        ])
        .await;
    let expected = [("paused", 0, Some(5), None), ("ready", 5, Some(9), None), ("offline", 9, None, None)];
    assert_intervals(&world, "agent.one", &expected).await;
}

#[tokio::test]
async fn of_one_second_only_the_last_to_arrive_counts() {
    let mut world = World::new().await;
    world.tell([state(5, "agent.one", AgentState::Ready, None), state(5, "agent.one", AgentState::Paused, None)]).await;
    world.tell([state(5, "agent.one", AgentState::WrapUp, None)]).await;
    assert_intervals(&world, "agent.one", &[("wrap_up", 5, None, None)]).await;
}

#[tokio::test]
async fn a_repeated_word_is_one_interval_except_where_it_may_mean_another_call() {
    let mut world = World::new().await;
    world
        .tell([
            state(0, "agent.one", AgentState::Ready, None),
            state(3, "agent.one", AgentState::Ready, None),
            state(5, "agent.one", AgentState::Paused, Some("Lunch")),
            state(6, "agent.one", AgentState::Paused, Some("Tea")),
            state(7, "agent.one", AgentState::Paused, Some("Tea")),
            state(8, "agent.one", AgentState::Ringing, None),
            state(9, "agent.one", AgentState::Ringing, None),
        ])
        .await;
    let expected = [
        ("ready", 0, Some(5), None),
        ("paused", 5, Some(6), None),
        ("paused", 6, Some(8), None),
        ("ringing", 8, Some(9), None),
        ("ringing", 9, None, None),
    ];
    assert_intervals(&world, "agent.one", &expected).await;
    // A late fact between the equal ones parts them again.
    world.tell([state(2, "agent.one", AgentState::Offline, None)]).await;
    let expected = [
        ("ready", 0, Some(2), None),
        ("offline", 2, Some(3), None),
        ("ready", 3, Some(5), None),
        ("paused", 5, Some(6), None),
        ("paused", 6, Some(8), None),
        ("ringing", 8, Some(9), None),
        ("ringing", 9, None, None),
    ];
    assert_intervals(&world, "agent.one", &expected).await;
}

#[tokio::test]
async fn an_unknown_word_is_the_state_unknown_with_the_word_as_its_reason() {
    let mut world = World::new().await;
    let mut elsewhere = unknown_word(4, "agent.one", "Hold");
    if let Body::Unknown(unknown) = &mut elsewhere.body {
        unknown.event = "call".into();
    }
    world
        .tell([state(0, "agent.one", AgentState::Ready, None), unknown_word(2, "agent.one", "changeMode"), elsewhere])
        .await;
    assert_intervals(&world, "agent.one", &[("ready", 0, Some(2), None), ("unknown", 2, None, None)]).await;
    assert_eq!(
        world.rows("SELECT reason FROM {db}.agent_intervals WHERE state = 'unknown'").await,
        [json!({"reason": "changeMode"})]
    );
}

#[tokio::test]
async fn ringing_and_talking_take_the_last_touch_before_their_end_wrap_up_inherits() {
    let mut world = World::new().await;
    world
        .tell([
            state(0, "agent.one", AgentState::Ready, None),
            state(10, "agent.one", AgentState::Ringing, None),
            rang(11, "c", Some("agent.one"), inbound()),
            state(15, "agent.one", AgentState::OnCall, None),
            answered(15, "c", Some("agent.one"), inbound()),
            ended(60, "c", Some("agent.one"), inbound()),
            state(60, "agent.one", AgentState::WrapUp, None),
            rang(70, "d", Some("agent.one"), inbound()),
            state(80, "agent.one", AgentState::Ready, None),
        ])
        .await;
    let expected = [
        ("ready", 0, Some(10), None),
        ("ringing", 10, Some(15), Some("c")),
        ("on_call", 15, Some(60), Some("c")),
        ("wrap_up", 60, Some(80), Some("c")),
        ("ready", 80, None, None),
    ];
    assert_intervals(&world, "agent.one", &expected).await;
}

#[tokio::test]
async fn a_touch_counts_from_five_seconds_before_the_start_until_before_the_end() {
    let mut world = World::new().await;
    world
        .tell([
            rang(5, "early", Some("agent.one"), inbound()),
            state(10, "agent.one", AgentState::Ringing, None),
            state(20, "agent.one", AgentState::Ready, None),
            rang(24, "too-early", Some("agent.one"), inbound()),
            state(30, "agent.one", AgentState::Ringing, None),
            state(35, "agent.one", AgentState::Ready, None),
            state(40, "agent.one", AgentState::Ringing, None),
            rang(45, "at-the-end", Some("agent.one"), inbound()),
            state(45, "agent.one", AgentState::Ready, None),
        ])
        .await;
    let expected = [
        ("ringing", 10, Some(20), Some("early")),
        ("ready", 20, Some(30), None),
        ("ringing", 30, Some(35), None),
        ("ready", 35, Some(40), None),
        ("ringing", 40, Some(45), None),
        ("ready", 45, None, None),
    ];
    assert_intervals(&world, "agent.one", &expected).await;
}

#[tokio::test]
async fn of_touches_in_one_second_the_last_to_arrive_counts() {
    let mut world = World::new().await;
    world.tell([state(0, "agent.one", AgentState::Ringing, None), rang(2, "x", Some("agent.one"), inbound())]).await;
    world.tell([rang(2, "a", Some("agent.one"), inbound())]).await;
    assert_intervals(&world, "agent.one", &[("ringing", 0, None, Some("a"))]).await;
}

#[tokio::test]
async fn a_call_is_carried_along_only_through_an_unbroken_run() {
    let mut world = World::new().await;
    world
        .tell([
            rang(0, "c", Some("agent.one"), inbound()),
            state(0, "agent.one", AgentState::Ringing, None),
            state(20, "agent.one", AgentState::OnCall, None),
            state(40, "agent.one", AgentState::WrapUp, None),
            state(60, "agent.one", AgentState::OnCall, None),
            state(80, "agent.one", AgentState::Paused, None),
            state(90, "agent.one", AgentState::WrapUp, None),
            state(95, "agent.one", AgentState::OnCall, None),
        ])
        .await;
    let expected = [
        ("ringing", 0, Some(20), Some("c")),
        ("on_call", 20, Some(40), Some("c")),
        ("wrap_up", 40, Some(60), Some("c")),
        ("on_call", 60, Some(80), Some("c")),
        ("paused", 80, Some(90), None),
        ("wrap_up", 90, Some(95), None),
        ("on_call", 95, None, None),
    ];
    assert_intervals(&world, "agent.one", &expected).await;
}

#[tokio::test]
async fn an_agents_present_is_its_last_interval_with_the_latest_name_and_mode() {
    let mut world = World::new().await;
    let named = |seconds, name: Option<&str>, mode: Option<&str>| {
        let mut fact = state(seconds, "agent.one", AgentState::Ready, None);
        if let Body::AgentStateChanged(changed) = &mut fact.body {
            changed.agent_name = name.map(str::to_owned);
            changed.mode = mode.map(str::to_owned);
        }
        fact
    };
    world
        .tell([named(5, Some("Asha V"), None), named(9, None, Some("Manual")), named(2, Some("Asha"), Some("Inbound"))])
        .await;
    world.tell([state(1, "agent.two", AgentState::Offline, Some("shift"))]).await;
    world.agrees_with_the_fold().await;
    assert_eq!(
        world.rows("SELECT * EXCEPT workspace_id FROM {db}.agents ORDER BY agent_id").await,
        [
            json!({"agent_id": "agent.one", "name": "Asha V", "state": "ready", "since": clock(2), "reason": null, "mode": "Manual", "call_id": null, "presumed": false}),
            json!({"agent_id": "agent.two", "name": null, "state": "offline", "since": clock(1), "reason": "shift", "mode": null, "call_id": null, "presumed": false}),
        ]
    );
}

#[tokio::test]
async fn a_decision_holds_until_a_state_comes_to_light_between_it_and_its_ground() {
    let mut world = World::new().await;
    let wrap_up = state(0, "agent.one", AgentState::WrapUp, None);
    let expired = decided(&wrap_up, 30, Decision::WrapUpExpired);
    world.tell([wrap_up, expired.clone(), expired]).await;
    assert_intervals(&world, "agent.one", &[("wrap_up", 0, Some(30), None), ("ready", 30, None, None)]).await;
    let presents = "SELECT state, reason, presumed FROM {db}.agents";
    let expected = json!({"state": "ready", "reason": "wrap_up_expired", "presumed": true});
    assert_eq!(world.rows(presents).await, [expected]);
    world.tell([state(20, "agent.one", AgentState::Paused, Some("Tea"))]).await;
    assert_intervals(&world, "agent.one", &[("wrap_up", 0, Some(20), None), ("paused", 20, None, None)]).await;
}

#[tokio::test]
async fn a_session_is_a_run_of_intervals_and_says_what_ended_it() {
    let mut world = World::new().await;
    let again = state(200, "agent.one", AgentState::Ready, None);
    let third = state(400, "agent.one", AgentState::Ready, None);
    world
        .tell([
            state(0, "agent.one", AgentState::Paused, Some("signed_in")),
            state(10, "agent.one", AgentState::Ready, None),
            state(100, "agent.one", AgentState::Offline, None),
            again.clone(),
            decided(&again, 60, Decision::AgentPresumedOffline),
            third.clone(),
            decided(&third, 50, Decision::SessionClosed),
            state(500, "agent.one", AgentState::Ready, None),
        ])
        .await;
    world.agrees_with_the_fold().await;
    let sessions = "SELECT ended_by, signed_in_seconds, paused_seconds, ready_seconds FROM {db}.agent_sessions ORDER BY started_at";
    let row = |ended_by: Option<&str>, signed_in: i64, paused: i64, ready: i64| json!({"ended_by": ended_by, "signed_in_seconds": signed_in, "paused_seconds": paused, "ready_seconds": ready});
    let expected = [
        row(Some("logout"), 100, 10, 90),
        row(Some("presumed"), 60, 0, 60),
        row(Some("day_end"), 50, 0, 50),
        row(None, 0, 0, 0),
    ];
    assert_eq!(world.rows(sessions).await, expected);
}
