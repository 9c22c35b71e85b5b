//! Whose facts something is about.

use std::fmt;

use serde::Serialize;

use crate::names::WorkspaceId;

/// Everybody's facts, or one workspace's: what a rebuild takes. Shown as `all` or the workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Everybody's.
    All,
    /// One workspace's.
    Workspace(WorkspaceId),
}

impl Scope {
    /// The one workspace, where it is one's.
    #[must_use]
    pub const fn only(&self) -> Option<&WorkspaceId> {
        match self {
            Self::All => None,
            Self::Workspace(workspace) => Some(workspace),
        }
    }
}

impl From<Option<WorkspaceId>> for Scope {
    fn from(only: Option<WorkspaceId>) -> Self {
        only.map_or(Self::All, Self::Workspace)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.only().map_or("all", WorkspaceId::as_str))
    }
}
