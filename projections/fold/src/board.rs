//! The board: one workspace's live state for its supervisors, and the deltas that keep a copy of it up to date
//! (docs/rules.md, "Board"; contract.md, "Sidecar").
//!
//! [`Board::apply`] takes a fact and tells what changed. Every engine that shows a board folds with this and nothing
//! else: the live projector, and replay for a past moment. Invariants:
//! - **Any batch cut, any repetition** gives the same board and the same root: changes are whole values, and a change
//!   that changes nothing is not told. `producers` alone tell of a repeat: it was heard.
//! - **Partitions may interleave as they like.** An agent's facts lie in one partition and keep their order; what facts
//!   of several partitions share is joined without order (calls, counters, the watermark). Calls are remembered by
//!   the day of their latest fact for one day longer than they are shown, so that what is shown does not depend on
//!   which partition came first, given that the facts of one call lie within a day of each other.
//! - **Work per fact is O(log n)** in agents and calls; the watermark moving on costs what it drops.
//!
//! Parts: `agents` (an agent's present), `calls` (calls, counters and obligations), `ghosts` (calls whose end is presumed),
//! `heard` (what was last heard of the provider), [`visible`] (paths, values, root), [`document`] (the JSON of the contract).

mod agents;
mod calls;
pub mod document;
mod ghosts;
mod heard;
#[cfg(test)]
mod tests;
pub mod visible;

use std::collections::{BTreeMap, BTreeSet};

use helix_schemas::{
    fact::Fact,
    names::{AgentId, CallId, WorkspaceId},
};

pub use self::heard::{Heard, LastEvent, Producer, Watermark};
use self::{
    agents::AgentPresent,
    calls::{Calls, Screen},
    document::{AgentCard, ProducerCard, Today},
    visible::{BoardRoot, Change, Visible},
};
use crate::settings::Settings;

/// Which parts of the fold's memory changed since they were last asked for: what a store must write.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Touched {
    /// Agents whose memory changed.
    pub agents: BTreeSet<AgentId>,
    /// Calls whose memory changed.
    pub calls: BTreeSet<CallId>,
    /// Calls that are remembered no more.
    pub dropped: BTreeSet<CallId>,
}

/// Why a stored memory cannot be taken up again.
#[derive(Debug, thiserror::Error)]
#[error("the stored memory of {what} cannot be read: {source}")]
pub struct RestoreError {
    what: &'static str,
    source: serde_json::Error,
}

/// The board fold of one workspace.
#[derive(Debug, Clone)]
pub struct Board {
    workspace: WorkspaceId,
    settings: Settings,
    heard: Heard,
    agents: BTreeMap<AgentId, AgentPresent>,
    calls: Calls,
    visible: Visible,
    touched: Touched,
}

impl Board {
    /// A board before its first fact: counters at zero, nothing else.
    #[must_use]
    pub fn new(workspace: WorkspaceId, settings: Settings) -> Self {
        let mut visible = Visible::default();
        visible.set(document::TODAY, &Today::empty(&settings));
        visible.set(document::OPEN_MISSED_CALLS, &0);
        Self {
            workspace,
            settings,
            heard: Heard::default(),
            agents: BTreeMap::new(),
            calls: Calls::default(),
            visible,
            touched: Touched::default(),
        }
    }

    /// A board from its stored memory: what [`Self::agent_memory`] and [`Self::call_memory`] gave.
    ///
    /// # Errors
    /// [`RestoreError`] where a text is not what this build wrote.
    pub fn restore<'a>(
        workspace: WorkspaceId,
        settings: Settings,
        heard: Heard,
        agents: impl IntoIterator<Item = (AgentId, &'a str)>,
        calls: impl IntoIterator<Item = (CallId, &'a str)>,
    ) -> Result<Self, RestoreError> {
        let mut board = Self::new(workspace, settings);
        board.heard = heard;
        for (agent, memory) in agents {
            let present: AgentPresent =
                serde_json::from_str(memory).map_err(|source| RestoreError { what: "an agent", source })?;
            if let Some(card) = present.card(&agent) {
                board.visible.set(&document::agent_path(&agent), &card);
            }
            board.agents.insert(agent, present);
        }
        let mut changes = Vec::new();
        let heard: Vec<Producer> = board.heard.producers.keys().copied().collect();
        board.producers(&heard, &mut changes);
        let (remembered, heard, mut screen) = board.screen(&mut changes);
        remembered.move_on(heard, &mut screen);
        for (call, memory) in calls {
            let memory = serde_json::from_str(memory).map_err(|source| RestoreError { what: "a call", source })?;
            remembered.restore(&call, memory, &mut screen);
        }
        board.totals(&mut changes);
        board.touched = Touched::default();
        Ok(board)
    }

    /// Takes the next fact and tells what it changed. Facts of other workspaces are none of this board's.
    pub fn apply(&mut self, fact: &Fact) -> Vec<Change> {
        let mut changes = Vec::new();
        if fact.workspace != self.workspace {
            return changes;
        }
        let producer = self.heard.join(fact);
        self.producers(producer.as_slice(), &mut changes);
        if let Some(agent) = &fact.agent {
            self.agent(agent, fact, &mut changes);
        }
        let (calls, heard, mut screen) = self.screen(&mut changes);
        let dropped = calls.move_on(heard, &mut screen);
        let learnt_of = calls.apply(fact, &mut screen);
        for call in dropped {
            self.touched.calls.remove(&call);
            self.touched.dropped.insert(call);
        }
        if let Some(call) = learnt_of {
            self.touched.dropped.remove(&call);
            self.touched.calls.insert(call);
        }
        self.totals(&mut changes);
        changes
    }

    /// The calls, how far time has come, and where they are shown.
    fn screen<'a>(&'a mut self, changes: &'a mut Vec<Change>) -> (&'a mut Calls, &'a Heard, Screen<'a>) {
        let Self { workspace, settings, visible, calls, heard, .. } = self;
        (calls, heard, Screen { workspace, settings, visible, changes })
    }

    fn agent(&mut self, agent: &AgentId, fact: &Fact, changes: &mut Vec<Change>) {
        let present = match self.agents.get_mut(agent) {
            Some(present) => present,
            None if AgentPresent::concerns(fact) => self.agents.entry(agent.clone()).or_default(),
            None => return,
        };
        if !present.apply(fact) {
            return;
        }
        self.touched.agents.insert(agent.clone());
        if let Some(card) = present.card(agent) {
            changes.extend(self.visible.set(&document::agent_path(agent), &card));
        }
    }

    /// The last events of some producers.
    fn producers(&mut self, producers: &[Producer], changes: &mut Vec<Change>) {
        for producer in producers {
            if let Some(event) = self.heard.producers.get(producer) {
                let card = ProducerCard::of(*producer, *event);
                changes.extend(self.visible.set(&document::producer_path(*producer), &card));
            }
        }
    }

    /// What does not grow: counters, obligations, the watermark.
    fn totals(&mut self, changes: &mut Vec<Change>) {
        let Some(watermark) = self.heard.watermark else { return };
        let today = self.calls.today(self.settings.day_of(watermark.occurred_at), &self.settings);
        changes.extend(self.visible.set(document::TODAY, &today));
        changes.extend(self.visible.set(document::OPEN_MISSED_CALLS, &self.calls.open_missed()));
        changes.extend(self.visible.set(document::WATERMARK_OCCURRED, &watermark.occurred_at.to_rfc3339()));
        changes.extend(self.visible.set(document::WATERMARK_RECEIVED, &watermark.received_at.to_rfc3339()));
    }

    /// The workspace.
    #[must_use]
    pub fn workspace(&self) -> &WorkspaceId {
        &self.workspace
    }

    /// What is shown, by path.
    #[must_use]
    pub fn visible(&self) -> &Visible {
        &self.visible
    }

    /// The root of what is shown.
    #[must_use]
    pub fn root(&self) -> BoardRoot {
        self.visible.root()
    }

    /// The watermark; `None` before the first fact.
    #[must_use]
    pub fn watermark(&self) -> Option<Watermark> {
        self.heard.watermark
    }

    /// What was last heard of the provider, for [`Self::restore`].
    #[must_use]
    pub fn heard(&self) -> &Heard {
        &self.heard
    }

    /// Today's counters, as shown.
    #[must_use]
    pub fn today(&self) -> Today {
        let day = self.heard.watermark.map_or(0, |watermark| self.settings.day_of(watermark.occurred_at));
        self.calls.today(day, &self.settings)
    }

    /// An agent, as shown.
    #[must_use]
    pub fn agent_card(&self, agent: &AgentId) -> Option<AgentCard> {
        self.agents.get(agent)?.card(agent)
    }

    /// Gives what was touched since the last time, and forgets it.
    pub fn take_touched(&mut self) -> Touched {
        std::mem::take(&mut self.touched)
    }

    /// An agent's memory as text, for [`Self::restore`].
    #[must_use]
    pub fn agent_memory(&self, agent: &AgentId) -> Option<String> {
        // Only maps with keys that are no text can fail here; there are none.
        serde_json::to_string(self.agents.get(agent)?).ok()
    }

    /// A call's memory as text, for [`Self::restore`].
    #[must_use]
    pub fn call_memory(&self, call: &CallId) -> Option<String> {
        serde_json::to_string(self.calls.memory(call)?).ok()
    }

    /// How many agents and calls are remembered.
    #[must_use]
    pub fn remembered(&self) -> (usize, usize) {
        (self.agents.len(), self.calls.len())
    }
}
