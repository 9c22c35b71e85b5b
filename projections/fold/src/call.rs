//! A call: the order-free join of its facts (docs/rules.md, "Calls").
//!
//! [`CallState`] is a join-semilattice: every register keeps a minimum, a maximum, or the value of the highest rank, so
//! applying facts in any order, any number of times and in any cut gives the same state. [`CallState::row`] reads it.

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
/// The rank of what a summary says: by arrival at our edge, a fact's own constant.
pub type SummaryRank = (ReceivedAt, FactId);

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
type OfSummaries<V> = Latest<SummaryRank, V>;

/// What the summaries of a call say, field by field.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Summary {
    occurred_at: OfSummaries<OccurredAt>,
    direction: OfSummaries<String>,
    answered: OfSummaries<bool>,
    started_at: OfSummaries<OccurredAt>,
    answered_at: OfSummaries<OccurredAt>,
    ended_at: OfSummaries<OccurredAt>,
    hold_seconds: OfSummaries<i32>,
    wrap_up_seconds: OfSummaries<i32>,
    agents: OfSummaries<Vec<AgentId>>,
    caller: OfSummaries<String>,
    did: OfSummaries<String>,
    skill: OfSummaries<String>,
    campaign: OfSummaries<String>,
    disposition: OfSummaries<String>,
    hangup_by: OfSummaries<String>,
    recording_url: OfSummaries<String>,
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
    summary: Option<Box<Summary>>,
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
                let held = self.summary.get_or_insert_default();
                held.join((fact.received_at, fact.id), fact.occurred_at, summary);
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
        let summary = self.summary.as_deref();
        let started_at = summary
            .and_then(|held| held.started_at.get().copied())
            .or(self.rang_first)
            .or_else(|| [self.answered_first, self.ended_first].into_iter().flatten().min())
            .or_else(|| summary.and_then(|held| held.occurred_at.get().copied()))?;
        let ringing_known = self.rang_first.is_some() || summary.is_some_and(|held| held.started_at.get().is_some());
        let answered_at = self.answered_at(started_at);
        let ended_at = summary
            .and_then(|held| held.ended_at.get().copied())
            .or(self.ended_last)
            .or_else(|| summary.and_then(|held| held.occurred_at.get().copied()));
        let direction =
            self.text(|held| &held.direction, &self.direction).and_then(|word| Direction::try_from(word).ok());
        let outcome = outcome(direction, started_at, answered_at, ended_at, ringing_known, settings);
        Some(CallRow {
            workspace: workspace.clone(),
            call: call.clone(),
            direction,
            outcome,
            caller: self.text(|held| &held.caller, &self.caller),
            did: self.text(|held| &held.did, &self.did),
            campaign: self.text(|held| &held.campaign, &self.campaign),
            skill: self.text(|held| &held.skill, &self.skill),
            agent: self.agent(),
            agents: self.agents(),
            started_at,
            answered_at,
            ended_at,
            wait_seconds: answered_at.or(ended_at).map(|end| end.seconds_since(started_at)),
            talk_seconds: answered_at.zip(ended_at).map(|(answered, ended)| ended.seconds_since(answered)),
            hold_seconds: summary.and_then(|held| held.hold_seconds.get().copied()).map(i64::from),
            wrap_up_seconds: summary.and_then(|held| held.wrap_up_seconds.get().copied()).map(i64::from),
            disposition: summary.and_then(|held| held.disposition.get().cloned()),
            hangup_by: self.text(|held| &held.hangup_by, &self.hangup_by),
            recording_url: summary.and_then(|held| held.recording_url.get().cloned()),
            presumed: false,
        })
    }

    fn answered_at(&self, started_at: OccurredAt) -> Option<OccurredAt> {
        let summary = self.summary.as_deref();
        match summary.and_then(|held| held.answered.get().copied()) {
            Some(true) => summary
                .and_then(|held| held.answered_at.get().copied())
                .or(self.answered_first)
                .or(Some(started_at)),
            Some(false) => None,
            None => self.answered_first,
        }
    }

    /// What the summary says, else what the latest event says.
    fn text(
        &self,
        of_summary: impl Fn(&Summary) -> &OfSummaries<String>,
        of_events: &OfEvents<String>,
    ) -> Option<String> {
        self.summary
            .as_deref()
            .and_then(|held| of_summary(held).get())
            .or_else(|| of_events.get())
            .cloned()
    }

    /// The final handler.
    fn agent(&self) -> Option<AgentId> {
        let chain = self.summary.as_deref().and_then(|held| held.agents.get());
        chain
            .and_then(|agents| agents.last())
            .or_else(|| self.agent_answered.get())
            .or_else(|| self.agent_rang.get())
            .or_else(|| self.agent_ended.get())
            .cloned()
    }

    /// Every agent the call came to: the summary's chain, then the others by their earliest event.
    fn agents(&self) -> Vec<AgentId> {
        let mut agents: Vec<AgentId> = Vec::new();
        if let Some(chain) = self.summary.as_deref().and_then(|held| held.agents.get()) {
            for agent in chain {
                if !agents.contains(agent) {
                    agents.push(agent.clone());
                }
            }
        }
        let mut others: Vec<(&EventRank, &AgentId)> =
            self.agents.iter().filter(|(agent, _)| !agents.contains(agent)).map(|(agent, rank)| (rank, agent)).collect();
        others.sort();
        agents.extend(others.into_iter().map(|(_, agent)| agent.clone()));
        agents
    }
}

impl Summary {
    fn join(&mut self, rank: SummaryRank, occurred_at: OccurredAt, summary: &CallSummarised) {
        self.occurred_at.join(rank, Some(&occurred_at));
        self.direction.join(rank, summary.party.direction.map(String::from).as_ref());
        self.answered.join(rank, summary.answered.as_ref());
        self.started_at.join(rank, summary.started_at.as_ref());
        self.answered_at.join(rank, summary.answered_at.as_ref());
        self.ended_at.join(rank, summary.ended_at.as_ref());
        self.hold_seconds.join(rank, summary.hold_seconds.as_ref());
        self.wrap_up_seconds.join(rank, summary.wrap_up_seconds.as_ref());
        let chain: Vec<AgentId> = summary.agents.iter().filter_map(|link| link.agent.clone()).collect();
        self.agents.join(rank, (!chain.is_empty()).then_some(&chain));
        self.caller.join(rank, summary.party.caller.as_ref());
        self.did.join(rank, summary.party.did.as_ref());
        self.skill.join(rank, summary.party.skill.as_ref());
        self.campaign.join(rank, summary.party.campaign.as_ref());
        self.disposition.join(rank, summary.disposition.as_ref());
        self.hangup_by.join(rank, summary.hangup_by.as_ref());
        self.recording_url.join(rank, summary.recording_url.as_ref());
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
    let Some(ended_at) = ended_at else { return Outcome::InProgress };
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
    pub const ALL: [Self; 5] =
        [Self::InProgress, Self::Answered, Self::Missed, Self::ShortAbandon, Self::NoAnswer];

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
