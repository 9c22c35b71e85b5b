//! The sidecar over HTTP, on a real Redis that the live store writes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests fail by panicking.
#![allow(clippy::wildcard_enum_match_arm)]

mod client;
mod http;
mod stage;
mod streams;
#[path = "../../../../projections/live/tests/support/mod.rs"]
mod support;
