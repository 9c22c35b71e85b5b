//! The store and the views against the real engine: rows, retries, crashes, and every rule of `docs/rules.md`.
//!
//! The engine runs in a child process that every test shares; each test has a database of its own. Wherever a test
//! tells a story, all four views are also compared with the fold in Rust over the same facts.

// Helpers fail the test that calls them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod calls;
mod conflicts;
mod engine;
mod facts;
mod gate;
mod generations;
mod intervals;
mod measure;
mod migrations;
mod missed;
mod parking;
mod random;
mod steps;
mod story;
mod tenants;
mod writes;
