//! `helix audit verify`: the log folded afresh, compared with what a projection has stored.
//!
//! Each projection is read as it stands, with its own progress, and the log is read exactly up to there, so that an audit
//! holds under traffic. Facts that a projection has parked are not in its rows; the report counts them.

mod clickhouse;
mod live;
mod postgres;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

pub use clickhouse::verify_clickhouse;
pub use live::{BoardToVerify, verify_live};
pub use postgres::verify_postgres;

use crate::log::{Cut, Place};

/// What was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The projection.
    pub projection: String,
    /// Facts of the log that were folded.
    pub facts: u64,
    /// Facts that the projection has set aside.
    pub parked: usize,
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
    /// The table, or `projection_roots`, or [`OTHER_SETTINGS`].
    pub table: String,
    /// The row's key.
    pub key: String,
    /// The column, where both rows exist.
    pub column: Option<String>,
    /// As stored; null where the row is missing.
    pub stored: Value,
    /// As the log says; null where no row should be.
    pub folded: Value,
}

impl Report {
    /// Whether all roots meet.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.workspaces.iter().all(|workspace| workspace.difference.is_none())
    }
}

/// The table of a difference that is one of settings: rows are as the log says, under other settings than are configured. Its key
/// names the settings, `stored` has what the rows were made with, `folded` what is configured.
pub const OTHER_SETTINGS: &str = "settings";

/// Where parked facts lie.
type Aside = BTreeSet<Place>;

/// The log up to a projection's progress. A partition that the projection never held has none: nothing of it is stored.
fn up_to(progress: &BTreeMap<i32, i64>, whole: Cut) -> Cut {
    let bounded = |(partition, (low, high)): (i32, (i64, i64))| {
        (partition, (low, progress.get(&partition).copied().unwrap_or(low).clamp(low, high)))
    };
    Cut(whole.0.into_iter().map(bounded).collect())
}
