//! Malformed and odd deliveries by the million, posted to a real ingest, and the log's account of every one of them.
//!
//! - [`delivery`] makes a delivery of a seed and a number: pure, so any one of a million is made again from the two;
//! - [`client`] is a keep-alive connection that knows a broken connection from an answer;
//! - [`run`] posts, and sorts what was answered into promises: this id is at that place of the log;
//! - [`ledger`] reads the log back and holds every promise against it, and every record against the promises.
//!
//! Nothing here knows what ingest should make of a body. It only counts: what was answered must be in the log, what is in
//! the log must have been answered, the bytes must be those that were sent, and nobody may go without an answer.

pub mod client;
pub mod delivery;
mod event;
pub mod ledger;
pub mod run;
mod words;

use crate::stack::Stack;

pub use self::{
    delivery::{Delivery, Keys, Mill},
    run::{Options, Outcome, Target, run},
};

/// A stack's ingest and the secrets of its doors.
#[must_use]
pub fn own(stack: &Stack) -> (Target, Keys) {
    let target = Target {
        ingest: stack.env("HELIX_INGEST_URL").to_owned(),
        brokers: stack.env("HELIX_KAFKA_BROKERS").to_owned(),
        registry: stack.env("HELIX_SCHEMA_REGISTRY_URL").to_owned(),
    };
    let webhook =
        |slug: &str| (slug.to_owned(), stack.env(&format!("HELIX_WEBHOOK_KEY_{}", slug.to_uppercase())).to_owned());
    let webhooks = ["ramaiah", "global"].map(webhook).into();
    (target, Keys { account: stack.env("HELIX_INGEST_KEY").to_owned(), webhooks })
}
