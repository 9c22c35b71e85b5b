//! Histories of facts, for proof and for measurement: what a floor of agents does, endlessly, by a seed.
//!
//! An iterator in order of arrival, in bounded memory, so that ten facts and ten million cost the same each. The facts
//! are as the ingest writes them; what providers do to them (repeats, lateness, callbacks long after the call, calls that
//! move from one agent to another) is in them in known shares.

mod dice;
mod floor;
mod make;

use std::collections::BinaryHeap;

use helix_schemas::{fact::Fact, names::WorkspaceId};

use crate::{dice::Dice, floor::Floor};

/// What kind of history.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Everything follows from it.
    pub seed: u64,
    /// The hospital.
    pub workspace: WorkspaceId,
    /// Agents on the floor.
    pub agents: u32,
    /// When it begins, Unix seconds.
    pub start: i64,
    /// Of a thousand facts, how many come a second time.
    pub repeated: u32,
    /// Of a thousand facts, how many come late, by up to ten minutes.
    pub late: u32,
}

impl Plan {
    /// A hospital of so many agents, with the disturbances of a usual day.
    ///
    /// # Panics
    /// Where the slug is none.
    #[must_use]
    pub fn new(workspace: &str, agents: u32, seed: u64) -> Self {
        #[allow(clippy::expect_used)]
        let workspace = WorkspaceId::new(workspace).expect("a slug");
        Self { seed, workspace, agents: agents.max(2), start: 1_774_310_400, repeated: 20, late: 20 }
    }

    /// Its facts, in order of arrival; endless.
    #[must_use]
    pub fn history(self) -> History {
        let dice = Dice::new(self.seed);
        let floor = Floor::new(&self);
        History { plan: self, dice, floor, arriving: BinaryHeap::new(), sent: 0 }
    }
}

/// A fact on its way.
struct Arriving {
    /// Our clock, Unix milliseconds.
    at: i64,
    /// Orders what arrives together.
    sent: u64,
    fact: Box<Fact>,
}

impl PartialEq for Arriving {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.sent) == (other.at, other.sent)
    }
}

impl Eq for Arriving {}

impl PartialOrd for Arriving {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Arriving {
    /// The earliest is the greatest: a heap gives the greatest first.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.at, other.sent).cmp(&(self.at, self.sent))
    }
}

/// The facts of a [`Plan`].
pub struct History {
    plan: Plan,
    dice: Dice,
    floor: Floor,
    arriving: BinaryHeap<Arriving>,
    sent: u64,
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl History {
    fn send(&mut self, fact: Fact, delay_millis: i64) {
        let usual = i64::from(self.dice.below(400)) + 20;
        let late = if self.dice.below(1000) < self.plan.late { i64::from(self.dice.below(600_000)) } else { 0 };
        let at = fact.occurred_at.millis() + delay_millis + usual + late;
        if self.dice.below(1000) < self.plan.repeated {
            let again = at + i64::from(self.dice.below(120_000));
            self.arrive(fact.clone(), again);
        }
        self.arrive(fact, at);
    }

    fn arrive(&mut self, mut fact: Fact, at: i64) {
        fact.received_at = helix_schemas::time::ReceivedAt::from_micros(at * 1000);
        self.sent += 1;
        self.arriving.push(Arriving { at, sent: self.sent, fact: Box::new(fact) });
    }
}

impl Iterator for History {
    type Item = Fact;

    fn next(&mut self) -> Option<Fact> {
        loop {
            // Whatever the floor does next cannot arrive before it happens.
            let happens = self.floor.next_at() * 1000;
            if self.arriving.peek().is_some_and(|first| first.at < happens) {
                return self.arriving.pop().map(|first| *first.fact);
            }
            for (fact, delay) in self.floor.step(&mut self.dice) {
                self.send(fact, delay);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    // What a helper of a test cannot make is a failed test.
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use helix_schemas::fact::Kind;

    use super::*;

    #[test]
    fn a_seed_gives_one_history_and_another_seed_another() {
        let facts = |seed| Plan::new("ramaiah", 20, seed).history().take(2_000).collect::<Vec<_>>();
        assert_eq!(facts(7), facts(7));
        assert_ne!(facts(7), facts(8));
    }

    #[test]
    fn a_history_has_every_kind_of_call_and_disturbance() {
        let facts: Vec<Fact> = Plan::new("ramaiah", 50, 3).history().take(20_000).collect();
        for kind in [Kind::AgentStateChanged, Kind::CallRang, Kind::CallAnswered, Kind::CallEnded, Kind::CallSummarised]
        {
            assert!(facts.iter().filter(|fact| fact.kind == kind).count() > 500, "{kind:?}");
        }
        let ids: BTreeSet<_> = facts.iter().map(|fact| fact.id).collect();
        assert!(ids.len() < facts.len(), "nothing is repeated");
        assert!(facts.windows(2).any(|pair| pair[0].occurred_at > pair[1].occurred_at), "nothing is late");
        assert!(facts.windows(2).all(|pair| pair[0].received_at <= pair[1].received_at));
        assert!(facts.iter().any(|fact| fact.call.is_some() && fact.agent.is_none()), "nobody hangs up in the queue");
    }
}
