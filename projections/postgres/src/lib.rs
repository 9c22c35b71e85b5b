//! The Postgres read models: migrations, the store that the engine drives, and work on whole generations of them.
//!
//! One transaction applies a batch: progress by compare-and-set first (whoever lost the partition changes nothing), then
//! what is parked, then the rows of agents, calls, missed calls and books, then the roots. Rows of a workspace are worked
//! under an advisory lock, so that instances that hold different partitions join a call's facts one after the other.
//!
//! A commit whose answer is lost is tried again, meets its own progress, is told it is fenced, and reads on from what the
//! store says: applied once either way.
//!
//! A batch is read, folded and written, agents and calls each: folding needs no database and goes on beside it. What the
//! agents' tails are is remembered between batches (docs/decisions/0019).
//!
//! Where to look: [`PostgresStore`] (`store`, `apply`, then `agents`, `calls`, `missed`, `books`, `roots`); how rows are
//! written (`columns`) and read (`rows`); what is remembered (`memory`, `tail`); the settings they were made with
//! (`row_settings`); [`parked`]; generations beside the live
//! one ([`Generations`], `diff`); proof ([`Audit`], [`Snapshot`]).

mod agents;
mod apply;
mod audit;
mod batch;
mod books;
mod calls;
mod columns;
mod connect;
mod decode;
mod diff;
mod error;
mod generation;
mod generations;
mod memory;
mod missed;
mod parked;
mod progress;
mod roots;
mod row_settings;
pub mod rows;
mod settings;
mod snapshot;
mod store;
mod tail;

pub use audit::{Audit, RowDifference};
pub use batch::ChangedRow;
pub use books::{BooksCheck, BooksDifference, ObligationDifference, check_books};
pub use connect::{connect, migrate};
pub use diff::{Diff, RootDiff, RowDiff, TableDiff};
pub use error::PostgresError;
pub use generation::{Generation, GenerationError, Standby, standby};
pub use generations::Generations;
pub use helix_runtime::fill::{Filled, Gap, LogSource};
pub use parked::{ParkedFilter, UNPARK_PIECE, UnparkError, Unparked, parked};
pub use progress::{Progress, ProgressOf, pause, paused, progress, progress_of};
pub use roots::StoredRoot;
pub use row_settings::{OtherSetting, other_settings};
pub use settings::AllSettings;
pub use snapshot::Snapshot;
pub use store::PostgresStore;

/// The projection's name.
pub const PROJECTION: &str = "postgres";
/// The name of the generation beside it.
pub const STANDBY_PROJECTION: &str = "postgres.standby";
