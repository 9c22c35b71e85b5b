//! A call: the order-free join of its facts (docs/rules.md, "Calls").
//!
//! [`CallState`] is a join-semilattice: sets of facts by id, and least and greatest elements, so that applying facts in any
//! order, any number of times and in any cut gives the same state. [`CallState::rows`] reads it.
//!
//! Parts: `state` (the join), `reading` (the row), `legs`, `status` (the provider's words), `stored` (how a state is
//! written), `row` (what is read).

mod legs;
mod reading;
mod row;
mod state;
mod status;
mod stored;

pub use self::{
    row::{CallLegRow, CallRow, CallRows, Conflict, LegOutcome, Outcome},
    state::{CallState, Claim, Handling, Waive},
};
