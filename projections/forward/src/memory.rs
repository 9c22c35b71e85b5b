//! What of an unfinished batch was answered already: kept until progress has passed it, in memory only.
//!
//! It outlives a batch that is tried again, and a partition that is taken again before anybody else had it. Where another
//! instance had the partition in between, it is forgotten: that one may have sent a part of the batch anew, and only the
//! whole of it in order leaves the receiver with the last word of each key.

use std::collections::{BTreeMap, BTreeSet};

use helix_runtime::{Epoch, NextOffset, Offset, Position, Slice};

#[derive(Debug)]
struct Unfinished {
    epoch: Epoch,
    from: NextOffset,
    answered: BTreeSet<Offset>,
}

/// Offsets beyond progress that the receiver has answered, by partition.
#[derive(Debug, Default)]
pub(crate) struct Memory(BTreeMap<i32, Unfinished>);

impl Memory {
    /// A batch begins, or is tried again: what is known of another stretch of the partition is of no use.
    pub(crate) fn begin(&mut self, slice: &Slice) {
        let known = self.0.get(&slice.partition).is_some_and(|at| at.epoch == slice.epoch && at.from == slice.from);
        if !known {
            let fresh = Unfinished { epoch: slice.epoch, from: slice.from, answered: BTreeSet::new() };
            self.0.insert(slice.partition, fresh);
        }
    }

    pub(crate) fn answered(&mut self, partition: i32, offset: Offset) {
        if let Some(unfinished) = self.0.get_mut(&partition) {
            unfinished.answered.insert(offset);
        }
    }

    pub(crate) fn knows(&self, partition: i32, offset: Offset) -> bool {
        self.0.get(&partition).is_some_and(|unfinished| unfinished.answered.contains(&offset))
    }

    /// Progress has passed it.
    pub(crate) fn finished(&mut self, partition: i32) {
        self.0.remove(&partition);
    }

    /// A partition was taken (again).
    pub(crate) fn acquired(&mut self, at: &Position) {
        if let Some(unfinished) = self.0.get_mut(&at.partition) {
            if unfinished.from == at.next_offset && at.epoch.0 == unfinished.epoch.0 + 1 {
                unfinished.epoch = at.epoch;
            } else {
                self.0.remove(&at.partition);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(epoch: i64, from: i64) -> Slice {
        let (from, to) = (NextOffset(from), NextOffset(from + 4));
        Slice { partition: 3, epoch: Epoch(epoch), from, to, records: Vec::new(), parked: Vec::new() }
    }

    fn position(epoch: i64, next: i64) -> Position {
        Position { partition: 3, next_offset: NextOffset(next), epoch: Epoch(epoch), parked: Default::default() }
    }

    #[test]
    fn a_batch_that_is_tried_again_is_remembered_and_the_next_one_begins_empty() {
        let mut memory = Memory::default();
        memory.begin(&slice(1, 10));
        memory.answered(3, Offset(11));
        memory.begin(&slice(1, 10));
        assert!(memory.knows(3, Offset(11)) && !memory.knows(3, Offset(10)) && !memory.knows(4, Offset(11)));
        memory.finished(3);
        memory.begin(&slice(1, 14));
        assert!(!memory.knows(3, Offset(11)));
    }

    #[test]
    fn a_partition_that_nobody_else_had_keeps_what_was_answered() {
        let mut memory = Memory::default();
        memory.begin(&slice(1, 10));
        memory.answered(3, Offset(11));
        memory.acquired(&position(2, 10));
        memory.begin(&slice(2, 10));
        assert!(memory.knows(3, Offset(11)));
    }

    #[test]
    fn a_partition_that_another_had_or_that_was_set_back_is_forgotten() {
        for at in [position(3, 10), position(2, 12), position(2, 0)] {
            let mut memory = Memory::default();
            memory.begin(&slice(1, 10));
            memory.answered(3, Offset(11));
            memory.acquired(&at);
            assert!(!memory.knows(3, Offset(11)), "{at:?}");
        }
    }
}
