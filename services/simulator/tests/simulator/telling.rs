//! Laws of a fault-free telling, and of every body's shape.

use helix_simulator::{CallAction, Day, Delivery, Direction, Endpoint, EventKind, Faults, Scenario, WebhookStyle};
use serde_json::Value;

use crate::small;

/// The objects a body tells, read as what the body claims to be.
pub fn objects(delivery: &Delivery) -> Vec<Value> {
    let json = match delivery.content_type {
        "application/json" => String::from_utf8(delivery.body.clone()).expect("UTF-8"),
        "application/x-www-form-urlencoded" => {
            let fields: Vec<(String, String)> = form_urlencoded::parse(&delivery.body).into_owned().collect();
            let [(name, value)] = fields.as_slice() else { panic!("not one field: {fields:?}") };
            assert_eq!(name, "data");
            value.clone()
        }
        other => panic!("unknown content type {other}"),
    };
    match serde_json::from_str(&json).expect("JSON") {
        Value::Array(items) => items,
        single => vec![single],
    }
}

#[test]
fn a_fault_free_day_tells_each_true_event_once_in_order_and_in_its_second() {
    for seed in 0..10 {
        let day = Day::generate(&small(seed, 8, 100));
        assert!(day.withheld.is_empty() && day.faults.is_empty(), "seed {seed}");
        let told: Vec<_> = day.deliveries.iter().flat_map(|delivery| delivery.events.clone()).collect();
        assert_eq!(told, day.truth.events, "seed {seed}");
        for delivery in &day.deliveries {
            assert_eq!(delivery.at / 1000, u64::from(delivery.events[0].occurred_at), "seed {seed}");
        }
        assert!(day.deliveries.is_sorted_by_key(|delivery| delivery.at), "seed {seed}");
    }
}

#[test]
fn every_delivery_parses_as_what_it_claims_and_says_what_happened() {
    for (seed, style) in [(1, WebhookStyle::Form), (2, WebhookStyle::FormArray), (3, WebhookStyle::Json)] {
        let scenario = Scenario { faults: Faults::default(), webhook_style: style, ..Scenario::sample(seed, "global") };
        let day = Day::generate(&scenario);
        for delivery in &day.deliveries {
            let objects = objects(delivery);
            assert_eq!(objects.len(), delivery.events.len(), "seed {seed}");
            assert!(delivery.body.len() < 256 * 1024);
            for (object, event) in objects.iter().zip(&delivery.events) {
                let stamp = scenario.stamp(event.occurred_at);
                match &event.kind {
                    EventKind::Summary => {
                        assert_eq!(delivery.endpoint, Endpoint::Callback);
                        assert_eq!(object["monitorUCID"].as_str(), event.call.as_deref());
                        assert_eq!(object["Apikey"], scenario.api_key.as_str());
                    }
                    EventKind::Call { action, leg } => {
                        assert_eq!(object["eventType"], "Call");
                        assert!(
                            object["data"]["action"]
                                .as_str()
                                .is_some_and(|word| word.eq_ignore_ascii_case(action.word()))
                        );
                        assert_eq!(object["data"]["ucid"].as_str(), Some(&**leg));
                        assert_eq!(object["data"]["monitor_ucid"].as_str(), event.call.as_deref());
                        assert_eq!(object["data"]["event_time"], stamp.as_str());
                    }
                    EventKind::Agent { action, reason, .. } => {
                        assert_eq!(object["eventType"], "Agent");
                        assert!(
                            object["data"]["action"]
                                .as_str()
                                .is_some_and(|word| word.eq_ignore_ascii_case(action.word()))
                        );
                        assert_eq!(object["data"]["agentId"].as_str(), event.agent.as_deref());
                        assert!(object["data"]["agentUniqeId"].is_u64());
                        assert_eq!(object["data"]["pauseReason"].as_str(), *reason);
                        assert_eq!(object["data"]["eventTime"], stamp.as_str());
                    }
                    EventKind::Noise { word } => assert_eq!(object["data"]["action"], *word),
                }
            }
        }
    }
}

#[test]
fn a_callback_has_every_field_of_the_guide_and_durations_that_add_up() {
    let scenario = Scenario { faults: Faults::none(), ..Scenario::sample(4, "ramaiah") };
    let day = Day::generate(&scenario);
    let seconds = |object: &Value, name: &str| {
        let parts: Vec<u32> = object[name].as_str().unwrap().split(':').map(|part| part.parse().unwrap()).collect();
        parts[0] * 3600 + parts[1] * 60 + parts[2]
    };
    let mut chains = 0;
    for delivery in day.deliveries.iter().filter(|delivery| delivery.endpoint == Endpoint::Callback) {
        let object = &objects(delivery)[0];
        assert_eq!(object.as_object().unwrap().len(), 38);
        let call = day.truth.calls.iter().find(|call| Some(&call.call_id) == delivery.events[0].call.as_ref()).unwrap();
        assert_eq!(seconds(object, "CallDuration"), call.ended_at - call.rang_at);
        assert_eq!(object["StartTime"], scenario.stamp(call.rang_at).as_str());
        assert_eq!(object["EndTime"], scenario.stamp(call.ended_at).as_str());
        assert!(u64::from(call.ended_at) * 1000 < delivery.at, "a callback comes after the end");
        match call.answered_at {
            Some(answered_at) => {
                assert_eq!(object["Status"], "Answered");
                assert_eq!(seconds(object, "Duration"), call.ended_at - answered_at);
                assert_eq!(seconds(object, "TimeToAnswer"), answered_at - call.rang_at);
                assert_eq!(seconds(object, "WrapUpDuration"), call.wrap_up);
                let last = object["AgentID"].as_str().unwrap().rsplit(" -> ").next();
                assert_eq!(last, call.agents.last().map(|agent| &**agent));
                assert!(object["AudioFile"].as_str().unwrap().starts_with("https://recordings.example.invalid/"));
            }
            None => assert_eq!((&object["Status"], &object["Duration"]), (&"NotAnswered".into(), &"".into())),
        }
        let parts = |name: &str| object[name].as_str().unwrap().split(" -> ").count();
        let legs = call.legs.len().max(1);
        for name in ["AgentID", "AgentName", "AgentPhoneNumber", "AgentUniqueID", "AgentStatus", "DialStatus"] {
            assert_eq!(parts(name), legs, "{name}");
        }
        chains += usize::from(legs > 1);
    }
    assert!(chains > 10);
}

#[test]
fn some_callbacks_come_after_the_next_call_of_their_agent_began() {
    let day = Day::generate(&Scenario { faults: Faults::none(), ..Scenario::sample(8, "ramaiah") });
    let overtaken = day.truth.events.iter().filter(|event| event.kind == EventKind::Summary).any(|summary| {
        let call = day.truth.calls.iter().find(|call| Some(&call.call_id) == summary.call.as_ref()).unwrap();
        day.truth.calls.iter().flat_map(|other| &other.legs).any(|leg| {
            Some(&leg.agent) == call.agents.last() && leg.rang_at > call.ended_at && leg.rang_at < summary.occurred_at
        })
    });
    assert!(overtaken);
}

#[test]
fn callers_who_wait_are_told_without_an_agent_and_dialled_calls_as_manual() {
    let day = Day::generate(&small(6, 8, 150));
    let (mut without_agent, mut manual) = (0, 0);
    for delivery in &day.deliveries {
        let event = &delivery.events[0];
        let EventKind::Call { action: CallAction::Calling, .. } = event.kind else {
            continue;
        };
        let data = &objects(delivery)[0]["data"];
        let call = day.truth.calls.iter().find(|call| Some(&call.call_id) == event.call.as_ref()).unwrap();
        if event.agent.is_none() {
            assert!(data["agent_id"] == "0" || data["agent_id"] == "", "{data}");
            without_agent += 1;
        }
        if call.direction == Direction::Outbound {
            assert_eq!(data["call_type"], "Manual");
            assert!(event.agent.is_some());
            manual += 1;
        }
    }
    assert!(without_agent > 20 && manual > 5, "{without_agent} waiting, {manual} manual");
}
