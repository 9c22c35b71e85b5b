//! What "stale" means, and who finds out.
//!
//! A board is stale when a link between the provider and the screen is known to be broken, whether calls are up or not:
//!
//! | reason | when |
//! |---|---|
//! | `redis` | the workspace's Redis has not answered for [`PATIENCE`], or the board there cannot be followed |
//! | `projector` | the live projector's pulse, written about once a second, is older than [`PATIENCE`] |
//! | `lag` | facts have been waiting in the log for more than [`PATIENCE`], without a moment of none waiting; or the board is made anew and has not been at the log's end yet |
//! | `ingest` | the ingest has not said for [`PATIENCE`] that it is ready and writes to the log: nothing new can arrive |
//! | `quiet` | calls are up, every other link is whole, and the provider has sent nothing for longer than it ever did lately |
//!
//! Everything is looked at once a second, so a break is told within 5 s. What is too quiet is learned: a hospital with one
//! long call sends nothing for minutes, a busy one never for three seconds, and a board that cried wolf would not be
//! believed when it matters (docs/decisions/0018). What an earlier process learned is handed over (`silences`).
//!
//! "Since" is until when the link was known to be whole, not when somebody noticed.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use helix_live::Pulse;

/// How long a link may be silent before it counts as broken. With one look a second: told within 5 s.
pub(crate) const PATIENCE: Duration = Duration::from_millis(3500);
/// How often each link is looked at.
pub(crate) const LOOK: Duration = Duration::from_secs(1);
/// The read models may be so long behind the board before it is told.
const RECORDS_PATIENCE: Duration = Duration::from_secs(5);
/// The provider's silences that are remembered.
const SILENCES: usize = 64;
/// The provider is quiet after so many times the longest of them.
const LONGER: u32 = 3;
/// Nobody's silence while calls are up is usual beyond this.
const MOST: Duration = Duration::from_secs(600);

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
    /// The provider sends nothing although calls are up.
    Quiet,
}

impl StaleReason {
    /// Every reason.
    pub(crate) const ALL: [Self; 5] = [Self::Redis, Self::Projector, Self::Lag, Self::Ingest, Self::Quiet];

    /// The word in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Projector => "projector",
            Self::Lag => "lag",
            Self::Ingest => "ingest",
            Self::Quiet => "quiet",
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
    /// Until when the read models were even with the board, where that is long ago. The board itself is not stale by it.
    pub(crate) records_since: Option<DateTime<Utc>>,
}

/// What the board shows of the provider's activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Traffic {
    /// When its last event reached us.
    pub(crate) heard_at: Instant,
    /// Calls in progress.
    pub(crate) calls: usize,
}

/// Keeps book of what was last heard of each link. Time is given, so that tests need not wait.
#[derive(Debug)]
pub(crate) struct Freshness {
    redis_at: Instant,
    followed_at: Instant,
    records_at: Instant,
    /// The life of the board, and since when it has been ours without having been at the log's end.
    life: Option<String>,
    anew_since: Option<Instant>,
    ingest_at: Instant,
    pulse: Pulse,
    pulse_read_at: Instant,
    waiting_since: Option<Instant>,
    /// When every link was whole for the first time, with a board to look at.
    watching_since: Option<Instant>,
    /// When one was last seen broken after that.
    broken_at: Option<Instant>,
    traffic: Option<Traffic>,
    /// Since when there is any.
    traffic_since: Option<Instant>,
    silences: VecDeque<Duration>,
    /// Whether what an earlier process learned is among them, or nothing of it is known any more.
    recalled: bool,
    since: BTreeMap<StaleReason, DateTime<Utc>>,
}

impl Freshness {
    /// At the start everything gets its patience.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            redis_at: now,
            followed_at: now,
            records_at: now,
            life: None,
            anew_since: None,
            ingest_at: now,
            pulse: Pulse { age: Some(Duration::ZERO), ..Pulse::default() },
            pulse_read_at: now,
            waiting_since: None,
            watching_since: None,
            broken_at: None,
            traffic: None,
            traffic_since: None,
            silences: VecDeque::new(),
            recalled: false,
            since: BTreeMap::new(),
        }
    }

    pub(crate) fn redis_answered(&mut self, now: Instant) {
        self.redis_at = now;
    }

    /// The board was read, or nothing new was there to be read.
    pub(crate) fn followed(&mut self, now: Instant) {
        self.followed_at = now;
    }

    /// The read models were even with the board then.
    pub(crate) fn records_even(&mut self, at: Instant) {
        self.records_at = self.records_at.max(at);
    }

    /// A whole board of this life was read. Tells whether it has been at the log's end: one that has not yet is shown
    /// only where there is no other.
    pub(crate) fn life_read(&mut self, life: &str, pulse: Pulse, now: Instant) -> bool {
        if self.life.as_deref() != Some(life) {
            self.life = Some(life.to_owned());
            self.anew_since = Some(now);
        }
        self.pulse_read(pulse, now);
        self.anew_since.is_none()
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
        // A pulse that is older than the life says nothing of it.
        let is_of_life = self.anew_since.is_some_and(|since| {
            pulse.age.is_some_and(|age| now.checked_sub(age).is_some_and(|told_at| told_at >= since))
        });
        if is_of_life && pulse.lag < PATIENCE {
            self.anew_since = None;
        }
        if pulse.lag_facts == 0 {
            self.waiting_since = None;
        } else if self.waiting_since.is_none() {
            self.waiting_since = Some(now);
        }
    }

    /// The board was looked at; `None` while nothing of the provider was ever heard. A silence that ends is remembered, if calls
    /// were up and nothing else was broken in it: then it was the provider's own. Of one that began before this process only
    /// what it has watched counts.
    pub(crate) fn traffic_seen(&mut self, traffic: Option<Traffic>, now: Instant) {
        if let (Some(before), Some(after), Some(watching_since)) = (self.traffic, traffic, self.watching_since) {
            let began = before.heard_at.max(watching_since);
            let was_whole = self.broken_at.is_none_or(|broken_at| broken_at < began);
            if before.calls > 0 && was_whole && after.heard_at > began {
                self.silences.truncate(SILENCES - 1);
                self.silences.push_front(after.heard_at.duration_since(began));
            }
        }
        if traffic.is_some() {
            self.traffic_since.get_or_insert(now);
        }
        self.traffic = traffic;
    }

    /// Takes what an earlier process learned, newest first: it comes behind what was learned since.
    pub(crate) fn recall(&mut self, silences: impl IntoIterator<Item = Duration>) {
        self.silences.extend(silences.into_iter().map(|silence| silence.min(MOST)));
        self.silences.truncate(SILENCES);
        self.recalled = true;
    }

    /// Whether [`Self::recall`] was told.
    pub(crate) fn has_recalled(&self) -> bool {
        self.recalled
    }

    /// The provider's silences, newest first.
    pub(crate) fn learned(&self) -> Vec<Duration> {
        self.silences.iter().copied().collect()
    }

    /// How long the provider may be silent while calls are up.
    fn allowed(&self) -> Duration {
        let longest = self.silences.iter().max().copied().unwrap_or_default();
        (longest * LONGER).clamp(PATIENCE, MOST)
    }

    /// For how long the provider has been silent, where that is too long. What an earlier process learned is waited for, and
    /// no longer than for a link.
    fn quiet(&self, now: Instant) -> Option<Duration> {
        let waited = self.traffic_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        if !self.recalled && waited <= PATIENCE {
            return None;
        }
        let traffic = self.traffic.filter(|traffic| traffic.calls > 0)?;
        let silence = now.saturating_duration_since(traffic.heard_at);
        (silence > self.allowed()).then_some(silence)
    }

    /// What is to be said now.
    pub(crate) fn look(&mut self, now: Instant, clock: DateTime<Utc>) -> Fresh {
        let waited = self.waiting_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        // The pulse's lag runs from the last applied fact. After a quiet hour that is an hour for the one moment in which
        // the next fact is on its way; we have seen facts waiting only for so long.
        let lag = if waited >= PATIENCE { self.pulse.lag } else { self.pulse.lag.min(waited) };
        let pulse_age = self.pulse.age.unwrap_or_default() + now.saturating_duration_since(self.pulse_read_at);
        let since = |at: Instant| now.saturating_duration_since(at);
        let redis = since(self.redis_at.min(self.followed_at));
        let anew = self.anew_since.map(since);
        let broken = [
            (StaleReason::Redis, redis, redis > PATIENCE),
            (StaleReason::Projector, pulse_age, pulse_age > PATIENCE),
            (StaleReason::Lag, anew.unwrap_or(lag), anew.is_some() || (waited > PATIENCE && lag > PATIENCE)),
            (StaleReason::Ingest, since(self.ingest_at), since(self.ingest_at) > PATIENCE),
        ];
        let ago = |age: Duration| TimeDelta::from_std(age).map_or(clock, |age| clock - age);
        for (reason, age, is_broken) in broken {
            if is_broken {
                self.since.entry(reason).or_insert(ago(age));
            } else {
                self.since.remove(&reason);
            }
        }
        // Of a provider behind a broken link nothing is known.
        let whole = !broken.iter().any(|(_, _, is_broken)| *is_broken);
        if whole && self.traffic.is_some() {
            self.watching_since.get_or_insert(now);
        } else if !whole && self.watching_since.is_some() {
            self.broken_at = Some(now);
        }
        match self.quiet(now).filter(|_| whole) {
            Some(silence) => {
                self.since.entry(StaleReason::Quiet).or_insert(ago(silence));
            }
            None => {
                self.since.remove(&StaleReason::Quiet);
            }
        }
        Fresh {
            reasons: self.since.keys().copied().collect(),
            since: self.since.values().min().copied(),
            lag_facts: self.pulse.lag_facts,
            lag_seconds: i64::try_from(lag.as_secs()).unwrap_or(i64::MAX),
            records_since: Some(since(self.records_at)).filter(|age| *age > RECORDS_PATIENCE).map(ago),
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
        fresh.followed(now);
        fresh.records_even(now);
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

    /// Of a process before which there was none.
    fn first_of_all(start: Instant) -> Freshness {
        let mut fresh = Freshness::new(start);
        fresh.recall([]);
        fresh
    }

    /// A board with these calls, of which the provider's last event came at that moment; all else is well.
    fn seen(fresh: &mut Freshness, start: Instant, heard: u64, calls: usize, now: u64) -> Fresh {
        listen(fresh, beat(0, 0), after(start, now));
        fresh.traffic_seen(Some(Traffic { heard_at: after(start, heard), calls }), after(start, now));
        fresh.look(after(start, now), Utc::now())
    }

    #[test]
    fn silence_while_calls_are_up_is_told_within_five_seconds_and_over_with_the_next_event() {
        let start = Instant::now();
        let mut fresh = first_of_all(start);
        assert!(seen(&mut fresh, start, 0, 0, 60_000).reasons.is_empty(), "nothing is expected while no call is up");
        assert!(seen(&mut fresh, start, 60_000, 1, 63_000).reasons.is_empty());
        let told = seen(&mut fresh, start, 60_000, 1, 64_500);
        assert_eq!(told.reasons, [StaleReason::Quiet]);
        let since = Utc::now() - told.since.unwrap();
        assert!((4000..6000).contains(&since.num_milliseconds()), "since the last event: {since}");
        assert!(seen(&mut fresh, start, 65_000, 1, 65_000).reasons.is_empty());
        assert!(seen(&mut fresh, start, 65_000, 0, 90_000).reasons.is_empty(), "the call is over");
    }

    #[test]
    fn what_is_too_quiet_is_learned_and_forgotten() {
        let start = Instant::now();
        let mut fresh = first_of_all(start);
        seen(&mut fresh, start, 0, 1, 0);
        // A silence of 20 s is usual here; one of a minute is not.
        seen(&mut fresh, start, 20_000, 1, 20_000);
        assert!(seen(&mut fresh, start, 20_000, 1, 75_000).reasons.is_empty());
        assert_eq!(seen(&mut fresh, start, 20_000, 1, 81_000).reasons, [StaleReason::Quiet]);
        // It gets busy.
        let mut at = 81_000;
        for _ in 0..=SILENCES {
            at += 500;
            seen(&mut fresh, start, at, 1, at);
        }
        assert_eq!(seen(&mut fresh, start, at, 1, at + 4000).reasons, [StaleReason::Quiet]);
    }

    #[test]
    fn a_broken_link_is_told_instead_of_silence_and_teaches_nothing() {
        let start = Instant::now();
        let mut fresh = first_of_all(start);
        seen(&mut fresh, start, 0, 1, 0);
        assert_eq!(
            fresh.look(after(start, 10_000), Utc::now()).reasons,
            [StaleReason::Redis, StaleReason::Projector, StaleReason::Ingest]
        );
        // Whole again before the provider speaks: the silence lay over the break all the same.
        assert!(!seen(&mut fresh, start, 0, 1, 12_000).reasons.contains(&StaleReason::Ingest));
        seen(&mut fresh, start, 13_000, 1, 13_000);
        assert_eq!(seen(&mut fresh, start, 13_000, 1, 17_500).reasons, [StaleReason::Quiet]);
    }

    #[test]
    fn what_an_earlier_process_learned_holds_after_a_restart_and_gives_way_to_what_is_learned_now() {
        let start = Instant::now();
        let begun = after(start, 60_000);
        let mut fresh = Freshness::new(begun);
        // The provider was last heard 8 s before the start.
        assert!(seen(&mut fresh, start, 52_000, 1, 60_000).reasons.is_empty(), "nothing is recalled yet");
        fresh.recall([Duration::from_secs(1), Duration::from_secs(20)]);
        assert!(seen(&mut fresh, start, 52_000, 1, 66_000).reasons.is_empty());
        // A real silence is told as it would have been without the restart.
        assert_eq!(seen(&mut fresh, start, 52_000, 1, 113_000).reasons, [StaleReason::Quiet]);
        assert!(seen(&mut fresh, start, 114_000, 1, 114_000).reasons.is_empty());
        // Of the silence that lay over the restart what was seen of it counts.
        assert_eq!(fresh.learned(), [54, 1, 20].map(Duration::from_secs));
        for event in 0..SILENCES as u64 {
            let at = 115_000 + event * 500;
            seen(&mut fresh, start, at, 1, at);
        }
        assert!(fresh.learned().iter().all(|silence| *silence <= Duration::from_secs(1)));
    }

    #[test]
    fn nothing_that_is_recalled_hides_a_silence_for_longer_than_the_bound() {
        let start = Instant::now();
        let mut fresh = Freshness::new(start);
        fresh.recall(std::iter::repeat_n(Duration::from_secs(1_000_000), 1000));
        assert_eq!(fresh.learned().len(), SILENCES);
        assert!(seen(&mut fresh, start, 0, 1, 599_000).reasons.is_empty());
        assert_eq!(seen(&mut fresh, start, 0, 1, 601_000).reasons, [StaleReason::Quiet]);
    }

    #[test]
    fn a_silence_is_told_although_nobody_can_say_what_was_learned() {
        let start = Instant::now();
        let mut fresh = Freshness::new(start);
        assert!(seen(&mut fresh, start, 0, 1, 0).reasons.is_empty());
        assert!(seen(&mut fresh, start, 0, 1, 3500).reasons.is_empty());
        assert_eq!(seen(&mut fresh, start, 0, 1, 4500).reasons, [StaleReason::Quiet]);
    }

    #[test]
    fn a_link_is_stale_since_it_was_last_whole_and_not_since_somebody_looked() {
        let start = Instant::now();
        let mut fresh = Freshness::new(start);
        let dead = Pulse { age: Some(Duration::from_secs(7200)), ..beat(0, 0) };
        assert!(!fresh.life_read("a", dead, start));
        let told = fresh.look(start, Utc::now());
        assert!(told.reasons.contains(&StaleReason::Projector));
        assert!((7190..7210).contains(&(Utc::now() - told.since.unwrap()).num_seconds()));
    }

    #[test]
    fn a_board_that_cannot_be_followed_is_stale_although_its_redis_answers() {
        let start = Instant::now();
        let mut fresh = Freshness::new(start);
        listen(&mut fresh, beat(0, 0), start);
        fresh.redis_answered(after(start, 5000));
        fresh.ingest_answered(after(start, 5000));
        fresh.pulse_read(beat(0, 0), after(start, 5000));
        assert_eq!(fresh.look(after(start, 5000), Utc::now()).reasons, [StaleReason::Redis]);
    }

    #[test]
    fn a_board_that_is_made_anew_is_stale_until_it_was_at_the_logs_end() {
        let start = Instant::now();
        let mut fresh = Freshness::new(start);
        listen(&mut fresh, beat(0, 0), start);
        // The pulse is the one of the life before.
        assert!(!fresh.life_read("b", beat(0, 0), after(start, 100)));
        assert_eq!(fresh.look(after(start, 200), Utc::now()).reasons, [StaleReason::Lag]);
        assert!(!fresh.life_read("b", beat(5000, 90_000), after(start, 1000)));
        assert!(fresh.life_read("b", beat(0, 0), after(start, 2000)));
        assert!(fresh.look(after(start, 2000), Utc::now()).reasons.is_empty());
        // It goes on being read.
        assert!(fresh.life_read("b", beat(9, 1), after(start, 3000)));
    }

    #[test]
    fn read_models_that_stay_behind_are_told_apart_from_the_board() {
        let start = Instant::now();
        let mut fresh = Freshness::new(start);
        listen(&mut fresh, beat(0, 0), start);
        fresh.redis_answered(after(start, 8000));
        fresh.followed(after(start, 8000));
        fresh.ingest_answered(after(start, 8000));
        fresh.pulse_read(beat(0, 0), after(start, 8000));
        let told = fresh.look(after(start, 8000), Utc::now());
        assert!(told.reasons.is_empty());
        assert!((7..10).contains(&(Utc::now() - told.records_since.unwrap()).num_seconds()));
        fresh.records_even(after(start, 8000));
        assert_eq!(fresh.look(after(start, 9000), Utc::now()).records_since, None);
    }
}
