//! Laws of the folds as properties (design.md section 4). proptest prints the seed of a failure and keeps it.

mod agents;
mod calls;
mod facts;
mod missed;
mod roots;
