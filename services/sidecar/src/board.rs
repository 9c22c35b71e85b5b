//! `GET /api/supervisor/board`: the board as JSON, now or at a past moment.

use async_trait::async_trait;
use axum::{
    Extension,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use helix_fold::board::{
    document::{BoardDocument, Head},
    visible::Visible,
};
use helix_kit::{http::RequestId, problem::Problem};

use crate::{
    access::Viewer,
    api::query::{Params, moment},
    audit::Deed,
    serve::App,
    view::{View, callers},
};

/// By which clock a past moment is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// As it was: facts that had happened by then.
    Event,
    /// As we knew it then: facts that had reached us by then.
    Received,
}

/// A board of the past, whole: the sidecar masks it for its viewer.
#[derive(Debug, Clone)]
pub struct PastBoard {
    /// What was shown.
    pub visible: Visible,
    /// How many facts it is made of, as its version.
    pub version: u64,
}

/// Why there is no board of that moment.
#[derive(Debug, thiserror::Error)]
pub enum PastBoardError {
    /// The log cannot be read now.
    #[error("the log cannot be read: {0}")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Others have asked before.
    #[error("others are being answered")]
    Busy,
    /// Reading would take longer than a request may.
    #[error("that moment lies too far back for one request")]
    TooFar,
}

/// Who can fold the log up to a past moment. Brought in by whoever starts the sidecar.
#[async_trait]
pub trait PastBoards: Send + Sync {
    /// The board of this workspace as of a moment.
    async fn board(&self, as_of: DateTime<Utc>, clock: Clock) -> Result<PastBoard, PastBoardError>;
}

pub(crate) async fn board(
    State(app): State<App>,
    viewer: Viewer,
    Extension(request): Extension<RequestId>,
    params: Params,
) -> Result<Response, Problem> {
    let clock = match params.text("clock") {
        None | Some("event") => Clock::Event,
        Some("received") => Clock::Received,
        Some(_) => return Err(bad("clock_unknown", "clock is `event` or `received`")),
    };
    let Some(text) = params.text("asOf") else {
        let board = app.hub.board(&viewer.audience()).ok_or_else(|| Problem::component_down("the board"))?;
        app.audit
            .look(&viewer, &request, "board", Deed { action: "board.read", about: None, count: app.hub.numbers() })
            .await?;
        return Ok(answer(board));
    };
    let (board, count) = past(&app, &viewer, text, clock).await?;
    let deed = Deed { action: "board.read_past", about: None, count };
    app.audit.look(&viewer, &request, &format!("board?{}", params.identity()), deed).await?;
    Ok(board)
}

/// A past board, and how many callers' numbers it holds.
async fn past(app: &App, viewer: &Viewer, text: &str, clock: Clock) -> Result<(Response, usize), Problem> {
    let malformed = "asOf is a moment as in 2026-01-31T09:00:00+05:30 (RFC 3339; `+` is %2B)";
    let as_of = moment(text).ok_or_else(|| bad("as_of_malformed", malformed))?;
    let Some(past) = &app.past_boards else {
        return Err(bad(
            "as_of_not_here",
            "this sidecar was started without access to the log; use `helix replay board`",
        ));
    };
    let found = past.board(as_of, clock).await.map_err(|error| match error {
        PastBoardError::Unavailable(error) => {
            tracing::warn!(%error, "a past board could not be made");
            Problem::component_down("the log")
        }
        PastBoardError::Busy => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "past_boards_busy",
            "Others are being shown the past",
            "one past board is made at a time; ask again shortly, or use `helix replay board`",
        )
        .retry_after(5),
        PastBoardError::TooFar => bad("as_of_too_far", "use `helix replay board`, which may take its time"),
    })?;
    let view = View::of(viewer.audience(), &found.visible);
    let head = Head {
        workspace: app.workspace(),
        as_of: as_of.to_rfc3339_opts(SecondsFormat::Millis, true),
        version: found.version,
        stale_reasons: Vec::new(),
        stale_since: None,
        lag_facts: 0,
        lag_seconds: 0,
    };
    let document = serde_json::to_vec(&BoardDocument::new(head, view.visible()));
    let board = document.map_err(|_| Problem::component_down("the board"))?;
    Ok((answer(board.into()), callers(&found.visible)))
}

fn bad(code: &'static str, detail: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, code, "The query cannot be answered", detail)
}

fn answer(board: Bytes) -> Response {
    let mut response = board.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
