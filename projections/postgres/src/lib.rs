//! The Postgres read models: migrations, and the store that the engine drives.
//!
//! One transaction applies a batch: progress by compare-and-set first (whoever lost the partition changes nothing), then
//! the agents', calls' and missed calls' rows, then the roots. Rows of a workspace are worked under an advisory lock, so
//! that instances that hold different partitions join a call's facts one after the other.
//!
//! A commit whose answer is lost is tried again, meets its own progress, is told it is fenced, and reads on from what the
//! store says: applied once either way.

mod agents;
mod apply;
mod batch;
mod calls;
mod missed;
mod progress;
mod roots;
pub mod rows;

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use helix_fold::settings::Settings;
use helix_runtime::{Batch, Position, Store, StoreError};
use helix_schemas::{
    codec::Codec,
    fact::Fact,
    names::WorkspaceId,
    registry::{Registry, RegistryError},
};
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

pub use progress::{Progress, ProgressOf, progress, reset};
pub use roots::{StoredRoot, stored_roots};

/// The projection's name.
pub const PROJECTION: &str = "postgres";

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// It does not answer, or refused.
    #[error("postgres: {0}")]
    Sql(#[from] sqlx::Error),
    /// Its schema is not what this build expects.
    #[error("postgres migrations: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A stored value is none that this build writes.
    #[error("{table} holds a value that cannot be read: {reason}")]
    Stored {
        /// The table.
        table: &'static str,
        /// What is wrong, without values.
        reason: String,
    },
}

impl From<PostgresError> for StoreError {
    fn from(error: PostgresError) -> Self {
        Self::unavailable(error)
    }
}

/// Settings of every workspace; those that are not named have the defaults.
#[derive(Debug, Clone, Default)]
pub struct AllSettings(pub BTreeMap<WorkspaceId, Settings>);

impl AllSettings {
    /// Settings of one workspace.
    #[must_use]
    pub fn of(&self, workspace: &WorkspaceId) -> Settings {
        self.0.get(workspace).copied().unwrap_or_default()
    }
}

/// Opens a pool.
///
/// # Errors
/// [`PostgresError::Sql`] where the URL is wrong or the database does not answer.
pub async fn connect(url: &str, connections: u32) -> Result<PgPool, PostgresError> {
    let options: PgConnectOptions = url.parse()?;
    // By default a role's own schema comes first, and ours is called like the role: migrations would be recorded in
    // one schema before the first of them and looked for in another after it.
    let options = options.options([("search_path", "public")]);
    Ok(PgPoolOptions::new().max_connections(connections).connect_with(options).await?)
}

/// Brings the schema to this build's version.
///
/// # Errors
/// [`PostgresError::Migrate`] where an applied migration is not the one this build carries.
pub async fn migrate(pool: &PgPool) -> Result<(), PostgresError> {
    // Several services may start at once; sqlx takes an advisory lock for the duration.
    MIGRATIONS.run(pool).await?;
    Ok(())
}

/// The store behind `helix project postgres`.
pub struct PostgresStore {
    pool: PgPool,
    registry: Registry,
    codec: Arc<Codec<Fact>>,
    settings: AllSettings,
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStore").finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// A store on a migrated database.
    #[must_use]
    pub const fn new(pool: PgPool, registry: Registry, codec: Arc<Codec<Fact>>, settings: AllSettings) -> Self {
        Self { pool, registry, codec, settings }
    }

    /// Reads a batch's values; a schema that is new to this process is asked of the registry.
    async fn decode(&self, batch: &Batch) -> Result<Vec<batch::Arrived>, StoreError> {
        let mut facts = Vec::with_capacity(batch.len());
        for slice in &batch.slices {
            for record in &slice.records {
                let poison =
                    |reason: String| StoreError::Poison { partition: slice.partition, offset: record.offset, reason };
                let decoded = self.registry.decode(&self.codec, &record.value).await;
                let fact = decoded.map_err(|error| match error {
                    RegistryError::Codec(error) => poison(error.to_string()),
                    RegistryError::Unreachable { .. } | RegistryError::Refused { .. } => StoreError::unavailable(error),
                })?;
                facts.push(batch::Arrived { fact, partition: slice.partition, offset: record.offset });
            }
        }
        Ok(facts)
    }
}

#[async_trait]
impl Store for PostgresStore {
    fn projection(&self) -> &str {
        PROJECTION
    }

    async fn acquire(&mut self, topic: &str, partitions: &[i32]) -> Result<Vec<Position>, StoreError> {
        Ok(progress::acquire(&self.pool, PROJECTION, topic, partitions).await?)
    }

    async fn standing(&mut self, topic: &str, partitions: &[i32]) -> Result<Option<Vec<Position>>, StoreError> {
        let held = progress(&self.pool, topic).await?;
        let positions = held.into_iter().filter(|at| partitions.contains(&at.partition));
        Ok(Some(positions.map(Into::into).collect()))
    }

    async fn apply(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let facts = self.decode(batch).await?;
        apply::apply(&self.pool, &self.settings, batch, &facts).await
    }
}
