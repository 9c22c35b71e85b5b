//! Pure folds: facts in, state and rows out. No I/O, no clock, no randomness, no floats, no hash-map order (law 4).
//!
//! The rules these folds follow are written once in `docs/rules.md`; Postgres rows, ClickHouse views and the live board
//! must agree with them. Where to look:
//! - [`agent`]: an agent's timeline and its state intervals, [`session`]: from signing in to signing out,
//! - [`call`]: the order-free join of a call's facts, and its legs,
//! - [`missed`]: missed calls as obligations, [`books`]: what became of a queue's calls,
//! - [`board`]: the supervisor's live state and its deltas,
//! - [`root`]: the set hash over rows, [`row`]: their canonical form,
//! - [`workspace`]: all of it in memory, for replay and proof.

pub mod agent;
pub mod board;
pub mod books;
pub mod call;
pub mod missed;
pub mod root;
pub mod row;
pub mod session;
pub mod settings;
pub mod workspace;
