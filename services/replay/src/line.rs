//! One fact as one line of JSON: names as in the Avro schema, times in RFC 3339, where it lies in the log beside it.

use base64::Engine as _;
use helix_schemas::{fact::Fact, topics};
use serde_json::{Value, json};

use crate::log::Place;

/// The fact as JSON. `raw` is text where the bytes are UTF-8, else `raw_base64`.
#[must_use]
pub fn to_json(place: Place, fact: &Fact) -> Value {
    // The body's serde form is {"<Kind>": {…}}; the kind stands beside it already.
    let body = match serde_json::to_value(&fact.body) {
        Ok(Value::Object(branches)) => branches.into_iter().next().map_or(Value::Null, |(_, body)| body),
        Ok(_) | Err(_) => Value::Null,
    };
    let mut line = json!({
        "topic": topics::FACTS,
        "partition": place.partition,
        "offset": place.offset,
        "id": fact.id,
        "workspace": fact.workspace,
        "agent": fact.agent,
        "call": fact.call,
        "leg": fact.leg,
        "provider": fact.provider,
        "kind": fact.kind,
        "occurred_at": fact.occurred_at.to_rfc3339(),
        "occurred_at_from": fact.occurred_at_from,
        "received_at": fact.received_at.to_rfc3339(),
        "raw_content_type": fact.raw_content_type,
        "source": fact.source,
        "normaliser": fact.normaliser,
        "body": body,
    });
    if let Some(object) = line.as_object_mut() {
        match std::str::from_utf8(&fact.raw) {
            Ok(text) => object.insert("raw".to_owned(), json!(text)),
            Err(_) => {
                let encoded = base64::engine::general_purpose::STANDARD.encode(&fact.raw);
                object.insert("raw_base64".to_owned(), json!(encoded))
            }
        };
    }
    line
}

/// The fact as one line for people: times, kind, who. Caller numbers and names stay out.
#[must_use]
pub fn to_text(place: Place, fact: &Fact) -> String {
    let agent = fact.agent.as_ref().map_or("-", |agent| agent.as_str());
    let call = fact.call.as_ref().map_or("-", |call| call.as_str());
    let says = match &fact.body {
        helix_schemas::fact::Body::AgentStateChanged(changed) => changed.state.0.as_str(),
        helix_schemas::fact::Body::Unknown(unknown) => unknown.word.as_str(),
        helix_schemas::fact::Body::Decided(decided) => decided.decision.as_str(),
        helix_schemas::fact::Body::CallSummarised(summary) => summary.status.as_deref().unwrap_or(""),
        helix_schemas::fact::Body::CallRang(_)
        | helix_schemas::fact::Body::CallAnswered(_)
        | helix_schemas::fact::Body::CallEnded(_) => "",
        helix_schemas::fact::Body::DirectoryChanged(changed) => changed.change.as_str(),
    };
    format!(
        "{occurred}  {workspace:<12} {kind:<18} {says:<10} agent={agent} call={call}  {partition}/{offset}",
        occurred = fact.occurred_at.to_rfc3339(),
        workspace = fact.workspace.as_str(),
        kind = fact.kind.as_str(),
        partition = place.partition,
        offset = place.offset,
    )
}
