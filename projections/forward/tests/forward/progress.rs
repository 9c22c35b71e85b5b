//! Progress in memory with a real compare-and-set; Postgres's is proved end to end.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use helix_forward::Progress;
use helix_runtime::{Batch, Epoch, NextOffset, Parked, Position, Standing, StoreError};

#[derive(Debug, Default)]
struct Held {
    /// Next offset and epoch, by partition.
    progress: BTreeMap<i32, (i64, i64)>,
    parked: Vec<(i32, Parked)>,
}

impl Held {
    fn position(&self, partition: i32, (next, epoch): (i64, i64)) -> Position {
        let mut parked = BTreeMap::new();
        for (_, entry) in self.parked.iter().filter(|(at, _)| *at == partition) {
            parked.entry(entry.key.clone()).or_insert(entry.offset);
        }
        Position { partition, next_offset: NextOffset(next), epoch: Epoch(epoch), parked }
    }

    fn positions(&self) -> impl Iterator<Item = Position> {
        self.progress.iter().map(|(partition, at)| self.position(*partition, *at))
    }
}

/// What outlives an instance.
#[derive(Debug, Clone, Default)]
pub struct Kept(Arc<Mutex<Held>>);

impl Kept {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another instance takes every partition.
    pub fn taken(&self) {
        for (_, epoch) in self.held().progress.values_mut() {
            *epoch += 1;
        }
    }

    /// Progress over all partitions.
    pub fn total(&self) -> i64 {
        self.held().progress.values().map(|(next, _)| next).sum()
    }

    /// Everything that is parked, with its partition.
    pub fn parked(&self) -> Vec<(i32, Parked)> {
        self.held().parked.clone()
    }
}

#[async_trait]
impl Progress for Kept {
    async fn acquire(&mut self, _topic: &str, partitions: &[i32]) -> Result<Vec<Position>, StoreError> {
        let mut held = self.held();
        for partition in partitions {
            held.progress.entry(*partition).or_default().1 += 1;
        }
        Ok(held.positions().filter(|at| partitions.contains(&at.partition)).collect())
    }

    async fn standing(&mut self, _topic: &str, partitions: &[i32]) -> Result<Standing, StoreError> {
        let positions = self.held().positions().filter(|at| partitions.contains(&at.partition)).collect();
        Ok(Standing { positions, paused: false })
    }

    async fn advance(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let mut held = self.held();
        for slice in &batch.slices {
            if held.progress.get(&slice.partition) != Some(&(slice.from.0, slice.epoch.0)) {
                return Err(StoreError::Fenced { partition: slice.partition });
            }
        }
        for slice in &batch.slices {
            held.progress.insert(slice.partition, (slice.to.0, slice.epoch.0));
            held.parked.extend(slice.parked.iter().map(|parked| (slice.partition, parked.clone())));
        }
        Ok(())
    }
}
