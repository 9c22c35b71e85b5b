//! The sidecar: one hospital's supervisor API, live events and web monitor (contract.md, "Sidecar").
//!
//! It decides who may see what, and how a board travels to many browsers at once. It folds nothing: the board lies in the
//! workspace's own Redis, written by `helix project live`, and what the API lists in Postgres, written by `helix project
//! postgres`. What a person decides is a fact in the log, like everything else. Parts:
//! - `access`: bearer tokens, roles, and what each is shown; `login`: passwords, with a bound on guessing; `platform`: the keys
//!   of the platform's issuer,
//! - `view`: what each kind of viewer sees of the board,
//! - `hub`: the one copy of the board in memory, each change encoded once for all viewers of a kind; `own`: of agents'
//!   own views, once for each agent it concerns,
//! - `events`: the SSE stream,
//! - `freshness`: what "stale" means, and who finds out; `silences`: keeps what it learned through a restart; `records`: how far the read models are behind the board,
//! - `board`: the board as JSON, past ones too where the caller of [`run_with`] brings them,
//! - `api`: agents, calls, missed calls and metrics, read from Postgres (`database`) and ClickHouse (`analytics`),
//! - `log`: appends what people decide; `audit`: leaves a fact for each action, sign-in and look at callers' numbers, which
//!   `journal` keeps on the disk until the log has it,
//! - `register`: makes the workspace known to the ingest,
//! - `assets`: the web monitor, embedded.
//!
//! Invariants: a client sees every version after the one it started with, or its stream ends (law: never skip); a token
//! of another workspace sees nothing; caller numbers reach only roles that may see them; no number, name or token is
//! ever logged; what shows a caller's number is written down, or not shown. Without Postgres, ClickHouse or the log the
//! board goes on, and what needs them answers 503.

mod access;
mod analytics;
mod api;
mod assets;
mod audit;
mod board;
mod database;
mod events;
mod freshness;
mod hub;
mod journal;
mod log;
mod login;
mod metrics;
mod own;
mod platform;
mod records;
mod register;
mod serve;
mod silences;
mod view;

pub use access::{Access, Viewer};
pub use board::{Clock, PastBoard, PastBoardError, PastBoards};
pub use freshness::StaleReason;
pub use login::LoginError;
pub use platform::PlatformError;
pub use serve::{Extensions, SidecarError, run, run_with};
