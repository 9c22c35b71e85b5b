//! The JSON of the contract: names and order of members as written there.
//!
//! Moments are RFC 3339 in UTC. A member that is not known is `null`, never left out. `watermark.receivedAt` is an
//! addition: with it the page knows the provider's clock now, `occurredAt + (asOf - receivedAt)`, under any clock skew. So is
//! `producers`, with the last event of each of the provider's streams.

use helix_schemas::{
    fact::{AgentState, Direction},
    names::{AgentId, CallId},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    heard::{LastEvent, Producer},
    visible::{BoardRoot, Visible},
};
use crate::settings::Settings;

/// Prefix of the agents' paths.
pub const AGENTS: &str = "agents/";
/// Prefix of the paths of calls in progress.
pub const CALLS: &str = "calls/";
/// Prefix of the paths of waiting callers.
pub const WAITING: &str = "waiting/";
/// Path of today's counters.
pub const TODAY: &str = "today";
/// Path of the number of open obligations.
pub const OPEN_MISSED_CALLS: &str = "openMissedCalls";
/// Path of the watermark's moment.
pub const WATERMARK_OCCURRED: &str = "watermark/occurredAt";
/// Path of the watermark's arrival.
pub const WATERMARK_RECEIVED: &str = "watermark/receivedAt";

/// Prefix of the provider's streams.
pub const PRODUCERS: &str = "producers/";

/// Path of one of the provider's streams.
#[must_use]
pub fn producer_path(producer: Producer) -> String {
    format!("{PRODUCERS}{}", producer.as_str())
}

/// Path of an agent.
#[must_use]
pub fn agent_path(agent: &AgentId) -> String {
    format!("{AGENTS}{agent}")
}

/// Path of a call in progress.
#[must_use]
pub fn call_path(call: &CallId) -> String {
    format!("{CALLS}{call}")
}

/// Path of a waiting caller.
#[must_use]
pub fn waiting_path(call: &CallId) -> String {
    format!("{WAITING}{call}")
}

/// An agent on the board.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentCard {
    /// The login id.
    pub agent_id: AgentId,
    /// Display name (personal data).
    pub name: Option<String>,
    /// The state.
    pub state: AgentState,
    /// Since when, RFC 3339.
    pub since: String,
    /// Why.
    pub reason: Option<String>,
    /// The call the state belongs to.
    pub call_id: Option<CallId>,
    /// Mode, as sent.
    pub mode: Option<String>,
    /// Whether the state rests on a decision. An addition.
    pub presumed: bool,
}

/// What a call in progress is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallProgress {
    /// Not answered yet.
    Ringing,
    /// Being talked on.
    OnCall,
}

/// A call in progress.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallCard {
    /// The call.
    pub call_id: CallId,
    /// Null where no fact says it.
    pub direction: Option<Direction>,
    /// The customer's number (personal data).
    pub caller: Option<String>,
    /// The number dialled in.
    pub did: Option<String>,
    /// The skill it was routed through.
    pub skill: Option<String>,
    /// Who has it.
    pub agent_id: Option<AgentId>,
    /// What it is doing.
    pub state: CallProgress,
    /// Since when it does that, RFC 3339.
    pub since: String,
    /// First ringing, RFC 3339.
    pub started_at: String,
    /// Whether what is said rests on a decision alone.
    pub presumed: bool,
}

/// A caller who waits.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitingCard {
    /// The call.
    pub call_id: CallId,
    /// The customer's number (personal data).
    pub caller: Option<String>,
    /// The number dialled in.
    pub did: Option<String>,
    /// The skill it was routed through.
    pub skill: Option<String>,
    /// First ringing, RFC 3339.
    pub since: String,
}

/// The last event of one of the provider's streams. An addition: `producers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProducerCard {
    /// Which.
    pub producer: Producer,
    /// When it reached us, RFC 3339.
    pub received_at: String,
    /// Of when it speaks, RFC 3339.
    pub occurred_at: String,
}

impl ProducerCard {
    pub(super) fn of(producer: Producer, event: LastEvent) -> Self {
        let (received_at, occurred_at) = (event.received_at.to_rfc3339(), event.occurred_at.to_rfc3339());
        Self { producer, received_at, occurred_at }
    }
}

/// Today's counters. They balance: offered = answered + missed + short abandons + in progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Today {
    /// Inbound calls that began today.
    pub offered: i64,
    /// Of those, ended with an agent's answer.
    pub answered: i64,
    /// Ended unanswered, later than the short-abandon bound.
    pub missed: i64,
    /// Ended unanswered within the bound.
    pub short_abandoned: i64,
    /// Not ended yet.
    pub in_progress: i64,
    /// The service level, as its two numbers.
    pub service_level: ServiceLevel,
}

impl Today {
    /// A day on which nothing happened yet.
    #[must_use]
    pub const fn empty(settings: &Settings) -> Self {
        Self {
            offered: 0,
            answered: 0,
            missed: 0,
            short_abandoned: 0,
            in_progress: 0,
            service_level: ServiceLevel {
                answered_within: 0,
                denominator: 0,
                threshold_seconds: settings.service_level_seconds,
            },
        }
    }
}

/// Answered within the threshold, of answered and missed. Divided only when shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceLevel {
    /// The numerator.
    pub answered_within: i64,
    /// Answered + missed.
    pub denominator: i64,
    /// T.
    pub threshold_seconds: i64,
}

/// What a board says of itself besides its state: the engine knows it, the fold does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head<'a> {
    /// The workspace.
    pub workspace: &'a str,
    /// The server's clock when this was written, RFC 3339.
    pub as_of: String,
    /// Of the state.
    pub version: u64,
    /// Why the board may be behind what happens; empty where it is not. An addition: `staleReasons`.
    pub stale_reasons: Vec<&'static str>,
    /// Since when, RFC 3339. An addition: `staleSince`.
    pub stale_since: Option<String>,
    /// Facts of the log that are not on the board yet.
    pub lag_facts: i64,
    /// How old the oldest of them is, at most.
    pub lag_seconds: i64,
}

/// The board of the contract.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BoardDocument<'a> {
    workspace: &'a str,
    as_of: String,
    version: u64,
    root: BoardRoot,
    stale: bool,
    stale_since: Option<String>,
    stale_reasons: Vec<&'static str>,
    agents: Vec<&'a RawValue>,
    calls: Vec<&'a RawValue>,
    waiting: Vec<&'a RawValue>,
    today: Option<&'a RawValue>,
    open_missed_calls: Option<&'a RawValue>,
    watermark: WatermarkDocument<'a>,
    producers: Vec<&'a RawValue>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WatermarkDocument<'a> {
    occurred_at: Option<&'a RawValue>,
    lag_facts: i64,
    lag_seconds: i64,
    received_at: Option<&'a RawValue>,
}

impl<'a> BoardDocument<'a> {
    /// The document of what one viewer sees. `today` and `openMissedCalls` are null where the viewer may not see them;
    /// the watermark's two moments are null before the first fact.
    #[must_use]
    pub fn new(head: Head<'a>, visible: &'a Visible) -> Self {
        Self {
            workspace: head.workspace,
            as_of: head.as_of,
            version: head.version,
            root: visible.root(),
            stale: !head.stale_reasons.is_empty(),
            stale_since: head.stale_since,
            stale_reasons: head.stale_reasons,
            agents: visible.collection(AGENTS),
            calls: visible.collection(CALLS),
            waiting: visible.collection(WAITING),
            today: visible.raw(TODAY),
            open_missed_calls: visible.raw(OPEN_MISSED_CALLS),
            watermark: WatermarkDocument {
                occurred_at: visible.raw(WATERMARK_OCCURRED),
                lag_facts: head.lag_facts,
                lag_seconds: head.lag_seconds,
                received_at: visible.raw(WATERMARK_RECEIVED),
            },
            producers: visible.collection(PRODUCERS),
        }
    }
}
