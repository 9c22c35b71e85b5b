//! What the end-to-end tests share: a real local stack of their own, on free ports, in its own home.

pub mod cli;
pub mod odd;
pub mod stack;
