//! A token bucket: how many refused bodies are kept, so that a stranger cannot fill the log.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Whole tokens, refilled one at a time.
#[derive(Debug)]
pub struct Bucket {
    state: Mutex<State>,
    burst: u32,
    interval: Duration,
}

#[derive(Debug)]
struct State {
    tokens: u32,
    refilled: Instant,
}

impl Bucket {
    /// A full bucket of `burst` tokens that gains `per_second`.
    #[must_use]
    pub fn new(per_second: u32, burst: u32) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self { state: Mutex::new(State { tokens: burst, refilled: Instant::now() }), burst, interval }
    }

    /// Takes one token at `now`, if there is one.
    pub fn take(&self, now: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(state.refilled);
        let gained = u32::try_from(passed.as_nanos() / self.interval.as_nanos().max(1)).unwrap_or(u32::MAX);
        if gained > 0 {
            state.tokens = state.tokens.saturating_add(gained).min(self.burst);
            state.refilled = if state.tokens == self.burst { now } else { state.refilled + self.interval * gained };
        }
        match state.tokens.checked_sub(1) {
            Some(left) => {
                state.tokens = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_taken_and_then_the_rate() {
        let bucket = Bucket::new(20, 3);
        let begin = Instant::now();
        let taken = |millis: u64| bucket.take(begin + Duration::from_millis(millis));
        assert_eq!([taken(0), taken(0), taken(0), taken(0)], [true, true, true, false]);
        assert_eq!([taken(40), taken(60), taken(60), taken(110)], [false, true, false, true]);
        assert_eq!([taken(90_000), taken(90_000), taken(90_000), taken(90_000)], [true, true, true, false]);
    }
}
