//! What every service rests on: configuration that refuses to boot wrong, connections that are bounded, whom a request
//! comes from.

// What a helper of a test cannot make is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod alerts;
mod config;
mod readiness;
mod serve;
mod source;
