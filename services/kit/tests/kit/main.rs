//! What every service rests on: configuration that refuses to boot wrong, connections that are bounded, whom a request
//! comes from, what answers have in common, whose token is taken, what is kept through a kill.

// What a helper of a test cannot make is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod alerts;
mod auth;
mod config;
mod finish;
mod keys;
mod readiness;
mod serve;
mod source;
mod spool;
