//! Laws of the folds as properties (design.md section 4). proptest prints the seed of a failure and keeps it.

// What a helper of a test cannot make is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod agents;
mod books;
mod calls;
mod corpus;
mod facts;
mod measure;
mod missed;
mod roots;
