//! Progress beside the rows: next offset and epoch of each partition, moved by compare-and-set (design.md section 8).

use helix_runtime::{Batch, Epoch, NextOffset, Position, StoreError};
use sqlx::{PgConnection, PgPool, Row as _};

use crate::{PROJECTION, PostgresError};

/// Where a partition stands, as `helix projection list` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The partition.
    pub partition: i32,
    /// Read next.
    pub next_offset: i64,
    /// How often it has changed hands.
    pub epoch: i64,
}

impl From<Progress> for Position {
    fn from(at: Progress) -> Self {
        Self { partition: at.partition, next_offset: NextOffset(at.next_offset), epoch: Epoch(at.epoch) }
    }
}

/// Raises the epoch of partitions and tells where they stand; one never seen before stands at 0.
pub(crate) async fn acquire(pool: &PgPool, topic: &str, partitions: &[i32]) -> Result<Vec<Position>, PostgresError> {
    let rows = sqlx::query(
        "insert into helix.projection_progress as held (projection, topic, partition, next_offset, epoch)
         select $1, $2, taken, 0, 1 from unnest($3::integer[]) as taken order by taken
         on conflict (projection, topic, partition) do update set epoch = held.epoch + 1, updated_at = now()
         returning partition, next_offset, epoch",
    )
    .bind(PROJECTION)
    .bind(topic)
    .bind(partitions)
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Position {
                partition: row.try_get("partition")?,
                next_offset: NextOffset(row.try_get("next_offset")?),
                epoch: Epoch(row.try_get("epoch")?),
            })
        })
        .collect()
}

/// Moves every slice's progress, or tells which partition is another's now.
pub(crate) async fn advance(tx: &mut PgConnection, batch: &Batch) -> Result<(), StoreError> {
    let partitions: Vec<i32> = batch.slices.iter().map(|slice| slice.partition).collect();
    let from: Vec<i64> = batch.slices.iter().map(|slice| slice.from.0).collect();
    let to: Vec<i64> = batch.slices.iter().map(|slice| slice.to.0).collect();
    let epochs: Vec<i64> = batch.slices.iter().map(|slice| slice.epoch.0).collect();
    let moved: Vec<i32> = sqlx::query_scalar(
        "update helix.projection_progress as held
         set next_offset = slice.next_to, updated_at = now()
         from unnest($3::integer[], $4::bigint[], $5::bigint[], $6::bigint[]) as slice (partition, next_from, next_to, epoch)
         where held.projection = $1 and held.topic = $2 and held.partition = slice.partition
           and held.next_offset = slice.next_from and held.epoch = slice.epoch
         returning held.partition",
    )
    .bind(PROJECTION)
    .bind(&batch.topic)
    .bind(&partitions)
    .bind(&from)
    .bind(&to)
    .bind(&epochs)
    .fetch_all(tx)
    .await
    .map_err(StoreError::unavailable)?;
    match partitions.iter().find(|partition| !moved.contains(partition)) {
        Some(partition) => Err(StoreError::Fenced { partition: *partition }),
        None => Ok(()),
    }
}

/// Where every partition of a topic stands.
///
/// # Errors
/// Where the database does not answer.
pub async fn progress(pool: &PgPool, topic: &str) -> Result<Vec<Progress>, PostgresError> {
    let rows = sqlx::query(
        "select partition, next_offset, epoch from helix.projection_progress
         where projection = $1 and topic = $2 order by partition",
    )
    .bind(PROJECTION)
    .bind(topic)
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Progress {
                partition: row.try_get("partition")?,
                next_offset: row.try_get("next_offset")?,
                epoch: row.try_get("epoch")?,
            })
        })
        .collect()
}

/// Throws the projection away: empty tables, progress at 0, every holder fenced. In one transaction.
///
/// # Errors
/// Where the database does not answer; then nothing has changed.
pub async fn reset(pool: &PgPool) -> Result<(), PostgresError> {
    let mut tx = pool.begin().await?;
    // Progress first: it is what projectors lock first, so that neither waits for the other.
    sqlx::query("update helix.projection_progress set next_offset = 0, epoch = epoch + 1, updated_at = now() where projection = $1")
        .bind(PROJECTION)
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "truncate read.agents, read.agent_intervals, read.calls, read.missed_calls,
                  helix.agent_timeline, helix.agent_registers, helix.call_states",
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query("delete from helix.projection_roots where projection = $1").bind(PROJECTION).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}
