//! The routes of contract.md ("Ingest"). What each answers is in the modules below; what all share is in `intake`.

mod events;
mod intake;
pub mod openapi;
pub mod problems;
mod registration;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, Request, State, rejection::PathRejection},
    response::Response,
    routing::{MethodRouter, delete, get, post},
};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Deserialize;
use serde_json::json;

use self::intake::Shared;
use crate::{app::App, normalise::Hint};

/// A webhook path: what it expects, and where its workspace comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    AgentEvent,
    CallEvent,
    CallbackByHost,
    CallbackByPath,
}

impl Door {
    const ALL: [Self; 4] = [Self::AgentEvent, Self::CallEvent, Self::CallbackByHost, Self::CallbackByPath];

    const fn endpoint(self) -> &'static str {
        match self {
            Self::AgentEvent => "/api/supervisor/agent-event",
            Self::CallEvent => "/api/supervisor/call-event",
            Self::CallbackByHost => "/webhooks/ozonetel/missed-call",
            Self::CallbackByPath => "/workspaces/{workspace}/webhooks/ozonetel/missed-call",
        }
    }

    const fn hint(self) -> Hint {
        match self {
            Self::AgentEvent => Hint::Agent,
            Self::CallEvent => Hint::Call,
            Self::CallbackByHost | Self::CallbackByPath => Hint::Callback,
        }
    }

    /// POST takes a delivery; GET and HEAD answer the provider's dashboard, which probes a URL before it is saved.
    fn route(self) -> MethodRouter<Shared> {
        let take = move |State(app): State<Shared>, path: Result<Path<PathParams>, PathRejection>, request: Request| {
            // A path that is not UTF-8 names no workspace and presents no key.
            let path = path.map(|Path(path)| path).unwrap_or_default();
            async move { events::receive(app, self, request, path).await }
        };
        get(probe).post(take)
    }
}

/// Parameters of a webhook path.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct PathParams {
    #[serde(default)]
    workspace: Option<String>,
    #[serde(default)]
    key: Option<String>,
}

async fn probe() -> Response {
    use axum::response::IntoResponse;
    Json(json!({"ready": true})).into_response()
}

/// Every route, with health, metrics, request ids and problems.
pub fn router(app: &Arc<App>, metrics: PrometheusHandle) -> Router {
    let mut routes: Router<Shared> = Router::new();
    for door in Door::ALL {
        routes = routes.route(door.endpoint(), door.route());
        routes = routes.route(&format!("{}/k/{{key}}", door.endpoint()), door.route());
    }
    let routes = routes
        .route("/api/supervisor/register", post(registration::register))
        .route("/api/supervisor/register/{workspace}/agents/{agent}", delete(registration::release_agent))
        .route("/api/supervisor/register/{workspace}/dids/{did}", delete(registration::release_did))
        .route("/api/supervisor/heartbeat", post(registration::heartbeat))
        .route("/api/supervisor/directory", get(registration::list))
        .route(openapi::PATH, get(openapi::serve))
        .with_state(app.clone())
        .merge(helix_kit::http::health_routes(app.readiness.clone(), metrics));
    helix_kit::http::finish(routes, "ingest")
}
