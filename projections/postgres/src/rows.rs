//! Rows in and out of the tables of schema `read`.
//!
//! Rows are written as one JSON array a statement ([`upsert`]): a row's canonical columns are its table's columns, so the
//! two cannot drift apart unnoticed. They are read back into the folds' own types, for differences and for proof.

use chrono::{DateTime, Utc};
use helix_fold::{
    agent::{AgentRow, Interval, IntervalRow},
    call::{CallRow, Outcome},
    missed::{Closing, MissedCallRow},
    row::Row,
};
use helix_schemas::{
    fact::{AgentState, Direction},
    names::{AgentId, CallId, WorkspaceId},
    time::OccurredAt,
};
use serde_json::{Map, Value};
use sqlx::{PgConnection, Row as _, postgres::PgRow};

use crate::PostgresError;

/// How rows of one type are written.
pub(crate) trait Stored: Row {
    /// `insert … select … from jsonb_populate_recordset … on conflict …`
    const UPSERT: &'static str;
    /// `delete … using jsonb_populate_recordset …`
    const DELETE: &'static str;
}

impl Stored for AgentRow {
    const UPSERT: &'static str = "insert into read.agents select * from jsonb_populate_recordset(null::read.agents, $1)
        on conflict (workspace_id, agent_id) do update set name = excluded.name, state = excluded.state,
            since = excluded.since, reason = excluded.reason, mode = excluded.mode, call_id = excluded.call_id";
    const DELETE: &'static str = "delete from read.agents as held
        using jsonb_populate_recordset(null::read.agents, $1) as gone
        where held.workspace_id = gone.workspace_id and held.agent_id = gone.agent_id";
}

impl Stored for IntervalRow {
    const UPSERT: &'static str = "insert into read.agent_intervals
        select * from jsonb_populate_recordset(null::read.agent_intervals, $1)
        on conflict (workspace_id, agent_id, started_at) do update set state = excluded.state,
            reason = excluded.reason, ended_at = excluded.ended_at, call_id = excluded.call_id";
    const DELETE: &'static str = "delete from read.agent_intervals as held
        using jsonb_populate_recordset(null::read.agent_intervals, $1) as gone
        where held.workspace_id = gone.workspace_id and held.agent_id = gone.agent_id
          and held.started_at = gone.started_at";
}

impl Stored for CallRow {
    const UPSERT: &'static str = "insert into read.calls select * from jsonb_populate_recordset(null::read.calls, $1)
        on conflict (workspace_id, call_id) do update set direction = excluded.direction, outcome = excluded.outcome,
            caller = excluded.caller, did = excluded.did, campaign = excluded.campaign, skill = excluded.skill,
            agent_id = excluded.agent_id, agent_ids = excluded.agent_ids, started_at = excluded.started_at,
            answered_at = excluded.answered_at, ended_at = excluded.ended_at, wait_seconds = excluded.wait_seconds,
            talk_seconds = excluded.talk_seconds, hold_seconds = excluded.hold_seconds,
            wrap_up_seconds = excluded.wrap_up_seconds, disposition = excluded.disposition,
            hangup_by = excluded.hangup_by, recording_url = excluded.recording_url, presumed = excluded.presumed";
    const DELETE: &'static str = "delete from read.calls as held
        using jsonb_populate_recordset(null::read.calls, $1) as gone
        where held.workspace_id = gone.workspace_id and held.call_id = gone.call_id";
}

impl Stored for MissedCallRow {
    const UPSERT: &'static str = "insert into read.missed_calls
        select * from jsonb_populate_recordset(null::read.missed_calls, $1)
        on conflict (workspace_id, call_id) do update set caller = excluded.caller, did = excluded.did,
            missed_at = excluded.missed_at, status = excluded.status, attempts = excluded.attempts,
            priority = excluded.priority, due_at = excluded.due_at, closed_at = excluded.closed_at,
            closed_by = excluded.closed_by, closed_reason = excluded.closed_reason";
    const DELETE: &'static str = "delete from read.missed_calls as held
        using jsonb_populate_recordset(null::read.missed_calls, $1) as gone
        where held.workspace_id = gone.workspace_id and held.call_id = gone.call_id";
}

fn as_json<R: Row>(rows: &[R]) -> Value {
    let object = |row: &R| {
        let columns = row.columns().into_iter().map(|(name, cell)| (name.to_owned(), cell.to_json()));
        Value::Object(columns.collect::<Map<String, Value>>())
    };
    Value::Array(rows.iter().map(object).collect())
}

async fn write<R: Row>(tx: &mut PgConnection, statement: &'static str, rows: &[R]) -> Result<(), PostgresError> {
    if !rows.is_empty() {
        sqlx::query(statement).bind(as_json(rows)).execute(tx).await?;
    }
    Ok(())
}

/// Inserts rows, or replaces those of the same key.
pub(crate) async fn upsert<R: Stored>(tx: &mut PgConnection, rows: &[R]) -> Result<(), PostgresError> {
    write(tx, R::UPSERT, rows).await
}

/// Removes rows by key.
pub(crate) async fn delete<R: Stored>(tx: &mut PgConnection, rows: &[R]) -> Result<(), PostgresError> {
    write(tx, R::DELETE, rows).await
}

/// Earlier than anything a provider sends, and within Postgres's range.
const BEGINNING: DateTime<Utc> = match DateTime::from_timestamp(-60_000_000_000, 0) {
    Some(at) => at,
    None => DateTime::UNIX_EPOCH,
};

/// A moment as bound and read by sqlx.
pub(crate) fn to_sql(at: OccurredAt) -> DateTime<Utc> {
    // Postgres reaches from 4713 BC; what lies before it, or beyond chrono, is "from the beginning".
    at.to_utc().filter(|at| at.timestamp() > -200_000_000_000).unwrap_or(BEGINNING)
}

pub(crate) fn moment(at: DateTime<Utc>) -> OccurredAt {
    OccurredAt::from_millis(at.timestamp_millis())
}

/// By value, so that it serves as the closure of a `map_err`.
#[allow(clippy::needless_pass_by_value)]
pub(crate) fn bad(table: &'static str, reason: impl ToString) -> PostgresError {
    PostgresError::Stored { table, reason: reason.to_string() }
}

pub(crate) fn workspace(table: &'static str, row: &PgRow) -> Result<WorkspaceId, PostgresError> {
    WorkspaceId::new(row.try_get("workspace_id")?).map_err(|error| bad(table, error))
}

pub(crate) fn agent(table: &'static str, row: &PgRow) -> Result<AgentId, PostgresError> {
    AgentId::new(row.try_get("agent_id")?).map_err(|error| bad(table, error))
}

pub(crate) fn state(table: &'static str, row: &PgRow) -> Result<AgentState, PostgresError> {
    AgentState::from_word(row.try_get("state")?).ok_or_else(|| bad(table, "a state that is none"))
}

fn optional_moment(row: &PgRow, column: &str) -> Result<Option<OccurredAt>, PostgresError> {
    Ok(row.try_get::<Option<DateTime<Utc>>, _>(column)?.map(moment))
}

pub(crate) fn optional_call(table: &'static str, row: &PgRow) -> Result<Option<CallId>, PostgresError> {
    let text: Option<&str> = row.try_get("call_id")?;
    text.map(CallId::new).transpose().map_err(|error| bad(table, error))
}

/// Reads a row of `read.agents`.
pub(crate) fn agent_row(row: &PgRow) -> Result<AgentRow, PostgresError> {
    const TABLE: &str = "read.agents";
    Ok(AgentRow {
        workspace: workspace(TABLE, row)?,
        agent: agent(TABLE, row)?,
        name: row.try_get("name")?,
        state: state(TABLE, row)?,
        since: moment(row.try_get("since")?),
        reason: row.try_get("reason")?,
        mode: row.try_get("mode")?,
        call: optional_call(TABLE, row)?,
    })
}

/// Reads a row of `read.agent_intervals`.
pub(crate) fn interval_row(row: &PgRow) -> Result<IntervalRow, PostgresError> {
    const TABLE: &str = "read.agent_intervals";
    Ok(IntervalRow {
        workspace: workspace(TABLE, row)?,
        agent: agent(TABLE, row)?,
        interval: Interval {
            state: state(TABLE, row)?,
            reason: row.try_get("reason")?,
            started_at: moment(row.try_get("started_at")?),
            ended_at: optional_moment(row, "ended_at")?,
            call: optional_call(TABLE, row)?,
        },
    })
}

/// Reads a row of `read.calls`.
pub(crate) fn call_row(row: &PgRow) -> Result<CallRow, PostgresError> {
    const TABLE: &str = "read.calls";
    let direction: Option<String> = row.try_get("direction")?;
    let agent: Option<&str> = row.try_get("agent_id")?;
    let agents: Vec<String> = row.try_get("agent_ids")?;
    Ok(CallRow {
        workspace: workspace(TABLE, row)?,
        call: CallId::new(row.try_get("call_id")?).map_err(|error| bad(TABLE, error))?,
        direction: direction.map(Direction::try_from).transpose().map_err(|error| bad(TABLE, error))?,
        outcome: Outcome::from_word(row.try_get("outcome")?).ok_or_else(|| bad(TABLE, "an outcome that is none"))?,
        caller: row.try_get("caller")?,
        did: row.try_get("did")?,
        campaign: row.try_get("campaign")?,
        skill: row.try_get("skill")?,
        agent: agent.map(AgentId::new).transpose().map_err(|error| bad(TABLE, error))?,
        agents: agents
            .iter()
            .map(|agent| AgentId::new(agent))
            .collect::<Result<_, _>>()
            .map_err(|error| bad(TABLE, error))?,
        started_at: moment(row.try_get("started_at")?),
        answered_at: optional_moment(row, "answered_at")?,
        ended_at: optional_moment(row, "ended_at")?,
        wait_seconds: row.try_get("wait_seconds")?,
        talk_seconds: row.try_get("talk_seconds")?,
        hold_seconds: row.try_get("hold_seconds")?,
        wrap_up_seconds: row.try_get("wrap_up_seconds")?,
        disposition: row.try_get("disposition")?,
        hangup_by: row.try_get("hangup_by")?,
        recording_url: row.try_get("recording_url")?,
        presumed: row.try_get("presumed")?,
    })
}

/// Reads a row of `read.missed_calls`.
pub(crate) fn missed_call_row(row: &PgRow) -> Result<MissedCallRow, PostgresError> {
    const TABLE: &str = "read.missed_calls";
    let closed_by: Option<&str> = row.try_get("closed_by")?;
    let closing = match (optional_moment(row, "closed_at")?, closed_by) {
        (Some(at), Some(by)) => Some(Closing {
            at,
            by: CallId::new(by).map_err(|error| bad(TABLE, error))?,
            reason: match row.try_get::<Option<&str>, _>("closed_reason")? {
                Some("reached") => "reached",
                Some("rang_again") => "rang_again",
                Some(_) | None => return Err(bad(TABLE, "a closed_reason that is none")),
            },
        }),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => return Err(bad(TABLE, "closed_at without closed_by, or the reverse")),
    };
    let status: &str = row.try_get("status")?;
    if (status == "closed") != closing.is_some() {
        return Err(bad(TABLE, "a status that does not go with closed_at"));
    }
    Ok(MissedCallRow {
        workspace: workspace(TABLE, row)?,
        call: CallId::new(row.try_get("call_id")?).map_err(|error| bad(TABLE, error))?,
        caller: row.try_get("caller")?,
        did: row.try_get("did")?,
        missed_at: moment(row.try_get("missed_at")?),
        attempts: row.try_get("attempts")?,
        priority: row.try_get("priority")?,
        due_at: moment(row.try_get("due_at")?),
        closing,
    })
}

async fn read_all<R>(
    tx: &mut PgConnection,
    statement: &'static str,
    workspace: &WorkspaceId,
    read: fn(&PgRow) -> Result<R, PostgresError>,
) -> Result<Vec<R>, PostgresError> {
    let rows = sqlx::query(statement).bind(workspace.as_str()).fetch_all(tx).await?;
    rows.iter().map(read).collect()
}

/// Every row of a workspace, each table sorted by its key as the fold sorts it. For proof, not for pages.
///
/// # Errors
/// Where the database does not answer or holds what no build of ours writes.
pub async fn read_workspace(
    tx: &mut PgConnection,
    workspace: &WorkspaceId,
) -> Result<helix_fold::workspace::Rows, PostgresError> {
    Ok(helix_fold::workspace::Rows {
        agents: read_all(
            tx,
            r#"select * from read.agents where workspace_id = $1 order by agent_id collate "C""#,
            workspace,
            agent_row,
        )
        .await?,
        intervals: read_all(
            tx,
            r#"select * from read.agent_intervals where workspace_id = $1 order by agent_id collate "C", started_at"#,
            workspace,
            interval_row,
        )
        .await?,
        calls: read_all(
            tx,
            r#"select * from read.calls where workspace_id = $1 order by call_id collate "C""#,
            workspace,
            call_row,
        )
        .await?,
        missed_calls: read_all(
            tx,
            r#"select * from read.missed_calls where workspace_id = $1 order by call_id collate "C""#,
            workspace,
            missed_call_row,
        )
        .await?,
    })
}
