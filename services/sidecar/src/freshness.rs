//! What "stale" means, and who finds out.
//!
//! A board is stale when a link between the provider and the screen is known to be broken, whether calls are up or not:
//!
//! | reason | when |
//! |---|---|
//! | `redis` | the workspace's Redis has not answered for [`PATIENCE`] |
//! | `projector` | the live projector's pulse, written about once a second, is older than [`PATIENCE`] |
//! | `lag` | facts have been waiting in the log for more than [`PATIENCE`], without a moment of none waiting |
//! | `ingest` | the ingest has not said it is ready for [`PATIENCE`]: nothing new can arrive |
//!
//! Everything is looked at once a second, so a break is told within 5 s. Silence alone is not stale: a hospital with one
//! long call sends nothing for minutes, and a board that cried wolf then would not be believed when it matters.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use helix_live::Pulse;

/// How long a link may be silent before it counts as broken. With one look a second: told within 5 s.
pub(crate) const PATIENCE: Duration = Duration::from_millis(3500);
/// How often each link is looked at.
pub(crate) const LOOK: Duration = Duration::from_secs(1);

/// Which link is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StaleReason {
    /// The workspace's Redis does not answer.
    Redis,
    /// The live projector is silent.
    Projector,
    /// Facts wait in the log.
    Lag,
    /// The ingest is not ready.
    Ingest,
}

impl StaleReason {
    /// The word in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Projector => "projector",
            Self::Lag => "lag",
            Self::Ingest => "ingest",
        }
    }
}

/// What is said of the board's freshness.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fresh {
    pub(crate) reasons: Vec<StaleReason>,
    pub(crate) since: Option<DateTime<Utc>>,
    pub(crate) lag_facts: i64,
    pub(crate) lag_seconds: i64,
}

/// Keeps book of what was last heard of each link. Time is given, so that tests need not wait.
#[derive(Debug)]
pub(crate) struct Freshness {
    redis_at: Instant,
    ingest_at: Instant,
    pulse: Pulse,
    pulse_read_at: Instant,
    waiting_since: Option<Instant>,
    since: BTreeMap<StaleReason, DateTime<Utc>>,
}

impl Freshness {
    /// At the start everything gets its patience.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            redis_at: now,
            ingest_at: now,
            pulse: Pulse { age: Some(Duration::ZERO), ..Pulse::default() },
            pulse_read_at: now,
            waiting_since: None,
            since: BTreeMap::new(),
        }
    }

    pub(crate) fn redis_answered(&mut self, now: Instant) {
        self.redis_at = now;
    }

    pub(crate) fn ingest_answered(&mut self, now: Instant) {
        self.ingest_at = now;
    }

    /// The pulse was read. A projector that has never had a pulse keeps the age since we started to look.
    pub(crate) fn pulse_read(&mut self, pulse: Pulse, now: Instant) {
        if pulse.age.is_some() {
            self.pulse_read_at = now;
            self.pulse = pulse;
        }
        if pulse.lag_facts == 0 {
            self.waiting_since = None;
        } else if self.waiting_since.is_none() {
            self.waiting_since = Some(now);
        }
    }

    /// What is to be said now.
    pub(crate) fn look(&mut self, now: Instant, clock: DateTime<Utc>) -> Fresh {
        let waited = self.waiting_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        // The pulse's lag runs from the last applied fact. After a quiet hour that is an hour for the one moment in which
        // the next fact is on its way; we have seen facts waiting only for so long.
        let lag = if waited >= PATIENCE { self.pulse.lag } else { self.pulse.lag.min(waited) };
        let pulse_age = self.pulse.age.unwrap_or_default() + now.saturating_duration_since(self.pulse_read_at);
        let broken = [
            (StaleReason::Redis, now.saturating_duration_since(self.redis_at) > PATIENCE),
            (StaleReason::Projector, pulse_age > PATIENCE),
            (StaleReason::Lag, waited > PATIENCE && lag > PATIENCE),
            (StaleReason::Ingest, now.saturating_duration_since(self.ingest_at) > PATIENCE),
        ];
        for (reason, is_broken) in broken {
            if is_broken {
                self.since.entry(reason).or_insert(clock);
            } else {
                self.since.remove(&reason);
            }
        }
        Fresh {
            reasons: self.since.keys().copied().collect(),
            since: self.since.values().min().copied(),
            lag_facts: self.pulse.lag_facts,
            lag_seconds: i64::try_from(lag.as_secs()).unwrap_or(i64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(lag_facts: i64, lag: u64) -> Pulse {
        Pulse { age: Some(Duration::from_millis(300)), lag_facts, lag: Duration::from_secs(lag) }
    }

    fn after(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    fn listen(fresh: &mut Freshness, pulse: Pulse, now: Instant) {
        fresh.redis_answered(now);
        fresh.ingest_answered(now);
        fresh.pulse_read(pulse, now);
    }

    #[test]
    fn each_silent_link_is_told_within_five_seconds_and_forgotten_when_it_speaks() {
        let start = Instant::now();
        let mut fresh = Freshness::new(start);
        listen(&mut fresh, beat(0, 0), start);
        assert!(fresh.look(after(start, 1000), Utc::now()).reasons.is_empty());
        let all = fresh.look(after(start, 4900), Utc::now()).reasons;
        assert_eq!(all, [StaleReason::Redis, StaleReason::Projector, StaleReason::Ingest]);
        listen(&mut fresh, beat(0, 0), after(start, 5000));
        let told = fresh.look(after(start, 5000), Utc::now());
        assert!(told.reasons.is_empty() && told.since.is_none());
    }

    #[test]
    fn the_first_fact_after_a_quiet_hour_does_not_make_the_board_stale() {
        let start = Instant::now();
        let mut fresh = Freshness::new(start);
        listen(&mut fresh, beat(1, 3600), start);
        let told = fresh.look(start, Utc::now());
        assert!(told.reasons.is_empty());
        assert_eq!(told.lag_seconds, 0);
        listen(&mut fresh, beat(0, 0), after(start, 1000));
        assert!(fresh.look(after(start, 1000), Utc::now()).reasons.is_empty());
    }

    #[test]
    fn facts_that_keep_waiting_make_it_stale_but_a_busy_log_does_not() {
        let start = Instant::now();
        let mut fresh = Freshness::new(start);
        for second in 0..5 {
            listen(&mut fresh, beat(40, 0), after(start, second * 1000));
        }
        assert!(fresh.look(after(start, 4000), Utc::now()).reasons.is_empty());
        listen(&mut fresh, beat(900, 9), after(start, 5000));
        assert_eq!(fresh.look(after(start, 5000), Utc::now()).reasons, [StaleReason::Lag]);
    }
}
