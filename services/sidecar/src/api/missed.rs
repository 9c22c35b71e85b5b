//! `GET /api/missed-calls` and what is done about them: claim, release, waive.
//!
//! An action is a decision in the log (docs/rules.md, "Missed calls"); the row is what the projector makes of it. So an action
//! looks at the row, appends its decision, waits until the row shows what became of it, and tells that: of two people who
//! want the same, the one whose decision takes effect first holds it, and the other is told so. A decision that was
//! appended stays appended, whatever its answer is: asking again is harmless.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Extension, Json,
    extract::{
        Path, State,
        rejection::{JsonRejection, PathRejection},
    },
    http::StatusCode,
};
use helix_kit::{http::RequestId, problem::Problem};
use helix_schemas::{
    decision::{Deciding, Decision, attribute},
    fact::{Fact, Source},
    names::CallId,
    time::{OccurredAt, ReceivedAt},
};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{
    Moment,
    cursor::{self, Cursor},
    query::Params,
    unknown,
};
use crate::{
    access::{Part, Sight, Viewer},
    audit::Deed,
    database::DatabaseError,
    metrics,
    serve::App,
};

/// An action waits no longer for the projector.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(20);
/// A reason for a waive is a sentence.
const LONGEST_REASON: usize = 500;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MissedCalls {
    missed_calls: Vec<MissedCall>,
    total: i64,
    next_cursor: Option<String>,
}

/// A row, and the answer of every action.
#[derive(Debug, Clone, Serialize, FromRow)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MissedCall {
    call_id: String,
    caller: Option<String>,
    did: Option<String>,
    skill: Option<String>,
    missed_at: Moment,
    status: String,
    attempts: i64,
    priority: i64,
    due_at: Moment,
    claimed_by: Option<String>,
    claimed_at: Option<Moment>,
    closed_at: Option<Moment>,
    closed_by: Option<String>,
    closed_reason: Option<String>,
}

impl MissedCall {
    fn seen_by(self, sight: &Sight) -> Self {
        Self { caller: sight.caller(self.caller), ..self }
    }

    fn is_open(&self) -> bool {
        self.status == "open"
    }

    fn is_held_by(&self, person: &str) -> bool {
        self.claimed_by.as_deref() == Some(person)
    }
}

/// Rows of a workspace ($1), with what comes after that.
macro_rules! missed_calls {
    ($rest:literal) => {
        concat!(
            "select m.call_id, m.caller, m.did, c.skill, m.missed_at, m.status, m.attempts, m.priority, m.due_at,
                    m.claimed_by, m.claimed_at, m.closed_at, m.closed_by, m.closed_reason
             from read.missed_calls m
             left join read.calls c on c.workspace_id = m.workspace_id and c.call_id = m.call_id
             where m.workspace_id = $1 ",
            $rest
        )
    };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Priority,
    Due,
    MissedAt,
}

const SORTS: [(&str, Sort); 3] = [("priority", Sort::Priority), ("due", Sort::Due), ("missedAt", Sort::MissedAt)];
/// The empty text: either.
const STATUSES: [(&str, Option<&str>); 3] = [("open", Some("open")), ("closed", Some("closed")), ("all", None)];

impl Sort {
    /// The name of its cursors.
    const fn cursor(self) -> &'static str {
        match self {
            Self::Priority => "missed:priority",
            Self::Due => "missed:due",
            Self::MissedAt => "missed:missedAt",
        }
    }

    /// $1 workspace, $2 status, $3 rows; $4 whether there is a cursor, $5 priority, $6 moment and $7 call of it.
    const fn statement(self) -> &'static str {
        match self {
            // Of equal urgency who has waited longest.
            Self::Priority => {
                missed_calls!(
                    "and ($2::text is null or m.status = $2)
                     and (not $4 or (-m.priority, m.missed_at, m.call_id) > (-$5::bigint, $6::timestamptz, $7::text))
                     order by m.priority desc, m.missed_at, m.call_id limit $3"
                )
            }
            Self::Due => {
                missed_calls!(
                    "and ($2::text is null or m.status = $2)
                     and (not $4 or (m.due_at, m.call_id) > ($6::timestamptz, $7::text) and $5::bigint is not null)
                     order by m.due_at, m.call_id limit $3"
                )
            }
            Self::MissedAt => {
                missed_calls!(
                    "and ($2::text is null or m.status = $2)
                     and (not $4 or m.missed_at < $6::timestamptz and $5::bigint is not null
                          or m.missed_at = $6::timestamptz and m.call_id > $7::text)
                     order by m.missed_at desc, m.call_id limit $3"
                )
            }
        }
    }

    fn end(self, row: &MissedCall) -> String {
        let moment = match self {
            Self::Priority | Self::MissedAt => row.missed_at,
            Self::Due => row.due_at,
        };
        let ranks = [row.priority, moment.0.timestamp_micros()];
        Cursor { ranks, call: row.call_id.clone() }.write(self.cursor())
    }
}

const TOTAL: &str =
    "select count(*) from read.missed_calls where workspace_id = $1 and ($2::text is null or status = $2)";

const ONE: &str = missed_calls!("and m.call_id = $2");

pub(crate) async fn list(
    State(app): State<App>,
    viewer: Viewer,
    Extension(request): Extension<RequestId>,
    params: Params,
) -> Result<Json<MissedCalls>, Problem> {
    let sight = viewer.may(Part::Worklist)?;
    let status = params.word("status", &STATUSES)?.unwrap_or(Some("open"));
    let sort = params.word("sort", &SORTS)?.unwrap_or(Sort::Priority);
    let limit = params.limit()?;
    let after = params.text("cursor").map(|text| Cursor::<2>::read(sort.cursor(), text)).transpose()?;
    let at = after.as_ref().map(|cursor| cursor::moment(cursor.ranks[1])).transpose()?;
    let mut moment = app.api.database.moment().await?;
    let total = sqlx::query_scalar(TOTAL).bind(app.workspace()).bind(status);
    let total = total.fetch_one(&mut *moment).await.map_err(DatabaseError::from)?;
    let rows = sqlx::query_as(sort.statement())
        .bind(app.workspace())
        .bind(status)
        // One more tells whether there is another page.
        .bind(limit + 1)
        .bind(after.is_some())
        .bind(after.as_ref().map(|cursor| cursor.ranks[0]))
        .bind(at)
        .bind(after.as_ref().map(|cursor| cursor.call.as_str()));
    let mut rows: Vec<MissedCall> = rows.fetch_all(&mut *moment).await.map_err(DatabaseError::from)?;
    drop(moment);
    let page = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > page;
    rows.truncate(page);
    let next_cursor = rows.last().filter(|_| more).map(|row| sort.end(row));
    let count = rows.iter().filter(|row| row.caller.is_some()).count();
    let deed = Deed { action: "missed_calls.list", about: None, count };
    app.audit.look(&viewer, &request, &format!("missed-calls?{}", params.identity()), deed)?;
    let missed_calls = rows.into_iter().map(|row| row.seen_by(&sight)).collect();
    Ok(Json(MissedCalls { missed_calls, total, next_cursor }))
}

pub(crate) async fn claim(
    State(app): State<App>,
    viewer: Viewer,
    Extension(request): Extension<RequestId>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<MissedCall>, Problem> {
    Action { app, viewer, request, wish: Wish::Claim }.done(path).await
}

pub(crate) async fn release(
    State(app): State<App>,
    viewer: Viewer,
    Extension(request): Extension<RequestId>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<MissedCall>, Problem> {
    Action { app, viewer, request, wish: Wish::Release }.done(path).await
}

#[derive(Deserialize)]
pub(crate) struct Waive {
    reason: String,
}

pub(crate) async fn waive(
    State(app): State<App>,
    viewer: Viewer,
    Extension(request): Extension<RequestId>,
    path: Result<Path<String>, PathRejection>,
    body: Result<Json<Waive>, JsonRejection>,
) -> Result<Json<MissedCall>, Problem> {
    viewer.may(Part::WorkOnMissedCalls)?;
    let reason = body.map(|Json(waive)| waive.reason.trim().to_owned()).unwrap_or_default();
    if reason.is_empty() || reason.chars().count() > LONGEST_REASON {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "reason_missing",
            "A waive needs a reason",
            format!(r#"send {{"reason": "…"}} as application/json, at most {LONGEST_REASON} characters"#),
        ));
    }
    Action { app, viewer, request, wish: Wish::Waive(reason) }.done(path).await
}

/// What somebody wants.
enum Wish {
    Claim,
    Release,
    Waive(String),
}

impl Wish {
    const fn word(&self) -> &'static str {
        match self {
            Self::Claim => "missed_calls.claim",
            Self::Release => "missed_calls.release",
            Self::Waive(_) => "missed_calls.waive",
        }
    }

    const fn decision(&self) -> Decision {
        match self {
            Self::Claim => Decision::MissedCallClaimed,
            Self::Release => Decision::MissedCallReleased,
            Self::Waive(_) => Decision::MissedCallWaived,
        }
    }

    /// Whether the row is as wished.
    fn is_met(&self, row: &MissedCall, by: &str) -> bool {
        match self {
            Self::Claim => row.is_open() && row.is_held_by(by),
            Self::Release => row.is_open() && row.claimed_by.is_none(),
            Self::Waive(_) => row.closed_reason.as_deref() == Some("waived") && row.closed_by.as_deref() == Some(by),
        }
    }

    /// Why the row cannot become as wished, if so. A release is open to all who work on missed calls: whoever went home holds
    /// nobody up.
    fn refusal(&self, row: &MissedCall, by: &str) -> Option<Problem> {
        if !row.is_open() {
            return Some(closed());
        }
        match self {
            Self::Claim | Self::Waive(_) if row.claimed_by.is_some() && !row.is_held_by(by) => Some(claimed(row)),
            Self::Claim | Self::Waive(_) | Self::Release => None,
        }
    }

    /// Whether a decision shows in the row: it is no longer as it was before.
    fn shows(&self, before: &MissedCall, row: &MissedCall) -> bool {
        match self {
            Self::Claim | Self::Release => {
                !row.is_open() || (&row.claimed_by, row.claimed_at) != (&before.claimed_by, before.claimed_at)
            }
            Self::Waive(_) => !row.is_open(),
        }
    }
}

fn closed() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "missed_call_closed",
        "The missed call is closed",
        "nothing is left to do; its row says how it was closed",
    )
}

fn claimed(row: &MissedCall) -> Problem {
    let since = serde_json::to_value(row.claimed_at).unwrap_or_default();
    Problem::new(
        StatusCode::CONFLICT,
        "missed_call_claimed",
        "Somebody else works on this missed call",
        "leave it to whoever holds it; a supervisor can release it",
    )
    .with("claimedBy", row.claimed_by.clone())
    .with("claimedAt", since)
}

fn behind() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "outcome_not_known",
        "The decision is in the log and does not show yet",
        "look at the list again; asking again is harmless",
    )
    .retry_after(2)
}

/// One action of one person.
struct Action {
    app: App,
    viewer: Viewer,
    request: RequestId,
    wish: Wish,
}

impl Action {
    async fn done(self, path: Result<Path<String>, PathRejection>) -> Result<Json<MissedCall>, Problem> {
        let outcome = self.attempt(path).await;
        let word = match &outcome {
            Ok(_) => "done",
            Err(problem) => problem.code,
        };
        metrics::acted(self.app.workspace(), self.wish.word(), word);
        outcome.map(Json)
    }

    async fn attempt(&self, path: Result<Path<String>, PathRejection>) -> Result<MissedCall, Problem> {
        let no_such = || unknown("no_such_missed_call", "There is no such missed call");
        let sight = self.viewer.may(Part::WorkOnMissedCalls)?;
        let Path(text) = path.map_err(|_| no_such())?;
        let call = CallId::new(&text).map_err(|_| no_such())?;
        let before = self.row(&call).await?.ok_or_else(no_such)?;
        let by = self.viewer.subject.as_str();
        let deed = Deed { action: self.wish.word(), about: Some(call.clone()), count: 1 };
        self.app.audit.act(&self.viewer, &self.request, deed)?;
        // A request that comes again, as after a lost answer.
        if self.wish.is_met(&before, by) {
            return Ok(before.seen_by(&sight));
        }
        if let Some(refusal) = self.wish.refusal(&before, by) {
            return Err(refusal);
        }
        self.app.api.log.decide(self.earliest(&before), |at| self.decision(&call, at)).await?;
        let row = self.settled(&call, &before).await?.ok_or_else(no_such)?;
        // After a release the next one may have claimed it already.
        let is_released = matches!(self.wish, Wish::Release) && row.is_open() && self.wish.shows(&before, &row);
        if is_released || self.wish.is_met(&row, by) {
            return Ok(row.seen_by(&sight));
        }
        Err(self.wish.refusal(&row, by).unwrap_or_else(behind))
    }

    /// Not before what it is about, on the provider's clock.
    fn earliest(&self, row: &MissedCall) -> OccurredAt {
        let after_claim = row.claimed_at.map(|at| at.0.timestamp_millis() + 1);
        let now = self.app.provider_now().timestamp_millis();
        OccurredAt::from_millis(now.max(row.missed_at.0.timestamp_millis()).max(after_claim.unwrap_or(i64::MIN)))
    }

    fn decision(&self, call: &CallId, at: OccurredAt) -> Fact {
        let mut attributes = BTreeMap::from([(attribute::BY.to_owned(), self.viewer.subject.clone())]);
        if let Wish::Waive(reason) = &self.wish {
            attributes.insert(attribute::REASON.to_owned(), reason.clone());
        }
        Deciding {
            workspace: self.app.access.workspace.clone(),
            decision: self.wish.decision(),
            agent: None,
            call: Some(call.clone()),
            effective_at: at,
            received_at: ReceivedAt::now(),
            evidence: Vec::new(),
            attributes,
            request: Some(Uuid::new_v4().to_string()),
            source: Source {
                endpoint: "sidecar".to_owned(),
                account: String::new(),
                request_id: self.request.0.to_string(),
            },
        }
        .into_fact()
    }

    /// The row once it shows what became of the decision. A call's decisions lie in one partition and are applied in its
    /// order: a row that shows a later one shows this one too. One whose key is parked never shows.
    async fn settled(&self, call: &CallId, before: &MissedCall) -> Result<Option<MissedCall>, Problem> {
        let begun = Instant::now();
        loop {
            let row = self.row(call).await?;
            if row.as_ref().is_none_or(|row| self.wish.shows(before, row)) {
                return Ok(row);
            }
            if begun.elapsed() >= PATIENCE {
                return Err(behind());
            }
            sleep(LOOK).await;
        }
    }

    async fn row(&self, call: &CallId) -> Result<Option<MissedCall>, DatabaseError> {
        let asked = sqlx::query_as(ONE).bind(self.app.workspace()).bind(call.as_str());
        Ok(asked.fetch_optional(self.app.api.database.pool()).await?)
    }
}
