//! Missed calls as obligations (docs/rules.md, "Missed calls"): a pure reading of all calls of one caller.

use helix_schemas::{
    fact::Direction,
    names::{CallId, WorkspaceId},
    time::OccurredAt,
};

use crate::{
    call::{CallRow, Outcome},
    row::{Cell, Row},
};

/// A missed call should be called back within this time (metrics.md: callback within 10 min).
pub const DUE_AFTER_MILLIS: i64 = 10 * 60 * 1000;
const REPEAT_WINDOW_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// What of a call matters to the obligations of its caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerCall {
    /// The call.
    pub call: CallId,
    /// Its direction.
    pub direction: Option<Direction>,
    /// Its outcome.
    pub outcome: Outcome,
    /// The number dialled in.
    pub did: Option<String>,
    /// When it began.
    pub started_at: OccurredAt,
    /// When it was answered.
    pub answered_at: Option<OccurredAt>,
    /// When it ended.
    pub ended_at: Option<OccurredAt>,
}

impl CallerCall {
    /// The part of a call's row that matters here.
    #[must_use]
    pub fn of(row: &CallRow) -> Self {
        Self {
            call: row.call.clone(),
            direction: row.direction,
            outcome: row.outcome,
            did: row.did.clone(),
            started_at: row.started_at,
            answered_at: row.answered_at,
            ended_at: row.ended_at,
        }
    }

    const fn is_outbound(&self) -> bool {
        matches!(self.direction, Some(Direction::Outbound))
    }

    /// When it was missed, if it was.
    #[must_use]
    pub fn missed_at(&self) -> Option<OccurredAt> {
        match self.outcome {
            Outcome::Missed | Outcome::ShortAbandon => self.ended_at,
            Outcome::InProgress | Outcome::Answered | Outcome::NoAnswer => None,
        }
    }
}

/// How an obligation was met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    /// When: the answer of the call that met it.
    pub at: OccurredAt,
    /// That call.
    pub by: CallId,
    /// `reached` or `rang_again`.
    pub reason: &'static str,
}

/// A row of `read.missed_calls`.
#[derive(Clone, PartialEq, Eq)]
pub struct MissedCallRow {
    /// The hospital.
    pub workspace: WorkspaceId,
    /// The call that was missed.
    pub call: CallId,
    /// Who called (personal data).
    pub caller: Option<String>,
    /// The number dialled in.
    pub did: Option<String>,
    /// When it was missed.
    pub missed_at: OccurredAt,
    /// Outbound calls to the caller since.
    pub attempts: i64,
    /// Higher is more urgent.
    pub priority: i64,
    /// Call back until then.
    pub due_at: OccurredAt,
    /// How it was met; null while open.
    pub closing: Option<Closing>,
}

impl std::fmt::Debug for MissedCallRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MissedCallRow")
            .field("workspace", &self.workspace)
            .field("call", &self.call)
            .field("closing", &self.closing)
            .finish_non_exhaustive()
    }
}

impl MissedCallRow {
    /// `open` or `closed`.
    #[must_use]
    pub const fn status(&self) -> &'static str {
        if self.closing.is_some() { "closed" } else { "open" }
    }
}

/// Every obligation among the calls of one caller, by call id. Without a caller, give the one call alone.
#[must_use]
pub fn obligations(workspace: &WorkspaceId, caller: Option<&str>, calls: &[CallerCall]) -> Vec<MissedCallRow> {
    let mut rows: Vec<MissedCallRow> = calls
        .iter()
        .filter_map(|call| call.missed_at().map(|missed_at| obligation(workspace, caller, calls, call, missed_at)))
        .collect();
    rows.sort_by(|one, other| one.call.cmp(&other.call));
    rows
}

fn obligation(
    workspace: &WorkspaceId,
    caller: Option<&str>,
    calls: &[CallerCall],
    missed: &CallerCall,
    missed_at: OccurredAt,
) -> MissedCallRow {
    let later = || calls.iter().filter(|call| call.call != missed.call && call.started_at >= missed_at);
    let closing = later()
        .filter_map(|call| call.answered_at.map(|answered_at| (answered_at, call)))
        .min_by(|(one_at, one), (other_at, other)| (one_at, &one.call).cmp(&(other_at, &other.call)))
        .map(|(at, call)| Closing {
            at,
            by: call.call.clone(),
            reason: if call.is_outbound() { "reached" } else { "rang_again" },
        });
    let until = closing.as_ref().map(|closing| closing.at);
    let attempts =
        later().filter(|call| call.is_outbound() && until.is_none_or(|until| call.started_at <= until)).count();
    let repeats = calls
        .iter()
        .filter(|call| call.call != missed.call)
        .filter_map(CallerCall::missed_at)
        .filter(|at| *at <= missed_at && missed_at.millis() - at.millis() <= REPEAT_WINDOW_MILLIS)
        .count();
    let base = if missed.outcome == Outcome::ShortAbandon { 50 } else { 100 };
    let more = i64::try_from(repeats).unwrap_or(i64::MAX).saturating_mul(10).min(50);
    MissedCallRow {
        workspace: workspace.clone(),
        call: missed.call.clone(),
        caller: caller.map(str::to_owned),
        did: missed.did.clone(),
        missed_at,
        attempts: i64::try_from(attempts).unwrap_or(i64::MAX),
        priority: base + more,
        due_at: OccurredAt::from_millis(missed_at.millis() + DUE_AFTER_MILLIS),
        closing,
    }
}

impl Row for MissedCallRow {
    const TABLE: &'static str = "missed_calls";

    fn key(&self) -> String {
        self.call.to_string()
    }

    fn columns(&self) -> Vec<(&'static str, Cell)> {
        let closing = self.closing.as_ref();
        vec![
            ("workspace_id", Cell::Text(self.workspace.to_string())),
            ("call_id", Cell::Text(self.call.to_string())),
            ("caller", Cell::text(self.caller.as_deref())),
            ("did", Cell::text(self.did.as_deref())),
            ("missed_at", Cell::At(self.missed_at)),
            ("status", Cell::Text(self.status().to_owned())),
            ("attempts", Cell::Int(self.attempts)),
            ("priority", Cell::Int(self.priority)),
            ("due_at", Cell::At(self.due_at)),
            ("closed_at", Cell::at(closing.map(|closing| closing.at))),
            ("closed_by", Cell::text(closing.map(|closing| closing.by.as_str()))),
            ("closed_reason", Cell::text(closing.map(|closing| closing.reason))),
        ]
    }
}
