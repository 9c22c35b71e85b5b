//! Rows in and out of the tables of the read models.
//!
//! Rows are written as one array a column ([`crate::columns`]) and read back into the folds' own types, for differences and
//! for proof. Tables are named without a schema: the search path says which generation's they are.

use std::marker::PhantomData;

use chrono::{DateTime, NaiveDate, Utc};
use helix_fold::{
    agent::{AgentRow, Interval, IntervalRow},
    books::{Counts, QueueDay, QueueDayRow},
    call::{CallLegRow, CallRow, Conflict, LegOutcome, Outcome},
    missed::{ClosedReason, Closing, MissedCallRow},
    row::{Columns as _, Row},
    settings::day_number,
};
use helix_schemas::{
    fact::{AgentState, Direction},
    names::{AgentId, CallId, LegId, WorkspaceId},
    time::OccurredAt,
};
use sqlx::{PgConnection, Row as _, postgres::PgRow};

use crate::{AllSettings, PostgresError, batch::Changes, columns::Table};

/// A kind of rows, and the table that holds them.
pub(crate) trait Stored: Row + PartialEq {
    /// The columns of the key, the workspace first.
    const KEY: &'static [&'static str];

    fn workspace(&self) -> &WorkspaceId;

    /// Tells the columns that the table has beside those of the row. They follow from the row and the settings.
    fn tell_beside(&self, _settings: &AllSettings, _to: &mut Table) {}
}

impl Stored for AgentRow {
    const KEY: &'static [&'static str] = &["workspace_id", "agent_id"];

    fn workspace(&self) -> &WorkspaceId {
        &self.workspace
    }
}

impl Stored for IntervalRow {
    const KEY: &'static [&'static str] = &["workspace_id", "agent_id", "started_at"];

    fn workspace(&self) -> &WorkspaceId {
        &self.workspace
    }
}

impl Stored for CallRow {
    const KEY: &'static [&'static str] = &["workspace_id", "call_id"];

    fn workspace(&self) -> &WorkspaceId {
        &self.workspace
    }

    fn tell_beside(&self, settings: &AllSettings, to: &mut Table) {
        to.text("caller_key", caller_key(&self.workspace, self.caller.as_deref(), settings).as_deref());
    }
}

impl Stored for CallLegRow {
    const KEY: &'static [&'static str] = &["workspace_id", "call_id", "position"];

    fn workspace(&self) -> &WorkspaceId {
        &self.workspace
    }
}

impl Stored for MissedCallRow {
    const KEY: &'static [&'static str] = &["workspace_id", "call_id"];

    fn workspace(&self) -> &WorkspaceId {
        &self.workspace
    }

    fn tell_beside(&self, settings: &AllSettings, to: &mut Table) {
        to.text("caller_key", caller_key(&self.workspace, self.caller.as_deref(), settings).as_deref());
    }
}

impl Stored for QueueDayRow {
    const KEY: &'static [&'static str] = &["workspace_id", "queue", "day"];

    fn workspace(&self) -> &WorkspaceId {
        &self.workspace
    }
}

/// By which a row is linked to the other calls of its caller.
pub(crate) fn caller_key(workspace: &WorkspaceId, caller: Option<&str>, settings: &AllSettings) -> Option<String> {
    caller.and_then(|caller| settings.get(workspace).caller_key(caller))
}

/// What becomes of the rows of one kind: told row by row, written at the end.
pub(crate) struct Difference<R> {
    new: Table,
    changed: Table,
    gone: Table,
    of: PhantomData<fn(&R)>,
}

impl<R> Default for Difference<R> {
    fn default() -> Self {
        Self { new: Table::default(), changed: Table::default(), gone: Table::default(), of: PhantomData }
    }
}

impl<R: Stored> Difference<R> {
    /// A row as it is stored and as it is to be. Where the two are one, there is nothing to do.
    pub(crate) fn row(&mut self, settings: &AllSettings, changes: &mut Changes, before: Option<&R>, after: Option<&R>) {
        if before == after {
            return;
        }
        before.iter().for_each(|row| changes.subtract(row.workspace(), *row));
        after.iter().for_each(|row| changes.add(row.workspace(), *row));
        let (table, row) = match (before, after) {
            (None, Some(row)) => (&mut self.new, row),
            (Some(_), Some(row)) => (&mut self.changed, row),
            (Some(row), None) => (&mut self.gone, row),
            (None, None) => return,
        };
        row.tell(table);
        row.tell_beside(settings, table);
        table.end_row();
    }

    /// Writes it. What is gone makes room first.
    pub(crate) async fn write(self, tx: &mut PgConnection) -> Result<(), PostgresError> {
        self.gone.delete(tx, R::TABLE, R::KEY).await?;
        self.changed.update(tx, R::TABLE, R::KEY).await?;
        self.new.insert(tx, R::TABLE).await
    }
}

/// The years 1 to 9999 in UTC milliseconds: further than any fact tells ([`helix_schemas::time::MOMENTS`]), and what Postgres,
/// chrono and sqlx all hold.
const CALENDAR: (i64, i64) = (-62_135_596_800_000, 253_402_300_799_999);

/// A moment as bound and read by sqlx. A bound such as "from the beginning" may lie outside of the calendar, and is then its
/// end on that side.
pub(crate) fn to_sql(at: OccurredAt) -> DateTime<Utc> {
    let (first, last) = CALENDAR;
    DateTime::from_timestamp_millis(at.millis().clamp(first, last)).unwrap_or(DateTime::UNIX_EPOCH)
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

/// The place in a statement's list of keys that a row answers, counted from 0; the first column, counted from 1.
pub(crate) fn place(row: &PgRow) -> Result<usize, PostgresError> {
    let place: i64 = row.try_get(0)?;
    usize::try_from(place - 1).map_err(|error| bad("a place", error))
}

/// A day as bound and read by sqlx: that of a moment, and of the calendar with it.
pub(crate) fn to_date(day: i64) -> NaiveDate {
    const MILLIS: i64 = 86_400_000;
    let (first, last) = CALENDAR;
    let day = day.clamp(first.div_euclid(MILLIS), last.div_euclid(MILLIS));
    i32::try_from(day).ok().and_then(NaiveDate::from_epoch_days).unwrap_or_default()
}

fn state(table: &'static str, word: &str) -> Result<AgentState, PostgresError> {
    AgentState::from_word(word).ok_or_else(|| bad(table, "a state that is none"))
}

pub(crate) fn direction(word: Option<String>) -> Result<Option<Direction>, PostgresError> {
    word.map(Direction::try_from).transpose().map_err(|error| bad("calls", error))
}

pub(crate) fn outcome(word: &str) -> Result<Outcome, PostgresError> {
    Outcome::from_word(word).ok_or_else(|| bad("calls", "an outcome that is none"))
}

fn optional_moment(row: &PgRow, column: &str) -> Result<Option<OccurredAt>, PostgresError> {
    Ok(row.try_get::<Option<DateTime<Utc>>, _>(column)?.map(moment))
}

fn call_id(table: &'static str, row: &PgRow) -> Result<CallId, PostgresError> {
    CallId::new(row.try_get("call_id")?).map_err(|error| bad(table, error))
}

fn optional_call(table: &'static str, text: Option<&str>) -> Result<Option<CallId>, PostgresError> {
    text.map(CallId::new).transpose().map_err(|error| bad(table, error))
}

fn optional_agent(table: &'static str, text: Option<&str>) -> Result<Option<AgentId>, PostgresError> {
    text.map(AgentId::new).transpose().map_err(|error| bad(table, error))
}

/// Reads a row of `agents`.
pub(crate) fn agent_row(row: &PgRow) -> Result<AgentRow, PostgresError> {
    const TABLE: &str = "agents";
    Ok(AgentRow {
        workspace: workspace(TABLE, row)?,
        agent: agent(TABLE, row)?,
        name: row.try_get("name")?,
        state: state(TABLE, row.try_get("state")?)?,
        since: moment(row.try_get("since")?),
        reason: row.try_get("reason")?,
        mode: row.try_get("mode")?,
        call: optional_call(TABLE, row.try_get("call_id")?)?,
        presumed: row.try_get("presumed")?,
    })
}

/// Reads `state, reason, started_at, ended_at, call_id, presumed`, from this column on.
pub(crate) fn interval(row: &PgRow, from: usize) -> Result<Interval, PostgresError> {
    const TABLE: &str = "agent_intervals";
    Ok(Interval {
        state: state(TABLE, row.try_get(from)?)?,
        reason: row.try_get(from + 1)?,
        started_at: moment(row.try_get(from + 2)?),
        ended_at: row.try_get::<Option<DateTime<Utc>>, _>(from + 3)?.map(moment),
        call: optional_call(TABLE, row.try_get(from + 4)?)?,
        presumed: row.try_get(from + 5)?,
    })
}

fn interval_row(row: &PgRow) -> Result<IntervalRow, PostgresError> {
    const TABLE: &str = "agent_intervals";
    Ok(IntervalRow { workspace: workspace(TABLE, row)?, agent: agent(TABLE, row)?, interval: interval(row, 2)? })
}

/// Reads a row of `calls`.
pub(crate) fn call_row(row: &PgRow) -> Result<CallRow, PostgresError> {
    const TABLE: &str = "calls";
    let agents: Vec<String> = row.try_get("agent_ids")?;
    let conflicts: Vec<String> = row.try_get("conflicts")?;
    let conflict = |word: &String| Conflict::from_word(word).ok_or_else(|| bad(TABLE, "a conflict that is none"));
    Ok(CallRow {
        workspace: workspace(TABLE, row)?,
        call: call_id(TABLE, row)?,
        direction: direction(row.try_get("direction")?)?,
        outcome: outcome(row.try_get("outcome")?)?,
        caller: row.try_get("caller")?,
        did: row.try_get("did")?,
        campaign: row.try_get("campaign")?,
        skill: row.try_get("skill")?,
        agent: optional_agent(TABLE, row.try_get("agent_id")?)?,
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
        conflicts: conflicts.iter().map(conflict).collect::<Result<_, _>>()?,
        call_seconds_sent: row.try_get("call_seconds_sent")?,
        talk_seconds_sent: row.try_get("talk_seconds_sent")?,
    })
}

/// Reads a row of `call_legs`.
pub(crate) fn leg_row(row: &PgRow) -> Result<CallLegRow, PostgresError> {
    const TABLE: &str = "call_legs";
    let leg: Option<&str> = row.try_get("leg_id")?;
    Ok(CallLegRow {
        workspace: workspace(TABLE, row)?,
        call: call_id(TABLE, row)?,
        position: row.try_get("position")?,
        leg: leg.map(LegId::new).transpose().map_err(|error| bad(TABLE, error))?,
        agent: optional_agent(TABLE, row.try_get("agent_id")?)?,
        status: row.try_get("status")?,
        outcome: LegOutcome::from_word(row.try_get("outcome")?).ok_or_else(|| bad(TABLE, "an outcome that is none"))?,
        started_at: optional_moment(row, "started_at")?,
        answered_at: optional_moment(row, "answered_at")?,
        ended_at: optional_moment(row, "ended_at")?,
        wait_seconds: row.try_get("wait_seconds")?,
        talk_seconds: row.try_get("talk_seconds")?,
        transferred: row.try_get("transferred")?,
    })
}

/// Reads a row of `missed_calls`.
pub(crate) fn missed_call_row(row: &PgRow) -> Result<MissedCallRow, PostgresError> {
    const TABLE: &str = "missed_calls";
    let told: (Option<OccurredAt>, Option<String>, Option<&str>) =
        (optional_moment(row, "closed_at")?, row.try_get("closed_by")?, row.try_get("closed_reason")?);
    let closing = match told {
        (Some(at), Some(by), Some(reason)) => {
            let reason = ClosedReason::from_word(reason).ok_or_else(|| bad(TABLE, "a closed_reason that is none"))?;
            Some(Closing { at, by, reason })
        }
        (None, None, None) => None,
        (_, _, _) => return Err(bad(TABLE, "closed_at, closed_by and closed_reason that do not go together")),
    };
    let status: &str = row.try_get("status")?;
    if status != if closing.is_some() { "closed" } else { "open" } {
        return Err(bad(TABLE, "a status that does not go with closed_at"));
    }
    Ok(MissedCallRow {
        workspace: workspace(TABLE, row)?,
        call: call_id(TABLE, row)?,
        caller: row.try_get("caller")?,
        did: row.try_get("did")?,
        missed_at: moment(row.try_get("missed_at")?),
        attempts: row.try_get("attempts")?,
        priority: row.try_get("priority")?,
        due_at: moment(row.try_get("due_at")?),
        closing,
        claimed_by: row.try_get("claimed_by")?,
        claimed_at: optional_moment(row, "claimed_at")?,
    })
}

/// Reads a row of `queue_days`.
pub(crate) fn queue_day_row(row: &PgRow) -> Result<QueueDayRow, PostgresError> {
    Ok(QueueDayRow {
        workspace: workspace("queue_days", row)?,
        place: QueueDay { queue: row.try_get("queue")?, day: day_number(row.try_get("day")?) },
        counts: Counts {
            offered: row.try_get("offered")?,
            answered: row.try_get("answered")?,
            missed: row.try_get("missed")?,
            short_abandoned: row.try_get("short_abandoned")?,
            in_progress: row.try_get("in_progress")?,
        },
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

/// Every row of a workspace, each table sorted by its key as the fold sorts it. For proof, not for pages. Of the generation
/// on whose pool the connection is.
///
/// # Errors
/// Where the database does not answer or holds what no build of ours writes.
pub async fn read_workspace(
    tx: &mut PgConnection,
    workspace: &WorkspaceId,
) -> Result<helix_fold::workspace::Rows, PostgresError> {
    const AGENTS: &str = r#"select * from agents where workspace_id = $1 order by agent_id collate "C""#;
    const INTERVALS: &str = r#"select workspace_id, agent_id, state, reason, started_at, ended_at, call_id, presumed
        from agent_intervals where workspace_id = $1 order by agent_id collate "C", started_at"#;
    const CALLS: &str = r#"select * from calls where workspace_id = $1 order by call_id collate "C""#;
    const LEGS: &str = r#"select * from call_legs where workspace_id = $1 order by call_id collate "C", position"#;
    const MISSED: &str = r#"select * from missed_calls where workspace_id = $1 order by call_id collate "C""#;
    const BOOKS: &str = r#"select * from queue_days where workspace_id = $1 order by queue collate "C", day"#;
    Ok(helix_fold::workspace::Rows {
        agents: read_all(tx, AGENTS, workspace, agent_row).await?,
        intervals: read_all(tx, INTERVALS, workspace, interval_row).await?,
        calls: read_all(tx, CALLS, workspace, call_row).await?,
        legs: read_all(tx, LEGS, workspace, leg_row).await?,
        missed_calls: read_all(tx, MISSED, workspace, missed_call_row).await?,
        queue_days: read_all(tx, BOOKS, workspace, queue_day_row).await?,
    })
}
