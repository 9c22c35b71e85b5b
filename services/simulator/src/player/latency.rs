//! Latencies in bounded memory, however long a run takes.

/// Each power of two of microseconds is split into this many buckets: an error of at most 1/16.
const SPLIT_BITS: u32 = 4;
const BUCKETS: usize = 64 << SPLIT_BITS;

/// Counts of latencies by magnitude.
#[derive(Debug, Clone)]
pub(super) struct Latencies {
    counts: Vec<u64>,
    total: u64,
    max_us: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, max_us: 0 }
    }
}

impl Latencies {
    pub(super) fn record(&mut self, microseconds: u64) {
        self.counts[bucket(microseconds)] += 1;
        self.total += 1;
        self.max_us = self.max_us.max(microseconds);
    }

    /// The upper bound of the bucket that holds this share of all, never above the longest seen; 0 when there is none.
    pub(super) fn per_mille(&self, share: u64) -> u64 {
        let wanted = (self.total * share).div_ceil(1000);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted && seen > 0 {
                return upper(index).min(self.max_us);
            }
        }
        self.max_us
    }

    pub(super) fn max_us(&self) -> u64 {
        self.max_us
    }
}

fn bucket(value: u64) -> usize {
    let value = value.max(1);
    let magnitude = value.ilog2();
    let within =
        if magnitude >= SPLIT_BITS { (value >> (magnitude - SPLIT_BITS)) & ((1 << SPLIT_BITS) - 1) } else { 0 };
    ((magnitude as usize) << SPLIT_BITS) | within as usize
}

fn upper(index: usize) -> u64 {
    let (magnitude, within) = ((index >> SPLIT_BITS) as u32, (index & ((1 << SPLIT_BITS) - 1)) as u128);
    let width = if magnitude >= SPLIT_BITS { 1_u128 << (magnitude - SPLIT_BITS) } else { 1 << magnitude };
    u64::try_from((1_u128 << magnitude) + (within + 1) * width - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_within_a_sixteenth_of_the_exact_value() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.per_mille(500), 0);
        (1..=10_000).for_each(|value| latencies.record(value));
        for (share, exact) in [(500, 5_000), (990, 9_900), (1000, 10_000)] {
            let found = latencies.per_mille(share);
            assert!(found >= exact && found <= exact + exact / 15, "{share}: {found}");
        }
        latencies.record(u64::MAX);
        assert_eq!(latencies.per_mille(1000), u64::MAX);
    }
}
