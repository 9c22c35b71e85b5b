//! What goes through one transaction: decoded facts in, changes of the roots out.

use std::collections::BTreeMap;

use helix_runtime::Offset;
use helix_schemas::{fact::Fact, names::WorkspaceId};

use crate::roots;

/// A decoded fact and where it lay.
pub(crate) struct Arrived {
    pub(crate) fact: Fact,
    pub(crate) partition: i32,
    pub(crate) offset: Offset,
}

/// What a batch does to the roots, by workspace and writing partition.
#[derive(Default)]
pub(crate) struct Changes {
    pub(crate) writer: BTreeMap<WorkspaceId, i32>,
    pub(crate) by_writer: BTreeMap<(WorkspaceId, i32), roots::Change>,
}

impl Changes {
    /// The change of a workspace's root. All of a batch's changes to a workspace are booked on the lowest partition
    /// that brought facts of it: partitions add up, so which one is of no matter.
    pub(crate) fn of(&mut self, workspace: &WorkspaceId) -> &mut roots::Change {
        let partition = self.writer.get(workspace).copied().unwrap_or_default();
        self.by_writer.entry((workspace.clone(), partition)).or_default()
    }
}
