//! The Postgres projection: rows, roots and what the folds keep beside them, against a fresh fold.

use std::collections::{BTreeMap, BTreeSet};

use helix_fold::workspace::{Rows, WorkspaceFold};
use helix_postgres::{AllSettings, PROJECTION, Snapshot, StoredRoot};
use helix_schemas::{names::WorkspaceId, topics};
use sqlx::PgPool;

use crate::{
    ReplayError,
    export::progress_bar,
    log::{FactLog, Place, Stop},
    verify::{Aside, Difference, Report, WorkspaceReport, compare, up_to},
};

type Folds = BTreeMap<WorkspaceId, WorkspaceFold>;

/// Folds the log up to the stored progress and compares.
///
/// # Errors
/// [`ReplayError`] where log or database cannot be read; a difference is no error but part of the report.
pub async fn verify_postgres(
    log: FactLog,
    pool: &PgPool,
    settings: &AllSettings,
    only: Option<WorkspaceId>,
    stop: Stop,
) -> Result<Report, ReplayError> {
    let fault = |error| ReplayError::unreachable("postgres", error);
    let snapshot = Snapshot::take(pool, topics::FACTS, only.as_ref()).await.map_err(fault)?;
    let Snapshot { progress, roots, parked, rows: held } = snapshot;
    let aside: Aside =
        parked.iter().map(|(partition, offset)| Place { partition: *partition, offset: *offset }).collect();

    let (asked, of_settings) = (only.clone(), settings.clone());
    let folding =
        tokio::task::spawn_blocking(move || fold(&log, &progress, &aside, &of_settings, asked.as_ref(), &stop));
    let (folds, facts) = folding.await.map_err(|error| ReplayError::unreachable("the fold", error))??;
    let names: BTreeSet<WorkspaceId> = folds.keys().chain(held.keys()).cloned().collect();
    if let Some(asked) = only.filter(|asked| !names.contains(asked)) {
        return Err(ReplayError::Usage(format!("workspace {asked} has neither facts nor rows")));
    }
    let empty = Rows::default();
    let workspaces = names
        .into_iter()
        .map(|workspace| {
            let folded = folds.get(&workspace).map(WorkspaceFold::rows).unwrap_or_default();
            let stored = held.get(&workspace).unwrap_or(&empty);
            let root = roots.get(workspace.as_str()).copied().unwrap_or_default();
            WorkspaceReport {
                rows: stored.len(),
                root: folded.root().short(),
                difference: first_difference(stored, &folded).or_else(|| root_difference(&root, &folded)),
                workspace: workspace.to_string(),
            }
        })
        .collect();
    Ok(Report { projection: PROJECTION.to_owned(), facts, parked: parked.len(), workspaces })
}

fn fold(
    log: &FactLog,
    progress: &BTreeMap<i32, i64>,
    aside: &Aside,
    settings: &AllSettings,
    only: Option<&WorkspaceId>,
    stop: &Stop,
) -> Result<(Folds, u64), ReplayError> {
    let cut = up_to(progress, log.whole()?);
    let bar = progress_bar(cut.span(), "folding the log");
    let mut folds = Folds::new();
    let mut facts = 0;
    log.read_records(&cut, stop, |record| {
        bar.inc(1);
        if aside.contains(&record.place) {
            return Ok(());
        }
        let fact = log.decode(record.place, record.value)?;
        facts += 1;
        if only.is_none_or(|only| *only == fact.workspace) {
            folds
                .entry(fact.workspace.clone())
                .or_insert_with(|| WorkspaceFold::new(fact.workspace.clone(), settings.of(&fact.workspace)))
                .apply(&fact, record.place.offset);
        }
        Ok(())
    })?;
    bar.finish_and_clear();
    Ok((folds, facts))
}

fn root_difference(stored: &StoredRoot, folded: &Rows) -> Option<Difference> {
    let rows = usize::try_from(stored.rows).ok();
    (stored.root != folded.root() || rows != Some(folded.len())).then(|| Difference {
        table: "projection_roots".to_owned(),
        key: "root".to_owned(),
        column: Some("root".to_owned()),
        stored: stored.root.short().into(),
        folded: folded.root().short().into(),
    })
}

fn first_difference(stored: &Rows, folded: &Rows) -> Option<Difference> {
    compare(&stored.agents, &folded.agents)
        .or_else(|| compare(&stored.intervals, &folded.intervals))
        .or_else(|| compare(&stored.calls, &folded.calls))
        .or_else(|| compare(&stored.legs, &folded.legs))
        .or_else(|| compare(&stored.missed_calls, &folded.missed_calls))
        .or_else(|| compare(&stored.queue_days, &folded.queue_days))
}
