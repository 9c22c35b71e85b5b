//! The directory: which agent or DID belongs to which workspace (design.md section 7).
//!
//! The compacted topic `telephony.directory` holds one record a key; [`Directory`] is its fold. Every ingest instance
//! holds one in memory and reads the topic from its start, so that all of them agree by the log's own order.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use serde::{Deserialize, Serialize};

use crate::{
    names::{AgentId, Did, WorkspaceId, canonical_did},
    time::ReceivedAt,
};

/// What a directory record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum EntryKind {
    /// A workspace and its sidecar.
    Workspace,
    /// An agent.
    Agent,
    /// A DID.
    Did,
}

impl EntryKind {
    /// `workspace`, `agent` or `did`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Workspace => "workspace",
            Self::Agent => "agent",
            Self::Did => "did",
        }
    }

    /// What a value is known by: a DID's spellings are one DID, and no other workspace's.
    #[must_use]
    pub fn canonical(self, value: &str) -> Cow<'_, str> {
        match self {
            Self::Did => canonical_did(value),
            Self::Workspace | Self::Agent => Cow::Borrowed(value),
        }
    }
}

impl From<EntryKind> for String {
    fn from(kind: EntryKind) -> Self {
        kind.as_str().to_owned()
    }
}

impl TryFrom<String> for EntryKind {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "workspace" => Ok(Self::Workspace),
            "agent" => Ok(Self::Agent),
            "did" => Ok(Self::Did),
            other => Err(format!("no directory entry kind {other:?}")),
        }
    }
}

/// One record of `telephony.directory`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryEntry {
    /// What it is about.
    pub entry: EntryKind,
    /// The slug, agent id or DID.
    pub value: String,
    /// The owner; null once released.
    pub workspace: Option<WorkspaceId>,
    /// A workspace's sidecar base URL.
    pub url: Option<String>,
    /// Our clock.
    pub recorded_at: ReceivedAt,
    /// `X-Request-Id` of the registration.
    pub request_id: String,
}

impl DirectoryEntry {
    /// The record's key in the compacted topic.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}/{}", self.entry.as_str(), self.entry.canonical(&self.value))
    }
}

/// Who owns what, as of some point of the directory topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directory {
    workspaces: BTreeMap<WorkspaceId, Option<String>>,
    agents: BTreeMap<String, WorkspaceId>,
    dids: BTreeMap<String, WorkspaceId>,
}

/// What became of a record when it was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// The directory changed.
    Changed,
    /// It said what was known already.
    Unchanged,
    /// A claim of something that another workspace owns: the first claim in the log stands.
    Refused {
        /// Who owns it.
        owner: WorkspaceId,
    },
}

impl Directory {
    /// Applies the next record of the topic. First claim in the log's order wins until it is released.
    pub fn apply(&mut self, entry: &DirectoryEntry) -> Applied {
        let table = match entry.entry {
            EntryKind::Workspace => {
                let Ok(slug) = WorkspaceId::new(&entry.value) else {
                    return Applied::Unchanged;
                };
                let url = entry.url.clone();
                return match self.workspaces.insert(slug, url.clone()) {
                    Some(known) if known == url => Applied::Unchanged,
                    Some(_) | None => Applied::Changed,
                };
            }
            EntryKind::Agent => &mut self.agents,
            EntryKind::Did => &mut self.dids,
        };
        let name = entry.entry.canonical(&entry.value);
        match (&entry.workspace, table.get(&*name)) {
            (None, None) => Applied::Unchanged,
            (None, Some(_)) => {
                table.remove(&*name);
                Applied::Changed
            }
            (Some(workspace), None) => {
                table.insert(name.into_owned(), workspace.clone());
                Applied::Changed
            }
            (Some(workspace), Some(owner)) if workspace == owner => Applied::Unchanged,
            (Some(_), Some(owner)) => Applied::Refused { owner: owner.clone() },
        }
    }

    /// Whether a workspace has registered.
    #[must_use]
    pub fn knows(&self, workspace: &WorkspaceId) -> bool {
        self.workspaces.contains_key(workspace)
    }

    /// Owner of an agent.
    #[must_use]
    pub fn owner_of_agent(&self, agent: &AgentId) -> Option<&WorkspaceId> {
        self.agents.get(agent.as_str())
    }

    /// Owner of a DID.
    #[must_use]
    pub fn owner_of_did(&self, did: &Did) -> Option<&WorkspaceId> {
        // One that was decoded has the spelling it was stored with.
        self.dids.get(&*canonical_did(did.as_str()))
    }

    /// Registered workspaces with their sidecars' URLs, by slug.
    pub fn workspaces(&self) -> impl Iterator<Item = (&WorkspaceId, Option<&str>)> {
        self.workspaces.iter().map(|(slug, url)| (slug, url.as_deref()))
    }

    /// How many workspaces, agents and DIDs there are.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        (self.workspaces.len(), self.agents.len(), self.dids.len())
    }

    /// Agents of a workspace, sorted.
    #[must_use]
    pub fn agents_of(&self, workspace: &WorkspaceId) -> BTreeSet<&str> {
        owned_by(&self.agents, workspace)
    }

    /// DIDs of a workspace, sorted.
    #[must_use]
    pub fn dids_of(&self, workspace: &WorkspaceId) -> BTreeSet<&str> {
        owned_by(&self.dids, workspace)
    }
}

fn owned_by<'a>(table: &'a BTreeMap<String, WorkspaceId>, workspace: &WorkspaceId) -> BTreeSet<&'a str> {
    table.iter().filter(|(_, owner)| *owner == workspace).map(|(value, _)| value.as_str()).collect()
}
