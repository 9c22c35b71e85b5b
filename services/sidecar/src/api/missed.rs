//! `GET /api/missed-calls` and what is done about them: claim, release, waive.
//!
//! An action is a decision in the log (docs/rules.md, "Missed calls"); the row is what the projector makes of it. So an action
//! waits until the row shows what this process decided about the call before (`decisions`), looks at it, appends its
//! decision, waits until the projector has passed that one's place in the log, and tells what became of it: of two people
//! who want the same, the one whose decision takes effect first holds it, and the other is told so. A decision that was
//! appended stays appended, whatever its answer is: asking again is harmless.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Extension, Json,
    extract::{
        Path, State,
        rejection::{BytesRejection, PathRejection},
    },
    http::StatusCode,
};
use bytes::Bytes;
use helix_kit::{http::RequestId, problem::Problem};
use helix_schemas::{
    decision::{Deciding, Decision, attribute},
    fact::{Fact, Source},
    names::CallId,
    time::{OccurredAt, ReceivedAt},
    topics,
};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{
    Moment,
    cursor::{self, Cursor},
    decisions::{Standing, Wanted},
    query::{self, Params},
    unknown,
};
use crate::{
    access::{Part, Sight, Viewer},
    audit::Deed,
    database::DatabaseError,
    log::Place,
    metrics,
    serve::App,
};

/// An action waits no longer for the projector.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(20);
/// A missed call may lie so far ahead of the provider's now, and be claimed when it was missed; one further ahead is claimed
/// now.
const AHEAD_MILLIS: i64 = 60_000;
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

    /// Which claim holds.
    fn claim(&self) -> Option<OccurredAt> {
        self.claimed_at.map(|at| OccurredAt::from_millis(at.0.timestamp_millis()))
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
                     and (not $4 or m.priority < $5::bigint
                          or m.priority = $5 and (m.missed_at, m.call_id) > ($6::timestamptz, $7::text))
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
    app.audit.look(&viewer, &request, &format!("missed-calls?{}", params.identity()), deed).await?;
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
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<MissedCall>, Problem> {
    viewer.may(Part::WorkOnMissedCalls)?;
    let body = body.map_err(|_| no_claim())?;
    let meant = if body.is_empty() { None } else { meant(&body).ok_or_else(no_claim)? };
    Action { app, viewer, request, wish: Wish::Release(meant) }.done(path).await
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Release {
    claimed_at: Option<String>,
}

/// Which claim a release is about: the outer `None` where the body says nothing that can be meant, the inner where it names
/// none.
fn meant(body: &[u8]) -> Option<Option<OccurredAt>> {
    let Release { claimed_at } = serde_json::from_slice(body).ok()?;
    let Some(text) = claimed_at else { return Some(None) };
    query::moment(&text).map(|at| Some(OccurredAt::from_millis(at.timestamp_millis())))
}

fn no_claim() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "release_malformed",
        "The body of a release cannot be meant",
        r#"send {"claimedAt": "…"} with the row's `claimedAt`, or nothing"#,
    )
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
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<MissedCall>, Problem> {
    viewer.may(Part::WorkOnMissedCalls)?;
    // By what it is, whatever its content type says, as the ingest reads.
    let said: Option<Waive> = body.ok().and_then(|body| serde_json::from_slice(&body).ok());
    let reason = said.map(|waive| waive.reason.trim().to_owned()).unwrap_or_default();
    if reason.is_empty() || reason.chars().count() > LONGEST_REASON {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "reason_missing",
            "A waive needs a reason",
            format!(r#"send {{"reason": "…"}}, at most {LONGEST_REASON} characters"#),
        ));
    }
    Action { app, viewer, request, wish: Wish::Waive(reason) }.done(path).await
}

/// What somebody wants.
enum Wish {
    Claim,
    /// Of the claim that holds since then; without: of the one that the row shows.
    Release(Option<OccurredAt>),
    Waive(String),
}

impl Wish {
    const fn word(&self) -> &'static str {
        match self {
            Self::Claim => "missed_calls.claim",
            Self::Release(_) => "missed_calls.release",
            Self::Waive(_) => "missed_calls.waive",
        }
    }

    const fn decision(&self) -> Decision {
        match self {
            Self::Claim => Decision::MissedCallClaimed,
            Self::Release(_) => Decision::MissedCallReleased,
            Self::Waive(_) => Decision::MissedCallWaived,
        }
    }

    /// Whether the row is as wished.
    fn is_met(&self, row: &MissedCall, by: &str) -> bool {
        match self {
            Self::Claim => row.is_open() && row.is_held_by(by),
            Self::Release(_) => row.is_open() && row.claimed_by.is_none(),
            Self::Waive(_) => row.closed_reason.as_deref() == Some("waived") && row.closed_by.as_deref() == Some(by),
        }
    }

    /// Why the row cannot become as wished, if so. A release is open to all who work on missed calls, for whoever went home
    /// holds nobody up; but not of a claim that it does not mean.
    fn refusal(&self, row: &MissedCall, by: &str) -> Option<Problem> {
        if !row.is_open() {
            return Some(closed());
        }
        let is_of_another = match self {
            Self::Claim | Self::Waive(_) => row.claimed_by.is_some() && !row.is_held_by(by),
            Self::Release(meant) => meant.is_some() && row.claim().is_some_and(|claim| Some(claim) != *meant),
        };
        is_of_another.then(|| claimed(row))
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

/// A decision of this process that perhaps lies in the log: the row says nothing for sure. Of a claim, since when it would
/// hold.
struct Doubt(Option<OccurredAt>);

impl Action {
    async fn done(self, path: Result<Path<String>, PathRejection>) -> Result<Json<MissedCall>, Problem> {
        let (app, action) = (self.app.clone(), self.wish.word());
        let outcome = self.attempt(path).await;
        let word = match &outcome {
            Ok(_) => "done",
            Err(problem) => problem.code,
        };
        metrics::acted(app.workspace(), action, word);
        outcome.map(Json)
    }

    async fn attempt(mut self, path: Result<Path<String>, PathRejection>) -> Result<MissedCall, Problem> {
        let no_such = || unknown("no_such_missed_call", "There is no such missed call");
        let sight = self.viewer.may(Part::WorkOnMissedCalls)?;
        let Path(text) = path.map_err(|_| no_such())?;
        let call = CallId::new(&text).map_err(|_| no_such())?;
        let doubt = self.earlier_shown(&call).await?;
        let before = self.row(&call).await?.ok_or_else(no_such)?;
        if let Wish::Release(meant @ None) = &mut self.wish {
            *meant = before.claim().or(doubt.as_ref().and_then(|Doubt(claim)| *claim));
        }
        let by = self.viewer.subject.as_str();
        let deed = Deed { action: self.wish.word(), about: Some(call.clone()), count: 1 };
        self.app.audit.act(&self.viewer, &self.request, deed).await?;
        // A request that comes again, as after a lost answer.
        if doubt.is_none() && self.wish.is_met(&before, by) {
            return Ok(before.seen_by(&sight));
        }
        if let Some(refusal) = self.wish.refusal(&before, by) {
            return Err(refusal);
        }
        let (api, wanted) = (&self.app.api, self.wanted(&call, &before));
        let (number, place) = api.decisions.append(&api.log, wanted, |at| self.decision(&call, at)).await?;
        self.passed(place, Instant::now() + PATIENCE).await?;
        api.decisions.shown(&call, number);
        let row = self.row(&call).await?.ok_or_else(no_such)?;
        if self.wish.is_met(&row, by) {
            return Ok(row.seen_by(&sight));
        }
        // The projector has passed the decision and the row is as before: the call's key is parked, or somebody undid it at once.
        Err(self.wish.refusal(&row, by).unwrap_or_else(behind))
    }

    /// A decision takes effect now, on the provider's clock, and not before what it is about.
    fn wanted<'a>(&self, call: &'a CallId, row: &MissedCall) -> Wanted<'a> {
        let now = self.app.provider_now().timestamp_millis();
        let missed_at = row.missed_at.0.timestamp_millis().min(now.saturating_add(AHEAD_MILLIS));
        let after_claim = match &self.wish {
            Wish::Release(meant) => meant.map(|claim| claim.millis().saturating_add(1)),
            Wish::Claim | Wish::Waive(_) => None,
        };
        let earliest = now.max(missed_at).max(after_claim.unwrap_or(i64::MIN));
        Wanted {
            call,
            now: OccurredAt::from_millis(now),
            earliest: OccurredAt::from_millis(earliest),
            claims: matches!(self.wish, Wish::Claim),
        }
    }

    fn decision(&self, call: &CallId, at: OccurredAt) -> Fact {
        let mut attributes = BTreeMap::from([(attribute::BY.to_owned(), self.viewer.subject.clone())]);
        match &self.wish {
            Wish::Claim | Wish::Release(None) => {}
            Wish::Release(Some(claim)) => {
                attributes.insert(attribute::CLAIMED_AT.to_owned(), claim.millis().to_string());
            }
            Wish::Waive(reason) => {
                attributes.insert(attribute::REASON.to_owned(), reason.clone());
            }
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

    /// Waits until the row shows what this process decided about the call before.
    async fn earlier_shown(&self, call: &CallId) -> Result<Option<Doubt>, Problem> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.app.api.decisions.unshown(call) {
                None => return Ok(None),
                Some((_, Standing::Lost(claim))) => return Ok(Some(Doubt(claim))),
                Some((number, Standing::Kept(place))) => {
                    self.passed(place, deadline).await?;
                    self.app.api.decisions.shown(call, number);
                }
                Some((_, Standing::OnItsWay)) if Instant::now() < deadline => sleep(LOOK).await,
                Some((_, Standing::OnItsWay)) => return Err(behind()),
            }
        }
    }

    /// Waits until the projector of the read models has passed a place in the log.
    async fn passed(&self, place: Place, deadline: Instant) -> Result<(), Problem> {
        let slice = (topics::FACTS.to_owned(), place.partition);
        loop {
            let progress = self.app.api.database.progress().await?;
            if progress.get(&slice).is_some_and(|next| *next > place.offset) {
                return Ok(());
            }
            if Instant::now() >= deadline {
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
