//! A well-formed event whose workspace is not known yet (law 3: never guessed).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    fact::{Body, Fact, Kind, OccurredAtFrom, Source, Unknown},
    id::FactId,
    names::{AgentId, CallId, Did, LegId, WorkspaceId},
    time::{OccurredAt, ReceivedAt},
};

/// One record of `telephony.unrouted`: a [`Fact`] without its workspace. Fields as there.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct UnroutedEvent {
    pub id: FactId,
    pub agent: Option<AgentId>,
    pub call: Option<CallId>,
    pub leg: Option<LegId>,
    pub provider: String,
    pub kind: Kind,
    #[serde(deserialize_with = "crate::time::of_a_fact::occurred")]
    pub occurred_at: OccurredAt,
    pub occurred_at_from: OccurredAtFrom,
    #[serde(deserialize_with = "crate::time::of_a_fact::received")]
    pub received_at: ReceivedAt,
    #[serde(with = "apache_avro::serde::bytes")]
    pub raw: Vec<u8>,
    pub raw_content_type: String,
    pub source: Source,
    pub normaliser: i32,
    pub body: Body,
    /// The DID it was addressed to, for the directory.
    pub did: Option<Did>,
    /// Why it could not be attributed.
    pub reason: String,
    /// Set: the record is no event but a mark, see [`Self::mark`]. Since version 2.
    #[serde(default)]
    pub redriven: Option<Redriven>,
}

/// Where an unrouted event went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redriven {
    /// The workspace whose fact it became.
    pub workspace: WorkspaceId,
    /// Offset of the event, in the partition that holds the mark too.
    pub offset: i64,
    /// Our clock when the fact was acknowledged.
    pub at: ReceivedAt,
}

impl fmt::Debug for UnroutedEvent {
    /// Coordinates only, as for [`Fact`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnroutedEvent").field("id", &self.id).field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl UnroutedEvent {
    /// The mark that this event was appended to `telephony.facts`. Agent and DID stay, and with them the record key
    /// and the partition; bytes and body do not: a mark is never applied as an event.
    #[must_use]
    pub fn mark(&self, redriven: Redriven) -> Self {
        let body = Body::Unknown(Unknown::default());
        Self {
            id: self.id,
            agent: self.agent.clone(),
            call: self.call.clone(),
            leg: self.leg.clone(),
            provider: self.provider.clone(),
            kind: body.kind(),
            occurred_at: self.occurred_at,
            occurred_at_from: self.occurred_at_from,
            received_at: self.received_at,
            raw: Vec::new(),
            raw_content_type: String::new(),
            source: self.source.clone(),
            normaliser: self.normaliser,
            body,
            did: self.did.clone(),
            reason: self.reason.clone(),
            redriven: Some(redriven),
        }
    }

    /// The same event under a workspace: same id, same times.
    #[must_use]
    pub fn into_fact(self, workspace: WorkspaceId) -> Fact {
        Fact {
            id: self.id,
            workspace,
            agent: self.agent,
            call: self.call,
            leg: self.leg,
            provider: self.provider,
            kind: self.kind,
            occurred_at: self.occurred_at,
            occurred_at_from: self.occurred_at_from,
            received_at: self.received_at,
            raw: self.raw,
            raw_content_type: self.raw_content_type,
            source: self.source,
            normaliser: self.normaliser,
            body: self.body,
        }
    }
}
