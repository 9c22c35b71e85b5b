//! The live store and its reader against a real Redis.

#[path = "../support/mod.rs"]
mod support;

mod reading;
mod writing;
