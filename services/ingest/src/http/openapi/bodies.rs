//! What goes over the wire, as types: the source of the document's schemas, and of use to a client in Rust.
//!
//! The handlers write their answers themselves; a test reads each into these types and back and finds nothing lost.
//! The provider's requests are shown with the members that are read; a request is never refused for what is missing
//! here or added to it, except as the operations say.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{
    ToSchema,
    openapi::{
        ArrayBuilder, Ref,
        schema::{AnyOfBuilder, ObjectBuilder, Schema, SchemaType, Type},
    },
};

use crate::{body::MAX_EVENTS, normalise::Rejection, route};

/// An id or number: text, or a JSON number of any length.
fn text_or_number() -> Schema {
    ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::String, Type::Integer])).build().into()
}

/// An id or number that may be absent.
fn text_number_or_null() -> Schema {
    ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::String, Type::Integer, Type::Null])).build().into()
}

/// Why an event was rejected or is unrouted: a closed list, made of the enums that say it.
fn reasons() -> Schema {
    let codes = REASONS.iter().map(|code| Value::from(*code)).chain([Value::Null]);
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .enum_values(Some(codes.collect::<Vec<_>>()))
        .description(Some(
            "Why it is `unrouted` or `rejected`; `id_conflict` where something else is stored under this id already, and \
             this beside it. Null otherwise. Each has a page in docs/errors.",
        ))
        .build()
        .into()
}

/// Every word that may stand as the `reason` of an event.
pub const REASONS: &[&str] = &[
    route::UNKNOWN,
    route::CONFLICT,
    route::UNREAD,
    "id_conflict",
    Rejection::AgentIdMissing.code(),
    Rejection::AgentIdInvalid.code(),
    Rejection::CallIdMissing.code(),
    Rejection::CallIdInvalid.code(),
    Rejection::ChainTooLong.code(),
    Rejection::NotAnObject.code(),
    "fact_not_writable",
];

/// An agent's change of state. Told from a call event by `eventType`, not by the path.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentEvent {
    /// `Agent`, in any letter case. A word that is not known is stored as a fact of kind Unknown.
    #[schema(pattern = "^Agent$", example = "Agent")]
    pub event_type: String,
    /// When the provider sent it, in the account's zone. Not part of the event's identity.
    #[schema(example = "2026-03-24 14:39:52")]
    pub event_time: Option<String>,
    /// The provider's account.
    #[schema(example = "demo_user")]
    pub username: Option<String>,
    /// What happened.
    pub data: AgentEventData,
}

/// The inner object of an agent event.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentEventData {
    /// `login`, `release`, `ready`, `idle`, `calling`, `incall`, `acw`, `aux`, `pause`, `logout`, in any letter case. Another word makes
    /// the state `unknown`, and is kept.
    #[schema(example = "incall")]
    pub action: String,
    /// The agent's login id. Missing, null, empty, `None` or `0` is 400 `agent_id_missing`: there is no default agent.
    #[schema(schema_with = text_or_number)]
    pub agent_id: Value,
    /// The provider's number of the agent, spelled as it spells it.
    #[schema(schema_with = text_number_or_null)]
    pub agent_uniqe_id: Option<Value>,
    /// For example `INBOUND`.
    pub agent_mode: Option<String>,
    /// When it happened: `YYYY-MM-DD HH:MM:SS` in the account's zone. Without it the send time counts, else our clock.
    #[schema(example = "2026-03-24 14:39:52")]
    pub event_time: Option<String>,
}

/// A step of a call: it rings, is answered, ends. Told from an agent event by `eventType`, not by the path.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallEvent {
    /// `Call`, in any letter case. A word that is not known is stored as a fact of kind Unknown.
    #[schema(pattern = "^Call$", example = "Call")]
    pub event_type: String,
    /// When the provider sent it, in the account's zone. Not part of the event's identity.
    #[schema(example = "2026-03-24 14:39:52")]
    pub event_time: Option<String>,
    /// The provider's account.
    #[schema(example = "demo_user")]
    pub username: Option<String>,
    /// What happened.
    pub data: CallEventData,
}

/// The inner object of a call event.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct CallEventData {
    /// `Calling`, `Answered` or `Disconnect`, in any letter case. Another word is stored as a fact of kind Unknown.
    #[schema(example = "Answered")]
    pub action: String,
    /// The call. Without it `ucid` stands for it; without both it is 400 `call_id_missing`.
    #[schema(schema_with = text_or_number)]
    pub monitor_ucid: Value,
    /// The leg of the call.
    #[schema(schema_with = text_number_or_null)]
    pub ucid: Option<Value>,
    /// The agent; missing, null, empty, `None` or `0` while nobody has the call.
    #[schema(schema_with = text_number_or_null)]
    pub agent_id: Option<Value>,
    /// The number that was called. Decides the workspace where no agent does.
    #[schema(schema_with = text_number_or_null)]
    pub did: Option<Value>,
    /// The caller's number.
    #[schema(schema_with = text_number_or_null)]
    pub caller_id: Option<Value>,
    /// `Inbound`, or one of the outbound words (`Manual`, `Progressive`, `Preview`, `Predictive`).
    #[schema(example = "Inbound")]
    pub call_type: Option<String>,
    /// The queue.
    #[schema(example = "General")]
    pub skill: Option<String>,
    /// When it happened: `YYYY-MM-DD HH:MM:SS` in the account's zone.
    #[schema(example = "2026-03-24 14:39:52")]
    pub event_time: Option<String>,
}

/// The provider's summary after a call. Shown with the members that are read; all others are kept.
///
/// Where several agents had the call, `AgentID`, `AgentName`, `AgentPhoneNumber`, `AgentUniqueID` and `AgentStatus` are chains (`A -> B -> C`), aligned
/// by position; the last with an id is the handler.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Callback {
    /// The call. Without it `ucid` stands for it; without both it is 400 `call_id_missing`.
    #[serde(rename = "monitorUCID")]
    #[schema(schema_with = text_or_number)]
    pub monitor_ucid: Value,
    /// The account's key; instead of the operation's own. Removed before anything is stored.
    #[schema(format = Password, write_only)]
    pub apikey: Option<String>,
    /// `Answered` or `NotAnswered`.
    #[schema(example = "NotAnswered")]
    pub status: Option<String>,
    /// `inbound`, or one of the outbound words.
    #[schema(example = "inbound")]
    pub r#type: Option<String>,
    /// The number that was called.
    #[schema(schema_with = text_number_or_null)]
    pub did: Option<Value>,
    /// The caller's number.
    #[serde(rename = "CallerID")]
    #[schema(schema_with = text_number_or_null)]
    pub caller_id: Option<Value>,
    /// The agents, as a chain; empty where nobody had the call.
    #[serde(rename = "AgentID")]
    #[schema(example = "agent.one -> agent.two")]
    pub agent_id: Option<String>,
    /// Their names, as a chain.
    pub agent_name: Option<String>,
    /// The queue.
    pub skill: Option<String>,
    /// The campaign.
    pub campaign_name: Option<String>,
    /// `YYYY-MM-DD HH:MM:SS` in the account's zone.
    #[schema(example = "2026-03-24 14:39:52")]
    pub start_time: Option<String>,
    /// `YYYY-MM-DD HH:MM:SS` in the account's zone.
    #[schema(example = "2026-03-24 14:41:15")]
    pub end_time: Option<String>,
    /// `HH:MM:SS` from start to answer.
    #[schema(example = "00:00:09")]
    pub time_to_answer: Option<String>,
    /// `HH:MM:SS` from start to end.
    #[schema(example = "00:01:23")]
    pub call_duration: Option<String>,
    /// `HH:MM:SS` of talk alone: `CallDuration` less `TimeToAnswer`.
    #[schema(example = "00:01:14")]
    pub duration: Option<String>,
    /// `HH:MM:SS`.
    pub hold_duration: Option<String>,
    /// `HH:MM:SS`.
    pub wrap_up_duration: Option<String>,
    /// How the agent closed the call.
    pub disposition: Option<String>,
    /// `UserHangup`, `AgentHangup` or `SystemHangup`.
    pub hangup_by: Option<String>,
    /// The recording's URL.
    pub audio_file: Option<String>,
}

/// One event, by what it is.
pub(super) fn event() -> Schema {
    let kinds = ["AgentEvent", "CallEvent", "Callback"].map(Ref::from_schema_name);
    kinds.into_iter().fold(AnyOfBuilder::new(), AnyOfBuilder::item).build().into()
}

/// One event or a batch.
pub(super) fn delivery() -> Schema {
    let event = || Ref::from_schema_name("Event");
    // No `maxItems`: the bound on bytes comes first, and a tester would send the whole of it again and again.
    let batch = ArrayBuilder::new()
        .items(event())
        .min_items(Some(1))
        .description(Some(format!("A batch, in the order in which it happened: at most {MAX_EVENTS} events.")));
    AnyOfBuilder::new().item(event()).item(batch).build().into()
}

/// The form of a callback: one field that holds JSON.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Form {
    /// A callback, an event or an array of them, as JSON.
    #[schema(content_media_type = "application/json")]
    pub data: String,
}

/// What became of a delivery: one result an event, in the order of the events.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// As in the header `X-Request-Id`.
    pub request_id: String,
    /// One an event, in order.
    #[schema(min_items = 1)]
    pub results: Vec<EventResult>,
}

/// What became of one event.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EventResult {
    /// What became of it.
    pub status: Status,
    /// The event's id: the same whenever and however the same event is sent. Of a `rejected` one, the id under which
    /// its bytes are kept.
    #[schema(format = "uuid")]
    pub id: String,
    /// Which part of the log has it, or gets it from the spool.
    #[schema(required, example = "telephony.facts")]
    pub topic: Option<String>,
    /// Null while the record is in the spool.
    #[schema(required, minimum = 0)]
    pub partition: Option<i32>,
    /// Null while the record is in the spool.
    #[schema(required, minimum = 0)]
    pub offset: Option<i64>,
    /// See `status`.
    #[schema(required, schema_with = reasons)]
    pub reason: Option<String>,
}

/// - `stored`: appended to `telephony.facts`.
/// - `spooled`: fsynced here, appended when the log is back.
/// - `duplicate`: known to be stored already. Said where it is known; a repeat may also be `stored` again and is then
///   absorbed by its id.
/// - `unrouted`: kept until the directory knows its agent or DID.
/// - `rejected`: not understood; its bytes are kept. In a batch only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "said together, above")]
pub enum Status {
    Stored,
    Spooled,
    Duplicate,
    Unrouted,
    Rejected,
}

/// What a sidecar says is its workspace's. Adds to what is known; says nothing about what is left out.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Registration {
    /// The workspace of the key.
    #[schema(pattern = "^[a-z0-9-]{1,63}$", example = "ramaiah")]
    pub workspace: String,
    /// The sidecar's base URL, http or https; unchanged where none is given.
    #[schema(max_length = 2048, example = "http://10.0.0.7:4100")]
    pub url: Option<String>,
    /// Agents' login ids.
    #[schema(schema_with = names_schema)]
    pub agents: Option<Vec<Value>>,
    /// Numbers that patients call.
    #[schema(schema_with = names_schema)]
    pub dids: Option<Vec<Value>>,
}

/// A list of ids.
fn names_schema() -> Schema {
    ArrayBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Array, Type::Null]))
        .items(ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::String, Type::Integer])))
        .build()
        .into()
}

/// What a registration added.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Registered {
    /// The workspace.
    pub workspace: String,
    /// How many were nobody's before; 0 and 0 for a repeat.
    pub added: Added,
}

/// How many agents and DIDs were nobody's before.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[allow(missing_docs, reason = "their names say it")]
pub struct Added {
    pub agents: u32,
    pub dids: u32,
}

/// A sign of life.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Heartbeat {
    /// The workspace of the key.
    #[schema(pattern = "^[a-z0-9-]{1,63}$", example = "ramaiah")]
    pub workspace: String,
}

/// How long a heartbeat holds.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Beaten {
    /// Send the next before this has passed; every 30 s is usual.
    #[schema(example = 90)]
    pub expires_in_seconds: u32,
}

/// The directory, as far as the key may see it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Listing {
    /// In the order of their names.
    pub workspaces: Vec<Listed>,
}

/// One workspace of the directory.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Listed {
    /// Its slug.
    pub workspace: String,
    /// Its sidecar's base URL, where one was given.
    #[schema(required)]
    pub url: Option<String>,
    /// Whether its sidecar sent a heartbeat lately; null where that is not known at the moment.
    #[schema(required)]
    pub live: Option<bool>,
    /// Its agents.
    pub agents: Vec<String>,
    /// Its DIDs.
    pub dids: Vec<String>,
}

/// The answer to a probe of a webhook's URL.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Probed {
    /// Always true: the URL is taken. Whether events can be stored is `/readyz`'s to say.
    pub ready: bool,
}

/// The process runs.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Alive {
    /// Always true.
    pub alive: bool,
}

/// Whether this instance should be sent requests.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ready {
    /// Whether the status is 200.
    pub ready: bool,
    /// Going away: finishes what runs and takes nothing new.
    pub draining: bool,
    /// What is missing, by part, and why.
    pub not_ready: BTreeMap<String, String>,
    /// What works, but not as it should, by part, and why.
    pub degraded: BTreeMap<String, String>,
    /// What an operator may want to know besides, by part.
    pub details: BTreeMap<String, Value>,
}

/// RFC 9457. More members may come; `code` never changes its meaning.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// `urn:helix:error:` and the code.
    #[schema(example = "urn:helix:error:unauthorised")]
    pub r#type: String,
    /// Stable; the name of its page in docs/errors.
    #[schema(example = "unauthorised")]
    pub code: String,
    /// One sentence, the same for every occurrence of the code.
    pub title: String,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What is particular to this occurrence. Never repeats a body, a number or a key.
    pub detail: String,
    /// As in the header `X-Request-Id`.
    pub request_id: String,
    /// Where bytes were kept: the id to find them by.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "uuid", nullable = false)]
    pub rejected_id: Option<String>,
    /// Of `directory_conflict`: what another workspace owns.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub conflicts: Option<Conflicts>,
}

/// Agents and DIDs that another workspace owns.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[allow(missing_docs, reason = "their names say it")]
pub struct Conflicts {
    pub agents: Vec<String>,
    pub dids: Vec<String>,
}
