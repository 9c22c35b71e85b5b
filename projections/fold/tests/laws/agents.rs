//! Agents: intervals without gap or overlap, and a tail computed anew is what a whole computation gives.

use std::collections::{BTreeMap, BTreeSet};

use helix_fold::agent::{AgentFold, Entry, Interval, Says, StaleTail, TOUCH_GRACE_MILLIS, intervals};
use helix_schemas::{
    fact::{AgentState, Direction, Fact},
    id::FactId,
    time::OccurredAt,
};
use proptest::prelude::*;

use crate::facts::{a_history, agent, answered, at, call, party, rang, state};

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
        let begun_before: Vec<OccurredAt> = self.intervals.range(..changed).map(|(at, _)| *at).rev().take(2).collect();
        let from = begun_before.last().copied().unwrap_or(OccurredAt::from_millis(i64::MIN));
        let stale =
            StaleTail::of(self.intervals.range(from..).map(|(_, interval)| interval.clone()).collect(), changed);
        let entries: Vec<Entry> = self
            .entries
            .iter()
            .filter(|entry| match (stale.from, &entry.says) {
                (None, _) => true,
                (Some(from), Says::State { .. }) => entry.at >= from,
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
    #![proptest_config(ProptestConfig::with_cases(2_000))]

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
