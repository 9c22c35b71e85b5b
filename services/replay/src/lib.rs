//! Replay and proof: the log read directly, without any projection in between.
//!
//! - [`log`]: reading a cut of the facts topic, in order per partition, interruptible,
//! - [`filter`] and [`line`]: which facts, and how one is written as JSON,
//! - [`tail`], [`export`]: facts to a person and to a file with a manifest,
//! - [`board`]: the board as of any past moment,
//! - [`rebuild`]: a generation of rows beside the live one, filled from the log,
//! - [`evidence`]: the facts behind rows,
//! - [`verify`]: a fresh fold of the log against the stored rows.

pub mod board;
pub mod evidence;
pub mod export;
pub mod filter;
pub mod line;
pub mod log;
pub mod rebuild;
pub mod tail;
pub mod verify;

/// Why a replay verb could not do its work. Each maps to an exit code of the contract.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A component cannot be reached: exit code 3.
    #[error("{component} cannot be reached: {source}")]
    Unreachable {
        /// Which.
        component: &'static str,
        /// Its client's words.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A record of the log cannot be read: exit code 1.
    #[error("the record at partition {partition} offset {offset} cannot be read: {reason}")]
    Record {
        /// Partition.
        partition: i32,
        /// Offset.
        offset: i64,
        /// Why.
        reason: String,
    },
    /// The caller asked for something that makes no sense: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// A file cannot be written: exit code 1.
    #[error("{path} cannot be written: {source}")]
    File {
        /// Its path.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Ctrl-C: exit code 1, with what was done so far told.
    #[error("interrupted")]
    Interrupted,
}

impl ReplayError {
    /// Wraps a client's error.
    pub fn unreachable(component: &'static str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unreachable { component, source: error.into() }
    }

    /// The process's exit code (contract.md, CLI).
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Record { .. } | Self::File { .. } | Self::Interrupted => 1,
            Self::Usage(_) => 2,
            Self::Unreachable { .. } => 3,
        }
    }
}
