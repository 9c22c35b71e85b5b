//! Filling a store from the log without a consumer group: portions of a partition, read by whoever rebuilds; what cannot be
//! applied is parked, as the engine parks it, and no more of it than the engine parks.
//!
//! What is filled, up to where, and whether others may write it meanwhile is the caller's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    config::PARK_LIMIT,
    held::Cut,
    store::{Batch, Cause, Epoch, NextOffset, Offset, Parked, Prepared, Preparer, Record, Slice, Store, StoreError},
};

/// Who reads the log for a store that is filled.
#[async_trait]
pub trait LogSource: Send {
    /// Every record of a partition with an offset from `from` on and below `to`, in order. Asked in portions of some ten
    /// thousand offsets.
    async fn records(
        &mut self,
        topic: &str,
        partition: i32,
        from: NextOffset,
        to: NextOffset,
    ) -> Result<Vec<Record>, StoreError>;
}

/// What rows are that stand beside the live ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StandbyState {
    /// Made from the log, not live yet.
    Filling,
    /// Live until they were cut over: cutting over once more brings them back.
    Previous,
}

/// What a store lacks of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The partition.
    pub partition: i32,
    /// From here on,
    pub from: i64,
    /// up to here.
    pub to: i64,
}

impl Gap {
    /// How many offsets.
    #[must_use]
    pub const fn width(&self) -> i64 {
        self.to - self.from
    }
}

/// What filling did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Filled {
    /// Records read.
    pub records: u64,
    /// Of these, parked.
    pub parked: u64,
}

impl std::ops::Add for Filled {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { records: self.records + other.records, parked: self.parked + other.parked }
    }
}

/// Why filling ended early. What was filled stays filled.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    /// Asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// The store gave out no position for a partition that was asked for.
    #[error("the store does not give out partition {partition}")]
    NotHeld {
        /// The partition.
        partition: i32,
    },
    /// A batch could not be applied, or the log not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Told how many offsets are done, and of how many.
pub type Report<'a> = &'a mut (dyn FnMut(u64, u64) + Send);
/// Asked between portions.
pub type Stopped<'a> = &'a (dyn Fn() -> bool + Send + Sync);

/// One who fills a store.
pub struct Filler<S> {
    store: S,
    preparer: Option<Preparer>,
    topic: String,
    /// Offsets that are read and applied at once.
    portion: i64,
    held: BTreeMap<i32, HeldPartition>,
    filled: Filled,
}

impl<S> std::fmt::Debug for Filler<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filler").field("filled", &self.filled).finish_non_exhaustive()
    }
}

struct HeldPartition {
    epoch: Epoch,
    next: NextOffset,
    parked: BTreeMap<Bytes, Offset>,
}

/// A batch of one partition that is still to be cut into what is applied and what is parked.
struct Portion {
    partition: i32,
    from: NextOffset,
    to: NextOffset,
    records: Vec<Read>,
}

struct Read {
    record: Record,
    /// What the store made of it, once it was found that the portion must be tried again.
    prepared: Option<Prepared>,
}

impl<S: Store> Filler<S> {
    /// Takes hold of partitions: whoever held them in this store is fenced. Those of later gaps are taken when they come.
    ///
    /// # Errors
    /// [`FillError::Store`].
    pub async fn new(store: S, topic: &str, portion: i64, partitions: &[i32]) -> Result<Self, FillError> {
        let (held, filled) = (BTreeMap::new(), Filled::default());
        let (preparer, topic, portion) = (store.preparer(), topic.to_owned(), portion.max(1));
        let mut filler = Self { store, preparer, topic, portion, held, filled };
        filler.take_hold(partitions.iter().copied()).await?;
        Ok(filler)
    }

    async fn take_hold(&mut self, partitions: impl Iterator<Item = i32>) -> Result<(), FillError> {
        let new: BTreeSet<i32> = partitions.filter(|partition| !self.held.contains_key(partition)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let new: Vec<i32> = new.into_iter().collect();
        for position in self.store.acquire(&self.topic, &new).await? {
            let held = HeldPartition { epoch: position.epoch, next: position.next_offset, parked: position.parked };
            self.held.insert(position.partition, held);
        }
        Ok(())
    }

    /// Fills gaps, a portion of each partition in turn.
    ///
    /// # Errors
    /// [`FillError`]; what was applied until then stays.
    pub async fn fill(
        &mut self,
        source: &mut dyn LogSource,
        gaps: Vec<Gap>,
        report: Report<'_>,
        stopped: Stopped<'_>,
    ) -> Result<Filled, FillError> {
        self.take_hold(gaps.iter().map(|gap| gap.partition)).await?;
        let total: i64 = gaps.iter().map(Gap::width).sum();
        let mut done = 0;
        let mut left = in_turn(gaps, self.portion);
        let mut ahead = read(source, &self.topic, left.pop_front()).await?;
        while let Some(portion) = ahead {
            if stopped() {
                return Err(FillError::Interrupted);
            }
            let width = portion.to.0 - portion.from.0;
            self.filled.records += portion.records.len() as u64;
            // The next portion is read while this one is applied.
            let topic = self.topic.clone();
            (ahead, ()) = tokio::try_join!(read(source, &topic, left.pop_front()), self.apply(portion))?;
            done += width;
            report(done.unsigned_abs(), total.unsigned_abs());
        }
        Ok(self.filled)
    }

    /// Applies a portion; a record that cannot be applied is parked with what follows of its key.
    async fn apply(&mut self, portion: Portion) -> Result<(), FillError> {
        let mut poison: BTreeMap<Offset, String> = BTreeMap::new();
        let mut portions = vec![portion];
        while let Some(mut portion) = portions.pop() {
            let Cut { batch, prepared } = self.cut(&portion, &poison)?;
            let Err(error) = self.store.apply_prepared(&batch, prepared).await else {
                self.applied(&batch);
                continue;
            };
            let tried: Vec<Offset> =
                batch.slices.iter().flat_map(|slice| &slice.records).map(|record| record.offset).collect();
            match (error, tried.as_slice()) {
                (StoreError::Poison { offset, reason, .. }, [_, ..]) if tried.contains(&offset) => {
                    // It may be one of many: what is good is read once more, and not again for each of them.
                    self.prepare(&mut portion);
                    poison.insert(offset, reason);
                    portions.push(portion);
                }
                (StoreError::Refused { reason }, [alone]) => {
                    poison.insert(*alone, reason);
                    portions.push(portion);
                }
                (StoreError::Refused { .. }, [_, _, ..]) => {
                    portions.extend(halves(portion, tried[tried.len() / 2]));
                }
                (StoreError::TooLong(_), _) if portion.records.len() > 1 => {
                    // What is parked takes its time too.
                    let middle = portion.records[portion.records.len() / 2].record.offset;
                    portions.extend(halves(portion, middle));
                }
                (error, _) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn prepare(&self, portion: &mut Portion) {
        let Some(prepare) = &self.preparer else { return };
        for read in portion.records.iter_mut().filter(|read| read.prepared.is_none()) {
            read.prepared = prepare(&read.record);
        }
    }

    fn cut(&self, portion: &Portion, poison: &BTreeMap<Offset, String>) -> Result<Cut, FillError> {
        let partition = portion.partition;
        let held = self.held.get(&partition).ok_or(FillError::NotHeld { partition })?;
        let elsewhere: usize = self.held.values().map(|held| held.parked.len()).sum::<usize>() - held.parked.len();
        let mut firsts = held.parked.clone();
        let (mut records, mut parked, mut prepared) = (Vec::new(), Vec::new(), Vec::new());
        for read in &portion.records {
            let Record { offset, key, .. } = &read.record;
            let cause = match (firsts.get(key), poison.get(offset)) {
                (Some(first), _) => Cause::Behind(*first),
                (None, Some(reason)) if elsewhere + firsts.len() >= PARK_LIMIT => {
                    let reason = format!("{reason}; {PARK_LIMIT} keys are parked already, and no more will be");
                    return Err(StoreError::Poison { partition, offset: *offset, reason }.into());
                }
                (None, Some(reason)) => {
                    firsts.insert(key.clone(), *offset);
                    Cause::Poison(reason.clone())
                }
                (None, None) => {
                    records.push(read.record.clone());
                    prepared.push(read.prepared.clone());
                    continue;
                }
            };
            parked.push(Parked { offset: *offset, key: key.clone(), cause });
        }
        let slice = Slice { partition, epoch: held.epoch, from: held.next, to: portion.to, records, parked };
        Ok(Cut { batch: Batch { topic: self.topic.clone(), slices: vec![slice] }, prepared })
    }

    fn applied(&mut self, batch: &Batch) {
        for slice in &batch.slices {
            self.filled.parked += slice.parked.len() as u64;
            if let Some(held) = self.held.get_mut(&slice.partition) {
                held.next = slice.to;
                for parked in &slice.parked {
                    held.parked.entry(parked.key.clone()).or_insert(parked.offset);
                }
            }
        }
    }
}

/// Gaps as portions, one of each partition in turn.
fn in_turn(mut gaps: Vec<Gap>, portion: i64) -> VecDeque<Gap> {
    let mut portions = VecDeque::new();
    while !gaps.is_empty() {
        for gap in &mut gaps {
            let to = gap.to.min(gap.from + portion);
            portions.push_back(Gap { to, ..*gap });
            gap.from = to;
        }
        gaps.retain(|gap| gap.width() > 0);
    }
    portions
}

async fn read(source: &mut dyn LogSource, topic: &str, portion: Option<Gap>) -> Result<Option<Portion>, FillError> {
    let Some(Gap { partition, from, to }) = portion else { return Ok(None) };
    let (from, to) = (NextOffset(from), NextOffset(to));
    let records = source.records(topic, partition, from, to).await?;
    let records = records.into_iter().map(|record| Read { record, prepared: None }).collect();
    Ok(Some(Portion { partition, from, to, records }))
}

/// A portion cut before a record: the later half first, as the last of a list is worked next.
fn halves(mut portion: Portion, before: Offset) -> [Portion; 2] {
    let at = portion.records.partition_point(|read| read.record.offset < before);
    let later = portion.records.split_off(at);
    let partition = portion.partition;
    [
        Portion { partition, from: NextOffset(before.0), to: portion.to, records: later },
        Portion { partition, from: portion.from, to: NextOffset(before.0), records: portion.records },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_worked_in_portions_of_each_partition_in_turn() {
        let gaps = vec![Gap { partition: 0, from: 5, to: 12 }, Gap { partition: 1, from: 0, to: 3 }];
        let portions: Vec<(i32, i64, i64)> =
            in_turn(gaps, 4).iter().map(|gap| (gap.partition, gap.from, gap.to)).collect();
        assert_eq!(portions, [(0, 5, 9), (1, 0, 3), (0, 9, 12)]);
    }
}
