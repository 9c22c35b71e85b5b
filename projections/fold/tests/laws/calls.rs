//! Calls: an order-free join, read by the rules of docs/rules.md.

use std::collections::BTreeMap;

use helix_fold::{
    call::{CallLegRow, CallRow, CallRows, CallState, Conflict, LegOutcome, Outcome},
    settings::Settings,
};
use helix_schemas::{
    decision::Decision,
    fact::{Body, CallParty, CallSummarised, ChainedAgent, Direction, Fact},
    names::CallId,
    time::ReceivedAt,
};
use proptest::prelude::*;

use crate::facts::{
    a_history, agent, answered, at, call, decided, ended, leg, party, rang, released, summarised, wished, workspace,
};

fn row_of(facts: &[Fact]) -> CallRow {
    let mut state = CallState::default();
    facts.iter().for_each(|fact| {
        state.apply(fact);
    });
    state.row(&workspace(), &call(1), &Settings::default()).unwrap()
}

fn legs_of(facts: &[Fact]) -> Vec<CallLegRow> {
    let mut state = CallState::default();
    facts.iter().for_each(|fact| {
        state.apply(fact);
    });
    state.rows(&workspace(), &call(1), &Settings::default()).unwrap().legs
}

fn rows(calls: &BTreeMap<CallId, CallState>) -> BTreeMap<CallId, CallRows> {
    let read = |(call, state): (&CallId, &CallState)| {
        Some((call.clone(), state.rows(&workspace(), call, &Settings::default())?))
    };
    calls.iter().filter_map(read).collect()
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
    fn any_order_and_repetition_of_a_calls_facts_gives_the_same_state_row_and_legs(
        history in a_history(),
        shuffled in any::<prop::sample::Index>(),
        seed in any::<u64>(),
    ) {
        let mut other = history.clone();
        let again = other[shuffled.index(other.len())].clone();
        other.push(again);
        let mut key = seed;
        other.sort_by_cached_key(|_| { key = key.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1); key });
        let (one, another) = (fold(&history), fold(&other));
        prop_assert_eq!(&one, &another);
        prop_assert_eq!(rows(&one), rows(&another));
    }

    #[test]
    fn what_is_known_already_teaches_nothing(history in a_history()) {
        let mut calls = fold(&history);
        for fact in history.iter().filter(|fact| CallState::concerns(fact)) {
            prop_assert!(!calls.get_mut(fact.call.as_ref().unwrap()).unwrap().apply(fact));
        }
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
        for CallRows { row, legs } in rows(&fold(&history)).into_values() {
            prop_assert_eq!(row.ended_at.is_none(), row.outcome == Outcome::InProgress);
            prop_assert_eq!(row.talk_seconds.is_some(), row.answered_at.is_some() && row.ended_at.is_some());
            for seconds in [row.wait_seconds, row.talk_seconds].into_iter().flatten() {
                prop_assert!(seconds >= 0);
            }
            if let Some(agent) = &row.agent {
                prop_assert!(row.agents.contains(agent));
            }
            prop_assert!(row.conflicts.is_sorted());
            prop_assert!(!row.presumed || row.ended_at.is_some());
            for (position, leg) in (1..).zip(&legs) {
                prop_assert_eq!(leg.position, position);
                prop_assert!(leg.agent.as_ref().is_none_or(|agent| row.agents.contains(agent)));
                prop_assert!(leg.outcome != LegOutcome::InProgress || row.outcome == Outcome::InProgress);
                prop_assert!(!leg.transferred || leg.outcome == LegOutcome::Answered);
                prop_assert!(leg.answered_at.is_none() || leg.outcome == LegOutcome::Answered);
            }
            for agent in &row.agents {
                prop_assert!(legs.iter().any(|leg| leg.agent.as_ref() == Some(agent)));
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

#[test]
fn a_presumed_end_holds_until_the_call_is_heard_of_again() {
    let presumed = |second| decided(Decision::CallPresumedEnded, Some(1), Some(1), second, None);
    let facts = [rang(Some(1), 1, 0, inbound()), presumed(60), presumed(40)];
    let row = row_of(&facts);
    assert_eq!((row.outcome, row.presumed, row.ended_at), (Outcome::Missed, true, Some(at(60))));
    let with = |fact: Fact| row_of(&[&facts[..], &[fact]].concat());
    // An answer before the presumed end leaves it, one after it takes it away.
    assert_eq!(with(answered(Some(1), 1, 50, inbound())).outcome, Outcome::Answered);
    let row = with(answered(Some(1), 1, 61, inbound()));
    assert_eq!((row.outcome, row.presumed, row.ended_at), (Outcome::InProgress, false, None));
    // What really ends the call outranks what was presumed, whenever it is heard.
    let row = with(ended(Some(1), 1, 45, inbound()));
    assert_eq!((row.presumed, row.ended_at), (false, Some(at(45))));
    let row = with(summarised(1, 70, 4_000, CallSummarised { answered: Some(false), ..CallSummarised::default() }));
    assert_eq!((row.presumed, row.ended_at), (false, Some(at(70))));
}

#[test]
fn decisions_alone_are_no_call() {
    let mut state = CallState::default();
    state.apply(&wished(Decision::MissedCallClaimed, 1, 5, "asha"));
    state.apply(&decided(Decision::CallPresumedEnded, None, Some(1), 9, None));
    assert!(state.rows(&workspace(), &call(1), &Settings::default()).is_none());
    assert_eq!(state.handling().claim.unwrap().by, "asha");
}

#[test]
fn a_taken_call_stays_with_whom_it_is_until_it_is_released() {
    let claim = |second, by| wished(Decision::MissedCallClaimed, 1, second, by);
    let holder = |facts: &[Fact]| {
        let mut state = CallState::default();
        facts.iter().for_each(|fact| {
            state.apply(fact);
        });
        state.handling().claim.map(|claim| (claim.by, claim.at))
    };
    let release = wished(Decision::MissedCallReleased, 1, 20, "asha");
    let facts = [claim(15, "ravi"), release.clone(), claim(10, "asha"), claim(30, "ravi")];
    assert_eq!(holder(&facts[2..3]), Some(("asha".to_owned(), at(10))));
    assert_eq!(holder(&[claim(15, "ravi"), claim(10, "asha")]), Some(("asha".to_owned(), at(10))));
    assert_eq!(holder(&facts[..3]), None);
    assert_eq!(holder(&facts), Some(("ravi".to_owned(), at(30))));
}

#[test]
fn a_release_frees_the_claim_that_it_names_and_no_later_one() {
    let claim = |second, by| wished(Decision::MissedCallClaimed, 1, second, by);
    let state_of = |facts: &[Fact]| {
        let mut state = CallState::default();
        facts.iter().for_each(|fact| {
            state.apply(fact);
        });
        // As it is kept between two batches.
        let kept: CallState = serde_json::from_slice(&serde_json::to_vec(&state).unwrap()).unwrap();
        assert_eq!(kept, state);
        kept
    };
    let holder = |facts: &[Fact]| state_of(facts).handling().claim.map(|claim| (claim.by, claim.at));
    // Asha holds it, Devi frees and takes it, and Chitra releases what her page still shows: Asha's.
    let mut facts =
        vec![claim(10, "asha"), released(1, 20, "devi", 10), claim(21, "devi"), released(1, 25, "chitra", 10)];
    assert_eq!(holder(&facts), Some(("devi".to_owned(), at(21))));
    facts.push(released(1, 30, "chitra", 21));
    assert_eq!(holder(&facts), None);
    facts.reverse();
    assert_eq!(holder(&facts), None);
    // What was decided far ahead and undone there keeps nobody from claiming it now.
    let far = [claim(9_000_000, "asha"), released(1, 9_000_001, "asha", 9_000_000), claim(30, "ravi")];
    assert_eq!(holder(&far), Some(("ravi".to_owned(), at(30))));
    // One that names what is no moment frees nothing.
    let mut nonsense = released(1, 20, "ravi", 10);
    if let Body::Decided(decided) = &mut nonsense.body {
        decided.attributes.insert("claimed_at".to_owned(), "yesterday".to_owned());
    }
    assert!(!CallState::default().apply(&nonsense));
}

#[test]
fn a_state_that_was_written_before_releases_named_claims_is_read() {
    let old = r#"{"c":[[1774310400000,"0197f0a1b2c37000800000000000000a","asha"],[1774310401000,"0197f0a1b2c37000800000000000000b",null]]}"#;
    let state: CallState = serde_json::from_str(old).unwrap();
    assert_eq!(state.handling().claim, None);
}

fn on_leg(number: u8, mut fact: Fact) -> Fact {
    fact.leg = Some(leg(number));
    fact
}

/// Agent, outcome, wait, talk, whether it was transferred.
type Told = (Option<String>, &'static str, Option<i64>, Option<i64>, bool);

fn told(legs: &[CallLegRow]) -> Vec<Told> {
    let told = |leg: &CallLegRow| {
        let agent = leg.agent.as_ref().map(ToString::to_string);
        (agent, leg.outcome.as_str(), leg.wait_seconds, leg.talk_seconds, leg.transferred)
    };
    legs.iter().map(told).collect()
}

#[test]
fn a_call_that_hunts_two_agents_has_a_leg_for_each() {
    let facts = [
        on_leg(1, rang(Some(1), 1, 0, inbound())),
        on_leg(1, ended(Some(1), 1, 15, inbound())),
        on_leg(2, rang(Some(2), 1, 16, inbound())),
        on_leg(2, answered(Some(2), 1, 20, inbound())),
    ];
    let one = || Some(agent(1).to_string());
    let two = || Some(agent(2).to_string());
    let legs = legs_of(&facts);
    assert_eq!(told(&legs), [(one(), "unanswered", Some(15), None, false), (two(), "answered", Some(4), None, false)]);
    assert_eq!((legs[0].leg.clone(), legs[1].leg.clone()), (Some(leg(1)), Some(leg(2))));
    assert_eq!(told(&legs_of(&facts[..1])), [(one(), "in_progress", None, None, false)]);
}

#[test]
fn a_chain_orders_the_legs_and_an_agents_links_are_its_legs_in_their_order() {
    let link = |number, status: &str| ChainedAgent {
        agent: Some(agent(number)),
        status: Some(status.into()),
        ..ChainedAgent::default()
    };
    let chain = vec![link(2, "NormalUnspecified"), link(1, "answered"), link(2, "answered")];
    let facts = [
        on_leg(1, rang(Some(1), 1, 10, inbound())),
        on_leg(1, answered(Some(1), 1, 12, inbound())),
        on_leg(1, ended(Some(1), 1, 50, inbound())),
        on_leg(2, rang(Some(2), 1, 0, inbound())),
        on_leg(2, ended(Some(2), 1, 9, inbound())),
        on_leg(3, rang(Some(2), 1, 48, inbound())),
        on_leg(3, answered(Some(2), 1, 52, inbound())),
        on_leg(3, ended(Some(2), 1, 90, inbound())),
        on_leg(4, rang(Some(3), 1, 5, inbound())),
        summarised(1, 90, 4_000, CallSummarised { agents: chain, answered: Some(true), ..CallSummarised::default() }),
    ];
    let legs = legs_of(&facts);
    let of = |number| Some(agent(number).to_string());
    assert_eq!(
        told(&legs),
        [
            (of(2), "unanswered", Some(9), None, false),
            (of(1), "answered", Some(2), Some(38), true),
            // The third agent's leg stands behind the chain, but it began before the answer: it was no transfer.
            (of(2), "answered", Some(4), Some(38), false),
            (of(3), "unanswered", None, None, false),
        ]
    );
    let ids: Vec<_> = legs.iter().map(|leg| leg.leg.clone().unwrap()).collect();
    assert_eq!(ids, [leg(2), leg(1), leg(3), leg(4)]);
    assert_eq!(legs[0].status.as_deref(), Some("NormalUnspecified"));
}

#[test]
fn a_chain_without_events_is_legs_without_times() {
    let link =
        |status: &str| ChainedAgent { agent: Some(agent(1)), status: Some(status.into()), ..ChainedAgent::default() };
    let summary = CallSummarised { agents: vec![link("not_answered"), link("answered")], ..CallSummarised::default() };
    let legs = legs_of(&[summarised(1, 90, 100, summary)]);
    let one = || Some(agent(1).to_string());
    assert_eq!(told(&legs), [(one(), "unanswered", None, None, false), (one(), "answered", None, None, false)]);
    assert_eq!(legs[1].started_at, None);
}

#[test]
fn what_does_not_fit_together_is_named_and_status_and_timestamps_decide() {
    let events =
        [rang(Some(1), 1, 0, inbound()), answered(Some(1), 1, 10, inbound()), ended(Some(1), 1, 70, inbound())];
    let with = |summary| row_of(&[&events[..], &[summarised(1, 70, 100, summary)]].concat());
    let fits = CallSummarised { call_seconds: Some(71), talk_seconds: Some(59), ..CallSummarised::default() };
    let row = with(fits);
    assert_eq!((row.conflicts, row.call_seconds_sent, row.talk_seconds_sent), (vec![], Some(71), Some(59)));

    let row = with(CallSummarised { call_seconds: Some(72), talk_seconds: Some(70), ..CallSummarised::default() });
    assert_eq!(row.conflicts, [Conflict::CallSeconds, Conflict::TalkSeconds]);
    assert_eq!(row.talk_seconds, Some(60));

    let row = with(CallSummarised { answered: Some(false), ..CallSummarised::default() });
    assert_eq!((row.outcome, row.conflicts), (Outcome::Missed, vec![Conflict::Status]));

    let dial_status = Some("not_answered".to_owned());
    let row = with(CallSummarised { answered: Some(true), dial_status, ..CallSummarised::default() });
    assert_eq!((row.outcome, row.conflicts), (Outcome::Answered, vec![Conflict::Status]));

    let row = with(CallSummarised { ended_at: Some(at(-5)), ..CallSummarised::default() });
    assert_eq!(row.conflicts, [Conflict::EndedBeforeStart]);
    assert_eq!(row.talk_seconds, Some(0));
}

#[test]
fn a_call_goes_on_while_it_rings_on_another_leg() {
    let facts = [
        on_leg(1, rang(Some(1), 1, 0, inbound())),
        on_leg(1, ended(Some(1), 1, 15, inbound())),
        on_leg(2, rang(Some(2), 1, 16, inbound())),
        on_leg(2, answered(Some(2), 1, 20, inbound())),
        on_leg(2, ended(Some(2), 1, 60, inbound())),
    ];
    let first = row_of(&facts[..2]);
    assert_eq!((first.outcome, first.ended_at), (Outcome::Missed, Some(at(15))));
    let rings = row_of(&facts[..3]);
    assert_eq!((rings.outcome, rings.ended_at, rings.wait_seconds), (Outcome::InProgress, None, None));
    let talks = row_of(&facts[..4]);
    assert_eq!((talks.outcome, talks.ended_at, talks.talk_seconds), (Outcome::InProgress, None, None));
    assert_eq!(talks.conflicts, []);
    let over = row_of(&facts);
    assert_eq!((over.outcome, over.ended_at, over.talk_seconds), (Outcome::Answered, Some(at(60)), Some(40)));
    // Of one second the end counts; a summary's end whatever was heard; a call that went on may be presumed over.
    let at_once = [facts[0].clone(), facts[1].clone(), on_leg(2, rang(Some(2), 1, 15, inbound()))];
    assert_eq!(row_of(&at_once).ended_at, Some(at(15)));
    let with = |fact: Fact| row_of(&[&facts[..3], &[fact]].concat());
    let summary = CallSummarised { ended_at: Some(at(15)), ..CallSummarised::default() };
    assert_eq!(with(summarised(1, 15, 100, summary)).ended_at, Some(at(15)));
    assert_eq!(with(summarised(1, 40, 100, CallSummarised::default())).ended_at, Some(at(40)));
    let presumed = with(decided(Decision::CallPresumedEnded, None, Some(1), 600, None));
    assert_eq!((presumed.ended_at, presumed.presumed), (Some(at(600)), true));
}

#[test]
fn one_answer_is_one_answered_leg_where_the_chain_tells_of_an_earlier_try() {
    let link = |number, status: &str| ChainedAgent {
        agent: Some(agent(number)),
        status: Some(status.into()),
        ..ChainedAgent::default()
    };
    let chain = |links| CallSummarised { agents: links, answered: Some(true), ..CallSummarised::default() };
    let one = || Some(agent(1).to_string());
    let answer = [
        on_leg(2, rang(Some(1), 1, 30, inbound())),
        on_leg(2, answered(Some(1), 1, 34, inbound())),
        on_leg(2, ended(Some(1), 1, 60, inbound())),
    ];
    // The events know one of the two tries: the last.
    let tried_twice = summarised(1, 60, 100, chain(vec![link(1, "NormalUnspecified"), link(1, "answered")]));
    let legs = legs_of(&[&answer[..], &[tried_twice]].concat());
    assert_eq!(told(&legs), [(one(), "unanswered", None, None, false), (one(), "answered", Some(4), Some(26), false)]);
    // The chain knows one of the two: the last.
    let try_before = [on_leg(1, rang(Some(1), 1, 0, inbound())), on_leg(1, ended(Some(1), 1, 15, inbound()))];
    let answered_once = summarised(1, 60, 100, chain(vec![link(1, "answered")]));
    let legs = legs_of(&[&try_before[..], &answer[..], &[answered_once]].concat());
    assert_eq!(
        told(&legs),
        [(one(), "answered", Some(4), Some(26), false), (one(), "unanswered", Some(15), None, false)]
    );
}

#[test]
fn a_leg_that_no_link_took_is_a_transfer_only_if_it_began_when_the_other_was_answered() {
    let link = ChainedAgent { agent: Some(agent(1)), status: Some("answered".into()), ..ChainedAgent::default() };
    let summary = CallSummarised { agents: vec![link], answered: Some(true), ..CallSummarised::default() };
    let answer = [on_leg(1, rang(Some(1), 1, 20, inbound())), on_leg(1, answered(Some(1), 1, 25, inbound()))];
    let transferred = |second: i64| {
        let other = on_leg(2, rang(Some(2), 1, second, inbound()));
        legs_of(&[&answer[..], &[other, summarised(1, 90, 100, summary.clone())]].concat())[0].transferred
    };
    assert_eq!([transferred(0), transferred(24), transferred(25), transferred(70)], [false, false, true, true]);
}

#[test]
fn an_event_without_an_agent_is_of_the_one_leg_that_its_ucid_names() {
    let facts = [
        on_leg(1, rang(Some(1), 1, 0, inbound())),
        on_leg(1, answered(None, 1, 5, inbound())),
        on_leg(1, ended(None, 1, 60, inbound())),
    ];
    let one = || Some(agent(1).to_string());
    assert_eq!(told(&legs_of(&facts)), [(one(), "answered", Some(5), Some(55), false)]);
    // Where two are named it is nobody's, and so is what names no leg.
    let two = on_leg(1, rang(Some(2), 1, 2, inbound()));
    assert_eq!(legs_of(&[&facts[..], &[two]].concat()).len(), 3);
    assert_eq!(legs_of(&[facts[0].clone(), ended(None, 1, 60, inbound())]).len(), 2);
}
