//! `helix redrive rejected`: kept bodies are read again, by the reader and normaliser of this build.
//!
//! What intake would have done with the body had it understood it at once: the same ids, the original `received_at`, the
//! account's zone, the workspace of its door, else of the directory. A batch of which some events still cannot be
//! understood is stored as far as it can be, and each of those events is kept for itself, as intake does. A body of which
//! nothing can be understood stays as it is.
//!
//! A body that was refused because its sender was not known is no more trustworthy for having been kept: it is left alone
//! unless that is asked for.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use helix_kit::config::Config;
use helix_schemas::{
    directory::Directory,
    id::{FactId, NaturalKey},
    key::unrouted_key,
    names::WorkspaceId,
    rejected::{RedrivenBody, RejectedBody},
    time::ReceivedAt,
    topics,
};
use serde::Serialize;

use super::{
    RedriveError,
    command::{HELD_BYTES, HELD_RECORDS, Installation, Watcher},
};
use crate::{
    app::secrets,
    audit,
    body::{self, Delivery, Element},
    codecs::Codecs,
    normalise::{Context, Hint, Normalised, Rejection, Stamp, normalise},
    publish::Publisher,
    redact::{Redactor, api_keys},
    route::{Destination, attribute},
    value::Json,
};

/// Codes of bodies whose sender was not known.
pub const REFUSED: [&str; 3] = ["unauthorised", "unknown_workspace", "source_not_allowed"];

/// Which bodies.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// Of this code.
    pub code: Option<String>,
    /// The one of this id.
    pub id: Option<FactId>,
    /// Also those whose sender was not known.
    pub include_refused: bool,
}

/// What would be done.
#[derive(Debug)]
pub struct Plan {
    reader: Reader,
    /// Offsets of the bodies that become facts or unrouted events, by partition.
    readable: BTreeMap<i32, Vec<i64>>,
    summary: Summary,
}

/// Counts of a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Bodies that were chosen and are not redriven yet.
    pub pending: usize,
    /// Of them, those that can be read now.
    pub readable: usize,
    /// Events of them that become facts, by workspace.
    pub facts: BTreeMap<WorkspaceId, usize>,
    /// Events of them that the directory cannot attribute: they become unrouted.
    pub unrouted: usize,
    /// Events of them that still cannot be understood: each is kept for itself.
    pub kept: usize,
    /// Bodies that stay, by why.
    pub stay: BTreeMap<String, usize>,
    /// Records that cannot be decoded; they stay too.
    pub unreadable: usize,
}

/// What was done.
#[derive(Debug, Default)]
pub struct Done {
    /// Bodies that were redriven.
    pub bodies: usize,
    /// Facts of them, by workspace.
    pub facts: BTreeMap<WorkspaceId, usize>,
    /// Unrouted events of them.
    pub unrouted: usize,
    /// Why it broke off.
    pub failed: Option<RedriveError>,
}

/// One record to be appended.
struct Part {
    topic: &'static str,
    key: String,
    value: Vec<u8>,
    workspace: Option<WorkspaceId>,
}

/// What this build makes of a kept body.
enum Verdict {
    Readable(Vec<Part>),
    Stays(&'static str),
}

/// Reads kept bodies as intake reads arriving ones.
struct Reader {
    directory: Directory,
    /// The zone of each workspace's account.
    zones: BTreeMap<WorkspaceId, Tz>,
    /// The zone of all accounts, where they have but one.
    sole_zone: Option<Tz>,
    redactor: Redactor,
    include_refused: bool,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reader")
    }
}

/// The door a body came in by: its path template, what it expects, and the workspace its path names.
struct Door<'a> {
    endpoint: &'static str,
    hint: Hint,
    named: Option<&'a str>,
}

fn door(path: &str) -> Option<Door<'_>> {
    let (endpoint, hint, named) = match path {
        "/api/supervisor/agent-event" => ("/api/supervisor/agent-event", Hint::Agent, None),
        "/api/supervisor/call-event" => ("/api/supervisor/call-event", Hint::Call, None),
        "/webhooks/ozonetel/missed-call" => ("/webhooks/ozonetel/missed-call", Hint::Callback, None),
        other => {
            let named = other.strip_prefix("/workspaces/")?.strip_suffix("/webhooks/ozonetel/missed-call")?;
            ("/workspaces/{workspace}/webhooks/ozonetel/missed-call", Hint::Callback, Some(named))
        }
    };
    Some(Door { endpoint, hint, named })
}

impl Reader {
    fn new(config: &Config, directory: Directory, include_refused: bool) -> Result<Self, RedriveError> {
        let zone = |text: &str| {
            text.parse::<Tz>().map_err(|_| RedriveError::Usage("the zone of an account is none".to_owned()))
        };
        let mut zones = BTreeMap::new();
        for (slug, workspace) in &config.workspaces {
            let slug = WorkspaceId::new(slug).map_err(|error| RedriveError::Usage(format!("workspaces: {error}")))?;
            if let Some((_, account)) = config.account_of(workspace) {
                zones.insert(slug, zone(&account.zone)?);
            }
        }
        let mut all = config.accounts.values().map(|account| zone(&account.zone)).collect::<Result<Vec<_>, _>>()?;
        all.dedup();
        let sole_zone = if let [only] = all.as_slice() { Some(*only) } else { None };
        Ok(Self { directory, zones, sole_zone, redactor: Redactor::new(secrets(config)), include_refused })
    }

    fn read(&self, codecs: &Codecs, record: &RejectedBody) -> Verdict {
        if !self.include_refused && REFUSED.contains(&record.code.as_str()) {
            return Verdict::Stays("sender_refused");
        }
        let Some(door) = door(&record.endpoint) else {
            return Verdict::Stays("endpoint_unknown");
        };
        let named = match (&record.workspace, door.named) {
            (Some(workspace), _) => Some(workspace.clone()),
            (None, Some(slug)) => match WorkspaceId::new(slug).ok().filter(|slug| self.zones.contains_key(slug)) {
                Some(workspace) => Some(workspace),
                None => return Verdict::Stays("unknown_workspace"),
            },
            (None, None) => None,
        };
        let elements = match body::read(&record.raw) {
            Ok(Delivery::One(value)) => vec![Element { value, raw: record.raw.clone() }],
            Ok(Delivery::Batch(elements)) => elements,
            Err(_) => return Verdict::Stays("body_unreadable"),
        };
        let mut parts = Vec::with_capacity(elements.len());
        let mut refusal = None;
        let mut understood = 0;
        for (index, Element { value, raw }) in elements.into_iter().enumerate() {
            match self.event(codecs, record, &door, named.as_ref(), value, &raw) {
                Ok(part) => {
                    understood += 1;
                    parts.push(part);
                }
                Err(code) => {
                    refusal = refusal.or(Some(code));
                    parts.extend(kept(codecs, record, &door, code, index, &self.redactor, &raw));
                }
            }
        }
        match refusal {
            Some(code) if understood == 0 => Verdict::Stays(code),
            Some(_) | None => Verdict::Readable(parts),
        }
    }

    /// One event, ready to be appended; the code of why not where it still cannot be understood.
    fn event(
        &self,
        codecs: &Codecs,
        record: &RejectedBody,
        door: &Door<'_>,
        named: Option<&WorkspaceId>,
        mut value: Json,
        raw: &[u8],
    ) -> Result<Part, &'static str> {
        let found = self.redactor.found(api_keys(&value));
        let redaction = self.redactor.redact(raw, &found);
        if redaction.removed() {
            self.redactor.scrub(&mut value, &found);
        }
        let raw = redaction.bytes.into_owned();
        let (event, destination) = self.understand(record, door, named, &value)?;
        let stamp = Stamp {
            received_at: record.received_at,
            raw,
            raw_content_type: record.content_type.clone(),
            endpoint: door.endpoint,
            request_id: record.request_id.clone(),
        };
        let part = match destination {
            Destination::Workspace(workspace) => {
                let fact = event.into_fact(workspace.clone(), stamp);
                let value = codecs.fact.encode(&fact);
                value.map(|value| Part { topic: topics::FACTS, key: fact.key(), value, workspace: Some(workspace) })
            }
            Destination::Unrouted(reason) => {
                let event = event.into_unrouted(reason.to_owned(), stamp);
                let key = unrouted_key(event.agent.as_ref(), event.did.as_ref());
                let value = codecs.unrouted.encode(&event);
                value.map(|value| Part { topic: topics::UNROUTED, key, value, workspace: None })
            }
        };
        part.map_err(|_| "fact_not_writable")
    }

    /// What the event says and whose it is. Its times are in the zone of its account: the workspace's, and where none is
    /// known, the one that all accounts have.
    fn understand(
        &self,
        record: &RejectedBody,
        door: &Door<'_>,
        named: Option<&WorkspaceId>,
        value: &Json,
    ) -> Result<(Normalised, Destination), &'static str> {
        let in_zone = |zone: Tz| {
            let context = Context { zone, received_at: record.received_at, hint: door.hint };
            normalise(value, &context).map_err(Rejection::code)
        };
        let destination = match named {
            Some(workspace) => Destination::Workspace(workspace.clone()),
            // Who it names does not depend on the zone.
            None => attribute(&in_zone(Tz::UTC)?, &self.directory),
        };
        let zone = destination.workspace().and_then(|workspace| self.zones.get(workspace).copied());
        let event = in_zone(zone.or(self.sole_zone).ok_or("account_unknown")?)?;
        Ok((event, destination))
    }
}

/// An event of a batch that still cannot be understood, kept for itself. Its id follows from the body's, so that it is
/// the same however often this is done.
fn kept(
    codecs: &Codecs,
    record: &RejectedBody,
    door: &Door<'_>,
    code: &'static str,
    index: usize,
    redactor: &Redactor,
    raw: &[u8],
) -> Option<Part> {
    let id = NaturalKey::new(audit::PROVIDER, "", "rejected").field(&record.id.to_string()).field(&index.to_string());
    let element = RejectedBody {
        id: id.id(),
        code: code.to_owned(),
        reason: format!("event {index} of {}", record.id),
        raw: redactor.redact(raw, &crate::redact::Found::default()).bytes.into_owned(),
        ..record.clone()
    };
    let value = codecs.rejected.encode(&element).ok()?;
    Some(Part { topic: topics::REJECTED, key: door.endpoint.to_owned(), value, workspace: None })
}

impl Plan {
    /// Reads the directory and the topic to their ends, and every chosen body once more.
    ///
    /// # Errors
    /// [`RedriveError::NoSuchRecord`] where one id is asked for that is not there; where log or registry do not answer.
    pub async fn make(
        installation: &Installation,
        config: &Config,
        choice: &Choice,
        watcher: &dyn Watcher,
    ) -> Result<Self, RedriveError> {
        let directory = installation.directory(watcher).await?;
        let reader = Reader::new(config, directory, choice.include_refused)?;
        let mut pending: BTreeMap<i32, BTreeMap<i64, FactId>> = BTreeMap::new();
        let mut seen = false;
        let codec = &installation.codecs().rejected;
        let unreadable = installation
            .read(topics::REJECTED, codec, watcher, |partition, offset, record| {
                let bodies = pending.entry(partition).or_default();
                if let Some(redriven) = &record.redriven {
                    bodies.remove(&redriven.offset);
                    return;
                }
                let wanted = choice.id.is_none_or(|id| id == record.id);
                seen |= wanted;
                if wanted && choice.code.as_ref().is_none_or(|code| *code == record.code) {
                    bodies.insert(offset, record.id);
                }
            })
            .await?;
        if let Some(missing) = choice.id.filter(|_| !seen) {
            return Err(RedriveError::NoSuchRecord(missing.to_string()));
        }
        let total: usize = pending.values().map(BTreeMap::len).sum();
        let mut plan = Self { reader, readable: BTreeMap::new(), summary: Summary::default() };
        plan.summary.unreadable = unreadable;
        plan.summary.pending = total;
        let fetch = installation.fetch(topics::REJECTED)?;
        watcher.begin("reading bodies", u64::try_from(total).unwrap_or_default());
        for (partition, bodies) in pending {
            let mut offsets: &[i64] = &bodies.keys().copied().collect::<Vec<_>>();
            while !offsets.is_empty() {
                let asked = offsets.get(..HELD_RECORDS).unwrap_or(offsets);
                let fetched = fetch.read(partition, asked, HELD_BYTES).await?;
                offsets = offsets.get(fetched.records.len() + fetched.gone.len()..).unwrap_or_default();
                for (offset, value) in fetched.records {
                    if watcher.stopped() {
                        return Err(RedriveError::Interrupted);
                    }
                    watcher.step();
                    if let Some(record) = installation.decode(codec, &value).await? {
                        plan.take(installation.codecs(), partition, offset, &record);
                    }
                }
            }
        }
        watcher.end();
        Ok(plan)
    }

    fn take(&mut self, codecs: &Codecs, partition: i32, offset: i64, record: &RejectedBody) {
        match self.reader.read(codecs, record) {
            Verdict::Stays(why) => *self.summary.stay.entry(why.to_owned()).or_default() += 1,
            Verdict::Readable(parts) => {
                self.readable.entry(partition).or_default().push(offset);
                self.summary.readable += 1;
                for part in parts {
                    match part.workspace {
                        Some(workspace) => *self.summary.facts.entry(workspace).or_default() += 1,
                        None if part.topic == topics::UNROUTED => self.summary.unrouted += 1,
                        None => self.summary.kept += 1,
                    }
                }
            }
        }
    }

    /// What it comes to.
    #[must_use]
    pub const fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Appends the events, each acknowledged before the next, and marks each body once all of it is there.
    pub async fn carry_out(self, installation: &Installation, watcher: &dyn Watcher) -> Done {
        let mut done = Done::default();
        if let Err(error) = self.carry_out_into(installation, watcher, &mut done).await {
            done.failed = Some(error);
        }
        done
    }

    async fn carry_out_into(
        self,
        installation: &Installation,
        watcher: &dyn Watcher,
        done: &mut Done,
    ) -> Result<(), RedriveError> {
        let publisher = installation.publisher()?;
        let fetch = installation.fetch(topics::REJECTED)?;
        let codecs = installation.codecs();
        watcher.begin("redriving", u64::try_from(self.summary.readable).unwrap_or_default());
        for (partition, all) in &self.readable {
            let mut offsets = all.as_slice();
            while !offsets.is_empty() {
                let asked = offsets.get(..HELD_RECORDS).unwrap_or(offsets);
                let fetched = fetch.read(*partition, asked, HELD_BYTES).await?;
                offsets = offsets.get(fetched.records.len() + fetched.gone.len()..).unwrap_or_default();
                for (offset, value) in fetched.records {
                    if watcher.stopped() {
                        return Err(RedriveError::Interrupted);
                    }
                    watcher.step();
                    let Some(record) = installation.decode(&codecs.rejected, &value).await? else { continue };
                    if let Verdict::Readable(parts) = self.reader.read(codecs, &record) {
                        redrive(&publisher, codecs, offset, &record, parts, done).await?;
                    }
                }
            }
        }
        watcher.end();
        Ok(())
    }
}

/// Appends the parts of one body in order, then its mark.
async fn redrive(
    publisher: &Publisher,
    codecs: &Codecs,
    offset: i64,
    record: &RejectedBody,
    parts: Vec<Part>,
    done: &mut Done,
) -> Result<(), RedriveError> {
    let (mut facts, mut unrouted) = (BTreeMap::<WorkspaceId, usize>::new(), 0);
    for part in parts {
        publisher.publish(part.topic, &part.key, &part.value).await?;
        match part.workspace {
            Some(workspace) => *facts.entry(workspace).or_default() += 1,
            None if part.topic == topics::UNROUTED => unrouted += 1,
            None => {}
        }
    }
    let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let mark = record.mark(RedrivenBody {
        offset,
        at: ReceivedAt::now(),
        stored: count(facts.values().sum()),
        unrouted: count(unrouted),
    });
    let key = door(&record.endpoint).map_or_else(String::new, |door| door.endpoint.to_owned());
    publisher.publish(topics::REJECTED, &key, &codecs.rejected.encode(&mark)?).await?;
    done.bodies += 1;
    done.unrouted += unrouted;
    for (workspace, count) in facts {
        *done.facts.entry(workspace).or_default() += count;
    }
    Ok(())
}
