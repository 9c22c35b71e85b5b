//! The rows of a generation with their roots and progress, at one moment: for proof.

use std::collections::{BTreeMap, BTreeSet};

use helix_schemas::names::WorkspaceId;
use sqlx::{Connection as _, Executor as _, PgConnection, PgPool};

use crate::{
    AllSettings, PostgresError, connect,
    generation::{Generation, READ_TABLES, STATE_TABLES},
    progress::progress_of,
    roots::{StoredRoot, roots_of},
    row_settings,
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
        let mut moment = Moment::begin(pool).await?;
        let taken = read(&mut moment.0, topic, only).await;
        moment.end().await?;
        taken
    }
}

/// A snapshot of the database that no exchange of generations falls into, in a connection of its own.
pub(crate) struct Moment(pub(crate) PgConnection);

impl Moment {
    pub(crate) async fn begin(pool: &PgPool) -> Result<Self, PostgresError> {
        let mut connection = pool.acquire().await?.detach();
        connection.execute("set statement_timeout = 0").await?;
        // Before the snapshot; closing the connection gives the lock back.
        connection.execute("select pg_advisory_lock_shared(hashtextextended('helix.generations.read', 0))").await?;
        connection.execute("begin isolation level repeatable read, read only").await?;
        connection.execute(connect::WHOLE_TABLES).await?;
        Ok(Self(connection))
    }

    pub(crate) async fn end(self) -> Result<(), PostgresError> {
        Ok(self.0.close().await?)
    }
}

/// Where the live generation stood and what it claims of itself.
pub(crate) struct Standing {
    pub(crate) progress: BTreeMap<i32, i64>,
    pub(crate) roots: BTreeMap<String, StoredRoot>,
    pub(crate) parked: BTreeSet<(i32, i64)>,
    /// Whose rows there are, in any of its tables.
    pub(crate) workspaces: BTreeSet<WorkspaceId>,
    /// What its rows were made with.
    pub(crate) made_with: AllSettings,
}

impl Standing {
    pub(crate) async fn read(
        tx: &mut PgConnection,
        topic: &str,
        only: Option<&WorkspaceId>,
    ) -> Result<Self, PostgresError> {
        let held = progress_of(&mut *tx, Generation::Live.projection(), topic).await?;
        let progress = held.iter().map(|at| (at.partition, at.next_offset)).collect();
        let roots = roots_of(tx, Generation::Live).await?;
        let mut names: BTreeSet<String> = roots.keys().cloned().collect();
        for table in READ_TABLES.iter().chain(&STATE_TABLES) {
            // Rows that no root stands for are what a proof looks for.
            let distinct = format!("select distinct workspace_id from {table}");
            names.extend(sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(distinct)).fetch_all(&mut *tx).await?);
        }
        let workspaces = names.iter().filter_map(|name| WorkspaceId::new(name).ok());
        let workspaces = workspaces.filter(|workspace| only.is_none_or(|only| only == workspace)).collect();
        let parked = sqlx::query_as(
            r#"select partition, "offset" from helix.parked_facts where projection = $1 and topic = $2"#,
        )
        .bind(Generation::Live.projection())
        .bind(topic)
        .fetch_all(&mut *tx)
        .await?;
        let made_with = row_settings::stored(tx, Generation::Live).await?;
        Ok(Self { progress, roots, parked: parked.into_iter().collect(), workspaces, made_with })
    }
}

async fn read(tx: &mut PgConnection, topic: &str, only: Option<&WorkspaceId>) -> Result<Snapshot, PostgresError> {
    let Standing { progress, roots, parked, workspaces, made_with: _ } = Standing::read(tx, topic, only).await?;
    let mut rows = BTreeMap::new();
    for workspace in workspaces {
        let of_workspace = read_workspace(tx, &workspace).await?;
        rows.insert(workspace, of_workspace);
    }
    Ok(Snapshot { progress, roots, parked, rows })
}
