//! The sidecar over HTTP, on a real Redis that the live store writes, a real Postgres that the Postgres store writes, and a
//! real ClickHouse engine. The log is librdkafka's mock cluster: a broker that is away cannot be had otherwise without a
//! whole stack.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests fail by panicking.
#![allow(clippy::wildcard_enum_match_arm)]

mod actions;
mod api;
mod audit;
mod client;
mod down;
#[path = "../../../../projections/clickhouse/tests/clickhouse/engine.rs"]
mod engine;
mod figures;
mod hospital;
mod http;
mod https;
mod issuer;
#[path = "../../../kit/tests/kit/keys.rs"]
mod keys;
mod load;
mod measure;
mod platform;
mod quiet;
mod roles;
#[allow(dead_code)] // The tests of the Postgres store need more of it.
#[path = "../../../../projections/postgres/tests/postgres/server.rs"]
mod server;
mod stage;
mod streams;
#[path = "../../../../projections/live/tests/support/mod.rs"]
mod support;
