//! Calls of today and yesterday: those in progress, the counters, the open obligations.
//!
//! A call *counts* (is shown, counted, linked to its caller) while it started yesterday or later, by the watermark's day.
//! It is *remembered* while its latest fact is at most [`MEMORY_DAYS`] days older than the watermark's, one day longer,
//! so that an end that is read before its ringing finds it later and does not stand as a call of its own.

use std::collections::{BTreeMap, BTreeSet};

use helix_schemas::{
    fact::Fact,
    names::{CallId, WorkspaceId},
    time::OccurredAt,
};
use serde::{Deserialize, Serialize};

use super::{
    document::{CallCard, CallProgress, Today, WaitingCard, call_path, waiting_path},
    visible::{Change, Visible},
};
use crate::{
    call::{CallRow, CallState, Outcome},
    settings::Settings,
};

/// Days a call is remembered after its latest fact's.
const MEMORY_DAYS: i64 = 2;

type Day = i64;

/// What is stored of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CallMemory {
    state: CallState,
    latest: OccurredAt,
}

#[derive(Debug, Clone)]
struct Held {
    memory: CallMemory,
    counted: Option<Counted>,
}

/// How a call counts at the moment, to be taken back exactly when that changes.
#[derive(Debug, Clone)]
struct Counted {
    day: Day,
    inbound: bool,
    outcome: Outcome,
    within: bool,
    /// By which it is linked to the caller's other calls.
    caller_key: Option<String>,
    started_at: OccurredAt,
    answered: bool,
    /// An outbound call that ended unanswered.
    failed: bool,
    /// When it was missed, unless it was waived.
    missed_at: Option<OccurredAt>,
    /// How many attempts close an obligation; `None`: no number does.
    exhausting: Option<usize>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Counters {
    answered: i64,
    missed: i64,
    short: i64,
    in_progress: i64,
    within: i64,
}

/// The calls of one caller that matter to its obligations.
#[derive(Debug, Clone, Default)]
struct Caller {
    /// Starts of answered calls, either direction.
    answered: BTreeSet<(OccurredAt, CallId)>,
    /// Starts of attempts that ended unanswered.
    failed: BTreeSet<(OccurredAt, CallId)>,
    /// When calls were missed that nobody waived. The call is always there; its absence marks the start of a moment in a
    /// range.
    missed: BTreeSet<(OccurredAt, Option<CallId>)>,
}

/// Every call the board remembers.
#[derive(Debug, Clone, Default)]
pub(super) struct Calls {
    today: Option<Day>,
    held: BTreeMap<CallId, Held>,
    by_latest: BTreeMap<Day, BTreeSet<CallId>>,
    by_start: BTreeMap<Day, BTreeSet<CallId>>,
    counters: BTreeMap<Day, Counters>,
    callers: BTreeMap<String, Caller>,
    open_missed: i64,
}

impl Calls {
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    #[cfg(test)]
    pub(super) fn ids(&self) -> impl Iterator<Item = &CallId> {
        self.held.keys()
    }

    pub(super) fn memory(&self, call: &CallId) -> Option<&CallMemory> {
        self.held.get(call).map(|held| &held.memory)
    }

    pub(super) fn open_missed(&self) -> i64 {
        self.open_missed
    }

    pub(super) fn today(&self, day: Day, settings: &Settings) -> Today {
        let mut today = Today::empty(settings);
        let Some(counters) = self.counters.get(&day) else {
            return today;
        };
        today.answered = counters.answered;
        today.missed = counters.missed;
        today.short_abandoned = counters.short;
        today.in_progress = counters.in_progress;
        today.offered = counters.answered + counters.missed + counters.short + counters.in_progress;
        today.service_level.answered_within = counters.within;
        today.service_level.denominator = counters.answered + counters.missed;
        today
    }

    /// Moves on to the watermark's day; tells the calls that are remembered no more.
    pub(super) fn roll(&mut self, day: Day, visible: &mut Visible, changes: &mut Vec<Change>) -> Vec<CallId> {
        if self.today.is_some_and(|today| day <= today) {
            return Vec::new();
        }
        self.today = Some(day);
        let uncounted = take_before(&mut self.by_start, day - 1);
        for call in uncounted {
            if let Some(counted) = self.held.get_mut(&call).and_then(|held| held.counted.take()) {
                self.uncount(&call, &counted);
            }
            changes.extend(visible.remove(&call_path(&call)));
            changes.extend(visible.remove(&waiting_path(&call)));
        }
        let dropped = take_before(&mut self.by_latest, day - MEMORY_DAYS);
        for call in &dropped {
            // A call that counts still although all its facts are older (a start that lies after them) goes too.
            if let Some(counted) = self.held.remove(call).and_then(|held| held.counted) {
                self.uncount(call, &counted);
                remove_from(&mut self.by_start, counted.day, call);
                changes.extend(visible.remove(&call_path(call)));
                changes.extend(visible.remove(&waiting_path(call)));
            }
        }
        dropped
    }

    /// Joins a fact; tells its call if something was to be remembered.
    pub(super) fn apply(
        &mut self,
        workspace: &WorkspaceId,
        settings: &Settings,
        fact: &Fact,
        visible: &mut Visible,
        changes: &mut Vec<Change>,
    ) -> Option<CallId> {
        let call = fact.call.as_ref().filter(|_| CallState::concerns(fact))?;
        let day = settings.day_of(fact.occurred_at);
        if let Some(held) = self.held.get_mut(call) {
            let learnt = held.memory.state.apply(fact);
            let before = held.memory.latest;
            if fact.occurred_at > before {
                held.memory.latest = fact.occurred_at;
                let before_day = settings.day_of(before);
                if day > before_day {
                    remove_from(&mut self.by_latest, before_day, call);
                    self.by_latest.entry(day).or_default().insert(call.clone());
                }
            }
            if !learnt && fact.occurred_at <= before {
                return None;
            }
        } else {
            if self.today.is_some_and(|today| day < today - MEMORY_DAYS) {
                return None;
            }
            let mut memory = CallMemory { state: CallState::default(), latest: fact.occurred_at };
            memory.state.apply(fact);
            self.held.insert(call.clone(), Held { memory, counted: None });
            self.by_latest.entry(day).or_default().insert(call.clone());
        }
        self.recount(workspace, settings, call, visible, changes);
        Some(call.clone())
    }

    /// Takes up a call from its stored memory.
    pub(super) fn restore(
        &mut self,
        workspace: &WorkspaceId,
        settings: &Settings,
        call: &CallId,
        memory: CallMemory,
        visible: &mut Visible,
    ) {
        let day = settings.day_of(memory.latest);
        self.by_latest.entry(day).or_default().insert(call.clone());
        self.held.insert(call.clone(), Held { memory, counted: None });
        self.recount(workspace, settings, call, visible, &mut Vec::new());
    }

    /// Takes back how a call counted and counts it anew.
    fn recount(
        &mut self,
        workspace: &WorkspaceId,
        settings: &Settings,
        call: &CallId,
        visible: &mut Visible,
        changes: &mut Vec<Change>,
    ) {
        let Some(held) = self.held.get_mut(call) else { return };
        let state = &held.memory.state;
        let row = state.row(workspace, call, settings);
        let waived = state.handling().waive.is_some();
        if let Some(counted) = held.counted.take() {
            self.uncount(call, &counted);
            remove_from(&mut self.by_start, counted.day, call);
        }
        let yesterday = self.today.map(|today| today - 1);
        let counts = |row: &CallRow| yesterday.is_none_or(|yesterday| settings.day_of(row.started_at) >= yesterday);
        let row = row.filter(counts);
        let (card, waiting) = row.as_ref().map_or((None, None), cards);
        changes.extend(match card {
            Some(card) => visible.set(&call_path(call), &card),
            None => visible.remove(&call_path(call)),
        });
        changes.extend(match waiting {
            Some(card) => visible.set(&waiting_path(call), &card),
            None => visible.remove(&waiting_path(call)),
        });
        if let Some(row) = row {
            let counted = Counted::of(&row, waived, settings);
            self.count(call, &counted);
            self.by_start.entry(counted.day).or_default().insert(call.clone());
            if let Some(held) = self.held.get_mut(call) {
                held.counted = Some(counted);
            }
        }
    }

    fn count(&mut self, call: &CallId, counted: &Counted) {
        counted.add_to(self.counters.entry(counted.day).or_default(), 1);
        self.link(call, counted, true);
    }

    fn uncount(&mut self, call: &CallId, counted: &Counted) {
        if let Some(counters) = self.counters.get_mut(&counted.day) {
            counted.add_to(counters, -1);
            if *counters == Counters::default() {
                self.counters.remove(&counted.day);
            }
        }
        self.link(call, counted, false);
    }

    /// Adds a call to its caller's obligations, or takes it away.
    fn link(&mut self, call: &CallId, counted: &Counted, add: bool) {
        let sign = if add { 1 } else { -1 };
        let Some(key) = &counted.caller_key else {
            // Linked to nothing: missed is open.
            self.open_missed += if counted.missed_at.is_some() { sign } else { 0 };
            return;
        };
        if counted.missed_at.is_none() && !counted.answered && !counted.failed {
            return;
        }
        let caller = self.callers.entry(key.clone()).or_default();
        let before = caller.closed_until(counted.exhausting);
        if let Some(missed_at) = counted.missed_at {
            let entry = (missed_at, Some(call.clone()));
            let open = before.is_none_or(|until| missed_at > until);
            let changed = if add { caller.missed.insert(entry) } else { caller.missed.remove(&entry) };
            self.open_missed += if changed && open { sign } else { 0 };
        }
        let entry = (counted.started_at, call.clone());
        for (closes, starts) in [(counted.answered, &mut caller.answered), (counted.failed, &mut caller.failed)] {
            if closes {
                let _known = if add { starts.insert(entry.clone()) } else { starts.remove(&entry) };
            }
        }
        let after = caller.closed_until(counted.exhausting);
        // Obligations up to some moment are closed: that moment moves on with what is added, and back with what is taken.
        self.open_missed -= caller.missed_between(before, after);
        self.open_missed += caller.missed_between(after, before);
        if caller.answered.is_empty() && caller.failed.is_empty() && caller.missed.is_empty() {
            self.callers.remove(key);
        }
    }
}

impl Caller {
    /// What was missed until then is closed: by an answered call that started no earlier, or by as many failed attempts.
    fn closed_until(&self, exhausting: Option<usize>) -> Option<OccurredAt> {
        let answered = self.answered.last();
        let exhausted = exhausting.and_then(|attempts| self.failed.iter().rev().nth(attempts - 1));
        answered.max(exhausted).map(|(started_at, _)| *started_at)
    }

    /// How many calls were missed later than `from` and not later than `to`.
    fn missed_between(&self, from: Option<OccurredAt>, to: Option<OccurredAt>) -> i64 {
        let after = |at: OccurredAt| (OccurredAt::from_millis(at.millis().saturating_add(1)), None);
        let first = from.map_or((OccurredAt::from_millis(i64::MIN), None), after);
        match to.map(after) {
            Some(end) if first < end => i64::try_from(self.missed.range(first..end).count()).unwrap_or(i64::MAX),
            Some(_) | None => 0,
        }
    }
}

impl Counted {
    fn of(row: &CallRow, waived: bool, settings: &Settings) -> Self {
        let within = row.outcome == Outcome::Answered
            && row.wait_seconds.is_some_and(|seconds| seconds <= settings.service_level_seconds);
        Self {
            day: settings.day_of(row.started_at),
            inbound: row.counts_as_inbound(),
            outcome: row.outcome,
            within,
            started_at: row.started_at,
            answered: row.answered_at.is_some(),
            failed: row.outcome == Outcome::NoAnswer,
            missed_at: if row.is_missed() && !waived { row.ended_at } else { None },
            exhausting: usize::try_from(settings.rules.attempts).ok().filter(|attempts| *attempts > 0),
            caller_key: row.caller.as_deref().and_then(|caller| settings.caller_key(caller)),
        }
    }

    fn add_to(&self, counters: &mut Counters, sign: i64) {
        if !self.inbound {
            return;
        }
        match self.outcome {
            Outcome::Answered => {
                counters.answered += sign;
                counters.within += if self.within { sign } else { 0 };
            }
            Outcome::Missed => counters.missed += sign,
            Outcome::ShortAbandon => counters.short += sign,
            Outcome::InProgress => counters.in_progress += sign,
            // Of outbound calls only.
            Outcome::NoAnswer => {}
        }
    }
}

/// How a call is shown: among those in progress, and among those waiting.
fn cards(row: &CallRow) -> (Option<CallCard>, Option<WaitingCard>) {
    if row.ended_at.is_some() {
        return (None, None);
    }
    let waits = row.answered_at.is_none();
    let started_at = row.started_at.to_rfc3339();
    let card = CallCard {
        call_id: row.call.clone(),
        direction: row.direction,
        caller: row.caller.clone(),
        did: row.did.clone(),
        skill: row.skill.clone(),
        agent_id: row.agent.clone(),
        state: if waits { CallProgress::Ringing } else { CallProgress::OnCall },
        since: row.answered_at.map_or_else(|| started_at.clone(), OccurredAt::to_rfc3339),
        started_at: started_at.clone(),
        presumed: row.presumed,
    };
    let waiting = (waits && row.counts_as_inbound()).then(|| WaitingCard {
        call_id: row.call.clone(),
        caller: row.caller.clone(),
        did: row.did.clone(),
        skill: row.skill.clone(),
        since: started_at,
    });
    (Some(card), waiting)
}

/// Takes everything of the days before `day`.
fn take_before(days: &mut BTreeMap<Day, BTreeSet<CallId>>, day: Day) -> Vec<CallId> {
    let later = days.split_off(&day);
    std::mem::replace(days, later).into_values().flatten().collect()
}

fn remove_from(days: &mut BTreeMap<Day, BTreeSet<CallId>>, day: Day, call: &CallId) {
    if let Some(calls) = days.get_mut(&day) {
        calls.remove(call);
        if calls.is_empty() {
            days.remove(&day);
        }
    }
}
