//! Where the projection stands, kept in `projection_progress` beside the rows.

use std::collections::BTreeMap;

use clickhouse::Row;
use helix_runtime::{Epoch, NextOffset, Position, Slice};
use serde::{Deserialize, Serialize};

use crate::client::{ClickHouseError, Database};

const WHAT: &str = "progress";

const READ: &str = "
SELECT
    partition,
    max((progress.epoch, progress.next_offset)).1 AS epoch,
    max((progress.epoch, progress.next_offset)).2 AS next_offset
FROM {database}.projection_progress AS progress
WHERE projection = ? AND topic = ? AND has(?, partition)
GROUP BY partition";

#[derive(Row, Serialize, Deserialize)]
struct Standing {
    partition: i32,
    epoch: i64,
    next_offset: i64,
}

#[derive(Row, Serialize)]
struct ProgressRow<'a> {
    projection: &'a str,
    topic: &'a str,
    partition: i32,
    epoch: i64,
    next_offset: i64,
}

/// Progress of one projection.
pub(crate) struct ProgressTable<'a> {
    pub(crate) database: &'a Database,
    pub(crate) projection: &'a str,
    pub(crate) topic: &'a str,
}

impl ProgressTable<'_> {
    /// The newest epoch of each partition that has one, with how far it came.
    pub(crate) async fn read(&self, partitions: &[i32]) -> Result<BTreeMap<i32, Position>, ClickHouseError> {
        let query = self.database.query_of(READ).bind(self.projection).bind(self.topic).bind(partitions);
        let standings: Vec<Standing> = self.database.fetch(WHAT, query).await?;
        let position = |standing: Standing| Position {
            partition: standing.partition,
            next_offset: NextOffset(standing.next_offset),
            epoch: Epoch(standing.epoch),
            parked: Default::default(),
        };
        Ok(standings.into_iter().map(|standing| (standing.partition, position(standing))).collect())
    }

    /// The same under the next epoch.
    pub(crate) fn raised(at: Position) -> Position {
        Position { epoch: Epoch(at.epoch.0 + 1), ..at }
    }

    /// Writes positions as one block.
    pub(crate) async fn write(&self, positions: &[Position]) -> Result<(), ClickHouseError> {
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
