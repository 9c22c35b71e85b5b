//! The projector engine: consume, cut a batch, apply it, keep progress. It knows Kafka and nothing of telephony.
//!
//! A projector is this engine plus a [`Store`]. The engine decides which partitions are ours, where to read on, how a
//! batch is cut, when to try again and when to stop; the store decides what facts mean and writes rows and progress in
//! one atomic step.
//!
//! Invariants (design.md section 8):
//! - Progress lives with the data: the engine never commits an offset to the broker; it reads on from what
//!   [`Store::acquire`] says and moves on only after [`Store::apply`] succeeded.
//! - While a batch is applied the next is read (`ahead`): one at most, and nothing of it goes anywhere before the answer.
//! - A batch's slices start exactly where the last ended ([`Slice::from`] of one is [`Slice::to`] of the one before).
//! - A record that cannot be applied parks its key: it and what follows of the key is stored as parked, in the step that moves
//!   progress past it, and everything else flows (law 7).
//! - A batch that takes too long is cut smaller the next time (`pace`), and never parked for it.
//! - Whoever acquires a partition raises its epoch first. An instance that lost it meets [`StoreError::Fenced`] and
//!   changes nothing.

mod ahead;
mod client;
mod config;
mod engine;
mod event_loop;
pub mod fault;
pub mod fill;
mod held;
mod metrics;
mod orphans;
mod pace;
mod rebalance;
mod status;
mod store;
mod watchdog;

pub use config::{EngineConfig, Membership, PARK_LIMIT, Watch};
pub use engine::{Engine, EngineError};
pub use status::{PartitionStatus, Status, Trouble};
pub use store::{
    Batch, Cause, Epoch, Lag, NextOffset, Offset, Parked, ParkedEntry, Position, Prepared, Preparer, Record, Slice,
    Standing, Store, StoreError,
};
