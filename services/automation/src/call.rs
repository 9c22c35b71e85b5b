//! What is remembered of a call: an order-free join, for its facts may lie in several partitions.
//!
//! A call that nobody ended is presumed ended
//! - at the moment its agent was free (ready or offline), the grace or more after the call's last sign of life; who is free sooner,
//!   and is so still when the grace is over, is free then. The agent is who answered last; in an outbound call that nobody answered, who dialled. Of an inbound call that nobody answered an
//!   agent's being free says nothing: the caller may be back in the queue;
//! - else its bound after its last sign of life: one bound for answered calls, a shorter one for the others.
//!
//! Of two grounds the one that takes effect first counts. A call is decided again only if it gave a sign of life after the
//! decision took effect, which has then lost its ground.

use std::collections::BTreeMap;

use helix_schemas::{
    decision::{Decision, attribute},
    fact::{Body, CallParty, Direction, Fact},
    id::FactId,
    names::{AgentId, CallId},
    time::OccurredAt,
};
use serde::{Deserialize, Serialize};

use crate::{
    agent::{Freeing, Touch},
    bounds::{Bounds, later, positive},
    timer::{Subject, Timer},
};

/// The moment at which an agent was free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Freed {
    /// When.
    pub at: OccurredAt,
    /// By which state fact. It may be a little older: then nothing but the grace had to pass.
    pub fact: FactId,
    /// Offline rather than ready.
    pub offline: bool,
}

/// One agent's part in a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Leg {
    touched: Touch,
    freed: Option<Freed>,
}

/// The last sign of life of a call, and the partition it lies in: whoever holds that decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Alive {
    touch: Touch,
    partition: i32,
}

/// One call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallWatch {
    /// The provider's callback came: the call is over.
    summarised: bool,
    /// The last end that an event told. It holds unless the call rang or was answered later: at another agent.
    ended_at: Option<OccurredAt>,
    alive: Option<Alive>,
    answered: bool,
    outbound: bool,
    /// The last answer of an agent, and the last ringing at one.
    answered_by: Option<(Touch, AgentId)>,
    rang_at: Option<(Touch, AgentId)>,
    legs: BTreeMap<AgentId, Leg>,
    decided: Option<OccurredAt>,
    last_at: Option<OccurredAt>,
}

impl CallWatch {
    /// Whether a fact says something of a call. [`Self::take`] ignores all others.
    #[must_use]
    pub fn concerns(fact: &Fact) -> bool {
        fact.call.is_some()
            && match &fact.body {
                Body::CallRang(_) | Body::CallAnswered(_) | Body::CallEnded(_) | Body::CallSummarised(_) => true,
                Body::Decided(_) => Decision::of(fact).is_some_and(|(word, _)| word == Decision::CallPresumedEnded),
                Body::AgentStateChanged(_) | Body::DirectoryChanged(_) | Body::Unknown(_) => false,
            }
    }

    /// Joins a fact of this call. `partition`: where it lies.
    pub fn take(&mut self, fact: &Fact, partition: i32) {
        self.join(fact, partition);
        if self.summarised {
            // Over for good, whatever else is told of it: in which order that came must leave no trace.
            *self = Self { summarised: true, last_at: self.last_at, ..Self::default() };
        }
    }

    fn join(&mut self, fact: &Fact, partition: i32) {
        let touch = Touch { at: fact.occurred_at, fact: fact.id };
        match &fact.body {
            Body::CallRang(rang) => {
                self.lives(touch, partition, &rang.party);
                self.leg(fact.agent.as_ref(), touch);
                self.rang_at = self.rang_at.take().max(fact.agent.clone().map(|agent| (touch, agent)));
            }
            Body::CallAnswered(answered) => {
                self.answered = true;
                self.lives(touch, partition, &answered.party);
                self.leg(fact.agent.as_ref(), touch);
                self.answered_by = self.answered_by.take().max(fact.agent.clone().map(|agent| (touch, agent)));
            }
            Body::CallEnded(_) => self.ended_at = self.ended_at.max(Some(fact.occurred_at)),
            Body::CallSummarised(_) => self.summarised = true,
            Body::Decided(_) => {
                if Self::concerns(fact) {
                    self.decided = self.decided.max(Some(fact.occurred_at));
                }
            }
            Body::AgentStateChanged(_) | Body::DirectoryChanged(_) | Body::Unknown(_) => return,
        }
        self.last_at = self.last_at.max(Some(fact.occurred_at));
    }

    fn lives(&mut self, touch: Touch, partition: i32, party: &CallParty) {
        self.alive = self.alive.max(Some(Alive { touch, partition }));
        self.outbound |= party.direction == Some(Direction::Outbound);
    }

    fn leg(&mut self, agent: Option<&AgentId>, touch: Touch) {
        let Some(agent) = agent else { return };
        match self.legs.get_mut(agent) {
            Some(leg) if leg.touched < touch => {
                // What freed the agent before this does not count any more; the agent's own watch finds what does.
                leg.touched = touch;
                leg.freed = None;
            }
            Some(_) => {}
            None => {
                self.legs.insert(agent.clone(), Leg { touched: touch, freed: None });
            }
        }
    }

    /// From when on an agent cannot have this call any more turned out to be otherwise.
    pub fn freed(&mut self, agent: &AgentId, freeing: &Freeing) {
        let Some(leg) = self.legs.get_mut(agent).filter(|leg| leg.touched == freeing.touched) else { return };
        leg.freed = if leg.freed == freeing.before {
            freeing.now
        } else {
            // A touch came again when the agent had forgotten what followed it: what is known here is from then.
            leg.freed.into_iter().chain(freeing.now).min()
        };
    }

    /// Whether its end is neither known nor presumed.
    #[must_use]
    pub fn is_open(&self) -> bool {
        // An end and a decision hold alike: as long as nothing of the call is later.
        let over = |alive: Alive| self.ended_at.max(self.decided).is_some_and(|over| over >= alive.touch.at);
        !self.summarised && self.alive.is_some_and(|alive| !over(alive))
    }

    /// The latest moment of its facts.
    #[must_use]
    pub const fn last_at(&self) -> Option<OccurredAt> {
        self.last_at
    }

    /// What is to be decided of it, when, and by the holder of which partition.
    #[must_use]
    pub fn timer(&self, call: &CallId, bounds: &Bounds) -> Option<(i32, Timer)> {
        let Alive { touch: alive, partition } = self.alive.filter(|_| self.is_open())?;
        let by_agent = self.by_agent(alive, bounds);
        let ground =
            by_agent.into_iter().chain(self.too_long(alive, bounds)).min_by_key(|ground| ground.effective_at)?;
        let agent = self.answered_by.as_ref().or(self.rang_at.as_ref()).map(|(_, agent)| agent.clone());
        let timer = Timer {
            decision: Decision::CallPresumedEnded,
            subject: Subject::Call(call.clone()),
            agent,
            effective_at: ground.effective_at,
            due_at: ground.due_at,
            evidence: ground.evidence,
            attributes: BTreeMap::from([(attribute::BECAUSE.to_owned(), ground.because.to_owned())]),
        };
        Some((partition, timer))
    }

    fn by_agent(&self, alive: Touch, bounds: &Bounds) -> Option<Ground> {
        let grace = positive(bounds.call_grace_seconds)?;
        let holder = match (&self.answered_by, &self.rang_at) {
            (Some((_, agent)), _) => agent,
            (None, Some((_, agent))) if self.outbound && !self.answered => agent,
            (None, _) => return None,
        };
        let freed = self.legs.get(holder)?.freed.filter(|freed| freed.at >= later(alive.at, grace))?;
        Some(Ground {
            effective_at: freed.at,
            // The call's own end often comes a moment after the agent's next state.
            due_at: later(freed.at, grace),
            because: if freed.offline { "agent_offline" } else { "agent_ready" },
            evidence: vec![freed.fact, alive.fact],
        })
    }

    fn too_long(&self, alive: Touch, bounds: &Bounds) -> Option<Ground> {
        let bound = positive(if self.answered { bounds.call_seconds } else { bounds.waiting_seconds })?;
        let over_at = later(alive.at, bound);
        Some(Ground { effective_at: over_at, due_at: over_at, because: "too_long", evidence: vec![alive.fact] })
    }
}

/// Why a call is presumed ended.
struct Ground {
    effective_at: OccurredAt,
    due_at: OccurredAt,
    because: &'static str,
    evidence: Vec<FactId>,
}
