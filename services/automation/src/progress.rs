//! Progress beside the rows: next offset and epoch of each partition, moved by compare-and-set, and what is parked
//! (design.md section 8).

use std::collections::BTreeMap;

use bytes::Bytes;
use helix_runtime::{Batch, Cause, Epoch, NextOffset, Offset, Position, StoreError};
use helix_schemas::key::workspace_of_key;
use sqlx::{PgConnection, PgPool, Row as _};

use crate::database::AutomationError;

/// Raises the epoch of partitions and tells where they stand; one never seen before stands at 0.
pub(crate) async fn acquire(pool: &PgPool, topic: &str, partitions: &[i32]) -> Result<Vec<Position>, AutomationError> {
    let mut tx = pool.begin().await?;
    let rows = sqlx::query(
        "insert into automation.progress as held (topic, partition, next_offset, epoch)
         select $1, taken, 0, 1 from unnest($2::integer[]) as taken order by taken
         on conflict (topic, partition) do update set epoch = held.epoch + 1, read_at = null, updated_at = now()
         returning partition, next_offset, epoch",
    )
    .bind(topic)
    .bind(partitions)
    .fetch_all(&mut *tx)
    .await?;
    let mut parked = parked(&mut tx, topic, partitions).await?;
    tx.commit().await?;
    let mut positions = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut position = position(row)?;
        position.parked = parked.remove(&position.partition).unwrap_or_default();
        positions.push(position);
    }
    Ok(positions)
}

/// Keys that are parked, each with the offset of its first fact.
async fn parked(
    tx: &mut PgConnection,
    topic: &str,
    partitions: &[i32],
) -> Result<BTreeMap<i32, BTreeMap<Bytes, Offset>>, AutomationError> {
    let rows = sqlx::query(
        "select partition, key, min(fact_offset) as first from automation.parked
         where topic = $1 and partition = any($2) group by partition, key",
    )
    .bind(topic)
    .bind(partitions)
    .fetch_all(tx)
    .await?;
    let mut all: BTreeMap<i32, BTreeMap<Bytes, Offset>> = BTreeMap::new();
    for row in &rows {
        let key: Vec<u8> = row.try_get("key")?;
        let first = Offset(row.try_get("first")?);
        all.entry(row.try_get("partition")?).or_default().insert(Bytes::from(key), first);
    }
    Ok(all)
}

/// Where partitions stand.
pub(crate) async fn standing(pool: &PgPool, topic: &str, partitions: &[i32]) -> Result<Vec<Position>, AutomationError> {
    let rows = sqlx::query(
        "select partition, next_offset, epoch from automation.progress
         where topic = $1 and partition = any($2) order by partition",
    )
    .bind(topic)
    .bind(partitions)
    .fetch_all(pool)
    .await?;
    Ok(rows.iter().map(position).collect::<Result<_, _>>()?)
}

fn position(row: &sqlx::postgres::PgRow) -> Result<Position, sqlx::Error> {
    Ok(Position {
        partition: row.try_get("partition")?,
        next_offset: NextOffset(row.try_get("next_offset")?),
        epoch: Epoch(row.try_get("epoch")?),
        parked: BTreeMap::new(),
    })
}

/// Moves every slice's progress and keeps what is parked, or tells which partition is another's now.
pub(crate) async fn advance(tx: &mut PgConnection, batch: &Batch) -> Result<(), StoreError> {
    let partitions: Vec<i32> = batch.slices.iter().map(|slice| slice.partition).collect();
    let from: Vec<i64> = batch.slices.iter().map(|slice| slice.from.0).collect();
    let to: Vec<i64> = batch.slices.iter().map(|slice| slice.to.0).collect();
    let epochs: Vec<i64> = batch.slices.iter().map(|slice| slice.epoch.0).collect();
    let moved: Vec<i32> = sqlx::query_scalar(
        "update automation.progress as held
         set next_offset = slice.next_to, updated_at = now()
         from unnest($2::integer[], $3::bigint[], $4::bigint[], $5::bigint[]) as slice (partition, next_from, next_to, epoch)
         where held.topic = $1 and held.partition = slice.partition
           and held.next_offset = slice.next_from and held.epoch = slice.epoch
         returning held.partition",
    )
    .bind(&batch.topic)
    .bind(&partitions)
    .bind(&from)
    .bind(&to)
    .bind(&epochs)
    .fetch_all(&mut *tx)
    .await
    .map_err(AutomationError::from)?;
    match partitions.iter().find(|partition| !moved.contains(partition)) {
        Some(partition) => Err(StoreError::Fenced { partition: *partition }),
        None => Ok(park(tx, batch).await?),
    }
}

/// Notes of these partitions, where they are still held under these epochs, that all there is was read. About once in a
/// few seconds.
pub(crate) async fn read_all(pool: &PgPool, topic: &str, held: &BTreeMap<i32, Epoch>) -> Result<(), AutomationError> {
    let (partitions, epochs): (Vec<i32>, Vec<i64>) =
        held.iter().map(|(partition, epoch)| (*partition, epoch.0)).unzip();
    sqlx::query(
        "update automation.progress as held set read_at = now()
         from unnest($2::integer[], $3::bigint[]) as ours (partition, epoch)
         where held.topic = $1 and held.partition = ours.partition and held.epoch = ours.epoch
           and (held.read_at is null or held.read_at not between now() - interval '3 seconds' and now() + interval '3 seconds')",
    )
    .bind(topic)
    .bind(&partitions)
    .bind(&epochs)
    .execute(pool)
    .await?;
    Ok(())
}

async fn park(tx: &mut PgConnection, batch: &Batch) -> Result<(), AutomationError> {
    for slice in &batch.slices {
        for parked in &slice.parked {
            let (cause, behind) = match &parked.cause {
                Cause::Poison(reason) => (reason.as_str(), None),
                Cause::Behind(first) => ("behind", Some(first.0)),
            };
            sqlx::query(
                "insert into automation.parked (topic, partition, fact_offset, key, workspace_id, cause, behind)
                 values ($1, $2, $3, $4, $5, $6, $7)",
            )
            .bind(&batch.topic)
            .bind(slice.partition)
            .bind(parked.offset.0)
            .bind(parked.key.as_ref())
            .bind(workspace_of_key(&parked.key))
            .bind(cause)
            .bind(behind)
            .execute(&mut *tx)
            .await?;
        }
    }
    Ok(())
}
