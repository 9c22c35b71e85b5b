//! Facts: what Helix knows, and how it is written down.
//!
//! This crate owns the shapes every other part agrees on: the [`Fact`](fact::Fact) and its body, the names
//! ([`WorkspaceId`](names::WorkspaceId), [`AgentId`](names::AgentId), ...), the two clocks, the natural key and the
//! UUIDv5 id made of it, the record key that decides order, the Avro schemas, the Confluent wire framing and the
//! client of the schema registry. It decides nothing about HTTP, Kafka clients or storage.
//!
//! Source of every definition: `docs/architecture.md` ("Facts") and the Avro files in `schemas/avro`.

pub mod codec;
pub mod decision;
pub mod directory;
pub mod fact;
pub mod id;
pub mod key;
pub mod names;
pub mod registry;
pub mod rejected;
pub mod resolve;
pub mod schema;
pub mod scope;
pub mod time;
pub mod topics;
pub mod unrouted;
