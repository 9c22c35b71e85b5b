//! Progress beside the rows: next offset and epoch of each partition, moved by compare-and-set (design.md section 8); what
//! is parked with it; and which projections are told to wait. Also for projections whose rows are elsewhere: [`ProgressOf`].

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use helix_runtime::{Batch, Epoch, NextOffset, Offset, Position, Standing, StoreError};
use sqlx::{PgConnection, PgPool, Row as _};

use crate::{PROJECTION, PostgresError, parked};

/// Progress of a projection that keeps nothing but its progress here.
#[derive(Debug, Clone)]
pub struct ProgressOf {
    pool: PgPool,
    projection: String,
}

impl ProgressOf {
    /// Of the projection with that name, on a migrated database.
    pub fn new(pool: PgPool, projection: impl Into<String>) -> Self {
        Self { pool, projection: projection.into() }
    }

    /// The projection's name.
    #[must_use]
    pub fn projection(&self) -> &str {
        &self.projection
    }

    /// Lets a projection that has no progress in the topic yet begin at these offsets, by partition; one that has some
    /// keeps it. Whole or not at all, so that a crash never moves a beginning. A partition that is not named begins at 0.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn begin(&self, topic: &str, at: &[(i32, i64)]) -> Result<(), PostgresError> {
        let (partitions, offsets): (Vec<i32>, Vec<i64>) = at.iter().copied().unzip();
        sqlx::query(
            "insert into helix.projection_progress (projection, topic, partition, next_offset, epoch)
             select $1, $2, start.partition, start.next_offset, 0
             from unnest($3::integer[], $4::bigint[]) as start (partition, next_offset)
             where not exists (select from helix.projection_progress where projection = $1 and topic = $2)
             order by start.partition
             on conflict (projection, topic, partition) do nothing",
        )
        .bind(&self.projection)
        .bind(topic)
        .bind(partitions)
        .bind(offsets)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Where every partition of a topic stands.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn standing(&self, topic: &str) -> Result<Vec<Progress>, PostgresError> {
        progress_of(&self.pool, &self.projection, topic).await
    }

    /// Where the named partitions stand, and whether the projection is paused.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn standing_of(&self, topic: &str, partitions: &[i32]) -> Result<Standing, PostgresError> {
        standing(&self.pool, &self.projection, topic, partitions).await
    }

    /// Raises the epoch of partitions and tells where they stand and what is parked of them; one never seen before stands
    /// at 0.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn acquire(&self, topic: &str, partitions: &[i32]) -> Result<Vec<Position>, PostgresError> {
        acquire(&self.pool, &self.projection, topic, partitions).await
    }

    /// Moves every slice's progress and stores what is parked, or nothing.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] where a partition is another's now, [`StoreError::Unavailable`] otherwise.
    pub async fn advance(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await.map_err(StoreError::unavailable)?;
        advance(&mut tx, &self.projection, batch).await?;
        parked::store(&mut tx, &self.projection, batch, None).await?;
        tx.commit().await.map_err(StoreError::unavailable)
    }

    /// Lets go of a parked key and fences whoever holds its partition: it comes back and applies what follows. What was
    /// parked must have been dealt with by the caller. Gives the number of entries.
    ///
    /// # Errors
    /// Where the database does not answer; then nothing has changed.
    pub async fn release(&self, topic: &str, key: &[u8]) -> Result<u64, PostgresError> {
        let mut tx = self.pool.begin().await?;
        parked::fence(&mut tx, &self.projection, topic, key).await?;
        let gone = parked::forget(&mut tx, &self.projection, topic, key).await?;
        tx.commit().await?;
        Ok(gone)
    }
}

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
        Self {
            partition: at.partition,
            next_offset: NextOffset(at.next_offset),
            epoch: Epoch(at.epoch),
            parked: BTreeMap::new(),
        }
    }
}

/// Raises the epoch of partitions and tells where they stand; one never seen before stands at 0.
pub(crate) async fn acquire(
    pool: &PgPool,
    projection: &str,
    topic: &str,
    partitions: &[i32],
) -> Result<Vec<Position>, PostgresError> {
    let rows = sqlx::query(
        "insert into helix.projection_progress as held (projection, topic, partition, next_offset, epoch)
         select $1, $2, taken, 0, 1 from unnest($3::integer[]) as taken order by taken
         on conflict (projection, topic, partition) do update set epoch = held.epoch + 1, updated_at = now()
         returning partition, next_offset, epoch",
    )
    .bind(projection)
    .bind(topic)
    .bind(partitions)
    .fetch_all(pool)
    .await?;
    // From here on nobody else parks in these partitions; whoever unparks raises the epoch once more.
    let mut firsts: BTreeMap<i32, BTreeMap<Bytes, Offset>> = BTreeMap::new();
    for (partition, key, offset) in parked::firsts(pool, projection, topic, partitions).await? {
        firsts.entry(partition).or_default().insert(key, offset);
    }
    rows.iter()
        .map(|row| {
            let partition = row.try_get("partition")?;
            Ok(Position {
                partition,
                next_offset: NextOffset(row.try_get("next_offset")?),
                epoch: Epoch(row.try_get("epoch")?),
                parked: firsts.remove(&partition).unwrap_or_default(),
            })
        })
        .collect()
}

/// Moves every slice's progress, or tells which partition is another's now.
pub(crate) async fn advance(tx: &mut PgConnection, projection: &str, batch: &Batch) -> Result<(), StoreError> {
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
    .bind(projection)
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

/// Where every partition of a topic stands in the live generation.
///
/// # Errors
/// Where the database does not answer.
pub async fn progress(pool: &PgPool, topic: &str) -> Result<Vec<Progress>, PostgresError> {
    progress_of(pool, PROJECTION, topic).await
}

/// Where every partition of a topic stands in a projection.
///
/// # Errors
/// Where the database does not answer.
pub async fn progress_of(
    asked: impl sqlx::PgExecutor<'_>,
    projection: &str,
    topic: &str,
) -> Result<Vec<Progress>, PostgresError> {
    let rows = sqlx::query(
        "select partition, next_offset, epoch from helix.projection_progress
         where projection = $1 and topic = $2 order by partition",
    )
    .bind(projection)
    .bind(topic)
    .fetch_all(asked)
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

pub(crate) async fn standing(
    pool: &PgPool,
    projection: &str,
    topic: &str,
    partitions: &[i32],
) -> Result<Standing, PostgresError> {
    let held = progress_of(pool, projection, topic).await?;
    let positions = held.into_iter().filter(|at| partitions.contains(&at.partition)).map(Into::into).collect();
    let paused = paused(pool).await?.contains(projection);
    Ok(Standing { positions, paused })
}

/// Tells a projection to wait, or to go on. It is heard within about a second, by every instance.
///
/// # Errors
/// Where the database does not answer.
pub async fn pause(pool: &PgPool, projection: &str, pause: bool) -> Result<(), PostgresError> {
    let statement = if pause {
        "insert into helix.projection_pauses (projection) values ($1) on conflict (projection) do nothing"
    } else {
        "delete from helix.projection_pauses where projection = $1"
    };
    sqlx::query(statement).bind(projection).execute(pool).await?;
    Ok(())
}

/// The projections that are told to wait.
///
/// # Errors
/// Where the database does not answer.
pub async fn paused(pool: &PgPool) -> Result<BTreeSet<String>, PostgresError> {
    let names: Vec<String> =
        sqlx::query_scalar("select projection from helix.projection_pauses").fetch_all(pool).await?;
    Ok(names.into_iter().collect())
}
