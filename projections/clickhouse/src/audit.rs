//! What an audit reads: the stored facts as they lie, and what a fact of the log must look like there.
//!
//! The views are pure readings of `facts`, so that proving the projection is proving this one table. A row is compared
//! column by column as JSON: the log's side goes through the very type that the projector inserts.

use std::collections::{BTreeMap, BTreeSet};

use helix_runtime::Position;
use helix_schemas::fact::Fact;
use serde_json::{Map, Value};

use crate::{
    client::{ClickHouseError, Database, Options},
    generation::{FACTS, FACTS_STANDBY, Label, Labels},
    progress::ProgressTable,
    row::{Coordinates, FactRow},
};

const WHAT: &str = "the audit's reading of facts";

/// Instants as numbers and bytes as hex, like [`expected`] writes them.
const COLUMNS: &str = "
SELECT * REPLACE (
    toUnixTimestamp64Milli(occurred_at) AS occurred_at,
    toUnixTimestamp64Micro(received_at) AS received_at,
    toUnixTimestamp64Milli(started_at) AS started_at,
    toUnixTimestamp64Milli(answered_at) AS answered_at,
    toUnixTimestamp64Milli(ended_at) AS ended_at,
    toUnixTimestamp64Milli(effective_at) AS effective_at,
    lower(hex(raw)) AS raw
)";

const NUMBERS: &str = "SETTINGS output_format_json_quote_64bit_integers = 0";

/// A stored row: its columns, and the two that say where its fact lies.
#[derive(Debug, Clone)]
pub struct StoredFact {
    /// Offset in the partition that was asked for.
    pub offset: i64,
    /// Every column by its name.
    pub columns: Map<String, Value>,
}

/// Where a generation stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standings {
    /// The name under which it keeps its progress: another one after an exchange.
    pub generation: String,
    /// Where each partition stands that was ever held; without what is parked.
    pub positions: BTreeMap<i32, Position>,
}

/// Reads what is stored, for proof.
#[derive(Clone)]
pub struct Audit {
    database: Database,
}

impl std::fmt::Debug for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Audit").finish_non_exhaustive()
    }
}

impl Audit {
    /// On a database at head.
    ///
    /// # Errors
    /// [`ClickHouseError::DatabaseName`].
    pub fn new(options: &Options) -> Result<Self, ClickHouseError> {
        Ok(Self { database: Database::new(options)? })
    }

    /// Where the live generation stands.
    ///
    /// # Errors
    /// [`ClickHouseError`].
    pub async fn standings(&self, topic: &str) -> Result<Standings, ClickHouseError> {
        self.standings_of(&Labels::read(&self.database).await?.live, FACTS, topic).await
    }

    /// Where the standby stands, if there is one.
    ///
    /// # Errors
    /// [`ClickHouseError`].
    pub async fn standby_standings(&self, topic: &str) -> Result<Option<Standings>, ClickHouseError> {
        match Labels::read(&self.database).await?.standby {
            Some(label) => Ok(Some(self.standings_of(&label, FACTS_STANDBY, topic).await?)),
            None => Ok(None),
        }
    }

    async fn standings_of(&self, label: &Label, table: &str, topic: &str) -> Result<Standings, ClickHouseError> {
        let progress = ProgressTable { database: &self.database, table, projection: &label.generation, topic };
        let positions = progress.read().await?.positions;
        Ok(Standings { generation: label.generation.clone(), positions })
    }

    /// How many facts of a topic whoever counts them counts.
    ///
    /// # Errors
    /// [`ClickHouseError`].
    pub async fn counted(&self, topic: &str) -> Result<u64, ClickHouseError> {
        const COUNT: &str = "SELECT count() FROM {database}.facts_once WHERE log_topic = ?";
        let counts: Vec<u64> = self.database.fetch(WHAT, self.database.query_of(COUNT).bind(topic)).await?;
        Ok(counts.first().copied().unwrap_or_default())
    }

    /// The stored rows of a range of offsets, in order. A fact that was delivered again may be stored once only; a block
    /// that was written again by another instance may be there twice until a merge. Views count each fact once.
    ///
    /// # Errors
    /// [`ClickHouseError`].
    pub async fn rows(
        &self,
        topic: &str,
        partition: i32,
        (from, until): (i64, i64),
    ) -> Result<Vec<StoredFact>, ClickHouseError> {
        let read = format!(
            "{COLUMNS} FROM {{database}}.facts
             WHERE log_topic = ? AND log_partition = ? AND log_offset >= ? AND log_offset < ?
             ORDER BY log_offset {NUMBERS}"
        );
        let query = self.database.query_of(&read).bind(topic).bind(partition).bind(from).bind(until);
        let rows = fetch(&self.database, query).await?;
        Ok(rows.into_iter().map(|((_, offset), columns)| StoredFact { offset, columns }).collect())
    }
}

/// Rows with where they lie: partition and offset.
async fn fetch(
    database: &Database,
    query: clickhouse::query::Query,
) -> Result<Vec<((i32, i64), Map<String, Value>)>, ClickHouseError> {
    let text = database.fetch_json(WHAT, query).await?;
    let unreadable = || ClickHouseError::Unreadable { what: WHAT };
    let mut rows = Vec::new();
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let columns: Map<String, Value> = serde_json::from_slice(line).map_err(|_| unreadable())?;
        let number = |name| columns.get(name).and_then(Value::as_i64).ok_or_else(unreadable);
        let partition = i32::try_from(number("log_partition")?).map_err(|_| unreadable())?;
        rows.push(((partition, number("log_offset")?), columns));
    }
    Ok(rows)
}

/// The rows of a table at these places, given as tuples of partition and offset; each fact as a merge would leave it.
pub(crate) async fn read_at(
    database: &Database,
    table: &str,
    topic: &str,
    places: &str,
) -> Result<BTreeMap<(i32, i64), Map<String, Value>>, ClickHouseError> {
    let read = format!(
        "{COLUMNS} FROM {{database}}.{table} FINAL
         WHERE log_topic = ? AND (log_partition, log_offset) IN ({places}) {NUMBERS}"
    );
    let rows = fetch(database, database.query_of(&read).bind(topic)).await?;
    Ok(rows.into_iter().collect())
}

/// The columns that a fact at these coordinates must have.
#[must_use]
pub fn expected(fact: &Fact, topic: &str, partition: i32, offset: i64) -> Map<String, Value> {
    let row = FactRow::of(fact, Coordinates { topic, partition, offset });
    // The row is made of texts, numbers, lists and one map of texts: all of them are JSON.
    let Ok(Value::Object(mut columns)) = serde_json::to_value(&row) else { return Map::new() };
    columns.insert("fact_id".to_owned(), Value::String(fact.id.to_string()));
    columns.insert("raw".to_owned(), Value::String(hex(&fact.raw)));
    columns
}

/// The first column, by name, in which two rows differ: its name, as stored, as expected.
#[must_use]
pub fn first_difference(stored: &Map<String, Value>, expected: &Map<String, Value>) -> Option<(String, Value, Value)> {
    let names: BTreeSet<&String> = expected.keys().chain(stored.keys()).collect();
    names.into_iter().find_map(|name| {
        let [held, meant] = [stored, expected].map(|row| row.get(name).cloned().unwrap_or(Value::Null));
        (held != meant).then(|| (name.clone(), held, meant))
    })
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}
