//! `helix redrive unrouted`: what the instances do by themselves, by hand and all at once.
//!
//! [`Plan::make`] only reads; [`Plan::carry_out`] does what it says. An instance may redrive the same events at the same
//! time: both keep the order of each key, and ids absorb the repeats.

use std::collections::BTreeMap;

use helix_schemas::{directory::Directory, names::WorkspaceId, topics};
use serde::Serialize;

use super::{
    RedriveError,
    append::{Attributed, append},
    command::{HELD_BYTES, HELD_RECORDS, Installation, Watcher},
    index::Index,
};

/// What would be done.
#[derive(Debug)]
pub struct Plan {
    due: BTreeMap<i32, BTreeMap<i64, WorkspaceId>>,
    summary: Summary,
}

/// Counts of a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Events that are no facts yet.
    pub pending: usize,
    /// Of them, those that go to a workspace that was asked for.
    pub attributable: BTreeMap<WorkspaceId, usize>,
    /// Of them, those that go to a workspace that was not asked for.
    pub other_workspaces: usize,
    /// Of them, those that stay, by reason.
    pub stay: BTreeMap<&'static str, usize>,
    /// Records that cannot be decoded; they stay too.
    pub unreadable: usize,
}

/// What was done.
#[derive(Debug, Default)]
pub struct Done {
    /// Events that are facts now.
    pub redriven: BTreeMap<WorkspaceId, usize>,
    /// Why it broke off.
    pub failed: Option<RedriveError>,
}

impl Plan {
    /// Reads the directory and the topic to their ends.
    ///
    /// # Errors
    /// [`RedriveError::Usage`] where the workspace asked for is not registered; where log or registry do not answer.
    pub async fn make(
        installation: &Installation,
        only: Option<&WorkspaceId>,
        watcher: &dyn Watcher,
    ) -> Result<Self, RedriveError> {
        let directory = installation.directory(watcher).await?;
        if let Some(unknown) = only.filter(|workspace| !directory.knows(workspace)) {
            return Err(RedriveError::Usage(format!("no workspace {unknown} is registered in the directory")));
        }
        let mut partitions: BTreeMap<i32, Index> = BTreeMap::new();
        let codec = &installation.codecs().unrouted;
        let unreadable = installation
            .read(topics::UNROUTED, codec, watcher, |partition, offset, record| {
                partitions.entry(partition).or_default().apply(offset, &record);
            })
            .await?;
        let mut plan = Self::of(&partitions, &directory, only);
        plan.summary.unreadable = unreadable;
        Ok(plan)
    }

    fn of(partitions: &BTreeMap<i32, Index>, directory: &Directory, only: Option<&WorkspaceId>) -> Self {
        let mut plan = Self { due: BTreeMap::new(), summary: Summary::default() };
        let summary = &mut plan.summary;
        for (number, index) in partitions {
            summary.pending += index.len();
            for (reason, count) in index.reasons(directory) {
                *summary.stay.entry(reason).or_default() += count;
            }
            let mut due = index.due(directory);
            let all = due.len();
            due.retain(|_, workspace| only.is_none_or(|only| only == workspace));
            summary.other_workspaces += all - due.len();
            for workspace in due.values() {
                *summary.attributable.entry(workspace.clone()).or_default() += 1;
            }
            plan.due.insert(*number, due);
        }
        plan
    }

    /// What it comes to.
    #[must_use]
    pub const fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Appends the facts and marks, each partition in its order.
    pub async fn carry_out(self, installation: &Installation, watcher: &dyn Watcher) -> Done {
        let mut done = Done::default();
        if let Err(error) = self.carry_out_into(installation, watcher, &mut done).await {
            done.failed = Some(error);
        }
        done
    }

    async fn carry_out_into(
        self,
        installation: &Installation,
        watcher: &dyn Watcher,
        done: &mut Done,
    ) -> Result<(), RedriveError> {
        let publisher = installation.publisher()?;
        let fetch = installation.fetch(topics::UNROUTED)?;
        let total: usize = self.due.values().map(BTreeMap::len).sum();
        watcher.begin("redriving", u64::try_from(total).unwrap_or_default());
        for (partition, due) in self.due {
            let mut offsets: &[i64] = &due.keys().copied().collect::<Vec<_>>();
            while !offsets.is_empty() {
                if watcher.stopped() {
                    return Err(RedriveError::Interrupted);
                }
                let asked = offsets.get(..HELD_RECORDS).unwrap_or(offsets);
                let fetched = fetch.read(partition, asked, HELD_BYTES).await?;
                let read = fetched.records.len() + fetched.gone.len();
                offsets = offsets.get(read..).unwrap_or_default();
                let mut events = Vec::with_capacity(fetched.records.len());
                for (offset, value) in fetched.records {
                    let event = installation.decode(&installation.codecs().unrouted, &value).await?;
                    if let (Some(event), Some(workspace)) = (event, due.get(&offset)) {
                        events.push(Attributed { offset, workspace: workspace.clone(), event });
                    }
                }
                let outcome = append(&publisher, installation.codecs(), events).await;
                for (_, workspace) in outcome.done {
                    watcher.step();
                    *done.redriven.entry(workspace).or_default() += 1;
                }
                if let Some(error) = outcome.failed {
                    return Err(error);
                }
            }
        }
        watcher.end();
        Ok(())
    }
}
