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
//! | an instance freezes while it acquires, and others park meanwhile | it removes nothing of theirs: only entries of an earlier epoch than its own are left over |
//! | progress is in, its answer is lost, the batch comes again | progress lies between `from` and `to` under our epoch: the batch is written again, absorbed, and progress moves to `to` |
//! | progress is in, then power is lost | rows were fsynced before progress was written: progress can only be older than the rows |
//! | a zombie of an older epoch | it reads the newer epoch before it writes, and gets `Fenced`. If the epoch is raised between that look and its write, its rows are facts of the log like any others and its progress row carries the old epoch, which readers rank below the new one |
//! | two instances acquire one partition at the same moment and take the same epoch | both write facts of the log; point 1 holds for either's progress rows, so the furthest of them is true |
//! | progress is lower than the batch's `from`, or gone | `Fenced`: to write `to` would claim facts that nobody stored |
//!
//! # Generations
//!
//! The live table may be exchanged for another ([`Generations`], docs/decisions/0020). Rows, progress and parked entries of a
//! generation go together, for the table carries the name under which the other two are kept. A third point keeps that true:
//!
//! 3. **Progress of a generation speaks of its own table.** A batch looks at the live generation and its epochs before the block
//!    *and after it*; only where both looks find what was acquired are parked entries and progress written, under that
//!    generation's name.
//!
//! | the exchange comes | what it leads to |
//! |---|---|
//! | before the first look | `Fenced`; nothing was written |
//! | between the first look and the block | the block lies in the other table, where it is facts of the log like any others; the second look finds the other generation: `Fenced`, and progress of neither moves |
//! | while the block goes in, or between it and the second look | the block lies in the table that was live: facts ahead of its progress, absorbed when it is filled on |
//! | after the second look | block, entries and progress belong to the generation that was live, and say the truth of it; the one that is live now stands where it stood, and the next batch is `Fenced` |
//! | twice between the two looks, there and back | whoever exchanged back acquired every partition of the generation first: the second look finds another epoch, `Fenced` |
//! | while partitions are acquired | they are acquired of the generation that was seen; the first batch or the next look of an idle instance finds the other |
//! | while nothing is to be written | [`ClickHouseStore`]'s standing tells that its partitions stand elsewhere: the engine asks anew within a second |
//! | twice at once, by two operators who lost their lock | there and back: labels stay with their rows, so that progress speaks of them all the same |
//! | and the operator dies before it | the standby is a standby, the projector was fenced for nothing |
//! | and the operator dies after it | it is done: nothing was left to be written |
//!
//! The deduplication token names topic, partition, `from`, `to` **and a digest of every offset and value**: a token that
//! met other rows would drop them without a word.
//!
//! Reads and writes must meet the same server (or a Replicated setup with `select_sequential_consistency`): the
//! progress that `acquire` reads must be the one that `apply` wrote.

pub mod audit;
mod client;
mod diff;
mod generation;
mod generations;
mod migrate;
mod parked;
mod pause;
mod progress;
mod row;
mod settings;
mod store;

pub use client::{ClickHouseError, Options};
pub use diff::{Diff, RootDiff, RowDiff};
pub use generation::{GenerationError, PROJECTION, STANDBY_PROJECTION, Standby};
pub use generations::Generations;
pub use migrate::{migrate, pending};
pub use parked::{Unpark, UnparkError, Unparked, parked, parked_standby};
pub use pause::{pause, paused};
pub use store::ClickHouseStore;

/// Tables whose rows belong to a workspace, named in their column `workspace_id`: what row policies must cover. The second
/// is there while a generation stands beside the live one; a policy goes by the table's name, so both have one before.
pub const WORKSPACE_TABLES: [&str; 3] = ["facts", "facts_standby", "workspace_settings"];

/// Views over them, for readers of one workspace.
pub const WORKSPACE_VIEWS: [&str; 7] =
    ["calls", "agent_intervals", "agents", "agent_sessions", "missed_calls", "facts_once", "fact_conflicts"];
