//! The live store and its reader against a real Redis.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Tests fail by panicking.
#![allow(clippy::wildcard_enum_match_arm)]

#[path = "../support/mod.rs"]
mod support;

mod generations;
mod memory;
mod parking;
mod reading;
mod rewinding;
mod standing_by;
mod writing;
