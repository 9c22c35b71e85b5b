//! A timer: a decision that is made unless something happens before it is due.

use std::collections::BTreeMap;

use helix_schemas::{
    decision::{Deciding, Decision},
    fact::Source,
    id::FactId,
    names::{AgentId, CallId, WorkspaceId},
    time::{OccurredAt, ReceivedAt},
};
use serde::{Deserialize, Serialize};

/// The endpoint of every decision of automation, as a fact's source says it.
pub const ENDPOINT: &str = "automation";

/// Whom a decision is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Subject {
    /// An agent.
    Agent(AgentId),
    /// A call.
    Call(CallId),
}

impl Subject {
    /// The word and the id of its row.
    #[must_use]
    pub fn columns(&self) -> (&'static str, &str) {
        match self {
            Self::Agent(agent) => ("agent", agent.as_str()),
            Self::Call(call) => ("call", call.as_str()),
        }
    }
}

/// A decision that is made once the provider's clock has passed `due_at`. Made of facts and bounds alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timer {
    /// What is decided.
    #[serde(with = "word")]
    pub decision: Decision,
    /// Of whom.
    pub subject: Subject,
    /// The agent of the call, where it is about a call and one is known.
    pub agent: Option<AgentId>,
    /// When it takes effect.
    pub effective_at: OccurredAt,
    /// When it may be made.
    pub due_at: OccurredAt,
    /// What it rests on, and what else led to it.
    pub evidence: Vec<FactId>,
    /// Everything else.
    pub attributes: BTreeMap<String, String>,
}

impl Timer {
    /// The decision as it is written.
    #[must_use]
    pub fn deciding(&self, workspace: &WorkspaceId, received_at: ReceivedAt) -> Deciding {
        let (agent, call) = match &self.subject {
            Subject::Agent(agent) => (Some(agent.clone()), None),
            Subject::Call(call) => (self.agent.clone(), Some(call.clone())),
        };
        Deciding {
            workspace: workspace.clone(),
            decision: self.decision,
            agent,
            call,
            effective_at: self.effective_at,
            received_at,
            evidence: self.evidence.clone(),
            attributes: self.attributes.clone(),
            request: None,
            source: Source { endpoint: ENDPOINT.to_owned(), ..Source::default() },
        }
    }
}

mod word {
    //! A decision by its word.

    use helix_schemas::decision::Decision;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    #[allow(clippy::trivially_copy_pass_by_ref)] // serde hands it over so.
    pub(super) fn serialize<S: Serializer>(decision: &Decision, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(decision.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Decision, D::Error> {
        let word = String::deserialize(from)?;
        Decision::from_word(&word).ok_or_else(|| D::Error::custom("no decision of that word"))
    }
}
