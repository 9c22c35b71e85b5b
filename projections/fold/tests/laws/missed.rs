//! Missed calls: none is forgotten, none is closed by what came before it, and what is read in one pass is what the rules say.

use std::collections::{BTreeMap, BTreeSet};

use helix_fold::{
    call::{Claim, Handling, Outcome, Waive},
    missed::{CallerCall, ClosedReason, MissedCallRow, obligations},
    settings::{Priority, Rules, Settings},
    workspace::WorkspaceFold,
};
use helix_schemas::{
    decision::Decision,
    fact::{CallSummarised, Direction},
    names::CallId,
    time::OccurredAt,
};
use proptest::prelude::*;

use crate::facts::{a_history, answered, at, call, cases, ended, party, rang, summarised, wished, workspace};

fn a_handling() -> impl Strategy<Value = Handling> {
    let claim = prop::option::of((0..120_i64).prop_map(|second| Claim { at: at(second), by: "asha".into() }));
    let waive = prop::option::weighted(0.15, 0..120_i64)
        .prop_map(|second| second.map(|second| Waive { at: at(second), by: "ravi".into(), reason: String::new() }));
    (claim, waive).prop_map(|(claim, waive)| Handling { claim, waive })
}

fn a_call() -> impl Strategy<Value = CallerCall> {
    let kinds = prop::sample::select(vec![
        (Direction::Inbound, Outcome::Missed),
        (Direction::Inbound, Outcome::ShortAbandon),
        (Direction::Inbound, Outcome::Answered),
        (Direction::Outbound, Outcome::NoAnswer),
        (Direction::Outbound, Outcome::NoAnswer),
        (Direction::Outbound, Outcome::Answered),
        (Direction::Outbound, Outcome::InProgress),
    ]);
    let dispositions = prop::sample::select(vec![None, Some("Booked"), Some("Spam")]);
    (0..100_i64, 0..30_i64, kinds, dispositions, a_handling()).prop_map(
        |(start, lasted, (direction, outcome), disposition, handling)| CallerCall {
            call: call(0),
            direction: Some(direction),
            outcome,
            caller: Some("919000000001".to_owned()),
            did: None,
            started_at: at(start),
            answered_at: (outcome == Outcome::Answered).then(|| at(start + lasted / 2)),
            ended_at: (outcome != Outcome::InProgress).then(|| at(start + lasted)),
            disposition: disposition.map(str::to_owned),
            handling,
        },
    )
}

fn calls() -> impl Strategy<Value = Vec<CallerCall>> {
    prop::collection::vec(a_call(), 0..24).prop_map(|mut calls| {
        for (number, one) in (0_u8..).zip(&mut calls) {
            one.call = call(number);
        }
        calls
    })
}

fn rules() -> impl Strategy<Value = Rules> {
    (0..5_i64, 5..200_i64).prop_map(|(attempts, repeat_window_seconds)| Rules {
        attempts,
        priority: Priority { repeat_window_seconds, ..Priority::default() },
        spam_dispositions: BTreeSet::from(["Spam".to_owned()]),
        ..Rules::default()
    })
}

/// The rules word for word, each obligation for itself over all calls.
fn as_written(
    missed: &CallerCall,
    calls: &[CallerCall],
    rules: &Rules,
) -> (Option<(OccurredAt, String, ClosedReason)>, i64, i64) {
    let missed_at = missed.missed_at().unwrap();
    let later: Vec<&CallerCall> = calls.iter().filter(|call| call.started_at >= missed_at).collect();
    let outbound = |call: &CallerCall| call.direction == Some(Direction::Outbound);
    let mut closings: Vec<(OccurredAt, u8, String, ClosedReason)> = Vec::new();
    for call in &later {
        if let Some(answered_at) = call.answered_at {
            let reason = if outbound(call) { ClosedReason::Reached } else { ClosedReason::RangAgain };
            closings.push((answered_at, 0, call.call.to_string(), reason));
        }
    }
    let mut ends: Vec<(OccurredAt, &CallId)> = later
        .iter()
        .filter(|call| call.outcome == Outcome::NoAnswer)
        .map(|call| (call.ended_at.unwrap(), &call.call))
        .collect();
    ends.sort();
    if rules.attempts > 0
        && let Some((at, by)) = ends.get(usize::try_from(rules.attempts).unwrap() - 1)
    {
        closings.push((*at, 1, by.to_string(), ClosedReason::AttemptsExhausted));
    }
    if let Some(waive) = &missed.handling.waive {
        closings.push((waive.at.max(missed_at), 2, waive.by.clone(), ClosedReason::Waived));
    }
    closings.sort();
    let closing = closings.first().map(|(at, _, by, reason)| (*at, by.clone(), *reason));
    let in_time =
        |call: &&&CallerCall| outbound(call) && closing.as_ref().is_none_or(|(at, ..)| call.started_at <= *at);
    let attempts = i64::try_from(later.iter().filter(in_time).count()).unwrap();
    let repeats = calls
        .iter()
        .filter(|call| call.call != missed.call)
        .filter_map(CallerCall::missed_at)
        .filter(|at| {
            *at <= missed_at && missed_at.millis() - at.millis() <= rules.priority.repeat_window_seconds * 1000
        })
        .count();
    let spam = calls.iter().any(|call| {
        call.answered_at.is_some() && call.started_at < missed_at && call.disposition.as_deref() == Some("Spam")
    });
    let base = if missed.outcome == Outcome::Missed { 100 } else { 50 };
    let repeats = (10 * i64::try_from(repeats).unwrap()).min(50);
    (closing, attempts, base + repeats - 10 * attempts - if spam { 80 } else { 0 })
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn every_missed_call_is_an_obligation_as_the_rules_say_whatever_the_order(calls in calls(), rules in rules()) {
        let found = obligations(&workspace(), &calls, &rules);
        let missed: BTreeMap<&CallId, &CallerCall> =
            calls.iter().filter(|call| call.missed_at().is_some()).map(|call| (&call.call, call)).collect();
        prop_assert_eq!(found.len(), missed.len());
        let mut backwards = calls.clone();
        backwards.reverse();
        prop_assert_eq!(&found, &obligations(&workspace(), &backwards, &rules));
        for row in &found {
            let call = missed[&row.call];
            let (closing, attempts, priority) = as_written(call, &calls, &rules);
            let told = row.closing.as_ref().map(|closing| (closing.at, closing.by.clone(), closing.reason));
            prop_assert_eq!((told, row.attempts, row.priority), (closing, attempts, priority));
            let claimed = call.handling.claim.as_ref().filter(|_| row.closing.is_none());
            prop_assert_eq!(row.claimed_by.as_ref(), claimed.map(|claim| &claim.by));
            prop_assert_eq!(row.claimed_at, claimed.map(|claim| claim.at));
        }
    }

    #[test]
    fn no_missed_call_is_ever_outside_the_list(history in a_history()) {
        let mut fold = WorkspaceFold::new(workspace(), Settings::default());
        for (arrival, fact) in (0_i64..).zip(&history) {
            fold.apply(fact, arrival);
            let rows = fold.rows();
            let missed: Vec<&CallId> = rows.calls.iter().filter(|row| row.is_missed()).map(|row| &row.call).collect();
            let listed: Vec<&CallId> = rows.missed_calls.iter().map(|row| &row.call).collect();
            prop_assert_eq!(missed, listed);
        }
    }
}

fn rows(facts: &[helix_schemas::fact::Fact]) -> Vec<MissedCallRow> {
    let mut fold = WorkspaceFold::new(workspace(), Settings::default());
    for (arrival, fact) in (0_i64..).zip(facts) {
        fold.apply(fact, arrival);
    }
    fold.rows().missed_calls
}

fn inbound() -> helix_schemas::fact::CallParty {
    party(Direction::Inbound, "919000000001")
}

fn outbound() -> helix_schemas::fact::CallParty {
    party(Direction::Outbound, "919000000001")
}

#[test]
fn calling_back_reaches_and_ringing_again_closes() {
    let missed = [rang(None, 1, 0, inbound()), ended(None, 1, 30, inbound())];
    let tried = [rang(Some(1), 2, 60, outbound()), ended(Some(1), 2, 80, outbound())];
    let reached = [rang(Some(1), 3, 120, outbound()), answered(Some(1), 3, 125, outbound())];
    let rang_again = [rang(Some(1), 4, 100, inbound()), answered(Some(1), 4, 105, inbound())];

    let open = &rows(&[&missed[..], &tried[..]].concat())[0];
    assert_eq!((open.status(), open.attempts, open.priority), ("open", 1, 90));
    assert_eq!(open.due_at, at(630));
    let closed = &rows(&[&missed[..], &tried[..], &reached[..]].concat())[0];
    let closing = closed.closing.as_ref().unwrap();
    assert_eq!((closing.reason, closing.by.clone(), closed.attempts), (ClosedReason::Reached, call(3).to_string(), 2));
    let closed = &rows(&[&missed[..], &tried[..], &rang_again[..]].concat())[0];
    assert_eq!(closed.closing.as_ref().unwrap().reason, ClosedReason::RangAgain);
}

#[test]
fn the_third_failed_attempt_closes_and_a_late_answer_opens_nothing_but_counts_first() {
    let mut facts = vec![rang(None, 1, 0, inbound()), ended(None, 1, 30, inbound())];
    for attempt in 2..=4_u8 {
        let second = i64::from(attempt) * 60;
        assert_eq!(rows(&facts)[0].status(), "open");
        facts.extend([rang(Some(1), attempt, second, outbound()), ended(Some(1), attempt, second + 20, outbound())]);
    }
    let closed = &rows(&facts)[0];
    let closing = closed.closing.as_ref().unwrap();
    assert_eq!(
        (closing.reason, closing.by.clone(), closing.at),
        (ClosedReason::AttemptsExhausted, call(4).to_string(), at(260))
    );
    assert_eq!((closed.attempts, closed.priority), (3, 70));
    // It turns out that the second of them was answered.
    let told = CallSummarised { answered: Some(true), answered_at: Some(at(185)), ..CallSummarised::default() };
    facts.push(summarised(3, 200, 4_000, told));
    let closing = rows(&facts)[0].closing.clone().unwrap();
    assert_eq!((closing.reason, closing.at), (ClosedReason::Reached, at(185)));
}

#[test]
fn a_missed_call_is_claimed_released_and_waived_in_somebodys_name() {
    let mut facts = vec![rang(None, 1, 0, inbound()), ended(None, 1, 30, inbound())];
    facts.push(wished(Decision::MissedCallClaimed, 1, 40, "asha"));
    facts.push(wished(Decision::MissedCallClaimed, 1, 45, "ravi"));
    let row = &rows(&facts)[0];
    assert_eq!((row.claimed_by.as_deref(), row.claimed_at, row.status()), (Some("asha"), Some(at(40)), "open"));
    facts.push(wished(Decision::MissedCallReleased, 1, 50, "asha"));
    assert_eq!(rows(&facts)[0].claimed_by, None);
    facts.push(wished(Decision::MissedCallWaived, 1, 70, "ravi"));
    facts.push(wished(Decision::MissedCallWaived, 1, 60, "asha"));
    let row = &rows(&facts)[0];
    let closing = row.closing.as_ref().unwrap();
    assert_eq!((closing.at, closing.by.as_str(), closing.reason), (at(60), "asha", ClosedReason::Waived));
    // A waive in nobody's name is none.
    let mut nameless = wished(Decision::MissedCallWaived, 1, 60, "asha");
    if let helix_schemas::fact::Body::Decided(decided) = &mut nameless.body {
        decided.attributes.clear();
    }
    assert_eq!(rows(&[rang(None, 1, 0, inbound()), ended(None, 1, 30, inbound()), nameless])[0].status(), "open");
}

#[test]
fn one_callers_calls_are_linked_however_the_number_is_written() {
    let written = |direction, number: &str| party(direction, number);
    let facts = [
        rang(None, 1, 0, written(Direction::Inbound, "9876543210")),
        ended(None, 1, 30, written(Direction::Inbound, "9876543210")),
        rang(None, 2, 40, written(Direction::Inbound, "+91 98765 43210")),
        ended(None, 2, 70, written(Direction::Inbound, "+91 98765 43210")),
        rang(Some(1), 3, 100, written(Direction::Outbound, "09876543210")),
        answered(Some(1), 3, 110, written(Direction::Outbound, "09876543210")),
    ];
    let open = rows(&facts[..4]);
    assert_eq!((open[0].priority, open[1].priority), (100, 110), "the second is a repeat of the first");
    let closed = rows(&facts);
    for (row, sent) in closed.iter().zip(["9876543210", "+91 98765 43210"]) {
        assert_eq!(row.closing.as_ref().map(|closing| closing.by.clone()), Some(call(3).to_string()));
        assert_eq!(row.caller.as_deref(), Some(sent), "the text stays as it was sent");
    }
    // Who withholds the number is nobody in particular.
    let anonymous = |direction| party(direction, "Anonymous");
    let facts = [
        rang(None, 1, 0, anonymous(Direction::Inbound)),
        ended(None, 1, 30, anonymous(Direction::Inbound)),
        rang(None, 2, 60, anonymous(Direction::Inbound)),
        answered(Some(1), 2, 70, anonymous(Direction::Inbound)),
    ];
    assert_eq!(rows(&facts)[0].status(), "open");
}

#[test]
fn a_callers_spam_is_known_however_the_number_is_written() {
    let spam = |number: &str| CallSummarised {
        party: party(Direction::Inbound, number),
        answered: Some(true),
        started_at: Some(at(0)),
        ended_at: Some(at(20)),
        disposition: Some("Spam".into()),
        ..CallSummarised::default()
    };
    let rules = Rules { spam_dispositions: BTreeSet::from(["Spam".to_owned()]), ..Rules::default() };
    let mut fold = WorkspaceFold::new(workspace(), Settings { rules, ..Settings::default() });
    fold.apply(&summarised(1, 20, 60, spam("9876543210")), 0);
    fold.apply(&rang(None, 2, 100, party(Direction::Inbound, "919876543210")), 1);
    fold.apply(&ended(None, 2, 130, party(Direction::Inbound, "919876543210")), 2);
    assert_eq!(fold.rows().missed_calls[0].priority, 20);
}

#[test]
fn a_waive_that_came_before_the_end_closes_at_the_end() {
    // It was told of an end at second 30; the call rang on until 90.
    let facts = [
        rang(None, 1, 0, inbound()),
        ended(None, 1, 30, inbound()),
        wished(Decision::MissedCallWaived, 1, 50, "asha"),
        ended(None, 1, 90, inbound()),
    ];
    let row = &rows(&facts)[0];
    assert_eq!((row.missed_at, row.closing.as_ref().map(|closing| closing.at)), (at(90), Some(at(90))));
    assert_eq!(rows(&facts[..3])[0].closing.as_ref().map(|closing| closing.at), Some(at(50)));
}
