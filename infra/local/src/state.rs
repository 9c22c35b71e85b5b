//! What runs, as the supervisor knows it, written to `run/state.json` at every change.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::{error::Error, files, health::Probe, home::Home, process::Identity};

/// Where the stack as a whole stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Components come up.
    Starting,
    /// Every component was ready at least once.
    Ready,
    /// A component did not come up; the others are being stopped.
    Failed,
    /// Told to stop.
    Stopping,
    /// Stopped in good order.
    Stopped,
}

impl Phase {
    /// As in tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }
}

/// Where one component stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// For what it needs.
    Waiting,
    /// Started, not yet healthy.
    Starting,
    /// Healthy when last looked at, and running.
    Ready,
    /// A task that was done once and for all.
    Done,
    /// Died; will be started again in a moment.
    Restarting,
    /// Dies again and again; is still being tried.
    Failed,
    /// Stopped in order.
    Stopped,
}

impl Condition {
    /// As in tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Done => "done",
            Self::Restarting => "restarting",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }

    /// Whether others that need it may go on.
    #[must_use]
    pub const fn is_settled(self) -> bool {
        matches!(self, Self::Ready | Self::Done)
    }
}

/// One component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ComponentState {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub condition: Condition,
    /// Since when, Unix milliseconds.
    pub since: u64,
    /// Its process.
    pub process: Option<Identity>,
    /// Since when that process runs, Unix milliseconds.
    pub started_at: Option<u64>,
    /// How long its first start took until it was ready, milliseconds.
    pub ready_after: Option<u64>,
    /// Where it listens.
    pub port: Option<u16>,
    /// How often it was started again.
    pub restarts: u32,
    /// One sentence about its last death.
    pub reason: Option<String>,
    /// How to ask for its health.
    pub probe: Probe,
}

/// Why the stack did not come up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which component.
    pub component: String,
    /// One sentence.
    pub reason: String,
    /// The last lines of its log.
    pub log: Vec<String>,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StackState {
    /// The supervisor.
    pub supervisor: Identity,
    /// Where the stack stands.
    pub phase: Phase,
    /// Since when, Unix milliseconds.
    pub started_at: u64,
    /// In the order of their start.
    pub components: Vec<ComponentState>,
    /// One sentence each, as about a disk that fills up.
    pub warnings: Vec<String>,
    /// Set in phase `failed`.
    pub failure: Option<Failure>,
}

/// Unix milliseconds.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl StackState {
    /// The last state that a supervisor of this home wrote.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn load(home: &Home) -> Result<Option<Self>, Error> {
        let path = home.run().join("state.json");
        let Some(text) = files::read(&path)? else {
            return Ok(None);
        };
        // A file of another version says nothing to us; whoever wrote it is gone or holds the lock.
        Ok(serde_json::from_str(&text).ok())
    }

    pub(crate) fn save(&self, home: &Home) -> Result<(), Error> {
        let path = home.run().join("state.json");
        let fresh = home.run().join(".state.json");
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        // Not synced: after a loss of power nothing runs, whatever the file says.
        std::fs::write(&fresh, text).and_then(|()| std::fs::rename(&fresh, &path)).map_err(Error::file("write", path))
    }

    /// A component by name.
    #[must_use]
    pub fn component(&self, name: &str) -> Option<&ComponentState> {
        self.components.iter().find(|component| component.name == name)
    }
}
