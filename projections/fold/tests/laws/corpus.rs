//! The provider's samples as the ingest understands them: in any order and repetition they mean the same calls.
//!
//! They are read from the ingest's own snapshot of its normaliser, so that a change there is a change here.

use std::collections::BTreeMap;

use helix_fold::{
    call::{CallRows, CallState, Outcome},
    settings::Settings,
};
use helix_schemas::{
    fact::{Body, Fact, OccurredAtFrom, Source},
    id::FactId,
    names::{AgentId, CallId, LegId},
    time::{OccurredAt, ReceivedAt},
};
use proptest::prelude::*;

use crate::facts::workspace;

const SNAPSHOT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../services/ingest/tests/ingest/snapshots/ingest__corpus__every_sample_is_understood_as_written_down.snap"
);

/// Two lines an event: `{id} {kind} account=… agent=… call=… leg=… did=… at=… from=…`, then its body.
fn corpus() -> Vec<Fact> {
    let text = std::fs::read_to_string(SNAPSHOT).unwrap();
    let mut lines = text.lines();
    let mut facts = Vec::new();
    while let Some(line) = lines.next() {
        let Some((head, _)) = line.split_once(" account=") else { continue };
        let field = |name: &str, next: &str| {
            let (_, rest) = line.split_once(&format!(" {name}=")).unwrap();
            let (value, _) = rest.split_once(&format!(" {next}=")).unwrap();
            (value != "-").then(|| value.to_owned())
        };
        let at: chrono::DateTime<chrono::Utc> = field("at", "from").unwrap().parse().unwrap();
        let body: Body = serde_json::from_str(lines.next().unwrap().trim()).unwrap();
        facts.push(Fact {
            id: FactId::try_from(head.split(' ').next().unwrap().to_owned()).unwrap(),
            workspace: workspace(),
            agent: field("agent", "call").map(|agent| AgentId::new(&agent).unwrap()),
            call: field("call", "leg").map(|call| CallId::new(&call).unwrap()),
            leg: field("leg", "did").map(|leg| LegId::new(&leg).unwrap()),
            provider: "ozonetel".into(),
            kind: body.kind(),
            occurred_at: OccurredAt::from_millis(at.timestamp_millis()),
            occurred_at_from: OccurredAtFrom::Event,
            received_at: ReceivedAt::from_micros(at.timestamp_micros() + 1_000_000),
            raw: Vec::new(),
            raw_content_type: String::new(),
            source: Source::default(),
            normaliser: 1,
            body,
        });
    }
    facts
}

fn rows(facts: &[Fact]) -> BTreeMap<CallId, CallRows> {
    let mut calls: BTreeMap<CallId, CallState> = BTreeMap::new();
    for fact in facts.iter().filter(|fact| CallState::concerns(fact)) {
        calls.entry(fact.call.clone().unwrap()).or_default().apply(fact);
    }
    let read = |(call, state): (CallId, CallState)| {
        let rows = state.rows(&workspace(), &call, &Settings::default()).unwrap();
        (call, rows)
    };
    calls.into_iter().map(read).collect()
}

proptest! {
    #[test]
    fn any_order_and_repetition_of_the_corpus_is_the_same_calls(
        shuffled in Just(corpus()).prop_shuffle(),
        again in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let mut told = shuffled.clone();
        told.extend(again.into_iter().map(|index| index.get(&shuffled).clone()));
        prop_assert_eq!(rows(&told), rows(&corpus()));
    }
}

#[test]
fn the_corpus_is_all_there_and_its_calls_have_legs() {
    let facts = corpus();
    assert!(facts.len() >= 30, "{} facts", facts.len());
    let rows = rows(&facts);
    assert!(rows.len() >= 4, "{} calls", rows.len());
    assert!(rows.values().any(|rows| rows.legs.len() > 1));
    assert!(rows.values().any(|rows| rows.row.outcome == Outcome::Missed));
    for rows in rows.values() {
        assert!(rows.row.agents.is_empty() || !rows.legs.is_empty());
    }
}
