//! Where a forward projection keeps its progress: nothing else is stored, the rows are the receiver's.

use async_trait::async_trait;
use helix_postgres::ProgressOf;
use helix_runtime::{Batch, Position, StoreError};

/// Progress with epochs and compare-and-set, as `helix_runtime::Store` asks for it.
#[async_trait]
pub trait Progress: Send + Sync {
    /// Raises the epoch of partitions and tells where they stand.
    async fn acquire(&mut self, topic: &str, partitions: &[i32]) -> Result<Vec<Position>, StoreError>;

    /// Where every partition of a topic stands.
    async fn standing(&mut self, topic: &str) -> Result<Vec<Position>, StoreError>;

    /// Moves every slice's progress, or none.
    async fn advance(&mut self, batch: &Batch) -> Result<(), StoreError>;
}

#[async_trait]
impl Progress for ProgressOf {
    async fn acquire(&mut self, topic: &str, partitions: &[i32]) -> Result<Vec<Position>, StoreError> {
        Ok(Self::acquire(self, topic, partitions).await?)
    }

    async fn standing(&mut self, topic: &str) -> Result<Vec<Position>, StoreError> {
        let all = Self::standing(self, topic).await?;
        Ok(all.into_iter().map(Into::into).collect())
    }

    async fn advance(&mut self, batch: &Batch) -> Result<(), StoreError> {
        Self::advance(self, batch).await
    }
}
