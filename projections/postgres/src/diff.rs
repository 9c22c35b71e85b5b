//! How the standby differs from the live generation, at one progress.

use std::collections::BTreeMap;

use helix_fold::{
    agent::{AgentRow, IntervalRow},
    books::QueueDayRow,
    call::{CallLegRow, CallRow},
};
use helix_schemas::scope::Scope;
use serde::Serialize;
use serde_json::Value;
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _};

use crate::{
    PostgresError, connect,
    generation::{Generation, GenerationError, Operator, READ_TABLES, Standby},
    generations::{Generations, LogSource, hold},
    progress::progress_of,
    roots::{StoredRoot, roots_of},
    rows::Stored as _,
};

/// What was found. Rows hold personal data: they are for whoever asked, never for a log.
#[derive(Debug, Clone, Serialize)]
pub struct Diff {
    /// The standby that was compared.
    pub standby: Standby,
    /// Where both stood, by partition.
    pub progress: BTreeMap<i32, i64>,
    /// Roots, of each workspace in scope.
    pub roots: Vec<RootDiff>,
    /// Rows of each table, over all workspaces in scope.
    pub tables: Vec<TableDiff>,
    /// The first rows that differ, table by table, by key.
    pub rows: Vec<RowDiff>,
}

/// The stored roots of one workspace.
#[derive(Debug, Clone, Serialize)]
pub struct RootDiff {
    /// The workspace.
    pub workspace: String,
    /// Start of the live root, hex.
    pub live: String,
    /// Start of the standby's.
    pub standby: String,
    /// Rows that the live root stands for.
    pub live_rows: i64,
    /// Rows that the standby's stands for.
    pub standby_rows: i64,
    /// Whether all of the two is the same.
    pub equal: bool,
}

/// One table in both generations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableDiff {
    /// The table, without its schema.
    pub table: &'static str,
    /// Live rows.
    pub live: i64,
    /// The standby's rows.
    pub standby: i64,
    /// Rows that are in one alone or differ.
    pub differing: i64,
}

/// A row that differs.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct RowDiff {
    /// The table, without its schema.
    pub table: &'static str,
    /// Its workspace.
    pub workspace: String,
    /// The columns of its key with their values.
    pub key: Value,
    /// The columns that differ; all of them where the row is in one generation alone.
    pub columns: Vec<String>,
    /// As it is live; null where it is not there.
    pub live: Option<Value>,
    /// As it is in the standby; null where it is not there.
    pub standby: Option<Value>,
}

impl std::fmt::Debug for RowDiff {
    /// Coordinates only.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowDiff").field("table", &self.table).field("columns", &self.columns).finish_non_exhaustive()
    }
}

impl Diff {
    /// Whether the two are the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
            && self.tables.iter().all(|table| table.differing == 0)
            && self.roots.iter().all(|root| root.equal)
    }
}

/// The key of a table, the workspace first.
fn key_of(table: &str) -> &'static [&'static str] {
    match table {
        "agents" => AgentRow::KEY,
        "agent_intervals" => IntervalRow::KEY,
        "call_legs" => CallLegRow::KEY,
        "queue_days" => QueueDayRow::KEY,
        // calls, missed_calls
        _ => CallRow::KEY,
    }
}

impl Generations {
    /// Brings the standby to exactly the live generation's progress and compares the two: roots, counts, and the first
    /// `limit` rows that differ. The projector is held for the last facts only; the comparison reads one snapshot.
    ///
    /// # Errors
    /// [`GenerationError`].
    pub async fn diff(&self, topic: &str, source: &mut dyn LogSource, limit: usize) -> Result<Diff, GenerationError> {
        let mut operator = Operator::take(self.live()).await?;
        let found = self.diff_as(&mut operator, topic, source, limit).await;
        operator.leave().await?;
        found
    }

    async fn diff_as(
        &self,
        operator: &mut Operator,
        topic: &str,
        source: &mut dyn LogSource,
        limit: usize,
    ) -> Result<Diff, GenerationError> {
        let standby = self.standby().await?.ok_or(GenerationError::NoStandby)?;
        let mut filler = self.come_close(topic, source).await?;
        let mut holding = operator.connection.begin().await?;
        holding.execute(connect::WHOLE_TABLES).await?;
        hold(&mut holding, Generation::Live, topic).await?;
        self.fill_the_rest(&mut filler, topic, source).await?;
        // The snapshot is taken while the live progress is held, and read when it no longer is.
        let mut tx = self.live().begin().await?;
        tx.execute("set transaction isolation level repeatable read, read only").await?;
        tx.execute(connect::WHOLE_TABLES).await?;
        let held = progress_of(&mut *tx, Generation::Live.projection(), topic).await?;
        holding.rollback().await?;
        let progress = held.iter().map(|at| (at.partition, at.next_offset)).collect();
        let (roots, tables, rows) = compare(&mut tx, &standby.scope, limit).await?;
        tx.rollback().await?;
        Ok(Diff { standby, progress, roots, tables, rows })
    }
}

type Compared = (Vec<RootDiff>, Vec<TableDiff>, Vec<RowDiff>);

async fn compare(tx: &mut PgConnection, scope: &Scope, limit: usize) -> Result<Compared, PostgresError> {
    let only = scope.only().map(ToString::to_string);
    let roots = compare_roots(tx, only.as_deref()).await?;
    let mut tables = Vec::new();
    let mut rows = Vec::new();
    for table in READ_TABLES {
        let counts = count(tx, table, only.as_deref()).await?;
        if counts.differing > 0 && rows.len() < limit {
            rows.extend(differing(tx, table, only.as_deref(), limit - rows.len()).await?);
        }
        tables.push(counts);
    }
    Ok((roots, tables, rows))
}

async fn compare_roots(tx: &mut PgConnection, only: Option<&str>) -> Result<Vec<RootDiff>, PostgresError> {
    let live = roots_of(tx, Generation::Live).await?;
    let standby = roots_of(tx, Generation::Standby).await?;
    let mut names: Vec<&String> = live.keys().chain(standby.keys()).collect();
    names.sort();
    names.dedup();
    let of_scope = names.into_iter().filter(|name| only.is_none_or(|only| only == name.as_str()));
    let none = StoredRoot::default();
    Ok(of_scope
        .map(|name| {
            let (live, standby) = (live.get(name).unwrap_or(&none), standby.get(name).unwrap_or(&none));
            RootDiff {
                workspace: name.clone(),
                live: live.root.short(),
                standby: standby.root.short(),
                live_rows: live.rows,
                standby_rows: standby.rows,
                equal: live == standby,
            }
        })
        .collect())
}

/// `from` of a comparison: both tables side by side, each cut to the scope first.
fn side_by_side(table: &str) -> String {
    let of = |generation: Generation| {
        let schema = generation.read_schema();
        format!("(select * from {schema}.{table} where $1::text is null or workspace_id = $1)")
    };
    format!(
        "{} as live full join {} as standby using ({})",
        of(Generation::Live),
        of(Generation::Standby),
        key_of(table).join(", ")
    )
}

/// Whether one side of the join is missing tells `workspace_id`, which is never null in a row.
const DIFFERS: &str = "live.* is distinct from standby.*";

async fn count(tx: &mut PgConnection, table: &'static str, only: Option<&str>) -> Result<TableDiff, PostgresError> {
    let statement = format!(
        "select count(live.workspace_id) as live, count(standby.workspace_id) as standby,
                count(*) filter (where {DIFFERS}) as differing
         from {}",
        side_by_side(table)
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(statement)).bind(only).fetch_one(tx).await?;
    Ok(TableDiff {
        table,
        live: row.try_get("live")?,
        standby: row.try_get("standby")?,
        differing: row.try_get("differing")?,
    })
}

async fn differing(
    tx: &mut PgConnection,
    table: &'static str,
    only: Option<&str>,
    limit: usize,
) -> Result<Vec<RowDiff>, PostgresError> {
    let key = key_of(table).join(", ");
    let statement = format!(
        "select case when live.workspace_id is not null then to_jsonb(live.*) end as live,
                case when standby.workspace_id is not null then to_jsonb(standby.*) end as standby
         from {} where {DIFFERS} order by {key} limit $2",
        side_by_side(table)
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(statement))
        .bind(only)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(tx)
        .await?;
    rows.iter().map(|row| Ok(row_diff(table, row.try_get("live")?, row.try_get("standby")?))).collect()
}

fn row_diff(table: &'static str, live: Option<Value>, standby: Option<Value>) -> RowDiff {
    let some = live.as_ref().or(standby.as_ref()).and_then(Value::as_object).cloned().unwrap_or_default();
    let key = key_of(table).iter().filter_map(|name| Some(((*name).to_owned(), some.get(*name)?.clone())));
    let of = |side: &Option<Value>, name: &str| side.as_ref().and_then(|row| row.get(name).cloned());
    let columns = some.keys().filter(|name| of(&live, name) != of(&standby, name)).cloned().collect();
    let workspace = some.get("workspace_id").and_then(Value::as_str).unwrap_or_default().to_owned();
    RowDiff { table, workspace, key: key.collect(), columns, live, standby }
}
