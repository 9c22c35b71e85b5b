//! The fact: one thing that happened, with both clocks, its raw bytes and what the normaliser made of them.
//!
//! Field for field the Avro record `helix.telephony.Fact` (`schemas/avro/telephony.facts.v2.avsc`). Fields that later
//! versions add carry `#[serde(default)]`, so that every older stored sample decodes with the newest reader.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    id::FactId,
    names::{AgentId, CallId, LegId, WorkspaceId},
    time::{OccurredAt, ReceivedAt},
};

/// The version of the normaliser that this build carries; stored with each fact. Raised whenever it makes something else of the
/// same bytes. Since 3 the `occurred_at` of a summary that ends before it starts is not taken from the summary.
pub const NORMALISER_VERSION: i32 = 3;

/// One fact of the log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// UUIDv5 of the natural key.
    pub id: FactId,
    /// The hospital.
    pub workspace: WorkspaceId,
    /// The agent it concerns, if any.
    pub agent: Option<AgentId>,
    /// The call it concerns, if any.
    pub call: Option<CallId>,
    /// The leg of that call, if the provider names one.
    pub leg: Option<LegId>,
    /// `ozonetel` or `helix`.
    pub provider: String,
    /// Name of the body's branch.
    pub kind: Kind,
    /// The provider's clock.
    #[serde(deserialize_with = "crate::time::of_a_fact::occurred")]
    pub occurred_at: OccurredAt,
    /// Which field gave `occurred_at`.
    pub occurred_at_from: OccurredAtFrom,
    /// Our clock.
    #[serde(deserialize_with = "crate::time::of_a_fact::received")]
    pub received_at: ReceivedAt,
    /// The bytes as received, secrets removed.
    #[serde(with = "apache_avro::serde::bytes")]
    pub raw: Vec<u8>,
    /// Their content type.
    pub raw_content_type: String,
    /// Where it came in.
    pub source: Source,
    /// Version of the normaliser.
    pub normaliser: i32,
    /// What the normaliser made of `raw`.
    pub body: Body,
}

impl fmt::Debug for Fact {
    /// Coordinates only: raw bytes, numbers and names must not reach a log line by way of `{:?}` (law 9).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fact")
            .field("id", &self.id)
            .field("workspace", &self.workspace)
            .field("kind", &self.kind)
            .field("occurred_at", &self.occurred_at)
            .finish_non_exhaustive()
    }
}

/// What kind of thing happened: the name of the body's branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Kind {
    /// An agent's state changed.
    AgentStateChanged,
    /// A call began to ring (at an agent, or in a queue).
    CallRang,
    /// An agent answered.
    CallAnswered,
    /// The call, or one leg of it, ended.
    CallEnded,
    /// The provider's callback after the call.
    CallSummarised,
    /// The directory changed.
    DirectoryChanged,
    /// Helix or a person decided something.
    Decided,
    /// Well formed, of a word we do not know.
    Unknown,
}

impl Kind {
    /// Every kind, in the order of the union.
    pub const ALL: [Self; 8] = [
        Self::AgentStateChanged,
        Self::CallRang,
        Self::CallAnswered,
        Self::CallEnded,
        Self::CallSummarised,
        Self::DirectoryChanged,
        Self::Decided,
        Self::Unknown,
    ];

    /// The name as stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AgentStateChanged => "AgentStateChanged",
            Self::CallRang => "CallRang",
            Self::CallAnswered => "CallAnswered",
            Self::CallEnded => "CallEnded",
            Self::CallSummarised => "CallSummarised",
            Self::DirectoryChanged => "DirectoryChanged",
            Self::Decided => "Decided",
            Self::Unknown => "Unknown",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<Kind> for String {
    fn from(kind: Kind) -> Self {
        kind.as_str().to_owned()
    }
}

impl TryFrom<String> for Kind {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| format!("no fact kind {text:?}"))
    }
}

/// Which field of the delivery gave `occurred_at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum OccurredAtFrom {
    /// The time of the event itself.
    Event,
    /// The envelope's send time: the event had none that can be read.
    Envelope,
    /// Our own clock: neither had.
    Received,
}

impl From<OccurredAtFrom> for String {
    fn from(from: OccurredAtFrom) -> Self {
        match from {
            OccurredAtFrom::Event => "event",
            OccurredAtFrom::Envelope => "envelope",
            OccurredAtFrom::Received => "received",
        }
        .to_owned()
    }
}

impl TryFrom<String> for OccurredAtFrom {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "event" => Ok(Self::Event),
            "envelope" => Ok(Self::Envelope),
            "received" => Ok(Self::Received),
            other => Err(format!("no occurred_at source {other:?}")),
        }
    }
}

/// Where a fact came in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Path template of the endpoint.
    pub endpoint: String,
    /// The provider's account name, from the body.
    pub account: String,
    /// `X-Request-Id` of the delivery.
    pub request_id: String,
}

/// What the normaliser made of the raw bytes. The order of the variants is the order of the Avro union.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// See [`Kind::AgentStateChanged`].
    AgentStateChanged(AgentStateChanged),
    /// See [`Kind::CallRang`].
    CallRang(CallRang),
    /// See [`Kind::CallAnswered`].
    CallAnswered(CallAnswered),
    /// See [`Kind::CallEnded`].
    CallEnded(CallEnded),
    /// See [`Kind::CallSummarised`]. Boxed: four times the size of the others.
    CallSummarised(Box<CallSummarised>),
    /// See [`Kind::DirectoryChanged`].
    DirectoryChanged(DirectoryChanged),
    /// See [`Kind::Decided`].
    Decided(Decided),
    /// See [`Kind::Unknown`].
    Unknown(Unknown),
}

impl Body {
    /// The kind of this body.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::AgentStateChanged(_) => Kind::AgentStateChanged,
            Self::CallRang(_) => Kind::CallRang,
            Self::CallAnswered(_) => Kind::CallAnswered,
            Self::CallEnded(_) => Kind::CallEnded,
            Self::CallSummarised(_) => Kind::CallSummarised,
            Self::DirectoryChanged(_) => Kind::DirectoryChanged,
            Self::Decided(_) => Kind::Decided,
            Self::Unknown(_) => Kind::Unknown,
        }
    }
}

/// The seven states of an agent (contract.md, Board).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    /// Signed out.
    Offline,
    /// Free for a call.
    Ready,
    /// A call is ringing at the agent.
    Ringing,
    /// Talking.
    OnCall,
    /// After-call work.
    WrapUp,
    /// On a break, or signed in and not yet released.
    Paused,
    /// A word we do not know; kept as the reason.
    Unknown,
}

impl AgentState {
    /// Every state, in the order of the contract.
    pub const ALL: [Self; 7] =
        [Self::Offline, Self::Ready, Self::Ringing, Self::OnCall, Self::WrapUp, Self::Paused, Self::Unknown];

    /// The word in SQL, HTTP and facts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Ready => "ready",
            Self::Ringing => "ringing",
            Self::OnCall => "on_call",
            Self::WrapUp => "wrap_up",
            Self::Paused => "paused",
            Self::Unknown => "unknown",
        }
    }

    /// The state of that word; `None` for a word that is none of ours.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Ringing or talking: the agent has a call.
    #[must_use]
    pub const fn has_call(self) -> bool {
        matches!(self, Self::Ringing | Self::OnCall)
    }

    /// Ringing, talking or wrapping up: the interval belongs to a call.
    #[must_use]
    pub const fn belongs_to_call(self) -> bool {
        matches!(self, Self::Ringing | Self::OnCall | Self::WrapUp)
    }
}

/// Body of [`Kind::AgentStateChanged`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStateChanged {
    /// The provider's word, as sent.
    pub action: String,
    /// The state it means here.
    pub state: AgentStateWord,
    /// The pause reason, or `signed_in` after a login.
    pub reason: Option<String>,
    /// `agentMode`, as sent.
    pub mode: Option<String>,
    /// The agent's display name (personal data).
    pub agent_name: Option<String>,
    /// The provider's number for the agent.
    pub agent_unique_id: Option<String>,
}

/// An [`AgentState`] as the Avro string it is stored as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct AgentStateWord(pub AgentState);

impl From<AgentStateWord> for String {
    fn from(word: AgentStateWord) -> Self {
        word.0.as_str().to_owned()
    }
}

impl TryFrom<String> for AgentStateWord {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        AgentState::from_word(&text).map(Self).ok_or_else(|| format!("no agent state {text:?}"))
    }
}

/// Who called whom: inbound calls come from a caller, outbound calls go to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Direction {
    /// The caller rang the hospital.
    Inbound,
    /// The hospital rang the caller (manual, progressive, preview, predictive).
    Outbound,
}

impl Direction {
    /// `inbound` or `outbound`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

impl From<Direction> for String {
    fn from(direction: Direction) -> Self {
        direction.as_str().to_owned()
    }
}

impl TryFrom<String> for Direction {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "inbound" => Ok(Self::Inbound),
            "outbound" => Ok(Self::Outbound),
            other => Err(format!("no direction {other:?}")),
        }
    }
}

/// What a call event or summary says of the call itself.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallParty {
    /// Null where `call_type` is a word we do not know.
    pub direction: Option<Direction>,
    /// As sent.
    pub call_type: Option<String>,
    /// The customer's number (personal data).
    pub caller: Option<String>,
    /// The number that was dialled.
    pub did: Option<String>,
    /// The skill it was routed through.
    pub skill: Option<String>,
    /// The campaign.
    pub campaign: Option<String>,
    /// The agent's phone.
    pub agent_phone: Option<String>,
}

/// Body of [`Kind::CallRang`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRang {
    /// The call.
    pub party: CallParty,
}

/// Body of [`Kind::CallAnswered`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallAnswered {
    /// The call.
    pub party: CallParty,
}

/// Body of [`Kind::CallEnded`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallEnded {
    /// The call.
    pub party: CallParty,
    /// Who hung up, where the event says so.
    pub hangup_by: Option<String>,
}

/// Body of [`Kind::CallSummarised`]: the provider's callback (ozonetel.md section 3). Durations are seconds.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallSummarised {
    /// The call.
    pub party: CallParty,
    /// From `Status`; null where it is neither `Answered` nor `NotAnswered`.
    pub answered: Option<bool>,
    /// `Status`, as sent.
    pub status: Option<String>,
    /// `StartTime`.
    #[serde(deserialize_with = "crate::time::of_a_fact::perhaps")]
    pub started_at: Option<OccurredAt>,
    /// `StartTime` + `TimeToAnswer`, for an answered call.
    #[serde(deserialize_with = "crate::time::of_a_fact::perhaps")]
    pub answered_at: Option<OccurredAt>,
    /// `EndTime`; where it lies before the start, the start + `CallDuration`, or null.
    #[serde(deserialize_with = "crate::time::of_a_fact::perhaps")]
    pub ended_at: Option<OccurredAt>,
    /// `CallDuration`: the whole call, as sent.
    pub call_seconds: Option<i32>,
    /// `Duration`: the talk, as sent.
    pub talk_seconds: Option<i32>,
    /// `HoldDuration`.
    pub hold_seconds: Option<i32>,
    /// `WrapUpDuration`.
    pub wrap_up_seconds: Option<i32>,
    /// The chain `A -> B -> C`, aligned by index.
    pub agents: Vec<ChainedAgent>,
    /// `Disposition`.
    pub disposition: Option<String>,
    /// `Comments` (personal data).
    pub comments: Option<String>,
    /// `HangupBy`.
    pub hangup_by: Option<String>,
    /// `AudioFile`.
    pub recording_url: Option<String>,
    /// `TransferType`.
    pub transfer_type: Option<String>,
    /// `TransferredTo`.
    pub transferred_to: Option<String>,
    /// `DialStatus`.
    pub dial_status: Option<String>,
    /// `CustomerStatus`.
    pub customer_status: Option<String>,
    /// `Location`.
    pub location: Option<String>,
    /// `UUI`.
    pub uui: Option<String>,
}

/// One link of a summary's agent chain.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainedAgent {
    /// `AgentID`.
    pub agent: Option<AgentId>,
    /// `AgentName` (personal data).
    pub name: Option<String>,
    /// `AgentPhoneNumber`.
    pub phone: Option<String>,
    /// `AgentUniqueID`.
    pub unique_id: Option<String>,
    /// `AgentStatus`.
    pub status: Option<String>,
}

/// Body of [`Kind::DirectoryChanged`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryChanged {
    /// `claimed`, `released` or `refused`.
    pub change: String,
    /// `agent` or `did`.
    pub entry: String,
    /// The agent id or DID.
    pub value: String,
}

/// Body of [`Kind::Decided`]: a decision with its evidence (design.md section 9).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// `WrapUpExpired`, `CallPresumedEnded`, ...
    pub decision: String,
    /// When it takes effect, where that is not `occurred_at`.
    #[serde(deserialize_with = "crate::time::of_a_fact::perhaps")]
    pub effective_at: Option<OccurredAt>,
    /// Ids of the facts it rests on.
    pub evidence: Vec<String>,
    /// Everything else.
    pub attributes: BTreeMap<String, String>,
}

/// Body of [`Kind::Unknown`].
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unknown {
    /// `agent`, `call`, `callback`, or the `eventType` as sent.
    pub event: String,
    /// The word that was not understood.
    pub word: String,
    /// `agentMode`, where it was an agent event.
    pub mode: Option<String>,
    /// The agent's display name, where it was an agent event (personal data).
    pub agent_name: Option<String>,
    /// What it says of the call, where it was a call event. Since version 2.
    #[serde(default)]
    pub party: Option<CallParty>,
}
