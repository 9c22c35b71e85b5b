//! The Postgres projection: every column of its rows and of what the folds keep beside them, and the roots, against a fresh
//! fold.

use std::collections::{BTreeMap, BTreeSet};

use helix_fold::workspace::{Rows, WorkspaceFold};
use helix_postgres::{AllSettings, Audit, OtherSetting, PROJECTION, RowDifference, StoredRoot};
use helix_schemas::{names::WorkspaceId, topics};
use serde_json::{Map, Value};
use sqlx::PgPool;

use crate::{
    ReplayError,
    export::progress_bar,
    log::{FactLog, Place, Stop},
    verify::{Aside, Difference, OTHER_SETTINGS, Report, WorkspaceReport, up_to},
};

type Folds = BTreeMap<WorkspaceId, WorkspaceFold>;

/// Folds the log up to the stored progress and compares, under the settings that the rows were made with. Where others are
/// configured, that is the difference, if there is no other.
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
    let audit = Audit::take(pool, topics::FACTS, only.as_ref()).await.map_err(fault)?;
    let aside: Aside =
        audit.parked.iter().map(|(partition, offset)| Place { partition: *partition, offset: *offset }).collect();
    let (parked, progress) = (aside.len(), audit.progress.clone());

    let made_with = audit.settings(settings);
    let (asked, of_settings) = (only.clone(), made_with.clone());
    let folding =
        tokio::task::spawn_blocking(move || fold(&log, &progress, &aside, &of_settings, asked.as_ref(), &stop));
    let (folds, facts) = folding.await.map_err(|error| ReplayError::unreachable("the fold", error))??;
    let names: BTreeSet<WorkspaceId> = folds.keys().chain(audit.workspaces()).cloned().collect();
    if let Some(asked) = only.filter(|asked| !names.contains(asked)) {
        return Err(ReplayError::Usage(format!("workspace {asked} has neither facts nor rows")));
    }
    let report = |workspace: WorkspaceId| {
        let nothing = WorkspaceFold::new(workspace.clone(), made_with.of(&workspace));
        let fold = folds.get(&workspace).unwrap_or(&nothing);
        let folded = fold.rows();
        let root = audit.roots.get(workspace.as_str()).copied().unwrap_or_default();
        let difference = audit.first_difference(fold, &folded, &made_with).map(Difference::from);
        let difference = difference.or_else(|| root_difference(&root, &folded));
        let others = audit.other_settings(&workspace, settings).map_err(fault)?;
        Ok(WorkspaceReport {
            rows: audit.rows(&workspace),
            root: folded.root().short(),
            difference: difference.or_else(|| settings_difference(others)),
            workspace: workspace.to_string(),
        })
    };
    let workspaces = names.into_iter().map(report).collect::<Result<_, ReplayError>>()?;
    Ok(Report { projection: PROJECTION.to_owned(), facts, parked, workspaces })
}

impl From<RowDifference> for Difference {
    fn from(RowDifference { table, key, column, stored, folded }: RowDifference) -> Self {
        Self { table: table.to_owned(), key, column, stored, folded }
    }
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

fn settings_difference(others: Vec<OtherSetting>) -> Option<Difference> {
    if others.is_empty() {
        return None;
    }
    let names: Vec<&str> = others.iter().map(|other| other.name.as_str()).collect();
    let key = names.join(", ");
    let (mut stored, mut folded) = (Map::new(), Map::new());
    for OtherSetting { name, made_with, configured } in others {
        stored.insert(name.clone(), made_with);
        folded.insert(name, configured);
    }
    Some(Difference {
        table: OTHER_SETTINGS.to_owned(),
        key,
        column: None,
        stored: Value::Object(stored),
        folded: Value::Object(folded),
    })
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
