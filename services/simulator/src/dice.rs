//! Seeded integer draws.
//!
//! Decides how a seed becomes numbers, and nothing about what they mean. Every purpose (who rings, who takes a break,
//! which delivery repeats) has its own stream, so that a changed rate in one place moves nothing elsewhere. Draws are
//! plain integer arithmetic on ChaCha's words instead of a library's distributions, whose output is not promised to
//! stay the same between versions.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// One stream of draws.
#[derive(Debug, Clone)]
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream for one purpose in one workspace of one seed.
    pub(crate) fn new(seed: u64, workspace: &str, purpose: &str) -> Self {
        Self(ChaCha8Rng::from_seed(digest(seed, workspace, purpose)))
    }

    /// A number below `bound`; 0 when `bound` is 0. The bias of multiply-and-shift is below 2^-32 for the bounds used here.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        let wide = u128::from(self.0.next_u64()) * u128::from(bound);
        // The high word of a 64 x 32 bit product is below `bound`, so it fits.
        (wide >> 64) as u32
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u32, high: u32) -> u32 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// True in `per_mille` of 1000 cases; never at 0, always at 1000 and above.
    pub(crate) fn chance(&mut self, per_mille: u32) -> bool {
        self.below(1000) < per_mille
    }

    /// One of `items`, which must not be empty.
    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(u32::try_from(items.len()).unwrap_or(u32::MAX)) as usize]
    }

    /// The index of one of `weights`, in proportion to them; the last one if all are 0.
    pub(crate) fn weighted(&mut self, weights: &[u32]) -> usize {
        let mut left = self.below(weights.iter().sum());
        for (index, weight) in weights.iter().enumerate() {
            if left < *weight {
                return index;
            }
            left -= weight;
        }
        weights.len().saturating_sub(1)
    }
}

/// A number that belongs to this seed, workspace and purpose for ever.
pub(crate) fn fixed_number(seed: u64, workspace: &str, purpose: &str) -> u64 {
    let bytes = digest(seed, workspace, purpose);
    bytes[..8].iter().fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

fn digest(seed: u64, workspace: &str, purpose: &str) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"helix-simulator 1\0");
    hasher.update(&seed.to_be_bytes());
    // A slug cannot hold a zero byte, so the three parts cannot run into each other.
    hasher.update(workspace.as_bytes());
    hasher.update(b"\0");
    hasher.update(purpose.as_bytes());
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_purpose_draws_the_same_and_another_purpose_differs() {
        let draw = |purpose: &str| {
            let mut dice = Dice::new(7, "ramaiah", purpose);
            (0..64).map(|_| dice.below(1_000_000)).collect::<Vec<_>>()
        };
        assert_eq!(draw("calls"), draw("calls"));
        assert_ne!(draw("calls"), draw("faults"));
        assert_ne!(fixed_number(7, "ramaiah", "ucid"), fixed_number(7, "global", "ucid"));
    }

    #[test]
    fn draws_stay_within_their_bounds_and_reach_both_ends() {
        let mut dice = Dice::new(1, "w", "bounds");
        let drawn: Vec<u32> = (0..2_000).map(|_| dice.between(3, 9)).collect();
        assert_eq!(drawn.iter().min(), Some(&3));
        assert_eq!(drawn.iter().max(), Some(&9));
        assert!((0..500).all(|_| !dice.chance(0)));
        assert!((0..500).all(|_| dice.chance(1000)));
        assert!((0..500).all(|_| dice.weighted(&[0, 5, 0]) == 1));
        assert_eq!(dice.below(0), 0);
    }
}
