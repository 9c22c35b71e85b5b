//! The local stack without containers: everything behind `helix up`, `down`, `status`, `logs` and `clean`.
//!
//! One supervisor process owns a *home* (by default `.helix`) and runs every component as its child: Kafka, the schema
//! registry, Postgres, one Redis for telephony and one a workspace, ClickHouse, Caddy and the services of Helix. This
//! crate decides what runs where, in which order, and what happens when something dies; it knows nothing of telephony
//! beyond the names of topics and workspaces.
//!
//! What it keeps true:
//! - One supervisor a home, by an exclusive lock on a file in it.
//! - No child outlives the supervisor, also where it is killed by SIGKILL ([`process`]).
//! - Secrets are generated once, kept in files of mode 0600 and never written to a log ([`secrets`]).
//! - `clean` removes only what this crate made, in a folder that bears its marker ([`home`]).
//! - A failure is one sentence that names the remedy.
//!
//! Nothing here assumes a port or a working directory: tests start their own stack in their own home, on free ports.

mod brokers;
mod commands;
mod components;
mod dev_env;
mod disk;
mod error;
mod files;
mod health;
mod helix_toml;
pub mod home;
mod keys;
mod log_files;
pub mod ports;
mod preflight;
pub mod process;
pub mod registry;
pub mod secrets;
mod sign_ins;
mod stack;
pub mod state;
mod status;
pub mod supervisor;
mod tools;
pub mod topics;
pub mod workspaces;

pub use commands::{LogsOptions, UpOptions, clean, down, logs, supervise, up};
pub use components::{Component, Process, Step, Stop, Work, step};
pub use error::Error;
pub use health::Probe;
pub use home::Home;
pub use status::{StatusReport, status};
pub use workspaces::Workspace;
