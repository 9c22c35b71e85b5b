//! `GET /api/calls` and `GET /api/calls/{callId}`: the history of calls, newest first, and one of them with its legs and
//! its facts.

use axum::{
    Extension, Json,
    extract::{Path, State, rejection::PathRejection},
};
use chrono::{DateTime, Utc};
use helix_kit::{http::RequestId, problem::Problem};
use helix_schemas::names::{AgentId, CallId};
use serde::Serialize;
use sqlx::FromRow;

use super::{Moment, cursor::Cursor, query::Params, unknown};
use crate::{
    access::{Part, Sight, Viewer},
    analytics::FactPlace,
    audit::Deed,
    database::DatabaseError,
    serve::App,
};

const CURSOR: &str = "calls";
const DIRECTIONS: [(&str, &str); 2] = [("inbound", "inbound"), ("outbound", "outbound")];
const OUTCOMES: [(&str, &str); 5] = [
    ("answered", "answered"),
    ("missed", "missed"),
    ("short_abandon", "short_abandon"),
    ("no_answer", "no_answer"),
    ("in_progress", "in_progress"),
];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Calls {
    calls: Vec<Call>,
    next_cursor: Option<String>,
}

#[derive(Serialize, FromRow)]
#[serde(rename_all = "camelCase")]
struct Call {
    call_id: String,
    direction: Option<String>,
    outcome: String,
    caller: Option<String>,
    did: Option<String>,
    campaign: Option<String>,
    skill: Option<String>,
    agent_id: Option<String>,
    agent_ids: Vec<String>,
    started_at: Moment,
    answered_at: Option<Moment>,
    ended_at: Option<Moment>,
    wait_seconds: Option<i64>,
    talk_seconds: Option<i64>,
    hold_seconds: Option<i64>,
    wrap_up_seconds: Option<i64>,
    disposition: Option<String>,
    hangup_by: Option<String>,
    recording_url: Option<String>,
    presumed: bool,
    conflicts: Vec<String>,
}

impl Call {
    fn seen_by(self, sight: &Sight) -> Self {
        Self { caller: sight.caller(self.caller), recording_url: sight.recording(self.recording_url), ..self }
    }
}

/// Rows of a workspace ($1), with what comes after that.
macro_rules! calls {
    ($rest:literal) => {
        concat!(
            "select call_id, direction, outcome, caller, did, campaign, skill, agent_id, agent_ids, started_at, answered_at,
                    ended_at, wait_seconds, talk_seconds, hold_seconds, wrap_up_seconds, disposition, hangup_by,
                    recording_url, presumed, conflicts
             from read.calls
             where workspace_id = $1 ",
            $rest
        )
    };
}

/// $2 and $3 the range, $4 agent, $5 direction, $6 outcome, $7 the one agent, $8 and $9 the cursor, $10 rows.
const LIST: &str = calls!(
    "and started_at >= coalesce($2::timestamptz, '-infinity') and started_at < coalesce($3::timestamptz, 'infinity')
     and ($4::text is null or $4 = any (agent_ids))
     and ($5::text is null or direction = $5)
     and ($6::text is null or outcome = $6)
     and ($7::text is null or $7 = any (agent_ids))
     and started_at <= coalesce($8::timestamptz, 'infinity')
     and ($8::timestamptz is null or started_at < $8 or call_id > $9)
     order by started_at desc, call_id
     limit $10"
);

/// $2 the call, $3 the one agent.
const ONE: &str = calls!("and call_id = $2 and ($3::text is null or $3 = any (agent_ids))");

pub(crate) async fn list(
    State(app): State<App>,
    viewer: Viewer,
    Extension(request): Extension<RequestId>,
    params: Params,
) -> Result<Json<Calls>, Problem> {
    let sight = viewer.may(Part::Records)?;
    let range = params.range()?;
    let agent = params.agent("agentId")?;
    let direction = params.word("direction", &DIRECTIONS)?;
    let outcome = params.word("outcome", &OUTCOMES)?;
    let limit = params.limit()?;
    let after = params.text("cursor").map(Place::read).transpose()?;
    let rows = sqlx::query_as(LIST)
        .bind(app.workspace())
        .bind(range.from)
        .bind(range.to)
        .bind(agent.as_ref().map(AgentId::as_str))
        .bind(direction)
        .bind(outcome)
        .bind(sight.only())
        .bind(after.as_ref().map(|place| place.started_at))
        .bind(after.as_ref().map(|place| place.call.as_str()))
        // One more tells whether there is another page.
        .bind(limit + 1);
    let mut calls: Vec<Call> = rows.fetch_all(app.api.database.pool()).await.map_err(DatabaseError::from)?;
    let page = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = calls.len() > page;
    calls.truncate(page);
    let next_cursor = calls.last().filter(|_| more).map(Place::write);
    let count = calls.iter().filter(|call| call.caller.is_some()).count();
    let deed = Deed { action: "calls.list", about: None, count };
    app.audit.look(&viewer, &request, &format!("calls?{}", params.identity()), deed)?;
    Ok(Json(Calls { calls: calls.into_iter().map(|call| call.seen_by(&sight)).collect(), next_cursor }))
}

/// Where a page of calls ended.
struct Place {
    started_at: DateTime<Utc>,
    call: String,
}

impl Place {
    fn read(text: &str) -> Result<Self, Problem> {
        let Cursor { ranks: [micros], call } = Cursor::<1>::read(CURSOR, text)?;
        Ok(Self { started_at: super::cursor::moment(micros)?, call })
    }

    fn write(call: &Call) -> String {
        Cursor { ranks: [call.started_at.0.timestamp_micros()], call: call.call_id.clone() }.write(CURSOR)
    }
}

#[derive(Serialize)]
pub(crate) struct Detail {
    #[serde(flatten)]
    call: Call,
    legs: Vec<Leg>,
    facts: Vec<FactPlace>,
}

#[derive(Serialize, FromRow)]
#[serde(rename_all = "camelCase")]
struct Leg {
    position: i64,
    leg_id: Option<String>,
    agent_id: Option<String>,
    status: Option<String>,
    outcome: String,
    started_at: Option<Moment>,
    answered_at: Option<Moment>,
    ended_at: Option<Moment>,
    wait_seconds: Option<i64>,
    talk_seconds: Option<i64>,
    transferred: bool,
}

const LEGS: &str = "
select position, leg_id, agent_id, status, outcome, started_at, answered_at, ended_at, wait_seconds, talk_seconds, transferred
from read.call_legs
where workspace_id = $1 and call_id = $2
order by position";

pub(crate) async fn one(
    State(app): State<App>,
    viewer: Viewer,
    Extension(request): Extension<RequestId>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Detail>, Problem> {
    let no_such_call = || unknown("no_such_call", "There is no such call");
    let sight = viewer.may(Part::Records)?;
    let Path(text) = path.map_err(|_| no_such_call())?;
    let id = CallId::new(&text).map_err(|_| no_such_call())?;
    let mut moment = app.api.database.moment().await?;
    let call = sqlx::query_as(ONE).bind(app.workspace()).bind(id.as_str()).bind(sight.only());
    let call: Option<Call> = call.fetch_optional(&mut *moment).await.map_err(DatabaseError::from)?;
    let call = call.ok_or_else(no_such_call)?;
    let legs = sqlx::query_as(LEGS).bind(app.workspace()).bind(id.as_str());
    let legs = legs.fetch_all(&mut *moment).await.map_err(DatabaseError::from)?;
    drop(moment);
    let facts = app.api.analytics.facts(app.workspace(), id.as_str()).await?;
    let deed = Deed { action: "calls.read", count: usize::from(call.caller.is_some()), about: Some(id.clone()) };
    app.audit.look(&viewer, &request, &format!("calls/{id}"), deed)?;
    Ok(Json(Detail { call: call.seen_by(&sight), legs, facts }))
}
