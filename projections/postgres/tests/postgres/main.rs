//! The Postgres read models on a real Postgres, which these tests start and end themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod audit;
mod books;
mod bounds;
mod faults;
mod generations;
mod hostile;
mod measure;
mod memory;
mod migrations;
mod missed;
mod parking;
mod random;
mod refused;
mod server;
mod sessions;
mod settings;
mod story;
mod tenants;
mod window;
