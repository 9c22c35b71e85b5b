//! Where a forward projection keeps its progress: nothing else is stored, the rows are the receiver's.

use async_trait::async_trait;
use helix_postgres::ProgressOf;
use helix_runtime::{Batch, Position, Standing, StoreError};

/// Progress with epochs and compare-and-set, as `helix_runtime::Store` asks for it.
#[async_trait]
pub trait Progress: Send + Sync {
    /// Raises the epoch of partitions and tells where they stand, with the keys that are parked there.
    async fn acquire(&mut self, topic: &str, partitions: &[i32]) -> Result<Vec<Position>, StoreError>;

    /// Where partitions stand, and whether the projection is paused.
    async fn standing(&mut self, topic: &str, partitions: &[i32]) -> Result<Standing, StoreError>;

    /// Keeps every slice's parked records and moves its progress, or nothing of either.
    async fn advance(&mut self, batch: &Batch) -> Result<(), StoreError>;
}

#[async_trait]
impl Progress for ProgressOf {
    async fn acquire(&mut self, topic: &str, partitions: &[i32]) -> Result<Vec<Position>, StoreError> {
        Ok(Self::acquire(self, topic, partitions).await?)
    }

    async fn standing(&mut self, topic: &str, partitions: &[i32]) -> Result<Standing, StoreError> {
        Ok(self.standing_of(topic, partitions).await?)
    }

    async fn advance(&mut self, batch: &Batch) -> Result<(), StoreError> {
        Self::advance(self, batch).await
    }
}
