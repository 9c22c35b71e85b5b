//! An agent's timeline and its state intervals (docs/rules.md, "Agents and their intervals").
//!
//! The timeline is what the facts said, in order of `(occurred_at, arrival)`; intervals are read off it. A late fact
//! corrects history: intervals are computed anew from the last one that a state fact began before it ([`StaleTail`]), so
//! that a store needs to load only the tail. A decision stands on one state fact and falls with the next that comes to
//! light between the two.

use std::collections::BTreeMap;

use helix_schemas::{
    decision::Decision,
    fact::{AgentState, Body, Fact},
    id::FactId,
    names::{AgentId, CallId, WorkspaceId},
    time::OccurredAt,
};
use serde::{Deserialize, Serialize};

use crate::row::{Columns, Row};

/// A touch this many milliseconds before an interval still belongs to it: the provider's agent and call events of one
/// happening can differ by a second or more.
pub const TOUCH_GRACE_MILLIS: i64 = 5_000;

/// Arrival order within the agent's partition: the offset.
pub type Arrival = i64;

/// What one fact adds to its agent's timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When it happened.
    pub at: OccurredAt,
    /// When it came, to order equal seconds.
    pub arrival: Arrival,
    /// The fact, so that a repeat adds nothing.
    pub fact: FactId,
    /// What it says.
    pub says: Says,
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Says {
    /// The agent's state.
    State {
        /// The state.
        state: AgentState,
        /// Why.
        reason: Option<String>,
    },
    /// The agent had a call.
    Touch {
        /// The call.
        call: CallId,
    },
    /// The agent's state by a decision. It holds only while `rests_on` is the last state fact before it.
    Decided {
        /// The state.
        state: AgentState,
        /// Why.
        reason: String,
        /// The state fact it rests on.
        rests_on: FactId,
    },
}

impl Entry {
    /// What this fact adds to the timeline of its agent, if anything.
    #[must_use]
    pub fn of(fact: &Fact, arrival: Arrival) -> Option<(AgentId, Self)> {
        let agent = fact.agent.clone()?;
        let says = match &fact.body {
            Body::AgentStateChanged(changed) => Says::State { state: changed.state.0, reason: changed.reason.clone() },
            Body::Unknown(unknown) if unknown.event == "agent" => {
                Says::State { state: AgentState::Unknown, reason: Some(unknown.word.clone()) }
            }
            Body::CallRang(_) | Body::CallAnswered(_) => Says::Touch { call: fact.call.clone()? },
            Body::Decided(decided) => {
                let (state, reason) = Decision::from_word(&decided.decision)?.agent_state()?;
                Says::Decided { state, reason: reason.to_owned(), rests_on: decided.rests_on()? }
            }
            Body::CallEnded(_) | Body::CallSummarised(_) | Body::DirectoryChanged(_) | Body::Unknown(_) => return None,
        };
        Some((agent, Self { at: fact.occurred_at, arrival, fact: fact.id, says }))
    }

    const fn order(&self) -> (OccurredAt, Arrival) {
        (self.at, self.arrival)
    }
}

/// One state of an agent, from until.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interval {
    /// The state.
    pub state: AgentState,
    /// Why.
    pub reason: Option<String>,
    /// From.
    pub started_at: OccurredAt,
    /// Until; null while it lasts.
    pub ended_at: Option<OccurredAt>,
    /// The call it belongs to.
    pub call: Option<CallId>,
    /// Whether a decision began it.
    pub presumed: bool,
}

/// The part of an agent's intervals that a change makes stale.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StaleTail {
    /// The interval before it, which stands.
    pub before: Option<Interval>,
    /// The intervals to be computed anew, as stored.
    pub stored: Vec<Interval>,
    /// Entries of state are needed from here on, touches from [`TOUCH_GRACE_MILLIS`] earlier; `None`: all of them.
    pub from: Option<OccurredAt>,
}

impl StaleTail {
    /// Splits stored intervals at a change: the last interval that a state fact began before it is the first that is stale,
    /// as it may end earlier or get another call, and as the decisions after it are to be judged anew; what came before it
    /// stands.
    ///
    /// `stored` holds the agent's intervals in order, at least from the second last that began before `changed` and are not
    /// presumed on; all of them where there are no two such.
    #[must_use]
    pub fn of(stored: Vec<Interval>, changed: OccurredAt) -> Self {
        let stands_on = stored.iter().rposition(|interval| interval.started_at < changed && !interval.presumed);
        let mut tail = Self { before: None, stored, from: None };
        if let Some(first) = stands_on {
            let stale = tail.stored.split_off(first);
            tail.before = std::mem::replace(&mut tail.stored, stale).pop();
            tail.from = tail.stored.first().map(|interval| interval.started_at);
        }
        tail
    }
}

/// Reads the intervals off timeline entries (any order; sorted here).
///
/// `before` is the interval just before the first one to compute, where only a [`StaleTail`] is computed: then entries of
/// state and decisions from its `from` on are given, and touches that may reach back [`TOUCH_GRACE_MILLIS`].
#[must_use]
pub fn intervals(before: Option<&Interval>, entries: &[Entry]) -> Vec<Interval> {
    intervals_after(before, None, entries)
}

/// As [`intervals`], where the last state fact before the entries is known: decisions may rest on it.
pub(crate) fn intervals_after(
    before: Option<&Interval>,
    last_state: Option<FactId>,
    entries: &[Entry],
) -> Vec<Interval> {
    let mut sorted: Vec<&Entry> = entries.iter().collect();
    sorted.sort_by_key(|entry| entry.order());
    let mut found: Vec<Interval> = Vec::new();
    let openings = openings(last_state, &sorted);
    for (opening, following) in openings.iter().zip(openings.iter().skip(1).map(Some).chain([None])) {
        if following.is_some_and(|following| following.at == opening.at) {
            continue;
        }
        if found.last().or(before).is_some_and(|last| opening.repeats(last)) {
            continue;
        }
        if let Some(last) = found.last_mut() {
            last.ended_at = Some(opening.at);
        }
        found.push(opening.interval());
    }
    assign_calls(before, &mut found, &sorted);
    found
}

/// What may open an interval.
struct Opening<'a> {
    at: OccurredAt,
    state: AgentState,
    reason: Option<&'a str>,
    presumed: bool,
}

impl Opening<'_> {
    /// Says nothing new (rule 2); a word about a call may mean another call.
    fn repeats(&self, last: &Interval) -> bool {
        !self.state.belongs_to_call()
            && last.state == self.state
            && last.reason.as_deref() == self.reason
            && last.presumed == self.presumed
    }

    fn interval(&self) -> Interval {
        Interval {
            state: self.state,
            reason: self.reason.map(str::to_owned),
            started_at: self.at,
            ended_at: None,
            call: None,
            presumed: self.presumed,
        }
    }
}

/// State facts, and the decisions that hold.
fn openings<'a>(last_state: Option<FactId>, sorted: &[&'a Entry]) -> Vec<Opening<'a>> {
    let mut ground = last_state;
    let mut found = Vec::with_capacity(sorted.len());
    for entry in sorted {
        match &entry.says {
            Says::State { state, reason } => {
                ground = Some(entry.fact);
                found.push(Opening { at: entry.at, state: *state, reason: reason.as_deref(), presumed: false });
            }
            Says::Decided { state, reason, rests_on } if ground == Some(*rests_on) => {
                found.push(Opening { at: entry.at, state: *state, reason: Some(reason), presumed: true });
            }
            Says::Decided { .. } | Says::Touch { .. } => {}
        }
    }
    found
}

fn assign_calls(before: Option<&Interval>, intervals: &mut [Interval], sorted: &[&Entry]) {
    let touches: Vec<(OccurredAt, &CallId)> = sorted
        .iter()
        .filter_map(|entry| match &entry.says {
            Says::Touch { call } => Some((entry.at, call)),
            Says::State { .. } | Says::Decided { .. } => None,
        })
        .collect();
    let mut previous: Option<(AgentState, Option<CallId>)> =
        before.map(|interval| (interval.state, interval.call.clone()));
    for interval in intervals {
        if interval.state.belongs_to_call() {
            let own = if interval.state.has_call() { own_touch(&touches, interval) } else { None };
            interval.call = own.or_else(|| inherited(previous.as_ref()));
        }
        previous = Some((interval.state, interval.call.clone()));
    }
}

/// The last touch before the interval's end and not earlier than the grace before its start.
fn own_touch(touches: &[(OccurredAt, &CallId)], interval: &Interval) -> Option<CallId> {
    let until = interval.ended_at.map_or(touches.len(), |end| touches.partition_point(|(at, _)| *at < end));
    let (at, call) = touches.get(until.checked_sub(1)?)?;
    let earliest = interval.started_at.millis().saturating_sub(TOUCH_GRACE_MILLIS);
    (at.millis() >= earliest).then(|| (*call).clone())
}

fn inherited(previous: Option<&(AgentState, Option<CallId>)>) -> Option<CallId> {
    match previous {
        Some((state, call)) if state.belongs_to_call() => call.clone(),
        Some(_) | None => None,
    }
}

/// A text that is only known from some of an agent's facts: the latest non-empty one counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register(Option<(OccurredAt, Arrival, String)>);

impl Register {
    /// Takes a value, unless a later one is known.
    pub fn join(&mut self, at: OccurredAt, arrival: Arrival, value: Option<&String>) {
        let Some(value) = value else { return };
        let newer =
            self.0.as_ref().is_none_or(|(known_at, known_arrival, _)| (at, arrival) > (*known_at, *known_arrival));
        if newer {
            self.0 = Some((at, arrival, value.clone()));
        }
    }

    /// The value.
    #[must_use]
    pub fn get(&self) -> Option<&String> {
        self.0.as_ref().map(|(_, _, value)| value)
    }
}

/// What an agent's facts say besides states: its name and mode.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registers {
    /// Display name (personal data).
    pub name: Register,
    /// Mode, as sent.
    pub mode: Register,
}

impl Registers {
    /// Takes what a fact of this agent says.
    pub fn join(&mut self, fact: &Fact, arrival: Arrival) {
        let (name, mode) = match &fact.body {
            Body::AgentStateChanged(changed) => (changed.agent_name.as_ref(), changed.mode.as_ref()),
            Body::Unknown(unknown) if unknown.event == "agent" => (unknown.agent_name.as_ref(), unknown.mode.as_ref()),
            Body::CallRang(_)
            | Body::CallAnswered(_)
            | Body::CallEnded(_)
            | Body::CallSummarised(_)
            | Body::DirectoryChanged(_)
            | Body::Decided(_)
            | Body::Unknown(_) => return,
        };
        self.name.join(fact.occurred_at, arrival, name);
        self.mode.join(fact.occurred_at, arrival, mode);
    }
}

/// The fold of one agent, in memory.
#[derive(Debug, Clone, Default)]
pub struct AgentFold {
    entries: BTreeMap<(OccurredAt, Arrival, FactId), Says>,
    facts: std::collections::BTreeSet<FactId>,
    registers: Registers,
}

impl AgentFold {
    /// Takes a fact of this agent; a repeat changes nothing.
    pub fn apply(&mut self, fact: &Fact, arrival: Arrival) {
        let Some((_, entry)) = Entry::of(fact, arrival) else {
            return;
        };
        if self.facts.insert(entry.fact) {
            self.entries.insert((entry.at, entry.arrival, entry.fact), entry.says);
            self.registers.join(fact, arrival);
        }
    }

    /// Its timeline, in order.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        let entry = |((at, arrival, fact), says): (&(OccurredAt, Arrival, FactId), &Says)| Entry {
            at: *at,
            arrival: *arrival,
            fact: *fact,
            says: says.clone(),
        };
        self.entries.iter().map(entry)
    }

    /// Its name and mode.
    #[must_use]
    pub const fn registers(&self) -> &Registers {
        &self.registers
    }

    /// Its intervals, in order.
    #[must_use]
    pub fn intervals(&self) -> Vec<Interval> {
        let entries: Vec<Entry> = self.entries().collect();
        intervals(None, &entries)
    }

    /// Its row of `read.agents`, from the last of `intervals`; `None` while no state is known.
    #[must_use]
    pub fn row(&self, workspace: &WorkspaceId, agent: &AgentId, intervals: &[Interval]) -> Option<AgentRow> {
        AgentRow::of(workspace, agent, intervals.last()?, &self.registers)
    }
}

/// A row of `read.agents`: the agent's present.
#[derive(Clone, PartialEq, Eq)]
pub struct AgentRow {
    /// The hospital.
    pub workspace: WorkspaceId,
    /// The agent.
    pub agent: AgentId,
    /// Display name (personal data).
    pub name: Option<String>,
    /// The state.
    pub state: AgentState,
    /// Since when.
    pub since: OccurredAt,
    /// Why.
    pub reason: Option<String>,
    /// Mode, as sent.
    pub mode: Option<String>,
    /// The call it has.
    pub call: Option<CallId>,
    /// Whether the state rests on a decision.
    pub presumed: bool,
}

impl std::fmt::Debug for AgentRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentRow")
            .field("workspace", &self.workspace)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl AgentRow {
    /// The present of an agent whose last interval is `last`.
    #[must_use]
    pub fn of(workspace: &WorkspaceId, agent: &AgentId, last: &Interval, registers: &Registers) -> Option<Self> {
        Some(Self {
            workspace: workspace.clone(),
            agent: agent.clone(),
            name: registers.name.get().cloned(),
            state: last.state,
            since: last.started_at,
            reason: last.reason.clone(),
            mode: registers.mode.get().cloned(),
            call: last.call.clone(),
            presumed: last.presumed,
        })
    }
}

impl Row for AgentRow {
    const TABLE: &'static str = "agents";

    fn key(&self) -> String {
        self.agent.to_string()
    }

    fn tell<C: Columns>(&self, to: &mut C) {
        to.text("workspace_id", Some(self.workspace.as_str()));
        to.text("agent_id", Some(self.agent.as_str()));
        to.text("name", self.name.as_deref());
        to.text("state", Some(self.state.as_str()));
        to.at("since", Some(self.since));
        to.text("reason", self.reason.as_deref());
        to.text("mode", self.mode.as_deref());
        to.text("call_id", self.call.as_ref().map(CallId::as_str));
        to.truth("presumed", self.presumed);
    }
}

/// A row of `read.agent_intervals`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntervalRow {
    /// The hospital.
    pub workspace: WorkspaceId,
    /// The agent.
    pub agent: AgentId,
    /// The interval.
    pub interval: Interval,
}

impl Row for IntervalRow {
    const TABLE: &'static str = "agent_intervals";

    fn key(&self) -> String {
        format!("{}@{}", self.agent, self.interval.started_at.to_rfc3339())
    }

    fn tell<C: Columns>(&self, to: &mut C) {
        to.text("workspace_id", Some(self.workspace.as_str()));
        to.text("agent_id", Some(self.agent.as_str()));
        to.text("state", Some(self.interval.state.as_str()));
        to.text("reason", self.interval.reason.as_deref());
        to.at("started_at", Some(self.interval.started_at));
        to.at("ended_at", self.interval.ended_at);
        to.text("call_id", self.interval.call.as_ref().map(CallId::as_str));
        to.truth("presumed", self.interval.presumed);
    }
}
