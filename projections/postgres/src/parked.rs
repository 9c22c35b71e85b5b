//! Facts that are set aside (law 7): stored with the batch that met them, listed, and applied again in order.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use helix_runtime::{Batch, Cause, Offset, Parked, ParkedEntry, Record, StoreError};
use helix_schemas::{key::workspace_of_key, names::WorkspaceId};
use sqlx::{PgConnection, PgPool, Row as _, postgres::PgRow};

use crate::{
    PostgresError, apply,
    batch::{Arrived, ChangedRow, Changes},
    decode::Placed,
    memory::Memory,
    rows::bad,
    store::PostgresStore,
};

const TABLE: &str = "helix.parked_facts";
/// So many facts are unparked in one transaction by whoever has very many: about a second.
pub const UNPARK_PIECE: usize = 5_000;

/// Which parked facts; whatever is `None` does not matter.
#[derive(Debug, Clone, Default)]
pub struct ParkedFilter {
    /// Of one projection.
    pub projection: Option<String>,
    /// Of one workspace.
    pub workspace: Option<WorkspaceId>,
    /// Of one record key.
    pub key: Option<Bytes>,
}

/// What unparking did, or would do.
#[derive(Debug, Clone)]
pub struct Unparked {
    /// How many facts were applied.
    pub facts: usize,
    /// How many of the key are still parked: those that came meanwhile, and those that were not given.
    pub left: usize,
    /// The rows that changed. They hold personal data.
    pub changes: Vec<ChangedRow>,
    /// Whether it is done: not after a dry run.
    pub done: bool,
}

/// Why a key stays parked.
#[derive(Debug, thiserror::Error)]
pub enum UnparkError {
    /// Nothing of that key is parked.
    #[error("nothing is parked under that key")]
    NothingParked,
    /// The records are not the first that are parked now: somebody else unparked them. Read them again.
    #[error("the parked facts of that key have changed meanwhile: read them again")]
    Moved,
    /// They still cannot be applied. Nothing has changed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<PostgresError> for UnparkError {
    fn from(error: PostgresError) -> Self {
        Self::Store(error.into())
    }
}

impl From<sqlx::Error> for UnparkError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(PostgresError::from(error).into())
    }
}

/// Stores what a batch parks; of one workspace where `only` names it.
pub(crate) async fn store(
    tx: &mut PgConnection,
    projection: &str,
    batch: &Batch,
    only: Option<&WorkspaceId>,
) -> Result<(), PostgresError> {
    for slice in &batch.slices {
        let of_scope = |parked: &&Parked| only.is_none_or(|only| workspace_of_key(&parked.key) == Some(only.as_str()));
        let parked: Vec<&Parked> = slice.parked.iter().filter(of_scope).collect();
        if parked.is_empty() {
            continue;
        }
        let offsets: Vec<i64> = parked.iter().map(|parked| parked.offset.0).collect();
        let keys: Vec<&[u8]> = parked.iter().map(|parked| parked.key.as_ref()).collect();
        let workspaces: Vec<Option<&str>> = parked.iter().map(|parked| workspace_of_key(&parked.key)).collect();
        let reasons: Vec<Option<&str>> = parked
            .iter()
            .map(|parked| match &parked.cause {
                Cause::Poison(reason) => Some(reason.as_str()),
                Cause::Behind(_) => None,
            })
            .collect();
        let behind: Vec<Option<i64>> = parked
            .iter()
            .map(|parked| match &parked.cause {
                Cause::Poison(_) => None,
                Cause::Behind(first) => Some(first.0),
            })
            .collect();
        sqlx::query(
            r#"insert into helix.parked_facts
                   (projection, topic, partition, "offset", key, workspace_id, cause, reason, behind)
               select $1, $2, $3, given.at, given.key, given.workspace_id,
                      case when given.behind is null then 'poison' else 'behind' end, given.reason, given.behind
               from unnest($4::bigint[], $5::bytea[], $6::text[], $7::text[], $8::bigint[])
                    as given (at, key, workspace_id, reason, behind)"#,
        )
        .bind(projection)
        .bind(&batch.topic)
        .bind(slice.partition)
        .bind(&offsets)
        .bind(&keys)
        .bind(&workspaces)
        .bind(&reasons)
        .bind(&behind)
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// The parked keys of partitions, each with its first offset.
pub(crate) async fn firsts(
    pool: &PgPool,
    projection: &str,
    topic: &str,
    partitions: &[i32],
) -> Result<Vec<(i32, Bytes, Offset)>, PostgresError> {
    let rows = sqlx::query(
        r#"select partition, key, min("offset") as first from helix.parked_facts
           where projection = $1 and topic = $2 and partition = any($3) group by partition, key"#,
    )
    .bind(projection)
    .bind(topic)
    .bind(partitions)
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            let key: Vec<u8> = row.try_get("key")?;
            Ok((row.try_get("partition")?, Bytes::from(key), Offset(row.try_get("first")?)))
        })
        .collect()
}

/// What is parked, by projection, topic, partition and offset.
///
/// # Errors
/// Where the database does not answer.
pub async fn parked(pool: &PgPool, filter: &ParkedFilter) -> Result<Vec<ParkedEntry>, PostgresError> {
    let rows = sqlx::query(
        r#"select projection, topic, partition, "offset", key, reason, behind,
                  (extract(epoch from parked_at) * 1000)::bigint as parked_millis
           from helix.parked_facts
           where ($1::text is null or projection = $1) and ($2::text is null or workspace_id = $2)
             and ($3::bytea is null or key = $3)
           order by projection, topic, partition, "offset""#,
    )
    .bind(&filter.projection)
    .bind(filter.workspace.as_ref().map(WorkspaceId::as_str))
    .bind(filter.key.as_deref())
    .fetch_all(pool)
    .await?;
    rows.iter().map(entry).collect()
}

fn entry(row: &PgRow) -> Result<ParkedEntry, PostgresError> {
    let key: Vec<u8> = row.try_get("key")?;
    let cause = match (row.try_get::<Option<String>, _>("reason")?, row.try_get::<Option<i64>, _>("behind")?) {
        (Some(reason), None) => Cause::Poison(reason),
        (None, Some(first)) => Cause::Behind(Offset(first)),
        (None, None) | (Some(_), Some(_)) => return Err(bad(TABLE, "a cause that is none")),
    };
    Ok(ParkedEntry {
        projection: row.try_get("projection")?,
        topic: row.try_get("topic")?,
        partition: row.try_get("partition")?,
        parked: Parked { offset: Offset(row.try_get("offset")?), key: Bytes::from(key), cause },
        parked_at: row.try_get("parked_millis")?,
    })
}

/// Raises the epoch of the partitions in which a key is parked, and holds them until the transaction ends.
pub(crate) async fn fence(
    tx: &mut PgConnection,
    projection: &str,
    topic: &str,
    key: &[u8],
) -> Result<(), PostgresError> {
    sqlx::query(
        "update helix.projection_progress as held set epoch = held.epoch + 1, updated_at = now()
         where held.projection = $1 and held.topic = $2 and held.partition in (
             select partition from helix.parked_facts where projection = $1 and topic = $2 and key = $3)",
    )
    .bind(projection)
    .bind(topic)
    .bind(key)
    .execute(tx)
    .await?;
    Ok(())
}

/// Deletes the entries of a key at these places.
async fn let_go(
    tx: &mut PgConnection,
    projection: &str,
    topic: &str,
    key: &[u8],
    places: &[(i32, i64)],
) -> Result<(), PostgresError> {
    let (partitions, offsets): (Vec<i32>, Vec<i64>) = places.iter().copied().unzip();
    sqlx::query(
        r#"delete from helix.parked_facts as held
           using unnest($4::integer[], $5::bigint[]) as given (partition, "offset")
           where held.projection = $1 and held.topic = $2 and held.key = $3
             and held.partition = given.partition and held."offset" = given."offset""#,
    )
    .bind(projection)
    .bind(topic)
    .bind(key)
    .bind(&partitions)
    .bind(&offsets)
    .execute(tx)
    .await?;
    Ok(())
}

/// Deletes the entries of a key.
pub(crate) async fn forget(
    tx: &mut PgConnection,
    projection: &str,
    topic: &str,
    key: &[u8],
) -> Result<u64, PostgresError> {
    let gone = sqlx::query("delete from helix.parked_facts where projection = $1 and topic = $2 and key = $3")
        .bind(projection)
        .bind(topic)
        .bind(key)
        .execute(tx)
        .await?;
    Ok(gone.rows_affected())
}

async fn parked_now(
    tx: &mut PgConnection,
    projection: &str,
    topic: &str,
    key: &[u8],
) -> Result<Vec<(i32, i64)>, PostgresError> {
    let rows = sqlx::query(
        r#"select partition, "offset" from helix.parked_facts where projection = $1 and topic = $2 and key = $3
           order by partition, "offset""#,
    )
    .bind(projection)
    .bind(topic)
    .bind(key)
    .fetch_all(tx)
    .await?;
    rows.iter().map(|row| Ok((row.try_get("partition")?, row.try_get("offset")?))).collect()
}

impl PostgresStore {
    /// Applies the first parked facts of a key in order and lets go of them, in one transaction; the running projector is
    /// fenced, comes back, and once nothing of the key is parked any more applies what follows. `records` are all that are
    /// parked, or where those are very many a beginning of them ([`UNPARK_PIECE`]), read from the log by the coordinates that
    /// [`parked`] tells, with their partitions. What is left is parked as before, in its order: ask again for the next.
    ///
    /// A dry run does the same and undoes it; it takes all of them at once, and the time and the locks that takes.
    ///
    /// # Errors
    /// [`UnparkError`]; then nothing has changed.
    pub async fn unpark(
        &self,
        topic: &str,
        key: &[u8],
        mut records: Vec<(i32, Record)>,
        dry_run: bool,
    ) -> Result<Unparked, UnparkError> {
        let projection = self.generation.projection();
        records.sort_by_key(|(partition, record)| (*partition, record.offset));
        let given: Vec<(i32, i64)> = records.iter().map(|(partition, record)| (*partition, record.offset.0)).collect();
        let placed = records.into_iter().map(|(partition, record)| Placed::new(partition, record)).collect();
        let facts = self.decoder.decode(placed).await?;
        let mut tx = self.pool.begin().await?;
        fence(&mut tx, projection, topic, key).await?;
        let held = parked_now(&mut tx, projection, topic, key).await?;
        if held.is_empty() {
            return Err(UnparkError::NothingParked);
        }
        if !held.starts_with(&given) {
            return Err(UnparkError::Moved);
        }
        let mut changes = Changes::watching();
        apply::begin(&mut tx, self.generation, &facts, &mut changes).await?;
        let mut memory = Memory::default();
        let mut facts: VecDeque<Arrived> = facts.into();
        while !facts.is_empty() {
            let piece: Vec<Arrived> = facts.drain(..facts.len().min(UNPARK_PIECE)).collect();
            apply::apply_facts(&mut tx, self, Arc::new(piece), &mut memory, &mut changes).await?;
        }
        let_go(&mut tx, projection, topic, key, &given).await?;
        if dry_run {
            tx.rollback().await?;
        } else {
            tx.commit().await?;
        }
        let (facts, left) = (given.len(), held.len() - given.len());
        Ok(Unparked { facts, left, changes: changes.into_seen(), done: !dry_run })
    }
}
