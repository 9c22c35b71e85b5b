//! A fact as a row of `facts`. Absent texts are empty; the views say NULL for them.

use std::collections::BTreeMap;

use clickhouse::Row;
use helix_schemas::fact::{
    AgentStateChanged, Body, CallParty, CallSummarised, Decided, Direction, DirectoryChanged, Fact, OccurredAtFrom,
    Unknown,
};
use helix_schemas::time::OccurredAt;
use serde::Serialize;
use serde_json::{Value, json};

/// Where a fact lies in the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Coordinates<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

/// One row, column for column as in `ddl/001_facts.sql`.
#[derive(Row, Serialize, Default)]
pub(crate) struct FactRow<'a> {
    workspace_id: &'a str,
    /// Most significant half first.
    fact_id: (u64, u64),
    body_hash: u64,
    kind: &'static str,
    agent_id: &'a str,
    call_id: &'a str,
    leg_id: &'a str,
    occurred_at: i64,
    occurred_at_from: &'static str,
    received_at: i64,
    provider: &'a str,
    account: &'a str,
    endpoint: &'a str,
    request_id: &'a str,
    normaliser: i32,
    log_topic: &'a str,
    log_partition: i32,
    log_offset: i64,
    action: &'a str,
    state: &'static str,
    reason: &'a str,
    mode: &'a str,
    agent_name: &'a str,
    agent_unique_id: &'a str,
    direction: &'static str,
    call_type: &'a str,
    caller: &'a str,
    did: &'a str,
    skill: &'a str,
    campaign: &'a str,
    agent_phone: &'a str,
    hangup_by: &'a str,
    answered: Option<bool>,
    status: &'a str,
    started_at: Option<i64>,
    answered_at: Option<i64>,
    ended_at: Option<i64>,
    call_seconds: Option<i32>,
    talk_seconds: Option<i32>,
    hold_seconds: Option<i32>,
    wrap_up_seconds: Option<i32>,
    agents: Vec<&'a str>,
    agent_names: Vec<&'a str>,
    agent_phones: Vec<&'a str>,
    agent_unique_ids: Vec<&'a str>,
    agent_statuses: Vec<&'a str>,
    disposition: &'a str,
    comments: &'a str,
    recording_url: &'a str,
    transfer_type: &'a str,
    transferred_to: &'a str,
    dial_status: &'a str,
    customer_status: &'a str,
    location: &'a str,
    uui: &'a str,
    directory_change: &'a str,
    directory_entry: &'a str,
    directory_value: &'a str,
    decision: &'a str,
    effective_at: Option<i64>,
    evidence: Vec<&'a str>,
    attributes: BTreeMap<&'a str, &'a str>,
    unknown_event: &'a str,
    unknown_word: &'a str,
    #[serde(with = "serde_bytes_of")]
    raw: &'a [u8],
    raw_content_type: &'a str,
}

/// A String column takes any bytes; serde would write a slice as an array.
mod serde_bytes_of {
    use serde::Serializer;

    // The signature is serde's.
    #[allow(clippy::trivially_copy_pass_by_ref)]
    pub(super) fn serialize<S: Serializer>(bytes: &&[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }
}

impl<'a> FactRow<'a> {
    /// The row of a fact that lies there.
    pub(crate) fn of(fact: &'a Fact, at: Coordinates<'a>) -> Self {
        let mut row = FactRow {
            workspace_id: fact.workspace.as_str(),
            fact_id: fact.id.uuid().as_u64_pair(),
            body_hash: body_hash(fact),
            kind: fact.kind.as_str(),
            agent_id: fact.agent.as_ref().map_or("", |agent| agent.as_str()),
            call_id: fact.call.as_ref().map_or("", |call| call.as_str()),
            leg_id: fact.leg.as_ref().map_or("", |leg| leg.as_str()),
            occurred_at: fact.occurred_at.millis(),
            occurred_at_from: match fact.occurred_at_from {
                OccurredAtFrom::Event => "event",
                OccurredAtFrom::Envelope => "envelope",
                OccurredAtFrom::Received => "received",
            },
            received_at: fact.received_at.micros(),
            provider: &fact.provider,
            account: &fact.source.account,
            endpoint: &fact.source.endpoint,
            request_id: &fact.source.request_id,
            normaliser: fact.normaliser,
            log_topic: at.topic,
            log_partition: at.partition,
            log_offset: at.offset,
            raw: &fact.raw,
            raw_content_type: &fact.raw_content_type,
            ..FactRow::default()
        };
        match &fact.body {
            Body::AgentStateChanged(changed) => row.agent_state(changed),
            Body::CallRang(rang) => row.party(&rang.party),
            Body::CallAnswered(answered) => row.party(&answered.party),
            Body::CallEnded(ended) => {
                row.party(&ended.party);
                row.hangup_by = text(ended.hangup_by.as_ref());
            }
            Body::CallSummarised(summary) => row.summary(summary),
            Body::DirectoryChanged(changed) => row.directory(changed),
            Body::Decided(decided) => row.decision(decided),
            Body::Unknown(unknown) => row.unknown(unknown),
        }
        row
    }

    fn agent_state(&mut self, changed: &'a AgentStateChanged) {
        self.action = &changed.action;
        self.state = changed.state.0.as_str();
        self.reason = text(changed.reason.as_ref());
        self.mode = text(changed.mode.as_ref());
        self.agent_name = text(changed.agent_name.as_ref());
        self.agent_unique_id = text(changed.agent_unique_id.as_ref());
    }

    fn party(&mut self, party: &'a CallParty) {
        self.direction = party.direction.map_or("", Direction::as_str);
        self.call_type = text(party.call_type.as_ref());
        self.caller = text(party.caller.as_ref());
        self.did = text(party.did.as_ref());
        self.skill = text(party.skill.as_ref());
        self.campaign = text(party.campaign.as_ref());
        self.agent_phone = text(party.agent_phone.as_ref());
    }

    fn summary(&mut self, summary: &'a CallSummarised) {
        self.party(&summary.party);
        self.answered = summary.answered;
        self.status = text(summary.status.as_ref());
        self.started_at = summary.started_at.map(OccurredAt::millis);
        self.answered_at = summary.answered_at.map(OccurredAt::millis);
        self.ended_at = summary.ended_at.map(OccurredAt::millis);
        self.call_seconds = summary.call_seconds;
        self.talk_seconds = summary.talk_seconds;
        self.hold_seconds = summary.hold_seconds;
        self.wrap_up_seconds = summary.wrap_up_seconds;
        for link in &summary.agents {
            self.agents.push(link.agent.as_ref().map_or("", |agent| agent.as_str()));
            self.agent_names.push(text(link.name.as_ref()));
            self.agent_phones.push(text(link.phone.as_ref()));
            self.agent_unique_ids.push(text(link.unique_id.as_ref()));
            self.agent_statuses.push(text(link.status.as_ref()));
        }
        self.disposition = text(summary.disposition.as_ref());
        self.comments = text(summary.comments.as_ref());
        self.hangup_by = text(summary.hangup_by.as_ref());
        self.recording_url = text(summary.recording_url.as_ref());
        self.transfer_type = text(summary.transfer_type.as_ref());
        self.transferred_to = text(summary.transferred_to.as_ref());
        self.dial_status = text(summary.dial_status.as_ref());
        self.customer_status = text(summary.customer_status.as_ref());
        self.location = text(summary.location.as_ref());
        self.uui = text(summary.uui.as_ref());
    }

    fn directory(&mut self, changed: &'a DirectoryChanged) {
        self.directory_change = &changed.change;
        self.directory_entry = &changed.entry;
        self.directory_value = &changed.value;
    }

    fn decision(&mut self, decided: &'a Decided) {
        self.decision = &decided.decision;
        self.effective_at = decided.effective_at.map(OccurredAt::millis);
        self.evidence = decided.evidence.iter().map(String::as_str).collect();
        self.attributes = decided.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    }

    fn unknown(&mut self, unknown: &'a Unknown) {
        self.unknown_event = &unknown.event;
        self.unknown_word = &unknown.word;
        self.mode = text(unknown.mode.as_ref());
        self.agent_name = text(unknown.agent_name.as_ref());
    }
}

fn text(value: Option<&String>) -> &str {
    value.map_or("", String::as_str)
}

/// Tells two different bodies under one id apart. Of what the normaliser made of the event, not of the raw bytes: a
/// repeat carries another send time and is no conflict. For the same reason `occurred_at` takes part only where the
/// event itself gave it. Absent fields leave no trace, so a field that a later version adds changes no older hash.
fn body_hash(fact: &Fact) -> u64 {
    let event_at = (fact.occurred_at_from == OccurredAtFrom::Event).then(|| fact.occurred_at.millis());
    let mut said = json!({
        "agent": fact.agent,
        "call": fact.call,
        "leg": fact.leg,
        "at": event_at,
        "body": fact.body,
    });
    drop_absent(&mut said);
    let digest = blake3::hash(said.to_string().as_bytes());
    let mut first = [0_u8; 8];
    first.iter_mut().zip(digest.as_bytes()).for_each(|(to, from)| *to = *from);
    u64::from_be_bytes(first)
}

/// Removes nulls, empty texts and empty lists from objects. Lists keep their places.
fn drop_absent(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(drop_absent);
            fields.retain(|_, field| !is_absent(field));
        }
        Value::Array(items) => items.iter_mut().for_each(drop_absent),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_absent(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}
