//! Missed calls as obligations (docs/rules.md, "Missed calls"): a pure reading of all calls of one caller.
//!
//! What it costs grows with the caller's calls and no faster (but for a sort), as numbers that are withheld or a
//! switchboard's may have very many.

use helix_schemas::{
    fact::Direction,
    names::{CallId, WorkspaceId},
    time::OccurredAt,
};

use crate::{
    call::{CallRow, CallState, Claim, Handling, Outcome},
    row::{Columns, Row},
    settings::Rules,
};

/// What of a call matters to the obligations of its caller.
#[derive(Clone, PartialEq, Eq)]
pub struct CallerCall {
    /// The call.
    pub call: CallId,
    /// Its direction.
    pub direction: Option<Direction>,
    /// Its outcome.
    pub outcome: Outcome,
    /// Who called, as sent (personal data). Calls are linked by [`crate::settings::Settings::caller_key`] of it.
    pub caller: Option<String>,
    /// The number dialled in.
    pub did: Option<String>,
    /// When it began.
    pub started_at: OccurredAt,
    /// When it was answered.
    pub answered_at: Option<OccurredAt>,
    /// When it ended.
    pub ended_at: Option<OccurredAt>,
    /// What the agent made of it.
    pub disposition: Option<String>,
    /// What people did about it, where it was missed.
    pub handling: Handling,
}

impl std::fmt::Debug for CallerCall {
    /// Without the caller's number.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallerCall")
            .field("call", &self.call)
            .field("direction", &self.direction)
            .field("outcome", &self.outcome)
            .field("started_at", &self.started_at)
            .field("answered_at", &self.answered_at)
            .field("ended_at", &self.ended_at)
            .field("disposition", &self.disposition)
            .field("handling", &self.handling)
            .finish_non_exhaustive()
    }
}

impl CallerCall {
    /// The part of a call that matters here.
    #[must_use]
    pub fn of(state: &CallState, row: &CallRow) -> Self {
        let handling = if row.is_missed() { state.handling() } else { Handling::default() };
        Self::with(row, handling)
    }

    /// As [`Self::of`], where the handling is known: that of a call that was not missed matters to nobody.
    #[must_use]
    pub fn with(row: &CallRow, handling: Handling) -> Self {
        Self {
            call: row.call.clone(),
            direction: row.direction,
            outcome: row.outcome,
            caller: row.caller.clone(),
            did: row.did.clone(),
            started_at: row.started_at,
            answered_at: row.answered_at,
            ended_at: row.ended_at,
            disposition: row.disposition.clone(),
            handling,
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

/// What closed an obligation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClosedReason {
    /// The caller was called back and answered.
    Reached,
    /// The caller rang again and was answered.
    RangAgain,
    /// The last attempt that the rules ask for ended unanswered.
    AttemptsExhausted,
    /// A person closed it.
    Waived,
}

impl ClosedReason {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::Reached, Self::RangAgain, Self::AttemptsExhausted, Self::Waived];

    /// The word in SQL and HTTP.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reached => "reached",
            Self::RangAgain => "rang_again",
            Self::AttemptsExhausted => "attempts_exhausted",
            Self::Waived => "waived",
        }
    }

    /// The reason of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }

    /// Of what closes at one moment, what counts: an answer, then an attempt, then a waive.
    const fn rank(self) -> u8 {
        match self {
            Self::Reached | Self::RangAgain => 0,
            Self::AttemptsExhausted => 1,
            Self::Waived => 2,
        }
    }
}

/// How an obligation was met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    /// When: the answer of the call that met it, the end of the last attempt, or the waive.
    pub at: OccurredAt,
    /// The id of that call, or the person who waived.
    pub by: String,
    /// How.
    pub reason: ClosedReason,
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
    /// Who works on it; null where nobody does, and once it is closed.
    pub claimed_by: Option<String>,
    /// Since when.
    pub claimed_at: Option<OccurredAt>,
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
pub fn obligations(workspace: &WorkspaceId, calls: &[CallerCall], rules: &Rules) -> Vec<MissedCallRow> {
    let mut missed: Vec<(OccurredAt, &CallerCall)> =
        calls.iter().filter_map(|call| Some((call.missed_at()?, call))).collect();
    missed.sort_by_key(|(at, _)| *at);
    let others = Others::of(calls, missed.iter().map(|(at, _)| *at).collect(), rules);
    let mut later = Later::of(calls, rules);
    // The latest first: what comes later than a miss comes later than all misses before it.
    let mut rows: Vec<MissedCallRow> = Vec::with_capacity(missed.len());
    for (missed_at, call) in missed.into_iter().rev() {
        later.reach_back_to(missed_at);
        let closing = later.closing(call);
        let attempts = others.attempts(missed_at, closing.as_ref().map(|closing| closing.at));
        let claim = call.handling.claim.clone().filter(|_| closing.is_none());
        let (claimed_by, claimed_at) = claim.map_or((None, None), |Claim { at, by }| (Some(by), Some(at)));
        rows.push(MissedCallRow {
            workspace: workspace.clone(),
            call: call.call.clone(),
            caller: call.caller.clone(),
            did: call.did.clone(),
            missed_at,
            attempts,
            priority: others.priority(call.outcome, missed_at, attempts, rules),
            due_at: OccurredAt::from_millis(missed_at.millis() + rules.due_after_seconds * 1000),
            closing,
            claimed_by,
            claimed_at,
        });
    }
    rows.sort_by(|one, other| one.call.cmp(&other.call));
    rows
}

/// The caller's other calls, for counting.
struct Others {
    /// When calls were missed, sorted.
    missed: Vec<OccurredAt>,
    /// When outbound calls started, sorted.
    outbound: Vec<OccurredAt>,
    /// When the first answered call began that was found to be spam.
    spam_since: Option<OccurredAt>,
}

impl Others {
    fn of(calls: &[CallerCall], missed: Vec<OccurredAt>, rules: &Rules) -> Self {
        let mut outbound: Vec<OccurredAt> =
            calls.iter().filter(|call| call.is_outbound()).map(|call| call.started_at).collect();
        outbound.sort_unstable();
        let is_spam = |call: &&CallerCall| {
            call.answered_at.is_some()
                && call.disposition.as_ref().is_some_and(|said| rules.spam_dispositions.contains(said))
        };
        let spam_since = calls.iter().filter(is_spam).map(|call| call.started_at).min();
        Self { missed, outbound, spam_since }
    }

    fn attempts(&self, missed_at: OccurredAt, until: Option<OccurredAt>) -> i64 {
        let before = self.outbound.partition_point(|at| *at < missed_at);
        let all = until.map_or(self.outbound.len(), |until| self.outbound.partition_point(|at| *at <= until));
        // An answer that the facts put before the miss it closes leaves no time for an attempt.
        count(all.saturating_sub(before))
    }

    fn priority(&self, outcome: Outcome, missed_at: OccurredAt, attempts: i64, rules: &Rules) -> i64 {
        let parts = &rules.priority;
        let base = if outcome == Outcome::ShortAbandon { parts.short_abandon } else { parts.missed };
        let earliest = missed_at.millis() - parts.repeat_window_seconds * 1000;
        let in_window = self.missed.partition_point(|at| *at <= missed_at)
            - self.missed.partition_point(|at| at.millis() < earliest);
        // One of them is the call itself.
        let repeats = (count(in_window) - 1) * parts.repeat;
        let spam = if self.spam_since.is_some_and(|since| since < missed_at) { parts.spam } else { 0 };
        base + repeats.min(parts.repeat_most) + attempts * parts.per_attempt + spam
    }
}

/// What may close an obligation, taken in from the latest start to the earliest.
struct Later<'a> {
    /// Answered calls, either direction, by start.
    answered: Vec<(OccurredAt, &'a CallerCall)>,
    /// Unanswered outbound calls, by start.
    failed: Vec<(OccurredAt, &'a CallerCall)>,
    /// Of those taken in, the earliest answer.
    answer: Option<(OccurredAt, &'a CallerCall)>,
    /// Of those taken in, the earliest ends, as many as exhaust.
    ends: Vec<(OccurredAt, &'a CallId)>,
    /// How many attempts exhaust; `None`: no number does.
    exhausting: Option<usize>,
}

impl<'a> Later<'a> {
    fn of(calls: &'a [CallerCall], rules: &Rules) -> Self {
        let by_start = |keep: fn(&CallerCall) -> bool| {
            let mut found: Vec<(OccurredAt, &CallerCall)> =
                calls.iter().filter(|call| keep(call)).map(|call| (call.started_at, call)).collect();
            found.sort_by_key(|(at, _)| *at);
            found
        };
        Self {
            answered: by_start(|call| call.answered_at.is_some()),
            failed: by_start(|call| call.outcome == Outcome::NoAnswer),
            answer: None,
            ends: Vec::new(),
            exhausting: usize::try_from(rules.attempts).ok().filter(|attempts| *attempts > 0),
        }
    }

    /// Takes in what started at or after this moment.
    fn reach_back_to(&mut self, at: OccurredAt) {
        while let Some((_, call)) = self.answered.pop_if(|(started_at, _)| *started_at >= at) {
            let told = call.answered_at.map(|answered_at| (answered_at, call));
            let rank = |(at, call): &(OccurredAt, &'a CallerCall)| (*at, &call.call);
            self.answer = self.answer.into_iter().chain(told).min_by(|one, other| rank(one).cmp(&rank(other)));
        }
        while let Some((_, call)) = self.failed.pop_if(|(started_at, _)| *started_at >= at) {
            let (Some(exhausting), Some(ended_at)) = (self.exhausting, call.ended_at) else { continue };
            let told = (ended_at, &call.call);
            self.ends.insert(self.ends.partition_point(|known| *known < told), told);
            self.ends.truncate(exhausting);
        }
    }

    fn closing(&self, missed: &CallerCall) -> Option<Closing> {
        let answered = self.answer.map(|(at, call)| Closing {
            at,
            by: call.call.to_string(),
            reason: if call.is_outbound() { ClosedReason::Reached } else { ClosedReason::RangAgain },
        });
        let last_attempt = self.exhausting.and_then(|exhausting| self.ends.get(exhausting - 1));
        let exhausted = last_attempt.map(|(at, call)| Closing {
            at: *at,
            by: call.to_string(),
            reason: ClosedReason::AttemptsExhausted,
        });
        // Nothing is closed before it is there, though the waive may have been told of a shorter call.
        let waive = missed.handling.waive.as_ref().zip(missed.missed_at());
        let waived = waive.map(|(waive, missed_at)| Closing {
            at: waive.at.max(missed_at),
            by: waive.by.clone(),
            reason: ClosedReason::Waived,
        });
        answered.into_iter().chain(exhausted).chain(waived).min_by_key(|closing| (closing.at, closing.reason.rank()))
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Row for MissedCallRow {
    const TABLE: &'static str = "missed_calls";

    fn key(&self) -> String {
        self.call.to_string()
    }

    fn tell<C: Columns>(&self, to: &mut C) {
        let closing = self.closing.as_ref();
        to.text("workspace_id", Some(self.workspace.as_str()));
        to.text("call_id", Some(self.call.as_str()));
        to.text("caller", self.caller.as_deref());
        to.text("did", self.did.as_deref());
        to.at("missed_at", Some(self.missed_at));
        to.text("status", Some(self.status()));
        to.int("attempts", Some(self.attempts));
        to.int("priority", Some(self.priority));
        to.at("due_at", Some(self.due_at));
        to.at("closed_at", closing.map(|closing| closing.at));
        to.text("closed_by", closing.map(|closing| closing.by.as_str()));
        to.text("closed_reason", closing.map(|closing| closing.reason.as_str()));
        to.text("claimed_by", self.claimed_by.as_deref());
        to.at("claimed_at", self.claimed_at);
    }
}
