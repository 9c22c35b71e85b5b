//! The ClickHouse projection: every fact of the log against its row in `facts`.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use helix_clickhouse::audit::{Audit, StoredFact, expected, first_difference};
use helix_fold::root::Root;
use helix_schemas::{fact::Fact, names::WorkspaceId, topics};
use indicatif::ProgressBar;
use serde_json::Value;
use tokio::runtime::Handle;

use crate::{
    ReplayError,
    export::progress_bar,
    log::{Cut, FactLog, Place, Stop},
    verify::{Aside, Difference, Report, WorkspaceReport, up_to},
};

/// Offsets that are compared at once: what is held in memory of both sides.
const CHUNK: i64 = 20_000;
const TABLE: &str = "facts";

/// Compares the stored facts with the log, up to the projection's progress.
///
/// # Errors
/// [`ReplayError`] where log or database cannot be read; a difference is no error but part of the report.
pub async fn verify_clickhouse(
    log: FactLog,
    audit: Audit,
    aside: BTreeSet<Place>,
    only: Option<WorkspaceId>,
    stop: Stop,
) -> Result<Report, ReplayError> {
    let fault = |error| ReplayError::unreachable("clickhouse", error);
    let log = Arc::new(log);
    let asked = log.clone();
    let whole = tokio::task::spawn_blocking(move || asked.whole())
        .await
        .map_err(|error| ReplayError::unreachable("the log", error))??;
    let live = audit.standings(topics::FACTS).await.map_err(fault)?;
    let progress = live.positions.iter().map(|(partition, at)| (*partition, at.next_offset.0)).collect();
    let cut = up_to(&progress, whole);
    let parked = aside.len();
    let runtime = Handle::current();
    let asked = audit.clone();
    let comparing = tokio::task::spawn_blocking(move || {
        let bar = progress_bar(cut.span(), "comparing with the log");
        let mut comparison =
            Comparison { log: &log, audit: &audit, runtime, stop: &stop, only: only.as_ref(), aside, bar };
        let found = comparison.run(&cut);
        comparison.bar.finish_and_clear();
        found
    });
    let found = comparing.await.map_err(|error| ReplayError::unreachable("the comparison", error))??;
    // The rows were read by many questions: all of them of one generation, or they prove nothing.
    if asked.standings(topics::FACTS).await.map_err(fault)?.generation != live.generation {
        return Err(ReplayError::Usage("the live generation was exchanged meanwhile: verify again".to_owned()));
    }
    Ok(Report {
        projection: helix_clickhouse::PROJECTION.to_owned(),
        facts: found.facts,
        parked,
        workspaces: found.workspaces.into_iter().map(|(name, of)| of.report(name)).collect(),
    })
}

#[derive(Default)]
struct Found {
    facts: u64,
    /// Ids whose first arrival was seen: a later one may be stored, or collapsed into it.
    seen: HashSet<[u8; 16]>,
    workspaces: BTreeMap<String, OfWorkspace>,
}

#[derive(Default)]
struct OfWorkspace {
    rows: usize,
    root: Root,
    difference: Option<Difference>,
}

impl OfWorkspace {
    fn report(self, workspace: String) -> WorkspaceReport {
        WorkspaceReport { workspace, rows: self.rows, root: self.root.short(), difference: self.difference }
    }

    fn differs(&mut self, place: Place, column: Option<String>, stored: Value, folded: Value) {
        let key = format!("partition {} offset {}", place.partition, place.offset);
        self.difference.get_or_insert(Difference { table: TABLE.to_owned(), key, column, stored, folded });
    }
}

struct Comparison<'a> {
    log: &'a FactLog,
    audit: &'a Audit,
    runtime: Handle,
    stop: &'a Stop,
    only: Option<&'a WorkspaceId>,
    aside: Aside,
    bar: ProgressBar,
}

impl Comparison<'_> {
    fn run(&mut self, cut: &Cut) -> Result<Found, ReplayError> {
        let mut found = Found::default();
        for (partition, (low, high)) in &cut.0 {
            let mut from = *low;
            while from < *high {
                let until = (from + CHUNK).min(*high);
                self.chunk(&mut found, *partition, (from, until))?;
                from = until;
            }
        }
        Ok(found)
    }

    fn chunk(&self, found: &mut Found, partition: i32, range: (i64, i64)) -> Result<(), ReplayError> {
        let rows = self.runtime.block_on(self.audit.rows(topics::FACTS, partition, range));
        let rows = rows.map_err(|error| ReplayError::unreachable("clickhouse", error))?;
        let mut stored: BTreeMap<i64, StoredFact> = rows.into_iter().map(|row| (row.offset, row)).collect();
        self.log.read_records(&Cut(BTreeMap::from([(partition, range)])), self.stop, |record| {
            self.bar.inc(1);
            if self.aside.contains(&record.place) {
                return Ok(());
            }
            let fact = self.log.decode(record.place, record.value)?;
            found.facts += 1;
            let row = stored.remove(&record.place.offset);
            if self.only.is_none_or(|only| *only == fact.workspace) {
                found.compare(record.place, &fact, row);
            }
            Ok(())
        })?;
        // What is left lies where the log has no such fact.
        for (offset, row) in stored {
            let workspace = row.columns.get("workspace_id").and_then(Value::as_str).unwrap_or_default().to_owned();
            if self.only.is_none_or(|only| only.as_str() == workspace) {
                let of_workspace = found.workspaces.entry(workspace).or_default();
                of_workspace.rows += 1;
                of_workspace.differs(Place { partition, offset }, None, Value::Object(row.columns), Value::Null);
            }
        }
        Ok(())
    }
}

impl Found {
    fn compare(&mut self, place: Place, fact: &Fact, row: Option<StoredFact>) {
        let first = self.seen.insert(*fact.id.uuid().as_bytes());
        let of_workspace = self.workspaces.entry(fact.workspace.to_string()).or_default();
        let meant = expected(fact, topics::FACTS, place.partition, place.offset);
        if first {
            of_workspace.root.add_bytes(Value::Object(meant.clone()).to_string().as_bytes());
        }
        let Some(row) = row else {
            if first {
                of_workspace.differs(place, None, Value::Null, Value::Object(meant));
            }
            return;
        };
        of_workspace.rows += 1;
        if let Some((column, held, meant)) = first_difference(&row.columns, &meant) {
            of_workspace.differs(place, Some(column), held, meant);
        }
    }
}
