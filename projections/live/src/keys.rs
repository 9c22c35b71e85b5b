//! Names of the keys (crate docs, "Layout").

use helix_schemas::names::WorkspaceId;

/// About how many deltas a Redis keeps: minutes of a busy board. Whoever is further behind takes a snapshot.
pub const DELTAS_KEPT: usize = 4096;

/// And about so many bytes of them: what a replay changes at once is large, and the board itself needs the memory.
pub const DELTA_BYTES_KEPT: usize = 16 * 1024 * 1024;

/// Raised when the stored form changes: an older one is then rebuilt from the log.
pub(crate) const FORMAT: &str = "5";

/// The keys of one state of a workspace.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    pub(crate) meta: String,
    pub(crate) progress: String,
    pub(crate) board: String,
    pub(crate) agents: String,
    pub(crate) calls: String,
    pub(crate) deltas: String,
    pub(crate) parked: String,
    pub(crate) pulse: String,
    pub(crate) paused: String,
}

impl Keys {
    /// Of what everybody reads.
    pub(crate) fn of(workspace: &WorkspaceId) -> Self {
        Self::below(&format!("helix:{workspace}:live"))
    }

    /// Of what stands beside it: `deltas`, `pulse` and `paused` are never there.
    pub(crate) fn standby(workspace: &WorkspaceId) -> Self {
        Self::below(&format!("helix:{workspace}:standby"))
    }

    fn below(prefix: &str) -> Self {
        let key = |name: &str| format!("{prefix}:{name}");
        Self {
            meta: key("meta"),
            progress: key("progress"),
            board: key("board"),
            agents: key("agents"),
            calls: key("calls"),
            deltas: key("deltas"),
            parked: key("parked"),
            pulse: key("pulse"),
            paused: key("paused"),
        }
    }

    /// In the order in which the scripts take them.
    pub(crate) fn of_state(&self) -> [&str; 7] {
        [&self.meta, &self.progress, &self.board, &self.agents, &self.calls, &self.deltas, &self.parked]
    }
}
