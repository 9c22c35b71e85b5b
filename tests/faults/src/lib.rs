//! Projectors that die, freeze and forget, and what is left of the facts afterwards (design.md section 16).
//!
//! The projector under test is a process of its own (`helix-faults project`): the engine over one of the real stores, with
//! a fault point armed. Everything around it is real: Kafka, Postgres, ClickHouse's engine, Redis. The oracle is not a
//! projector: the topic is read back, folded in memory, and compared row by row with what the store holds.
//!
//! | module | decides |
//! |---|---|
//! | [`case`] | which faults there are, and how each is brought about |
//! | [`world`] | the stack, a topic of its own for each case, what is appended to it |
//! | [`automation`] | what automation decided, and what it should have |
//! | [`subject`] | a store's place for one case, its progress, and what became of the facts in it |
//! | [`project`] | the process under test |
//! | [`child`] | starting, freezing and killing it |

pub mod automation;
pub mod case;
pub mod child;
pub mod dice;
pub mod project;
pub mod subject;
pub mod world;
