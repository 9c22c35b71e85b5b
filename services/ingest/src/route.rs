//! Whose is it? Policy alone: an event and the directory in, a destination out. Never a default (law 3).

use helix_schemas::{
    directory::Directory,
    names::{AgentId, Did, WorkspaceId},
};

use crate::normalise::Normalised;

/// Where an event goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// `telephony.facts`, under this workspace.
    Workspace(WorkspaceId),
    /// `telephony.unrouted`, for this reason.
    Unrouted(&'static str),
}

/// The directory knows neither the agent nor the DID.
pub const UNKNOWN: &str = "agent_and_did_unknown";
/// The agent belongs to one workspace and the DID to another.
pub const CONFLICT: &str = "directory_conflict";

/// The directory could not be read: the log was down when this instance started.
pub const UNREAD: &str = "directory_unread";

impl Destination {
    /// The workspace, if there is one.
    #[must_use]
    pub fn workspace(&self) -> Option<&WorkspaceId> {
        match self {
            Self::Workspace(workspace) => Some(workspace),
            Self::Unrouted(_) => None,
        }
    }
}

/// Attributes an event that came without a workspace: by its agent, else by its DID.
#[must_use]
pub fn attribute(event: &Normalised, directory: &Directory) -> Destination {
    attribute_names(event.agent.as_ref(), event.did.as_ref(), directory)
}

/// Attributes by what an event names.
#[must_use]
pub fn attribute_names(agent: Option<&AgentId>, did: Option<&Did>, directory: &Directory) -> Destination {
    let by_agent = agent.and_then(|agent| directory.owner_of_agent(agent));
    let by_did = did.and_then(|did| directory.owner_of_did(did));
    match (by_agent, by_did) {
        (Some(agent), Some(did)) if agent != did => Destination::Unrouted(CONFLICT),
        (Some(owner), _) | (None, Some(owner)) => Destination::Workspace(owner.clone()),
        (None, None) => Destination::Unrouted(UNKNOWN),
    }
}
