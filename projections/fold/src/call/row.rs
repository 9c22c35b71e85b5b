//! The rows of a call: `read.calls` and `read.call_legs`.

use helix_schemas::{
    fact::Direction,
    names::{AgentId, CallId, LegId, WorkspaceId},
    time::OccurredAt,
};
use serde::{Deserialize, Serialize};

use crate::row::{Columns, Row};

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

/// Where what was said of a call does not fit together. In the order of the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Conflict {
    /// `CallDuration` differs from end - start by more than a second.
    CallSeconds,
    /// The end lies before the start.
    EndedBeforeStart,
    /// `Status` says that nobody answered and an agent did, or says answered and `DialStatus` says not.
    Status,
    /// `Duration` differs from end - answer by more than a second.
    TalkSeconds,
}

impl Conflict {
    /// Every conflict.
    pub const ALL: [Self; 4] = [Self::CallSeconds, Self::EndedBeforeStart, Self::Status, Self::TalkSeconds];

    /// The word in SQL and HTTP.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CallSeconds => "call_seconds",
            Self::EndedBeforeStart => "ended_before_start",
            Self::Status => "status",
            Self::TalkSeconds => "talk_seconds",
        }
    }

    /// The conflict of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|conflict| conflict.as_str() == word)
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
    /// What does not fit together, sorted.
    pub conflicts: Vec<Conflict>,
    /// `CallDuration`, as the summary says.
    pub call_seconds_sent: Option<i64>,
    /// `Duration`, as the summary says.
    pub talk_seconds_sent: Option<i64>,
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

    fn tell<C: Columns>(&self, to: &mut C) {
        to.text("workspace_id", Some(self.workspace.as_str()));
        to.text("call_id", Some(self.call.as_str()));
        to.text("direction", self.direction.map(Direction::as_str));
        to.text("outcome", Some(self.outcome.as_str()));
        to.text("caller", self.caller.as_deref());
        to.text("did", self.did.as_deref());
        to.text("campaign", self.campaign.as_deref());
        to.text("skill", self.skill.as_deref());
        to.text("agent_id", self.agent.as_ref().map(AgentId::as_str));
        to.texts("agent_ids", self.agents.iter().map(AgentId::as_str));
        to.at("started_at", Some(self.started_at));
        to.at("answered_at", self.answered_at);
        to.at("ended_at", self.ended_at);
        to.int("wait_seconds", self.wait_seconds);
        to.int("talk_seconds", self.talk_seconds);
        to.int("hold_seconds", self.hold_seconds);
        to.int("wrap_up_seconds", self.wrap_up_seconds);
        to.text("disposition", self.disposition.as_deref());
        to.text("hangup_by", self.hangup_by.as_deref());
        to.text("recording_url", self.recording_url.as_deref());
        to.truth("presumed", self.presumed);
        to.texts("conflicts", self.conflicts.iter().map(|conflict| conflict.as_str()));
        to.int("call_seconds_sent", self.call_seconds_sent);
        to.int("talk_seconds_sent", self.talk_seconds_sent);
    }
}

/// What became of one leg of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LegOutcome {
    /// Neither answered nor over.
    InProgress,
    /// Answered, whether over or not.
    Answered,
    /// Over, unanswered.
    Unanswered,
}

impl LegOutcome {
    /// Every outcome.
    pub const ALL: [Self; 3] = [Self::InProgress, Self::Answered, Self::Unanswered];

    /// The word in SQL and HTTP.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Answered => "answered",
            Self::Unanswered => "unanswered",
        }
    }

    /// The outcome of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == word)
    }
}

/// A row of `read.call_legs`: the call at one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallLegRow {
    /// The hospital.
    pub workspace: WorkspaceId,
    /// The call.
    pub call: CallId,
    /// From 1, in the order of the chain.
    pub position: i64,
    /// The provider's id of the leg, where an event names one.
    pub leg: Option<LegId>,
    /// Whom it came to; null where no agent is named.
    pub agent: Option<AgentId>,
    /// `AgentStatus` of the link, as sent.
    pub status: Option<String>,
    /// What became of it.
    pub outcome: LegOutcome,
    /// First ringing; null where the chain alone names it.
    pub started_at: Option<OccurredAt>,
    /// First answer.
    pub answered_at: Option<OccurredAt>,
    /// Last end.
    pub ended_at: Option<OccurredAt>,
    /// Until answered, or until ended.
    pub wait_seconds: Option<i64>,
    /// From answer to end.
    pub talk_seconds: Option<i64>,
    /// Answered, and then another agent's.
    pub transferred: bool,
}

impl Row for CallLegRow {
    const TABLE: &'static str = "call_legs";

    fn key(&self) -> String {
        format!("{}/{}", self.call, self.position)
    }

    fn tell<C: Columns>(&self, to: &mut C) {
        to.text("workspace_id", Some(self.workspace.as_str()));
        to.text("call_id", Some(self.call.as_str()));
        to.int("position", Some(self.position));
        to.text("leg_id", self.leg.as_ref().map(LegId::as_str));
        to.text("agent_id", self.agent.as_ref().map(AgentId::as_str));
        to.text("status", self.status.as_deref());
        to.text("outcome", Some(self.outcome.as_str()));
        to.at("started_at", self.started_at);
        to.at("answered_at", self.answered_at);
        to.at("ended_at", self.ended_at);
        to.int("wait_seconds", self.wait_seconds);
        to.int("talk_seconds", self.talk_seconds);
        to.truth("transferred", self.transferred);
    }
}

/// Everything that is read of one call at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRows {
    /// The call.
    pub row: CallRow,
    /// Its legs, by position.
    pub legs: Vec<CallLegRow>,
}
