//! Redrive: what was set aside becomes facts once it can be attributed or read (law 2, law 3).
//!
//! | module | decides |
//! |---|---|
//! | [`index`] | which unrouted events still wait, and which of them the directory can attribute now (pure) |
//! | [`reading`] | reading the topics: whole, or single records again |
//! | [`append`] | facts in order per key, then the marks that they are done |
//! | [`background`] | the task in every ingest instance that redrives unrouted events by itself |
//! | [`command`] | what the verbs of the command line share: the installation, the directory, progress |
//! | [`unrouted`], [`rejected`] | `helix redrive unrouted` and `rejected` |
//! | [`listing`] | `helix unrouted` and `rejected`: what is there |
//!
//! A record is done once a later record of its partition marks it. The fact is written first and the mark after it is
//! acknowledged, so a crash between the two writes the fact again, under the same id: projections absorb that. Nothing is
//! ever taken out of the topics.

pub mod append;
pub mod background;
pub mod command;
pub mod index;
pub mod listing;
pub mod reading;
pub mod rejected;
pub mod unrouted;

use helix_schemas::{codec::CodecError, registry::RegistryError};
use rdkafka::error::KafkaError;

use crate::publish::PublishError;

/// Why a redrive or listing could not do its work, or broke off. What was done until then stays done.
#[derive(Debug, thiserror::Error)]
pub enum RedriveError {
    /// A component does not answer.
    #[error("{component} cannot be reached")]
    Unreachable {
        /// Which.
        component: &'static str,
        /// Its client's words.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The log did not take a record: perhaps written, and absorbed when it is written again.
    #[error("the log did not take a record")]
    Append(#[from] PublishError),
    /// A record does not fit its schema: a defect of this build.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The caller asked for something that makes no sense.
    #[error("{0}")]
    Usage(String),
    /// Nothing with this id is there.
    #[error("there is no record with id {0}")]
    NoSuchRecord(String),
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

impl RedriveError {
    pub(crate) fn unreachable(
        component: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Unreachable { component, source: source.into() }
    }

    /// The process's exit code (contract.md, CLI).
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Codec(_) | Self::NoSuchRecord(_) | Self::Interrupted => 1,
            Self::Usage(_) => 2,
            Self::Unreachable { .. } | Self::Append(_) => 3,
        }
    }
}

impl From<KafkaError> for RedriveError {
    fn from(error: KafkaError) -> Self {
        Self::unreachable("the log", error)
    }
}

impl From<RegistryError> for RedriveError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Codec(error) => Self::Codec(error),
            unreachable @ RegistryError::Unreachable { .. } | unreachable @ RegistryError::Refused { .. } => {
                Self::unreachable("the schema registry", unreachable)
            }
        }
    }
}
