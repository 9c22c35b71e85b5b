//! What a call costs a store: its bytes and the time to hash its row.
//!
//! `cargo test -p helix-fold --test laws -- --ignored --nocapture measure`

use std::{hint::black_box, time::Instant};

use helix_fold::{call::CallState, root::Root, row::Row, settings::Settings};
use helix_schemas::fact::{CallParty, CallSummarised, ChainedAgent, Direction, Fact};

use crate::facts::{agent, answered, at, call, ended, party, rang, summarised, workspace};

fn a_call() -> Vec<Fact> {
    let of = || CallParty {
        skill: Some("front desk".into()),
        campaign: Some("Inbound_918040000001".into()),
        ..party(Direction::Inbound, "919000000001")
    };
    let summary = CallSummarised {
        party: of(),
        answered: Some(true),
        started_at: Some(at(0)),
        answered_at: Some(at(9)),
        ended_at: Some(at(83)),
        call_seconds: Some(83),
        talk_seconds: Some(74),
        agents: vec![ChainedAgent {
            agent: Some(agent(1)),
            status: Some("answered".into()),
            ..ChainedAgent::default()
        }],
        disposition: Some("Booked".into()),
        hangup_by: Some("UserHangup".into()),
        recording_url: Some("https://recordings.example.invalid/demo_user/9062174000000001.mp3".into()),
        dial_status: Some("answered".into()),
        ..CallSummarised::default()
    };
    let mut facts = vec![
        rang(Some(1), 1, 0, of()),
        answered(Some(1), 1, 9, of()),
        ended(Some(1), 1, 83, of()),
        summarised(1, 83, 90, summary),
    ];
    facts.iter_mut().for_each(|fact| fact.leg = Some(crate::facts::leg(1)));
    facts
}

#[test]
#[ignore = "a measurement"]
fn measure() {
    const TIMES: u32 = 200_000;
    let mut state = CallState::default();
    for fact in a_call() {
        state.apply(&fact);
        println!("state: {} bytes", serde_json::to_vec(&state).unwrap().len());
    }
    let rows = state.rows(&workspace(), &call(1), &Settings::default()).unwrap();
    println!("row: {} canonical bytes, leg: {}", rows.row.canonical().len(), rows.legs[0].canonical().len());
    let measured = |what: &str, mut work: Box<dyn FnMut() + '_>| {
        let begun = Instant::now();
        (0..TIMES).for_each(|_| work());
        println!("{what}: {} ns", begun.elapsed().as_nanos() / u128::from(TIMES));
    };
    measured(
        "canonical of a call's row",
        Box::new(|| {
            black_box(rows.row.canonical());
        }),
    );
    let mut root = Root::default();
    measured("adding a call's row to a root", Box::new(|| root.add(black_box(&rows.row))));
    measured(
        "reading row and legs",
        Box::new(|| {
            black_box(state.rows(&workspace(), &call(1), &Settings::default()));
        }),
    );
    let facts = a_call();
    measured(
        "joining four facts",
        Box::new(|| {
            let mut state = CallState::default();
            facts.iter().for_each(|fact| {
                state.apply(fact);
            });
            black_box(state);
        }),
    );
    let bytes = serde_json::to_vec(&state).unwrap();
    measured(
        "writing a state",
        Box::new(|| {
            black_box(serde_json::to_vec(&state).unwrap());
        }),
    );
    measured(
        "reading a state",
        Box::new(|| {
            black_box(serde_json::from_slice::<CallState>(&bytes).unwrap());
        }),
    );
}
