//! What goes through one transaction: decoded facts in, changes of the roots out.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use helix_fold::row::Row;
use helix_runtime::Offset;
use helix_schemas::{fact::Fact, names::WorkspaceId};
use serde_json::{Map, Value};

use crate::roots;

/// A decoded fact and where it lay.
pub(crate) struct Arrived {
    pub(crate) fact: Arc<Fact>,
    pub(crate) partition: i32,
    pub(crate) offset: Offset,
}

/// A row that a transaction changed. It may hold personal data: it is for whoever asked, never for a log.
#[derive(Clone, PartialEq, Eq, serde::Serialize)]
pub struct ChangedRow {
    /// The table, without its schema.
    pub table: &'static str,
    /// What tells the row from others of its table and workspace.
    pub key: String,
    /// As it was; null where it is new.
    pub before: Option<Value>,
    /// As it is; null where it is gone.
    pub after: Option<Value>,
}

impl std::fmt::Debug for ChangedRow {
    /// Coordinates only.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChangedRow").field("table", &self.table).finish_non_exhaustive()
    }
}

/// What a batch does to the roots, by workspace and writing partition; and to the rows, where somebody wants to see it.
#[derive(Default)]
pub(crate) struct Changes {
    pub(crate) writer: BTreeMap<WorkspaceId, i32>,
    pub(crate) by_writer: BTreeMap<(WorkspaceId, i32), roots::Change>,
    seen: Option<BTreeMap<(&'static str, String), ChangedRow>>,
}

fn whole<R: Row>(row: &R) -> Value {
    let columns = row.columns().into_iter().map(|(name, cell)| (name.to_owned(), cell.to_json()));
    Value::Object(columns.collect::<Map<String, Value>>())
}

impl Changes {
    /// Keeps each changed row as it was and as it is.
    pub(crate) fn watching() -> Self {
        Self { seen: Some(BTreeMap::new()), ..Self::default() }
    }

    /// Takes the workspaces of a batch. All changes of a workspace are booked on the lowest partition that brought facts
    /// of it: partitions add up, so which one is of no matter.
    pub(crate) fn written_by(&mut self, facts: &[Arrived]) {
        for Arrived { fact, partition, .. } in facts {
            match self.writer.get_mut(&fact.workspace) {
                Some(writer) => *writer = (*writer).min(*partition),
                None => {
                    self.writer.insert(fact.workspace.clone(), *partition);
                }
            }
        }
    }

    /// For another part of the same batch, to be worked apart from this one and [`Self::join`]ed to it.
    pub(crate) fn apart(&self) -> Self {
        Self {
            writer: self.writer.clone(),
            by_writer: BTreeMap::new(),
            seen: self.seen.as_ref().map(|_| BTreeMap::new()),
        }
    }

    /// Takes what another part changed: rows of other tables.
    pub(crate) fn join(&mut self, other: Self) {
        for (place, change) in other.by_writer {
            self.by_writer.entry(place).or_default().merge(&change);
        }
        for (place, row) in other.seen.into_iter().flatten() {
            // What it was before all parts, and is after the last.
            match self.seen.as_mut().map(|seen| seen.entry(place)) {
                Some(Entry::Occupied(mut held)) => held.get_mut().after = row.after,
                Some(Entry::Vacant(free)) => {
                    free.insert(row);
                }
                None => {}
            }
        }
    }

    fn of(&mut self, workspace: &WorkspaceId) -> &mut roots::Change {
        let partition = self.writer.get(workspace).copied().unwrap_or_default();
        self.by_writer.entry((workspace.clone(), partition)).or_default()
    }

    /// A row is there now.
    pub(crate) fn add<R: Row>(&mut self, workspace: &WorkspaceId, row: &R) {
        self.of(workspace).add(row);
        let Some(seen) = &mut self.seen else { return };
        let key = row.key();
        let new = || ChangedRow { table: R::TABLE, key: key.clone(), before: None, after: None };
        seen.entry((R::TABLE, key.clone())).or_insert_with(new).after = Some(whole(row));
    }

    /// A row is there no more.
    pub(crate) fn subtract<R: Row>(&mut self, workspace: &WorkspaceId, row: &R) {
        self.of(workspace).subtract(row);
        let Some(seen) = &mut self.seen else { return };
        match seen.entry((R::TABLE, row.key())) {
            // It came, or changed, in an earlier part of the same work.
            Entry::Occupied(mut changed) => changed.get_mut().after = None,
            Entry::Vacant(free) => {
                let key = free.key().1.clone();
                free.insert(ChangedRow { table: R::TABLE, key, before: Some(whole(row)), after: None });
            }
        }
    }

    /// The rows that were kept, in the order of tables and keys; without those that are as they were.
    pub(crate) fn into_seen(self) -> Vec<ChangedRow> {
        self.seen.unwrap_or_default().into_values().filter(|row| row.before != row.after).collect()
    }
}
