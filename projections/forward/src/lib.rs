//! Delivers a workspace's facts to a sidecar that speaks the older HTTP contract: the provider's own requests, in order.
//!
//! [`ForwardStore`] is a store behind the engine of `helix_runtime`: to apply a batch is to deliver it, and progress
//! moves when every fact of it was answered. One engine a workspace, so that a receiver delays nobody but itself.
//!
//! # What this layer decides
//! Which facts are delivered and as what request (`request`), what an answer means (`receiver`), in which order and how
//! many at once (`courier`), when to leave a receiver alone (`circuit`), and what of an unfinished batch need not be
//! delivered again (`memory`). How the log is read, and when a batch is tried again, is the engine's.
//!
//! # Invariants
//! - **Order per record key**, also through failure: the next fact of a key is sent after the one before was answered.
//! - **Nothing is skipped.** A fact is behind us when the receiver took it (2xx) or refused it itself (most of 4xx);
//!   everything else is tried again, for ever.
//! - **At least once.** Progress moves after the answers, so what was under way when the process died comes again: at
//!   most one batch, from its beginning, under the same `X-Helix-Fact-Id`. While the process lives, nothing that was
//!   answered is sent again.
//! - **The engine never waits long.** `apply` gives up within [`options::LONGEST_APPLY`] and goes on where it was.

mod circuit;
mod courier;
mod memory;
mod metrics;
pub mod options;
mod progress;
mod receiver;
mod request;
mod store;

pub use options::{Options, OptionsError};
pub use progress::Progress;
pub use store::{ForwardStore, Trouble};

/// Name of a workspace's projection, in `helix.projection_progress` and in metrics.
#[must_use]
pub fn projection(workspace: &helix_schemas::names::WorkspaceId) -> String {
    format!("forward:{workspace}")
}

/// Consumer group in which instances share a workspace's partitions.
#[must_use]
pub fn group(workspace: &helix_schemas::names::WorkspaceId) -> String {
    format!("helix-forward-{workspace}")
}
