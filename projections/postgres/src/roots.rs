//! Roots, kept in the same transaction as the rows.

use std::collections::BTreeMap;

use helix_fold::root::Root;
use helix_schemas::names::WorkspaceId;
use sqlx::{PgConnection, Row as _};

use crate::{PostgresError, generation::Generation};

/// What a batch changes in one workspace's root.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Change {
    root: Root,
    rows: i64,
}

impl Change {
    pub(crate) fn add<R: helix_fold::row::Row>(&mut self, row: &R) {
        self.root.add(row);
        self.rows += 1;
    }

    pub(crate) fn subtract<R: helix_fold::row::Row>(&mut self, row: &R) {
        self.root.subtract(row);
        self.rows -= 1;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.root.merge(&other.root);
        self.rows += other.rows;
    }
}

/// The root of one workspace as stored, over all partitions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoredRoot {
    /// The sum over partitions.
    pub root: Root,
    /// How many rows it stands for.
    pub rows: i64,
}

fn read(bytes: &[u8]) -> Result<Root, PostgresError> {
    Root::from_bytes(bytes).ok_or(PostgresError::Stored {
        table: "helix.projection_roots",
        reason: "a root of the wrong length".to_owned(),
    })
}

/// Adds a batch's changes to the roots of the partition that wrote them.
pub(crate) async fn store(
    tx: &mut PgConnection,
    generation: Generation,
    changes: &BTreeMap<(WorkspaceId, i32), Change>,
) -> Result<(), PostgresError> {
    let mut new: BTreeMap<(&str, i32), StoredRoot> = changes
        .iter()
        .filter(|(_, change)| !change.root.is_empty() || change.rows != 0)
        .map(|((workspace, partition), change)| {
            ((workspace.as_str(), *partition), StoredRoot { root: change.root, rows: change.rows })
        })
        .collect();
    if new.is_empty() {
        return Ok(());
    }
    let (workspaces, partitions): (Vec<&str>, Vec<i32>) = new.keys().copied().unzip();
    let held = sqlx::query(
        "select held.workspace_id, held.partition, held.root, held.row_count
         from unnest($2::text[], $3::integer[]) as asked (workspace_id, partition)
         join helix.projection_roots as held
           on held.projection = $1 and held.workspace_id = asked.workspace_id and held.partition = asked.partition",
    )
    .bind(generation.projection())
    .bind(&workspaces)
    .bind(&partitions)
    .fetch_all(&mut *tx)
    .await?;
    for row in &held {
        if let Some(stored) = new.get_mut(&(row.try_get("workspace_id")?, row.try_get("partition")?)) {
            stored.root.merge(&read(row.try_get("root")?)?);
            stored.rows += row.try_get::<i64, _>("row_count")?;
        }
    }
    let roots: Vec<Vec<u8>> = new.values().map(|stored| stored.root.to_bytes().to_vec()).collect();
    let counts: Vec<i64> = new.values().map(|stored| stored.rows).collect();
    sqlx::query(
        "insert into helix.projection_roots (projection, workspace_id, partition, root, row_count)
         select $1, given.* from unnest($2::text[], $3::integer[], $4::bytea[], $5::bigint[])
                as given (workspace_id, partition, root, row_count)
         on conflict (projection, workspace_id, partition) do update set root = excluded.root, row_count = excluded.row_count",
    )
    .bind(generation.projection())
    .bind(&workspaces)
    .bind(&partitions)
    .bind(&roots)
    .bind(&counts)
    .execute(tx)
    .await?;
    Ok(())
}

/// Every workspace's stored root, of one generation.
pub(crate) async fn roots_of(
    tx: &mut PgConnection,
    generation: Generation,
) -> Result<BTreeMap<String, StoredRoot>, PostgresError> {
    let rows = sqlx::query("select workspace_id, root, row_count from helix.projection_roots where projection = $1")
        .bind(generation.projection())
        .fetch_all(tx)
        .await?;
    let mut roots: BTreeMap<String, StoredRoot> = BTreeMap::new();
    for row in rows {
        let stored = roots.entry(row.try_get("workspace_id")?).or_default();
        stored.root.merge(&read(row.try_get("root")?)?);
        stored.rows += row.try_get::<i64, _>("row_count")?;
    }
    Ok(roots)
}
