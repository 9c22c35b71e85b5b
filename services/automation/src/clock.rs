//! The provider's now of a workspace (docs/decisions/0009): its watermark, and the time that has passed here since that
//! reached us.

use helix_fold::settings::{FURTHEST_AHEAD_MILLIS, NOW_AHEAD_MILLIS};
use helix_schemas::{
    decision,
    fact::{Fact, OccurredAtFrom},
    time::{OccurredAt, ReceivedAt},
};

/// A moment so far ahead of when it reached us that it is no time but a mistake: it moves no clock, and nothing is presumed of
/// it.
pub(crate) fn is_too_far_ahead(fact: &Fact) -> bool {
    fact.occurred_at.millis().saturating_sub(fact.received_at.as_occurred().millis()) > FURTHEST_AHEAD_MILLIS
}

/// The watermark by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// The latest `occurred_at` that the provider told.
    pub occurred_at: OccurredAt,
    /// When that reached us.
    pub received_at: ReceivedAt,
}

impl Clock {
    /// What a fact says of the provider's clock: nothing, where its time is ours or too far ahead or it is a decision.
    #[must_use]
    pub fn of(fact: &Fact) -> Option<Self> {
        let provider_says = fact.occurred_at_from != OccurredAtFrom::Received && fact.provider != decision::PROVIDER;
        (provider_says && !is_too_far_ahead(fact))
            .then_some(Self { occurred_at: fact.occurred_at, received_at: fact.received_at })
    }

    /// The later of two; of one moment that which was heard of first.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        let later = (other.occurred_at, std::cmp::Reverse(other.received_at))
            > (self.occurred_at, std::cmp::Reverse(self.received_at));
        if later { other } else { self }
    }

    /// The provider's now, when it is `ours` here: never more than a little ahead of that.
    #[must_use]
    pub fn now(self, ours: ReceivedAt) -> OccurredAt {
        let passed = ours.micros().saturating_sub(self.received_at.micros()).max(0) / 1000;
        let now = self.occurred_at.millis().saturating_add(passed);
        OccurredAt::from_millis(now.min(ours.as_occurred().millis().saturating_add(NOW_AHEAD_MILLIS)))
    }
}
