//! What a store remembers between batches, so that it need not read what it wrote itself.
//!
//! Two things make that safe. The memory is taken out before a batch and put back when its commit was answered: whatever
//! goes wrong in between, a refusal, a fence, a lost answer, leaves an empty one. And under the lock of the batch's
//! workspaces the progress of all partitions must be where this store's last batch left it: whoever else writes rows of
//! these workspaces moves a partition's offset or epoch in the same transaction, another instance as much as a person who
//! unparks or cuts over. Else everything is forgotten, and read again.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use helix_runtime::Batch;
use helix_schemas::names::{AgentId, WorkspaceId};
use sqlx::PgConnection;

use crate::{
    AllSettings, PostgresError,
    progress::{Progress, progress_of},
    tail::Tail,
};

/// So many agents are remembered, to within a factor of two: some tens of MiB.
const AGENTS: usize = 20_000;

/// What this store's last batch left.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) agents: Recent<(WorkspaceId, AgentId), Tail>,
    /// What the rows of the workspaces met so far are made with.
    pub(crate) settings: Arc<AllSettings>,
    topic: String,
    progress: Vec<Progress>,
}

impl Memory {
    /// Forgets everything where somebody else may have written since. `batch` has moved its progress already, and its
    /// workspaces are locked.
    pub(crate) async fn check(
        &mut self,
        tx: &mut PgConnection,
        projection: &str,
        batch: &Batch,
    ) -> Result<(), PostgresError> {
        let mut expected = std::mem::take(&mut self.progress);
        for slice in &batch.slices {
            // That it was at `from` under this epoch has been compared.
            if let Some(at) = expected.iter_mut().find(|at| at.partition == slice.partition) {
                at.next_offset = slice.to.0;
            }
        }
        let now = progress_of(tx, projection, &batch.topic).await?;
        if self.topic != batch.topic || expected != now {
            *self = Self { topic: batch.topic.clone(), ..Self::default() };
        }
        self.progress = now;
        Ok(())
    }
}

/// Values by key, of which those that were not taken for longest go first.
pub(crate) struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new() }
    }
}

impl<K: Eq + Hash, V> Recent<K, V> {
    pub(crate) fn take(&mut self, key: &K) -> Option<V> {
        self.young.remove(key).or_else(|| self.old.remove(key))
    }

    pub(crate) fn put(&mut self, key: K, value: V) {
        if self.young.len() >= AGENTS {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}
