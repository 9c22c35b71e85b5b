//! When each request is due. Open loop: due times are fixed before anything is sent and never wait for an answer, so a
//! stall is charged to every request that was due in it (no coordinated omission).

use std::{
    thread,
    time::{Duration, Instant},
};

use clap::Args;

/// A rate and how long it is held.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Pace {
    /// Requests a second.
    #[arg(long)]
    pub(crate) rate: u64,
    /// Seconds before the measured ones.
    #[arg(long)]
    pub(crate) warm_up: u64,
    /// Measured seconds.
    #[arg(long)]
    pub(crate) seconds: u64,
}

impl Pace {
    /// Requests of the whole run.
    pub(crate) const fn count(self) -> u64 {
        self.rate * (self.warm_up + self.seconds)
    }

    /// Requests before the measured ones.
    pub(crate) const fn unmeasured(self) -> u64 {
        self.rate * self.warm_up
    }

    /// Begins now.
    pub(crate) fn begin(self) -> Schedule {
        Schedule { pace: self, begun: Instant::now() }
    }
}

/// A pace that has begun.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    pace: Pace,
    begun: Instant,
}

impl Schedule {
    /// When a request is due.
    pub(crate) fn due(&self, index: u64) -> Instant {
        self.begun + Duration::from_nanos(index * 1_000_000_000 / self.pace.rate)
    }

    /// When the measured seconds begin and end.
    pub(crate) fn window(&self) -> (Instant, Instant) {
        (self.due(self.pace.unmeasured()), self.due(self.pace.count()))
    }
}

/// Sleeps until then, to some 50 microseconds; a runtime's timer would round to a millisecond.
pub(crate) fn sleep_until(then: Instant) {
    let left = then.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        thread::sleep(left);
    }
}
