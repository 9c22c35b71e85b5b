//! The end of an agent's story: its last intervals, and the entries that may still say something of them.
//!
//! Loaded from the tables where it is not known, and kept between batches ([`crate::memory`]), so that an agent's tail is
//! read once and not once a batch. A change that lies before what is kept is for the tables.
//!
//! What lies before a change is told by three things, however much it is: the interval in force, the last touch, and the last
//! state fact, on which decisions may rest. Every interval that changes ends after the change, so of the touches before it
//! only the last can be anybody's. So neither a state that is repeated for ever nor touches without end are read again.

use helix_fold::agent::{Arrival, Entry, Interval, Registers, Says, TOUCH_GRACE_MILLIS, intervals};
use helix_schemas::{id::FactId, time::OccurredAt};
use sqlx::types::Uuid;

/// So many intervals are kept: two calls, and what comes some minutes late.
const INTERVALS_KEPT: usize = 10;
/// Of entries so many are kept,
const ENTRIES_KEPT: usize = 16;
/// and let go of when there are more than these.
const ENTRIES_MOST: usize = 32;

/// Intervals without gap up to the last, and all entries from a moment on.
#[derive(Debug, Clone)]
pub(crate) struct Tail {
    /// Whether the first of the intervals is the agent's first.
    pub(crate) whole: bool,
    pub(crate) intervals: Vec<Interval>,
    /// From here on all entries are known. Of those before: the last touch, where it may still be an interval's, and the last
    /// state fact, where one was asked for.
    pub(crate) from: OccurredAt,
    pub(crate) entries: Vec<Entry>,
    /// Absent where nothing is stored.
    pub(crate) registers: Option<Registers>,
}

/// What a change makes stale.
#[derive(Debug, Clone)]
pub(crate) struct Stale {
    /// The moment of the change: entries are needed from here on.
    pub(crate) changed: OccurredAt,
    /// The interval before the stale ones, which stands.
    before: Option<Interval>,
    /// Whether the first stale interval began before the change. It began as it did, but may end earlier, and get another call.
    in_force: bool,
    /// The intervals to be computed anew, as stored.
    pub(crate) stored: Vec<Interval>,
    /// What comes later stands, where the computed intervals lead to the interval that is stored there. Else all is stale.
    pub(crate) until: Option<OccurredAt>,
}

impl Stale {
    /// Splits stored intervals at a change. They hold at least the last two that began before it, where there are, and all
    /// that began later, up to `until`.
    pub(crate) fn of(mut intervals: Vec<Interval>, changed: OccurredAt, until: Option<OccurredAt>) -> Self {
        let in_force = intervals.iter().rposition(|interval| interval.started_at < changed);
        let stored = intervals.split_off(in_force.unwrap_or(0));
        Self { changed, before: intervals.pop(), in_force: in_force.is_some(), stored, until }
    }

    /// The interval in which the change falls.
    fn in_force(&self) -> Option<&Interval> {
        self.stored.first().filter(|_| self.in_force)
    }

    /// Whether the agent's first interval is among those that are stale.
    pub(crate) const fn holds_the_first(&self) -> bool {
        self.before.is_none()
    }

    /// An earlier touch is no stale interval's.
    pub(crate) fn touches_from(&self) -> OccurredAt {
        let with_call = self.in_force().filter(|interval| interval.state.has_call());
        let start = with_call.map_or(self.changed, |interval| interval.started_at);
        OccurredAt::from_millis(start.millis().saturating_sub(TOUCH_GRACE_MILLIS))
    }

    /// Whether these intervals lead to what stands after them: then the state in force says all that matters, and it has no
    /// call that could be another one.
    pub(crate) fn leads_on(&self, computed: &[Interval]) -> bool {
        let same = |one: &Interval, other: &Interval| {
            !one.state.belongs_to_call()
                && (one.state, &one.reason, one.presumed) == (other.state, &other.reason, other.presumed)
        };
        let ends = self.stored.last().zip(computed.last());
        self.until.is_none() || ends.is_some_and(|(stored, computed)| same(stored, computed))
    }

    /// Whether the agent's last interval comes after those that are stale.
    pub(crate) fn leaves_the_last(&self) -> bool {
        self.until.is_some() && self.stored.last().is_some_and(|interval| interval.ended_at.is_some())
    }
}

const fn order(entry: &Entry) -> (OccurredAt, Arrival) {
    (entry.at, entry.arrival)
}

/// Of the entries before a moment the last of a kind.
fn last_before(entries: &[Entry], moment: OccurredAt, kind: fn(&Says) -> bool) -> Option<&Entry> {
    entries.iter().filter(|entry| entry.at < moment && kind(&entry.says)).max_by_key(|entry| order(entry))
}

const fn is_touch(says: &Says) -> bool {
    matches!(says, Says::Touch { .. })
}

pub(crate) const fn is_state(says: &Says) -> bool {
    matches!(says, Says::State { .. })
}

impl Tail {
    /// What a change at that moment makes stale; `None` where that begins before what is kept.
    pub(crate) fn stale(&self, changed: OccurredAt) -> Option<Stale> {
        let stale = Stale::of(self.intervals.clone(), changed, None);
        (changed >= self.from && (self.whole || stale.before.is_some())).then_some(stale)
    }

    /// Whether a decision is to be judged by a state fact before the change that is not known.
    pub(crate) fn lacks_ground(&self, stale: &Stale, added: &[Entry]) -> bool {
        let decisions = self.later(stale).chain(added).any(|entry| matches!(entry.says, Says::Decided { .. }));
        stale.in_force && decisions && last_before(&self.entries, stale.changed, is_state).is_none()
    }

    fn later(&self, stale: &Stale) -> impl Iterator<Item = &Entry> {
        self.entries
            .iter()
            .filter(|entry| entry.at >= stale.changed && stale.until.is_none_or(|until| entry.at <= until))
    }

    /// The stale intervals anew, with what the batch adds.
    pub(crate) fn computed(&self, stale: &Stale, added: &[Entry]) -> Vec<Interval> {
        let mut entries = self.opening(stale);
        entries.extend(last_before(&self.entries, stale.changed, is_touch).cloned());
        entries.extend(self.later(stale).chain(added).cloned());
        let mut computed = intervals(stale.before.as_ref(), &entries);
        if let (Some(_), Some(last), Some(stored)) = (stale.until, computed.last_mut(), stale.stored.last()) {
            last.ended_at = stored.ended_at;
        }
        computed
    }

    /// What opens the interval in force again, in place of all that was said before the change.
    fn opening(&self, stale: &Stale) -> Vec<Entry> {
        let Some(interval) = stale.in_force() else { return Vec::new() };
        let unknown = FactId::from_uuid(Uuid::nil());
        // Not known where nothing asks for it.
        let ground = last_before(&self.entries, stale.changed, is_state).map_or(unknown, |entry| entry.fact);
        let entry = |arrival, fact, says| Entry { at: interval.started_at, arrival, fact, says };
        let (state, reason) = (interval.state, interval.reason.clone());
        let mut opening = vec![entry(Arrival::MIN, ground, Says::State { state, reason: reason.clone() })];
        if interval.presumed {
            let says = Says::Decided { state, reason: reason.unwrap_or_default(), rests_on: ground };
            opening.push(entry(Arrival::MIN + 1, unknown, says));
        }
        opening
    }

    /// Puts in what was computed, and lets go of what is older than need be.
    pub(crate) fn put(&mut self, stale: &Stale, added: Vec<Entry>, computed: &[Interval]) {
        let stale_from = stale.stored.first().map_or(stale.changed, |interval| interval.started_at);
        self.intervals.retain(|interval| interval.started_at < stale_from.min(stale.changed));
        self.intervals.extend_from_slice(computed);
        self.entries.extend(added);
        if let Some(first) = self.intervals.len().checked_sub(INTERVALS_KEPT).filter(|first| *first > 0) {
            self.intervals.drain(..first);
            self.whole = false;
        }
        if self.entries.len() > ENTRIES_MOST {
            self.let_go();
        }
    }

    fn let_go(&mut self) {
        self.entries.sort_unstable_by_key(order);
        let Some(from) = self.entries.iter().rev().nth(ENTRIES_KEPT).map(|entry| entry.at) else { return };
        let from = self.from.max(from);
        let touch = last_before(&self.entries, from, is_touch).map(order);
        let state = last_before(&self.entries, from, is_state).map(order);
        let last = |entry: &Entry| [touch, state].contains(&Some(order(entry)));
        self.entries.retain(|entry| entry.at >= from || last(entry));
        self.from = from;
    }
}
