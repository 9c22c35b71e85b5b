//! How the standby differs from the live board, value by value, at one progress.

use std::collections::{BTreeMap, BTreeSet};

use helix_fold::board::visible::{Change, Visible};
use helix_schemas::names::WorkspaceId;
use serde::Serialize;
use serde_json::Value;

use crate::{audit::StoredBoard, generations::Standby};

/// What was found. Values hold personal data: they are for whoever asked, never for a log.
#[derive(Debug, Clone, Serialize)]
pub struct Diff {
    /// The standby that was compared.
    pub standby: Standby,
    /// Where both stood, by partition.
    pub progress: BTreeMap<i32, i64>,
    /// The two roots.
    pub root: RootDiff,
    /// Values of each collection of the board: `agents`, `calls`, `waiting`, `today` and so on.
    pub tables: Vec<TableDiff>,
    /// The first values that differ, by path.
    pub rows: Vec<RowDiff>,
}

/// The roots of one workspace's boards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RootDiff {
    /// The workspace.
    pub workspace: String,
    /// The live root, hex, as it is stored.
    pub live: String,
    /// The standby's.
    pub standby: String,
    /// Live values.
    pub live_rows: usize,
    /// The standby's.
    pub standby_rows: usize,
    /// Whether all of the two is the same.
    pub equal: bool,
}

/// One collection in both boards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableDiff {
    /// Its name: a path up to its first slash.
    pub table: String,
    /// Live values.
    pub live: usize,
    /// The standby's.
    pub standby: usize,
    /// Values that are in one alone or differ.
    pub differing: usize,
}

/// A value that differs.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct RowDiff {
    /// Its collection.
    pub table: String,
    /// Its workspace.
    pub workspace: String,
    /// What is behind the first slash of its path: an agent, a call. Empty where there is none.
    pub key: String,
    /// The members that differ; all of them where the value is in one board alone, none where it has none.
    pub columns: Vec<String>,
    /// As it is live; null where it is not there.
    pub live: Option<Value>,
    /// As it is in the standby; null where it is not there.
    pub standby: Option<Value>,
}

impl std::fmt::Debug for RowDiff {
    /// Its collection only: ids and values are personal.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowDiff").field("table", &self.table).field("columns", &self.columns).finish_non_exhaustive()
    }
}

impl Diff {
    /// Compares two boards that have read the log equally far.
    pub(crate) fn of(
        workspace: &WorkspaceId,
        label: Standby,
        live: &StoredBoard,
        standby: &StoredBoard,
        limit: usize,
    ) -> Self {
        let differing = differing(&live.visible, &standby.visible);
        let root = RootDiff {
            workspace: workspace.to_string(),
            live: live.root.clone(),
            standby: standby.root.clone(),
            live_rows: live.visible.len(),
            standby_rows: standby.visible.len(),
            equal: live.root == standby.root && differing.is_empty(),
        };
        let row = |path: &&str| RowDiff::of(workspace, path, live.visible.get(path), standby.visible.get(path));
        Self {
            standby: label,
            progress: live.progress.clone(),
            root,
            tables: tables(&live.visible, &standby.visible, &differing),
            rows: differing.iter().take(limit).map(row).collect(),
        }
    }

    /// Whether the two are the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.root.equal
    }
}

impl RowDiff {
    fn of(workspace: &WorkspaceId, path: &str, live: Option<&str>, standby: Option<&str>) -> Self {
        let value = |json: Option<&str>| json.and_then(|json| serde_json::from_str::<Value>(json).ok());
        let (live, standby) = (value(live), value(standby));
        let (table, key) = path.split_once('/').unwrap_or((path, ""));
        let member = |side: &Option<Value>, name: &str| side.as_ref().and_then(|value| value.get(name)).cloned();
        let names: BTreeSet<String> = [&live, &standby]
            .into_iter()
            .filter_map(|side| side.as_ref()?.as_object())
            .flat_map(|members| members.keys().cloned())
            .collect();
        let columns = names.into_iter().filter(|name| member(&live, name) != member(&standby, name)).collect();
        Self { table: table.to_owned(), workspace: workspace.to_string(), key: key.to_owned(), columns, live, standby }
    }
}

/// Paths that are in one alone or have another value.
fn differing<'a>(live: &'a Visible, standby: &'a Visible) -> BTreeSet<&'a str> {
    let paths = live.iter().chain(standby.iter()).map(|(path, _)| path);
    paths.filter(|path| live.get(path) != standby.get(path)).collect()
}

/// What makes the one board of the other.
pub(crate) fn changes(live: &Visible, standby: &Visible) -> Vec<Change> {
    let change = |path| standby.raw(path).map_or_else(|| Change::remove(path), |raw| Change::set(path, raw.to_owned()));
    differing(live, standby).into_iter().map(change).collect()
}

fn tables(live: &Visible, standby: &Visible, differing: &BTreeSet<&str>) -> Vec<TableDiff> {
    let mut tables: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    let sides = [live.iter().map(|(path, _)| path).collect(), standby.iter().map(|(path, _)| path).collect()];
    let counted: [&BTreeSet<&str>; 3] = [&sides[0], &sides[1], differing];
    for (place, paths) in counted.into_iter().enumerate() {
        for path in paths {
            let table = path.split_once('/').map_or(*path, |(table, _)| table);
            tables.entry(table).or_default()[place] += 1;
        }
    }
    let told = |(table, [live, standby, differing]): (&str, [usize; 3])| TableDiff {
        table: table.to_owned(),
        live,
        standby,
        differing,
    };
    tables.into_iter().map(told).collect()
}
