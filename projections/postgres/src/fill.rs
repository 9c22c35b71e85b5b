//! Filling a standby from the log: portions of a partition, what cannot be applied is parked.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use helix_runtime::{Batch, Cause, Epoch, NextOffset, Offset, Parked, Record, Slice, Store as _, StoreError};

use crate::{
    generation::GenerationError,
    generations::{Gap, LogSource},
    store::PostgresStore,
};

/// Offsets that are read and applied at once.
pub(crate) const ROUND: i64 = 10_000;

/// What filling did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Filled {
    /// Records read.
    pub records: u64,
    /// Of these, parked.
    pub parked: u64,
}

/// One who fills a standby.
pub(crate) struct Filler {
    store: PostgresStore,
    topic: String,
    held: BTreeMap<i32, HeldPartition>,
    filled: Filled,
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
    records: Vec<Record>,
}

impl Filler {
    /// Takes hold of the partitions that have gaps.
    pub(crate) async fn new(store: PostgresStore, topic: &str, gaps: &[Gap]) -> Result<Self, GenerationError> {
        let mut filler = Self { store, topic: topic.to_owned(), held: BTreeMap::new(), filled: Filled::default() };
        filler.take_hold(gaps).await?;
        Ok(filler)
    }

    async fn take_hold(&mut self, gaps: &[Gap]) -> Result<(), GenerationError> {
        let new = gaps.iter().map(|gap| gap.partition).filter(|partition| !self.held.contains_key(partition));
        let new: Vec<i32> = new.collect::<BTreeSet<i32>>().into_iter().collect();
        if new.is_empty() {
            return Ok(());
        }
        for position in self.store.acquire(&self.topic, &new).await? {
            let held = HeldPartition { epoch: position.epoch, next: position.next_offset, parked: position.parked };
            self.held.insert(position.partition, held);
        }
        Ok(())
    }

    /// Fills gaps, a portion of each partition in turn.
    pub(crate) async fn fill(
        &mut self,
        source: &mut dyn LogSource,
        gaps: Vec<Gap>,
        report: &mut (dyn FnMut(u64, u64) + Send),
        stopped: &(dyn Fn() -> bool + Send + Sync),
    ) -> Result<Filled, GenerationError> {
        self.take_hold(&gaps).await?;
        let total: i64 = gaps.iter().map(Gap::width).sum();
        let mut done = 0;
        let mut left = in_turn(gaps);
        let mut ahead = read(source, &self.topic, left.pop_front()).await?;
        while let Some(portion) = ahead {
            if stopped() {
                return Err(GenerationError::Interrupted);
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
    async fn apply(&mut self, portion: Portion) -> Result<(), GenerationError> {
        let mut poison: BTreeMap<Offset, String> = BTreeMap::new();
        let mut portions = vec![portion];
        while let Some(portion) = portions.pop() {
            let Some(batch) = self.cut(&portion, &poison) else { return Err(GenerationError::Behind) };
            match self.store.apply(&batch).await {
                Ok(()) => self.applied(&batch),
                Err(StoreError::Poison { offset, reason, .. }) => {
                    poison.insert(offset, reason);
                    portions.push(portion);
                }
                Err(StoreError::Refused { reason }) => {
                    let tried: Vec<Offset> =
                        batch.slices.iter().flat_map(|slice| &slice.records).map(|record| record.offset).collect();
                    match tried.as_slice() {
                        [] => return Err(StoreError::Refused { reason }.into()),
                        [alone] => {
                            poison.insert(*alone, reason);
                            portions.push(portion);
                        }
                        [_, ..] => portions.extend(halves(portion, tried[tried.len() / 2])),
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn cut(&self, portion: &Portion, poison: &BTreeMap<Offset, String>) -> Option<Batch> {
        let held = self.held.get(&portion.partition)?;
        let mut firsts = held.parked.clone();
        let (mut records, mut parked) = (Vec::new(), Vec::new());
        for record in &portion.records {
            let cause = match (firsts.get(&record.key), poison.get(&record.offset)) {
                (Some(first), _) => Some(Cause::Behind(*first)),
                (None, Some(reason)) => Some(Cause::Poison(reason.clone())),
                (None, None) => None,
            };
            match cause {
                Some(cause) => {
                    firsts.entry(record.key.clone()).or_insert(record.offset);
                    parked.push(Parked { offset: record.offset, key: record.key.clone(), cause });
                }
                None => records.push(record.clone()),
            }
        }
        let slice =
            Slice { partition: portion.partition, epoch: held.epoch, from: held.next, to: portion.to, records, parked };
        Some(Batch { topic: self.topic.clone(), slices: vec![slice] })
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
fn in_turn(mut gaps: Vec<Gap>) -> VecDeque<Gap> {
    let mut portions = VecDeque::new();
    while !gaps.is_empty() {
        for gap in &mut gaps {
            let to = gap.to.min(gap.from + ROUND);
            portions.push_back(Gap { to, ..*gap });
            gap.from = to;
        }
        gaps.retain(|gap| gap.width() > 0);
    }
    portions
}

async fn read(
    source: &mut dyn LogSource,
    topic: &str,
    portion: Option<Gap>,
) -> Result<Option<Portion>, GenerationError> {
    let Some(Gap { partition, from, to }) = portion else { return Ok(None) };
    let (from, to) = (NextOffset(from), NextOffset(to));
    let records = source.records(topic, partition, from, to).await?;
    Ok(Some(Portion { partition, from, to, records }))
}

/// A portion cut before a record: the later half first, as the last of a list is worked next.
fn halves(mut portion: Portion, before: Offset) -> [Portion; 2] {
    let at = portion.records.partition_point(|record| record.offset < before);
    let later = portion.records.split_off(at);
    let partition = portion.partition;
    [
        Portion { partition, from: NextOffset(before.0), to: portion.to, records: later },
        Portion { partition, from: portion.from, to: NextOffset(before.0), records: portion.records },
    ]
}
