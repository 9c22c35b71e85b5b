//! Progress in memory with a real compare-and-set; Postgres's is proved end to end.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use helix_forward::Progress;
use helix_runtime::{Batch, Epoch, NextOffset, Position, StoreError};

/// What outlives an instance.
#[derive(Debug, Clone, Default)]
pub struct Kept(Arc<Mutex<BTreeMap<i32, (i64, i64)>>>);

impl Kept {
    fn held(&self) -> MutexGuard<'_, BTreeMap<i32, (i64, i64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another instance takes every partition.
    pub fn taken(&self) {
        for (_, epoch) in self.held().values_mut() {
            *epoch += 1;
        }
    }

    /// Progress over all partitions.
    pub fn total(&self) -> i64 {
        self.held().values().map(|(next, _)| next).sum()
    }
}

fn position((partition, (next, epoch)): (&i32, &(i64, i64))) -> Position {
    Position { partition: *partition, next_offset: NextOffset(*next), epoch: Epoch(*epoch), parked: Default::default() }
}

#[async_trait]
impl Progress for Kept {
    async fn acquire(&mut self, _topic: &str, partitions: &[i32]) -> Result<Vec<Position>, StoreError> {
        let mut held = self.held();
        for partition in partitions {
            held.entry(*partition).or_default().1 += 1;
        }
        Ok(held.iter().filter(|(partition, _)| partitions.contains(partition)).map(position).collect())
    }

    async fn standing(&mut self, _topic: &str) -> Result<Vec<Position>, StoreError> {
        Ok(self.held().iter().map(position).collect())
    }

    async fn advance(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let mut held = self.held();
        for slice in &batch.slices {
            if held.get(&slice.partition) != Some(&(slice.from.0, slice.epoch.0)) {
                return Err(StoreError::Fenced { partition: slice.partition });
            }
        }
        held.extend(batch.slices.iter().map(|slice| (slice.partition, (slice.to.0, slice.epoch.0))));
        Ok(())
    }
}
