//! Decisions: facts that Helix or a person makes, with their evidence (design.md section 9; docs/rules.md).
//!
//! A decision is a [`Body::Decided`] of provider `helix`. It takes effect at its `occurred_at`, which says nothing of the
//! provider's clock (`occurred_at_from` is `received`). What it rests on is `evidence[0]`. Which of them hold is for the
//! folds to say: a decision is never taken back, it loses its ground.

use std::collections::BTreeMap;

use crate::{
    fact::{AgentState, Body, Decided, Fact, Kind, OccurredAtFrom, Source},
    id::{FactId, NaturalKey},
    names::{AgentId, CallId, WorkspaceId},
    time::{OccurredAt, ReceivedAt},
};

/// The provider of every decision.
pub const PROVIDER: &str = "helix";
/// The version of the rules by which decisions are written.
pub const NORMALISER: i32 = 1;

/// Names of attributes.
pub mod attribute {
    /// Who decided: the person.
    pub const BY: &str = "by";
    /// Why, in the person's words.
    pub const REASON: &str = "reason";
    /// Of a release: since when the claim holds that it gives back, Unix milliseconds.
    pub const CLAIMED_AT: &str = "claimed_at";
    /// What made a call presumed ended: `agent_offline`, `agent_ready`, `too_long`.
    pub const BECAUSE: &str = "because";
    /// The bound that was passed, seconds.
    pub const BOUND_SECONDS: &str = "bound_seconds";
    /// The local day that ended, `YYYY-MM-DD`.
    pub const DAY: &str = "day";
    /// In which role a person acted or looked.
    pub const ROLE: &str = "role";
    /// What a person did, or which list was looked at.
    pub const ACTION: &str = "action";
    /// The call that an action or a look was about, where it was about one.
    pub const ABOUT: &str = "about";
    /// How many records an answer showed.
    pub const COUNT: &str = "count";
}

/// The word of a fact that says what a person did or saw. It is no [`Decision`]: no fold knows it, so no row can rest on it.
pub const AUDITED: &str = "Audited";

/// What is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Decision {
    /// An agent's wrap-up outlived its bound: the agent is ready.
    WrapUpExpired,
    /// An agent was silent for longer than its bound: offline.
    AgentPresumedOffline,
    /// The day ended: the agent is offline.
    SessionClosed,
    /// A call that nobody ended is over.
    CallPresumedEnded,
    /// A person took a missed call.
    MissedCallClaimed,
    /// A person gave it back.
    MissedCallReleased,
    /// A person closed it without reaching the caller.
    MissedCallWaived,
}

impl Decision {
    /// Every decision.
    pub const ALL: [Self; 7] = [
        Self::WrapUpExpired,
        Self::AgentPresumedOffline,
        Self::SessionClosed,
        Self::CallPresumedEnded,
        Self::MissedCallClaimed,
        Self::MissedCallReleased,
        Self::MissedCallWaived,
    ];

    /// The word as stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WrapUpExpired => "WrapUpExpired",
            Self::AgentPresumedOffline => "AgentPresumedOffline",
            Self::SessionClosed => "SessionClosed",
            Self::CallPresumedEnded => "CallPresumedEnded",
            Self::MissedCallClaimed => "MissedCallClaimed",
            Self::MissedCallReleased => "MissedCallReleased",
            Self::MissedCallWaived => "MissedCallWaived",
        }
    }

    /// The decision of that word; `None` for one that this build does not know, which then changes nothing.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|decision| decision.as_str() == word)
    }

    /// What a fact decides, if it is a decision that this build knows.
    #[must_use]
    pub fn of(fact: &Fact) -> Option<(Self, &Decided)> {
        match &fact.body {
            Body::Decided(decided) => Some((Self::from_word(&decided.decision)?, decided)),
            Body::AgentStateChanged(_)
            | Body::CallRang(_)
            | Body::CallAnswered(_)
            | Body::CallEnded(_)
            | Body::CallSummarised(_)
            | Body::DirectoryChanged(_)
            | Body::Unknown(_) => None,
        }
    }

    /// The state and reason that an agent has by this decision; `None` where it is about a call.
    #[must_use]
    pub const fn agent_state(self) -> Option<(AgentState, &'static str)> {
        match self {
            Self::WrapUpExpired => Some((AgentState::Ready, "wrap_up_expired")),
            Self::AgentPresumedOffline => Some((AgentState::Offline, "presumed")),
            Self::SessionClosed => Some((AgentState::Offline, "day_end")),
            Self::CallPresumedEnded | Self::MissedCallClaimed | Self::MissedCallReleased | Self::MissedCallWaived => {
                None
            }
        }
    }

    /// Whether it is about a call.
    #[must_use]
    pub const fn is_of_call(self) -> bool {
        self.agent_state().is_none()
    }
}

impl Decided {
    /// The fact it rests on.
    #[must_use]
    pub fn rests_on(&self) -> Option<FactId> {
        FactId::try_from(self.evidence.first()?.clone()).ok()
    }

    /// Who decided, where a person did; an empty name is none.
    #[must_use]
    pub fn by(&self) -> Option<&str> {
        self.attributes.get(attribute::BY).map(String::as_str).filter(|by| !by.is_empty())
    }

    /// Of a release: which claim it gives back, as since when that one holds, Unix milliseconds. The outer `None` where it
    /// names none, the inner where what it names is no moment.
    #[must_use]
    pub fn claimed_at(&self) -> Option<Option<OccurredAt>> {
        let text = self.attributes.get(attribute::CLAIMED_AT)?;
        Some(text.parse().ok().map(OccurredAt::from_millis))
    }

    /// Why, where a person said so.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.attributes.get(attribute::REASON).map(String::as_str)
    }
}

/// A decision to be written.
#[derive(Debug, Clone)]
pub struct Deciding {
    /// The hospital.
    pub workspace: WorkspaceId,
    /// What is decided.
    pub decision: Decision,
    /// The agent it is about, or whose call it is about.
    pub agent: Option<AgentId>,
    /// The call it is about.
    pub call: Option<CallId>,
    /// When it takes effect, on the provider's clock.
    pub effective_at: OccurredAt,
    /// Our clock.
    pub received_at: ReceivedAt,
    /// The facts it rests on, the one that it stands and falls with first.
    pub evidence: Vec<FactId>,
    /// Everything else; names in [`attribute`].
    pub attributes: BTreeMap<String, String>,
    /// A person's request: makes two equal wishes two facts, and the same request delivered twice one.
    pub request: Option<String>,
    /// Where it came from.
    pub source: Source,
}

impl Deciding {
    /// Its id: the same decision on the same evidence is the same fact, whoever makes it and however often.
    #[must_use]
    pub fn id(&self) -> FactId {
        let ground = self.request.clone().or_else(|| self.evidence.first().map(ToString::to_string));
        NaturalKey::new(PROVIDER, self.workspace.as_str(), Kind::Decided.as_str())
            .field(self.decision.as_str())
            .field(self.agent.as_ref().map_or("", |agent| agent.as_str()))
            .field(self.call.as_ref().map_or("", |call| call.as_str()))
            .field(ground.as_deref().unwrap_or(""))
            .field(&self.effective_at.millis().to_string())
            .id()
    }

    /// The fact. It has no raw bytes: nobody sent it, its body is all there is.
    #[must_use]
    pub fn into_fact(self) -> Fact {
        let id = self.id();
        let body = Decided {
            decision: self.decision.as_str().to_owned(),
            effective_at: Some(self.effective_at),
            evidence: self.evidence.iter().map(ToString::to_string).collect(),
            attributes: self.attributes,
        };
        let fact = of_our_own(id, self.workspace, self.effective_at, self.received_at, body);
        Fact { agent: self.agent, call: self.call, source: self.source, ..fact }
    }
}

/// What a person did or saw, to be written. It names neither an agent nor a call, so that all of a workspace lie under one
/// key, in the order in which they happened.
#[derive(Debug, Clone)]
pub struct Auditing {
    /// The hospital.
    pub workspace: WorkspaceId,
    /// Who.
    pub by: String,
    /// In which role.
    pub role: &'static str,
    /// What was done, or which list was looked at.
    pub action: &'static str,
    /// The call that it was about, where it was about one.
    pub about: Option<CallId>,
    /// How many records the answer showed.
    pub count: usize,
    /// Our clock.
    pub received_at: ReceivedAt,
    /// A random id: two equal looks are two facts, and the same fact written twice is one.
    pub request: String,
    /// Where it came from.
    pub source: Source,
}

impl Auditing {
    /// The fact.
    #[must_use]
    pub fn into_fact(self) -> Fact {
        let at = self.received_at.as_occurred();
        let id = NaturalKey::new(PROVIDER, self.workspace.as_str(), Kind::Decided.as_str())
            .field(AUDITED)
            .field(self.action)
            .field(&self.request)
            .id();
        let told = [
            (attribute::BY, Some(self.by)),
            (attribute::ROLE, Some(self.role.to_owned())),
            (attribute::ACTION, Some(self.action.to_owned())),
            (attribute::ABOUT, self.about.map(|call| call.as_str().to_owned())),
            (attribute::COUNT, Some(self.count.to_string())),
        ];
        let attributes = told.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        let body = Decided { decision: AUDITED.to_owned(), effective_at: Some(at), evidence: Vec::new(), attributes };
        Fact { source: self.source, ..of_our_own(id, self.workspace, at, self.received_at, body) }
    }
}

/// A fact that nobody sent, about no agent and no call.
fn of_our_own(id: FactId, workspace: WorkspaceId, at: OccurredAt, received_at: ReceivedAt, body: Decided) -> Fact {
    Fact {
        id,
        workspace,
        agent: None,
        call: None,
        leg: None,
        provider: PROVIDER.to_owned(),
        kind: Kind::Decided,
        occurred_at: at,
        occurred_at_from: OccurredAtFrom::Received,
        received_at,
        raw: Vec::new(),
        raw_content_type: String::new(),
        source: Source::default(),
        normaliser: NORMALISER,
        body: Body::Decided(body),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deciding() -> Deciding {
        Deciding {
            workspace: WorkspaceId::new("ramaiah").unwrap(),
            decision: Decision::WrapUpExpired,
            agent: AgentId::new("agent.one").ok(),
            call: None,
            effective_at: OccurredAt::from_millis(1_774_310_430_000),
            received_at: ReceivedAt::from_micros(1_774_310_431_000_000),
            evidence: vec![NaturalKey::new("ozonetel", "demo_user", "agent").id()],
            attributes: BTreeMap::from([(attribute::BOUND_SECONDS.to_owned(), "30".to_owned())]),
            request: None,
            source: Source::default(),
        }
    }

    #[test]
    fn every_word_is_read_back_and_a_strange_one_is_none() {
        for decision in Decision::ALL {
            assert_eq!(Decision::from_word(decision.as_str()), Some(decision));
        }
        assert_eq!(Decision::from_word("CallPresumedLost"), None);
    }

    #[test]
    fn the_same_decision_on_the_same_evidence_is_one_fact() {
        let later = Deciding { received_at: ReceivedAt::from_micros(9), ..deciding() };
        assert_eq!(deciding().id(), later.id());
        let other = Deciding { evidence: vec![NaturalKey::new("ozonetel", "demo_user", "call").id()], ..deciding() };
        assert_ne!(deciding().id(), other.id());
        let wish = |request: &str| Deciding { request: Some(request.to_owned()), ..deciding() }.id();
        assert_eq!(wish("a"), wish("a"));
        assert_ne!(wish("a"), wish("b"));
    }

    #[test]
    fn a_decision_is_read_as_it_was_written() {
        let fact = deciding().into_fact();
        assert_eq!(fact.key(), "ramaiah/agent.one");
        let (decision, decided) = Decision::of(&fact).unwrap();
        assert_eq!(decision, Decision::WrapUpExpired);
        assert_eq!(decided.rests_on(), deciding().evidence.first().copied());
        assert_eq!(decision.agent_state(), Some((AgentState::Ready, "wrap_up_expired")));
        assert_eq!(fact.occurred_at_from, OccurredAtFrom::Received);
    }

    #[test]
    fn what_a_person_saw_is_a_fact_of_the_workspace_that_decides_nothing() {
        let auditing = Auditing {
            workspace: WorkspaceId::new("ramaiah").unwrap(),
            by: "asha@ramaiah.example".to_owned(),
            role: "supervisor",
            action: "calls.list",
            about: None,
            count: 20,
            received_at: ReceivedAt::from_micros(1_774_310_431_000_000),
            request: "r1".to_owned(),
            source: Source::default(),
        };
        let again = Auditing { request: "r2".to_owned(), ..auditing.clone() }.into_fact();
        let fact = auditing.into_fact();
        assert_ne!(fact.id, again.id);
        assert_eq!(fact.key(), "ramaiah/-");
        assert!(Decision::of(&fact).is_none());
        let Body::Decided(decided) = &fact.body else { panic!("a decision") };
        assert_eq!(
            (decided.by(), decided.attributes.get(attribute::COUNT).unwrap().as_str()),
            (Some("asha@ramaiah.example"), "20")
        );
        assert!(!decided.attributes.contains_key(attribute::ABOUT));
    }
}
