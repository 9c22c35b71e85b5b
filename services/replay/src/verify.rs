//! `helix audit verify`: the log folded afresh, compared with the rows that are stored.
//!
//! Rows, roots and progress are read in one snapshot of the database; the log is folded exactly up to that progress. Three
//! things must agree for every workspace: the fresh rows, the stored rows, and the stored root.

use std::collections::{BTreeMap, BTreeSet};

use helix_fold::{
    row::{Cell, Row},
    workspace::{Rows, WorkspaceFold},
};
use helix_postgres::{AllSettings, PROJECTION, StoredRoot, rows::read_workspace};
use helix_schemas::{names::WorkspaceId, topics};
use serde::Serialize;
use sqlx::{PgPool, Row as _};

use crate::{
    ReplayError,
    export::progress_bar,
    log::{Cut, FactLog, Stop},
};

/// What was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// `postgres`
    pub projection: &'static str,
    /// Facts folded.
    pub facts: u64,
    /// Each workspace that has facts or rows.
    pub workspaces: Vec<WorkspaceReport>,
}

/// What was found for one workspace.
#[derive(Debug, Serialize)]
pub struct WorkspaceReport {
    /// The slug.
    pub workspace: String,
    /// Rows stored.
    pub rows: usize,
    /// Start of the root of the fresh fold, hex.
    pub root: String,
    /// The first difference, if any.
    pub difference: Option<Difference>,
}

/// The first row that differs.
#[derive(Debug, Serialize)]
pub struct Difference {
    /// The table, or `projection_roots`.
    pub table: &'static str,
    /// The row's key.
    pub key: String,
    /// The column, where both rows exist.
    pub column: Option<&'static str>,
    /// As stored; null where the row is missing.
    pub stored: serde_json::Value,
    /// As the log says; null where no row should be.
    pub folded: serde_json::Value,
}

impl Report {
    /// Whether all roots meet.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.workspaces.iter().all(|workspace| workspace.difference.is_none())
    }
}

struct Stored {
    progress: BTreeMap<i32, i64>,
    roots: BTreeMap<String, StoredRoot>,
    rows: BTreeMap<WorkspaceId, Rows>,
}

/// Reads everything in one snapshot.
async fn snapshot(pool: &PgPool, only: Option<&WorkspaceId>) -> Result<Stored, ReplayError> {
    let fault = |error: sqlx::Error| ReplayError::unreachable("postgres", error);
    let mut tx = pool.begin().await.map_err(fault)?;
    sqlx::query("set transaction isolation level repeatable read, read only").execute(&mut *tx).await.map_err(fault)?;
    // Before the snapshot is taken: a rebuild's truncate would show in it, its other changes would not.
    sqlx::query("lock table read.agents, read.agent_intervals, read.calls, read.missed_calls in access share mode")
        .execute(&mut *tx)
        .await
        .map_err(fault)?;
    let progress = sqlx::query(
        "select partition, next_offset from helix.projection_progress where projection = $1 and topic = $2",
    )
    .bind(PROJECTION)
    .bind(topics::FACTS)
    .fetch_all(&mut *tx)
    .await
    .map_err(fault)?
    .iter()
    .map(|row| Ok((row.try_get("partition")?, row.try_get("next_offset")?)))
    .collect::<Result<_, sqlx::Error>>()
    .map_err(fault)?;
    let roots =
        helix_postgres::stored_roots(&mut tx).await.map_err(|error| ReplayError::unreachable("postgres", error))?;
    let names: Vec<String> = sqlx::query_scalar(
        "select workspace_id from read.agents union select workspace_id from read.agent_intervals
         union select workspace_id from read.calls union select workspace_id from read.missed_calls
         union select workspace_id from helix.projection_roots",
    )
    .fetch_all(&mut *tx)
    .await
    .map_err(fault)?;
    let mut rows = BTreeMap::new();
    for name in names {
        let Ok(workspace) = WorkspaceId::new(&name) else {
            continue;
        };
        if only.is_none_or(|only| *only == workspace) {
            let of_workspace = read_workspace(&mut tx, &workspace)
                .await
                .map_err(|error| ReplayError::unreachable("postgres", error))?;
            rows.insert(workspace, of_workspace);
        }
    }
    Ok(Stored { progress, roots, rows })
}

/// Folds the log up to the stored progress and compares.
///
/// # Errors
/// [`ReplayError`] where log or database cannot be read; a difference is no error but part of the report.
pub async fn verify(
    log: FactLog,
    pool: &PgPool,
    settings: &AllSettings,
    only: Option<WorkspaceId>,
    stop: Stop,
) -> Result<Report, ReplayError> {
    let stored = snapshot(pool, only.as_ref()).await?;
    let asked = only.clone();
    let progress = stored.progress.clone();
    let of_settings = settings.clone();
    let folding = tokio::task::spawn_blocking(move || fold(&log, &progress, &of_settings, only.as_ref(), &stop));
    let (folds, facts) = folding.await.map_err(|error| ReplayError::unreachable("the fold", error))??;
    let names: BTreeSet<WorkspaceId> = folds.keys().chain(stored.rows.keys()).cloned().collect();
    if let Some(asked) = asked.filter(|asked| !names.contains(asked)) {
        return Err(ReplayError::Usage(format!("workspace {asked} has neither facts nor rows")));
    }
    let empty = Rows::default();
    let workspaces = names
        .into_iter()
        .map(|workspace| {
            let folded = folds.get(&workspace).map(WorkspaceFold::rows).unwrap_or_default();
            let held = stored.rows.get(&workspace).unwrap_or(&empty);
            let root = stored.roots.get(workspace.as_str()).copied().unwrap_or_default();
            WorkspaceReport {
                rows: held.len(),
                root: folded.root().short(),
                difference: first_difference(held, &folded).or_else(|| root_difference(&root, &folded)),
                workspace: workspace.to_string(),
            }
        })
        .collect();
    Ok(Report { projection: PROJECTION, facts, workspaces })
}

fn fold(
    log: &FactLog,
    progress: &BTreeMap<i32, i64>,
    settings: &AllSettings,
    only: Option<&WorkspaceId>,
    stop: &Stop,
) -> Result<(BTreeMap<WorkspaceId, WorkspaceFold>, u64), ReplayError> {
    let mut cut: Cut = log.whole()?;
    for (partition, (low, high)) in &mut cut.0 {
        // A partition that the projection never held has no progress: nothing of it is in the rows.
        *high = progress.get(partition).copied().unwrap_or(*low).min(*high);
    }
    let bar = progress_bar(cut.span(), "folding the log");
    let mut folds: BTreeMap<WorkspaceId, WorkspaceFold> = BTreeMap::new();
    let mut facts = 0;
    log.read(&cut, stop, |place, fact| {
        bar.inc(1);
        facts += 1;
        if only.is_none_or(|only| *only == fact.workspace) {
            folds
                .entry(fact.workspace.clone())
                .or_insert_with(|| WorkspaceFold::new(fact.workspace.clone(), settings.of(&fact.workspace)))
                .apply(&fact, place.offset);
        }
        Ok(())
    })?;
    bar.finish_and_clear();
    Ok((folds, facts))
}

fn root_difference(stored: &StoredRoot, folded: &Rows) -> Option<Difference> {
    let rows = usize::try_from(stored.rows).ok();
    (stored.root != folded.root() || rows != Some(folded.len())).then(|| Difference {
        table: "projection_roots",
        key: "root".to_owned(),
        column: Some("root"),
        stored: stored.root.short().into(),
        folded: folded.root().short().into(),
    })
}

fn first_difference(stored: &Rows, folded: &Rows) -> Option<Difference> {
    compare(&stored.agents, &folded.agents)
        .or_else(|| compare(&stored.intervals, &folded.intervals))
        .or_else(|| compare(&stored.calls, &folded.calls))
        .or_else(|| compare(&stored.missed_calls, &folded.missed_calls))
}

/// Compares rows by key; both sides are keyed anew, so that no sort order matters.
fn compare<R: Row + PartialEq>(stored: &[R], folded: &[R]) -> Option<Difference> {
    let stored: BTreeMap<String, &R> = stored.iter().map(|row| (row.key(), row)).collect();
    let folded: BTreeMap<String, &R> = folded.iter().map(|row| (row.key(), row)).collect();
    let keys: BTreeSet<&String> = stored.keys().chain(folded.keys()).collect();
    keys.into_iter().find_map(|key| match (stored.get(key), folded.get(key)) {
        (Some(stored), Some(folded)) if stored == folded => None,
        (stored, folded) => Some(differing(R::TABLE, key, stored.copied(), folded.copied())),
    })
}

fn differing<R: Row>(table: &'static str, key: &str, stored: Option<&R>, folded: Option<&R>) -> Difference {
    if let (Some(stored), Some(folded)) = (stored, folded) {
        for ((column, stored), (_, folded)) in stored.columns().into_iter().zip(folded.columns()) {
            if stored != folded {
                let (stored, folded) = (stored.to_json(), folded.to_json());
                return Difference { table, key: key.to_owned(), column: Some(column), stored, folded };
            }
        }
    }
    let whole = |row: Option<&R>| {
        row.map_or(serde_json::Value::Null, |row| {
            let columns = row.columns().into_iter().map(|(name, cell): (&str, Cell)| (name.to_owned(), cell.to_json()));
            serde_json::Value::Object(columns.collect())
        })
    };
    Difference { table, key: key.to_owned(), column: None, stored: whole(stored), folded: whole(folded) }
}
