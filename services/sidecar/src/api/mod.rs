//! The supervisor's API over the read models (contract.md, "Sidecar"): a file a resource.
//!
//! Every answer is read from Postgres in one statement or one moment, for this workspace and what the viewer's role is shown
//! of it ([`crate::access::Sight`]); a call's facts come from ClickHouse. "Now" is the provider's, as on the board, so that
//! figures of the day mean the same here and there.

mod agents;
mod calls;
mod counts;
mod cursor;
mod decisions;
mod metrics;
mod missed;
pub(crate) mod query;
mod summary;
mod workspace;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::Request,
    http::StatusCode,
    middleware::{self, Next},
    response::Response,
    routing::{get, post},
};
use chrono::{DateTime, SecondsFormat, Utc};
use helix_fold::settings::Tz;
use helix_kit::{
    config::{AlertConfig, Config, WorkspaceConfig},
    problem::Problem,
};
use serde::{Serialize, Serializer};

use self::decisions::Decisions;
use crate::{
    analytics::Analytics,
    database::Database,
    log::Log,
    serve::{App, SidecarError},
};

/// What the API answers from.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) database: Database,
    pub(crate) analytics: Analytics,
    pub(crate) log: Arc<Log>,
    pub(crate) decisions: Decisions,
    pub(crate) zone: Tz,
    pub(crate) service_level_seconds: i64,
    short_abandon_seconds: i64,
    wrap_up_seconds: u64,
    alerts: Vec<AlertConfig>,
}

impl Api {
    /// Connects to nothing yet.
    pub(crate) fn new(config: &Config, own: &WorkspaceConfig, workspace: &str) -> Result<Self, SidecarError> {
        let url = if own.postgres_url.is_empty() { &config.postgres.url } else { &own.postgres_url };
        let zone = own.zone.parse().map_err(|_| SidecarError::Zone(workspace.to_owned()))?;
        let analytics = Analytics::new(&config.clickhouse, own, reqwest::Client::new());
        Ok(Self {
            database: Database::new(url.reveal(), config.postgres.connections, workspace)?,
            analytics: analytics.ok_or(SidecarError::ClickHouse)?,
            log: Arc::new(Log::new(&config.log, &config.registry.url, workspace)),
            decisions: Decisions::default(),
            zone,
            service_level_seconds: own.service_level_seconds,
            short_abandon_seconds: own.short_abandon_seconds,
            wrap_up_seconds: own.automation.wrap_up.as_secs(),
            alerts: own.alerts.clone(),
        })
    }
}

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/api/workspace", get(workspace::workspace))
        .route("/api/agents", get(agents::list))
        .route("/api/agents/{agent}/timeline", get(agents::timeline))
        .route("/api/agents/{agent}/performance", get(agents::performance))
        .route("/api/calls", get(calls::list))
        .route("/api/calls/{call}", get(calls::one))
        .route("/api/missed-calls", get(missed::list))
        .route("/api/missed-calls/summary", get(summary::summary))
        .route("/api/missed-calls/{call}/claim", post(missed::claim))
        .route("/api/missed-calls/{call}/release", post(missed::release))
        .route("/api/missed-calls/{call}/waive", post(missed::waive))
        .route("/api/metrics", get(metrics::metrics))
        .layer(middleware::from_fn(in_time))
}

/// Longer than everything that bounds itself takes together: a component that froze while it was being asked.
const DEADLINE: Duration = Duration::from_secs(12);

async fn in_time(request: Request, next: Next) -> Result<Response, Problem> {
    let answered = tokio::time::timeout(DEADLINE, next.run(request)).await;
    answered.map_err(|_| Problem::component_down("a component that was being asked"))
}

/// A moment: RFC 3339 in UTC with milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, sqlx::Type)]
#[sqlx(transparent)]
pub(crate) struct Moment(pub(crate) DateTime<Utc>);

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

/// Two whole numbers, divided only where they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Ratio {
    pub(crate) numerator: i64,
    pub(crate) denominator: i64,
}

/// 404 for an id that this workspace, or this person's part of it, does not have.
pub(crate) fn unknown(code: &'static str, title: &'static str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, code, title, "check the id; what belongs to others is not told of")
}
