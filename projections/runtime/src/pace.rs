//! How large a batch may be after one took too long. No clock: a function of what the store answered.
//!
//! A batch that took too long is halved, down to one record, which is tried for ever: that it is slow is no reason to park
//! it. What is applied in time doubles the next, until a batch is as large again as the first that took too long. A size that
//! turns out to be too large once more is tried less and less often: each such try costs the whole of the store's patience.

/// A larger batch is tried after this many applied ones at the latest.
const SELDOM: u32 = 64;

/// Whether batches are cut smaller than what is held, and to what.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    slowed: Option<Slowed>,
}

#[derive(Debug)]
struct Slowed {
    /// A batch has at most so many records, to apply or to park.
    most: usize,
    /// So many the largest had that took too long.
    whole: usize,
    /// Batches that were applied at this size,
    applied: u32,
    /// and after how many a larger one is tried.
    wanted: u32,
    /// Whether this size was reached by growing.
    grown: bool,
}

impl Pace {
    /// How many records the next batch may have; `None`: everything that is held.
    pub(crate) fn most(&self) -> Option<usize> {
        self.slowed.as_ref().map(|slowed| slowed.most)
    }

    /// A batch of so many records took too long.
    pub(crate) fn too_long(&mut self, records: usize) {
        let half = (records / 2).max(1);
        let slowed =
            self.slowed.get_or_insert(Slowed { most: half, whole: records, applied: 0, wanted: 1, grown: false });
        if slowed.grown {
            slowed.wanted = (slowed.wanted * 2).min(SELDOM);
        }
        slowed.most = half.min(slowed.most);
        slowed.whole = slowed.whole.max(records);
        slowed.grown = false;
        slowed.applied = 0;
    }

    /// A batch was applied.
    pub(crate) fn applied(&mut self) {
        let Some(slowed) = &mut self.slowed else { return };
        slowed.applied += 1;
        if slowed.applied < slowed.wanted {
            return;
        }
        if slowed.most >= slowed.whole {
            self.slowed = None;
            return;
        }
        slowed.most = slowed.most.saturating_mul(2);
        slowed.grown = true;
        slowed.applied = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Works off records with a store that takes at most `in_time` of them in time: the sizes it was offered.
    fn offered(pace: &mut Pace, mut records: usize, in_time: usize) -> Vec<usize> {
        let mut offered = Vec::new();
        while records > 0 {
            let batch = pace.most().unwrap_or(8).min(records);
            offered.push(batch);
            if batch > in_time {
                pace.too_long(batch);
            } else {
                pace.applied();
                records -= batch;
            }
        }
        offered
    }

    #[test]
    fn a_batch_that_takes_too_long_is_halved_until_it_does_not() {
        assert_eq!(offered(&mut Pace::default(), 2, 1), [2, 1, 1]);
        assert_eq!(offered(&mut Pace::default(), 8, 2)[..3], [8, 4, 2]);
    }

    #[test]
    fn one_record_is_the_smallest_batch_and_is_tried_for_ever() {
        let mut pace = Pace::default();
        for records in [3, 1, 1, 0, 1] {
            pace.too_long(records);
            assert_eq!(pace.most(), Some(1));
        }
    }

    #[test]
    fn what_is_applied_in_time_doubles_the_next_until_everything_is_taken_again() {
        let mut pace = Pace::default();
        for records in [8, 4, 2] {
            pace.too_long(records);
        }
        let mut sizes = Vec::new();
        while let Some(most) = pace.most() {
            sizes.push(most);
            pace.applied();
        }
        assert_eq!(sizes, [1, 2, 4, 8]);
    }

    #[test]
    fn a_size_that_takes_too_long_again_and_again_is_tried_less_and_less() {
        let offered = offered(&mut Pace::default(), 2000, 3);
        let in_vain = offered.iter().filter(|batch| **batch > 3).count();
        assert!(in_vain <= 24, "{in_vain} of {}", offered.len());
        assert!(offered[900..].contains(&4), "it is still tried");
    }
}
