//! The sidecar over HTTP, on a real Redis that the live store writes.

mod client;
mod http;
mod stage;
mod streams;
#[path = "../../../../projections/live/tests/support/mod.rs"]
mod support;
