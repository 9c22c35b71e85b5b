//! Where a running engine stands, for health, metrics and the stores that show their own freshness.
//!
//! What is not known is said not to be: a partition whose end the broker has not told lately has no lag, and neither has an
//! instance that holds one, or none at all. What is wrong is worked out when it is asked for, so that a watchdog that died is noticed as well.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    config::Watch,
    held::Moved,
    store::{Lag, NextOffset, Position},
};

/// A lag that rests on an older measurement than this is none.
const FRESH: Duration = Duration::from_secs(5);

/// Where one partition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionStatus {
    /// Applied up to here.
    pub next_offset: NextOffset,
    /// The log's end, as last told by the broker; `None` before it said so.
    pub high_water: Option<i64>,
    /// When the broker last answered the question for the log's end, or when the partition was acquired.
    pub measured_at: Instant,
    /// When progress last moved, or began to have something to do.
    pub moved_at: Instant,
    /// The last moment of which it is known that nothing waited; `None` where something did ever since the partition was acquired.
    pub level_at: Option<Instant>,
    /// When the last applied record was appended, Unix milliseconds.
    pub applied_timestamp: Option<i64>,
    /// Keys of which a fact is parked.
    pub parked_keys: usize,
}

impl PartitionStatus {
    /// Facts not yet applied; `None` where the log's end is not known.
    #[must_use]
    pub fn behind(&self) -> Option<i64> {
        self.high_water.map(|end| (end - self.next_offset.0).max(0))
    }

    /// For how many milliseconds, at most, the first fact has been waiting, where any waits; else 0. It was appended after the
    /// last one that was applied, and after the last moment at which none waited: a fact that comes after a quiet hour has
    /// not waited for an hour. Where this instance knows neither yet: since it could have applied it. `now` in Unix
    /// milliseconds.
    #[must_use]
    pub fn behind_millis(&self, now: i64) -> Option<i64> {
        if self.behind()? == 0 {
            return Some(0);
        }
        let since = |at: Instant| i64::try_from(at.elapsed().as_millis()).unwrap_or(i64::MAX);
        let after_applied = self.applied_timestamp.map(|at| (now - at).max(0));
        let after_level = self.level_at.map(since);
        Some(after_applied.into_iter().chain(after_level).min().unwrap_or_else(|| since(self.moved_at)))
    }
}

/// What is wrong with a projector that still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The loop has not turned for this long: a store or the client holds it.
    Loop(Duration),
    /// The broker has not told the log's end for this long.
    Meter(Duration),
    /// Facts wait and progress has not moved for this long.
    Stalled(Duration),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loop(since) => write!(f, "the projector's loop has not turned for {} s", since.as_secs()),
            Self::Meter(since) => write!(f, "the broker has not told the log's end for {} s", since.as_secs()),
            Self::Stalled(since) => write!(f, "facts wait and progress has not moved for {} s", since.as_secs()),
        }
    }
}

struct Inner {
    partitions: RwLock<BTreeMap<i32, PartitionStatus>>,
    watch: Watch,
    begun: Instant,
    /// Milliseconds from `begun` to the loop's last turn.
    turned: AtomicU64,
    held: AtomicUsize,
    paused: AtomicBool,
    first_share: OnceLock<usize>,
}

/// Where every partition of this instance stands. Cheap to clone, shared.
#[derive(Clone)]
pub struct Status(Arc<Inner>);

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Status").field("partitions", &self.partitions()).finish_non_exhaustive()
    }
}

impl Status {
    pub(crate) fn new(watch: Watch) -> Self {
        Self(Arc::new(Inner {
            partitions: RwLock::default(),
            watch,
            begun: Instant::now(),
            turned: AtomicU64::new(0),
            held: AtomicUsize::new(0),
            paused: AtomicBool::new(false),
            first_share: OnceLock::new(),
        }))
    }

    /// A copy of all partitions.
    #[must_use]
    pub fn partitions(&self) -> BTreeMap<i32, PartitionStatus> {
        self.0.partitions.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The lag over all partitions, `now` in Unix milliseconds; `None` while the end of one of them is not known, or was
    /// measured too long ago, or none is held.
    #[must_use]
    pub fn lag(&self, now: i64) -> Option<Lag> {
        let partitions = self.partitions();
        if partitions.is_empty() || partitions.values().any(|at| at.measured_at.elapsed() > FRESH) {
            return None;
        }
        let mut lag = Lag::default();
        for partition in partitions.values() {
            lag.facts += partition.behind()?;
            lag.millis = lag.millis.max(partition.behind_millis(now)?);
            lag.age = lag.age.max(partition.measured_at.elapsed());
        }
        Some(lag)
    }

    /// Keys that are parked on this instance.
    #[must_use]
    pub fn parked_keys(&self) -> usize {
        self.partitions().values().map(|at| at.parked_keys).sum()
    }

    /// Records that were polled and are not applied yet.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.held.load(Ordering::Relaxed)
    }

    /// Whether an operator paused the projection.
    #[must_use]
    pub fn paused(&self) -> bool {
        self.0.paused.load(Ordering::Relaxed)
    }

    /// How old the oldest measurement of a log's end is; zero while no partition is held.
    #[must_use]
    pub fn meter_age(&self) -> Duration {
        self.partitions().values().map(|at| at.measured_at.elapsed()).max().unwrap_or_default()
    }

    /// How long ago the loop turned.
    #[must_use]
    pub fn loop_age(&self) -> Duration {
        let turned = Duration::from_millis(self.0.turned.load(Ordering::Relaxed));
        self.0.begun.elapsed().saturating_sub(turned)
    }

    /// For how long facts of some partition have waited without any progress there; zero where none wait, or where the
    /// projection is paused.
    fn stalled(&self) -> Duration {
        if self.paused() {
            return Duration::ZERO;
        }
        let partitions = self.partitions();
        let waiting = partitions.values().filter(|at| at.behind().is_some_and(|behind| behind > 0));
        waiting.map(|at| at.moved_at.elapsed()).max().unwrap_or_default()
    }

    /// What is wrong at the moment, for readiness; `None` where all is well.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        let Watch { late, stalled, .. } = self.0.watch;
        let (loop_age, meter_age, stalled_for) = (self.loop_age(), self.meter_age(), self.stalled());
        if loop_age > late {
            Some(Trouble::Loop(loop_age))
        } else if meter_age > late {
            Some(Trouble::Meter(meter_age))
        } else if stalled_for > stalled {
            Some(Trouble::Stalled(stalled_for))
        } else {
            None
        }
    }

    fn change(&self, partition: i32, change: impl FnOnce(&mut PartitionStatus)) {
        if let Some(at) = self.0.partitions.write().unwrap_or_else(PoisonError::into_inner).get_mut(&partition) {
            change(at);
        }
    }

    pub(crate) fn turned(&self) {
        let since = u64::try_from(self.0.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.turned.store(since, Ordering::Relaxed);
    }

    pub(crate) fn holds(&self, records: usize) {
        self.0.held.store(records, Ordering::Relaxed);
    }

    pub(crate) fn set_paused(&self, paused: bool) {
        if self.0.paused.swap(paused, Ordering::Relaxed) && !paused {
            let now = Instant::now();
            let mut partitions = self.0.partitions.write().unwrap_or_else(PoisonError::into_inner);
            partitions.values_mut().for_each(|at| at.moved_at = now);
        }
    }

    /// The group handed this instance so many partitions; only the first time counts.
    pub(crate) fn shared_out(&self, partitions: usize) {
        // A later one is no news.
        let _later = self.0.first_share.set(partitions);
    }

    /// Whether the group had partitions for this instance at once, as it has for a member that returns under its name.
    pub(crate) fn returned(&self) -> bool {
        self.0.first_share.get().is_some_and(|partitions| *partitions > 0)
    }

    pub(crate) fn acquired(&self, at: &Position) {
        let now = Instant::now();
        let fresh = PartitionStatus {
            next_offset: at.next_offset,
            high_water: None,
            measured_at: now,
            moved_at: now,
            level_at: None,
            applied_timestamp: None,
            parked_keys: at.parked.len(),
        };
        self.0.partitions.write().unwrap_or_else(PoisonError::into_inner).insert(at.partition, fresh);
    }

    pub(crate) fn released(&self, partition: i32) {
        self.0.partitions.write().unwrap_or_else(PoisonError::into_inner).remove(&partition);
    }

    pub(crate) fn applied(&self, moved: &Moved) {
        self.change(moved.partition, |at| {
            at.next_offset = moved.next_offset;
            at.applied_timestamp = moved.appended_at.or(at.applied_timestamp);
            if at.high_water.is_some_and(|end| end <= moved.next_offset.0) {
                // Nothing waits of what was there when that end was told; what came since may.
                at.level_at = at.level_at.max(Some(at.measured_at));
            }
            at.high_water = at.high_water.map(|end| end.max(moved.next_offset.0));
            at.moved_at = Instant::now();
            at.parked_keys = moved.parked_keys;
        });
    }

    /// The broker told the log's end.
    pub(crate) fn measured(&self, partition: i32, end: i64) {
        let now = Instant::now();
        self.change(partition, |at| {
            if at.behind().unwrap_or_default() == 0 && end > at.next_offset.0 {
                at.moved_at = now;
            }
            if end <= at.next_offset.0 {
                at.level_at = Some(now);
            }
            at.high_water = Some(end.max(at.next_offset.0));
            at.measured_at = now;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Epoch;

    fn status(partitions: &[i32]) -> Status {
        let status = Status::new(Watch::default());
        for partition in partitions {
            let (next_offset, parked) = (NextOffset(0), BTreeMap::new());
            status.acquired(&Position { partition: *partition, next_offset, epoch: Epoch(1), parked });
        }
        status
    }

    fn moved(status: &Status, partition: i32, ago: Duration) {
        status.change(partition, |at| at.moved_at = Instant::now() - ago);
    }

    #[test]
    fn facts_that_wait_lag_also_where_none_was_applied_yet() {
        let status = status(&[0]);
        status.measured(0, 10);
        moved(&status, 0, Duration::from_secs(90));
        let lag = status.lag(0).expect("measured just now");
        assert_eq!(lag.facts, 10);
        assert!((90_000..100_000).contains(&lag.millis), "{lag:?}");
        status.measured(0, 0);
        applied(&status, 10, None);
        let lag = status.lag(0).expect("measured just now");
        assert_eq!((lag.facts, lag.millis), (0, 0), "nothing waits");
    }

    fn applied(status: &Status, next_offset: i64, appended_at: Option<i64>) {
        let next_offset = NextOffset(next_offset);
        status.applied(&Moved { partition: 0, next_offset, appended_at, parked_keys: 0 });
    }

    /// An hour after the epoch, Unix milliseconds.
    const AN_HOUR_ON: i64 = 3_600_000;

    #[test]
    fn a_fact_that_comes_after_a_quiet_hour_has_not_waited_for_an_hour() {
        let status = status(&[0]);
        status.measured(0, 5);
        applied(&status, 5, Some(0));
        status.measured(0, 5);
        status.change(0, |at| at.level_at = at.level_at.map(|level| level - Duration::from_secs(2)));
        status.measured(0, 6);
        let lag = status.lag(AN_HOUR_ON).expect("measured just now");
        assert_eq!(lag.facts, 1);
        assert!((2_000..10_000).contains(&lag.millis), "since nothing waited: {lag:?}");
        let just_now = AN_HOUR_ON - 500;
        applied(&status, 6, Some(just_now));
        status.measured(0, 7);
        let lag = status.lag(AN_HOUR_ON).expect("measured just now");
        assert!(lag.millis <= 500, "it came after what was applied: {lag:?}");
    }

    #[test]
    fn a_backlog_that_moves_lags_by_all_that_it_waited() {
        let status = status(&[0]);
        status.measured(0, 100);
        applied(&status, 50, Some(0));
        status.measured(0, 200);
        let lag = status.lag(AN_HOUR_ON).expect("measured just now");
        assert_eq!((lag.facts, lag.millis), (150, AN_HOUR_ON), "progress moved, and the next fact is an hour old");
        // All that was there at the last measurement is applied: what comes now waits since then at most.
        applied(&status, 200, Some(0));
        status.measured(0, 201);
        let lag = status.lag(AN_HOUR_ON).expect("measured just now");
        assert!(lag.millis < 10_000, "{lag:?}");
    }

    #[test]
    fn a_lag_is_as_old_as_the_oldest_of_its_measurements() {
        let status = status(&[0, 1]);
        status.measured(0, 0);
        status.measured(1, 0);
        status.change(1, |at| at.measured_at = Instant::now() - Duration::from_secs(2));
        let lag = status.lag(0).expect("measured lately");
        assert!(lag.age >= Duration::from_secs(2) && lag.age < FRESH, "{lag:?}");
    }

    #[test]
    fn one_partition_that_stands_still_is_noticed_whatever_the_others_do() {
        let status = status(&[0, 1, 2]);
        status.measured(0, 10);
        status.measured(1, 10);
        status.measured(2, 0);
        moved(&status, 0, Duration::from_secs(61));
        moved(&status, 2, Duration::from_secs(1000));
        assert!(matches!(status.trouble(), Some(Trouble::Stalled(since)) if since.as_secs() == 61), "{status:?}");
        moved(&status, 0, Duration::ZERO);
        assert_eq!(status.trouble(), None, "where nothing waits nothing stands still");
    }

    #[test]
    fn a_lag_of_nothing_or_of_long_ago_is_none() {
        assert_eq!(status(&[]).lag(0), None);
        let status = status(&[0, 1]);
        status.measured(0, 10);
        assert_eq!(status.lag(0), None, "the end of one is not known");
        status.measured(1, 10);
        assert!(status.lag(0).is_some());
        status.change(1, |at| at.measured_at = Instant::now() - FRESH - Duration::from_millis(1));
        assert_eq!(status.lag(0), None);
    }

    #[test]
    fn only_the_first_share_tells_whether_an_instance_returned() {
        for (shares, returned) in [(vec![], false), (vec![0, 6], false), (vec![4, 0], true)] {
            let status = status(&[]);
            shares.iter().for_each(|partitions| status.shared_out(*partitions));
            assert_eq!(status.returned(), returned, "{shares:?}");
        }
    }
}
