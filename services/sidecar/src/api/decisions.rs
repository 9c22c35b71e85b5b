//! The last decision of this process about each missed call: when it takes effect, and whether it shows in the read models.
//!
//! Decisions of people are ordered by when they take effect. Those of this process about one call get strictly rising
//! moments, in the order in which they are handed to the producer, so that of two people who want the same the first in the
//! log is the first in time too. Two sidecars of one workspace have two clocks: for them that is as true as the clocks are.
//! A moment that lies far ahead is followed by none: a release frees only the claim that it names, so nothing that was
//! decided far ahead undoes what is decided now (docs/rules.md, "Missed calls").
//!
//! A row that this process has changed, or has perhaps changed, says nothing until it shows the change. Where a decision
//! lies in the log is known once it is acknowledged; one that is not, or whose request went away, is perhaps written.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use helix_schemas::{fact::Fact, names::CallId, time::OccurredAt};

use crate::log::{Log, LogError, Place};

/// A moment may follow one that lies so far ahead of the provider's now.
const AHEAD: Duration = Duration::from_secs(60);
/// For so long a decision that was perhaps written may turn up: longer than a broker holds a request back.
const MAY_TURN_UP: Duration = Duration::from_secs(600);
/// Beyond so many calls those that need no longer be remembered are forgotten.
const REMEMBERED: usize = 1000;

/// What is to be decided.
pub(crate) struct Wanted<'a> {
    pub(crate) call: &'a CallId,
    /// The provider's now.
    pub(crate) now: OccurredAt,
    /// Not before this.
    pub(crate) earliest: OccurredAt,
    /// Whether it takes the call.
    pub(crate) claims: bool,
}

/// How far the last decision about a call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Handed over.
    OnItsWay,
    /// In the log.
    Kept(Place),
    /// Perhaps in the log; of a claim, since when it would hold.
    Lost(Option<OccurredAt>),
}

struct Last {
    number: u64,
    at: OccurredAt,
    claims: bool,
    came_so_far: CameSoFar,
    since: Instant,
}

enum CameSoFar {
    OnItsWay,
    Kept(Place),
    Lost,
    Shown,
}

#[derive(Default)]
struct Book {
    number: u64,
    calls: BTreeMap<CallId, Last>,
}

/// What this process decided.
#[derive(Default)]
pub(crate) struct Decisions(Mutex<Book>);

impl std::fmt::Debug for Decisions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decisions")
    }
}

impl Decisions {
    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last decision about a call, while the read models may not show it, and its number.
    pub(crate) fn unshown(&self, call: &CallId) -> Option<(u64, Standing)> {
        let mut book = self.lock();
        let last = book.calls.get_mut(call)?;
        if matches!(last.came_so_far, CameSoFar::Lost) && last.since.elapsed() >= MAY_TURN_UP {
            last.came_so_far = CameSoFar::Shown;
        }
        let standing = match last.came_so_far {
            CameSoFar::OnItsWay => Standing::OnItsWay,
            CameSoFar::Kept(place) => Standing::Kept(place),
            CameSoFar::Lost => Standing::Lost(last.claims.then_some(last.at)),
            CameSoFar::Shown => return None,
        };
        Some((last.number, standing))
    }

    /// The read models show that decision, and all before it.
    pub(crate) fn shown(&self, call: &CallId, number: u64) {
        self.came(call, number, CameSoFar::Shown);
    }

    fn came(&self, call: &CallId, number: u64, so_far: CameSoFar) {
        let mut book = self.lock();
        if let Some(last) = book.calls.get_mut(call).filter(|last| last.number == number) {
            last.came_so_far = so_far;
            last.since = Instant::now();
        }
    }

    /// Appends a decision: its number, and where it lies.
    pub(crate) async fn append(
        &self,
        log: &Log,
        wanted: Wanted<'_>,
        decision: impl FnOnce(OccurredAt) -> Fact,
    ) -> Result<(u64, Place), LogError> {
        let opened = log.open().await?;
        let (handed, underway) = {
            // Held while the fact is handed over: the order of moments is the order in the log.
            let mut book = self.lock();
            let at = book.moment(&wanted);
            let handed = opened.hand_over(&decision(at))?;
            let number = book.enter(&wanted, at);
            (handed, Underway { decisions: self, call: wanted.call, number })
        };
        let place = handed.acknowledged().await?;
        Ok((underway.kept(place), place))
    }
}

impl Book {
    /// When a decision takes effect.
    fn moment(&self, wanted: &Wanted<'_>) -> OccurredAt {
        let ahead = i64::try_from(AHEAD.as_millis()).unwrap_or(i64::MAX);
        let bound = wanted.now.millis().saturating_add(ahead);
        let after = self.calls.get(wanted.call).map(|last| last.at.millis().saturating_add(1));
        let after = after.filter(|after| *after <= bound).map(OccurredAt::from_millis);
        after.map_or(wanted.earliest, |after| wanted.earliest.max(after))
    }

    fn enter(&mut self, wanted: &Wanted<'_>, at: OccurredAt) -> u64 {
        if self.calls.len() >= REMEMBERED {
            let now = wanted.now;
            self.calls.retain(|_, last| !matches!(last.came_so_far, CameSoFar::Shown) || last.at >= now);
        }
        self.number += 1;
        let last = Last {
            number: self.number,
            at,
            claims: wanted.claims,
            came_so_far: CameSoFar::OnItsWay,
            since: Instant::now(),
        };
        self.calls.insert(wanted.call.clone(), last);
        self.number
    }
}

/// A decision that was handed over. One that is dropped before it is acknowledged is perhaps written.
struct Underway<'a> {
    decisions: &'a Decisions,
    call: &'a CallId,
    number: u64,
}

impl Underway<'_> {
    fn kept(self, place: Place) -> u64 {
        self.decisions.came(self.call, self.number, CameSoFar::Kept(place));
        self.number
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        let mut book = self.decisions.lock();
        let own = book.calls.get_mut(self.call).filter(|last| last.number == self.number);
        if let Some(last) = own.filter(|last| matches!(last.came_so_far, CameSoFar::OnItsWay)) {
            last.came_so_far = CameSoFar::Lost;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> OccurredAt {
        OccurredAt::from_millis(millis)
    }

    fn wanted(call: &CallId, now: i64, earliest: i64) -> Wanted<'_> {
        Wanted { call, now: at(now), earliest: at(earliest), claims: true }
    }

    #[test]
    fn moments_rise_call_by_call_and_one_far_ahead_shifts_no_other() {
        let (one, other) = (CallId::new("one").unwrap(), CallId::new("other").unwrap());
        let mut book = Book::default();
        let mut decide = |call: &CallId, now: i64, earliest: i64| {
            let wanted = wanted(call, now, earliest);
            let moment = book.moment(&wanted);
            book.enter(&wanted, moment);
            moment.millis()
        };
        assert_eq!(decide(&one, 1000, 1000), 1000);
        assert_eq!(decide(&one, 1000, 1000), 1001, "in the same millisecond");
        assert_eq!(decide(&one, 900, 900), 1002, "the clock went back");
        assert_eq!(decide(&other, 1000, 1000), 1000, "another call");
        // A claim of an older build lies in 2099: what gives it back lies there too, and nothing else.
        let far = 4_070_908_800_000;
        assert_eq!(decide(&one, 1010, far + 1), far + 1);
        assert_eq!(decide(&one, 1020, 1020), 1020);
        assert_eq!(decide(&other, 1020, 1020), 1020);
    }

    #[test]
    fn a_decision_whose_request_goes_away_is_perhaps_written_until_a_later_one_shows() {
        let call = CallId::new("one").unwrap();
        let decisions = Decisions::default();
        let begin = || {
            let wanted = wanted(&call, 1000, 1000);
            let mut book = decisions.lock();
            let moment = book.moment(&wanted);
            let number = book.enter(&wanted, moment);
            Underway { decisions: &decisions, call: &call, number }
        };
        assert_eq!(decisions.unshown(&call), None);
        let first = begin();
        assert_eq!(decisions.unshown(&call), Some((1, Standing::OnItsWay)));
        drop(first);
        assert_eq!(decisions.unshown(&call), Some((1, Standing::Lost(Some(at(1000))))));
        let (second, third) = (begin(), begin());
        let place = Place { partition: 3, offset: 7 };
        // Told after a later one was handed over: it is the later one that must show.
        assert_eq!(second.kept(place), 2);
        assert_eq!(decisions.unshown(&call), Some((3, Standing::OnItsWay)));
        assert_eq!(third.kept(place), 3);
        decisions.shown(&call, 2);
        assert_eq!(decisions.unshown(&call), Some((3, Standing::Kept(place))));
        decisions.shown(&call, 3);
        assert_eq!(decisions.unshown(&call), None);
    }

    #[test]
    fn what_shows_and_lies_behind_is_forgotten_and_nothing_else() {
        let mut book = Book::default();
        for number in 0..REMEMBERED {
            let call = CallId::new(&format!("c{number}")).unwrap();
            book.enter(&wanted(&call, 1000, 1000), at(1000));
        }
        let (first, second) = (CallId::new("c0").unwrap(), CallId::new("c1").unwrap());
        for call in [&first, &second] {
            book.calls.get_mut(call).unwrap().came_so_far = CameSoFar::Shown;
        }
        book.calls.get_mut(&second).unwrap().at = at(3000);
        let more = CallId::new("more").unwrap();
        book.enter(&wanted(&more, 2000, 2000), at(2000));
        assert_eq!((book.calls.contains_key(&first), book.calls.contains_key(&second)), (false, true));
        assert_eq!(book.calls.len(), REMEMBERED);
    }
}
