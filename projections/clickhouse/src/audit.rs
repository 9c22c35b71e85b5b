//! What an audit reads: the stored facts as they lie, and what a fact of the log must look like there.
//!
//! The views are pure readings of `facts`, so that proving the projection is proving this one table. A row is compared
//! column by column as JSON: the log's side goes through the very type that the projector inserts.

use std::collections::{BTreeMap, BTreeSet};

use helix_schemas::fact::Fact;
use serde_json::{Map, Value};

use crate::{
    client::{ClickHouseError, Database, Options},
    progress::ProgressTable,
    row::{Coordinates, FactRow},
    store::PROJECTION,
};

const WHAT: &str = "the audit's reading of facts";

/// Instants as numbers and bytes as hex, like [`expected`] writes them.
const READ: &str = "
SELECT * REPLACE (
    toUnixTimestamp64Milli(occurred_at) AS occurred_at,
    toUnixTimestamp64Micro(received_at) AS received_at,
    toUnixTimestamp64Milli(started_at) AS started_at,
    toUnixTimestamp64Milli(answered_at) AS answered_at,
    toUnixTimestamp64Milli(ended_at) AS ended_at,
    toUnixTimestamp64Milli(effective_at) AS effective_at,
    lower(hex(raw)) AS raw
)
FROM {database}.facts
WHERE log_topic = ? AND log_partition = ? AND log_offset >= ? AND log_offset < ?
ORDER BY log_offset
SETTINGS output_format_json_quote_64bit_integers = 0";

/// A stored row: its columns, and the two that say where its fact lies.
#[derive(Debug, Clone)]
pub struct StoredFact {
    /// Offset in the partition that was asked for.
    pub offset: i64,
    /// Every column by its name.
    pub columns: Map<String, Value>,
}

/// Reads what is stored, for proof.
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

    /// The next offset of each of these partitions; one that was never held is missing.
    ///
    /// # Errors
    /// [`ClickHouseError`].
    pub async fn progress(&self, topic: &str, partitions: &[i32]) -> Result<BTreeMap<i32, i64>, ClickHouseError> {
        let table = ProgressTable { database: &self.database, projection: PROJECTION, topic };
        let held = table.read(partitions).await?;
        Ok(held.into_iter().map(|(partition, at)| (partition, at.next_offset.0)).collect())
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
        let query = self.database.query_of(READ).bind(topic).bind(partition).bind(from).bind(until);
        let text = self.database.fetch_json(WHAT, query).await?;
        let mut rows = Vec::new();
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let unreadable = || ClickHouseError::Unreadable { what: WHAT };
            let columns: Map<String, Value> = serde_json::from_slice(line).map_err(|_| unreadable())?;
            let offset = columns.get("log_offset").and_then(Value::as_i64).ok_or_else(unreadable)?;
            rows.push(StoredFact { offset, columns });
        }
        Ok(rows)
    }
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
