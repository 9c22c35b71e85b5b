//! The directory over HTTP: register, release, heartbeat, list. A sidecar's own key opens its own workspace only.

use std::{collections::BTreeSet, time::Duration};

use axum::{
    Json as JsonBody,
    extract::{Path, Request, State, rejection::PathRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use helix_kit::problem::Problem;
use helix_schemas::{
    directory::EntryKind,
    names::{AgentId, Did, NameError, WorkspaceId},
};
use serde::Serialize;
use serde_json::json;

use super::{
    intake::{self, Arrival, Shared},
    problems,
};
use crate::{
    app::{App, Doors},
    liveness::EXPIRES,
    registrar::Claim,
    value::{self, Json},
};

/// Longest base URL of a sidecar.
const URL_LIMIT: usize = 2048;

type Answer = Result<Response, Problem>;

fn written(answer: Answer) -> Response {
    match answer {
        Ok(response) => response,
        Err(problem) if problem.status == StatusCode::UNAUTHORIZED => {
            ([(header::WWW_AUTHENTICATE, "ApiKey realm=\"helix\"")], problem).into_response()
        }
        Err(problem) => problem.into_response(),
    }
}

async fn within(deadline: Duration, answer: impl Future<Output = Answer>) -> Response {
    match tokio::time::timeout(deadline, answer).await {
        Ok(answer) => written(answer),
        Err(_elapsed) => problems::deadline_exceeded().into_response(),
    }
}

/// Refuses who presents no register key of any workspace: a stranger learns neither what a body lacks nor which slugs exist.
fn known(app: &App, keys: &[String]) -> Result<(), Problem> {
    // All are compared, so that the time tells nothing.
    let opens = |any, doors: &Doors| intake::presents(keys, &doors.register) | any;
    if app.workspaces.values().fold(false, opens) { Ok(()) } else { Err(problems::unauthorised()) }
}

/// The workspace, if it is one of ours and its register key was presented.
fn admitted(app: &App, named: &str, keys: &[String]) -> Result<WorkspaceId, Problem> {
    known(app, keys)?;
    let slug = WorkspaceId::new(named).map_err(|_| problems::unknown_workspace())?;
    let secrets = app.workspaces.get(&slug).ok_or_else(problems::unknown_workspace)?;
    if intake::presents(keys, &secrets.register) { Ok(slug) } else { Err(problems::unauthorised()) }
}

/// The members of a JSON request body.
fn object(arrival: &Arrival) -> Result<std::collections::BTreeMap<String, Json>, Problem> {
    let text = std::str::from_utf8(&arrival.body).map_err(|_| problems::request_invalid("the body is not UTF-8"))?;
    match value::parse(text).map_err(|fault| problems::request_invalid(fault.to_string()))?.value {
        Json::Object(members) => Ok(members),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) | Json::Array(_) => {
            Err(problems::request_invalid("the body is not an object"))
        }
    }
}

fn text_member(members: &std::collections::BTreeMap<String, Json>, name: &str) -> Result<Option<String>, Problem> {
    match members.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::Text(text)) => Ok(Some(text.clone())),
        Some(Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_)) => {
            Err(problems::request_invalid(format!("{name} is not a string")))
        }
    }
}

/// A list of names; a number counts as its text, as for DIDs.
fn names<T: Ord>(
    members: &std::collections::BTreeMap<String, Json>,
    name: &str,
    make: fn(&str) -> Result<T, NameError>,
) -> Result<BTreeSet<T>, Problem> {
    let items = match members.get(name) {
        None | Some(Json::Null) => return Ok(BTreeSet::new()),
        Some(Json::Array(items)) => items,
        Some(Json::Bool(_) | Json::Number(_) | Json::Text(_) | Json::Object(_)) => {
            return Err(problems::request_invalid(format!("{name} is not an array")));
        }
    };
    let each = items.iter().map(|item| match item {
        Json::Text(text) | Json::Number(text) => {
            make(text).map_err(|error| problems::request_invalid(format!("{name}: {error}")))
        }
        Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => {
            Err(problems::request_invalid(format!("{name} has an element that is not a string")))
        }
    });
    each.collect()
}

/// `POST /api/supervisor/register`
pub(super) async fn register(State(app): State<Shared>, request: Request) -> Response {
    let deadline = app.config.ingest.deadline;
    within(deadline, async move {
        let keys = intake::keys(&request, None);
        known(&app, &keys)?;
        let arrival = Arrival::read(&app, request, "/api/supervisor/register", None).await?;
        let members = object(&arrival)?;
        let named = text_member(&members, "workspace")?.unwrap_or_default();
        let workspace = admitted(&app, &named, &keys)?;
        let url = text_member(&members, "url")?;
        let fits = |url: &String| {
            (url.starts_with("http://") || url.starts_with("https://"))
                && url.len() <= URL_LIMIT
                && !url.chars().any(|c| c.is_control() || c.is_whitespace())
        };
        if url.as_ref().is_some_and(|url| !fits(url)) {
            return Err(problems::request_invalid("url is not an http or https URL"));
        }
        let agents = names(&members, "agents", AgentId::new)?;
        let dids = names(&members, "dids", Did::new)?;
        let claim = Claim { workspace, url, agents, dids };
        let request_id = arrival.request_id;
        // Runs to its end even if the caller goes away: a claim half judged would leave a refused record behind.
        let task = tokio::spawn(async move {
            let outcome = app.registrar.claim(&claim, &request_id).await;
            outcome.map(|added| (claim.workspace, added))
        });
        let outcome = task.await.map_err(|_| Problem::component_down("the directory"))?;
        let (workspace, added) = outcome.map_err(|error| problems::registrar(&error))?;
        let body = json!({"workspace": workspace, "added": {"agents": added.agents, "dids": added.dids}});
        Ok(JsonBody(body).into_response())
    })
    .await
}

/// `DELETE /api/supervisor/register/{workspace}/agents/{agentId}`
pub(super) async fn release_agent(
    state: State<Shared>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Response {
    release(state, path, EntryKind::Agent, request).await
}

/// `DELETE /api/supervisor/register/{workspace}/dids/{did}`
pub(super) async fn release_did(
    state: State<Shared>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Response {
    release(state, path, EntryKind::Did, request).await
}

async fn release(
    State(app): State<Shared>,
    path: Result<Path<(String, String)>, PathRejection>,
    kind: EntryKind,
    request: Request,
) -> Response {
    let deadline = app.config.ingest.deadline;
    within(deadline, async move {
        let Path((named, value)) = path.map_err(|_| problems::request_invalid("the path is not UTF-8"))?;
        let workspace = admitted(&app, &named, &intake::keys(&request, None))?;
        let request_id = intake::request_id(&request);
        let task =
            tokio::spawn(async move { app.registrar.release(&workspace, kind, value.trim(), &request_id).await });
        let outcome = task.await.map_err(|_| Problem::component_down("the directory"))?;
        outcome.map_err(|error| problems::registrar(&error))?;
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}

/// `POST /api/supervisor/heartbeat`
pub(super) async fn heartbeat(State(app): State<Shared>, request: Request) -> Response {
    let deadline = app.config.ingest.deadline;
    within(deadline, async move {
        let keys = intake::keys(&request, None);
        known(&app, &keys)?;
        let arrival = Arrival::read(&app, request, "/api/supervisor/heartbeat", None).await?;
        let named = text_member(&object(&arrival)?, "workspace")?.unwrap_or_default();
        let workspace = admitted(&app, &named, &keys)?;
        if !app.directory.caught_up() {
            return Err(Problem::component_down("the directory"));
        }
        if !app.directory.snapshot().knows(&workspace) {
            return Err(problems::not_registered());
        }
        app.liveness.beat(&workspace).await.map_err(|error| {
            tracing::warn!(%error, %workspace, "a heartbeat could not be noted");
            Problem::component_down("telephony_redis")
        })?;
        Ok(JsonBody(json!({"expiresInSeconds": EXPIRES.as_secs()})).into_response())
    })
    .await
}

#[derive(Serialize)]
struct Listed {
    workspace: WorkspaceId,
    url: Option<String>,
    /// `null` where Redis does not answer: nobody knows.
    live: Option<bool>,
    agents: Vec<String>,
    dids: Vec<String>,
}

/// `GET /api/supervisor/directory`
pub(super) async fn list(State(app): State<Shared>, request: Request) -> Response {
    let deadline = app.config.ingest.deadline;
    within(deadline, async move {
        let keys = intake::keys(&request, None);
        let all = app.accounts.iter().fold(false, |all, account| intake::presents(&keys, &account.key) | all);
        let own: BTreeSet<&WorkspaceId> = app
            .workspaces
            .iter()
            .filter(|(_, keyed)| intake::presents(&keys, &keyed.register))
            .map(|(slug, _)| slug)
            .collect();
        if !all && own.is_empty() {
            return Err(problems::unauthorised());
        }
        if !app.directory.caught_up() {
            return Err(Problem::component_down("the directory"));
        }
        let directory = app.directory.snapshot();
        let shown: Vec<_> = directory.workspaces().filter(|(slug, _)| all || own.contains(slug)).collect();
        let slugs: Vec<WorkspaceId> = shown.iter().map(|(slug, _)| (*slug).clone()).collect();
        let living = app.liveness.living(&slugs).await.ok();
        let owned = |names: BTreeSet<&str>| names.into_iter().map(str::to_owned).collect();
        let workspaces: Vec<Listed> = shown
            .into_iter()
            .map(|(slug, url)| Listed {
                workspace: slug.clone(),
                url: url.map(str::to_owned),
                live: living.as_ref().map(|living| living.get(slug).copied().unwrap_or(false)),
                agents: owned(directory.agents_of(slug)),
                dids: owned(directory.dids_of(slug)),
            })
            .collect();
        Ok(JsonBody(json!({"workspaces": workspaces})).into_response())
    })
    .await
}
