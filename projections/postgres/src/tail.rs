//! The end of an agent's story: its last intervals, and the entries that they are read off.
//!
//! Loaded from the tables where it is not known, and kept between batches ([`crate::memory`]), so that an agent's tail is
//! read once and not once a batch. A change that lies before what is kept is for the tables.

use helix_fold::agent::{Entry, Interval, Registers, Says, StaleTail, TOUCH_GRACE_MILLIS};
use helix_schemas::time::OccurredAt;

/// So many intervals are kept: two calls, and what comes some minutes late.
const KEPT: usize = 10;

/// Intervals without gap up to the last, and all entries that may say something of them from the second on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tail {
    /// Whether it is the whole story: then of the first interval too.
    pub(crate) whole: bool,
    pub(crate) intervals: Vec<Interval>,
    pub(crate) entries: Vec<Entry>,
    /// Absent where nothing is stored.
    pub(crate) registers: Option<Registers>,
}

/// Whether intervals that are computed from `from` on are read off this entry.
pub(crate) fn is_of(entry: &Entry, from: OccurredAt) -> bool {
    let earliest = match entry.says {
        Says::Touch { .. } => from.millis().saturating_sub(TOUCH_GRACE_MILLIS),
        Says::State { .. } | Says::Decided { .. } => from.millis(),
    };
    entry.at.millis() >= earliest
}

impl Tail {
    /// What a change at that moment makes stale; `None` where that begins before what is kept.
    pub(crate) fn stale(&self, changed: OccurredAt) -> Option<StaleTail> {
        let stale = StaleTail::of(self.intervals.clone(), changed);
        (self.whole || stale.before.is_some()).then_some(stale)
    }

    /// Takes out the entries from which the stale intervals are computed anew.
    pub(crate) fn take_entries(&mut self, stale: &StaleTail) -> Vec<Entry> {
        let Some(from) = stale.from else { return std::mem::take(&mut self.entries) };
        self.entries.extract_if(.., |entry| is_of(entry, from)).collect()
    }

    /// Puts in what was computed from those entries, and lets go of what is older than need be.
    pub(crate) fn put(&mut self, stale: &StaleTail, entries: Vec<Entry>, computed: &[Interval]) {
        self.intervals.retain(|interval| stale.from.is_some_and(|from| interval.started_at < from));
        self.intervals.extend_from_slice(computed);
        self.entries.extend(entries);
        let Some(first) = self.intervals.len().checked_sub(KEPT).filter(|first| *first > 0) else { return };
        self.intervals.drain(..first);
        self.whole = false;
        if let Some(from) = self.intervals.get(1).map(|interval| interval.started_at) {
            self.entries.retain(|entry| is_of(entry, from));
        }
    }
}
