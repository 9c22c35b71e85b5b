//! The store behind `helix project clickhouse`.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use clickhouse::Row;
use helix_fold::settings::Settings;
use helix_runtime::{
    Batch, Epoch, NextOffset, Position, Slice, Standing, Store, StoreError,
    fault::{self, Point},
};
use helix_schemas::{codec::Codec, fact::Fact, names::WorkspaceId, registry::Registry};
use serde::{Deserialize, Serialize};

use crate::{
    client::{ClickHouseError, Database, Options},
    migrate::migrate,
    parked::ParkedTable,
    progress::{ProgressTable, holds},
    row::{Coordinates, FactRow},
};

/// The name of this projection in progress, metrics and `helix projection list`.
pub const PROJECTION: &str = "clickhouse";

const FACTS: &str = "facts";

/// Writes facts and progress to ClickHouse. What is kept true is written in the crate's documentation.
pub struct ClickHouseStore {
    database: Database,
    registry: Registry,
    codec: Arc<Codec<Fact>>,
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
        Ok(Self { database, registry, codec })
    }

    fn progress<'a>(&'a self, topic: &'a str) -> ProgressTable<'a> {
        ProgressTable { database: &self.database, projection: PROJECTION, topic }
    }

    /// Refuses a batch of which another instance holds a partition now.
    async fn check_held(&self, batch: &Batch) -> Result<(), StoreError> {
        let partitions: Vec<i32> = batch.slices.iter().map(|slice| slice.partition).collect();
        let standings = self.progress(&batch.topic).read(&partitions).await.map_err(StoreError::unavailable)?;
        match batch.slices.iter().find(|slice| !holds(slice, standings.get(&slice.partition))) {
            Some(slice) => Err(StoreError::Fenced { partition: slice.partition }),
            None => Ok(()),
        }
    }
}

/// Every fact of a slice, decoded.
pub(crate) async fn decode(
    registry: &Registry,
    codec: &Codec<Fact>,
    slice: &Slice,
) -> Result<Vec<(i64, Fact)>, StoreError> {
    let mut facts = Vec::with_capacity(slice.records.len());
    for record in &slice.records {
        let fact = match registry.decode(codec, &record.value).await {
            Ok(fact) => fact,
            Err(error) if error.blames_the_record() => {
                let reason = error.to_string();
                return Err(StoreError::Poison { partition: slice.partition, offset: record.offset, reason });
            }
            Err(error) => return Err(StoreError::unavailable(error)),
        };
        facts.push((record.offset.0, fact));
    }
    Ok(facts)
}

/// Writes the rows of a batch's facts as one block.
pub(crate) async fn insert(
    database: &Database,
    batch: &Batch,
    facts: &[(i32, Vec<(i64, Fact)>)],
) -> Result<(), ClickHouseError> {
    if batch.slices.iter().all(|slice| slice.records.is_empty()) {
        return Ok(());
    }
    let insert = database.insert::<FactRow<'_>>("facts", FACTS).await?;
    let mut insert = insert.once(&token(batch));
    let mut left = batch.len();
    for (partition, facts) in facts {
        for (offset, fact) in facts {
            let at = Coordinates { topic: &batch.topic, partition: *partition, offset: *offset };
            insert.write(&FactRow::of(fact, at)).await?;
            left -= 1;
            if left == batch.len() / 2 {
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

#[async_trait]
impl Store for ClickHouseStore {
    fn projection(&self) -> &str {
        PROJECTION
    }

    async fn acquire(&mut self, topic: &str, partitions: &[i32]) -> Result<Vec<Position>, StoreError> {
        let progress = self.progress(topic);
        let standings = progress.read(partitions).await.map_err(StoreError::unavailable)?;
        let fresh = |partition: i32| Position {
            partition,
            next_offset: NextOffset(0),
            epoch: Epoch(0),
            parked: BTreeMap::new(),
        };
        let mut positions: Vec<Position> = partitions
            .iter()
            .map(|partition| standings.get(partition).cloned().unwrap_or_else(|| fresh(*partition)))
            .map(ProgressTable::raised)
            .collect();
        progress.write(&positions).await.map_err(StoreError::unavailable)?;
        // After the epoch is raised: whoever held the partition parks nothing more.
        ParkedTable(&self.database).look_up(topic, &mut positions).await.map_err(StoreError::unavailable)?;
        Ok(positions)
    }

    async fn apply(&mut self, batch: &Batch) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        // All are decoded before anything is written: a poisonous fact leaves no trace of its batch.
        let mut facts = Vec::with_capacity(batch.slices.len());
        for slice in &batch.slices {
            facts.push((slice.partition, decode(&self.registry, &self.codec, slice).await?));
        }
        fault::pass(Point::AfterDecode);
        self.check_held(batch).await?;
        insert(&self.database, batch, &facts).await.map_err(of_insert)?;
        ParkedTable(&self.database).park(batch).await.map_err(StoreError::unavailable)?;
        fault::pass(Point::AfterWrite);
        let positions: Vec<Position> = batch
            .slices
            .iter()
            .map(|slice| Position {
                partition: slice.partition,
                next_offset: slice.to,
                epoch: slice.epoch,
                parked: BTreeMap::new(),
            })
            .collect();
        self.progress(&batch.topic).write(&positions).await.map_err(StoreError::unavailable)?;
        fault::pass(Point::AfterCommit);
        Ok(())
    }

    async fn standing(&mut self, topic: &str, partitions: &[i32]) -> Result<Option<Standing>, StoreError> {
        let standings = self.progress(topic).read(partitions).await.map_err(StoreError::unavailable)?;
        Ok(Some(Standing { positions: standings.into_values().collect(), paused: false }))
    }
}

#[derive(Row, Serialize, Deserialize, PartialEq, Eq)]
struct SettingsRow {
    workspace_id: String,
    short_abandon_seconds: i64,
    service_level_seconds: i64,
    zone: String,
    country_code: String,
    due_after_seconds: i64,
    attempts: i64,
    priority_missed: i64,
    priority_short_abandon: i64,
    priority_repeat: i64,
    priority_repeat_most: i64,
    priority_repeat_window_seconds: i64,
    priority_per_attempt: i64,
    priority_spam: i64,
    spam_dispositions: Vec<String>,
}

impl SettingsRow {
    fn of(workspace: &WorkspaceId, settings: &Settings) -> Self {
        let Settings { short_abandon_seconds, service_level_seconds, zone, country_code, rules } = settings;
        Self {
            workspace_id: workspace.to_string(),
            short_abandon_seconds: *short_abandon_seconds,
            service_level_seconds: *service_level_seconds,
            zone: zone.name().to_owned(),
            country_code: country_code.clone(),
            due_after_seconds: rules.due_after_seconds,
            attempts: rules.attempts,
            priority_missed: rules.priority.missed,
            priority_short_abandon: rules.priority.short_abandon,
            priority_repeat: rules.priority.repeat,
            priority_repeat_most: rules.priority.repeat_most,
            priority_repeat_window_seconds: rules.priority.repeat_window_seconds,
            priority_per_attempt: rules.priority.per_attempt,
            priority_spam: rules.priority.spam,
            spam_dispositions: rules.spam_dispositions.iter().cloned().collect(),
        }
    }
}

/// Writes the settings that differ from what is stored. Workspaces that are not configured keep what they have.
async fn write_settings(
    database: &Database,
    workspaces: &BTreeMap<WorkspaceId, Settings>,
) -> Result<(), ClickHouseError> {
    const WHAT: &str = "workspace settings";
    let query = database.query(
        "SELECT toString(workspace_id) AS workspace_id, short_abandon_seconds, service_level_seconds, toString(zone) AS zone,
             toString(country_code) AS country_code, due_after_seconds, attempts, priority_missed, priority_short_abandon, priority_repeat, priority_repeat_most,
             priority_repeat_window_seconds, priority_per_attempt, priority_spam, spam_dispositions
         FROM {database}.workspace_settings FINAL",
    );
    let stored: Vec<SettingsRow> = database.fetch(WHAT, query).await?;
    let changed: Vec<SettingsRow> = workspaces
        .iter()
        .map(|(workspace, settings)| SettingsRow::of(workspace, settings))
        .filter(|row| !stored.contains(row))
        .collect();
    if changed.is_empty() {
        return Ok(());
    }
    let mut insert = database.insert::<SettingsRow>(WHAT, "workspace_settings").await?;
    for row in &changed {
        insert.write(row).await?;
    }
    insert.end().await
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
