//! Timers in the schema `automation`: set, struck out, and found when they are due.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};
use helix_runtime::Epoch;
use helix_schemas::{
    names::WorkspaceId,
    time::{OccurredAt, ReceivedAt},
};
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool, Row as _, postgres::PgRow};

use crate::{
    clock::Clock,
    database::{AutomationError, read, to_sql, workspace},
    timer::Timer,
    watch::{AllBounds, SetTimer, Watched},
};

/// Calls that are over, and decisions about what is long over, are forgotten after this.
const HISTORY: &str = "7 days";
/// So are calls that nobody ended and no rule ends, as in a workspace that is not configured, after this.
const GHOSTS: &str = "1 year";
/// Who said within this time to have read all there is, has. Less than a subject is let settle, so that what followed shortly
/// on the last that is known of a call is known too.
const LATELY: &str = "15 seconds";
/// What the database noted further ahead of its now than this, it noted before its clock was set back. How long ago that was is
/// not known: it is taken for long, so that nothing waits until that clock has caught up and nobody counts as heard of meanwhile.
const AHEAD: &str = "15 seconds";

/// Puts the timers of all of whom `watched` was told anything in the place of those that they had, and strikes out what was decided.
pub(crate) async fn store(tx: &mut PgConnection, watched: &Watched, bounds: &AllBounds) -> Result<(), AutomationError> {
    let subjects = watched.subjects();
    let subjects = subjects.iter().map(|(workspace, subject)| {
        let (subject, id) = subject.columns();
        json!({"workspace_id": workspace, "subject": subject, "subject_id": id})
    });
    let gone = sqlx::query(
        "delete from automation.timers as held
         using jsonb_populate_recordset(null::automation.timers, $1) as asked
         where held.workspace_id = asked.workspace_id and held.subject = asked.subject
           and held.subject_id = asked.subject_id and not held.stands
         returning held.workspace_id, held.subject, held.subject_id, held.set_at",
    )
    .bind(subjects.collect::<Value>())
    .fetch_all(&mut *tx)
    .await?;
    let mut since: Since = BTreeMap::new();
    for row in &gone {
        let subject = (row.try_get("workspace_id")?, row.try_get("subject")?, row.try_get("subject_id")?);
        let held = since.entry(subject).or_default();
        *held = (*held).max(row.try_get("set_at")?);
    }
    let made = watched.made().iter().map(|made| {
        let (subject, id) = made.subject.columns();
        json!({
            "workspace_id": made.workspace, "subject": subject, "subject_id": id, "decision": made.decision,
            "evidence_id": made.rests_on,
        })
    });
    sqlx::query(
        "delete from automation.timers as held
         using jsonb_populate_recordset(null::automation.timers, $1) as made
         where held.workspace_id = made.workspace_id and held.subject = made.subject and held.subject_id = made.subject_id
           and held.decision = made.decision and held.evidence_id = made.evidence_id",
    )
    .bind(made.collect::<Value>())
    .execute(&mut *tx)
    .await?;
    insert(tx, &watched.timers(bounds), &since).await
}

/// Since when, on our own clock, the timers of a subject (workspace, kind, id) were as they are.
type Since = BTreeMap<(String, String, String), DateTime<Utc>>;

async fn insert(tx: &mut PgConnection, timers: &[SetTimer], since: &Since) -> Result<(), AutomationError> {
    let rows = timers.iter().map(|SetTimer { workspace, partition, stands, touched, timer }| {
        let (subject, id) = timer.subject.columns();
        let held = since.get(&(workspace.to_string(), subject.to_owned(), id.to_owned())).filter(|_| !touched);
        json!({
            "workspace_id": workspace, "subject": subject, "subject_id": id, "decision": timer.decision.as_str(),
            "evidence_id": timer.evidence.first(), "partition": partition, "due_at": to_sql(timer.due_at),
            "stands": stands, "timer": timer, "set_at": held,
        })
    });
    // One that stands already is as it was.
    sqlx::query(
        "insert into automation.timers
             (workspace_id, subject, subject_id, decision, evidence_id, partition, due_at, stands, timer, set_at)
         select workspace_id, subject, subject_id, decision, evidence_id, partition, due_at, stands, timer,
                coalesce(set_at, now())
         from jsonb_populate_recordset(null::automation.timers, $1)
         on conflict (workspace_id, subject, subject_id, decision, evidence_id) do nothing",
    )
    .bind(rows.collect::<Value>())
    .execute(tx)
    .await?;
    Ok(())
}

/// The provider's now of every workspace, when it is `ours` here.
pub(crate) async fn nows(
    pool: &PgPool,
    ours: ReceivedAt,
) -> Result<BTreeMap<WorkspaceId, OccurredAt>, AutomationError> {
    const CLOCKS: &str = "automation.clocks";
    let rows =
        sqlx::query("select workspace_id, occurred_at, received_at from automation.clocks").fetch_all(pool).await?;
    let mut clocks: BTreeMap<WorkspaceId, Clock> = BTreeMap::new();
    for row in &rows {
        let clock = Clock {
            occurred_at: OccurredAt::from_millis(row.try_get::<DateTime<Utc>, _>("occurred_at")?.timestamp_millis()),
            received_at: ReceivedAt::from_micros(row.try_get::<DateTime<Utc>, _>("received_at")?.timestamp_micros()),
        };
        let held = clocks.entry(workspace(CLOCKS, row)?).or_insert(clock);
        *held = held.join(clock);
    }
    Ok(clocks.into_iter().map(|(workspace, clock)| (workspace, clock.now(ours))).collect())
}

/// A decision that is due.
#[derive(Debug, Clone)]
pub(crate) struct Due {
    pub(crate) workspace: WorkspaceId,
    pub(crate) timer: Timer,
    place: Place,
}

/// A timer's place in the order in which timers are due: its moment and its key.
#[derive(Debug, Clone)]
struct Place {
    due_at: DateTime<Utc>,
    workspace: String,
    subject: String,
    subject_id: String,
    decision: String,
    evidence: String,
}

impl Place {
    fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            due_at: row.try_get("due_at")?,
            workspace: row.try_get("workspace_id")?,
            subject: row.try_get("subject")?,
            subject_id: row.try_get("subject_id")?,
            decision: row.try_get("decision")?,
            evidence: row.try_get("evidence")?,
        })
    }
}

/// Who asks what is due, and when.
pub(crate) struct Asking<'a> {
    pub(crate) topic: &'a str,
    pub(crate) held: &'a BTreeMap<i32, Epoch>,
    pub(crate) nows: &'a BTreeMap<WorkspaceId, OccurredAt>,
    pub(crate) settle: Duration,
}

/// What is due in partitions that this instance holds under these epochs, the longest due first, `limit` at a time: those
/// after `last`. An instance that has lost a partition finds nothing in it.
///
/// Of a call nothing while anybody has not read all of the log lately: its facts lie in several partitions, and who answered or
/// ended it may be another's to read.
///
/// Nothing of a subject whose last fact came within `settle` of our own clock: what arrives in a burst, as a backlog or a day
/// that is played again, is let come to an end before anything is presumed of it.
///
/// Nothing of a key of which any instance has parked a fact: what is known of it may be wrong, and the decision would be
/// parked in its turn and never read back.
pub(crate) async fn due(
    pool: &PgPool,
    asking: &Asking<'_>,
    last: Option<&Due>,
    limit: i64,
) -> Result<Vec<Due>, AutomationError> {
    const TIMERS: &str = "automation.timers";
    let (partitions, epochs): (Vec<i32>, Vec<i64>) =
        asking.held.iter().map(|(partition, epoch)| (*partition, epoch.0)).unzip();
    let (workspaces, nows) = columns(asking.nows);
    let last = last.map(|due| &due.place);
    let rows = sqlx::query(
        "select held.workspace_id, held.timer, held.due_at, held.subject, held.subject_id, held.decision,
                held.evidence_id::text as evidence
         from unnest($1::text[], $2::timestamptz[]) as clock (workspace_id, now_at)
         join automation.timers as held using (workspace_id)
         join unnest($3::integer[], $4::bigint[]) as ours (partition, epoch) using (partition)
         join automation.progress as progress
           on progress.topic = $5 and progress.partition = ours.partition and progress.epoch = ours.epoch
         where held.due_at <= clock.now_at and (held.set_at <= now() - $8::float8 * interval '1 second' or held.set_at > now() + $16::text::interval)
           and not (held.stands and held.due_at < clock.now_at - $7::text::interval)
           and ($9::timestamptz is null
                or (held.due_at, held.workspace_id, held.subject, held.subject_id, held.decision, held.evidence_id)
                   > ($9, $10, $11, $12, $13, $14::uuid))
           and (held.subject = 'agent' or not exists (
             select from automation.progress as other
             where other.topic = $5 and (
               other.read_at is null or other.read_at < now() - $15::text::interval
               or other.read_at > now() + $16::text::interval)))
           and not exists (
             select from automation.parked as parked
             where parked.topic = $5 and parked.key = convert_to(
               held.workspace_id || '/' || coalesce(
                 case held.subject when 'agent' then held.subject_id else held.timer ->> 'agent' end,
                 'call:' || held.subject_id), 'UTF8'))
         order by held.due_at, held.workspace_id, held.subject, held.subject_id, held.decision, held.evidence_id
         limit $6",
    )
    .bind(&workspaces)
    .bind(&nows)
    .bind(&partitions)
    .bind(&epochs)
    .bind(asking.topic)
    .bind(limit)
    .bind(HISTORY)
    .bind(asking.settle.as_secs_f64())
    .bind(last.map(|last| last.due_at))
    .bind(last.map(|last| &last.workspace))
    .bind(last.map(|last| &last.subject))
    .bind(last.map(|last| &last.subject_id))
    .bind(last.map(|last| &last.decision))
    .bind(last.map(|last| &last.evidence))
    .bind(LATELY)
    .bind(AHEAD)
    .fetch_all(pool)
    .await?;
    let due = rows.iter().map(|row| {
        let (workspace, timer) = (workspace(TIMERS, row)?, read(TIMERS, row, "timer")?);
        Ok(Due { workspace, timer, place: Place::read(row)? })
    });
    due.collect()
}

/// Removes the timers of rules that are turned off, in these partitions.
pub(crate) async fn drop_off(pool: &PgPool, partitions: &[i32], bounds: &AllBounds) -> Result<(), AutomationError> {
    let on = bounds.0.iter().flat_map(|(workspace, bounds)| {
        bounds.decisions().into_iter().map(|decision| (workspace.as_str(), decision.as_str()))
    });
    let (workspaces, decisions): (Vec<&str>, Vec<&str>) = on.unzip();
    sqlx::query(
        "delete from automation.timers where partition = any($1)
           and (workspace_id, decision) not in (select * from unnest($2::text[], $3::text[]))",
    )
    .bind(partitions)
    .bind(&workspaces)
    .bind(&decisions)
    .execute(pool)
    .await?;
    Ok(())
}

/// Forgets calls that are over for long, those that nobody ever ended, and what was never decided about what is over for long.
pub(crate) async fn forget_old(pool: &PgPool, nows: &BTreeMap<WorkspaceId, OccurredAt>) -> Result<(), AutomationError> {
    let (workspaces, nows) = columns(nows);
    for (statement, age) in [
        (
            "delete from automation.calls as held
         using unnest($1::text[], $2::timestamptz[]) as clock (workspace_id, now_at)
         where held.workspace_id = clock.workspace_id and not held.is_open
           and held.last_at < clock.now_at - $3::text::interval",
            HISTORY,
        ),
        (
            "delete from automation.calls as held
         using unnest($1::text[], $2::timestamptz[]) as clock (workspace_id, now_at)
         where held.workspace_id = clock.workspace_id and held.last_at < clock.now_at - $3::text::interval",
            GHOSTS,
        ),
        (
            "delete from automation.timers as held
         using unnest($1::text[], $2::timestamptz[]) as clock (workspace_id, now_at)
         where held.workspace_id = clock.workspace_id and held.stands
           and held.due_at < clock.now_at - $3::text::interval",
            HISTORY,
        ),
    ] {
        sqlx::query(statement).bind(&workspaces).bind(&nows).bind(age).execute(pool).await?;
    }
    Ok(())
}

fn columns(nows: &BTreeMap<WorkspaceId, OccurredAt>) -> (Vec<&str>, Vec<DateTime<Utc>>) {
    nows.iter().map(|(workspace, now)| (workspace.as_str(), to_sql(*now))).unzip()
}
