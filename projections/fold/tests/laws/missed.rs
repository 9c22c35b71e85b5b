//! Missed calls: none is forgotten, none is closed by what came before it.

use helix_fold::{
    call::Outcome,
    missed::{CallerCall, obligations},
};
use helix_schemas::fact::Direction;
use proptest::prelude::*;

use crate::facts::{at, call, workspace};

fn a_call() -> impl Strategy<Value = CallerCall> {
    let kinds = prop::sample::select(vec![
        (Direction::Inbound, Outcome::Missed),
        (Direction::Inbound, Outcome::ShortAbandon),
        (Direction::Inbound, Outcome::Answered),
        (Direction::Outbound, Outcome::NoAnswer),
        (Direction::Outbound, Outcome::Answered),
    ]);
    (0..100_i64, 0..30_i64, kinds).prop_map(|(start, lasted, (direction, outcome))| CallerCall {
        call: call(0),
        direction: Some(direction),
        outcome,
        did: None,
        started_at: at(start),
        answered_at: (outcome == Outcome::Answered).then(|| at(start + lasted / 2)),
        ended_at: Some(at(start + lasted)),
    })
}

fn calls() -> impl Strategy<Value = Vec<CallerCall>> {
    prop::collection::vec(a_call(), 0..20).prop_map(|mut calls| {
        for (number, one) in (0_u8..).zip(&mut calls) {
            one.call = call(number);
        }
        calls
    })
}

proptest! {
    #[test]
    fn every_missed_call_is_an_obligation_whatever_the_order(calls in calls()) {
        let found = obligations(&workspace(), Some("919000000001"), &calls);
        let missed = calls.iter().filter(|call| matches!(call.outcome, Outcome::Missed | Outcome::ShortAbandon)).count();
        prop_assert_eq!(found.len(), missed);
        let mut backwards = calls.clone();
        backwards.reverse();
        prop_assert_eq!(&found, &obligations(&workspace(), Some("919000000001"), &backwards));
        for row in &found {
            let answered_later = calls.iter().any(|call| call.answered_at.is_some() && call.started_at >= row.missed_at);
            prop_assert_eq!(row.closing.is_some(), answered_later);
            if let Some(closing) = &row.closing {
                prop_assert!(closing.at >= row.missed_at);
            }
        }
    }
}

#[test]
fn calling_back_reaches_and_ringing_again_closes() {
    let one = |number, start: i64, end: i64, direction, outcome| CallerCall {
        call: call(number),
        direction: Some(direction),
        outcome,
        did: None,
        started_at: at(start),
        answered_at: (outcome == Outcome::Answered).then(|| at(start + 5)),
        ended_at: Some(at(end)),
    };
    let missed = one(1, 0, 30, Direction::Inbound, Outcome::Missed);
    let tried = one(2, 60, 80, Direction::Outbound, Outcome::NoAnswer);
    let reached = one(3, 120, 180, Direction::Outbound, Outcome::Answered);
    let rang = one(4, 100, 140, Direction::Inbound, Outcome::Answered);

    let open = &obligations(&workspace(), Some("x"), &[missed.clone(), tried.clone()])[0];
    assert_eq!((open.status(), open.attempts, open.priority), ("open", 1, 100));
    let closed = &obligations(&workspace(), Some("x"), &[missed.clone(), tried.clone(), reached])[0];
    let closing = closed.closing.as_ref().unwrap();
    assert_eq!((closing.reason, closing.by.clone(), closed.attempts), ("reached", call(3), 2));
    let closed = &obligations(&workspace(), Some("x"), &[missed, tried, rang])[0];
    assert_eq!(closed.closing.as_ref().unwrap().reason, "rang_again");
}
