//! The store that the engine drives, for either generation.

use std::sync::Arc;

use async_trait::async_trait;
use helix_runtime::{
    Batch, Position, Prepared, Preparer, Standing, Store, StoreError,
    fault::{self, Point},
};
use helix_schemas::{codec::Codec, fact::Fact, key::workspace_of_key, names::WorkspaceId, registry::Registry};
use sqlx::{Executor as _, PgPool};

use crate::{
    AllSettings, apply,
    decode::{Decoder, Placed},
    generation::Generation,
    memory::Memory,
    progress,
};

/// The store behind `helix project postgres`.
pub struct PostgresStore {
    pub(crate) pool: PgPool,
    pub(crate) decoder: Decoder,
    pub(crate) settings: Arc<AllSettings>,
    pub(crate) generation: Generation,
    /// Facts of this workspace alone, where one is named.
    pub(crate) only: Option<WorkspaceId>,
    pub(crate) grown: Grown,
    pub(crate) memory: Memory,
}

/// How many facts this store has applied, and at how many the tables' statistics are taken next. The server takes them too,
/// but not in the first minute of a rebuild, when tables grow from nothing and plans are made blindly.
#[derive(Clone)]
pub(crate) struct Grown {
    facts: usize,
    analyze_at: usize,
}

impl Grown {
    pub(crate) const fn new() -> Self {
        Self { facts: 0, analyze_at: 1_000 }
    }

    /// Counts; tells whether statistics are due.
    const fn by(&mut self, facts: usize) -> bool {
        self.facts += facts;
        let due = self.facts >= self.analyze_at;
        if due {
            self.analyze_at = self.facts * 8;
        }
        due
    }
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStore").field("generation", &self.generation).finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// The live generation of a migrated database; `pool` comes from [`crate::connect`].
    #[must_use]
    pub fn new(pool: PgPool, registry: Registry, codec: Arc<Codec<Fact>>, settings: AllSettings) -> Self {
        Self {
            pool,
            decoder: Decoder::new(registry, codec),
            settings: Arc::new(settings),
            generation: Generation::Live,
            only: None,
            grown: Grown::new(),
            memory: Memory::default(),
        }
    }

    async fn analyze(&self) -> Result<(), sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        // A small sample: it is taken while facts wait, and says what the plans of a batch need.
        tx.execute("set local default_statistics_target = 10").await?;
        let statement = format!("analyze {}", self.generation.tables().join(", "));
        tx.execute(sqlx::AssertSqlSafe(statement)).await?;
        tx.commit().await
    }

    /// The records of a batch that concern this store, with what was prepared of them.
    fn records(&self, batch: &Batch, prepared: Vec<Option<Prepared>>) -> Vec<Placed> {
        let mut records = Vec::with_capacity(batch.len());
        let mut prepared = prepared.into_iter();
        for slice in &batch.slices {
            for record in &slice.records {
                let prepared = prepared.next().flatten();
                let of_scope =
                    self.only.as_ref().is_none_or(|only| workspace_of_key(&record.key) == Some(only.as_str()));
                if of_scope {
                    records.push(Placed::prepared(slice.partition, record.clone(), prepared));
                }
            }
        }
        records
    }
}

#[async_trait]
impl Store for PostgresStore {
    fn projection(&self) -> &str {
        self.generation.projection()
    }

    async fn acquire(&mut self, topic: &str, partitions: &[i32]) -> Result<Vec<Position>, StoreError> {
        self.memory = Memory::default();
        Ok(progress::acquire(&self.pool, self.generation.projection(), topic, partitions).await?)
    }

    async fn standing(&mut self, topic: &str, partitions: &[i32]) -> Result<Option<Standing>, StoreError> {
        Ok(Some(progress::standing(&self.pool, self.generation.projection(), topic, partitions).await?))
    }

    fn preparer(&self) -> Option<Preparer> {
        Some(self.decoder.preparer())
    }

    async fn apply(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.apply_prepared(batch, Vec::new()).await
    }

    async fn apply_prepared(&mut self, batch: &Batch, prepared: Vec<Option<Prepared>>) -> Result<(), StoreError> {
        let facts = Arc::new(self.decoder.decode(self.records(batch, prepared)).await?);
        fault::pass(Point::AfterDecode);
        apply::apply(self, batch, Arc::clone(&facts)).await?;
        if self.grown.by(facts.len())
            && let Err(error) = self.analyze().await
        {
            tracing::debug!(%error, "statistics could not be taken");
        }
        Ok(())
    }
}
