//! The store behind `helix project clickhouse`.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use helix_fold::settings::Settings;
use helix_runtime::{
    Batch, Epoch, NextOffset, Position, Prepared, Preparer, Record, Slice, Standing, Store, StoreError,
    fault::{self, Point},
};
use helix_schemas::{codec::Codec, fact::Fact, key::workspace_of_key, names::WorkspaceId, registry::Registry};

use crate::{
    client::{ClickHouseError, Database, Options},
    generation::{FACTS, FACTS_STANDBY, Label, Labels, PROJECTION, STANDBY_PROJECTION},
    migrate::migrate,
    parked::ParkedTable,
    pause::is_paused,
    progress::{ProgressTable, Standings, holds},
    row::{Coordinates, FactRow},
    settings::write_settings,
};

/// What is told of a partition that this instance holds of a generation that is no longer live: it stands elsewhere.
const ELSEWHERE: Epoch = Epoch(-1);

/// What a store writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Work {
    /// The live table, whichever generation that is.
    Live,
    /// The table beside it.
    Standby,
    /// The table beside it, of one workspace alone: what was told before the others' rows were copied.
    Refill(WorkspaceId),
}

impl Work {
    const fn table(&self) -> &'static str {
        match self {
            Self::Live => FACTS,
            Self::Standby | Self::Refill(_) => FACTS_STANDBY,
        }
    }

    const fn only(&self) -> Option<&WorkspaceId> {
        match self {
            Self::Refill(workspace) => Some(workspace),
            Self::Live | Self::Standby => None,
        }
    }
}

/// Writes facts and progress to ClickHouse. What is kept true is written in the crate's documentation.
pub struct ClickHouseStore {
    pub(crate) database: Database,
    pub(crate) registry: Registry,
    pub(crate) codec: Arc<Codec<Fact>>,
    pub(crate) work: Work,
    pub(crate) held: Option<Held>,
}

/// The generation that the table was when partitions were last acquired, and which were acquired while it was that.
pub(crate) struct Held {
    label: Label,
    partitions: BTreeSet<i32>,
}

impl ClickHouseStore {
    /// Connects, brings the database to head and writes what is configured of each workspace.
    ///
    /// # Errors
    /// [`ClickHouseError`] where the server cannot be reached or the database is not as this build needs it.
    pub async fn open(
        options: &Options,
        registry: Registry,
        codec: Arc<Codec<Fact>>,
        workspaces: &BTreeMap<WorkspaceId, Settings>,
    ) -> Result<Self, ClickHouseError> {
        migrate(options).await?;
        let database = Database::new(options)?;
        write_settings(&database, workspaces).await?;
        Ok(Self { database, registry, codec, work: Work::Live, held: None })
    }

    /// Which generation the table is now.
    async fn label(&self) -> Result<Label, ClickHouseError> {
        let labels = Labels::read(&self.database).await?;
        match self.work {
            Work::Live => Ok(labels.live),
            Work::Standby | Work::Refill(_) => labels.standby.ok_or(ClickHouseError::NoStandby),
        }
    }

    /// The name under which this store keeps the progress of a generation.
    fn name_of(&self, label: &Label) -> String {
        match self.work {
            Work::Live | Work::Standby => label.generation.clone(),
            Work::Refill(_) => label.refill(),
        }
    }

    fn progress<'a>(&'a self, projection: &'a str, topic: &'a str) -> ProgressTable<'a> {
        ProgressTable { database: &self.database, table: self.work.table(), projection, topic }
    }

    fn parked<'a>(&'a self, label: &'a Label) -> ParkedTable<'a> {
        ParkedTable { database: &self.database, generation: &label.generation, only: self.work.only() }
    }

    async fn standings(&self, label: &Label, topic: &str) -> Result<Standings, StoreError> {
        self.progress(&self.name_of(label), topic).read().await.map_err(StoreError::unavailable)
    }

    /// Refuses a batch of which another instance holds a partition now, or whose table is another generation by now.
    async fn check_held(&self, held: &Held, batch: &Batch) -> Result<(), StoreError> {
        let now = self.standings(&held.label, &batch.topic).await?;
        let is_held = |slice: &Slice| {
            now.generation == held.label.generation
                && held.partitions.contains(&slice.partition)
                && holds(slice, now.positions.get(&slice.partition))
        };
        match batch.slices.iter().find(|slice| !is_held(slice)) {
            Some(slice) => Err(StoreError::Fenced { partition: slice.partition }),
            None => Ok(()),
        }
    }

    /// A slice's facts of those that this store takes; what was read ahead of them comes in the order of its records.
    async fn facts_of(
        &self,
        slice: &Slice,
        ahead: &mut impl Iterator<Item = Option<Prepared>>,
    ) -> Result<Vec<(i64, Arc<Fact>)>, StoreError> {
        let mut facts = Vec::with_capacity(slice.records.len());
        for record in &slice.records {
            let read = ahead.next().flatten().and_then(|read| read.downcast().ok());
            let is_other = |only: &WorkspaceId| workspace_of_key(&record.key) != Some(only.as_str());
            if self.work.only().is_some_and(is_other) {
                continue;
            }
            let fact = match read {
                Some(fact) => fact,
                None => Arc::new(decode(&self.registry, &self.codec, slice.partition, record).await?),
            };
            facts.push((record.offset.0, fact));
        }
        Ok(facts)
    }
}

/// The fact of a record.
pub(crate) async fn decode(
    registry: &Registry,
    codec: &Codec<Fact>,
    partition: i32,
    record: &Record,
) -> Result<Fact, StoreError> {
    registry.decode(codec, &record.value).await.map_err(|error| {
        if error.blames_the_record() {
            StoreError::Poison { partition, offset: record.offset, reason: error.to_string() }
        } else {
            StoreError::unavailable(error)
        }
    })
}

/// Writes the rows of a batch's facts as one block.
pub(crate) async fn insert<F: Borrow<Fact>>(
    database: &Database,
    table: &str,
    batch: &Batch,
    facts: &[(i32, Vec<(i64, F)>)],
) -> Result<(), ClickHouseError> {
    let all = facts.iter().map(|(_, facts)| facts.len()).sum();
    if all == 0 {
        return Ok(());
    }
    let insert = database.insert::<FactRow<'_>>("facts", table).await?;
    let mut insert = insert.once(&token(batch));
    let mut left: usize = all;
    for (partition, facts) in facts {
        for (offset, fact) in facts {
            let at = Coordinates { topic: &batch.topic, partition: *partition, offset: *offset };
            insert.write(&FactRow::of(fact.borrow(), at)).await?;
            left -= 1;
            if left == all / 2 {
                fault::pass(Point::MidBatch);
            }
        }
    }
    insert.end().await
}

/// What a refused block means: most refusals pass, but one for what a row holds never does.
pub(crate) fn of_insert(error: ClickHouseError) -> StoreError {
    match &error {
        ClickHouseError::Refused { code, .. } if REFUSES_A_ROW.contains(&code.as_str()) => {
            StoreError::Refused { reason: error.to_string() }
        }
        ClickHouseError::Refused { .. }
        | ClickHouseError::Unreachable(_)
        | ClickHouseError::TimedOut
        | ClickHouseError::Mismatch { .. }
        | ClickHouseError::Unreadable { .. }
        | ClickHouseError::NoStandby
        | ClickHouseError::Exchanged
        | ClickHouseError::DatabaseName
        | ClickHouseError::MigrationChanged { .. } => StoreError::unavailable(error),
    }
}

/// Refusals of what a row holds, as ClickHouse names them.
const REFUSES_A_ROW: [&str; 5] = [
    "117 INCORRECT_DATA",
    "128 TOO_LARGE_ARRAY_SIZE",
    "131 TOO_LARGE_STRING_SIZE",
    "321 VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE",
    "469 VIOLATED_CONSTRAINT",
];

/// Names the block: its partitions with their cuts, and a digest of every offset and value in it.
fn token(batch: &Batch) -> String {
    let mut digest = blake3::Hasher::new();
    let mut token = batch.topic.clone();
    for slice in &batch.slices {
        token.push_str(&format!("/{}:{}-{}", slice.partition, slice.from.0, slice.to.0));
        for record in &slice.records {
            digest.update(&slice.partition.to_be_bytes());
            digest.update(&record.offset.0.to_be_bytes());
            digest.update(&(record.value.len() as u64).to_be_bytes());
            digest.update(&record.value);
        }
    }
    token.push('/');
    token.push_str(&digest.finalize().to_hex());
    token
}

/// A partition that nobody has held yet.
const fn fresh(partition: i32) -> Position {
    Position { partition, next_offset: NextOffset(0), epoch: Epoch(0), parked: BTreeMap::new() }
}

#[async_trait]
impl Store for ClickHouseStore {
    fn projection(&self) -> &str {
        match self.work {
            Work::Live => PROJECTION,
            Work::Standby | Work::Refill(_) => STANDBY_PROJECTION,
        }
    }

    async fn acquire(&mut self, topic: &str, partitions: &[i32]) -> Result<Vec<Position>, StoreError> {
        let label = self.label().await.map_err(StoreError::unavailable)?;
        let name = self.name_of(&label);
        let standings = self.standings(&label, topic).await?.positions;
        let mut positions: Vec<Position> = partitions
            .iter()
            .map(|partition| standings.get(partition).cloned().unwrap_or_else(|| fresh(*partition)))
            .map(ProgressTable::raised)
            .collect();
        self.progress(&name, topic).write(&positions).await.map_err(StoreError::unavailable)?;
        // After the epoch is raised: whoever held the partition parks nothing more.
        self.parked(&label).look_up(topic, &mut positions).await.map_err(StoreError::unavailable)?;
        let mut taken: BTreeSet<i32> = partitions.iter().copied().collect();
        if let Some(held) = self.held.take().filter(|held| held.label.generation == label.generation) {
            taken.extend(held.partitions);
        }
        self.held = Some(Held { label, partitions: taken });
        Ok(positions)
    }

    fn preparer(&self) -> Option<Preparer> {
        let codec = Arc::clone(&self.codec);
        // What cannot be read so is read, or blamed, with its batch.
        Some(Box::new(move |record| Some(Arc::new(codec.decode(&record.value).ok()?) as Prepared)))
    }

    async fn apply(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.apply_prepared(batch, Vec::new()).await
    }

    async fn apply_prepared(&mut self, batch: &Batch, prepared: Vec<Option<Prepared>>) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let Some(held) = &self.held else {
            return Err(StoreError::Fenced { partition: batch.slices.first().map_or(0, |slice| slice.partition) });
        };
        // All are decoded before anything is written: a poisonous fact leaves no trace of its batch.
        let mut facts = Vec::with_capacity(batch.slices.len());
        let mut ahead = prepared.into_iter();
        for slice in &batch.slices {
            facts.push((slice.partition, self.facts_of(slice, &mut ahead).await?));
        }
        fault::pass(Point::AfterDecode);
        self.check_held(held, batch).await?;
        insert(&self.database, self.work.table(), batch, &facts).await.map_err(of_insert)?;
        // Only where the rows went into the table of this generation may its progress say so.
        self.check_held(held, batch).await?;
        self.parked(&held.label).park(batch).await.map_err(StoreError::unavailable)?;
        fault::pass(Point::AfterWrite);
        let positions: Vec<Position> = batch
            .slices
            .iter()
            .map(|slice| Position { next_offset: slice.to, epoch: slice.epoch, ..fresh(slice.partition) })
            .collect();
        let name = self.name_of(&held.label);
        self.progress(&name, &batch.topic).write(&positions).await.map_err(StoreError::unavailable)?;
        fault::pass(Point::AfterCommit);
        Ok(())
    }

    async fn standing(&mut self, topic: &str, partitions: &[i32]) -> Result<Option<Standing>, StoreError> {
        let Some(held) = &self.held else { return Ok(None) };
        let mut now = self.standings(&held.label, topic).await?;
        let paused = is_paused(&self.database).await.map_err(StoreError::unavailable)?;
        let same = now.generation == held.label.generation;
        let position = |partition: &i32| match same && held.partitions.contains(partition) {
            true => now.positions.remove(partition),
            false => Some(Position { epoch: ELSEWHERE, ..fresh(*partition) }),
        };
        let positions = partitions.iter().filter_map(position).collect();
        Ok(Some(Standing { positions, paused }))
    }
}

#[cfg(test)]
mod tests {
    use helix_runtime::{Offset, Record};

    use super::*;

    fn batch(from: i64, records: &[(i64, &'static str)]) -> Batch {
        let record = |(offset, value): &(i64, &'static str)| Record {
            offset: Offset(*offset),
            key: "k".into(),
            value: (*value).into(),
        };
        let slice = Slice {
            partition: 3,
            epoch: Epoch(1),
            from: NextOffset(from),
            to: NextOffset(9),
            records: records.iter().map(record).collect(),
            parked: Vec::new(),
        };
        Batch { topic: "t".to_owned(), slices: vec![slice] }
    }

    #[test]
    fn a_token_names_the_cut_and_every_row_in_it() {
        let one = token(&batch(7, &[(7, "a"), (8, "bc")]));
        assert_eq!(one, token(&batch(7, &[(7, "a"), (8, "bc")])));
        assert!(one.starts_with("t/3:7-9/"), "{one}");
        for other in [
            batch(6, &[(7, "a"), (8, "bc")]),
            batch(7, &[(8, "bc")]),
            batch(7, &[(7, "ab"), (8, "c")]),
            batch(7, &[(7, "a"), (8, "bd")]),
        ] {
            assert_ne!(one, token(&other));
        }
    }
}
