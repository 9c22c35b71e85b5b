//! Rows of `facts`.

use helix_schemas::{
    fact::{
        AgentState, Body, CallEnded, CallParty, Decided, Direction, DirectoryChanged, Kind, OccurredAtFrom, Source,
        Unknown,
    },
    names::LegId,
};
use serde_json::{Value, json};

use crate::story::{World, answered, at, clock, fact, inbound, link, rang, state, summary};

async fn row(world: &World, kind: Kind) -> Value {
    let rows = world.rows(&format!("SELECT * REPLACE (hex(raw) AS raw) FROM {{db}}.facts WHERE kind = '{kind}'")).await;
    assert_eq!(rows.len(), 1, "{kind}");
    rows.into_iter().next().unwrap()
}

/// Every expected column, and nothing filled that belongs to another kind.
fn assert_says(row: &Value, expected: &Value) {
    let common = [
        "workspace_id",
        "fact_id",
        "body_hash",
        "kind",
        "agent_id",
        "call_id",
        "leg_id",
        "occurred_at",
        "occurred_at_from",
        "received_at",
        "provider",
        "account",
        "endpoint",
        "request_id",
        "normaliser",
        "log_topic",
        "log_partition",
        "log_offset",
        "raw",
        "raw_content_type",
    ];
    for (column, value) in row.as_object().unwrap() {
        match expected.get(column) {
            Some(wanted) => assert_eq!(value, wanted, "{column}"),
            None if common.contains(&column.as_str()) => {}
            None => {
                let empty = value.is_null() || *value == json!("") || *value == json!([]) || *value == json!({});
                assert!(empty, "{column} is {value}");
            }
        }
    }
}

fn full_party() -> CallParty {
    CallParty {
        direction: Some(Direction::Outbound),
        call_type: Some("Manual".into()),
        caller: Some("919000000001".into()),
        did: Some("918040000001".into()),
        skill: Some("front desk".into()),
        campaign: Some("Recall".into()),
        agent_phone: Some("919000000002".into()),
    }
}

fn full_party_columns() -> Value {
    json!({
        "direction": "outbound", "call_type": "Manual", "caller": "919000000001", "did": "918040000001",
        "skill": "front desk", "campaign": "Recall", "agent_phone": "919000000002",
    })
}

#[tokio::test]
async fn an_agents_state_keeps_its_words_and_where_it_came_from() {
    let mut world = World::new().await;
    let mut paused = state(5, "agent.one", AgentState::Paused, Some("Lunch"));
    if let Body::AgentStateChanged(changed) = &mut paused.body {
        changed.mode = Some("Inbound".into());
        changed.agent_name = Some("आशा वर्मा 🙂".into());
        changed.agent_unique_id = Some("100001".into());
    }
    paused.leg = LegId::new("leg-1").ok();
    paused.raw = vec![0xff, 0x00, b'"', b'\n'];
    paused.occurred_at_from = OccurredAtFrom::Envelope;
    paused.source = Source { endpoint: "/agent-event".into(), account: "demo".into(), request_id: "r-1".into() };
    world.tell([paused.clone()]).await;
    let row = row(&world, Kind::AgentStateChanged).await;
    assert_says(
        &row,
        &json!({
            "workspace_id": "ramaiah", "fact_id": paused.id.to_string(), "agent_id": "agent.one", "call_id": "",
            "leg_id": "leg-1", "occurred_at": clock(5), "occurred_at_from": "envelope",
            "received_at": paused.received_at.to_rfc3339(), "provider": "ozonetel", "account": "demo",
            "endpoint": "/agent-event", "request_id": "r-1", "normaliser": 1, "log_topic": "telephony.facts",
            "log_offset": 0, "raw": "FF00220A", "raw_content_type": "application/json",
            "action": "paused", "state": "paused", "reason": "Lunch", "mode": "Inbound",
            "agent_name": "आशा वर्मा 🙂", "agent_unique_id": "100001",
        }),
    );
}

#[tokio::test]
async fn events_of_a_call_keep_its_party() {
    let mut world = World::new().await;
    let end = Body::CallEnded(CallEnded { party: full_party(), hangup_by: Some("Agent".into()) });
    world
        .tell([
            rang(0, "c", Some("agent.one"), full_party()),
            answered(4, "c", Some("agent.one"), full_party()),
            fact(9, Some("agent.one"), Some("c"), end),
        ])
        .await;
    for kind in [Kind::CallRang, Kind::CallAnswered, Kind::CallEnded] {
        let mut expected = full_party_columns();
        expected["call_id"] = json!("c");
        if kind == Kind::CallEnded {
            expected["hangup_by"] = json!("Agent");
        }
        assert_says(&row(&world, kind).await, &expected);
    }
}

#[tokio::test]
async fn a_summary_keeps_every_field_and_the_chain_aligned() {
    let mut world = World::new().await;
    let summarised = summary(60, "c", |said| {
        said.party = full_party();
        said.answered = Some(false);
        said.status = Some("NotAnswered".into());
        said.started_at = Some(at(1));
        said.answered_at = Some(at(2));
        said.ended_at = Some(at(3));
        said.call_seconds = Some(4);
        said.talk_seconds = Some(5);
        said.hold_seconds = Some(6);
        said.wrap_up_seconds = Some(0);
        said.agents = vec![link("agent.one"), link("")];
        said.agents[1].name = Some("Queue".into());
        said.agents[0].status = Some("answered".into());
        said.disposition = Some("Booked".into());
        said.comments = Some("calls back".into());
        said.hangup_by = Some("Customer".into());
        said.recording_url = Some("https://recordings.example/c".into());
        said.transfer_type = Some("Warm".into());
        said.transferred_to = Some("agent.two".into());
        said.dial_status = Some("answered".into());
        said.customer_status = Some("connected".into());
        said.location = Some("Bengaluru".into());
        said.uui = Some("u".into());
    });
    world.tell([summarised]).await;
    let mut expected = full_party_columns();
    let more = json!({
        "answered": false, "status": "NotAnswered", "started_at": clock(1), "answered_at": clock(2), "ended_at": clock(3),
        "call_seconds": 4, "talk_seconds": 5, "hold_seconds": 6, "wrap_up_seconds": 0,
        "agents": ["agent.one", ""], "agent_names": ["", "Queue"], "agent_phones": ["", ""],
        "agent_unique_ids": ["", ""], "agent_statuses": ["answered", ""], "disposition": "Booked",
        "comments": "calls back", "hangup_by": "Customer", "recording_url": "https://recordings.example/c",
        "transfer_type": "Warm", "transferred_to": "agent.two", "dial_status": "answered",
        "customer_status": "connected", "location": "Bengaluru", "uui": "u",
    });
    expected.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    assert_says(&row(&world, Kind::CallSummarised).await, &expected);
}

#[tokio::test]
async fn directory_changes_decisions_and_unknown_words_are_rows_too() {
    let mut world = World::new().await;
    let directory = DirectoryChanged { change: "claimed".into(), entry: "agent".into(), value: "agent.one".into() };
    let decided = Decided {
        decision: "WrapUpExpired".into(),
        effective_at: Some(at(7)),
        evidence: vec!["one".into(), "two".into()],
        attributes: [("bound".to_owned(), "30".to_owned())].into(),
    };
    let unknown = Unknown {
        event: "agent".into(),
        word: "changeMode".into(),
        mode: Some("Manual".into()),
        agent_name: Some("A".into()),
        party: None,
    };
    world
        .tell([
            fact(1, Some("agent.one"), None, Body::DirectoryChanged(directory)),
            fact(2, Some("agent.one"), Some("c"), Body::Decided(decided)),
            fact(3, Some("agent.one"), None, Body::Unknown(unknown)),
        ])
        .await;
    let expected = json!({"directory_change": "claimed", "directory_entry": "agent", "directory_value": "agent.one"});
    assert_says(&row(&world, Kind::DirectoryChanged).await, &expected);
    let expected = json!({
        "decision": "WrapUpExpired", "effective_at": clock(7), "evidence": ["one", "two"], "attributes": {"bound": "30"},
    });
    assert_says(&row(&world, Kind::Decided).await, &expected);
    let expected = json!({"unknown_event": "agent", "unknown_word": "changeMode", "mode": "Manual", "agent_name": "A"});
    assert_says(&row(&world, Kind::Unknown).await, &expected);
    world.agrees_with_the_fold().await;
}

#[tokio::test]
async fn workspaces_do_not_mix_even_where_agents_and_calls_have_the_same_names() {
    let mut world = World::new().await;
    let story = [
        rang(0, "c", Some("agent.one"), inbound()),
        state(0, "agent.one", AgentState::Ringing, None),
        answered(5, "c", Some("agent.one"), inbound()),
    ];
    let mut other = [rang(100, "c", Some("agent.one"), inbound()), state(100, "agent.one", AgentState::Paused, None)];
    for fact in &mut other {
        fact.workspace = crate::story::workspace("global");
    }
    world.tell(story.into_iter().chain(other)).await;
    world.agrees_with_the_fold().await;
    let calls = world.rows("SELECT workspace_id, started_at, answered_at FROM {db}.calls ORDER BY workspace_id").await;
    assert_eq!(
        calls,
        [
            json!({"workspace_id": "global", "started_at": clock(100), "answered_at": null}),
            json!({"workspace_id": "ramaiah", "started_at": clock(0), "answered_at": clock(5)}),
        ]
    );
}
