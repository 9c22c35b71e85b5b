//! `GET /api/agents`, `…/{agentId}/timeline`, `…/{agentId}/performance`: who does what, and what a day was made of.
//!
//! Seconds of states are differences of moments cut to the second and to the day, an open interval counting until now, so
//! that the states of a day add up to the time signed in exactly. (`date_part` is exact for moments of whole microseconds, and
//! several times faster than `extract`.) What is counted of calls is the agent's share in them, as in the metrics by agent
//! (`counts`).

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
};
use helix_kit::problem::Problem;
use helix_schemas::names::AgentId;
use serde::Serialize;
use sqlx::{FromRow, PgConnection};

use super::{
    Moment, Ratio,
    counts::{By, Counted, Counts, Only, count},
    query::{Day, Params},
    unknown,
};
use crate::{
    access::{Part, Sight, Viewer},
    database::DatabaseError,
    serve::App,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Agents {
    as_of: Moment,
    agents: Vec<Agent>,
}

#[derive(Serialize, FromRow)]
#[serde(rename_all = "camelCase")]
struct Agent {
    agent_id: String,
    name: Option<String>,
    state: String,
    since: Moment,
    reason: Option<String>,
    call_id: Option<String>,
    mode: Option<String>,
    presumed: bool,
    #[sqlx(flatten)]
    today: Today,
}

#[derive(Serialize, FromRow)]
#[serde(rename_all = "camelCase")]
struct Today {
    signed_in_seconds: i64,
    ready_seconds: i64,
    ringing_seconds: i64,
    on_call_seconds: i64,
    wrap_up_seconds: i64,
    paused_seconds: i64,
    #[sqlx(default)]
    handled: i64,
}

/// $1 workspace, $2 and $3 the day, $4 now, $5 the one agent. The last interval that began before the day reaches into it. No second
/// counts that has not passed: `least` passes over null, and of two ends that lie ahead takes neither.
const LIST: &str = "
select a.agent_id, a.name, a.state, a.since, a.reason, a.call_id, a.mode, a.presumed,
       t.signed_in_seconds, t.ready_seconds, t.ringing_seconds, t.on_call_seconds, t.wrap_up_seconds, t.paused_seconds
from read.agents a
cross join lateral (
    select coalesce(max(p.started_at), $2) as at from read.agent_intervals p
    where p.workspace_id = $1 and p.agent_id = a.agent_id and p.started_at <= $2
) reaching
cross join lateral (
    select coalesce(sum(s.seconds) filter (where s.state <> 'offline'), 0)::bigint as signed_in_seconds,
           coalesce(sum(s.seconds) filter (where s.state = 'ready'), 0)::bigint as ready_seconds,
           coalesce(sum(s.seconds) filter (where s.state = 'ringing'), 0)::bigint as ringing_seconds,
           coalesce(sum(s.seconds) filter (where s.state = 'on_call'), 0)::bigint as on_call_seconds,
           coalesce(sum(s.seconds) filter (where s.state = 'wrap_up'), 0)::bigint as wrap_up_seconds,
           coalesce(sum(s.seconds) filter (where s.state = 'paused'), 0)::bigint as paused_seconds
    from (
        select i.state,
               greatest(0, floor(date_part('epoch', least(i.ended_at, $4, $3)))::bigint
                           - floor(date_part('epoch', greatest(i.started_at, $2)))::bigint) as seconds
        from read.agent_intervals i
        where i.workspace_id = $1 and i.agent_id = a.agent_id and i.started_at >= reaching.at and i.started_at < $3
    ) s
) t
where a.workspace_id = $1 and ($5::text is null or a.agent_id = $5)
order by a.agent_id";

pub(crate) async fn list(State(app): State<App>, viewer: Viewer) -> Result<Json<Agents>, Problem> {
    let sight = viewer.may(Part::Records)?;
    let now = app.provider_now();
    let day = Day::of(now, app.api.zone);
    let mut moment = app.api.database.moment().await?;
    let asked = sqlx::query_as(LIST).bind(app.workspace()).bind(day.from).bind(day.to).bind(now).bind(sight.only());
    let mut agents: Vec<Agent> = asked.fetch_all(&mut *moment).await.map_err(DatabaseError::from)?;
    let only = Only { agent: sight.only(), ..Only::default() };
    let mut counted = count(&mut moment, &app, &[day.cut()], Some(By::Agent), only).await?;
    drop(moment);
    for agent in &mut agents {
        agent.today.handled = of_the_day(&mut counted, &agent.agent_id).handled;
    }
    Ok(Json(Agents { as_of: Moment(now), agents }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Timeline {
    agent_id: AgentId,
    date: String,
    zone: &'static str,
    intervals: Vec<Interval>,
    sessions: Vec<Session>,
}

#[derive(Serialize, FromRow)]
#[serde(rename_all = "camelCase")]
struct Interval {
    state: String,
    reason: Option<String>,
    started_at: Moment,
    ended_at: Option<Moment>,
    call_id: Option<String>,
    presumed: bool,
}

#[derive(Serialize, FromRow)]
#[serde(rename_all = "camelCase")]
struct Session {
    started_at: Moment,
    ended_at: Option<Moment>,
    ended_by: Option<String>,
    signed_in_seconds: i64,
}

/// $1 workspace, $2 agent, $3 and $4 the day. `least` passes over null, and, other than `coalesce`, may be sought in an index
/// under row-level security.
const INTERVALS: &str = "
select state, reason, started_at, ended_at, call_id, presumed
from read.agent_intervals
where workspace_id = $1 and agent_id = $2 and started_at < $4 and (ended_at is null or ended_at > $3)
  and started_at >= least((select max(p.started_at) from read.agent_intervals p
                           where p.workspace_id = $1 and p.agent_id = $2 and p.started_at <= $3), $3)
order by started_at";

const SESSIONS: &str = "
select started_at, ended_at, ended_by, signed_in_seconds
from read.agent_sessions
where workspace_id = $1 and agent_id = $2 and started_at < $4 and (ended_at is null or ended_at > $3)
order by started_at";

pub(crate) async fn timeline(
    State(app): State<App>,
    viewer: Viewer,
    path: Result<Path<String>, PathRejection>,
    params: Params,
) -> Result<Json<Timeline>, Problem> {
    let agent = agent_of(&viewer.may(Part::Records)?, path)?;
    let day = day_of(&app, &params)?;
    let mut moment = app.api.database.moment().await?;
    must_exist(&mut moment, app.workspace(), &agent).await?;
    let (workspace, id) = (app.workspace(), agent.as_str());
    let intervals = sqlx::query_as(INTERVALS).bind(workspace).bind(id).bind(day.from).bind(day.to);
    let intervals = intervals.fetch_all(&mut *moment).await.map_err(DatabaseError::from)?;
    let sessions = sqlx::query_as(SESSIONS).bind(workspace).bind(id).bind(day.from).bind(day.to);
    let sessions = sessions.fetch_all(&mut *moment).await.map_err(DatabaseError::from)?;
    Ok(Json(Timeline { agent_id: agent, date: day.date.to_string(), zone: app.api.zone.name(), intervals, sessions }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Performance {
    agent_id: AgentId,
    date: String,
    handled: i64,
    offered: i64,
    missed: i64,
    talk_seconds: i64,
    hold_seconds: i64,
    wrap_up_seconds: i64,
    states: BTreeMap<String, i64>,
    signed_in_seconds: i64,
    aht: HandleTime,
    occupancy: Ratio,
    utilisation: Ratio,
    dispositions: Vec<Disposition>,
}

/// The average handle time as its two numbers. Talk includes hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HandleTime {
    pub(crate) total_seconds: i64,
    pub(crate) handled: i64,
}

impl HandleTime {
    pub(crate) const fn of(counts: &Counts) -> Self {
        Self { total_seconds: counts.talk_seconds + counts.wrap_up_seconds, handled: counts.handled }
    }
}

#[derive(Serialize, FromRow)]
struct Disposition {
    disposition: Option<String>,
    calls: i64,
}

/// $1 workspace, $2 agent, $3 and $4 the day, $5 now.
const STATES: &str = "
select i.state, sum(greatest(0, floor(date_part('epoch', least(i.ended_at, $5, $4)))::bigint
                              - floor(date_part('epoch', greatest(i.started_at, $3)))::bigint))::bigint as seconds
from read.agent_intervals i
where i.workspace_id = $1 and i.agent_id = $2 and i.started_at < $4
  and i.started_at >= least((select max(p.started_at) from read.agent_intervals p
                             where p.workspace_id = $1 and p.agent_id = $2 and p.started_at <= $3), $3)
group by i.state";

/// What the provider's callback says is of the call, and counts for its handling agent.
const HOLD: &str = "
select coalesce(sum(hold_seconds), 0)::bigint
from read.calls
where workspace_id = $1 and agent_id = $2 and started_at >= $3 and started_at < $4 and outcome = 'answered'";

const DISPOSITIONS: &str = "
select disposition, count(*) as calls
from read.calls
where workspace_id = $1 and agent_id = $2 and started_at >= $3 and started_at < $4 and outcome = 'answered'
group by disposition
order by calls desc, disposition";

pub(crate) async fn performance(
    State(app): State<App>,
    viewer: Viewer,
    path: Result<Path<String>, PathRejection>,
    params: Params,
) -> Result<Json<Performance>, Problem> {
    let agent = agent_of(&viewer.may(Part::Records)?, path)?;
    let day = day_of(&app, &params)?;
    let mut moment = app.api.database.moment().await?;
    must_exist(&mut moment, app.workspace(), &agent).await?;
    Ok(Json(perform(&mut moment, &app, agent, day).await?))
}

async fn perform(moment: &mut PgConnection, app: &App, agent: AgentId, day: Day) -> Result<Performance, DatabaseError> {
    let (workspace, id) = (app.workspace(), agent.as_str());
    let states = sqlx::query_as(STATES).bind(workspace).bind(id).bind(day.from).bind(day.to).bind(app.provider_now());
    let states: Vec<(String, i64)> = states.fetch_all(&mut *moment).await?;
    let states: BTreeMap<String, i64> = states.into_iter().filter(|(state, _)| state != OFFLINE).collect();
    let only = Only { agent: Some(id), ..Only::default() };
    let mut counted = count(moment, app, &[day.cut()], Some(By::Agent), only).await?;
    let counts = of_the_day(&mut counted, id);
    let hold = sqlx::query_scalar(HOLD).bind(workspace).bind(id).bind(day.from).bind(day.to);
    let hold_seconds: i64 = hold.fetch_one(&mut *moment).await?;
    let dispositions = sqlx::query_as(DISPOSITIONS).bind(workspace).bind(id).bind(day.from).bind(day.to);
    let dispositions = dispositions.fetch_all(&mut *moment).await?;

    let seconds = |states_of: &[&str]| states_of.iter().filter_map(|state| states.get(*state)).sum::<i64>();
    let (busy, idle, wrap_up) =
        (seconds(&["on_call", "wrap_up"]), seconds(&["ready", "ringing"]), seconds(&["wrap_up"]));
    let signed_in = states.values().sum();
    Ok(Performance {
        agent_id: agent,
        date: day.date.to_string(),
        handled: counts.handled,
        offered: counts.offered,
        missed: counts.missed,
        talk_seconds: counts.talk_seconds,
        hold_seconds,
        wrap_up_seconds: wrap_up,
        signed_in_seconds: signed_in,
        aht: HandleTime::of(&counts),
        occupancy: Ratio { numerator: busy, denominator: busy + idle },
        utilisation: Ratio { numerator: busy, denominator: signed_in },
        states,
        dispositions,
    })
}

/// What was counted of an agent in the one interval that was asked for.
fn of_the_day(counted: &mut Counted, agent: &str) -> Counts {
    counted.remove(agent).and_then(|mut of_agent| of_agent.remove(&0)).unwrap_or_default()
}

const OFFLINE: &str = "offline";

fn no_such_agent() -> Problem {
    unknown("no_such_agent", "There is no such agent")
}

/// The agent of a path, where this person is shown it.
fn agent_of(sight: &Sight, path: Result<Path<String>, PathRejection>) -> Result<AgentId, Problem> {
    let Path(text) = path.map_err(|_| no_such_agent())?;
    let agent = AgentId::new(&text).map_err(|_| no_such_agent())?;
    if sight.includes(&agent) { Ok(agent) } else { Err(no_such_agent()) }
}

async fn must_exist(moment: &mut PgConnection, workspace: &str, agent: &AgentId) -> Result<(), Problem> {
    let asked = sqlx::query_scalar("select exists (select from read.agents where workspace_id = $1 and agent_id = $2)");
    let exists: bool =
        asked.bind(workspace).bind(agent.as_str()).fetch_one(moment).await.map_err(DatabaseError::from)?;
    if exists { Ok(()) } else { Err(no_such_agent()) }
}

/// The day that is asked for; today without a word.
fn day_of(app: &App, params: &Params) -> Result<Day, Problem> {
    let zone = app.api.zone;
    Ok(params.date("date")?.map_or_else(|| Day::of(app.provider_now(), zone), |date| Day::on(date, zone)))
}
