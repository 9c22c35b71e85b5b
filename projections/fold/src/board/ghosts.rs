//! Calls whose end is presumed: for a while the board goes on showing them, as presumed (docs/rules.md, "Board").
//!
//! Which are shown follows from the calls' rows and the watermark alone: those that ended last, within [`SHOWN_MILLIS`] of
//! the watermark, at most [`SHOWN`] of them. So no order of facts matters.

use std::collections::BTreeSet;

use helix_schemas::{names::CallId, time::OccurredAt};

/// Shown until the watermark is this much later than the presumed end.
pub(super) const SHOWN_MILLIS: i64 = 15 * 60 * 1000;
/// Not more than this many: a provider that went away leaves any number of them.
pub(super) const SHOWN: usize = 100;

type Ended = (OccurredAt, CallId);

/// Calls that are presumed to have ended lately, by their end.
#[derive(Debug, Clone, Default)]
pub(super) struct Ghosts {
    now: Option<OccurredAt>,
    shown: BTreeSet<Ended>,
    /// All earlier than those that are shown; there are none unless [`SHOWN`] are.
    crowded_out: BTreeSet<Ended>,
}

impl Ghosts {
    /// The watermark is here; gives those that are past.
    pub(super) fn move_on(&mut self, now: OccurredAt) -> Vec<CallId> {
        self.now = self.now.max(Some(now));
        take_past(&mut self.crowded_out, now);
        take_past(&mut self.shown, now)
    }

    /// Whether it is shown as one that is presumed to have ended then.
    pub(super) fn shows(&self, call: &CallId, ended_at: OccurredAt) -> bool {
        self.shown.contains(&(ended_at, call.clone()))
    }

    /// A call is presumed to have ended then; gives the one that is shown no more for it. One that is long past is none.
    pub(super) fn add(&mut self, call: &CallId, ended_at: OccurredAt) -> Option<CallId> {
        if self.now.is_some_and(|now| is_past(ended_at, now)) {
            return None;
        }
        self.shown.insert((ended_at, call.clone()));
        if self.shown.len() <= SHOWN {
            return None;
        }
        let earliest = self.shown.pop_first()?;
        self.crowded_out.insert(earliest.clone());
        Some(earliest.1)
    }

    /// That is not presumed any more; gives the one that is shown in its place.
    pub(super) fn remove(&mut self, call: &CallId, ended_at: OccurredAt) -> Option<CallId> {
        let ghost = (ended_at, call.clone());
        if !self.shown.remove(&ghost) {
            self.crowded_out.remove(&ghost);
            return None;
        }
        let latest = self.crowded_out.pop_last()?;
        self.shown.insert(latest.clone());
        Some(latest.1)
    }
}

const fn is_past(ended_at: OccurredAt, now: OccurredAt) -> bool {
    now.millis().saturating_sub(ended_at.millis()) >= SHOWN_MILLIS
}

fn take_past(ghosts: &mut BTreeSet<Ended>, now: OccurredAt) -> Vec<CallId> {
    let mut past = Vec::new();
    while ghosts.first().is_some_and(|(ended_at, _)| is_past(*ended_at, now)) {
        past.extend(ghosts.pop_first().map(|(_, call)| call));
    }
    past
}
