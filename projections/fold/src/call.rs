//! A call: the order-free join of its facts (docs/rules.md, "Calls").
//!
//! [`CallState`] is a join-semilattice: every register keeps a minimum, a maximum, the value of the highest rank, or a set,
//! so applying facts in any order, any number of times and in any cut gives the same state. [`CallState::row`] reads it.

use std::collections::BTreeMap;

use helix_schemas::{
    fact::{Body, CallParty, CallSummarised, Direction, Fact},
    id::FactId,
    names::{AgentId, CallId, WorkspaceId},
    time::{OccurredAt, ReceivedAt},
};
use serde::{Deserialize, Serialize};

use crate::{
    row::{Cell, Row},
    settings::Settings,
};

/// The rank of what an event says: later events outrank earlier ones.
pub type EventRank = (OccurredAt, FactId);

/// A register that keeps the value of the highest rank; equal ranks are decided by the value, so order never matters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct Latest<R: Ord, V: Ord>(Option<(R, V)>);

impl<R: Ord, V: Ord> Default for Latest<R, V> {
    fn default() -> Self {
        Self(None)
    }
}

impl<R: Ord + Copy, V: Ord + Clone> Latest<R, V> {
    fn join(&mut self, rank: R, value: Option<&V>) {
        let Some(value) = value else { return };
        let replaces = self.0.as_ref().is_none_or(|(known, held)| (&rank, value) > (known, held));
        if replaces {
            self.0 = Some((rank, value.clone()));
        }
    }

    fn get(&self) -> Option<&V> {
        self.0.as_ref().map(|(_, value)| value)
    }
}

fn earliest(held: &mut Option<OccurredAt>, at: OccurredAt) {
    *held = Some(held.map_or(at, |known| known.min(at)));
}

fn latest(held: &mut Option<OccurredAt>, at: OccurredAt) {
    *held = Some(held.map_or(at, |known| known.max(at)));
}

type OfEvents<V> = Latest<EventRank, V>;

/// What one summary says. Ordered, so that two bodies under one id are decided alike in any order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Summary {
    received_at: ReceivedAt,
    occurred_at: OccurredAt,
    direction: Option<String>,
    answered: Option<bool>,
    started_at: Option<OccurredAt>,
    answered_at: Option<OccurredAt>,
    ended_at: Option<OccurredAt>,
    hold_seconds: Option<i32>,
    wrap_up_seconds: Option<i32>,
    agents: Vec<AgentId>,
    caller: Option<String>,
    did: Option<String>,
    skill: Option<String>,
    campaign: Option<String>,
    disposition: Option<String>,
    hangup_by: Option<String>,
    recording_url: Option<String>,
}

impl Summary {
    fn of(fact: &Fact, summary: &CallSummarised) -> Self {
        Self {
            received_at: fact.received_at,
            occurred_at: fact.occurred_at,
            direction: summary.party.direction.map(String::from),
            answered: summary.answered,
            started_at: summary.started_at,
            answered_at: summary.answered_at,
            ended_at: summary.ended_at,
            hold_seconds: summary.hold_seconds,
            wrap_up_seconds: summary.wrap_up_seconds,
            agents: summary.agents.iter().filter_map(|link| link.agent.clone()).collect(),
            caller: summary.party.caller.clone(),
            did: summary.party.did.clone(),
            skill: summary.party.skill.clone(),
            campaign: summary.party.campaign.clone(),
            disposition: summary.disposition.clone(),
            hangup_by: summary.hangup_by.clone(),
            recording_url: summary.recording_url.clone(),
        }
    }
}

/// Everything that is known of one call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallState {
    rang_first: Option<OccurredAt>,
    answered_first: Option<OccurredAt>,
    ended_first: Option<OccurredAt>,
    ended_last: Option<OccurredAt>,
    direction: OfEvents<String>,
    caller: OfEvents<String>,
    did: OfEvents<String>,
    skill: OfEvents<String>,
    campaign: OfEvents<String>,
    hangup_by: OfEvents<String>,
    agent_answered: OfEvents<AgentId>,
    agent_rang: OfEvents<AgentId>,
    agent_ended: OfEvents<AgentId>,
    agents: BTreeMap<AgentId, EventRank>,
    /// Each summary by its id, as it first arrived: a provider's retry changes nothing.
    summaries: BTreeMap<FactId, Summary>,
}

impl CallState {
    /// Whether a fact says something of a call. [`Self::apply`] ignores all others.
    #[must_use]
    pub fn concerns(fact: &Fact) -> bool {
        fact.call.is_some()
            && match fact.body {
                Body::CallRang(_) | Body::CallAnswered(_) | Body::CallEnded(_) | Body::CallSummarised(_) => true,
                Body::AgentStateChanged(_) | Body::DirectoryChanged(_) | Body::Decided(_) | Body::Unknown(_) => false,
            }
    }

    /// Joins a fact of this call.
    pub fn apply(&mut self, fact: &Fact) {
        let rank = (fact.occurred_at, fact.id);
        match &fact.body {
            Body::CallRang(rang) => {
                earliest(&mut self.rang_first, fact.occurred_at);
                self.agent_rang.join(rank, fact.agent.as_ref());
                self.event(rank, fact.agent.as_ref(), &rang.party);
            }
            Body::CallAnswered(answered) => {
                earliest(&mut self.answered_first, fact.occurred_at);
                self.agent_answered.join(rank, fact.agent.as_ref());
                self.event(rank, fact.agent.as_ref(), &answered.party);
            }
            Body::CallEnded(ended) => {
                earliest(&mut self.ended_first, fact.occurred_at);
                latest(&mut self.ended_last, fact.occurred_at);
                self.agent_ended.join(rank, fact.agent.as_ref());
                self.hangup_by.join(rank, ended.hangup_by.as_ref());
                self.event(rank, fact.agent.as_ref(), &ended.party);
            }
            Body::CallSummarised(summary) => {
                let told = Summary::of(fact, summary);
                let first = self.summaries.entry(fact.id).or_insert_with(|| told.clone());
                if told < *first {
                    *first = told;
                }
            }
            Body::AgentStateChanged(_) | Body::DirectoryChanged(_) | Body::Decided(_) | Body::Unknown(_) => {}
        }
    }

    fn event(&mut self, rank: EventRank, agent: Option<&AgentId>, party: &CallParty) {
        self.direction.join(rank, party.direction.map(String::from).as_ref());
        self.caller.join(rank, party.caller.as_ref());
        self.did.join(rank, party.did.as_ref());
        self.skill.join(rank, party.skill.as_ref());
        self.campaign.join(rank, party.campaign.as_ref());
        if let Some(agent) = agent {
            match self.agents.get_mut(agent) {
                Some(first) => *first = (*first).min(rank),
                None => {
                    self.agents.insert(agent.clone(), rank);
                }
            }
        }
    }

    /// The row that this state means; `None` while nothing is known of the call.
    #[must_use]
    pub fn row(&self, workspace: &WorkspaceId, call: &CallId, settings: &Settings) -> Option<CallRow> {
        let summary_at = self.says(|summary| Some(summary.occurred_at));
        let summary_started_at = self.says(|summary| summary.started_at);
        let started_at = summary_started_at
            .or(self.rang_first)
            .or_else(|| [self.answered_first, self.ended_first].into_iter().flatten().min())
            .or(summary_at)?;
        let ringing_known = self.rang_first.is_some() || summary_started_at.is_some();
        let answered_at = self.answered_at(started_at);
        let ended_at = self.says(|summary| summary.ended_at).or(self.ended_last).or(summary_at);
        let direction =
            self.text(|summary| &summary.direction, &self.direction).and_then(|word| Direction::try_from(word).ok());
        let outcome = outcome(direction, started_at, answered_at, ended_at, ringing_known, settings);
        Some(CallRow {
            workspace: workspace.clone(),
            call: call.clone(),
            direction,
            outcome,
            caller: self.text(|summary| &summary.caller, &self.caller),
            did: self.text(|summary| &summary.did, &self.did),
            campaign: self.text(|summary| &summary.campaign, &self.campaign),
            skill: self.text(|summary| &summary.skill, &self.skill),
            agent: self.agent(),
            agents: self.agents(),
            started_at,
            answered_at,
            ended_at,
            wait_seconds: answered_at.or(ended_at).map(|end| end.seconds_since(started_at)),
            talk_seconds: answered_at.zip(ended_at).map(|(answered, ended)| ended.seconds_since(answered)),
            hold_seconds: self.says(|summary| summary.hold_seconds).map(i64::from),
            wrap_up_seconds: self.says(|summary| summary.wrap_up_seconds).map(i64::from),
            disposition: self.says(|summary| summary.disposition.clone()),
            hangup_by: self.text(|summary| &summary.hangup_by, &self.hangup_by),
            recording_url: self.says(|summary| summary.recording_url.clone()),
            presumed: false,
        })
    }

    /// The latest summary that says something, by its first arrival.
    fn says<T>(&self, what: impl Fn(&Summary) -> Option<T>) -> Option<T> {
        let ranked =
            self.summaries.iter().filter_map(|(id, summary)| Some(((summary.received_at, *id), what(summary)?)));
        ranked.max_by_key(|(rank, _)| *rank).map(|(_, value)| value)
    }

    fn answered_at(&self, started_at: OccurredAt) -> Option<OccurredAt> {
        match self.says(|summary| summary.answered) {
            Some(true) => self.says(|summary| summary.answered_at).or(self.answered_first).or(Some(started_at)),
            Some(false) => None,
            None => self.answered_first,
        }
    }

    /// What the summaries say, else what the latest event says.
    fn text(&self, of_summary: impl Fn(&Summary) -> &Option<String>, of_events: &OfEvents<String>) -> Option<String> {
        self.says(|summary| of_summary(summary).clone()).or_else(|| of_events.get().cloned())
    }

    /// The summaries' chain of agents; empty where none names any.
    fn chain(&self) -> Vec<AgentId> {
        self.says(|summary| (!summary.agents.is_empty()).then(|| summary.agents.clone())).unwrap_or_default()
    }

    /// The final handler.
    fn agent(&self) -> Option<AgentId> {
        let others = [&self.agent_answered, &self.agent_rang, &self.agent_ended];
        self.chain().pop().or_else(|| others.into_iter().find_map(|register| register.get().cloned()))
    }

    /// Every agent the call came to: the summary's chain, then the others by their earliest event.
    fn agents(&self) -> Vec<AgentId> {
        let mut agents: Vec<AgentId> = Vec::new();
        for agent in self.chain() {
            if !agents.contains(&agent) {
                agents.push(agent);
            }
        }
        let mut others: Vec<(&EventRank, &AgentId)> = self
            .agents
            .iter()
            .filter(|(agent, _)| !agents.contains(agent))
            .map(|(agent, rank)| (rank, agent))
            .collect();
        others.sort();
        agents.extend(others.into_iter().map(|(_, agent)| agent.clone()));
        agents
    }
}

fn outcome(
    direction: Option<Direction>,
    started_at: OccurredAt,
    answered_at: Option<OccurredAt>,
    ended_at: Option<OccurredAt>,
    ringing_known: bool,
    settings: &Settings,
) -> Outcome {
    let Some(ended_at) = ended_at else {
        return Outcome::InProgress;
    };
    match (direction, answered_at) {
        (_, Some(_)) => Outcome::Answered,
        (Some(Direction::Outbound), None) => Outcome::NoAnswer,
        (Some(Direction::Inbound) | None, None) => {
            let short = ringing_known && ended_at.seconds_since(started_at) <= settings.short_abandon_seconds;
            if short { Outcome::ShortAbandon } else { Outcome::Missed }
        }
    }
}

/// What became of a call (contract.md, Postgres).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Not ended yet, answered or not.
    InProgress,
    /// Ended, with an agent's answer.
    Answered,
    /// Inbound, ended unanswered.
    Missed,
    /// Inbound, ended unanswered within the short-abandon bound of ringing.
    ShortAbandon,
    /// Outbound, ended unanswered.
    NoAnswer,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 5] = [Self::InProgress, Self::Answered, Self::Missed, Self::ShortAbandon, Self::NoAnswer];

    /// The word in SQL and HTTP.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Answered => "answered",
            Self::Missed => "missed",
            Self::ShortAbandon => "short_abandon",
            Self::NoAnswer => "no_answer",
        }
    }

    /// The outcome of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == word)
    }
}

/// A row of `read.calls`.
#[derive(Clone, PartialEq, Eq)]
pub struct CallRow {
    /// The hospital.
    pub workspace: WorkspaceId,
    /// The call.
    pub call: CallId,
    /// Null where no fact says it.
    pub direction: Option<Direction>,
    /// What became of it.
    pub outcome: Outcome,
    /// The customer's number (personal data).
    pub caller: Option<String>,
    /// The number dialled in.
    pub did: Option<String>,
    /// The campaign.
    pub campaign: Option<String>,
    /// The skill it was routed through: its queue.
    pub skill: Option<String>,
    /// The final handler.
    pub agent: Option<AgentId>,
    /// Every agent it came to, in order.
    pub agents: Vec<AgentId>,
    /// First ringing.
    pub started_at: OccurredAt,
    /// First answer.
    pub answered_at: Option<OccurredAt>,
    /// Last end.
    pub ended_at: Option<OccurredAt>,
    /// Until answered, or until ended.
    pub wait_seconds: Option<i64>,
    /// From answer to end.
    pub talk_seconds: Option<i64>,
    /// As the summary says.
    pub hold_seconds: Option<i64>,
    /// As the summary says.
    pub wrap_up_seconds: Option<i64>,
    /// As the summary says.
    pub disposition: Option<String>,
    /// Who hung up.
    pub hangup_by: Option<String>,
    /// As the summary says.
    pub recording_url: Option<String>,
    /// Whether its end rests on a decision alone.
    pub presumed: bool,
}

impl std::fmt::Debug for CallRow {
    /// Coordinates only: the row carries a caller's number.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallRow")
            .field("workspace", &self.workspace)
            .field("call", &self.call)
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

impl CallRow {
    /// Inbound, or of a direction nobody told: it counts as offered.
    #[must_use]
    pub const fn counts_as_inbound(&self) -> bool {
        !matches!(self.direction, Some(Direction::Outbound))
    }

    /// Whether it opens a missed-call obligation.
    #[must_use]
    pub const fn is_missed(&self) -> bool {
        matches!(self.outcome, Outcome::Missed | Outcome::ShortAbandon)
    }
}

impl Row for CallRow {
    const TABLE: &'static str = "calls";

    fn key(&self) -> String {
        self.call.to_string()
    }

    fn columns(&self) -> Vec<(&'static str, Cell)> {
        vec![
            ("workspace_id", Cell::Text(self.workspace.to_string())),
            ("call_id", Cell::Text(self.call.to_string())),
            ("direction", Cell::text(self.direction.map(Direction::as_str))),
            ("outcome", Cell::Text(self.outcome.as_str().to_owned())),
            ("caller", Cell::text(self.caller.as_deref())),
            ("did", Cell::text(self.did.as_deref())),
            ("campaign", Cell::text(self.campaign.as_deref())),
            ("skill", Cell::text(self.skill.as_deref())),
            ("agent_id", Cell::text(self.agent.as_ref().map(AgentId::as_str))),
            ("agent_ids", Cell::Texts(self.agents.iter().map(ToString::to_string).collect())),
            ("started_at", Cell::At(self.started_at)),
            ("answered_at", Cell::at(self.answered_at)),
            ("ended_at", Cell::at(self.ended_at)),
            ("wait_seconds", Cell::int(self.wait_seconds)),
            ("talk_seconds", Cell::int(self.talk_seconds)),
            ("hold_seconds", Cell::int(self.hold_seconds)),
            ("wrap_up_seconds", Cell::int(self.wrap_up_seconds)),
            ("disposition", Cell::text(self.disposition.as_deref())),
            ("hangup_by", Cell::text(self.hangup_by.as_deref())),
            ("recording_url", Cell::text(self.recording_url.as_deref())),
            ("presumed", Cell::Bool(self.presumed)),
        ]
    }
}
