//! `helix unrouted` and `helix rejected`: what was set aside, and what became of it.
//!
//! A list shows coordinates and codes, never a body: callers' numbers and names are in there. One record is shown whole to
//! whoever asks for it by its id.

use std::{collections::BTreeMap, fmt::Write as _};

use helix_schemas::{id::FactId, rejected::RejectedBody, topics, unrouted::UnroutedEvent};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    RedriveError,
    command::{Installation, Watcher},
};

/// Where a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

/// An unrouted event, as listed.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UnroutedLine {
    /// The id it has as a fact.
    pub id: FactId,
    /// Where it lies.
    #[serde(flatten)]
    pub place: Place,
    /// RFC 3339.
    pub received_at: String,
    /// Name of its kind.
    pub kind: &'static str,
    /// Why it was set aside.
    pub reason: String,
    /// The agent it names.
    pub agent: Option<String>,
    /// The DID it names.
    pub did: Option<String>,
    /// The workspace whose fact it became.
    pub redriven_to: Option<String>,
    /// When, RFC 3339.
    pub redriven_at: Option<String>,
}

/// A rejected body, as listed.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RejectedLine {
    /// The id that was told to its sender.
    pub id: FactId,
    /// Where it lies.
    #[serde(flatten)]
    pub place: Place,
    /// RFC 3339.
    pub received_at: String,
    /// Why it was rejected.
    pub code: String,
    /// Path as requested.
    pub endpoint: String,
    /// The workspace its door named.
    pub workspace: Option<String>,
    /// Length of the kept bytes.
    pub bytes: usize,
    /// Facts and unrouted events that it became.
    pub redriven_events: Option<i32>,
    /// When, RFC 3339.
    pub redriven_at: Option<String>,
}

/// Some of what there is.
#[derive(Debug, Serialize)]
pub struct Listing<L> {
    /// The first of them by the time they were received.
    pub records: Vec<L>,
    /// How many there are.
    pub total: usize,
    /// Records that cannot be decoded; they are not among them.
    pub unreadable: usize,
}

impl<L> Listing<L> {
    /// In the order of `key`, at most `limit` of them.
    fn of(mut lines: Vec<L>, unreadable: usize, limit: usize, key: impl Fn(&L) -> (String, Place)) -> Self {
        let total = lines.len();
        lines.sort_by_cached_key(key);
        lines.truncate(limit);
        Self { records: lines, total, unreadable }
    }
}

/// Lists unrouted events; with `all` also those that are facts already.
///
/// # Errors
/// Where log or registry do not answer, or the watcher stops it.
pub async fn unrouted(
    installation: &Installation,
    all: bool,
    limit: usize,
    watcher: &dyn Watcher,
) -> Result<Listing<UnroutedLine>, RedriveError> {
    let mut found: BTreeMap<Place, UnroutedLine> = BTreeMap::new();
    let codec = &installation.codecs().unrouted;
    let unreadable = installation
        .read(topics::UNROUTED, codec, watcher, |partition, offset, record| {
            let Some(redriven) = record.redriven else {
                let place = Place { partition, offset };
                found.insert(place, unrouted_line(place, &record));
                return;
            };
            let place = Place { partition, offset: redriven.offset };
            if !all {
                found.remove(&place);
            } else if let Some(line) = found.get_mut(&place).filter(|line| line.redriven_at.is_none()) {
                line.redriven_to = Some(redriven.workspace.to_string());
                line.redriven_at = Some(redriven.at.to_rfc3339());
            }
        })
        .await?;
    let key = |line: &UnroutedLine| (line.received_at.clone(), line.place);
    Ok(Listing::of(found.into_values().collect(), unreadable, limit, key))
}

fn unrouted_line(place: Place, record: &UnroutedEvent) -> UnroutedLine {
    UnroutedLine {
        id: record.id,
        place,
        received_at: record.received_at.to_rfc3339(),
        kind: record.kind.as_str(),
        reason: record.reason.clone(),
        agent: record.agent.as_ref().map(ToString::to_string),
        did: record.did.as_ref().map(ToString::to_string),
        redriven_to: None,
        redriven_at: None,
    }
}

/// Lists rejected bodies; with `all` also those that were redriven already.
///
/// # Errors
/// Where log or registry do not answer, or the watcher stops it.
pub async fn rejected(
    installation: &Installation,
    all: bool,
    limit: usize,
    watcher: &dyn Watcher,
) -> Result<Listing<RejectedLine>, RedriveError> {
    let mut found: BTreeMap<Place, RejectedLine> = BTreeMap::new();
    let codec = &installation.codecs().rejected;
    let unreadable = installation
        .read(topics::REJECTED, codec, watcher, |partition, offset, record| {
            let Some(redriven) = record.redriven else {
                let place = Place { partition, offset };
                found.insert(place, rejected_line(place, &record));
                return;
            };
            let place = Place { partition, offset: redriven.offset };
            if !all {
                found.remove(&place);
            } else if let Some(line) = found.get_mut(&place).filter(|line| line.redriven_at.is_none()) {
                line.redriven_events = Some(redriven.stored + redriven.unrouted);
                line.redriven_at = Some(redriven.at.to_rfc3339());
            }
        })
        .await?;
    let key = |line: &RejectedLine| (line.received_at.clone(), line.place);
    Ok(Listing::of(found.into_values().collect(), unreadable, limit, key))
}

fn rejected_line(place: Place, record: &RejectedBody) -> RejectedLine {
    RejectedLine {
        id: record.id,
        place,
        received_at: record.received_at.to_rfc3339(),
        code: record.code.clone(),
        endpoint: record.endpoint.clone(),
        workspace: record.workspace.as_ref().map(ToString::to_string),
        bytes: record.raw.len(),
        redriven_events: None,
        redriven_at: None,
    }
}

/// One record, whole.
#[derive(Debug)]
pub struct Shown {
    /// Its fields, without the bytes.
    pub fields: Value,
    /// The bytes as received, secrets removed.
    pub raw: Vec<u8>,
}

impl Shown {
    /// Fields and bytes as one object: `raw` where the bytes are text, else `rawEscaped`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut whole = self.fields.clone();
        if let Some(fields) = whole.as_object_mut() {
            match std::str::from_utf8(&self.raw) {
                Ok(text) => fields.insert("raw".to_owned(), json!(text)),
                Err(_) => fields.insert("rawEscaped".to_owned(), json!(escaped(&self.raw))),
            };
        }
        whole
    }
}

/// Bytes as text that does nothing to a terminal: what is no text, and control characters, as `\x..` and `\u{..}`.
#[must_use]
pub fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() && c != '\n' {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _infallible = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Every record of an id in `telephony.unrouted`, in the order of their places: the same event may lie there twice.
///
/// # Errors
/// [`RedriveError::NoSuchRecord`]; where log or registry do not answer.
pub async fn show_unrouted(
    installation: &Installation,
    id: FactId,
    watcher: &dyn Watcher,
) -> Result<Vec<Shown>, RedriveError> {
    let mut found: BTreeMap<Place, Shown> = BTreeMap::new();
    let codec = &installation.codecs().unrouted;
    let reading = installation.read(topics::UNROUTED, codec, watcher, |partition, offset, record: UnroutedEvent| {
        if record.id != id {
            return;
        }
        if let Some(redriven) = &record.redriven {
            let told = json!({"workspace": redriven.workspace, "at": redriven.at.to_rfc3339()});
            note(&mut found, Place { partition, offset: redriven.offset }, told);
            return;
        }
        let place = Place { partition, offset };
        let fields = json!({
            "topic": topics::UNROUTED, "partition": partition, "offset": offset,
            "id": record.id,
            "reason": record.reason,
            "kind": record.kind,
            "agent": record.agent, "did": record.did, "call": record.call, "leg": record.leg,
            "provider": record.provider,
            "occurredAt": record.occurred_at.to_rfc3339(),
            "occurredAtFrom": record.occurred_at_from,
            "receivedAt": record.received_at.to_rfc3339(),
            "source": record.source,
            "normaliser": record.normaliser,
            "rawContentType": record.raw_content_type,
            "body": record.body,
            "redriven": null,
        });
        found.insert(place, Shown { fields, raw: record.raw });
    });
    reading.await?;
    whole(found, id)
}

/// The record of an id in `telephony.rejected`.
///
/// # Errors
/// As [`show_unrouted`].
pub async fn show_rejected(
    installation: &Installation,
    id: FactId,
    watcher: &dyn Watcher,
) -> Result<Vec<Shown>, RedriveError> {
    let mut found: BTreeMap<Place, Shown> = BTreeMap::new();
    let codec = &installation.codecs().rejected;
    let reading = installation.read(topics::REJECTED, codec, watcher, |partition, offset, record: RejectedBody| {
        if record.id != id {
            return;
        }
        if let Some(redriven) = &record.redriven {
            let told = json!({
                "stored": redriven.stored, "unrouted": redriven.unrouted, "at": redriven.at.to_rfc3339(),
            });
            note(&mut found, Place { partition, offset: redriven.offset }, told);
            return;
        }
        let place = Place { partition, offset };
        let fields = json!({
            "topic": topics::REJECTED, "partition": partition, "offset": offset,
            "id": record.id,
            "code": record.code, "reason": record.reason,
            "receivedAt": record.received_at.to_rfc3339(),
            "method": record.method, "endpoint": record.endpoint,
            "workspace": record.workspace,
            "headers": record.headers,
            "contentType": record.content_type,
            "requestId": record.request_id,
            "redriven": null,
        });
        found.insert(place, Shown { fields, raw: record.raw });
    });
    reading.await?;
    whole(found, id)
}

/// Notes on a record that it was redriven; the first mark counts.
fn note(found: &mut BTreeMap<Place, Shown>, place: Place, told: Value) {
    if let Some(redriven) = found.get_mut(&place).and_then(|shown| shown.fields.get_mut("redriven"))
        && redriven.is_null()
    {
        *redriven = told;
    }
}

fn whole(found: BTreeMap<Place, Shown>, id: FactId) -> Result<Vec<Shown>, RedriveError> {
    if found.is_empty() {
        return Err(RedriveError::NoSuchRecord(id.to_string()));
    }
    Ok(found.into_values().collect())
}
