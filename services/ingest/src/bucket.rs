//! A token bucket that lets a burst through and then a steady rate: how many events a hospital may post, and how many
//! bodies of strangers are kept. Knows no clock of its own and no HTTP.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use helix_kit::config::RateConfig;

/// Tokens, as the moment at which the bucket will be full again: one number, no refilling.
#[derive(Debug)]
pub struct Bucket {
    full_at: Mutex<Instant>,
    interval: Duration,
    capacity: Duration,
}

impl Bucket {
    /// A full bucket of `burst` tokens that gains `per_second`.
    #[must_use]
    pub fn new(rate: RateConfig) -> Self {
        let interval = Duration::from_secs(1) / rate.per_second.max(1);
        Self { full_at: Mutex::new(Instant::now()), interval, capacity: interval * rate.burst.max(1) }
    }

    /// How long until there is a token again; `None` where there is one.
    #[must_use]
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        let full_at = *self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = full_at.saturating_duration_since(now) + self.interval;
        missing.checked_sub(self.capacity).filter(|wait| !wait.is_zero())
    }

    /// Takes tokens, more than there are if need be: what is taken at once is paid back by waiting.
    pub fn take(&self, count: u32, now: Instant) {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        *full_at = (*full_at).max(now) + self.interval * count;
    }

    /// Takes one token at `now`, if there is one.
    pub fn take_one(&self, now: Instant) -> bool {
        let free = self.wait(now).is_none();
        if free {
            self.take(1, now);
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_a_steady_rate() {
        let bucket = Bucket::new(RateConfig { per_second: 10, burst: 3 });
        let begun = Instant::now();
        let at = |millis| begun + Duration::from_millis(millis);
        let taken = |millis| bucket.take_one(at(millis));
        assert_eq!([taken(0), taken(0), taken(0), taken(0)], [true, true, true, false]);
        assert_eq!([taken(99), taken(100), taken(100)], [false, true, false]);
        assert_eq!([taken(10_000), taken(10_000), taken(10_000), taken(10_000)], [true, true, true, false]);
    }

    #[test]
    fn a_batch_larger_than_the_burst_passes_once_and_is_paid_back() {
        let bucket = Bucket::new(RateConfig { per_second: 10, burst: 3 });
        let begun = Instant::now();
        assert_eq!(bucket.wait(begun), None);
        bucket.take(13, begun);
        // Ten more than the bucket held: eleven intervals until there is one again.
        assert_eq!(bucket.wait(begun), Some(Duration::from_millis(1_100)));
        assert_eq!(bucket.wait(begun + Duration::from_millis(1_099)), Some(Duration::from_millis(1)));
        assert_eq!(bucket.wait(begun + Duration::from_millis(1_100)), None);
    }
}
