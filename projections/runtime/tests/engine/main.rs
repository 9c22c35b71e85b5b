//! The engine against librdkafka's mock cluster and a store in memory that fails as stores do.

// What a helper of a test cannot make is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod ahead;
mod filling;
mod flow;
mod handover;
mod pace;
mod parking;
mod store;
mod watching;
mod world;
