//! Roots, kept in the same transaction as the rows.

use std::collections::BTreeMap;

use helix_fold::root::Root;
use helix_schemas::names::WorkspaceId;
use sqlx::{PgConnection, Row as _};

use crate::{PROJECTION, PostgresError};

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
    changes: &BTreeMap<(WorkspaceId, i32), Change>,
) -> Result<(), PostgresError> {
    for ((workspace, partition), change) in changes {
        if change.root.is_empty() && change.rows == 0 {
            continue;
        }
        let held = sqlx::query(
            "select root, row_count from helix.projection_roots
             where projection = $1 and workspace_id = $2 and partition = $3 for update",
        )
        .bind(PROJECTION)
        .bind(workspace.as_str())
        .bind(partition)
        .fetch_optional(&mut *tx)
        .await?;
        let (mut root, rows) = match held {
            Some(row) => (read(row.try_get("root")?)?, row.try_get::<i64, _>("row_count")?),
            None => (Root::default(), 0),
        };
        root.merge(&change.root);
        sqlx::query(
            "insert into helix.projection_roots (projection, workspace_id, partition, root, row_count)
             values ($1, $2, $3, $4, $5)
             on conflict (projection, workspace_id, partition) do update set root = excluded.root, row_count = excluded.row_count",
        )
        .bind(PROJECTION)
        .bind(workspace.as_str())
        .bind(partition)
        .bind(root.to_bytes().as_slice())
        .bind(rows + change.rows)
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// Every workspace's stored root.
///
/// # Errors
/// Where the database does not answer or holds a root of the wrong length.
pub async fn stored_roots(tx: &mut PgConnection) -> Result<BTreeMap<String, StoredRoot>, PostgresError> {
    let rows = sqlx::query("select workspace_id, root, row_count from helix.projection_roots where projection = $1")
        .bind(PROJECTION)
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
