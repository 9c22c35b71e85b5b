//! `GET /api/workspace`: what a page needs to know of the workspace, and of who is asking.

use axum::{Json, extract::State};
use helix_kit::{auth::Role, config::AlertConfig, problem::Problem};
use helix_schemas::names::AgentId;
use serde::Serialize;

use crate::{
    access::{Part, Viewer},
    serve::App,
};

#[derive(Serialize)]
pub(crate) struct Workspace {
    workspace: String,
    name: String,
    zone: &'static str,
    thresholds: Thresholds,
    alerts: Vec<AlertConfig>,
    me: Me,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Thresholds {
    service_level_seconds: i64,
    short_abandon_seconds: i64,
    wrap_up_seconds: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Me {
    subject: String,
    role: Role,
    agent_id: Option<AgentId>,
}

pub(crate) async fn workspace(State(app): State<App>, viewer: Viewer) -> Result<Json<Workspace>, Problem> {
    viewer.may(Part::Records)?;
    let api = &app.api;
    Ok(Json(Workspace {
        workspace: app.workspace().to_owned(),
        name: app.name.to_string(),
        zone: api.zone.name(),
        thresholds: Thresholds {
            service_level_seconds: api.service_level_seconds,
            short_abandon_seconds: api.short_abandon_seconds,
            wrap_up_seconds: api.wrap_up_seconds,
        },
        alerts: api.alerts.clone(),
        me: Me { subject: viewer.subject, role: viewer.role, agent_id: viewer.agent },
    }))
}
