//! Where the projection stands, kept in `projection_progress` beside the rows.

use std::collections::BTreeMap;

use clickhouse::Row;
use helix_runtime::{Epoch, NextOffset, Position, Slice};
use serde::{Deserialize, Serialize};

use crate::{
    client::{ClickHouseError, Database},
    generation::Label,
};

const WHAT: &str = "progress";

/// With the comment of the generation's table, in one question: always one row.
const READ: &str = "
SELECT
    ifNull((SELECT comment FROM system.tables WHERE database = '{database}' AND name = ?), '') AS comment,
    groupArray((partition, epoch, next_offset)) AS positions
FROM
(
    SELECT
        partition,
        max((progress.epoch, progress.next_offset)).1 AS epoch,
        max((progress.epoch, progress.next_offset)).2 AS next_offset
    FROM {database}.projection_progress AS progress
    WHERE progress.`projection` = ? AND topic = ?
    GROUP BY partition
)";

#[derive(Row, Deserialize)]
struct Stored {
    comment: String,
    positions: Vec<(i32, i64, i64)>,
}

/// What is stored under one name, and which generation the table is meanwhile.
pub(crate) struct Standings {
    /// Which generation the table is.
    pub(crate) generation: String,
    /// The newest epoch of each partition that has one, with how far it came.
    pub(crate) positions: BTreeMap<i32, Position>,
}

#[derive(Row, Serialize)]
struct ProgressRow<'a> {
    projection: &'a str,
    topic: &'a str,
    partition: i32,
    epoch: i64,
    next_offset: i64,
}

/// Progress under one name.
pub(crate) struct ProgressTable<'a> {
    pub(crate) database: &'a Database,
    /// The table of facts that it is of.
    pub(crate) table: &'a str,
    pub(crate) projection: &'a str,
    pub(crate) topic: &'a str,
}

impl ProgressTable<'_> {
    /// Every partition that was ever held, and which generation the table is at the same moment or before.
    pub(crate) async fn read(&self) -> Result<Standings, ClickHouseError> {
        let query = self.database.query_of(READ).bind(self.table).bind(self.projection).bind(self.topic);
        let stored: Vec<Stored> = self.database.fetch(WHAT, query).await?;
        let Some(Stored { comment, positions }) = stored.into_iter().next() else {
            return Err(ClickHouseError::Unreadable { what: WHAT });
        };
        let position = |(partition, epoch, next_offset)| Position {
            partition,
            next_offset: NextOffset(next_offset),
            epoch: Epoch(epoch),
            parked: BTreeMap::new(),
        };
        let positions = positions.into_iter().map(|stored| (stored.0, position(stored))).collect();
        Ok(Standings { generation: Label::of_comment(&comment)?.generation, positions })
    }

    /// The same under the next epoch.
    pub(crate) fn raised(at: Position) -> Position {
        Position { epoch: Epoch(at.epoch.0 + 1), ..at }
    }

    /// Writes positions as one block.
    pub(crate) async fn write(&self, positions: &[Position]) -> Result<(), ClickHouseError> {
        if positions.is_empty() {
            return Ok(());
        }
        let mut insert = self.database.insert::<ProgressRow<'_>>(WHAT, "projection_progress").await?;
        for position in positions {
            let row = ProgressRow {
                projection: self.projection,
                topic: self.topic,
                partition: position.partition,
                epoch: position.epoch.0,
                next_offset: position.next_offset.0,
            };
            insert.write(&row).await?;
        }
        insert.end().await
    }
}

/// Whether the slice may be written, given where its partition stands.
///
/// Progress between `from` and `to` under our own epoch is an earlier try of ours whose answer was lost: the slice is
/// written again and absorbed. Progress before `from` means that facts between were never stored, or are gone.
pub(crate) fn holds(slice: &Slice, standing: Option<&Position>) -> bool {
    standing.is_some_and(|standing| {
        standing.epoch == slice.epoch && slice.from <= standing.next_offset && standing.next_offset <= slice.to
    })
}

#[cfg(test)]
mod tests {
    use helix_runtime::NextOffset;

    use super::*;

    fn slice() -> Slice {
        Slice {
            partition: 3,
            epoch: Epoch(2),
            from: NextOffset(10),
            to: NextOffset(20),
            records: Vec::new(),
            parked: Vec::new(),
        }
    }

    #[test]
    fn a_slice_is_written_only_from_where_its_own_epoch_stands() {
        let at = |epoch, next| Position {
            partition: 3,
            epoch: Epoch(epoch),
            next_offset: NextOffset(next),
            parked: Default::default(),
        };
        for (standing, expected) in [
            (at(2, 10), true),
            (at(2, 15), true),
            (at(2, 20), true),
            (at(2, 9), false),
            (at(2, 21), false),
            (at(3, 10), false),
            (at(1, 10), false),
        ] {
            assert_eq!(holds(&slice(), Some(&standing)), expected, "{standing:?}");
        }
        assert!(!holds(&slice(), None));
    }
}
