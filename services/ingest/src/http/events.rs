//! Webhooks in, facts out. Statuses are contract.md's, to the letter.
//!
//! Order of a delivery: read the bytes, check the key, read the events, then for each in order redact, normalise,
//! attribute and enqueue; and only when everything is enqueued wait for the acknowledgements. Nothing is answered
//! with 2xx that the log has not acknowledged.

use axum::{
    Json as JsonBody,
    extract::Request,
    http::{HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use helix_kit::problem::Problem;
use helix_schemas::{
    fact::{Body, Kind},
    id::FactId,
    names::WorkspaceId,
    topics,
};
use serde::Serialize;

use super::{
    Door,
    intake::{Arrival, Shared},
    problems,
};
use crate::{
    app::{Account, App, Doors},
    body::{self, Delivery, Element},
    codecs::Codecs,
    metrics,
    normalise::{Context, Normalised, Rejection, Stamp, normalise},
    publish::{Coordinates, Pending},
    recent::Verdict,
    redact::api_keys,
    route::{Destination, attribute},
    value::Json,
};

/// The gateway's word for the workspace of its host block.
const WORKSPACE: HeaderName = HeaderName::from_static("x-helix-workspace");
/// What a 401 asks for.
const CHALLENGE: &str = "ApiKey realm=\"helix\"";

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

/// What an enqueued record is, once it is acknowledged.
enum Meaning {
    Fact { destination: Destination, kind: Kind, digest: u64 },
    Rejected { code: &'static str, problem: Problem },
}

/// An event on its way, or known already.
enum Step {
    Known { id: FactId, at: Coordinates },
    Sent { id: FactId, pending: Pending, meaning: Box<Meaning> },
}

/// Takes one delivery.
pub(super) async fn receive(app: Shared, door: Door, request: Request, path: super::PathParams) -> Response {
    let deadline = app.config.ingest.deadline;
    match tokio::time::timeout(deadline, take(&app, door, request, path)).await {
        Ok(Ok(response)) => response,
        Ok(Err(problem)) if problem.status == StatusCode::UNAUTHORIZED => {
            ([(header::WWW_AUTHENTICATE, CHALLENGE)], problem).into_response()
        }
        Ok(Err(problem)) => problem.into_response(),
        Err(_elapsed) => problems::deadline_exceeded().into_response(),
    }
}

/// Which secret opens this door.
enum Lock<'a> {
    Account,
    Workspace(&'a WorkspaceId, &'a Doors),
}

async fn take(app: &App, door: Door, request: Request, path: super::PathParams) -> Result<Response, Problem> {
    let named = match door {
        Door::AgentEvent | Door::CallEvent => None,
        Door::CallbackByHost => Some(header_text(&request, &WORKSPACE)),
        Door::CallbackByPath => Some(path.workspace.unwrap_or_default()),
    };
    let arrival = Arrival::read(app, request, door.endpoint(), path.key.as_deref()).await?;
    let lock = match named {
        None => Lock::Account,
        Some(named) => match WorkspaceId::new(&named).ok().and_then(|slug| app.workspaces.get_key_value(&slug)) {
            Some((slug, keys)) => Lock::Workspace(slug, keys),
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
    let workspace = match lock {
        Lock::Account => None,
        Lock::Workspace(slug, _) => Some(slug),
    };
    let codecs = app.codecs.get().ok_or_else(|| Problem::component_down("the schema registry"))?;
    match delivery {
        Err(why) => {
            let id = arrival.keep(app, "body_unreadable", why.to_string(), workspace).await?;
            Err(problems::kept(problems::body_unreadable(why), Some(id)))
        }
        Ok(delivery) => {
            // An event that names its workspace by its door needs no directory; any other waits for a whole one.
            if workspace.is_none() && !app.directory.caught_up() {
                return Err(Problem::component_down("the directory"));
            }
            let intake = Intake { app, codecs, arrival: &arrival, account, workspace, hint: door.hint() };
            intake.store(delivery).await
        }
    }
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
        let directory = self.app.directory.snapshot();
        let mut steps = Vec::with_capacity(elements.len());
        let mut failed = None;
        for Element { value, raw } in elements {
            let bytes = if single { &self.arrival.body } else { raw.as_slice() };
            match self.enqueue(value, bytes, &directory) {
                Ok(step) => steps.push(step),
                Err(problem) => {
                    // Nothing after it, or a key's events would change their order.
                    failed = Some(problem);
                    break;
                }
            }
        }
        let mut results = Vec::with_capacity(steps.len());
        let mut refusal = None;
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

    fn enqueue(
        &self,
        mut value: Json,
        bytes: &[u8],
        directory: &helix_schemas::directory::Directory,
    ) -> Result<Step, Problem> {
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
            Err(why) => return self.reject(why, raw),
        };
        if let Body::Unknown(unknown) = &event.body {
            metrics::unknown_word(&unknown.event);
        }
        let destination = match self.workspace {
            Some(workspace) => Destination::Workspace(workspace.clone()),
            None => attribute(&event, directory),
        };
        let digest = self.app.recent.digest(&event.content);
        let (id, kind) = (event.id, event.body.kind());
        match self.app.recent.check(id, destination.workspace(), digest) {
            Verdict::Duplicate(at) => {
                metrics::duplicate(destination.workspace(), kind);
                return Ok(Step::Known { id, at });
            }
            Verdict::Conflict => metrics::conflict(destination.workspace(), kind),
            Verdict::New => {}
        }
        self.send(event, destination, digest, raw)
    }

    fn send(&self, event: Normalised, destination: Destination, digest: u64, raw: Vec<u8>) -> Result<Step, Problem> {
        let (id, kind) = (event.id, event.body.kind());
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
                (topics::UNROUTED, key, self.codecs.unrouted.encode(&event), event.raw)
            }
        };
        let encoded = match encoded {
            Ok(encoded) => encoded,
            Err(error) => {
                tracing::error!(%error, %id, request_id = self.arrival.request_id, "a fact cannot be written; its bytes are kept");
                return self.set_aside("fact_not_writable", error.to_string(), raw, problems::fact_not_writable());
            }
        };
        let pending =
            self.app.publisher.enqueue(topic, &key, &encoded).map_err(|error| self.arrival.log_down(&error))?;
        let meaning = Box::new(Meaning::Fact { destination, kind, digest });
        Ok(Step::Sent { id, pending, meaning })
    }

    fn reject(&self, why: Rejection, raw: Vec<u8>) -> Result<Step, Problem> {
        self.set_aside(why.code(), why.to_string(), raw, problems::rejected(why))
    }

    fn set_aside(&self, code: &'static str, reason: String, raw: Vec<u8>, problem: Problem) -> Result<Step, Problem> {
        let (id, pending) = self.arrival.reject(self.app, code, reason, self.workspace, raw)?;
        Ok(Step::Sent { id, pending, meaning: Box::new(Meaning::Rejected { code, problem }) })
    }

    /// Waits for one event's acknowledgement and says what became of it.
    async fn finish(&self, step: Step, refusal: &mut Option<Problem>) -> Result<EventResult, Problem> {
        let (id, pending, meaning) = match step {
            Step::Known { id, at } => return Ok(result("duplicate", id, at, None)),
            Step::Sent { id, pending, meaning } => (id, pending, *meaning),
        };
        let at = self.app.publisher.acknowledged(pending).await.map_err(|error| self.arrival.log_down(&error))?;
        Ok(match meaning {
            Meaning::Fact { destination, kind, digest } => {
                let (status, reason) = match &destination {
                    Destination::Workspace(workspace) => {
                        metrics::accepted(workspace, kind);
                        ("stored", None)
                    }
                    Destination::Unrouted(reason) => {
                        metrics::unrouted(reason, kind);
                        ("unrouted", Some(*reason))
                    }
                };
                self.app.recent.remember(id, destination.workspace().cloned(), digest, at);
                result(status, id, at, reason)
            }
            Meaning::Rejected { code, problem } => {
                metrics::rejected(self.workspace, code);
                *refusal = Some(problems::kept(problem, Some(id)));
                result("rejected", id, at, Some(code))
            }
        })
    }
}

fn result(status: &'static str, id: FactId, at: Coordinates, reason: Option<&'static str>) -> EventResult {
    EventResult { status, id, topic: Some(at.topic), partition: Some(at.partition), offset: Some(at.offset), reason }
}
