//! Records that are set aside: how they are stored, listed, and applied after all.
//!
//! An entry is true once progress of its epoch has passed it. One that was written ahead of progress that was never reached is
//! removed when its partition is acquired, under a later epoch, and made anew where its record still cannot be applied. Entries of the
//! own epoch or a later one are let be: whoever acquires may have been frozen after it looked, and others be far ahead. A zombie that came past
//! the look at its epoch can leave an entry of a record that its successor applied: the key is then parked without need, which
//! is seen and undone by unparking it, for a fact that is stored again counts once.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use clickhouse::Row;
use helix_runtime::{Batch, Cause, NextOffset, Offset, Parked, ParkedEntry, Position, Record, Slice, StoreError};
use helix_schemas::{codec::Codec, fact::Fact, key::workspace_of_key, names::WorkspaceId, registry::Registry};
use serde::{Deserialize, Serialize};

use crate::{
    client::{ClickHouseError, Database, Options},
    generation::{FACTS, Label, Labels, PROJECTION, STANDBY_PROJECTION},
    progress::ProgressTable,
    store::{decode, insert, of_insert},
};

const WHAT: &str = "parked facts";

const READ: &str = "
SELECT toString(parked.`projection`) AS `projection`, toString(topic) AS topic, partition, `offset`, key,
    toString(workspace_id) AS workspace_id, cause, behind, epoch, removed, parked_at
FROM {database}.parked_facts AS parked FINAL
WHERE NOT removed AND parked.`projection` = ?
ORDER BY topic, partition, `offset`";

/// One row of `parked_facts`.
#[derive(Clone, Row, Serialize, Deserialize)]
struct ParkedRow {
    projection: String,
    topic: String,
    partition: i32,
    offset: i64,
    #[serde(with = "bytes_of")]
    key: Vec<u8>,
    workspace_id: String,
    cause: String,
    behind: Option<i64>,
    epoch: i64,
    removed: bool,
    parked_at: i64,
}

/// A String column holds any bytes; serde would take a vector for an array.
mod bytes_of {
    use serde::{Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl de::Visitor<'_> for Bytes {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        deserializer.deserialize_byte_buf(Bytes)
    }
}

impl ParkedRow {
    fn of(generation: &str, slice: &Slice, topic: &str, parked: &Parked, parked_at: i64) -> Self {
        let (cause, behind) = match &parked.cause {
            Cause::Poison(reason) => (reason.clone(), None),
            Cause::Behind(first) => (String::new(), Some(first.0)),
        };
        Self {
            projection: generation.to_owned(),
            topic: topic.to_owned(),
            partition: slice.partition,
            offset: parked.offset.0,
            key: parked.key.to_vec(),
            workspace_id: workspace_of_key(&parked.key).unwrap_or_default().to_owned(),
            cause,
            behind,
            epoch: slice.epoch.0,
            removed: false,
            parked_at,
        }
    }

    /// Under the name that people know the generation by.
    fn entry(self, projection: &str) -> ParkedEntry {
        let cause = self.behind.map_or(Cause::Poison(self.cause), |first| Cause::Behind(Offset(first)));
        ParkedEntry {
            projection: projection.to_owned(),
            topic: self.topic,
            partition: self.partition,
            parked: Parked { offset: Offset(self.offset), key: self.key.into(), cause },
            parked_at: self.parked_at,
        }
    }
}

/// What is parked of a generation.
pub(crate) struct ParkedTable<'a> {
    pub(crate) database: &'a Database,
    pub(crate) generation: &'a str,
    /// Of this workspace alone: entries of others are let be.
    pub(crate) only: Option<&'a WorkspaceId>,
}

impl ParkedTable<'_> {
    async fn read(&self) -> Result<Vec<ParkedRow>, ClickHouseError> {
        let mut rows: Vec<ParkedRow> =
            self.database.fetch(WHAT, self.database.query_of(READ).bind(self.generation)).await?;
        rows.retain(|row| self.only.is_none_or(|only| row.workspace_id == only.as_str()));
        Ok(rows)
    }

    async fn write(&self, rows: &[ParkedRow]) -> Result<(), ClickHouseError> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut insert = self.database.insert::<ParkedRow>(WHAT, "parked_facts").await?;
        for row in rows {
            insert.write(row).await?;
        }
        insert.end().await
    }

    /// Under the epoch that stored them, so that they can be parked again under a later one.
    async fn remove(&self, rows: &[ParkedRow]) -> Result<(), ClickHouseError> {
        let removed: Vec<ParkedRow> = rows.iter().map(|row| ParkedRow { removed: true, ..row.clone() }).collect();
        self.write(&removed).await
    }

    /// Stores what a batch parks.
    pub(crate) async fn park(&self, batch: &Batch) -> Result<(), ClickHouseError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let parked_at = i64::try_from(now).unwrap_or(i64::MAX);
        let of_slice = |slice: &Slice| -> Vec<ParkedRow> {
            slice
                .parked
                .iter()
                .map(|parked| ParkedRow::of(self.generation, slice, &batch.topic, parked, parked_at))
                .collect()
        };
        let rows: Vec<ParkedRow> = batch.slices.iter().flat_map(of_slice).collect();
        self.write(&rows).await
    }

    /// Tells each position which keys are parked there; removes what an earlier epoch wrote ahead of its progress.
    pub(crate) async fn look_up(&self, topic: &str, positions: &mut [Position]) -> Result<(), ClickHouseError> {
        let mut ahead = Vec::new();
        for row in self.read().await? {
            let at = positions.iter_mut().find(|at| row.topic == topic && at.partition == row.partition);
            let Some(position) = at else { continue };
            if row.offset < position.next_offset.0 {
                // Sorted by offset: the first of a key stays.
                position.parked.entry(Bytes::copy_from_slice(&row.key)).or_insert(Offset(row.offset));
            } else if row.epoch < position.epoch.0 {
                ahead.push(row);
            }
        }
        self.remove(&ahead).await
    }
}

impl ParkedTable<'_> {
    /// Parks under another generation what is parked here below these offsets, by partition, and not of this workspace.
    pub(crate) async fn copy_others(
        &self,
        generation: &str,
        topic: &str,
        (below, except): (&BTreeMap<i32, i64>, &WorkspaceId),
    ) -> Result<(), ClickHouseError> {
        let is_copied = |row: &ParkedRow| {
            let passed = below.get(&row.partition).is_some_and(|below| row.offset < *below);
            passed && row.topic == topic && row.workspace_id != except.as_str()
        };
        // Whoever acquires the partitions of the copy does so under a later epoch.
        let copied = |row: ParkedRow| ParkedRow { projection: generation.to_owned(), epoch: 0, ..row };
        let rows: Vec<ParkedRow> = self.read().await?.into_iter().filter(is_copied).map(copied).collect();
        self.write(&rows).await
    }
}

async fn parked_of(database: &Database, label: &Label, told_as: &str) -> Result<Vec<ParkedEntry>, ClickHouseError> {
    let rows = ParkedTable { database, generation: &label.generation, only: None }.read().await?;
    Ok(rows.into_iter().map(|row| row.entry(told_as)).collect())
}

/// Everything that is parked of the live generation, in the order of the log.
///
/// # Errors
/// What ClickHouse says.
pub async fn parked(options: &Options) -> Result<Vec<ParkedEntry>, ClickHouseError> {
    let database = Database::new(options)?;
    parked_of(&database, &Labels::read(&database).await?.live, PROJECTION).await
}

/// Everything that is parked of the standby, in the order of the log.
///
/// # Errors
/// What ClickHouse says.
pub async fn parked_standby(options: &Options) -> Result<Vec<ParkedEntry>, ClickHouseError> {
    let database = Database::new(options)?;
    match Labels::read(&database).await?.standby {
        Some(label) => parked_of(&database, &label, STANDBY_PROJECTION).await,
        None => Ok(Vec::new()),
    }
}

/// A parked key, and the records that are parked of it: read from the log at the coordinates that [`parked`] lists.
#[derive(Debug, Clone)]
pub struct Unpark<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The key.
    pub key: &'a [u8],
    /// Every parked record of the key, in order.
    pub records: Vec<Record>,
}

/// What unparking did, or would do.
#[derive(Debug)]
pub struct Unparked {
    /// The facts that become rows, in order, each with where it lies.
    pub facts: Vec<(Offset, Fact)>,
    /// Entries of the key that were parked meanwhile and still are: to be unparked in turn.
    pub left: usize,
}

/// Why a key was not unparked. Unless it says otherwise, nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum UnparkError {
    /// The records are not exactly what is parked of the key now: list it again.
    #[error("what is parked of the key differs from what was given, from offset {} on", offset.0)]
    Differs {
        /// The first that differs.
        offset: Offset,
    },
    /// Nothing is parked of the key.
    #[error("nothing is parked of the key")]
    NotParked,
    /// The live table was exchanged for another meanwhile: list again.
    #[error("the live generation was exchanged meanwhile: see what is parked now")]
    Exchanged,
    /// A fact still cannot be applied, or a component does not answer. In the latter case what was done already is absorbed when
    /// it is done again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// ClickHouse does not answer; what was done already is absorbed when it is done again.
    #[error(transparent)]
    ClickHouse(#[from] ClickHouseError),
}

impl Unpark<'_> {
    /// Decodes everything that is parked of the key, and tells the rows that it would become.
    ///
    /// # Errors
    /// [`UnparkError`]; nothing is written in any case.
    pub async fn dry_run(
        &self,
        options: &Options,
        registry: &Registry,
        codec: &Codec<Fact>,
    ) -> Result<Unparked, UnparkError> {
        let database = Database::new(options)?;
        let live = Labels::read(&database).await?.live;
        let table = ParkedTable { database: &database, generation: &live.generation, only: None };
        let rows = self.matching(&table.read().await?)?;
        let facts = self.facts(registry, codec, &self.slice(&rows)).await?;
        Ok(Unparked { facts: facts.into_iter().map(|(offset, fact)| (Offset(offset), fact)).collect(), left: 0 })
    }

    /// Stores the facts, removes their entries, and fences the running projector, which then reads anew what is parked. Nobody
    /// may exchange generations meanwhile: that is the caller's to keep.
    ///
    /// In that order: a crash in between leaves the key parked, and the facts count once when it is unparked again.
    ///
    /// # Errors
    /// [`UnparkError`].
    pub async fn run(
        &self,
        options: &Options,
        registry: &Registry,
        codec: &Codec<Fact>,
    ) -> Result<Unparked, UnparkError> {
        let database = Database::new(options)?;
        let live = Labels::read(&database).await?.live;
        let table = ParkedTable { database: &database, generation: &live.generation, only: None };
        let rows = self.matching(&table.read().await?)?;
        let slice = self.slice(&rows);
        let facts = self.facts(registry, codec, &slice).await?;
        let batch = Batch { topic: self.topic.to_owned(), slices: vec![slice] };
        let decoded = [(self.partition, facts)];
        insert(&database, FACTS, &batch, &decoded).await.map_err(of_insert)?;
        if Labels::read(&database).await?.live.generation != live.generation {
            return Err(UnparkError::Exchanged);
        }
        table.remove(&rows).await?;
        self.fence(&database, &live).await?;
        let left = table.read().await?.iter().filter(|row| self.is_of(row)).count();
        let facts = decoded.into_iter().flat_map(|(_, facts)| facts);
        Ok(Unparked { facts: facts.map(|(offset, fact)| (Offset(offset), fact)).collect(), left })
    }

    async fn facts(
        &self,
        registry: &Registry,
        codec: &Codec<Fact>,
        slice: &Slice,
    ) -> Result<Vec<(i64, Fact)>, StoreError> {
        let mut facts = Vec::with_capacity(slice.records.len());
        for record in &slice.records {
            facts.push((record.offset.0, decode(registry, codec, slice.partition, record).await?));
        }
        Ok(facts)
    }

    fn is_of(&self, row: &ParkedRow) -> bool {
        row.topic == self.topic && row.partition == self.partition && row.key == self.key
    }

    /// The entries of the key, where they are those of the records.
    fn matching(&self, all: &[ParkedRow]) -> Result<Vec<ParkedRow>, UnparkError> {
        let rows: Vec<ParkedRow> = all.iter().filter(|row| self.is_of(row)).cloned().collect();
        if rows.is_empty() {
            return Err(UnparkError::NotParked);
        }
        let parked: BTreeMap<i64, bool> = rows.iter().map(|row| (row.offset, true)).collect();
        let given: BTreeMap<i64, bool> =
            self.records.iter().map(|record| (record.offset.0, record.key.as_ref() == self.key)).collect();
        let differs = |offset: &&i64| parked.get(offset) != given.get(offset);
        match parked.keys().chain(given.keys()).filter(differs).min() {
            Some(offset) => Err(UnparkError::Differs { offset: Offset(*offset) }),
            None => Ok(rows),
        }
    }

    fn slice(&self, rows: &[ParkedRow]) -> Slice {
        let epoch = rows.iter().map(|row| row.epoch).max().unwrap_or_default();
        let offsets = || self.records.iter().map(|record| record.offset);
        Slice {
            partition: self.partition,
            epoch: helix_runtime::Epoch(epoch),
            from: NextOffset(offsets().min().map_or(0, |first| first.0)),
            to: offsets().max().map_or(NextOffset(0), Offset::next),
            records: self.records.clone(),
            parked: Vec::new(),
        }
    }

    /// Raises the partition's epoch: whoever holds it has the key among those that are parked.
    async fn fence(&self, database: &Database, live: &Label) -> Result<(), ClickHouseError> {
        let progress = ProgressTable { database, table: FACTS, projection: &live.generation, topic: self.topic };
        let held = progress.read().await?.positions.remove(&self.partition);
        let raised: Vec<Position> = held.into_iter().map(ProgressTable::raised).collect();
        progress.write(&raised).await
    }
}
