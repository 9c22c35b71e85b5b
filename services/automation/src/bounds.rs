//! How long things may last in a workspace before something is presumed.

use chrono::{Days, NaiveDate, NaiveTime, TimeDelta, TimeZone};
use chrono_tz::Tz;
use helix_schemas::{decision::Decision, time::OccurredAt};

/// Bounds of one workspace, whole seconds; 0 turns a rule off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// A wrap-up that lasts longer has expired.
    pub wrap_up_seconds: i64,
    /// A call whose agent is ready or offline this long after the call's last sign of life, or later, has ended.
    pub call_grace_seconds: i64,
    /// An answered call without a sign of life for longer has ended.
    pub call_seconds: i64,
    /// A call that nobody answered, without a sign of life for longer, has ended.
    pub waiting_seconds: i64,
    /// An agent who is signed in and silent for longer is offline.
    pub silence_seconds: i64,
    /// Sessions of silent agents are closed this long after the workspace's midnight.
    pub day_end_seconds: i64,
    /// The zone of its days.
    pub zone: Tz,
}

impl Bounds {
    /// The defaults of `default.toml`, in a zone.
    #[must_use]
    pub const fn in_zone(zone: Tz) -> Self {
        Self {
            wrap_up_seconds: 30,
            call_grace_seconds: 10,
            call_seconds: 4 * 3600,
            waiting_seconds: 3600,
            silence_seconds: 4 * 3600,
            day_end_seconds: 4 * 3600,
            zone,
        }
    }

    /// No rule at all: for a workspace that is not configured.
    pub const OFF: Self = Self {
        wrap_up_seconds: 0,
        call_grace_seconds: 0,
        call_seconds: 0,
        waiting_seconds: 0,
        silence_seconds: 0,
        day_end_seconds: 0,
        zone: Tz::UTC,
    };

    /// The decisions that are made at all.
    #[must_use]
    pub fn decisions(&self) -> Vec<Decision> {
        let call = [self.call_grace_seconds, self.call_seconds, self.waiting_seconds].into_iter().max().unwrap_or(0);
        let rules = [
            (Decision::WrapUpExpired, self.wrap_up_seconds),
            (Decision::AgentPresumedOffline, self.silence_seconds),
            (Decision::SessionClosed, self.day_end_seconds),
            (Decision::CallPresumedEnded, call),
        ];
        rules.into_iter().filter(|(_, bound)| *bound > 0).map(|(decision, _)| decision).collect()
    }

    /// What becomes of a silence that begins with a sign of life at `since`, if it lasts beyond [`Silence::due_at`].
    ///
    /// Two bounds may end it: its own, and the day's end. What takes effect first is decided, once either bound has
    /// passed: so a silence is decided once, and nobody is online across a midnight and offline an hour later.
    #[must_use]
    pub fn silence(&self, since: OccurredAt) -> Option<Silence> {
        let too_long = positive(self.silence_seconds).map(|bound| later(since, bound));
        let midnight = positive(self.day_end_seconds).and_then(|grace| Some((self.midnight_after(since)?, grace)));
        match (too_long, midnight) {
            (Some(at), Some(((midnight, day), grace))) if midnight < at => {
                let due_at = at.min(later(midnight, grace));
                Some(Silence { effective_at: midnight, due_at, day: Some(day) })
            }
            (Some(at), _) => Some(Silence { effective_at: at, due_at: at, day: None }),
            (None, Some(((midnight, day), grace))) => {
                Some(Silence { effective_at: midnight, due_at: later(midnight, grace), day: Some(day) })
            }
            (None, None) => None,
        }
    }

    /// The local midnight after a moment, with the local day that it ends. Where clocks skip midnight, the first moment of
    /// the new day; where they pass it twice, the first time.
    fn midnight_after(&self, at: OccurredAt) -> Option<(OccurredAt, NaiveDate)> {
        let day = self.zone.timestamp_millis_opt(at.millis()).single()?.date_naive();
        let next = day.checked_add_days(Days::new(1))?.and_time(NaiveTime::MIN);
        // No zone has ever skipped more than a day, and only in steps of quarters of an hour.
        let first = (0..=96).find_map(|quarter| {
            let local = next.checked_add_signed(TimeDelta::minutes(15 * quarter))?;
            self.zone.from_local_datetime(&local).earliest()
        })?;
        Some((OccurredAt::from_millis(first.timestamp_millis()), day))
    }
}

/// How a silence ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silence {
    /// From when on the agent is offline.
    pub effective_at: OccurredAt,
    /// It is decided once the silence has lasted beyond this.
    pub due_at: OccurredAt,
    /// The local day that ended, where it is the day's end that closed the session.
    pub day: Option<NaiveDate>,
}

impl Silence {
    /// Which decision it is.
    #[must_use]
    pub const fn decision(&self) -> Decision {
        match self.day {
            Some(_) => Decision::SessionClosed,
            None => Decision::AgentPresumedOffline,
        }
    }
}

/// A bound that is not turned off.
pub(crate) const fn positive(seconds: i64) -> Option<i64> {
    if seconds > 0 { Some(seconds) } else { None }
}

/// So many seconds later.
pub(crate) const fn later(at: OccurredAt, seconds: i64) -> OccurredAt {
    OccurredAt::from_millis(at.millis().saturating_add(seconds.saturating_mul(1000)))
}
