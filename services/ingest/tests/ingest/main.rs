//! Ingest as a whole: the samples of the provider, laws over any input, the HTTP contract, and the log's failures
//! against librdkafka's mock cluster.

// Helpers of tests are tests: what clippy.toml allows in a `#[test]` function it cannot see in what one calls.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod contract;
mod corpus;
mod directory;
mod ids;
mod laws;
mod log;
mod openapi;
mod outlet;
mod pages;
mod redrive;
mod seeds;
mod service;
mod shapes;
mod support;
