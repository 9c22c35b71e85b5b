//! Generations: the table that everybody reads, and one beside it that is filled, compared and exchanged with it
//! (docs/decisions/0020).
//!
//! A generation is a table of facts and a name under which its progress and parked records are kept. The name stands in the
//! table's comment, its [`Label`]: where two tables exchange their names, labels go with the rows, so that rows, progress and
//! parked keys of a generation become live in one atomic step. A table without a comment is the first generation.
//!
//! Of a standby the label is written last: a table beside the live one that has the live one's is one that somebody did not
//! finish, and counts for nothing. A label is written once and never again: it would have to be written to a table by its
//! name, and that may be another generation's a moment later. When a generation was last left is kept beside its progress.
//!
//! Nothing here keeps two people apart who work on generations: that is the caller's.

use std::collections::BTreeMap;

use clickhouse::Row;
use helix_runtime::{
    Epoch, NextOffset, Position, StoreError,
    fill::{FillError, StandbyState},
};
use helix_schemas::{names::WorkspaceId, scope::Scope};
use serde::{Deserialize, Serialize};

use crate::{
    client::{ClickHouseError, Database},
    progress::ProgressTable,
};

/// The name of this projection in metrics and `helix projection list`, whichever generation is live.
pub const PROJECTION: &str = "clickhouse";
/// The name of the generation beside it, there.
pub const STANDBY_PROJECTION: &str = "clickhouse.standby";

pub(crate) const FACTS: &str = "facts";
pub(crate) const FACTS_STANDBY: &str = "facts_standby";

/// The generation of a table without a comment.
const FIRST: &str = PROJECTION;
const WHAT: &str = "the label of a generation";

/// The standby, as its label tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standby {
    /// Whose facts were read from the log for it.
    pub scope: Scope,
    /// What it is.
    pub state: StandbyState,
    /// When it was made, Unix milliseconds; not known of the first generation.
    pub made_at: Option<i64>,
    /// When it ceased to be live, Unix milliseconds.
    pub cut_over_at: Option<i64>,
}

/// Why work on generations was not done.
#[derive(Debug, thiserror::Error)]
pub enum GenerationError {
    /// There is no standby.
    #[error("there is no standby: rebuild first")]
    NoStandby,
    /// There is one of another scope, or one that was live before: discard it first.
    #[error("there is a standby already that is not the one asked for: discard it first")]
    AnotherStandby {
        /// That one.
        standby: Box<Standby>,
    },
    /// The projector is too fast to be caught up with, or the standby too far behind.
    #[error("the standby cannot be brought to the live projection's progress: fill it first")]
    Behind,
    /// Asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// A batch could not be applied.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// ClickHouse does not answer, or refused.
    #[error(transparent)]
    ClickHouse(#[from] ClickHouseError),
}

impl From<FillError> for GenerationError {
    fn from(error: FillError) -> Self {
        match error {
            FillError::Interrupted => Self::Interrupted,
            FillError::NotHeld { .. } => Self::Behind,
            FillError::Store(error) => Self::Store(error),
        }
    }
}

/// What a table's comment says of its generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Label {
    /// Its progress and parked records are kept under this name.
    pub(crate) generation: String,
    /// The one workspace whose facts were read from the log; everybody's where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) workspace: Option<WorkspaceId>,
    /// Up to where the rows of all others are those of the table that was live then, by partition.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) copied_below: BTreeMap<i32, i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) made_at: Option<i64>,
    /// When it was last to be exchanged for another while it was live: written before the exchange, so that of a live table it
    /// says nothing. Older builds kept it here; now it is a row of the progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) left_at: Option<i64>,
}

impl Label {
    /// Of a generation that is made now, beside a live one.
    pub(crate) fn new(scope: &Scope, copied_below: BTreeMap<i32, i64>, live: &Self, now: i64) -> Self {
        let workspace = scope.only().cloned();
        // Whatever the clock did: two of one name would be one.
        let now = now.max(live.made_at.map_or(0, |made_at| made_at.saturating_add(1)));
        let generation = format!("{FIRST}.{now}");
        Self { generation, workspace, copied_below, made_at: Some(now), left_at: None }
    }

    /// What a comment says.
    pub(crate) fn of_comment(comment: &str) -> Result<Self, ClickHouseError> {
        if comment.is_empty() {
            let generation = FIRST.to_owned();
            return Ok(Self {
                generation,
                workspace: None,
                copied_below: BTreeMap::new(),
                made_at: None,
                left_at: None,
            });
        }
        serde_json::from_str(comment).map_err(|_| ClickHouseError::Unreadable { what: WHAT })
    }

    /// The name of the progress with which a standby of one workspace is filled up to where the others' rows were copied.
    pub(crate) fn refill(&self) -> String {
        format!("{}.refill", self.generation)
    }

    /// The name under which it is kept when it was last left.
    fn left(&self) -> String {
        format!("{}.left", self.generation)
    }

    /// Notes that it is to be left now. Gives it back as it will be beside the live one.
    pub(crate) async fn leave(self, database: &Database, topic: &str, now: i64) -> Result<Self, ClickHouseError> {
        let name = self.left();
        let progress = ProgressTable { database, table: FACTS, projection: &name, topic };
        let parked = BTreeMap::new();
        progress.write(&[Position { partition: 0, epoch: Epoch(0), next_offset: NextOffset(now), parked }]).await?;
        Ok(Self { left_at: Some(now), ..self })
    }

    /// With when it was last left, where it was.
    async fn read_left(self, database: &Database) -> Result<Self, ClickHouseError> {
        const LEFT: &str = "
SELECT max(next_offset) FROM {database}.projection_progress AS progress WHERE progress.`projection` = ?";
        let moments: Vec<i64> = database.fetch(WHAT, database.query_of(LEFT).bind(self.left())).await?;
        let noted = moments.into_iter().next().filter(|at| *at > 0);
        Ok(Self { left_at: self.left_at.max(noted), ..self })
    }

    pub(crate) fn standby(&self) -> Standby {
        Standby {
            scope: self.workspace.clone().into(),
            state: if self.left_at.is_some() { StandbyState::Previous } else { StandbyState::Filling },
            made_at: self.made_at,
            cut_over_at: self.left_at,
        }
    }

    /// Writes it as the comment of a table.
    pub(crate) async fn write(&self, database: &Database, table: &str) -> Result<(), ClickHouseError> {
        // Of texts and numbers: it can always be written.
        let comment = serde_json::to_string(self).map_err(|_| ClickHouseError::Unreadable { what: WHAT })?;
        let statement = format!("ALTER TABLE {{database}}.{table} MODIFY COMMENT ?");
        database.execute(WHAT, database.query_of(&statement).bind(comment)).await
    }
}

/// Which generations there are.
#[derive(Debug, Clone)]
pub(crate) struct Labels {
    pub(crate) live: Label,
    /// Where there is one that was finished.
    pub(crate) standby: Option<Label>,
}

#[derive(Row, Deserialize)]
struct Commented {
    name: String,
    comment: String,
}

impl Labels {
    /// Both tables in one reading: an exchange is seen whole or not at all. When the standby was left was noted before it became
    /// one, so that it may be read after.
    pub(crate) async fn read(database: &Database) -> Result<Self, ClickHouseError> {
        const READ: &str = "SELECT name, comment FROM system.tables WHERE database = '{database}' AND name IN ?";
        let query = database.query_of(READ).bind([FACTS, FACTS_STANDBY].as_slice());
        let tables: Vec<Commented> = database.fetch(WHAT, query).await?;
        let of = |name: &str| tables.iter().find(|table| table.name == name).map(|table| table.comment.as_str());
        let live = Label::of_comment(of(FACTS).unwrap_or_default())?;
        let standby = match of(FACTS_STANDBY) {
            // One that was begun has the comment of the table that it was made like.
            Some(comment) => Some(Label::of_comment(comment)?).filter(|label| label.generation != live.generation),
            None => None,
        };
        let standby = match standby {
            Some(label) => Some(label.read_left(database).await?),
            None => None,
        };
        Ok(Self { live, standby })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_says_again_what_was_written_and_none_is_the_first_generation() {
        let workspace = WorkspaceId::new("ramaiah").unwrap();
        let first = Label::of_comment("").unwrap();
        let label = Label::new(&Scope::Workspace(workspace.clone()), BTreeMap::from([(0, 7), (11, 9)]), &first, 5);
        // Of a clock that was set back.
        let next = Label::new(&Scope::All, BTreeMap::new(), &label, 5);
        assert_ne!(next.generation, label.generation);
        let comment = serde_json::to_string(&label).unwrap();
        assert_eq!(Label::of_comment(&comment).unwrap(), label);
        assert_eq!((first.generation.as_str(), first.standby().state), (PROJECTION, StandbyState::Filling));
        assert_ne!(label.generation, first.generation);
        assert_eq!(label.standby().scope, Scope::Workspace(workspace));
        assert!(matches!(Label::of_comment("the facts"), Err(ClickHouseError::Unreadable { .. })));
    }
}
