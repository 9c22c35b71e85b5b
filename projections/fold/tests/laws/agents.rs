//! Agents: intervals without gap or overlap, and a tail computed anew is what a whole computation gives.

use std::collections::{BTreeMap, BTreeSet};

use helix_fold::{
    agent::{AgentFold, Entry, Interval, Says, StaleTail, TOUCH_GRACE_MILLIS, intervals},
    session::{EndedBy, sessions},
};
use helix_schemas::{
    decision::Decision,
    fact::{AgentState, Body, Direction, Fact},
    id::FactId,
    time::OccurredAt,
};
use proptest::prelude::*;

use crate::facts::{DAY, a_history, agent, answered, at, call, cases, on_state, party, rang, state};

fn whole(facts: &[Fact]) -> Vec<Interval> {
    let mut fold = AgentFold::default();
    for (arrival, fact) in facts.iter().enumerate() {
        fold.apply(fact, i64::try_from(arrival).unwrap());
    }
    fold.intervals()
}

/// As a store does it: keeps entries and intervals, and with each cut computes only the stale tail anew.
#[derive(Default)]
struct Stored {
    entries: Vec<Entry>,
    facts: BTreeSet<FactId>,
    intervals: BTreeMap<OccurredAt, Interval>,
}

impl Stored {
    fn apply(&mut self, cut: &[(i64, &Fact)]) {
        let mut changed: Option<OccurredAt> = None;
        for (arrival, fact) in cut {
            let Some((_, entry)) = Entry::of(fact, *arrival) else {
                continue;
            };
            if self.facts.insert(entry.fact) {
                changed = Some(changed.map_or(entry.at, |earliest: OccurredAt| earliest.min(entry.at)));
                self.entries.push(entry);
            }
        }
        let Some(changed) = changed else { return };
        let earlier = self.intervals.range(..changed).rev().filter(|(_, interval)| !interval.presumed);
        let from = earlier.map(|(at, _)| *at).nth(1).unwrap_or(OccurredAt::from_millis(i64::MIN));
        let stale =
            StaleTail::of(self.intervals.range(from..).map(|(_, interval)| interval.clone()).collect(), changed);
        let entries: Vec<Entry> = self
            .entries
            .iter()
            .filter(|entry| match (stale.from, &entry.says) {
                (None, _) => true,
                (Some(from), Says::State { .. } | Says::Decided { .. }) => entry.at >= from,
                (Some(from), Says::Touch { .. }) => entry.at.millis() >= from.millis() - TOUCH_GRACE_MILLIS,
            })
            .cloned()
            .collect();
        for interval in stale.stored {
            self.intervals.remove(&interval.started_at);
        }
        for interval in intervals(stale.before.as_ref(), &entries) {
            self.intervals.insert(interval.started_at, interval);
        }
    }
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn any_batch_cut_gives_the_intervals_of_the_whole(
        history in a_history(),
        cuts in prop::collection::vec(1..8_usize, 1..60),
    ) {
        let of_agent: Vec<Fact> = history.into_iter().filter(|fact| fact.agent == Some(agent(1))).collect();
        let arrived: Vec<(i64, &Fact)> = (0_i64..).zip(&of_agent).collect();
        let mut stored = Stored::default();
        let mut rest = &arrived[..];
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (batch, after) = rest.split_at(rest.len().min(*cut));
            stored.apply(batch);
            rest = after;
        }
        let found: Vec<Interval> = stored.intervals.into_values().collect();
        prop_assert_eq!(found, whole(&of_agent));
    }

    #[test]
    fn intervals_leave_no_gap_and_never_overlap(history in a_history()) {
        let of_agent: Vec<Fact> = history.into_iter().filter(|fact| fact.agent == Some(agent(1))).collect();
        let found = whole(&of_agent);
        for pair in found.windows(2) {
            prop_assert_eq!(pair[0].ended_at, Some(pair[1].started_at));
            prop_assert!(pair[0].started_at < pair[1].started_at);
        }
        if let Some(last) = found.last() {
            prop_assert_eq!(last.ended_at, None);
        }
    }

    #[test]
    fn the_seconds_of_sessions_add_up_to_the_signed_in_time_exactly(
        history in a_history(),
        millis in prop::collection::vec(0..1000_i64, 60),
    ) {
        let mut of_agent: Vec<Fact> = history.into_iter().filter(|fact| fact.agent == Some(agent(1))).collect();
        for (fact, millis) in of_agent.iter_mut().zip(millis) {
            fact.occurred_at = OccurredAt::from_millis(fact.occurred_at.millis() + millis);
        }
        let found = whole(&of_agent);
        let sessions = sessions(&found);
        let mut signed_in = 0;
        for session in &sessions {
            let states = [
                session.ready_seconds,
                session.ringing_seconds,
                session.on_call_seconds,
                session.wrap_up_seconds,
                session.paused_seconds,
                session.unknown_seconds,
            ];
            prop_assert!(states.iter().all(|seconds| *seconds >= 0));
            prop_assert_eq!(states.iter().sum::<i64>(), session.signed_in_seconds);
            prop_assert_eq!(session.ended_at.is_some(), session.ended_by.is_some());
            if let Some(ended_at) = session.ended_at {
                let whole = ended_at.millis().div_euclid(1000) - session.started_at.millis().div_euclid(1000);
                prop_assert_eq!(session.signed_in_seconds, whole);
            }
            signed_in += session.signed_in_seconds;
        }
        let of_intervals: i64 = found
            .iter()
            .filter(|interval| interval.state != AgentState::Offline)
            .filter_map(|interval| Some(interval.ended_at?.millis().div_euclid(1000) - interval.started_at.millis().div_euclid(1000)))
            .sum();
        prop_assert_eq!(signed_in, of_intervals);
        for pair in sessions.windows(2) {
            prop_assert!(pair[0].ended_at.is_some_and(|ended| ended < pair[1].started_at));
        }
    }

    #[test]
    fn a_decision_is_reversed_by_a_state_that_comes_to_light_between_it_and_its_ground(
        history in a_history(),
        ground in any::<prop::sample::Index>(),
        after in 2..30_i64,
        between in any::<prop::sample::Index>(),
        late in any::<prop::sample::Index>(),
    ) {
        let mut real = vec![state(1, 0, AgentState::Ready, None)];
        real.extend(history.into_iter().filter(|fact| {
            fact.agent == Some(agent(1)) && !matches!(fact.body, Body::Decided(_))
        }));
        let states: Vec<Fact> =
            real.iter().filter(|fact| matches!(fact.body, Body::AgentStateChanged(_))).cloned().collect();
        let ground = ground.get(&states);
        let second = ground.occurred_at.millis() / 1000 - DAY;
        let gap = i64::try_from(between.index(usize::try_from(after - 1).unwrap())).unwrap();
        let truth = state(1, second + 1 + gap, AgentState::Unknown, Some("truth"));
        // Among facts of one second the order of arrival matters, and here the truth arrives anywhere.
        real.retain(|fact| fact.occurred_at != truth.occurred_at);
        let mut without = real.clone();
        without.push(truth.clone());
        let mut with = real;
        with.push(on_state(Decision::WrapUpExpired, ground, after));
        with.insert(late.index(with.len() + 1), truth);
        prop_assert_eq!(whole(&with), whole(&without));
    }
}

fn told(found: &[Interval]) -> Vec<(AgentState, OccurredAt, Option<OccurredAt>)> {
    found.iter().map(|interval| (interval.state, interval.started_at, interval.ended_at)).collect()
}

#[test]
fn release_and_idle_in_one_second_are_one_ready() {
    let found = whole(&[
        state(1, 0, AgentState::Paused, Some("signed_in")),
        state(1, 30, AgentState::Ready, None),
        state(1, 31, AgentState::Ready, None),
    ]);
    assert_eq!(told(&found), [(AgentState::Paused, at(0), Some(at(30))), (AgentState::Ready, at(30), None)]);
}

#[test]
fn a_late_fact_corrects_history_and_leaves_the_present() {
    let found = whole(&[
        state(1, 0, AgentState::Ready, None),
        state(1, 60, AgentState::WrapUp, None),
        state(1, 20, AgentState::OnCall, None),
    ]);
    assert_eq!(
        told(&found),
        [
            (AgentState::Ready, at(0), Some(at(20))),
            (AgentState::OnCall, at(20), Some(at(60))),
            (AgentState::WrapUp, at(60), None),
        ]
    );
}

#[test]
fn of_one_second_the_last_to_arrive_counts() {
    let found = whole(&[state(1, 5, AgentState::Ready, None), state(1, 5, AgentState::Paused, Some("Lunch"))]);
    assert_eq!(told(&found), [(AgentState::Paused, at(5), None)]);
}

#[test]
fn a_call_is_found_by_time_and_carried_through_wrap_up() {
    let of = || party(Direction::Inbound, "919000000001");
    let found = whole(&[
        state(1, 0, AgentState::Ready, None),
        state(1, 10, AgentState::Ringing, None),
        rang(Some(1), 7, 11, of()),
        state(1, 19, AgentState::OnCall, None),
        answered(Some(1), 7, 19, of()),
        state(1, 93, AgentState::WrapUp, None),
        state(1, 105, AgentState::Ready, None),
        state(1, 200, AgentState::Ringing, None),
    ]);
    let calls: Vec<_> = found.iter().map(|interval| interval.call.clone()).collect();
    assert_eq!(calls, [None, Some(call(7)), Some(call(7)), Some(call(7)), None, None]);
}

#[test]
fn a_wrap_up_that_expired_is_ready_until_something_real_is_heard() {
    let wrap_up = state(1, 0, AgentState::WrapUp, None);
    let expired = on_state(Decision::WrapUpExpired, &wrap_up, 30);
    let mut facts = vec![wrap_up.clone(), expired.clone()];
    let found = whole(&facts);
    assert_eq!(told(&found), [(AgentState::WrapUp, at(0), Some(at(30))), (AgentState::Ready, at(30), None)]);
    assert_eq!((found[1].presumed, found[1].reason.as_deref()), (true, Some("wrap_up_expired")));
    facts.push(expired);
    assert_eq!(whole(&facts), found);

    facts.push(state(1, 50, AgentState::Ready, None));
    let found = whole(&facts);
    assert_eq!(told(&found)[2], (AgentState::Ready, at(50), None));
    assert!(!found[2].presumed);

    // That the agent was paused at second 20 is heard last of all.
    facts.push(state(1, 20, AgentState::Paused, Some("Lunch")));
    let states: Vec<AgentState> = whole(&facts).iter().map(|interval| interval.state).collect();
    assert_eq!(states, [AgentState::WrapUp, AgentState::Paused, AgentState::Ready]);
}

#[test]
fn a_decision_of_the_second_of_a_state_gives_way_to_the_later_arrival() {
    let wrap_up = state(1, 0, AgentState::WrapUp, None);
    let expired = on_state(Decision::WrapUpExpired, &wrap_up, 30);
    let paused = state(1, 30, AgentState::Paused, Some("Lunch"));
    for facts in [[wrap_up.clone(), expired.clone(), paused.clone()], [wrap_up, paused, expired]] {
        assert_eq!(whole(&facts).last().unwrap().state, AgentState::Paused);
    }
}

#[test]
fn a_session_says_what_ended_it() {
    let signed_in = |second| state(1, second, AgentState::Paused, Some("signed_in"));
    let (second, third) = (signed_in(200), signed_in(400));
    let facts = [
        signed_in(0),
        state(1, 10, AgentState::Ready, None),
        state(1, 100, AgentState::Offline, None),
        second.clone(),
        on_state(Decision::AgentPresumedOffline, &second, 60),
        third.clone(),
        on_state(Decision::SessionClosed, &third, 50),
        signed_in(500),
    ];
    let found = sessions(&whole(&facts));
    let ended: Vec<_> = found.iter().map(|session| (session.signed_in_seconds, session.ended_by)).collect();
    let expected =
        [(100, Some(EndedBy::Logout)), (60, Some(EndedBy::Presumed)), (50, Some(EndedBy::DayEnd)), (0, None)];
    assert_eq!(ended, expected);
    assert_eq!((found[0].paused_seconds, found[0].ready_seconds), (10, 90));
}
