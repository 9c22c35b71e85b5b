//! The rows of a generation with their roots and progress, at one moment: for proof.

use std::collections::{BTreeMap, BTreeSet};

use helix_schemas::names::WorkspaceId;
use sqlx::{Connection as _, Executor as _, PgConnection, PgPool};

use crate::{
    PostgresError, connect,
    generation::Generation,
    progress::progress_of,
    roots::{StoredRoot, roots_of},
    rows::read_workspace,
};

/// One moment of the live generation.
#[derive(Debug)]
pub struct Snapshot {
    /// Where it stood, by partition.
    pub progress: BTreeMap<i32, i64>,
    /// Its stored roots, by workspace.
    pub roots: BTreeMap<String, StoredRoot>,
    /// Where the facts lie that it has set aside, by partition and offset.
    pub parked: BTreeSet<(i32, i64)>,
    /// Its rows.
    pub rows: BTreeMap<WorkspaceId, helix_fold::workspace::Rows>,
}

impl Snapshot {
    /// Reads everything, or one workspace's rows, in one snapshot of the database. A generation that is exchanged or thrown
    /// away meanwhile waits until it is read. `pool` comes from [`crate::connect`].
    ///
    /// # Errors
    /// Where the database does not answer or holds what no build of ours writes.
    pub async fn take(pool: &PgPool, topic: &str, only: Option<&WorkspaceId>) -> Result<Self, PostgresError> {
        // Before the snapshot, in a connection of its own: closing it gives the lock back.
        let mut connection = pool.acquire().await?.detach();
        connection.execute("set statement_timeout = 0").await?;
        connection.execute("select pg_advisory_lock_shared(hashtextextended('helix.generations.read', 0))").await?;
        let mut tx = connection.begin().await?;
        tx.execute("set transaction isolation level repeatable read, read only").await?;
        tx.execute(connect::WHOLE_TABLES).await?;
        let taken = read(&mut tx, topic, only).await;
        tx.rollback().await?;
        connection.close().await?;
        taken
    }
}

async fn read(tx: &mut PgConnection, topic: &str, only: Option<&WorkspaceId>) -> Result<Snapshot, PostgresError> {
    let held = progress_of(&mut *tx, Generation::Live.projection(), topic).await?;
    let progress = held.iter().map(|at| (at.partition, at.next_offset)).collect();
    let roots = roots_of(tx, Generation::Live).await?;
    let mut names: BTreeSet<String> = roots.keys().cloned().collect();
    for table in crate::generation::READ_TABLES {
        // Rows that no root stands for are what a proof looks for.
        let distinct = format!("select distinct workspace_id from {table}");
        names.extend(sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(distinct)).fetch_all(&mut *tx).await?);
    }
    let mut rows = BTreeMap::new();
    for name in names {
        let Ok(workspace) = WorkspaceId::new(&name) else { continue };
        if only.is_none_or(|only| *only == workspace) {
            rows.insert(workspace.clone(), read_workspace(tx, &workspace).await?);
        }
    }
    let parked =
        sqlx::query_as(r#"select partition, "offset" from helix.parked_facts where projection = $1 and topic = $2"#)
            .bind(Generation::Live.projection())
            .bind(topic)
            .fetch_all(&mut *tx)
            .await?;
    Ok(Snapshot { progress, roots, parked: parked.into_iter().collect(), rows })
}
