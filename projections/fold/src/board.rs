//! The board: one workspace's live state for its supervisors, and the deltas that keep a copy of it up to date
//! (docs/rules.md, "Board"; contract.md, "Sidecar").
//!
//! [`Board::apply`] takes a fact and tells what changed. Every engine that shows a board folds with this and nothing
//! else: the live projector, and replay for a past moment. Invariants:
//! - **Any batch cut, any repetition** gives the same board and the same root: changes are whole values, and a change
//!   that changes nothing is not told.
//! - **Partitions may interleave as they like.** An agent's facts lie in one partition and keep their order; what facts
//!   of several partitions share is joined without order (calls, counters, the watermark). Calls are remembered by
//!   the day of their latest fact for one day longer than they are shown, so that what is shown does not depend on
//!   which partition came first, given that the facts of one call lie within a day of each other.
//! - **Work per fact is O(log n)** in agents and calls; the watermark's day moving on costs what it drops.
//!
//! Parts: `agents` (an agent's present), `calls` (calls, counters and obligations), [`visible`] (paths, values, root),
//! [`document`] (the JSON of the contract).

mod agents;
mod calls;
pub mod document;
#[cfg(test)]
mod tests;
pub mod visible;

use std::collections::{BTreeMap, BTreeSet};

use helix_schemas::{
    fact::{Fact, OccurredAtFrom},
    names::{AgentId, CallId, WorkspaceId},
    time::{OccurredAt, ReceivedAt},
};
use serde::{Deserialize, Serialize};

use self::{
    agents::AgentPresent,
    calls::Calls,
    document::{AgentCard, Today},
    visible::{BoardRoot, Change, Visible},
};
use crate::settings::{FURTHEST_AHEAD_MILLIS, Settings};

/// The latest moment any fact of the workspace speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermark {
    /// By the provider's clock.
    pub occurred_at: OccurredAt,
    /// When the fact of that moment first reached us: with it a reader knows what the provider's clock says now.
    pub received_at: ReceivedAt,
}

impl Watermark {
    /// The later of the two; of one moment, what arrived first. No order of facts matters. A fact that carries no time of
    /// the provider's says nothing of the provider's clock, nor does one that lies too far ahead of its arrival.
    fn join(held: &mut Option<Self>, fact: &Fact) {
        let ahead = fact.occurred_at.millis().saturating_sub(fact.received_at.micros().div_euclid(1000));
        if fact.occurred_at_from == OccurredAtFrom::Received || ahead > FURTHEST_AHEAD_MILLIS {
            return;
        }
        let told = Self { occurred_at: fact.occurred_at, received_at: fact.received_at };
        let later = held.is_none_or(|known| {
            told.occurred_at > known.occurred_at
                || (told.occurred_at == known.occurred_at && told.received_at < known.received_at)
        });
        if later {
            *held = Some(told);
        }
    }
}

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
    watermark: Option<Watermark>,
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
            watermark: None,
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
        watermark: Option<Watermark>,
        agents: impl IntoIterator<Item = (AgentId, &'a str)>,
        calls: impl IntoIterator<Item = (CallId, &'a str)>,
    ) -> Result<Self, RestoreError> {
        let mut board = Self::new(workspace, settings);
        board.watermark = watermark;
        for (agent, memory) in agents {
            let present: AgentPresent =
                serde_json::from_str(memory).map_err(|source| RestoreError { what: "an agent", source })?;
            if let Some(card) = present.card(&agent) {
                board.visible.set(&document::agent_path(&agent), &card);
            }
            board.agents.insert(agent, present);
        }
        let mut changes = Vec::new();
        // Without a watermark there is no day to cut by, and calls there may be: decisions move none.
        if let Some(watermark) = watermark {
            board.calls.roll(board.settings.day_of(watermark.occurred_at), &mut board.visible, &mut changes);
        }
        for (call, memory) in calls {
            let state = serde_json::from_str(memory).map_err(|source| RestoreError { what: "a call", source })?;
            board.calls.restore(&board.workspace, &board.settings, &call, state, &mut board.visible);
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
        Watermark::join(&mut self.watermark, fact);
        if let Some(watermark) = self.watermark {
            let dropped = self.calls.roll(self.settings.day_of(watermark.occurred_at), &mut self.visible, &mut changes);
            for call in dropped {
                self.touched.calls.remove(&call);
                self.touched.dropped.insert(call);
            }
        }
        if let Some(agent) = &fact.agent {
            self.agent(agent, fact, &mut changes);
        }
        if let Some(call) = self.calls.apply(&self.workspace, &self.settings, fact, &mut self.visible, &mut changes) {
            self.touched.dropped.remove(&call);
            self.touched.calls.insert(call);
        }
        self.totals(&mut changes);
        changes
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

    /// What is not a list: counters, obligations, the watermark.
    fn totals(&mut self, changes: &mut Vec<Change>) {
        let Some(watermark) = self.watermark else { return };
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
        self.watermark
    }

    /// Today's counters, as shown.
    #[must_use]
    pub fn today(&self) -> Today {
        let day = self.watermark.map_or(0, |watermark| self.settings.day_of(watermark.occurred_at));
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
