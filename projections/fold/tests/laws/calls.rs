//! Calls: an order-free join, read by the rules of docs/rules.md.

use std::collections::BTreeMap;

use helix_fold::{
    call::{CallRow, CallState, Outcome},
    settings::Settings,
};
use helix_schemas::{
    fact::{CallParty, CallSummarised, ChainedAgent, Direction, Fact},
    names::CallId,
    time::ReceivedAt,
};
use proptest::prelude::*;

use crate::facts::{a_history, agent, answered, at, call, ended, party, rang, summarised, workspace};

fn row_of(facts: &[Fact]) -> CallRow {
    let mut state = CallState::default();
    facts.iter().for_each(|fact| state.apply(fact));
    state.row(&workspace(), &call(1), &Settings::default()).unwrap()
}

fn inbound() -> CallParty {
    party(Direction::Inbound, "919000000001")
}

fn fold(history: &[Fact]) -> BTreeMap<CallId, CallState> {
    let mut calls: BTreeMap<CallId, CallState> = BTreeMap::new();
    for fact in history.iter().filter(|fact| CallState::concerns(fact)) {
        calls.entry(fact.call.clone().unwrap()).or_default().apply(fact);
    }
    calls
}

proptest! {
    #[test]
    fn any_order_and_repetition_of_a_calls_facts_gives_the_same_state(
        history in a_history(),
        shuffled in any::<prop::sample::Index>(),
        seed in any::<u64>(),
    ) {
        let mut other = history.clone();
        let again = other[shuffled.index(other.len())].clone();
        other.push(again);
        let mut key = seed;
        other.sort_by_cached_key(|_| { key = key.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1); key });
        prop_assert_eq!(fold(&history), fold(&other));
    }

    #[test]
    fn a_state_that_is_stored_and_loaded_again_goes_on_as_if_nothing_had_happened(
        history in a_history(),
        cut in any::<prop::sample::Index>(),
    ) {
        let cut = cut.index(history.len());
        let stored = serde_json::to_string(&fold(&history[..cut])).unwrap();
        let mut calls: BTreeMap<CallId, CallState> = serde_json::from_str(&stored).unwrap();
        for fact in history[cut..].iter().filter(|fact| CallState::concerns(fact)) {
            calls.entry(fact.call.clone().unwrap()).or_default().apply(fact);
        }
        prop_assert_eq!(calls, fold(&history));
    }

    #[test]
    fn every_row_is_of_one_piece(history in a_history()) {
        for (call, state) in fold(&history) {
            let row = state.row(&workspace(), &call, &Settings::default()).unwrap();
            prop_assert_eq!(row.ended_at.is_none(), row.outcome == Outcome::InProgress);
            prop_assert_eq!(row.talk_seconds.is_some(), row.answered_at.is_some() && row.ended_at.is_some());
            for seconds in [row.wait_seconds, row.talk_seconds].into_iter().flatten() {
                prop_assert!(seconds >= 0);
            }
            if let Some(agent) = &row.agent {
                prop_assert!(row.agents.contains(agent));
            }
        }
    }
}

#[test]
fn a_call_that_is_answered_and_ended() {
    let facts = [rang(Some(1), 1, 0, inbound()), answered(Some(1), 1, 9, inbound()), ended(Some(1), 1, 83, inbound())];
    let row = row_of(&facts);
    assert_eq!(row.outcome, Outcome::Answered);
    assert_eq!((row.wait_seconds, row.talk_seconds), (Some(9), Some(74)));
    assert_eq!(row.agent, Some(agent(1)));
    assert_eq!(row_of(&facts[..2]).outcome, Outcome::InProgress);
    assert_eq!(row_of(&facts[..2]).wait_seconds, Some(9));
}

#[test]
fn ten_seconds_of_ringing_are_a_short_abandon_and_eleven_are_missed() {
    let short = row_of(&[rang(Some(1), 1, 0, inbound()), ended(Some(1), 1, 10, inbound())]);
    assert_eq!((short.outcome, short.wait_seconds), (Outcome::ShortAbandon, Some(10)));
    let missed = row_of(&[rang(Some(1), 1, 0, inbound()), ended(Some(1), 1, 11, inbound())]);
    assert_eq!(missed.outcome, Outcome::Missed);
}

#[test]
fn a_bare_disconnect_is_missed_as_nobody_knows_how_long_it_rang() {
    let row = row_of(&[ended(None, 1, 20, inbound())]);
    assert_eq!((row.outcome, row.wait_seconds, row.agent), (Outcome::Missed, Some(0), None));
}

#[test]
fn an_unanswered_outbound_call_is_no_answer() {
    let out = || party(Direction::Outbound, "919000000001");
    assert_eq!(row_of(&[rang(Some(1), 1, 0, out()), ended(Some(1), 1, 4, out())]).outcome, Outcome::NoAnswer);
}

#[test]
fn the_summary_outranks_the_events_and_its_empty_fields_erase_nothing() {
    let events = [rang(Some(1), 1, 0, inbound()), answered(Some(1), 1, 9, inbound()), ended(Some(1), 1, 83, inbound())];
    let summary = |answered, started: Option<i64>, disposition: Option<&str>| CallSummarised {
        answered,
        started_at: started.map(at),
        disposition: disposition.map(str::to_owned),
        ..CallSummarised::default()
    };
    let with = |summary| row_of(&[&events[..], &[summarised(1, 83, 120, summary)]].concat());
    let row = with(summary(Some(false), None, None));
    assert_eq!((row.outcome, row.talk_seconds), (Outcome::Missed, None));
    let row = with(summary(None, Some(-5), Some("Interested")));
    assert_eq!((row.wait_seconds, row.disposition.as_deref()), (Some(14), Some("Interested")));
    assert_eq!(row.caller.as_deref(), Some("919000000001"));

    // A later summary without a disposition leaves the earlier one's standing, whichever is folded first.
    let first = summarised(1, 83, 120, summary(Some(true), Some(0), Some("Interested")));
    let second = summarised(1, 83, 180, summary(Some(true), Some(0), None));
    let one = row_of(&[first.clone(), second.clone()]);
    assert_eq!(one, row_of(&[second, first]));
    assert_eq!(one.disposition.as_deref(), Some("Interested"));
}

#[test]
fn a_summary_that_is_delivered_again_later_does_not_outrank_a_newer_one() {
    let summary =
        |disposition: &str| CallSummarised { disposition: Some(disposition.into()), ..CallSummarised::default() };
    let first = summarised(1, 83, 120, summary("Wrap up time exceeded :120"));
    let newer = summarised(1, 83, 180, summary("Interested"));
    let mut again = first.clone();
    again.received_at = ReceivedAt::from_micros(newer.received_at.micros() + 60_000_000);
    for facts in [[&first, &newer, &again], [&again, &newer, &first]] {
        let row = row_of(&facts.map(Clone::clone));
        assert_eq!(row.disposition.as_deref(), Some("Interested"));
    }
}

#[test]
fn a_chain_names_the_final_handler_last() {
    let link = |number| ChainedAgent { agent: Some(agent(number)), ..ChainedAgent::default() };
    let summary = CallSummarised { agents: vec![link(1), link(2), link(1), link(2)], ..CallSummarised::default() };
    let row = row_of(&[rang(Some(3), 1, 0, inbound()), summarised(1, 83, 120, summary)]);
    assert_eq!(row.agent, Some(agent(2)));
    assert_eq!(row.agents, vec![agent(1), agent(2), agent(3)]);
}
