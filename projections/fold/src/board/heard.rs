//! What was last heard of the provider: the watermark, and the last event of each of its three streams. Joined without order,
//! so that partitions may interleave as they like.

use std::collections::BTreeMap;

use helix_schemas::{
    fact::{Body, Fact, OccurredAtFrom},
    time::{OccurredAt, ReceivedAt},
};
use serde::{Deserialize, Serialize};

use crate::settings::FURTHEST_AHEAD_MILLIS;

/// The latest moment any fact of the workspace speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermark {
    /// By the provider's clock.
    pub occurred_at: OccurredAt,
    /// When the fact of that moment first reached us: with it a reader knows what the provider's clock says now.
    pub received_at: ReceivedAt,
}

/// One of the provider's streams, by what it tells (ozonetel.md 1 to 3). Not by the path it came in at: either kind is taken at
/// either path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Producer {
    /// What agents do.
    AgentEvent,
    /// What calls do.
    CallEvent,
    /// The summary of a call, at its end.
    MissedCall,
}

impl Producer {
    /// Which stream a fact is of; `None` where it is our own, or of our directory.
    fn of(fact: &Fact) -> Option<Self> {
        match &fact.body {
            Body::AgentStateChanged(_) => Some(Self::AgentEvent),
            Body::CallRang(_) | Body::CallAnswered(_) | Body::CallEnded(_) => Some(Self::CallEvent),
            Body::CallSummarised(_) => Some(Self::MissedCall),
            Body::Unknown(_) if fact.call.is_some() => Some(Self::CallEvent),
            Body::Unknown(_) => Some(Self::AgentEvent),
            Body::DirectoryChanged(_) | Body::Decided(_) => None,
        }
    }

    /// The word in paths and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AgentEvent => "agent-event",
            Self::CallEvent => "call-event",
            Self::MissedCall => "missed-call",
        }
    }
}

/// The last event of a producer: of those that reached us last, the one that speaks of the latest moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LastEvent {
    /// When it reached us.
    pub received_at: ReceivedAt,
    /// Of when it speaks.
    pub occurred_at: OccurredAt,
}

/// Everything of this module, of one workspace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// `None` before the first fact that carries the provider's time.
    pub watermark: Option<Watermark>,
    /// The latest moment that is here by the provider's events: as the watermark, but an event that carries no time of its own
    /// counts too, at its arrival. What starts later lies ahead.
    pub reached: Option<OccurredAt>,
    /// By producer; those that never sent anything are not there.
    pub producers: BTreeMap<Producer, LastEvent>,
}

impl Heard {
    /// Takes in a fact; tells whose event it is.
    pub(super) fn join(&mut self, fact: &Fact) -> Option<Producer> {
        let is_here = !is_far_ahead(fact);
        if is_here {
            Watermark::join(&mut self.watermark, fact);
        }
        let producer = Producer::of(fact)?;
        if is_here {
            self.reached = self.reached.max(Some(fact.occurred_at));
        }
        let event = LastEvent { received_at: fact.received_at, occurred_at: fact.occurred_at };
        let held = self.producers.entry(producer).or_insert(event);
        *held = event.max(*held);
        Some(producer)
    }
}

/// One that lies too far ahead of its arrival says nothing of the provider's clock.
fn is_far_ahead(fact: &Fact) -> bool {
    fact.occurred_at.millis().saturating_sub(fact.received_at.micros().div_euclid(1000)) > FURTHEST_AHEAD_MILLIS
}

impl Watermark {
    /// The later of the two; of one moment, what arrived first. No order of facts matters. A fact that carries no time of
    /// the provider's says nothing of the provider's clock.
    fn join(held: &mut Option<Self>, fact: &Fact) {
        if fact.occurred_at_from == OccurredAtFrom::Received {
            return;
        }
        let told = Self { occurred_at: fact.occurred_at, received_at: fact.received_at };
        let later = held.is_none_or(|known| {
            told.occurred_at > known.occurred_at
                || (told.occurred_at == known.occurred_at && told.received_at < known.received_at)
        });
        if later {
            *held = Some(told);
        }
    }
}
