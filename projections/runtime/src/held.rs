//! What is held between polling and applying: how it is cut into batches, what of it is parked, and how a refusal is
//! narrowed down to one record, or a batch to what is done in time ([`crate::pace`]). No Kafka, no store, no clock: a function of what was pushed and what was answered.
//!
//! Invariants:
//! - A record stays held until a batch with it was applied: a batch that was refused is cut again from the same records.
//! - Every record below a slice's `to` is in `records` or in `parked`, and in the order of the log.
//! - From the first parked record of a key on, nothing of that key is in `records`, until the partition is acquired anew.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::{
    pace::Pace,
    store::{Batch, Cause, Epoch, NextOffset, Offset, Parked, Position, Prepared, Record, Slice},
};

/// The first parked record of a key. Its cause is known where it was parked by this instance.
struct First {
    offset: Offset,
    reason: Option<String>,
}

/// A record that was polled.
pub(crate) struct Waiting {
    pub(crate) record: Record,
    /// Unix milliseconds.
    pub(crate) appended_at: Option<i64>,
    /// What the store made of it, where it was read ahead.
    pub(crate) prepared: Option<Prepared>,
}

/// A batch, and what was prepared of its records to apply, in order.
pub(crate) struct Cut {
    pub(crate) batch: Batch,
    pub(crate) prepared: Vec<Option<Prepared>>,
}

/// What still fits into a batch.
struct Room {
    /// Records to apply.
    to_apply: usize,
    /// Records, to apply or to park: what is parked takes its time too.
    records: usize,
}

/// What is held of one partition.
struct Partition {
    epoch: Epoch,
    next: NextOffset,
    waiting: VecDeque<Waiting>,
    parked: BTreeMap<Bytes, First>,
}

/// Where a partition stands after a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) partition: i32,
    pub(crate) next_offset: NextOffset,
    /// When the last applied record was appended, Unix milliseconds.
    pub(crate) appended_at: Option<i64>,
    pub(crate) parked_keys: usize,
}

/// What became of a refusal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Narrowed {
    /// The next cut is smaller.
    Smaller,
    /// It was this record alone.
    Found { partition: i32, offset: Offset },
    /// There was no record to apply in the batch: what is refused is none of them.
    Nothing,
}

/// What is held of all partitions.
#[derive(Default)]
pub(crate) struct Held {
    partitions: BTreeMap<i32, Partition>,
    records: usize,
    bytes: usize,
    /// So many of the first records to apply are refused together: among them is one that the store does not take.
    suspects: usize,
    pace: Pace,
}

impl Held {
    /// Held from here on, with nothing polled yet.
    pub(crate) fn acquired(&mut self, at: Position) {
        let first = |offset| First { offset, reason: None };
        let parked = at.parked.into_iter().map(|(key, offset)| (key, first(offset))).collect();
        let fresh = Partition { epoch: at.epoch, next: at.next_offset, waiting: VecDeque::new(), parked };
        if let Some(before) = self.partitions.insert(at.partition, fresh) {
            self.forget(&before);
        }
    }

    /// Lets go of a partition and what is held of it.
    pub(crate) fn release(&mut self, partition: i32) {
        if let Some(before) = self.partitions.remove(&partition) {
            self.forget(&before);
        }
    }

    fn forget(&mut self, partition: &Partition) {
        self.records -= partition.waiting.len();
        self.bytes -= partition.waiting.iter().map(|waiting| size(&waiting.record)).sum::<usize>();
        self.suspects = 0;
    }

    /// The partitions that are held.
    pub(crate) fn partitions(&self) -> Vec<i32> {
        self.partitions.keys().copied().collect()
    }

    /// Records that wait to be applied or parked.
    pub(crate) const fn records(&self) -> usize {
        self.records
    }

    /// Their keys and values, in bytes.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keys that are parked, over all partitions.
    pub(crate) fn parked_keys(&self) -> usize {
        self.partitions.values().map(|held| held.parked.len()).sum()
    }

    /// Whether the store's word on a partition is another than ours.
    pub(crate) fn differs(&self, at: &Position) -> bool {
        self.partitions.get(&at.partition).is_some_and(|held| held.epoch != at.epoch || held.next != at.next_offset)
    }

    /// Takes a record that was polled; false where its partition is not held: its next owner reads it.
    pub(crate) fn push(&mut self, partition: i32, waiting: Waiting) -> bool {
        let Some(held) = self.partitions.get_mut(&partition) else { return false };
        self.records += 1;
        self.bytes += size(&waiting.record);
        held.waiting.push_back(waiting);
        true
    }

    /// Whether a refusal is being narrowed down: the next batch is not everything that is held.
    pub(crate) const fn narrowing(&self) -> bool {
        self.suspects > 0
    }

    /// Whether batches are kept small, for larger ones took too long.
    pub(crate) fn slowed(&self) -> bool {
        self.pace.most().is_some()
    }

    /// The next batch: everything that is held, or a beginning of it while a refusal is narrowed down or batches are kept small.
    pub(crate) fn cut(&self, topic: &str) -> Cut {
        let to_apply = if self.suspects == 0 { usize::MAX } else { (self.suspects / 2).max(1) };
        let mut room = Room { to_apply, records: self.pace.most().unwrap_or(usize::MAX) };
        let mut prepared = Vec::new();
        let cut = |(partition, held): (&i32, &Partition)| held.cut(*partition, &mut room, &mut prepared);
        let slices = self.partitions.iter().filter_map(cut).collect();
        Cut { batch: Batch { topic: topic.to_owned(), slices }, prepared }
    }

    /// The batch is stored: its records are let go of.
    pub(crate) fn applied(&mut self, batch: &Batch) -> Vec<Moved> {
        self.suspects = self.suspects.saturating_sub(batch.len());
        self.pace.applied();
        let mut moved = Vec::with_capacity(batch.slices.len());
        for slice in &batch.slices {
            let Some(held) = self.partitions.get_mut(&slice.partition) else { continue };
            held.next = slice.to;
            let mut appended_at = None;
            while let Some(waiting) = held.waiting.pop_front_if(|waiting| waiting.record.offset.0 < slice.to.0) {
                self.records -= 1;
                self.bytes -= size(&waiting.record);
                appended_at = waiting.appended_at;
            }
            let (partition, parked_keys) = (slice.partition, held.parked.len());
            moved.push(Moved { partition, next_offset: slice.to, appended_at, parked_keys });
        }
        moved
    }

    /// Whether parking this record would park a key that is not parked yet.
    pub(crate) fn is_new(&self, partition: i32, offset: Offset) -> bool {
        self.partitions
            .get(&partition)
            .is_some_and(|held| held.to_apply(offset).is_some_and(|record| !held.parked.contains_key(&record.key)))
    }

    /// Parks a record and what follows of its key; false where no such record is to be applied.
    pub(crate) fn park(&mut self, partition: i32, offset: Offset, reason: String) -> bool {
        let Some(held) = self.partitions.get_mut(&partition) else { return false };
        let Some(key) = held.to_apply(offset).map(|record| record.key.clone()) else { return false };
        held.parked.insert(key, First { offset, reason: Some(reason) });
        true
    }

    /// The batch took too long: the next is smaller.
    pub(crate) fn too_long(&mut self, batch: &Batch) {
        self.pace.too_long(batch.len() + batch.parked());
    }

    /// The batch is refused as a whole: halves it, until one record is left.
    pub(crate) fn refused(&mut self, batch: &Batch) -> Narrowed {
        let mut records = batch.slices.iter().flat_map(|slice| slice.records.iter().map(move |record| (slice, record)));
        let Some((slice, record)) = records.next() else { return Narrowed::Nothing };
        if records.next().is_none() {
            self.suspects = 0;
            return Narrowed::Found { partition: slice.partition, offset: record.offset };
        }
        self.suspects = batch.len();
        Narrowed::Smaller
    }
}

impl Partition {
    fn cut(&self, partition: i32, room: &mut Room, all_prepared: &mut Vec<Option<Prepared>>) -> Option<Slice> {
        let (mut records, mut parked) = (Vec::new(), Vec::new());
        let mut last = None;
        for Waiting { record, prepared, .. } in &self.waiting {
            let cause = self.cause(record);
            if room.records == 0 || (room.to_apply == 0 && cause.is_none()) {
                break;
            }
            room.records -= 1;
            match cause {
                Some(cause) => parked.push(Parked { offset: record.offset, key: record.key.clone(), cause }),
                None => {
                    room.to_apply -= 1;
                    records.push(record.clone());
                    all_prepared.push(prepared.clone());
                }
            }
            last = Some(record.offset);
        }
        let to = last?.next();
        Some(Slice { partition, epoch: self.epoch, from: self.next, to, records, parked })
    }

    /// Why a record is parked; `None` where it is to be applied. What lies before the first parked record of its key does.
    fn cause(&self, record: &Record) -> Option<Cause> {
        let first = self.parked.get(&record.key)?;
        match record.offset.cmp(&first.offset) {
            std::cmp::Ordering::Less => None,
            std::cmp::Ordering::Equal => first.reason.clone().map(Cause::Poison),
            std::cmp::Ordering::Greater => Some(Cause::Behind(first.offset)),
        }
    }

    /// The held record at that offset, unless it is parked.
    fn to_apply(&self, offset: Offset) -> Option<&Record> {
        let index = self.waiting.binary_search_by_key(&offset, |waiting| waiting.record.offset).ok()?;
        let record = self.waiting.get(index).map(|waiting| &waiting.record)?;
        self.cause(record).is_none().then_some(record)
    }
}

fn size(record: &Record) -> usize {
    record.key.len() + record.value.len()
}

#[cfg(test)]
mod tests;
