//! Automation: the rules as pure functions, the store on a real Postgres, the appends on a mock cluster.

// What a helper of a test cannot make is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod append;
mod away;
mod growth;
mod history;
mod late;
mod machine;
mod postgres;
mod rules;
mod store;
mod story;
