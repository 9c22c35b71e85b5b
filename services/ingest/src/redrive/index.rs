//! Which unrouted events of one partition still wait. Holds names and offsets, never bytes, so that a large backlog is
//! small in memory.
//!
//! An event waits until a later record of its partition marks it. Pure: the directory is passed in.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use helix_schemas::{
    directory::Directory,
    names::{AgentId, Did, WorkspaceId},
    time::ReceivedAt,
    unrouted::UnroutedEvent,
};

use crate::route::{Destination, attribute_names};

/// What an event names that the directory could know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Names {
    agent: Option<AgentId>,
    did: Option<Did>,
}

impl Names {
    /// Where an event of these names goes, by the same rule as at its arrival.
    #[must_use]
    pub fn destination(&self, directory: &Directory) -> Destination {
        attribute_names(self.agent.as_ref(), self.did.as_ref(), directory)
    }
}

#[derive(Debug)]
struct Waiting {
    names: Arc<Names>,
    received_at: ReceivedAt,
}

/// The waiting events of one partition.
#[derive(Debug, Default)]
pub struct Index {
    by_offset: BTreeMap<i64, Waiting>,
    by_names: BTreeMap<Arc<Names>, BTreeSet<i64>>,
}

impl Index {
    /// Takes the next record of the partition; the names, where it is an event.
    pub fn apply(&mut self, offset: i64, record: &UnroutedEvent) -> Option<Arc<Names>> {
        if let Some(redriven) = &record.redriven {
            self.done(redriven.offset);
            return None;
        }
        let names = Names { agent: record.agent.clone(), did: record.did.clone() };
        let names = match self.by_names.get_key_value(&names) {
            Some((known, _)) => known.clone(),
            None => Arc::new(names),
        };
        self.by_names.entry(names.clone()).or_default().insert(offset);
        self.by_offset.insert(offset, Waiting { names: names.clone(), received_at: record.received_at });
        Some(names)
    }

    /// An event is a fact now. One that is not known is no matter: its mark was read, or it lay before the start.
    pub fn done(&mut self, offset: i64) {
        let Some(Waiting { names, .. }) = self.by_offset.remove(&offset) else {
            return;
        };
        if let Some(offsets) = self.by_names.get_mut(&names) {
            offsets.remove(&offset);
            if offsets.is_empty() {
                self.by_names.remove(&names);
            }
        }
    }

    /// The first event that waits, and since when.
    #[must_use]
    pub fn first(&self) -> Option<(i64, ReceivedAt)> {
        self.by_offset.first_key_value().map(|(offset, waiting)| (*offset, waiting.received_at))
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_offset.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_offset.is_empty()
    }

    /// The events that the directory can attribute, in the order of the partition.
    #[must_use]
    pub fn due(&self, directory: &Directory) -> BTreeMap<i64, WorkspaceId> {
        let mut due = BTreeMap::new();
        for (names, offsets) in &self.by_names {
            if let Destination::Workspace(workspace) = names.destination(directory) {
                due.extend(offsets.iter().map(|offset| (*offset, workspace.clone())));
            }
        }
        due
    }

    /// How many wait for each reason; what is due is left out.
    #[must_use]
    pub fn reasons(&self, directory: &Directory) -> BTreeMap<&'static str, usize> {
        let mut reasons = BTreeMap::new();
        for (names, offsets) in &self.by_names {
            if let Destination::Unrouted(reason) = names.destination(directory) {
                *reasons.entry(reason).or_default() += offsets.len();
            }
        }
        reasons
    }
}
