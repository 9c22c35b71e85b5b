//! Analytics in ClickHouse: every fact as a wide row, and views that read calls, agent intervals, agents and missed
//! calls off them by the same rules as Postgres (`docs/rules.md`).
//!
//! This crate decides how facts become rows, how rows and progress are written, and what the views say (`ddl/`). It
//! consumes nothing and cuts nothing: that is `helix-runtime`.
//!
//! # What is kept true
//!
//! ClickHouse has no transaction over two tables and no compare-and-set, so law 5 (progress commits with the rows) is
//! met by order and by absorption instead:
//!
//! 1. **Rows first, progress after.** A batch's rows go in as one block, all or nothing, fsynced. Only when ClickHouse has
//!    confirmed it is a progress row written, for all of the batch's partitions in one block. So every progress row that
//!    was ever written says the truth: *all facts below `next_offset` are stored, or parked*. Nothing is lost. What a batch parks is
//!    written between the two ([`parked()`]).
//! 2. **A fact counts once, however often it is stored.** The views take each fact id once, at its first arrival, at
//!    query time; merges later remove the rest, first arrival kept. Nothing is counted twice.
//!
//! | what happens | what it leads to |
//! |---|---|
//! | crash or refusal before the block is in | nothing was written; the batch comes again |
//! | the block is in, the answer is lost, the same batch comes again | same token, ClickHouse drops the second block; if the token has left the window, the ids absorb it |
//! | crash between block and progress, then another cut | the facts of the first cut are stored twice and counted once |
//! | crash between parked entries and progress | the entries lie ahead of progress: the next acquisition removes them, and their records are parked anew where they still cannot be applied |
//! | progress is in, its answer is lost, the batch comes again | progress lies between `from` and `to` under our epoch: the batch is written again, absorbed, and progress moves to `to` |
//! | progress is in, then power is lost | rows were fsynced before progress was written: progress can only be older than the rows |
//! | a zombie of an older epoch | it reads the newer epoch before it writes, and gets `Fenced`. If the epoch is raised between that look and its write, its rows are facts of the log like any others and its progress row carries the old epoch, which readers rank below the new one |
//! | two instances acquire one partition at the same moment and take the same epoch | both write facts of the log; point 1 holds for either's progress rows, so the furthest of them is true |
//! | progress is lower than the batch's `from`, or gone | `Fenced`: to write `to` would claim facts that nobody stored |
//!
//! The deduplication token names topic, partition, `from`, `to` **and a digest of every offset and value**: a token that
//! met other rows would drop them without a word.
//!
//! Reads and writes must meet the same server (or a Replicated setup with `select_sequential_consistency`): the
//! progress that `acquire` reads must be the one that `apply` wrote.

pub mod audit;
mod client;
mod migrate;
mod parked;
mod progress;
mod row;
mod store;

pub use client::{ClickHouseError, Options};
pub use migrate::{migrate, pending};
pub use parked::{Unpark, UnparkError, Unparked, parked};
pub use store::{ClickHouseStore, PROJECTION};

/// Tables whose rows belong to a workspace, named in their column `workspace_id`: what row policies must cover.
pub const WORKSPACE_TABLES: [&str; 2] = ["facts", "workspace_settings"];

/// Views over them, for readers of one workspace.
pub const WORKSPACE_VIEWS: [&str; 7] =
    ["calls", "agent_intervals", "agents", "agent_sessions", "missed_calls", "facts_once", "fact_conflicts"];
