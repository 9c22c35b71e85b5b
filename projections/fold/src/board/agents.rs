//! An agent's present, read off the tail of its timeline (docs/rules.md, "Agents and their intervals").
//!
//! The board and the table `read.agents` must say the same, so the present is the last interval that
//! [`crate::agent::intervals`] finds. What happened long ago cannot change it: only the tail of the timeline is kept,
//! with the interval that was in force before it and the state fact that a decision may rest on. An agent's facts lie in one
//! partition, so the cut of the tail depends on nothing but their order.

use helix_schemas::{
    fact::{AgentState, Fact},
    id::FactId,
    names::{AgentId, CallId},
    time::OccurredAt,
};
use serde::{Deserialize, Serialize};

use super::document::AgentCard;
use crate::agent::{Arrival, Entry, Interval, Registers, Says, TOUCH_GRACE_MILLIS, intervals_after};

/// The tail is cut when it has grown to this many entries,
const CUT_AT: usize = 24;
/// down to about this many: two or three calls.
const KEEP: usize = 12;
/// And cut anywhere, even within one second, beyond this many.
const CUT_ANYWHERE: usize = 96;

/// What is remembered of one agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub(super) struct AgentPresent {
    arrivals: Arrival,
    registers: Registers,
    before: Option<Interval>,
    /// The last state fact before the tail.
    last_state: Option<FactId>,
    /// States earlier than this are history that cannot change the present.
    horizon: Option<OccurredAt>,
    /// Sorted by `(at, arrival)`.
    tail: Vec<Entry>,
}

impl AgentPresent {
    /// Whether a fact says something of its agent's timeline.
    pub(super) fn concerns(fact: &Fact) -> bool {
        Entry::of(fact, 0).is_some()
    }

    /// Takes a fact of this agent; tells whether anything was learnt.
    pub(super) fn apply(&mut self, fact: &Fact) -> bool {
        let Some((_, entry)) = Entry::of(fact, self.arrivals) else {
            return false;
        };
        let earliest = match entry.says {
            Says::State { .. } | Says::Decided { .. } => self.horizon.map(OccurredAt::millis),
            Says::Touch { .. } => self.horizon.map(grace_before),
        };
        let history = earliest.is_some_and(|earliest| entry.at.millis() < earliest);
        if history || self.tail.iter().any(|known| known.fact == entry.fact) {
            return false;
        }
        self.arrivals += 1;
        self.registers.join(fact, entry.arrival);
        let place = self.tail.partition_point(|known| (known.at, known.arrival) < (entry.at, entry.arrival));
        self.tail.insert(place, entry);
        if self.tail.len() > CUT_AT {
            self.cut();
        }
        true
    }

    /// Cuts the tail just before a second in which a state began: what happened in one second stays together, and the
    /// interval before the cut is whole, with every touch that could give it its call.
    fn cut(&mut self) {
        let wanted = self.tail.len().saturating_sub(KEEP);
        let at = |index: usize| self.tail.get(index).map(|entry| entry.at);
        let begins_state = |index: usize| {
            let of_second = self.tail.iter().skip(index).take_while(|entry| Some(entry.at) == at(index));
            of_second.into_iter().any(|entry| matches!(entry.says, Says::State { .. }))
        };
        let between = (1..=wanted).rev().find(|index| at(index - 1) < at(*index) && begins_state(*index));
        let place = match between {
            Some(place) => place,
            None if self.tail.len() > CUT_ANYWHERE => wanted,
            None => return,
        };
        let Some(horizon) = at(place) else { return };
        let kept = self.tail.split_off(place);
        let old = std::mem::replace(&mut self.tail, kept);
        self.before = self.last_interval(&old);
        let states = old.iter().rev().filter(|entry| matches!(entry.says, Says::State { .. }));
        self.last_state = states.map(|entry| entry.fact).next().or(self.last_state);
        let in_reach = grace_before(horizon);
        let mut touches: Vec<Entry> = old
            .into_iter()
            .filter(|entry| matches!(entry.says, Says::Touch { .. }) && entry.at.millis() >= in_reach)
            .collect();
        touches.append(&mut self.tail);
        self.tail = touches;
        self.horizon = Some(horizon);
    }

    /// The last interval that these entries leave, with what was before them.
    fn last_interval(&self, entries: &[Entry]) -> Option<Interval> {
        intervals_after(self.before.as_ref(), self.last_state, entries).pop().or_else(|| self.before.clone())
    }

    /// The agent as shown; `None` while no state is known.
    pub(super) fn card(&self, agent: &AgentId) -> Option<AgentCard> {
        let present = self.last_interval(&self.tail)?;
        Some(AgentCard {
            agent_id: agent.clone(),
            name: self.registers.name.get().cloned(),
            state: present.state,
            since: present.started_at.to_rfc3339(),
            reason: present.reason,
            call_id: present.call,
            mode: self.registers.mode.get().cloned(),
            presumed: present.presumed,
        })
    }
}

const fn grace_before(at: OccurredAt) -> i64 {
    at.millis().saturating_sub(TOUCH_GRACE_MILLIS)
}

/// The stored form: short names, because it is written with every fact of the agent.
#[derive(Serialize, Deserialize)]
struct Stored {
    n: Arrival,
    r: Registers,
    b: Option<StoredInterval>,
    l: Option<FactId>,
    h: Option<OccurredAt>,
    t: Vec<StoredEntry>,
}

type StoredInterval = (AgentState, Option<String>, OccurredAt, Option<CallId>, bool);
type StoredEntry = (OccurredAt, Arrival, FactId, StoredSays);

#[derive(Serialize, Deserialize)]
enum StoredSays {
    #[serde(rename = "s")]
    State(AgentState, Option<String>),
    #[serde(rename = "c")]
    Touch(CallId),
    #[serde(rename = "d")]
    Decided(AgentState, String, FactId),
}

impl From<AgentPresent> for Stored {
    fn from(present: AgentPresent) -> Self {
        let entry = |entry: Entry| {
            let says = match entry.says {
                Says::State { state, reason } => StoredSays::State(state, reason),
                Says::Touch { call } => StoredSays::Touch(call),
                Says::Decided { state, reason, rests_on } => StoredSays::Decided(state, reason, rests_on),
            };
            (entry.at, entry.arrival, entry.fact, says)
        };
        Self {
            n: present.arrivals,
            r: present.registers,
            b: present.before.map(|held| (held.state, held.reason, held.started_at, held.call, held.presumed)),
            l: present.last_state,
            h: present.horizon,
            t: present.tail.into_iter().map(entry).collect(),
        }
    }
}

impl From<Stored> for AgentPresent {
    fn from(stored: Stored) -> Self {
        let entry = |(at, arrival, fact, says): StoredEntry| {
            let says = match says {
                StoredSays::State(state, reason) => Says::State { state, reason },
                StoredSays::Touch(call) => Says::Touch { call },
                StoredSays::Decided(state, reason, rests_on) => Says::Decided { state, reason, rests_on },
            };
            Entry { at, arrival, fact, says }
        };
        let before = |(state, reason, started_at, call, presumed): StoredInterval| Interval {
            state,
            reason,
            started_at,
            ended_at: None,
            call,
            presumed,
        };
        Self {
            arrivals: stored.n,
            registers: stored.r,
            before: stored.b.map(before),
            last_state: stored.l,
            horizon: stored.h,
            tail: stored.t.into_iter().map(entry).collect(),
        }
    }
}
