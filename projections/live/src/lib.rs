//! The live board of one workspace, kept in that workspace's own Redis.
//!
//! Four parts: [`LiveStore`] (the projector's side: folds facts, writes state and deltas), [`BoardReader`] (the
//! sidecar's side: reads a snapshot, follows the deltas), [`run`] (the projector as a whole, with its restarts) and [`Generations`]
//! (the operator's side: a board folded afresh beside the live one, compared and exchanged with it; docs/decisions/0024).
//!
//! # What this layer decides
//! How the board lies in Redis and what one atomic step is. What facts mean is `helix_fold::board`; how facts are read is
//! `helix_runtime`.
//!
//! # Layout
//! All keys begin with `helix:{workspace}:live:` (law 8); those of a standby, the same without `deltas`, `pulse` and `paused`, with
//! `helix:{workspace}:standby:`.
//!
//! | key | type | holds |
//! |---|---|---|
//! | `meta` | hash | `format`, `settings`, `generation`, `run`, `owner`, `seq`, `token`, `version`, `root`, `heard`, `deltaBytes`, `made`, `left` |
//! | `progress` | hash | `{topic}/{partition}/next` and `…/epoch` |
//! | `board` | hash | the visible board: path to JSON, paths as in `helix_fold::board::visible` |
//! | `agents`, `calls` | hash | the fold's memory, by agent and by call: what is needed to go on |
//! | `parked` | hash | records that are set aside: `{topic}/{partition}/{offset}` to JSON; `meta` has their number |
//! | `deltas` | stream | entry id `{version}-0`; `g` = generation, `d` = the delta's JSON, `b` = all bytes of deltas up to it. The last [`DELTAS_KEPT`] or so, of at most [`DELTA_BYTES_KEPT`] |
//! | `pulse` | hash | `lagFacts`, `lagMillis` and `at`, of when they were measured (Redis's clock, ms): written about once a second by the owner while it knows its lag; `held`: the same clock, written always |
//! | `paused` | string | there while an operator lets the board rest |
//!
//! - `generation` is random, made when the state is made. Redis is a cache that can be lost: a new life has a new
//!   generation and starts at version 0, so versions of two lives are never confused. A Redis that was started anew (`run` is
//!   not its run id) may have lost the last of its writes: what goes on from there is a new generation too.
//! - `version` counts visible changes, `seq` counts applied batches, `owner` names the instance that acquired last; there is none
//!   once an operator let go of the state.
//! - `made` is when the state was begun, `left` when it ceased to be live: both Redis's clock, ms. A live state has no `left`.
//!
//! # Invariants
//! - **One step.** A batch's board, memory, delta, root and progress are written by one script that first compares owner,
//!   generation, `seq`, every partition's `next` and `epoch`, and the sizes of all three hashes, and only then writes.
//!   Redis refuses a script for lack of memory at its first write, so there is no partial application.
//! - **Fenced.** Whoever acquires raises the epochs and becomes the owner; the one before changes nothing any more.
//! - **Exchanged in one step.** Board, memory, root and parked records of live state and standby change places where both have read
//!   the log equally far, and the difference between the two is one more delta of the same generation: whoever follows notices
//!   nothing else. No owner remains, so whoever wrote takes up what is there now.
//! - **Lost is noticed.** Keys that vanished (a wiped Redis, an eviction, other settings, another fold) do not fit `meta`:
//!   acquiring then starts a new generation at offset 0, and the log rebuilds it. So is a state that came back from the past
//!   (a restart without the last appends, a failover): it is whole, and goes on from its own progress.
//! - **A full Redis heals as far as deltas go.** A refused script is tried again with fewer of them.

pub mod audit;
mod diff;
mod generations;
mod keys;
mod parked;
mod pause;
mod reader;
mod room;
mod run;
mod store;

pub use diff::{Diff, RootDiff, RowDiff, TableDiff};
pub use generations::{GenerationError, Generations, Standby};
pub use keys::{DELTA_BYTES_KEPT, DELTAS_KEPT};
pub use parked::{parked, parked_standby};
pub use pause::{pause, paused};
pub use reader::{BoardReader, Delta, Followed, Follower, Pulse, ReadError, Snapshot};
pub use run::{RunError, run};
pub use store::{Decoder, LiveStore, Loss};
