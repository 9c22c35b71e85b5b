//! Webhooks in, facts out. Statuses are contract.md's, to the letter.
//!
//! Order of a delivery: read the bytes, check key and source, read the events; understand each of them; take their
//! tokens, all or none; then submit them in order, and only when all are submitted wait until they are kept. Nothing is
//! answered with 2xx that neither the log has acknowledged nor the spool has fsynced. From the moment its bytes are
//! read a delivery is a task of its own: a sender that hangs up takes nothing back.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use axum::{
    Json as JsonBody,
    extract::Request,
    http::{HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use helix_kit::problem::Problem;
use helix_schemas::{
    directory::Directory,
    fact::{Body, Kind},
    id::FactId,
    names::WorkspaceId,
    topics,
};
use ipnet::IpNet;
use serde::Serialize;

use super::{
    Door,
    intake::{Arrival, Shared},
    problems,
};
use crate::{
    app::{Account, App, Doors},
    body::{self, Delivery, Element},
    bucket::Bucket,
    codecs::Codecs,
    metrics,
    normalise::{Context, Normalised, Rejection, Stamp, normalise},
    outlet::{ATTRIBUTE_LATER, Mode, Placed, Record, Submitted},
    publish::LARGEST,
    recent::Verdict,
    redact::api_keys,
    route::{self, Destination, attribute},
    value::Json,
};

/// The gateway's word for the workspace of its host block.
const WORKSPACE: HeaderName = HeaderName::from_static("x-helix-workspace");
/// What a 401 asks for.
const CHALLENGE: &str = "ApiKey realm=\"helix\"";
/// What a record of the log is beside its key and value, bytes.
const ROOM: usize = 1024;
/// The reason of a result that differs from what is kept under its id.
const CONFLICT: &str = "id_conflict";

/// What became of one event.
#[derive(Debug, Serialize)]
struct EventResult {
    status: &'static str,
    id: FactId,
    topic: Option<&'static str>,
    partition: Option<i32>,
    offset: Option<i64>,
    reason: Option<&'static str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Accepted {
    request_id: String,
    results: Vec<EventResult>,
}

/// What an event turned out to be.
enum Understood {
    Event { event: Box<Normalised>, destination: Destination },
    Refused(Rejection),
}

/// What a submitted record is, once it is kept.
enum Meaning {
    Fact { destination: Destination, kind: Kind, digest: u64, conflict: bool },
    Rejected { code: &'static str, problem: Problem },
}

/// An event on its way, or known already.
enum Step {
    Known { id: FactId, placed: Placed },
    Sent { id: FactId, submitted: Box<Submitted>, meaning: Box<Meaning> },
}

/// Takes one delivery.
pub(super) async fn receive(app: Shared, door: Door, request: Request, path: super::PathParams) -> Response {
    let deadline = app.config.ingest.deadline;
    match tokio::time::timeout(deadline, take(app, door, request, path)).await {
        Ok(Ok(response)) => response,
        Ok(Err(problem)) if problem.status == StatusCode::UNAUTHORIZED => {
            ([(header::WWW_AUTHENTICATE, CHALLENGE)], problem).into_response()
        }
        Ok(Err(problem)) => problem.into_response(),
        Err(_elapsed) => problems::deadline_exceeded().into_response(),
    }
}

async fn take(app: Shared, door: Door, request: Request, path: super::PathParams) -> Result<Response, Problem> {
    let named = match door {
        Door::AgentEvent | Door::CallEvent => None,
        Door::CallbackByHost => Some(header_text(&request, &WORKSPACE)),
        Door::CallbackByPath => Some(path.workspace.unwrap_or_default()),
    };
    let arrival = Arrival::read(&app, request, door.endpoint(), path.key.as_deref()).await?;
    let storing = tokio::spawn(async move { admit(&app, door, &arrival, named).await });
    // A task that broke is our failure; what it had submitted is perhaps kept.
    storing.await.unwrap_or_else(|_| Err(Problem::component_down("the intake")))
}

/// Which secret opens this door.
enum Lock<'a> {
    Account,
    Workspace(&'a WorkspaceId, &'a Doors),
}

async fn admit(app: &App, door: Door, arrival: &Arrival, named: Option<String>) -> Result<Response, Problem> {
    let lock = match named {
        None => Lock::Account,
        Some(named) => match WorkspaceId::new(&named).ok().and_then(|slug| app.workspaces.get_key_value(&slug)) {
            Some((slug, doors)) => Lock::Workspace(slug, doors),
            None => {
                let id = arrival.keep_refused(app, "unknown_workspace").await;
                return Err(problems::kept(problems::unknown_workspace(), id));
            }
        },
    };
    // A stranger's body is not worth parsing, unless it may carry the key itself.
    let (account, delivery) = match &lock {
        Lock::Account => {
            let account = app.accounts.iter().filter(|account| arrival.presents(&account.key)).last();
            (account, account.map(|_| body::read(&arrival.body)))
        }
        Lock::Workspace(_, doors) => {
            let delivery = body::read(&arrival.body);
            let carried = || delivery.as_ref().is_ok_and(|delivery| carries_key(&doors.account, delivery));
            let open = arrival.presents(&doors.webhook) || carried();
            (open.then_some(&doors.account), Some(delivery))
        }
    };
    let (Some(account), Some(delivery)) = (account, delivery) else {
        let id = arrival.keep_refused(app, "unauthorised").await;
        return Err(problems::kept(problems::unauthorised(), id));
    };
    let (workspace, sources) = match &lock {
        Lock::Account => (None, &account.sources),
        Lock::Workspace(slug, doors) => (Some(*slug), &doors.sources),
    };
    if !allowed(arrival, sources) {
        let id = arrival.keep_refused(app, "source_not_allowed").await;
        return Err(problems::kept(problems::source_not_allowed(), id));
    }
    let codecs = app.codecs.get().ok_or_else(|| Problem::component_down("the schema registry"))?;
    let intake = Intake { app, codecs, arrival, account, workspace, hint: door.hint() };
    match delivery {
        Ok(delivery) => intake.store(delivery).await,
        Err(why) => {
            intake.take_tokens([(workspace, 1)].into())?;
            let id = arrival.keep(app, "body_unreadable", why.to_string(), workspace).await?;
            Err(problems::kept(problems::body_unreadable(why), Some(id)))
        }
    }
}

/// Whether a delivery comes from where its key may be used.
fn allowed(arrival: &Arrival, sources: &[IpNet]) -> bool {
    sources.is_empty() || arrival.source.is_some_and(|source| sources.iter().any(|network| network.contains(&source)))
}

fn header_text(request: &Request, name: &HeaderName) -> String {
    request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// Whether every event of a delivery carries the account's key, as the provider's callbacks do.
fn carries_key(account: &Account, delivery: &Delivery) -> bool {
    let carries = |value: &Json| api_keys(value).into_iter().any(|key| account.key.matches(key));
    match delivery {
        Delivery::One(value) => carries(value),
        Delivery::Batch(elements) => elements.iter().all(|element| carries(&element.value)),
    }
}

/// One delivery that was let in.
struct Intake<'a> {
    app: &'a App,
    codecs: &'a Codecs,
    arrival: &'a Arrival,
    account: &'a Account,
    /// Of the door; where it has none the directory decides.
    workspace: Option<&'a WorkspaceId>,
    hint: crate::normalise::Hint,
}

impl Intake<'_> {
    async fn store(&self, delivery: Delivery) -> Result<Response, Problem> {
        let single = matches!(delivery, Delivery::One(_));
        let elements = match delivery {
            Delivery::One(value) => vec![Element { value, raw: Vec::new() }],
            Delivery::Batch(elements) => elements,
        };
        let directory = self.directory()?;
        let mut understood = Vec::with_capacity(elements.len());
        let mut tokens = BTreeMap::new();
        for Element { value, raw } in elements {
            let bytes = if single { &self.arrival.body } else { raw.as_slice() };
            let event = self.understand(value, bytes, directory.as_deref());
            let count: &mut u32 = tokens.entry(event.0.workspace(self.workspace).cloned()).or_default();
            *count = count.saturating_add(1);
            understood.push(event);
        }
        self.take_tokens(tokens.iter().map(|(workspace, count)| (workspace.as_ref(), *count)).collect())?;
        let mut steps = Vec::with_capacity(understood.len());
        for (event, raw) in understood {
            let step = self.submit(event, raw).await?;
            let refused = matches!(&step, Step::Sent { submitted, .. } if submitted.is_refused());
            steps.push(step);
            if refused {
                // Nothing after it, or a key's events would change their order.
                break;
            }
        }
        let mut results = Vec::with_capacity(steps.len());
        let (mut failed, mut refusal) = (None, None);
        for step in steps {
            match self.finish(step, &mut refusal).await {
                Ok(result) => results.push(result),
                Err(problem) => failed = Some(problem),
            }
        }
        match (failed, refusal) {
            (Some(problem), _) => Err(problem),
            (None, Some(problem)) if single => Err(problem),
            (None, _) => {
                let accepted = Accepted { request_id: self.arrival.request_id.clone(), results };
                Ok((StatusCode::ACCEPTED, JsonBody(accepted)).into_response())
            }
        }
    }

    /// The directory, where one is needed: an event that names its workspace by its door needs none. `None` while the
    /// log cannot be read: then nothing is attributed before its turn in the spool comes.
    fn directory(&self) -> Result<Option<Arc<Directory>>, Problem> {
        if self.workspace.is_some() || self.app.directory.caught_up() {
            return Ok(Some(self.app.directory.snapshot()));
        }
        if self.app.outlet.mode() == Mode::Direct {
            return Err(Problem::component_down("the directory"));
        }
        Ok(None)
    }

    /// What an event says and whose it is, with its bytes without secrets.
    fn understand(&self, mut value: Json, bytes: &[u8], directory: Option<&Directory>) -> (Understood, Vec<u8>) {
        let redactor = &self.app.redactor;
        let found = redactor.found(api_keys(&value));
        let redaction = redactor.redact(bytes, &found);
        if redaction.removed() {
            redactor.scrub(&mut value, &found);
        }
        let raw = redaction.bytes.into_owned();
        let context = Context { zone: self.account.zone, received_at: self.arrival.received_at, hint: self.hint };
        let event = match normalise(&value, &context) {
            Ok(event) => event,
            Err(why) => return (Understood::Refused(why), raw),
        };
        let destination = match (self.workspace, directory) {
            (Some(workspace), _) => Destination::Workspace(workspace.clone()),
            (None, Some(directory)) => attribute(&event, directory),
            (None, None) => Destination::Unrouted(route::UNREAD),
        };
        (Understood::Event { event: Box::new(event), destination }, raw)
    }

    /// Takes the tokens of a delivery, all or none.
    fn take_tokens(&self, counts: Vec<(Option<&WorkspaceId>, u32)>) -> Result<(), Problem> {
        let now = Instant::now();
        let bucket = |workspace: Option<&WorkspaceId>| -> &Bucket {
            let own = workspace.and_then(|workspace| self.app.workspaces.get(workspace));
            own.map_or(&self.account.rate, |doors| &doors.rate)
        };
        let waits = counts.iter().filter_map(|(workspace, _)| Some((bucket(*workspace).wait(now)?, *workspace)));
        if let Some((wait, workspace)) = waits.max_by_key(|(wait, _)| *wait) {
            metrics::rate_limited(workspace);
            return Err(problems::rate_limited(wait));
        }
        for (workspace, count) in counts {
            bucket(workspace).take(count, now);
        }
        Ok(())
    }

    /// Submits one event, unless it is known already.
    async fn submit(&self, event: Understood, raw: Vec<u8>) -> Result<Step, Problem> {
        let (event, destination) = match event {
            Understood::Event { event, destination } => (*event, destination),
            Understood::Refused(why) => {
                return self.set_aside(why.code(), why.to_string(), raw, problems::rejected(why)).await;
            }
        };
        metrics::noticed(&event.noticed);
        if let Body::Unknown(unknown) = &event.body {
            metrics::unknown_word(&unknown.event);
        }
        let (id, kind) = (event.id, event.body.kind());
        let digest = self.app.recent.digest(&event.content);
        let conflict = match self.app.recent.check(id, destination.workspace(), digest) {
            Verdict::Duplicate(placed) => {
                metrics::duplicate(destination.workspace(), kind);
                return Ok(Step::Known { id, placed });
            }
            Verdict::Conflict => {
                metrics::conflict(destination.workspace(), kind);
                true
            }
            Verdict::New => false,
        };
        if let (Body::CallSummarised(_), Some(call)) = (&event.body, &event.call)
            && self.app.recent.is_another_summary(call, digest)
        {
            metrics::summary_changed(destination.workspace());
        }
        let stamp = Stamp {
            received_at: self.arrival.received_at,
            raw,
            raw_content_type: self.arrival.content_type.clone(),
            endpoint: self.arrival.endpoint,
            request_id: self.arrival.request_id.clone(),
        };
        let (topic, key, encoded, raw) = match &destination {
            Destination::Workspace(workspace) => {
                let fact = event.into_fact(workspace.clone(), stamp);
                (topics::FACTS, fact.key(), self.codecs.fact.encode(&fact), fact.raw)
            }
            Destination::Unrouted(reason) => {
                let event = event.into_unrouted((*reason).to_owned(), stamp);
                let key = helix_schemas::key::unrouted_key(event.agent.as_ref(), event.did.as_ref());
                let topic = if *reason == route::UNREAD { ATTRIBUTE_LATER } else { topics::UNROUTED };
                (topic, key, self.codecs.unrouted.encode(&event), event.raw)
            }
        };
        match encoded {
            // Control characters grow sixfold in what is derived from a body.
            Ok(value) if key.len() + value.len() + ROOM > LARGEST => {
                let why = "what it says in full is larger than a record of the log may be";
                self.set_aside("fact_not_writable", why.to_owned(), raw, problems::fact_not_writable()).await
            }
            Ok(value) => {
                let submitted = Box::new(self.app.outlet.submit(Record { topic, key, value }).await);
                let meaning = Box::new(Meaning::Fact { destination, kind, digest, conflict });
                Ok(Step::Sent { id, submitted, meaning })
            }
            Err(error) => {
                tracing::error!(%error, %id, request_id = self.arrival.request_id, "a fact cannot be written; its bytes are kept");
                self.set_aside("fact_not_writable", error.to_string(), raw, problems::fact_not_writable()).await
            }
        }
    }

    async fn set_aside(
        &self,
        code: &'static str,
        reason: String,
        raw: Vec<u8>,
        problem: Problem,
    ) -> Result<Step, Problem> {
        let (id, record) = self.arrival.reject(self.app, code, reason, self.workspace, raw)?;
        let submitted = Box::new(self.app.outlet.submit(record).await);
        Ok(Step::Sent { id, submitted, meaning: Box::new(Meaning::Rejected { code, problem }) })
    }

    /// Waits until one event is kept and says what became of it.
    async fn finish(&self, step: Step, refusal: &mut Option<Problem>) -> Result<EventResult, Problem> {
        let (id, submitted, meaning) = match step {
            Step::Known { id, placed } => return Ok(result("duplicate", id, placed, None)),
            Step::Sent { id, submitted, meaning } => (id, *submitted, *meaning),
        };
        let placed = self.app.outlet.placed(submitted).await.map_err(|error| self.arrival.not_kept(&error))?;
        let kept = match placed {
            Placed::Log(_) => None,
            Placed::Spool(topic) => {
                metrics::spooled(topic);
                Some("spooled")
            }
        };
        Ok(match meaning {
            Meaning::Fact { destination, kind, digest, conflict } => {
                let (status, reason) = match &destination {
                    Destination::Workspace(workspace) => {
                        metrics::accepted(workspace, kind);
                        ("stored", conflict.then_some(CONFLICT))
                    }
                    Destination::Unrouted(reason) => {
                        metrics::unrouted(reason, kind);
                        ("unrouted", Some(*reason))
                    }
                };
                self.app.recent.remember(id, destination.workspace().cloned(), digest, placed);
                result(kept.unwrap_or(status), id, placed, reason)
            }
            Meaning::Rejected { code, problem } => {
                metrics::rejected(self.workspace, code);
                *refusal = Some(problems::kept(problem, Some(id)));
                result("rejected", id, placed, Some(code))
            }
        })
    }
}

impl Understood {
    /// Whose token it takes.
    fn workspace<'a>(&'a self, named: Option<&'a WorkspaceId>) -> Option<&'a WorkspaceId> {
        match self {
            Self::Event { destination, .. } => destination.workspace(),
            Self::Refused(_) => named,
        }
    }
}

fn result(status: &'static str, id: FactId, placed: Placed, reason: Option<&'static str>) -> EventResult {
    let (topic, at) = match placed {
        Placed::Log(at) => (Some(at.topic), Some(at)),
        // Nobody knows yet.
        Placed::Spool(ATTRIBUTE_LATER) => (None, None),
        Placed::Spool(topic) => (Some(topic), None),
    };
    EventResult { status, id, topic, partition: at.map(|at| at.partition), offset: at.map(|at| at.offset), reason }
}
