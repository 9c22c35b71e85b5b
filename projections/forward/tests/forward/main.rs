//! Forwarding over a mock log to a receiver over real HTTP that fails in every way receivers do.

// What a helper of a test cannot make is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod faults;
mod order;
mod progress;
mod receiver;
mod requests;
mod stage;
mod store;
