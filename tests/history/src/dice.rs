//! Draws that are the same on every machine and with every version of anything.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

/// A seeded generator.
#[derive(Debug)]
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// From 0 to below `bound`. The bias is of no matter at these bounds.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        self.0.next_u32() % bound.max(1)
    }

    /// Between the two, both included.
    pub(crate) fn between(&mut self, low: u32, high: u32) -> i64 {
        i64::from(low + self.below(high.saturating_sub(low) + 1))
    }
}
