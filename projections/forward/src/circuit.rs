//! The circuit breaker of one receiver. Pure: it is told what happened and when, and says how many may be sent.
//!
//! Closed, everything flows. After [`OPENS_AFTER`] failures without an answer between them, or one that asks for quiet
//! (`Retry-After`), it is open: one probe at a time, further and further apart, until one is answered.

use std::{
    fmt,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::receiver::{Cause, Failure};

/// Failures in a row that open it.
pub(crate) const OPENS_AFTER: u32 = 5;
/// From opening to the first probe; doubles with each that fails,
const FIRST_PROBE: Duration = Duration::from_secs(1);
/// up to this.
const LAST_PROBE: Duration = Duration::from_secs(30);
/// A receiver that asks for more quiet than this is asked again all the same.
const LONGEST_QUIET: Duration = Duration::from_secs(300);

enum State {
    Closed { failures: u32 },
    Open { next_wait: Duration, probe_at: Instant },
}

/// The circuit of one receiver.
pub(crate) struct Circuit {
    state: State,
    told: watch::Sender<Option<Cause>>,
}

/// Whether a request was sent to see if the receiver answers again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Delivery,
    Probe,
}

impl fmt::Debug for Circuit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Circuit").field("open", &self.is_open()).finish()
    }
}

impl Circuit {
    /// A closed one.
    pub(crate) fn new() -> Self {
        Self { state: State::Closed { failures: 0 }, told: watch::Sender::new(None) }
    }

    /// Why it is open, for as long as it is.
    pub(crate) fn told(&self) -> watch::Receiver<Option<Cause>> {
        self.told.subscribe()
    }

    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    pub(crate) const fn purpose(&self) -> Purpose {
        if self.is_open() { Purpose::Probe } else { Purpose::Delivery }
    }

    /// How many requests may be in flight.
    pub(crate) fn allowed(&self, now: Instant, concurrency: usize) -> usize {
        match self.state {
            State::Closed { .. } => concurrency,
            State::Open { probe_at, .. } => usize::from(now >= probe_at),
        }
    }

    /// When the next probe may be sent; `None` while it is closed.
    pub(crate) const fn probe_at(&self) -> Option<Instant> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { probe_at, .. } => Some(probe_at),
        }
    }

    /// The receiver answered. True where that closed it: an answer to what was under way when it opened does not, or
    /// the quiet that was asked for would be none.
    pub(crate) fn answered(&mut self, purpose: Purpose) -> bool {
        let was_open = self.is_open();
        if was_open && purpose == Purpose::Delivery {
            return false;
        }
        self.state = State::Closed { failures: 0 };
        if was_open {
            self.told.send_replace(None);
        }
        was_open
    }

    /// The receiver did not answer, or could not take it. True where that opened it.
    pub(crate) fn failed(&mut self, failure: &Failure, purpose: Purpose, now: Instant) -> bool {
        let quiet = failure.retry_after.map(|asked| asked.min(LONGEST_QUIET));
        match &mut self.state {
            State::Closed { failures } => {
                *failures += 1;
                if *failures < OPENS_AFTER && quiet.is_none() {
                    return false;
                }
                let wait = FIRST_PROBE.max(quiet.unwrap_or_default());
                self.state = State::Open { next_wait: FIRST_PROBE * 2, probe_at: now + wait };
                self.told.send_replace(Some(failure.cause));
                true
            }
            State::Open { next_wait, probe_at } => {
                if purpose == Purpose::Probe {
                    *probe_at = now + (*next_wait).max(quiet.unwrap_or_default());
                    *next_wait = (*next_wait * 2).min(LAST_PROBE);
                    self.told.send_replace(Some(failure.cause));
                } else if let Some(quiet) = quiet {
                    // One that was under way when it opened says nothing new, unless it asks for quiet.
                    *probe_at = (*probe_at).max(now + quiet);
                }
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BROKEN: Failure = Failure { cause: Cause::Status(500), retry_after: None };

    fn quiet(seconds: u64) -> Failure {
        Failure { cause: Cause::Status(429), retry_after: Some(Duration::from_secs(seconds)) }
    }

    fn after(begun: Instant, seconds: u64) -> Instant {
        begun + Duration::from_secs(seconds)
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_an_answer_between_them_counts_anew() {
        let (mut circuit, now) = (Circuit::new(), Instant::now());
        for _ in 1..OPENS_AFTER {
            assert!(!circuit.failed(&BROKEN, Purpose::Delivery, now));
        }
        assert!(!circuit.answered(Purpose::Delivery), "it was not open");
        for _ in 1..OPENS_AFTER {
            assert!(!circuit.failed(&BROKEN, Purpose::Delivery, now));
        }
        assert_eq!(circuit.allowed(now, 8), 8);
        assert!(circuit.failed(&BROKEN, Purpose::Delivery, now));
        assert_eq!(circuit.allowed(now, 8), 0);
        assert_eq!(*circuit.told().borrow(), Some(Cause::Status(500)));
    }

    #[test]
    fn probes_go_out_one_at_a_time_and_further_and_further_apart() {
        let (mut circuit, begun) = (Circuit::new(), Instant::now());
        for _ in 0..OPENS_AFTER {
            circuit.failed(&BROKEN, Purpose::Delivery, begun);
        }
        let mut now = begun;
        let mut waits = Vec::new();
        for _ in 0..8 {
            let at = circuit.probe_at().unwrap_or(now);
            waits.push(at.duration_since(now).as_secs());
            assert_eq!(circuit.allowed(at, 8), 1);
            now = at;
            circuit.failed(&BROKEN, Purpose::Probe, now);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert!(circuit.answered(Purpose::Probe));
        assert_eq!((circuit.allowed(now, 8), circuit.probe_at()), (8, None));
        assert_eq!(*circuit.told().borrow(), None);
    }

    #[test]
    fn stragglers_do_not_put_the_first_probe_off() {
        let (mut circuit, now) = (Circuit::new(), Instant::now());
        for _ in 0..OPENS_AFTER + 7 {
            circuit.failed(&BROKEN, Purpose::Delivery, now);
        }
        assert_eq!(circuit.probe_at(), Some(after(now, 1)));
    }

    #[test]
    fn a_receiver_that_asks_for_quiet_has_it_at_once_and_within_bounds() {
        let (mut circuit, now) = (Circuit::new(), Instant::now());
        assert!(circuit.failed(&quiet(7), Purpose::Delivery, now));
        assert_eq!(circuit.probe_at(), Some(after(now, 7)));
        assert!(!circuit.answered(Purpose::Delivery), "one that was under way does not end it");
        circuit.failed(&quiet(9), Purpose::Delivery, now);
        assert_eq!(circuit.probe_at(), Some(after(now, 9)), "also from one that was under way");
        circuit.failed(&quiet(86_400), Purpose::Probe, now);
        assert_eq!(circuit.probe_at(), Some(now + LONGEST_QUIET));
    }
}
