//! All of one workspace in memory: what replay and `helix audit verify` compare the stored rows with.

use std::collections::BTreeMap;

use helix_schemas::{
    fact::Fact,
    names::{AgentId, CallId, WorkspaceId},
};

use crate::{
    agent::{AgentFold, AgentRow, Arrival, IntervalRow},
    books::{Books, QueueDayRow},
    call::{CallLegRow, CallRow, CallRows, CallState},
    missed::{CallerCall, MissedCallRow, obligations},
    root::Root,
    settings::Settings,
};

/// The fold of one workspace.
#[derive(Debug, Clone)]
pub struct WorkspaceFold {
    workspace: WorkspaceId,
    settings: Settings,
    agents: BTreeMap<AgentId, AgentFold>,
    calls: BTreeMap<CallId, CallState>,
}

/// Every row that a workspace's facts mean, sorted by key.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// `read.agents`
    pub agents: Vec<AgentRow>,
    /// `read.agent_intervals`
    pub intervals: Vec<IntervalRow>,
    /// `read.calls`
    pub calls: Vec<CallRow>,
    /// `read.call_legs`
    pub legs: Vec<CallLegRow>,
    /// `read.missed_calls`
    pub missed_calls: Vec<MissedCallRow>,
    /// `read.queue_days`
    pub queue_days: Vec<QueueDayRow>,
}

impl WorkspaceFold {
    /// Nothing yet.
    #[must_use]
    pub fn new(workspace: WorkspaceId, settings: Settings) -> Self {
        Self { workspace, settings, agents: BTreeMap::new(), calls: BTreeMap::new() }
    }

    /// Takes the next fact. `arrival` orders facts of one agent: their offset. Facts of other workspaces are none of this
    /// fold's.
    pub fn apply(&mut self, fact: &Fact, arrival: Arrival) {
        if fact.workspace != self.workspace {
            return;
        }
        if let Some(agent) = &fact.agent {
            self.agents.entry(agent.clone()).or_default().apply(fact, arrival);
        }
        if CallState::concerns(fact)
            && let Some(call) = &fact.call
        {
            self.calls.entry(call.clone()).or_default().apply(fact);
        }
    }

    /// The workspace.
    #[must_use]
    pub const fn workspace(&self) -> &WorkspaceId {
        &self.workspace
    }

    /// Every agent that a fact names, with what is known of it.
    pub fn agents(&self) -> impl Iterator<Item = (&AgentId, &AgentFold)> {
        self.agents.iter()
    }

    /// Every call that a fact names, with what is known of it.
    pub fn calls(&self) -> impl Iterator<Item = (&CallId, &CallState)> {
        self.calls.iter()
    }

    /// Reads all rows.
    #[must_use]
    pub fn rows(&self) -> Rows {
        let mut rows = Rows::default();
        for (agent, fold) in &self.agents {
            let intervals = fold.intervals();
            rows.agents.extend(fold.row(&self.workspace, agent, &intervals));
            rows.intervals.extend(intervals.into_iter().map(|interval| IntervalRow {
                workspace: self.workspace.clone(),
                agent: agent.clone(),
                interval,
            }));
        }
        let mut by_caller: BTreeMap<String, Vec<CallerCall>> = BTreeMap::new();
        let mut books = Books::default();
        for (call, state) in &self.calls {
            let Some(CallRows { row, legs }) = state.rows(&self.workspace, call, &self.settings) else {
                continue;
            };
            let of_caller = CallerCall::of(state, &row);
            match row.caller.as_deref().and_then(|caller| self.settings.caller_key(caller)) {
                Some(key) => by_caller.entry(key).or_default().push(of_caller),
                None => rows.missed_calls.extend(self.obligations(&[of_caller])),
            }
            books.enter(&row, &self.settings);
            rows.calls.push(row);
            rows.legs.extend(legs);
        }
        for calls in by_caller.into_values() {
            rows.missed_calls.extend(self.obligations(&calls));
        }
        rows.missed_calls.sort_by(|one, other| one.call.cmp(&other.call));
        rows.queue_days = books.rows(&self.workspace);
        rows
    }

    fn obligations(&self, calls: &[CallerCall]) -> Vec<MissedCallRow> {
        obligations(&self.workspace, calls, &self.settings.rules)
    }
}

impl Rows {
    /// The root of all of them.
    #[must_use]
    pub fn root(&self) -> Root {
        let mut root = Root::default();
        self.agents.iter().for_each(|row| root.add(row));
        self.intervals.iter().for_each(|row| root.add(row));
        self.calls.iter().for_each(|row| root.add(row));
        self.legs.iter().for_each(|row| root.add(row));
        self.missed_calls.iter().for_each(|row| root.add(row));
        self.queue_days.iter().for_each(|row| root.add(row));
        root
    }

    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.agents.len()
            + self.intervals.len()
            + self.calls.len()
            + self.legs.len()
            + self.missed_calls.len()
            + self.queue_days.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
