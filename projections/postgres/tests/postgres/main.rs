//! The Postgres read models on a real Postgres, which these tests start and end themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod books;
mod faults;
mod generations;
mod measure;
mod memory;
mod migrations;
mod missed;
mod parking;
mod random;
mod server;
mod sessions;
mod story;
mod tenants;
