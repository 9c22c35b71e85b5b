//! Automation: the process manager that presumes what nobody tells (design.md section 9, docs/decisions/0015).
//!
//! Folds know no time: a wrap-up that nobody ends lasts for ever, and so does a call whose end was lost. This service watches
//! the log and appends **decisions**: facts of our own, with the facts they rest on. Folds judge them like any fact, and
//! what later comes to light takes their ground away, so nothing that is decided here needs to be taken back.
//!
//! It is a projector of the generic engine. What it keeps is a pure function of the log and the bounds ([`watch`]): what is
//! remembered of agents and calls, and **timers**, each a decision that is made once the provider's clock has passed its
//! moment. A timer is struck out when its decision is read in the log: that is the only mark that it was made. A crash
//! after an append, before it was read back, appends the same id again, or not even that.
//!
//! Time that passes enters in one place: [`AutomationStore`]'s beat compares timers with the provider's now ([`clock`]), and
//! only while this instance has read all there is. Everything in a decision is computed from facts, so it is the same
//! whenever it is made.

pub mod agent;
mod append;
pub mod bounds;
pub mod call;
pub mod clock;
mod database;
mod metrics;
mod progress;
mod store;
pub mod timer;
mod timers;
pub mod watch;

pub use append::{Append, AppendError, Log, LogOptions};
pub use bounds::Bounds;
pub use database::{AutomationError, connect, forget_everything, migrate};
pub use store::AutomationStore;
pub use watch::AllBounds;

/// The projection's name.
pub const PROJECTION: &str = "automation";

/// The group in which instances share partitions.
pub const GROUP: &str = "helix-automation";
