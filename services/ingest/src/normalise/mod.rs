//! From an event's JSON to a fact's content. Pure: no I/O, and no clock but the `received_at` that is passed in.
//!
//! Decides what an event says: its kind (by content; the path is asked only where the content says nothing), its
//! identity, its times, its body. Does not decide whose it is: attribution is [`crate::route`]'s.
//!
//! Invariant: the same event, however wrapped and whenever sent again, gives the same id and the same body.

mod agent;
mod call;
mod callback;
mod fields;
mod guide;
pub mod noticed;
mod time;

use chrono_tz::Tz;
use helix_schemas::{
    fact::{Body, Fact, NORMALISER_VERSION, OccurredAtFrom, Source, Unknown},
    id::{FactId, NaturalKey},
    names::{AgentId, CallId, Did, LegId, WorkspaceId},
    time::{OccurredAt, ReceivedAt},
    unrouted::UnroutedEvent,
};

pub use self::fields::is_api_key;
use self::{
    fields::Fields,
    noticed::{Notes, Noticed, Place},
};
use crate::{
    body::{self, Delivery},
    value::Json,
};

/// The provider in every fact's id.
pub const PROVIDER: &str = "ozonetel";

/// What the endpoint expects, for an event whose content does not say what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    /// `/api/supervisor/agent-event`
    Agent,
    /// `/api/supervisor/call-event`
    Call,
    /// The callback paths.
    Callback,
}

/// What the normaliser is told besides the event.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// The account's zone, of every naive time.
    pub zone: Tz,
    /// Our clock at arrival.
    pub received_at: ReceivedAt,
    /// See [`Hint`].
    pub hint: Hint,
}

/// An event, understood.
#[derive(Clone, PartialEq, Eq)]
pub struct Normalised {
    /// UUIDv5 of the natural key.
    pub id: FactId,
    /// The provider's account, empty where the event names none.
    pub account: String,
    /// The agent; of a chain, the handler: the last with an id.
    pub agent: Option<AgentId>,
    /// The call.
    pub call: Option<CallId>,
    /// The leg.
    pub leg: Option<LegId>,
    /// The DID, for the directory.
    pub did: Option<Did>,
    /// The provider's clock.
    pub occurred_at: OccurredAt,
    /// Where that came from.
    pub occurred_at_from: OccurredAtFrom,
    /// What happened.
    pub body: Body,
    /// Canonical text of the event without its send time and key: tells a repeat from a conflict.
    pub content: String,
    /// What the guide to the provider does not know of it.
    pub noticed: Vec<Noticed>,
}

/// Why an event that could be read is not stored as a fact. Its bytes are kept in `telephony.rejected`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// An agent event for no agent (law 3: no default agent).
    #[error("the agent event names no agent")]
    AgentIdMissing,
    /// The agent id cannot be one: too long, or with control characters.
    #[error("the agent id is too long or has control characters")]
    AgentIdInvalid,
    /// A call event or callback for no call.
    #[error("the event names no call")]
    CallIdMissing,
    /// The call id cannot be one.
    #[error("the call id is too long or has control characters")]
    CallIdInvalid,
    /// A callback names more agents than any call has.
    #[error("the chain of agents has more than 1000 links")]
    ChainTooLong,
    /// An element of a batch that is no object.
    #[error("the event is not an object")]
    NotAnObject,
}

impl Rejection {
    /// The code of its page in docs/errors.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::AgentIdMissing => "agent_id_missing",
            Self::AgentIdInvalid => "agent_id_invalid",
            Self::CallIdMissing => "call_id_missing",
            Self::CallIdInvalid => "call_id_invalid",
            Self::ChainTooLong => "chain_too_long",
            Self::NotAnObject => "event_not_an_object",
        }
    }
}

/// How a delivery came: what a fact carries that is not in the event.
#[derive(Debug, Clone)]
pub struct Stamp {
    /// Our clock.
    pub received_at: ReceivedAt,
    /// The bytes, secrets removed.
    pub raw: Vec<u8>,
    /// Their content type.
    pub raw_content_type: String,
    /// Path template.
    pub endpoint: &'static str,
    /// `X-Request-Id`.
    pub request_id: String,
}

impl Normalised {
    /// The fact, for a workspace.
    #[must_use]
    pub fn into_fact(self, workspace: WorkspaceId, stamp: Stamp) -> Fact {
        self.into_unrouted(String::new(), stamp).into_fact(workspace)
    }

    /// The event without a workspace, and why it has none.
    #[must_use]
    pub fn into_unrouted(self, reason: String, stamp: Stamp) -> UnroutedEvent {
        UnroutedEvent {
            id: self.id,
            agent: self.agent,
            call: self.call,
            leg: self.leg,
            provider: PROVIDER.to_owned(),
            kind: self.body.kind(),
            occurred_at: self.occurred_at,
            occurred_at_from: self.occurred_at_from,
            received_at: stamp.received_at,
            raw: stamp.raw,
            raw_content_type: stamp.raw_content_type,
            source: Source { endpoint: stamp.endpoint.to_owned(), account: self.account, request_id: stamp.request_id },
            normaliser: NORMALISER_VERSION,
            body: self.body,
            did: self.did,
            reason,
            redriven: None,
        }
    }
}

/// What an event is.
enum Class {
    Agent,
    Call,
    Callback,
    Other(String),
}

/// An event with its envelope taken apart.
struct Event<'a> {
    /// The outer object: account and send time.
    envelope: Fields<'a>,
    /// The object with the event's own fields: `data`, or the outer object where there is none.
    data: Fields<'a>,
    /// Whether the two are the same object.
    flat: bool,
}

impl Event<'_> {
    fn account(&self) -> String {
        self.envelope.text("username").or_else(|| self.data.text("username")).unwrap_or_default()
    }

    /// The event's own fields as canonical text, without the send time of a flat envelope and without any key.
    fn content(&self) -> String {
        fn skip_key(key: &str) -> bool {
            is_api_key(key)
        }
        fn skip_key_and_send_time(key: &str) -> bool {
            is_api_key(key) || key == "eventTime"
        }
        // A flat call event may carry `eventTime` (sent) beside `event_time` (happened).
        let both = self.flat && self.data.has_exactly("eventTime") && self.data.has_exactly("event_time");
        self.data.canonical(if both { skip_key_and_send_time } else { skip_key })
    }

    /// The time in a subscription event's identity. Without one that can be read (none, a zero date) an event is told
    /// from another by all it says.
    fn when<'b>(&self, own: Option<&'b str>, from: OccurredAtFrom, content: &'b str) -> &'b str {
        match (own, from) {
            (Some(own), OccurredAtFrom::Event) => own,
            (Some(_) | None, OccurredAtFrom::Event | OccurredAtFrom::Envelope | OccurredAtFrom::Received) => content,
        }
    }

    /// What the guide does not know of a subscription event's envelope and time.
    fn note(&self, notes: &mut Notes, own: Option<&str>, from: OccurredAtFrom) {
        if self.flat {
            notes.required(Place::EventType, self.envelope.text("eventtype").as_deref(), &guide::EVENT_TYPES);
        } else {
            notes.envelope(&self.envelope);
        }
        if from != OccurredAtFrom::Event {
            notes.note(Place::Time, if own.is_some() { "event_time" } else { "absent" });
        }
    }

    /// The moment: the event's own time, else the send time, else our clock.
    fn moment(&self, own: Option<&str>, context: &Context) -> (OccurredAt, OccurredAtFrom) {
        let read = |text: &str| time::moment(text, context.zone);
        if let Some(at) = own.and_then(read) {
            return (at, OccurredAtFrom::Event);
        }
        match self.envelope.text("eventtime").as_deref().and_then(read) {
            Some(at) => (at, OccurredAtFrom::Envelope),
            None => (context.received_at.as_occurred(), OccurredAtFrom::Received),
        }
    }
}

/// Understands one event.
///
/// # Errors
/// [`Rejection`]; the caller keeps the bytes.
pub fn normalise(event: &Json, context: &Context) -> Result<Normalised, Rejection> {
    let envelope = Fields::of(event).ok_or(Rejection::NotAnObject)?;
    let held;
    // As an array of one, as the callback's body sometimes is.
    let data = match envelope.get("data") {
        Some(Json::Array(items)) if items.len() == 1 => items.first(),
        other => other,
    };
    let data = match data {
        Some(data @ Json::Object(_)) => Fields::of(data),
        // `data` as a string that holds the object, as the callback's form field does.
        Some(Json::Text(text)) => match body::read(text.as_bytes()).map(sole) {
            Ok(Some(object)) => {
                held = object;
                Fields::of(&held)
            }
            Ok(None) | Err(_) => None,
        },
        Some(Json::Null | Json::Bool(_) | Json::Number(_) | Json::Array(_)) | None => None,
    };
    let flat = data.is_none();
    let event = Event { envelope, data: data.unwrap_or(envelope), flat };
    match classify(&event, context.hint) {
        Class::Agent => agent::normalise(&event, context),
        Class::Call => call::normalise(&event, context),
        Class::Callback => callback::normalise(&event, context),
        Class::Other(word) => unknown(&event, word, context),
    }
}

/// The one event of a delivery.
fn sole(delivery: Delivery) -> Option<Json> {
    match delivery {
        Delivery::One(object) => Some(object),
        Delivery::Batch(mut elements) if elements.len() == 1 => elements.pop().map(|element| element.value),
        Delivery::Batch(_) => None,
    }
}

fn classify(event: &Event<'_>, hint: Hint) -> Class {
    if let Some(word) = event.envelope.text("eventtype") {
        return match word.to_ascii_lowercase().as_str() {
            "agent" => Class::Agent,
            "call" => Class::Call,
            _ => Class::Other(word),
        };
    }
    match (event.data.text("action").is_some(), call::names_call(&event.data)) {
        (true, true) => Class::Call,
        (true, false) if event.data.text("agentid").is_some() => Class::Agent,
        (false, true) => Class::Callback,
        (true | false, false) => match hint {
            Hint::Agent => Class::Agent,
            Hint::Call => Class::Call,
            Hint::Callback => Class::Callback,
        },
    }
}

/// An event type that is not documented: kept under whatever it names.
fn unknown(event: &Event<'_>, word: String, context: &Context) -> Result<Normalised, Rejection> {
    let account = event.account();
    let content = event.content();
    let own_time = event.data.first_text(&["event_time", "eventtime"]);
    let (occurred_at, occurred_at_from) = event.moment(own_time.as_deref(), context);
    let (leg, call) = call::call_ids(&event.data)?;
    let dialled = event.data.id("did");
    let did = did(dialled.as_deref());
    let mut notes = Notes::default();
    event.note(&mut notes, own_time.as_deref(), occurred_at_from);
    notes.values(&event.data);
    notes.did(dialled.as_deref(), did.as_ref().map(Did::as_str));
    Ok(Normalised {
        id: NaturalKey::new(PROVIDER, &account, "unknown").field(&word).field(&content).id(),
        agent: agent_id(event.data.id("agentid"))?,
        call,
        leg,
        did,
        occurred_at,
        occurred_at_from,
        body: Body::Unknown(Unknown {
            event: word,
            word: event.data.text("action").unwrap_or_default(),
            mode: event.data.text("agentmode"),
            agent_name: event.data.text("agentname"),
            party: None,
        }),
        account,
        content,
        noticed: notes.into_noticed(),
    })
}

/// An agent id, if the text is one: `"0"` is none, and of a chain the last link counts.
fn agent_id(text: Option<String>) -> Result<Option<AgentId>, Rejection> {
    let Some(text) = text else { return Ok(None) };
    let last = fields::chain(&text).into_iter().rev().flatten().find(|link| *link != "0");
    last.map(AgentId::new).transpose().map_err(|_| Rejection::AgentIdInvalid)
}

/// A DID that the directory could know. One that cannot be is none: the fact keeps its text.
fn did(text: Option<&str>) -> Option<Did> {
    text.and_then(|text| Did::new(text).ok())
}
