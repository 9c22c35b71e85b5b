//! Calls of today and yesterday: those in progress, the counters, the open obligations.
//!
//! A call *counts* (is shown, counted, linked to its caller) while it started yesterday or later, by the watermark's day. One
//! that starts later than anything that is here yet *lies ahead*: until its time comes it is linked to its caller, as it is in
//! the read models, and neither shown nor counted.
//! It is *remembered* while its latest fact is at most [`MEMORY_DAYS`] days older than the watermark's, one day longer,
//! so that an end that is read before its ringing finds it later and does not stand as a call of its own.
//! One that counts is *shown* while it is in progress, and as presumed for a while after its end was presumed.

use std::collections::{BTreeMap, BTreeSet};

use helix_schemas::{
    fact::Fact,
    names::{CallId, WorkspaceId},
    time::OccurredAt,
};
use serde::{Deserialize, Serialize};

use super::{
    document::{CallCard, CallProgress, Today, WaitingCard, call_path, waiting_path},
    ghosts::Ghosts,
    heard::Heard,
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
    /// Its end, where that is presumed and it counts.
    ghost: Option<OccurredAt>,
}

/// How a call counts at the moment, to be taken back exactly when that changes.
#[derive(Debug, Clone)]
struct Counted {
    day: Day,
    /// It starts later than anything that is here yet.
    lies_ahead: bool,
    inbound: bool,
    outcome: Outcome,
    within: bool,
    /// By which it is linked to the caller's other calls.
    caller_key: Option<String>,
    started_at: OccurredAt,
    answered: bool,
    /// An outbound call that ended unanswered.
    failed: bool,
    /// When it was missed, unless it was waived or lies ahead.
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
    /// See [`Heard::reached`].
    reached: Option<OccurredAt>,
    held: BTreeMap<CallId, Held>,
    by_latest: BTreeMap<Day, BTreeSet<CallId>>,
    by_start: BTreeMap<Day, BTreeSet<CallId>>,
    /// Those that lie ahead, by their start.
    ahead: BTreeSet<(OccurredAt, CallId)>,
    counters: BTreeMap<Day, Counters>,
    callers: BTreeMap<String, Caller>,
    open_missed: i64,
    ghosts: Ghosts,
}

/// Where calls are shown, and by what rules.
pub(super) struct Screen<'a> {
    pub(super) workspace: &'a WorkspaceId,
    pub(super) settings: &'a Settings,
    pub(super) visible: &'a mut Visible,
    pub(super) changes: &'a mut Vec<Change>,
}

impl Screen<'_> {
    fn show(&mut self, call: &CallId, (card, waiting): (Option<CallCard>, Option<WaitingCard>)) {
        let (path, waiting_path) = (call_path(call), waiting_path(call));
        self.changes.extend(match card {
            Some(card) => self.visible.set(&path, &card),
            None => self.visible.remove(&path),
        });
        self.changes.extend(match waiting {
            Some(card) => self.visible.set(&waiting_path, &card),
            None => self.visible.remove(&waiting_path),
        });
    }

    fn hide(&mut self, call: &CallId) {
        self.show(call, (None, None));
    }
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

    /// Time has come so far; tells the calls that are remembered no more.
    pub(super) fn move_on(&mut self, heard: &Heard, screen: &mut Screen<'_>) -> Vec<CallId> {
        self.reach(heard.reached, screen);
        // Without a watermark there is no day to cut by, and calls there may be: their events carry no time.
        heard.watermark.map(|watermark| self.pass(watermark.occurred_at, screen)).unwrap_or_default()
    }

    /// Those whose time has come lie ahead no more.
    fn reach(&mut self, reached: Option<OccurredAt>, screen: &mut Screen<'_>) {
        self.reached = reached;
        while self.ahead.first().is_some_and(|(started_at, _)| Some(*started_at) <= reached) {
            let Some((_, call)) = self.ahead.pop_first() else { break };
            self.recount(&call, screen);
        }
    }

    /// The watermark is here; tells the calls that are remembered no more.
    fn pass(&mut self, now: OccurredAt, screen: &mut Screen<'_>) -> Vec<CallId> {
        for past in self.ghosts.move_on(now) {
            screen.hide(&past);
        }
        let day = screen.settings.day_of(now);
        if self.today.is_some_and(|today| day <= today) {
            return Vec::new();
        }
        self.today = Some(day);
        for call in take_before(&mut self.by_start, day - 1) {
            if let Some(counted) = self.held.get_mut(&call).and_then(|held| held.counted.take()) {
                self.uncount(&call, &counted);
            }
            self.haunt(&call, None, screen);
            screen.hide(&call);
        }
        let dropped = take_before(&mut self.by_latest, day - MEMORY_DAYS);
        for call in &dropped {
            self.haunt(call, None, screen);
            // A call that counts still although all its facts are older (a start that lies after them) goes too.
            if let Some(counted) = self.held.remove(call).and_then(|held| held.counted) {
                self.uncount(call, &counted);
                remove_from(&mut self.by_start, counted.day, call);
                screen.hide(call);
            }
        }
        dropped
    }

    /// Joins a fact; tells its call if something was to be remembered.
    pub(super) fn apply(&mut self, fact: &Fact, screen: &mut Screen<'_>) -> Option<CallId> {
        let call = fact.call.as_ref().filter(|_| CallState::concerns(fact))?;
        let day = screen.settings.day_of(fact.occurred_at);
        if let Some(held) = self.held.get_mut(call) {
            let learnt = held.memory.state.apply(fact);
            let before = held.memory.latest;
            if fact.occurred_at > before {
                held.memory.latest = fact.occurred_at;
                let before_day = screen.settings.day_of(before);
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
            self.held.insert(call.clone(), Held { memory, counted: None, ghost: None });
            self.by_latest.entry(day).or_default().insert(call.clone());
        }
        self.recount(call, screen);
        Some(call.clone())
    }

    /// Takes up a call from its stored memory.
    pub(super) fn restore(&mut self, call: &CallId, memory: CallMemory, screen: &mut Screen<'_>) {
        let day = screen.settings.day_of(memory.latest);
        self.by_latest.entry(day).or_default().insert(call.clone());
        self.held.insert(call.clone(), Held { memory, counted: None, ghost: None });
        self.recount(call, screen);
    }

    /// Takes back how a call counted and counts it anew.
    fn recount(&mut self, call: &CallId, screen: &mut Screen<'_>) {
        let Some(held) = self.held.get_mut(call) else { return };
        let settings = screen.settings;
        let state = &held.memory.state;
        let row = state.row(screen.workspace, call, settings);
        let waived = state.handling().waive.is_some();
        if let Some(counted) = held.counted.take() {
            self.uncount(call, &counted);
            remove_from(&mut self.by_start, counted.day, call);
        }
        let yesterday = self.today.map(|today| today - 1);
        let counts = |row: &CallRow| yesterday.is_none_or(|yesterday| settings.day_of(row.started_at) >= yesterday);
        let row = row.filter(counts);
        let reached = self.reached;
        let shown = row.as_ref().filter(|row| Some(row.started_at) <= reached);
        self.haunt(call, shown.and_then(presumed_end), screen);
        screen.show(call, shown.map_or((None, None), |row| self.cards(row)));
        if let Some(row) = &row {
            let counted = Counted::of(row, waived, shown.is_none(), settings);
            self.count(call, &counted);
            self.by_start.entry(counted.day).or_default().insert(call.clone());
            if let Some(held) = self.held.get_mut(call) {
                held.counted = Some(counted);
            }
        }
    }

    /// Whether a call is presumed to have ended, and when. Another may have to make room for it on the board, or gets room.
    fn haunt(&mut self, call: &CallId, ended_at: Option<OccurredAt>, screen: &mut Screen<'_>) {
        let Some(held) = self.held.get_mut(call) else { return };
        let before = std::mem::replace(&mut held.ghost, ended_at);
        if before == ended_at {
            return;
        }
        let has_room = before.and_then(|before| self.ghosts.remove(call, before));
        let crowded_out = ended_at.and_then(|ended_at| self.ghosts.add(call, ended_at));
        for other in has_room.into_iter().chain(crowded_out) {
            let Some(held) = self.held.get(&other) else { continue };
            let row = held.memory.state.row(screen.workspace, &other, screen.settings);
            screen.show(&other, row.as_ref().map_or((None, None), |row| self.cards(row)));
        }
    }

    /// How a call that counts is shown: among those in progress or presumed to have ended, and among those waiting.
    fn cards(&self, row: &CallRow) -> (Option<CallCard>, Option<WaitingCard>) {
        let is_ghost = presumed_end(row).is_some_and(|ended_at| self.ghosts.shows(&row.call, ended_at));
        let in_progress = row.ended_at.is_none();
        ((in_progress || is_ghost).then(|| call_card(row)), in_progress.then(|| waiting_card(row)).flatten())
    }

    fn count(&mut self, call: &CallId, counted: &Counted) {
        if counted.lies_ahead {
            self.ahead.insert((counted.started_at, call.clone()));
        } else {
            counted.add_to(self.counters.entry(counted.day).or_default(), 1);
        }
        self.link(call, counted, true);
    }

    fn uncount(&mut self, call: &CallId, counted: &Counted) {
        if counted.lies_ahead {
            self.ahead.remove(&(counted.started_at, call.clone()));
        } else if let Some(counters) = self.counters.get_mut(&counted.day) {
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
    fn of(row: &CallRow, waived: bool, lies_ahead: bool, settings: &Settings) -> Self {
        let within = row.outcome == Outcome::Answered
            && row.wait_seconds.is_some_and(|seconds| seconds <= settings.service_level_seconds);
        Self {
            day: settings.day_of(row.started_at),
            lies_ahead,
            inbound: row.counts_as_inbound(),
            outcome: row.outcome,
            within,
            started_at: row.started_at,
            answered: row.answered_at.is_some(),
            failed: row.outcome == Outcome::NoAnswer,
            missed_at: if row.is_missed() && !waived && !lies_ahead { row.ended_at } else { None },
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

/// The end of a call, where that is presumed.
fn presumed_end(row: &CallRow) -> Option<OccurredAt> {
    row.ended_at.filter(|_| row.presumed)
}

/// A call as it is, or as it was before its end was presumed.
fn call_card(row: &CallRow) -> CallCard {
    let started_at = row.started_at.to_rfc3339();
    CallCard {
        call_id: row.call.clone(),
        direction: row.direction,
        caller: row.caller.clone(),
        did: row.did.clone(),
        skill: row.skill.clone(),
        agent_id: row.agent.clone(),
        state: if row.answered_at.is_none() { CallProgress::Ringing } else { CallProgress::OnCall },
        since: row.answered_at.map_or_else(|| started_at.clone(), OccurredAt::to_rfc3339),
        started_at,
        presumed: row.presumed,
    }
}

fn waiting_card(row: &CallRow) -> Option<WaitingCard> {
    let waits = row.answered_at.is_none() && row.counts_as_inbound();
    waits.then(|| WaitingCard {
        call_id: row.call.clone(),
        caller: row.caller.clone(),
        did: row.did.clone(),
        skill: row.skill.clone(),
        since: row.started_at.to_rfc3339(),
    })
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
