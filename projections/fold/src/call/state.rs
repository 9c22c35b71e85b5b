//! What is known of one call: sets and least and greatest elements, so that no order of facts matters.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use helix_schemas::{
    decision::Decision,
    fact::{Body, CallParty, CallSummarised, Decided, Direction, Fact},
    id::FactId,
    names::{AgentId, CallId, LegId, WorkspaceId},
    time::{OccurredAt, ReceivedAt},
};
use serde::{Deserialize, Serialize};

use super::{CallRow, CallRows, legs::legs, reading::Reading, status};
use crate::settings::Settings;

/// What a call event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum EventKind {
    /// R
    #[serde(rename = "r")]
    Rang,
    /// A
    #[serde(rename = "a")]
    Answered,
    /// E
    #[serde(rename = "e")]
    Ended,
}

/// What a fact says of the call itself. Shared by the facts that say the same.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Party {
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub(super) direction: Option<Direction>,
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub(super) caller: Option<String>,
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub(super) did: Option<String>,
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub(super) skill: Option<String>,
    #[serde(rename = "g", default, skip_serializing_if = "Option::is_none")]
    pub(super) campaign: Option<String>,
}

impl Party {
    fn of(party: &CallParty) -> Self {
        Self {
            direction: party.direction,
            caller: party.caller.clone(),
            did: party.did.clone(),
            skill: party.skill.clone(),
            campaign: party.campaign.clone(),
        }
    }

    fn says(&self, party: &CallParty) -> bool {
        self.direction == party.direction
            && self.caller == party.caller
            && self.did == party.did
            && self.skill == party.skill
            && self.campaign == party.campaign
    }
}

/// One R, A or E. Ordered by its moment first: of two bodies under one id the earlier counts, in any order of arrival.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Event {
    pub(super) at: OccurredAt,
    pub(super) kind: EventKind,
    pub(super) leg: Option<LegId>,
    pub(super) agent: Option<AgentId>,
    pub(super) party: Arc<Party>,
    pub(super) hangup_by: Option<String>,
}

/// One link of a summary's chain.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Link {
    #[serde(rename = "a")]
    pub(super) agent: AgentId,
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<String>,
}

/// One summary, ordered by its arrival first: a provider's retry changes nothing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Summary {
    pub(super) received_at: ReceivedAt,
    pub(super) occurred_at: OccurredAt,
    pub(super) party: Arc<Party>,
    pub(super) said: Said,
}

/// What a summary says besides.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Said {
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub(super) answered: Option<bool>,
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub(super) dial_answered: Option<bool>,
    #[serde(rename = "sa", default, skip_serializing_if = "Option::is_none")]
    pub(super) started_at: Option<OccurredAt>,
    #[serde(rename = "aa", default, skip_serializing_if = "Option::is_none")]
    pub(super) answered_at: Option<OccurredAt>,
    #[serde(rename = "ea", default, skip_serializing_if = "Option::is_none")]
    pub(super) ended_at: Option<OccurredAt>,
    #[serde(rename = "cs", default, skip_serializing_if = "Option::is_none")]
    pub(super) call_seconds: Option<i32>,
    #[serde(rename = "ts", default, skip_serializing_if = "Option::is_none")]
    pub(super) talk_seconds: Option<i32>,
    #[serde(rename = "hs", default, skip_serializing_if = "Option::is_none")]
    pub(super) hold_seconds: Option<i32>,
    #[serde(rename = "ws", default, skip_serializing_if = "Option::is_none")]
    pub(super) wrap_up_seconds: Option<i32>,
    #[serde(rename = "l", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) chain: Vec<Link>,
    #[serde(rename = "di", default, skip_serializing_if = "Option::is_none")]
    pub(super) disposition: Option<String>,
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    pub(super) hangup_by: Option<String>,
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub(super) recording_url: Option<String>,
}

impl Said {
    fn of(summary: &CallSummarised) -> Self {
        let link = |link: &helix_schemas::fact::ChainedAgent| {
            Some(Link { agent: link.agent.clone()?, status: link.status.clone() })
        };
        Self {
            answered: summary.answered,
            dial_answered: summary.dial_status.as_deref().and_then(status::dial_answered),
            started_at: summary.started_at,
            answered_at: summary.answered_at,
            ended_at: summary.ended_at,
            call_seconds: summary.call_seconds,
            talk_seconds: summary.talk_seconds,
            hold_seconds: summary.hold_seconds,
            wrap_up_seconds: summary.wrap_up_seconds,
            chain: summary.agents.iter().filter_map(link).collect(),
            disposition: summary.disposition.clone(),
            hangup_by: summary.hangup_by.clone(),
            recording_url: summary.recording_url.clone(),
        }
    }
}

/// Who holds a missed call.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// Since when.
    pub at: OccurredAt,
    /// Who.
    pub by: String,
}

/// What a person did about who holds a missed call. Ordered so that of two bodies under one id always the same counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Holding {
    /// Gave it back: the claim that holds since that moment, or whichever holds where none is named.
    Released(Option<OccurredAt>),
    /// Took it: by whom.
    Claimed(String),
}

/// Who closed a missed call without reaching the caller. Ordered by its moment first: the earliest counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Waive {
    /// When.
    #[serde(rename = "t")]
    pub at: OccurredAt,
    /// Who.
    #[serde(rename = "b")]
    pub by: String,
    /// Why; empty where nothing was said.
    #[serde(rename = "r", default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// What people did about a missed call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Handling {
    /// Who holds it now.
    pub claim: Option<Claim>,
    /// Who waived it.
    pub waive: Option<Waive>,
}

/// Everything that is known of one call.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct CallState {
    /// R, A and E by id.
    pub(super) events: BTreeMap<FactId, Event>,
    /// S by id.
    pub(super) summaries: BTreeMap<FactId, Summary>,
    /// The latest moment at which the call was presumed to have ended.
    pub(super) presumed_ended: Option<OccurredAt>,
    /// Claims and releases in their order.
    pub(super) claims: BTreeMap<(OccurredAt, FactId), Holding>,
    /// The earliest waive.
    pub(super) waive: Option<Waive>,
}

impl std::fmt::Debug for CallState {
    /// Counts only: the facts carry a caller's number.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallState")
            .field("events", &self.events.len())
            .field("summaries", &self.summaries.len())
            .field("presumed_ended", &self.presumed_ended)
            .field("claims", &self.claims.len())
            .finish_non_exhaustive()
    }
}

impl CallState {
    /// Whether a fact says something of a call. [`Self::apply`] ignores all others.
    #[must_use]
    pub fn concerns(fact: &Fact) -> bool {
        fact.call.is_some()
            && match &fact.body {
                Body::CallRang(_) | Body::CallAnswered(_) | Body::CallEnded(_) | Body::CallSummarised(_) => true,
                Body::Decided(decided) => Decision::from_word(&decided.decision).is_some_and(Decision::is_of_call),
                Body::AgentStateChanged(_) | Body::DirectoryChanged(_) | Body::Unknown(_) => false,
            }
    }

    /// Joins a fact of this call; tells whether anything was learnt.
    pub fn apply(&mut self, fact: &Fact) -> bool {
        match &fact.body {
            Body::CallRang(rang) => self.event(fact, EventKind::Rang, &rang.party, None),
            Body::CallAnswered(answered) => self.event(fact, EventKind::Answered, &answered.party, None),
            Body::CallEnded(ended) => self.event(fact, EventKind::Ended, &ended.party, ended.hangup_by.as_ref()),
            Body::CallSummarised(summary) => {
                let told = Summary {
                    received_at: fact.received_at,
                    occurred_at: fact.occurred_at,
                    party: self.shared(&summary.party),
                    said: Said::of(summary),
                };
                keep_least(&mut self.summaries, fact.id, told)
            }
            Body::Decided(decided) => self.decided(fact, decided),
            Body::AgentStateChanged(_) | Body::DirectoryChanged(_) | Body::Unknown(_) => false,
        }
    }

    fn event(&mut self, fact: &Fact, kind: EventKind, party: &CallParty, hangup_by: Option<&String>) -> bool {
        let event = Event {
            at: fact.occurred_at,
            kind,
            leg: fact.leg.clone(),
            agent: fact.agent.clone(),
            party: self.shared(party),
            hangup_by: hangup_by.cloned(),
        };
        keep_least(&mut self.events, fact.id, event)
    }

    /// The party as another fact of this call said it already, if one did: most of them say the same.
    fn shared(&self, party: &CallParty) -> Arc<Party> {
        let mut known =
            self.events.values().map(|event| &event.party).chain(self.summaries.values().map(|summary| &summary.party));
        known.find(|known| known.says(party)).map_or_else(|| Arc::new(Party::of(party)), Arc::clone)
    }

    fn decided(&mut self, fact: &Fact, decided: &Decided) -> bool {
        let at = fact.occurred_at;
        let by = decided.by().map(str::to_owned);
        match Decision::from_word(&decided.decision) {
            Some(Decision::CallPresumedEnded) => {
                let learnt = self.presumed_ended.is_none_or(|known| at > known);
                self.presumed_ended = self.presumed_ended.max(Some(at));
                learnt
            }
            // What a person does is done in a name, or not at all.
            Some(Decision::MissedCallClaimed) => match by {
                Some(by) => self.hold((at, fact.id), Holding::Claimed(by)),
                None => false,
            },
            Some(Decision::MissedCallReleased) => match decided.claimed_at() {
                None => self.hold((at, fact.id), Holding::Released(None)),
                Some(Some(claimed_at)) => self.hold((at, fact.id), Holding::Released(Some(claimed_at))),
                // It names a claim that there cannot be.
                Some(None) => false,
            },
            Some(Decision::MissedCallWaived) => {
                let Some(by) = by else { return false };
                let told = Waive { at, by, reason: decided.reason().unwrap_or_default().to_owned() };
                let learnt = self.waive.as_ref().is_none_or(|known| told < *known);
                if learnt {
                    self.waive = Some(told);
                }
                learnt
            }
            Some(Decision::WrapUpExpired | Decision::AgentPresumedOffline | Decision::SessionClosed) | None => false,
        }
    }

    fn hold(&mut self, rank: (OccurredAt, FactId), told: Holding) -> bool {
        keep_least(&mut self.claims, rank, told)
    }

    /// The row that this state means; `None` while nothing is known of the call but decisions.
    #[must_use]
    pub fn row(&self, workspace: &WorkspaceId, call: &CallId, settings: &Settings) -> Option<CallRow> {
        Reading::of(self).row(workspace, call, settings)
    }

    /// The row and its legs; `None` as for [`Self::row`].
    #[must_use]
    pub fn rows(&self, workspace: &WorkspaceId, call: &CallId, settings: &Settings) -> Option<CallRows> {
        let reading = Reading::of(self);
        let row = reading.row(workspace, call, settings)?;
        let legs = legs(&reading, &row);
        Some(CallRows { row, legs })
    }

    /// What people did about it. A claim on a free obligation takes it, a release frees it of the claim that it names, or of
    /// any: who holds it is who claimed it first since it was last free.
    #[must_use]
    pub fn handling(&self) -> Handling {
        let mut claim: Option<Claim> = None;
        for ((at, _), told) in &self.claims {
            match (told, &claim) {
                (Holding::Claimed(by), None) => claim = Some(Claim { at: *at, by: by.clone() }),
                (Holding::Released(None), Some(_)) => claim = None,
                (Holding::Released(Some(meant)), Some(held)) if held.at == *meant => claim = None,
                (Holding::Claimed(_) | Holding::Released(_), _) => {}
            }
        }
        Handling { claim, waive: self.waive.clone() }
    }
}

/// Keeps the least value of each key; tells whether that is a new one.
fn keep_least<K: Ord, V: Ord>(held: &mut BTreeMap<K, V>, key: K, told: V) -> bool {
    match held.entry(key) {
        Entry::Vacant(place) => {
            place.insert(told);
            true
        }
        Entry::Occupied(mut known) => {
            let less = told < *known.get();
            if less {
                known.insert(told);
            }
            less
        }
    }
}
