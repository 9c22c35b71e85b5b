//! The live board of one workspace, kept in that workspace's own Redis.
//!
//! Three parts: [`LiveStore`] (the projector's side: folds facts, writes state and deltas), [`BoardReader`] (the
//! sidecar's side: reads a snapshot, follows the deltas) and [`run`] (the projector as a whole, with its restarts).
//!
//! # What this layer decides
//! How the board lies in Redis and what one atomic step is. What facts mean is `helix_fold::board`; how facts are read is
//! `helix_runtime`.
//!
//! # Layout
//! All keys begin with `helix:{workspace}:live:` (law 8).
//!
//! | key | type | holds |
//! |---|---|---|
//! | `meta` | hash | `format`, `settings`, `generation`, `owner`, `seq`, `token`, `version`, `root`, `watermark` |
//! | `progress` | hash | `{topic}/{partition}/next` and `…/epoch` |
//! | `board` | hash | the visible board: path to JSON, paths as in `helix_fold::board::visible` |
//! | `agents`, `calls` | hash | the fold's memory, by agent and by call: what is needed to go on |
//! | `parked` | hash | records that are set aside: `{topic}/{partition}/{offset}` to JSON; `meta` has their number |
//! | `deltas` | stream | entry id `{version}-0`; `g` = generation, `d` = the delta's JSON. The last [`DELTAS_KEPT`] or so |
//! | `pulse` | hash | `at` (Redis's clock, ms), `lagFacts`, `lagMillis`: written about once a second by the owner while it knows its lag; `held`: the same clock, written always |
//!
//! - `generation` is random, made when the state is made. Redis is a cache that can be lost: a new life has a new
//!   generation and starts at version 0, so versions of two lives are never confused.
//! - `version` counts visible changes, `seq` counts applied batches, `owner` names the instance that acquired last.
//!
//! # Invariants
//! - **One step.** A batch's board, memory, delta, root and progress are written by one script that first compares owner,
//!   generation, `seq`, every partition's `next` and `epoch`, and the sizes of all three hashes, and only then writes.
//!   Redis refuses a script for lack of memory at its first write, so there is no partial application.
//! - **Fenced.** Whoever acquires raises the epochs and becomes the owner; the one before changes nothing any more.
//! - **Lost is noticed.** Keys that vanished (a wiped Redis, an eviction, other settings, another fold) do not fit `meta`:
//!   acquiring then starts a new generation at offset 0, and the log rebuilds it.

pub mod audit;
mod keys;
mod parked;
mod reader;
mod run;
mod store;

pub use keys::DELTAS_KEPT;
pub use parked::{parked, reset};
pub use reader::{BoardReader, Delta, Followed, Follower, Pulse, ReadError, Snapshot};
pub use run::{RunError, run};
pub use store::{Decoder, LiveStore, Loss};
