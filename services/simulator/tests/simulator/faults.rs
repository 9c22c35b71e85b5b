//! Each fault at 1000 per mille does exactly what it says, and only that.

use std::collections::BTreeMap;

use helix_simulator::{AgentAction, CallAction, Day, Endpoint, EventKind, FaultKind, Faults, Scenario, TrueEvent};
use serde_json::Value;

use crate::small;
use crate::telling::objects;

const SEED: u64 = 42;

fn day(faults: Faults) -> Day {
    Day::generate(&Scenario { faults, ..small(SEED, 6, 90) })
}

fn told(day: &Day) -> Vec<&TrueEvent> {
    day.deliveries.iter().flat_map(|delivery| &delivery.events).collect()
}

fn withheld_kinds(day: &Day) -> Vec<&EventKind> {
    day.withheld.iter().map(|seq| &day.truth.events[*seq as usize].kind).collect()
}

#[test]
fn exact_repeats_bring_every_body_twice() {
    let day = day(Faults { exact_repeat: 1000, ..Faults::none() });
    let mut bodies: BTreeMap<(u64, &[u8]), usize> = BTreeMap::new();
    for delivery in &day.deliveries {
        *bodies.entry((delivery.events[0].seq, &delivery.body)).or_default() += 1;
    }
    assert_eq!(bodies.len(), day.truth.events.len(), "seed {SEED}");
    assert!(bodies.values().all(|times| *times == 2), "seed {SEED}");
}

#[test]
fn restamped_repeats_differ_in_the_envelope_time_alone() {
    let day = day(Faults { restamped_repeat: 1000, ..Faults::none() });
    let mut by_event: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
    for delivery in &day.deliveries {
        by_event.entry(delivery.events[0].seq).or_default().push(objects(delivery)[0].clone());
    }
    for (seq, tellings) in by_event {
        match (&day.truth.events[seq as usize].kind, tellings.as_slice()) {
            (EventKind::Summary, [_]) => {}
            (EventKind::Agent { .. } | EventKind::Call { .. }, [first, second]) => {
                assert_eq!(first["data"], second["data"], "seed {SEED}");
                assert_ne!(first["eventTime"], second["eventTime"], "seed {SEED}");
            }
            (kind, tellings) => panic!("{kind:?} told {} times (seed {SEED})", tellings.len()),
        }
    }
}

#[test]
fn late_deliveries_come_minutes_after_with_the_send_time_in_the_envelope() {
    let scenario = Scenario { faults: Faults { late: 1000, ..Faults::none() }, ..small(SEED, 6, 90) };
    let day = Day::generate(&scenario);
    for delivery in &day.deliveries {
        let happened = u64::from(delivery.events[0].occurred_at) * 1000;
        assert!((happened + 60_000..=happened + 601_000).contains(&delivery.at), "seed {SEED}");
        if delivery.endpoint != Endpoint::Callback {
            let sent = scenario.stamp(u32::try_from(delivery.at / 1000).unwrap());
            assert_eq!(objects(delivery)[0]["eventTime"], sent.as_str(), "seed {SEED}");
        }
    }
    assert_eq!(day.deliveries.len(), day.truth.events.len(), "seed {SEED}");
}

#[test]
fn swapped_neighbours_are_out_of_order_for_their_key_and_complete() {
    let day = day(Faults { swapped: 1000, ..Faults::none() });
    let mut seqs: Vec<u64> = told(&day).iter().map(|event| event.seq).collect();
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    let mut inversions = 0_u64;
    for event in told(&day) {
        let key = &**event.key().expect("a key");
        let before = last.insert(key, event.seq);
        inversions += u64::from(before.is_some_and(|before| before > event.seq));
    }
    assert!(inversions > day.truth.events.len() as u64 / 10, "{inversions} (seed {SEED})");
    seqs.sort_unstable();
    assert_eq!(seqs, (0..day.truth.events.len() as u64).collect::<Vec<_>>(), "seed {SEED}");
}

#[test]
fn lost_callbacks_disconnects_logouts_and_ghosts_are_withheld_and_listed() {
    let calls = |day: &Day| day.truth.calls.len();

    let lost = day(Faults { lost_callback: 1000, ..Faults::none() });
    assert!(lost.deliveries.iter().all(|delivery| delivery.endpoint != Endpoint::Callback), "seed {SEED}");
    assert_eq!(lost.withheld.len(), calls(&lost), "seed {SEED}");

    let lost = day(Faults { lost_disconnect: 1000, ..Faults::none() });
    let disconnect = |kind: &EventKind| matches!(kind, EventKind::Call { action: CallAction::Disconnect, .. });
    assert!(!told(&lost).iter().any(|event| disconnect(&event.kind)), "seed {SEED}");
    assert_eq!(withheld_kinds(&lost).len(), calls(&lost), "seed {SEED}");
    assert!(withheld_kinds(&lost).into_iter().all(disconnect), "seed {SEED}");

    let lost = day(Faults { ghost_call: 1000, ..Faults::none() });
    assert_eq!(lost.withheld.len(), 2 * calls(&lost), "seed {SEED}");
    assert_eq!(lost.faults[&FaultKind::GhostCall] as usize, 2 * calls(&lost), "seed {SEED}");

    let lost = day(Faults { lost_logout: 1000, ..Faults::none() });
    let logout = |kind: &EventKind| matches!(kind, EventKind::Agent { action: AgentAction::Logout, .. });
    assert_eq!(withheld_kinds(&lost).len(), 6, "seed {SEED}");
    assert!(withheld_kinds(&lost).into_iter().all(logout), "seed {SEED}");
}

#[test]
fn mixed_case_spells_every_action_otherwise_and_changes_nothing_else() {
    let day = day(Faults { mixed_case: 1000, ..Faults::none() });
    for delivery in day.deliveries.iter().filter(|delivery| delivery.endpoint != Endpoint::Callback) {
        let word = match &delivery.events[0].kind {
            EventKind::Agent { action, .. } => action.word(),
            EventKind::Call { action, .. } => action.word(),
            EventKind::Summary | EventKind::Noise { .. } => unreachable!("no callback, no noise"),
        };
        let object = &objects(delivery)[0];
        let spelled = object["data"]["action"].as_str().unwrap();
        assert!(spelled != word && spelled.eq_ignore_ascii_case(word), "{spelled} (seed {SEED})");
    }
}

#[test]
fn unknown_actions_come_beside_the_true_events_and_replace_none() {
    let day = day(Faults { unknown_action: 1000, ..Faults::none() });
    let (noise, rest): (Vec<_>, Vec<_>) =
        told(&day).into_iter().partition(|event| matches!(event.kind, EventKind::Noise { .. }));
    assert_eq!(rest, day.truth.events.iter().collect::<Vec<_>>(), "seed {SEED}");
    let events = day.truth.events.iter().filter(|event| event.kind != EventKind::Summary).count();
    assert_eq!(noise.len(), events, "seed {SEED}");
}

#[test]
fn blank_variants_write_nothing_in_every_known_way() {
    let day = day(Faults { blank_variants: 1000, ..Faults::none() });
    let callbacks: Vec<Value> = day
        .deliveries
        .iter()
        .filter(|delivery| delivery.endpoint == Endpoint::Callback)
        .map(|delivery| objects(delivery)[0].clone())
        .collect();
    let some = |wanted: &dyn Fn(&Value) -> bool| assert!(callbacks.iter().any(wanted), "seed {SEED}");
    some(&|object| object["CallerConfAudioFile"] == "None");
    some(&|object| object.get("CallerConfAudioFile") == Some(&Value::Null));
    some(&|object| object.get("CallerConfAudioFile").is_none());
    some(&|object| object.get("WrapUpDuration").is_none() && object["CallerConfAudioFile"] == "");
    assert!(callbacks.iter().all(|object| object["monitorUCID"].is_string()), "seed {SEED}");
    let nobody: Vec<Value> = day
        .deliveries
        .iter()
        .filter(|delivery| delivery.endpoint == Endpoint::CallEvent && delivery.events[0].agent.is_none())
        .map(|delivery| objects(delivery)[0]["data"]["agent_id"].clone())
        .collect();
    for wanted in [Value::Null, "None".into(), "".into(), "0".into()] {
        assert!(nobody.contains(&wanted), "{wanted} missing (seed {SEED})");
    }
}

#[test]
fn hindi_reaches_names_and_comments_of_every_callback() {
    let day = day(Faults { hindi: 1000, ..Faults::none() });
    for delivery in day.deliveries.iter().filter(|delivery| delivery.endpoint == Endpoint::Callback) {
        let object = &objects(delivery)[0];
        assert!(object["Comments"].as_str().unwrap().contains("मरीज़"), "seed {SEED}");
        let name = object["AgentName"].as_str().unwrap();
        assert!(name.is_empty() || !name.is_ascii(), "{name} (seed {SEED})");
    }
}

#[test]
fn batches_are_arrays_that_together_tell_the_whole_day_in_order() {
    let day = day(Faults { batch: 1000, ..Faults::none() });
    assert_eq!(told(&day), day.truth.events.iter().collect::<Vec<_>>(), "seed {SEED}");
    assert!(day.deliveries.iter().any(|delivery| delivery.events.len() > 2), "seed {SEED}");
    for delivery in day.deliveries.iter().filter(|delivery| delivery.endpoint != Endpoint::Callback) {
        assert_eq!(delivery.body.first(), Some(&b'['), "seed {SEED}");
    }
}

#[test]
fn a_default_day_has_some_of_each_fault() {
    // Unknown actions are rare: look at several days.
    let mut seen: BTreeMap<FaultKind, u64> = BTreeMap::new();
    for seed in 0..4 {
        for (kind, times) in Day::generate(&Scenario::sample(seed, "ramaiah")).faults {
            *seen.entry(kind).or_default() += times;
        }
    }
    assert_eq!(seen.len(), 13, "{seen:?}");
}
