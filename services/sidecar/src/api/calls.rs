//! `GET /api/calls` and `GET /api/calls/{callId}`: the history of calls, newest first, and one of them with its legs and
//! its facts.
//!
//! A filter may match few calls among millions. The history is read in stretches of so many calls by the index of their
//! start, each a statement of its own, until the page is full, the range ends or [`SEARCH`] is over: then the page is
//! shorter, and its cursor goes on where the search ended. So no question is longer than a stretch.

use std::time::{Duration, Instant};

use axum::{
    Extension, Json,
    extract::{Path, State, rejection::PathRejection},
};
use chrono::{DateTime, Utc};
use helix_kit::{http::RequestId, problem::Problem};
use helix_schemas::names::{AgentId, CallId};
use serde::Serialize;
use sqlx::{FromRow, PgConnection};

use super::{
    Moment,
    cursor::Cursor,
    query::{Params, Range},
    unknown,
};
use crate::{
    access::{Part, Sight, Viewer},
    analytics::FactPlace,
    audit::Deed,
    database::{Database, DatabaseError},
    serve::App,
};

const CURSOR: &str = "calls";
/// Calls that one statement looks at.
const STRETCH: i64 = 10_000;
/// A request looks for matching calls no longer; then it answers with what it has.
const SEARCH: Duration = Duration::from_secs(1);
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
    /// Whether it lets one know, or hear, the caller.
    fn tells_of_the_caller(&self) -> bool {
        self.caller.is_some() || self.recording_url.is_some()
    }

    fn seen_by(self, sight: &Sight) -> Self {
        let is_shown = |agent: &String| sight.only().is_none_or(|only| only == agent);
        Self {
            caller: sight.caller(self.caller),
            recording_url: sight.recording(self.recording_url),
            agent_id: self.agent_id.filter(is_shown),
            agent_ids: self.agent_ids.into_iter().filter(is_shown).collect(),
            ..self
        }
    }
}

macro_rules! columns {
    () => {
        "call_id, direction, outcome, caller, did, campaign, skill, agent_id, agent_ids, started_at, answered_at, ended_at,
         wait_seconds, talk_seconds, hold_seconds, wrap_up_seconds, disposition, hangup_by, recording_url, presumed, conflicts"
    };
}

/// A stretch of a workspace ($1): $2 and $3 the range, $4 and $5 where it begins, $6 how long it is. No `coalesce` of a
/// parameter: row-level security lets none pass into the search of an index.
macro_rules! stretch {
    ($select:expr) => {
        concat!(
            "select ",
            $select,
            " from read.calls
             where workspace_id = $1
               and started_at >= $2::timestamptz and started_at < $3::timestamptz and started_at <= $4::timestamptz
               and (started_at < $4 or call_id > $5)
             order by started_at desc, call_id"
        )
    };
}

/// $7 agent, $8 direction, $9 outcome, $10 rows.
const LIST: &str = concat!(
    "select ",
    columns!(),
    " from (",
    stretch!(columns!()),
    " limit $6) looked_at
     where ($7::text is null or $7 = any (agent_ids))
       and ($8::text is null or direction = $8)
       and ($9::text is null or outcome = $9)
     order by started_at desc, call_id
     limit $10"
);

/// The last call of a stretch that is full.
const END: &str = concat!(stretch!("started_at, call_id"), " offset $6 - 1 limit 1");

/// $2 the call, $3 the one agent.
const ONE: &str = concat!(
    "select ",
    columns!(),
    " from read.calls where workspace_id = $1 and call_id = $2 and ($3::text is null or $3 = any (agent_ids))"
);

pub(crate) async fn list(
    State(app): State<App>,
    viewer: Viewer,
    Extension(request): Extension<RequestId>,
    params: Params,
) -> Result<Json<Calls>, Problem> {
    let sight = viewer.may(Part::Records)?;
    let agent = params.agent("agentId")?;
    let search = Search {
        workspace: app.workspace(),
        range: params.range()?,
        agent: sight.only().or(agent.as_ref().map(AgentId::as_str)),
        direction: params.word("direction", &DIRECTIONS)?,
        outcome: params.word("outcome", &OUTCOMES)?,
        limit: params.limit()?,
    };
    let after = params.text("cursor").map(Place::read).transpose()?;
    // What another agent had a part in is not told of.
    let (calls, next) = if agent.as_ref().is_none_or(|agent| sight.includes(agent)) {
        search.page(&app.api.database, after).await?
    } else {
        (Vec::new(), None)
    };
    let next_cursor = next.map(|place| place.write());
    let count = calls.iter().filter(|call| call.tells_of_the_caller()).count();
    let deed = Deed { action: "calls.list", about: None, count };
    app.audit.look(&viewer, &request, &format!("calls?{}", params.identity()), deed).await?;
    Ok(Json(Calls { calls: calls.into_iter().map(|call| call.seen_by(&sight)).collect(), next_cursor }))
}

/// Which calls are looked for.
struct Search<'a> {
    workspace: &'a str,
    range: Range,
    agent: Option<&'a str>,
    direction: Option<&'static str>,
    outcome: Option<&'static str>,
    limit: i64,
}

impl Search<'_> {
    /// A page, and where the next one begins, if there is one.
    async fn page(
        &self,
        database: &Database,
        mut after: Option<Place>,
    ) -> Result<(Vec<Call>, Option<Place>), DatabaseError> {
        let begun = Instant::now();
        let page = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let mut calls: Vec<Call> = Vec::new();
        loop {
            // One more tells whether there is another page.
            let wanted = i64::try_from(page - calls.len()).unwrap_or(self.limit) + 1;
            // What is listed and where it ends are of one moment: a call that comes in between would be shown twice.
            let mut moment = database.moment().await?;
            calls.extend(self.stretch(&mut moment, after.as_ref(), wanted).await?);
            if calls.len() > page {
                calls.truncate(page);
                let next = calls.last().map(Place::of);
                return Ok((calls, next));
            }
            let Some(end) = self.end(&mut moment, after.as_ref()).await? else { return Ok((calls, None)) };
            if begun.elapsed() >= SEARCH {
                return Ok((calls, Some(end)));
            }
            after = Some(end);
        }
    }

    async fn stretch(
        &self,
        moment: &mut PgConnection,
        after: Option<&Place>,
        rows: i64,
    ) -> Result<Vec<Call>, DatabaseError> {
        let asked = sqlx::query_as(LIST)
            .bind(self.workspace)
            .bind(self.range.from.unwrap_or(DateTime::UNIX_EPOCH))
            .bind(self.range.to.unwrap_or(END_OF_TIME))
            .bind(after.map_or(END_OF_TIME, |place| place.started_at))
            .bind(after.map_or("", |place| place.call.as_str()))
            .bind(STRETCH)
            .bind(self.agent)
            .bind(self.direction)
            .bind(self.outcome)
            .bind(rows);
        Ok(asked.fetch_all(moment).await?)
    }

    /// Where the stretch ends, if more may lie behind it.
    async fn end(&self, moment: &mut PgConnection, after: Option<&Place>) -> Result<Option<Place>, DatabaseError> {
        let asked = sqlx::query_as(END)
            .bind(self.workspace)
            .bind(self.range.from.unwrap_or(DateTime::UNIX_EPOCH))
            .bind(self.range.to.unwrap_or(END_OF_TIME))
            .bind(after.map_or(END_OF_TIME, |place| place.started_at))
            .bind(after.map_or("", |place| place.call.as_str()))
            .bind(STRETCH);
        let end: Option<(DateTime<Utc>, String)> = asked.fetch_optional(moment).await?;
        Ok(end.map(|(started_at, call)| Place { started_at, call }))
    }
}

/// No call begins later: a year of the calendar, and of Postgres.
const END_OF_TIME: DateTime<Utc> = DateTime::<Utc>::MAX_UTC;

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

    fn of(call: &Call) -> Self {
        Self { started_at: call.started_at.0, call: call.call_id.clone() }
    }

    fn write(&self) -> String {
        Cursor { ranks: [self.started_at.timestamp_micros()], call: self.call.clone() }.write(CURSOR)
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
where workspace_id = $1 and call_id = $2 and ($3::text is null or agent_id = $3)
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
    let legs = sqlx::query_as(LEGS).bind(app.workspace()).bind(id.as_str()).bind(sight.only());
    let legs = legs.fetch_all(&mut *moment).await.map_err(DatabaseError::from)?;
    drop(moment);
    let facts = app.api.analytics.facts(app.workspace(), id.as_str(), sight.only()).await?;
    let deed = Deed { action: "calls.read", count: usize::from(call.tells_of_the_caller()), about: Some(id.clone()) };
    app.audit.look(&viewer, &request, &format!("calls/{id}"), deed).await?;
    Ok(Json(Detail { call: call.seen_by(&sight), legs, facts }))
}
