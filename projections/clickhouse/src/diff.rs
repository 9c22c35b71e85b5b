//! How the standby differs from the live generation, up to one progress.
//!
//! Both tables are read as merges would leave them, a fact once at its first arrival, and only below the lower progress of the two:
//! there both hold every fact. Each is summed up in buckets of offsets; only buckets whose sums differ are read row by row,
//! few at a time, so that memory does not grow with the tables.

use std::collections::BTreeMap;

use clickhouse::Row;
use helix_runtime::fill::LogSource;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    audit::read_at,
    client::ClickHouseError,
    generation::{FACTS, FACTS_STANDBY, GenerationError, Standby},
    generations::{Generations, offsets},
};

const WHAT: &str = "the comparison of generations";
/// Offsets of one partition that are summed up together.
const BUCKET: i64 = 20_000;
/// Buckets that are read row by row at once.
const AT_ONCE: usize = 16;

/// What was found. Rows hold personal data: they are for whoever asked, never for a log.
#[derive(Debug, Clone, Serialize)]
pub struct Diff {
    /// The standby that was compared.
    pub standby: Standby,
    /// Up to where, by partition.
    pub progress: BTreeMap<i32, i64>,
    /// Facts and roots, of each workspace: of all, for the whole tables would be exchanged.
    pub roots: Vec<RootDiff>,
    /// How many facts are in one alone or differ.
    pub differing: u64,
    /// The first of them, in the order of the log.
    pub rows: Vec<RowDiff>,
}

/// The facts of one workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RootDiff {
    /// The workspace.
    pub workspace: String,
    /// The live root, hex: a sum over all columns of all rows, in any order.
    pub live: String,
    /// The standby's.
    pub standby: String,
    /// Live rows.
    pub live_rows: u64,
    /// The standby's.
    pub standby_rows: u64,
    /// Whether all of the two is the same.
    pub equal: bool,
}

/// A fact whose rows differ.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct RowDiff {
    /// Its workspace.
    pub workspace: String,
    /// The partition in which it lies.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// The columns that differ; all of them where the row is in one generation alone.
    pub columns: Vec<String>,
    /// As it is live; null where it is not there.
    pub live: Option<Map<String, Value>>,
    /// As it is in the standby; null where it is not there.
    pub standby: Option<Map<String, Value>>,
}

impl std::fmt::Debug for RowDiff {
    /// Coordinates only.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (partition, offset, columns) = (self.partition, self.offset, &self.columns);
        f.debug_struct("RowDiff")
            .field("partition", &partition)
            .field("offset", &offset)
            .field("columns", columns)
            .finish_non_exhaustive()
    }
}

impl Diff {
    /// Whether the two are the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.differing == 0 && self.roots.iter().all(|root| root.equal)
    }
}

/// A part of a workspace's facts: all of one bucket, of one table.
#[derive(Row, Deserialize)]
struct Summed {
    workspace: String,
    partition: i32,
    bucket: i64,
    rows: u64,
    root: u128,
}

#[derive(Row, Deserialize)]
struct Hashed {
    partition: i32,
    offset: i64,
    hash: u128,
}

/// Facts of a table as merges would leave them, each with a hash of all its columns.
fn facts_of(table: &str) -> String {
    format!(
        "(SELECT toString(workspace_id) AS workspace, log_partition AS partition, log_offset AS `offset`,
                 intDiv(log_offset, {BUCKET}) AS bucket,
                 reinterpretAsUInt128(sipHash128(formatRow('RowBinary', *))) AS hash
          FROM {{database}}.{table} FINAL
          WHERE log_topic = ? AND log_offset < transform(log_partition, ?, ?, toInt64(0)))"
    )
}

/// Where rows lie: in the order of the log.
type At = (i32, i64);

struct Comparison<'a> {
    generations: &'a Generations,
    topic: &'a str,
    /// By partition, below which all is compared.
    partitions: Vec<i32>,
    below: Vec<i64>,
}

#[derive(Default)]
struct Sum {
    rows: u64,
    root: u128,
}

impl Sum {
    fn add(&mut self, rows: u64, root: u128) {
        self.rows += rows;
        self.root = self.root.wrapping_add(root);
    }
}

impl Comparison<'_> {
    async fn summed(&self, table: &str) -> Result<Vec<Summed>, ClickHouseError> {
        let statement = format!(
            "SELECT workspace, partition, bucket, count() AS rows, sumWithOverflow(hash) AS root FROM {}
             GROUP BY workspace, partition, bucket",
            facts_of(table)
        );
        let database = &self.generations.database;
        let query = database.query_of(&statement).bind(self.topic).bind(&self.partitions).bind(&self.below);
        database.fetch_unhurried(WHAT, query).await
    }

    async fn hashed(&self, table: &str, buckets: &[(i32, i64)]) -> Result<Vec<Hashed>, ClickHouseError> {
        let statement = format!(
            "SELECT partition, `offset`, hash FROM {} WHERE (partition, bucket) IN ({})",
            facts_of(table),
            tuples(buckets)
        );
        let database = &self.generations.database;
        let query = database.query_of(&statement).bind(self.topic).bind(&self.partitions).bind(&self.below);
        database.fetch_unhurried(WHAT, query).await
    }

    /// Where the two differ, in these buckets.
    async fn differing(&self, buckets: &[(i32, i64)]) -> Result<Vec<At>, ClickHouseError> {
        let mut at: BTreeMap<At, [Sum; 2]> = BTreeMap::new();
        for (side, table) in [FACTS, FACTS_STANDBY].into_iter().enumerate() {
            for row in self.hashed(table, buckets).await? {
                if let Some(sum) = at.entry((row.partition, row.offset)).or_default().get_mut(side) {
                    sum.add(1, row.hash);
                }
            }
        }
        let differ = |sums: &[Sum; 2]| sums[0].rows != sums[1].rows || sums[0].root != sums[1].root;
        Ok(at.into_iter().filter(|(_, sums)| differ(sums)).map(|(at, _)| at).collect())
    }

    async fn rows(&self, at: &[At]) -> Result<Vec<RowDiff>, ClickHouseError> {
        if at.is_empty() {
            return Ok(Vec::new());
        }
        let database = &self.generations.database;
        let mut live = read_at(database, FACTS, self.topic, &tuples(at)).await?;
        let mut standby = read_at(database, FACTS_STANDBY, self.topic, &tuples(at)).await?;
        Ok(at.iter().map(|at| row_diff(*at, live.remove(at), standby.remove(at))).collect())
    }
}

/// Of numbers alone, so that they can stand in a statement as they are.
fn tuples(pairs: &[(i32, i64)]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(one, other)| format!("({one}, {other})")).collect();
    pairs.join(", ")
}

fn row_diff((partition, offset): At, live: Option<Map<String, Value>>, standby: Option<Map<String, Value>>) -> RowDiff {
    let some = live.as_ref().or(standby.as_ref()).cloned().unwrap_or_default();
    let of = |side: &Option<Map<String, Value>>, name: &str| side.as_ref().and_then(|row| row.get(name).cloned());
    let columns = some.keys().filter(|name| of(&live, name) != of(&standby, name)).cloned().collect();
    let workspace = some.get("workspace_id").and_then(Value::as_str).unwrap_or_default().to_owned();
    RowDiff { workspace, partition, offset, columns, live, standby }
}

impl Generations {
    /// Brings the standby up to the live generation's progress, or close to it, and compares the two up to where both stand: facts
    /// and roots of each workspace, and the first `limit` rows that differ. The projector runs on meanwhile.
    ///
    /// # Errors
    /// [`GenerationError`].
    pub async fn diff(&self, topic: &str, source: &mut dyn LogSource, limit: usize) -> Result<Diff, GenerationError> {
        let mut filler = self.come_close(topic, source).await?;
        self.fill_the_rest(&mut filler, topic, source).await?;
        let (live, label) = self.both().await?;
        let reached = offsets(&self.positions(FACTS, &live.generation, topic).await?);
        let mut progress = offsets(&self.positions(FACTS_STANDBY, &label.generation, topic).await?);
        // A generation that was live a moment ago may be ahead of the one that is.
        for (partition, next) in &mut progress {
            *next = (*next).min(reached.get(partition).copied().unwrap_or_default());
        }
        let (partitions, below) = progress.iter().unzip();
        let comparison = Comparison { generations: self, topic, partitions, below };
        let sides = [comparison.summed(FACTS).await?, comparison.summed(FACTS_STANDBY).await?];
        let (roots, buckets) = weigh(sides);
        let mut differing = 0;
        let mut first = Vec::new();
        for some in buckets.chunks(AT_ONCE) {
            let found = comparison.differing(some).await?;
            differing += found.len() as u64;
            first.extend(found.into_iter().take(limit.saturating_sub(first.len())));
        }
        let rows = comparison.rows(&first).await?;
        // Else one table may have been compared with itself.
        self.still(&live.generation).await?;
        Ok(Diff { standby: label.standby(), progress, roots, differing, rows })
    }
}

/// The roots of each workspace, and the buckets in which the two sides differ.
fn weigh(sides: [Vec<Summed>; 2]) -> (Vec<RootDiff>, Vec<(i32, i64)>) {
    let mut workspaces: BTreeMap<String, [Sum; 2]> = BTreeMap::new();
    let mut buckets: BTreeMap<(i32, i64, String), [Sum; 2]> = BTreeMap::new();
    for (side, parts) in sides.into_iter().enumerate() {
        for Summed { workspace, partition, bucket, rows, root } in parts {
            if let Some(sum) = workspaces.entry(workspace.clone()).or_default().get_mut(side) {
                sum.add(rows, root);
            }
            if let Some(sum) = buckets.entry((partition, bucket, workspace)).or_default().get_mut(side) {
                sum.add(rows, root);
            }
        }
    }
    let differ = |[live, standby]: &[Sum; 2]| live.rows != standby.rows || live.root != standby.root;
    let roots = workspaces
        .into_iter()
        .map(|(workspace, sums)| {
            let equal = !differ(&sums);
            let [live, standby] = sums;
            let [live_root, standby_root] = [&live, &standby].map(|sum| format!("{:016x}", sum.root >> 64));
            let (live_rows, standby_rows) = (live.rows, standby.rows);
            RootDiff { workspace, live: live_root, standby: standby_root, live_rows, standby_rows, equal }
        })
        .collect();
    let mut unequal: Vec<(i32, i64)> =
        buckets.into_iter().filter(|(_, sums)| differ(sums)).map(|((at, bucket, _), _)| (at, bucket)).collect();
    unequal.dedup();
    (roots, unequal)
}
