//! The two clocks of a fact, kept apart by type (design.md section 5).

use chrono::{DateTime, SecondsFormat, TimeZone, Utc};
use serde::{Deserialize, Serialize};

/// When it happened, by the provider's clock: UTC milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OccurredAt(i64);

/// When it reached us, by our clock: UTC microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReceivedAt(i64);

impl OccurredAt {
    /// From UTC milliseconds.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// UTC milliseconds.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds from `earlier` to `self`, never below zero: durations are integers (law 4).
    #[must_use]
    pub const fn seconds_since(self, earlier: Self) -> i64 {
        let millis = self.0.saturating_sub(earlier.0);
        if millis < 0 { 0 } else { millis / 1000 }
    }

    /// As a calendar time, or `None` outside chrono's range.
    #[must_use]
    pub fn to_utc(self) -> Option<DateTime<Utc>> {
        Utc.timestamp_millis_opt(self.0).single()
    }

    /// RFC 3339 with milliseconds and `Z`; the number itself where it is no calendar time.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        self.to_utc().map_or_else(|| self.0.to_string(), |at| at.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl ReceivedAt {
    /// From UTC microseconds.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Our clock, now. Never called by a fold.
    #[must_use]
    pub fn now() -> Self {
        Self(Utc::now().timestamp_micros())
    }

    /// UTC microseconds.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// The same moment as an [`OccurredAt`], for an event that carries no readable time of its own.
    #[must_use]
    pub const fn as_occurred(self) -> OccurredAt {
        OccurredAt(self.0.div_euclid(1000))
    }

    /// As a calendar time, or `None` outside chrono's range.
    #[must_use]
    pub fn to_utc(self) -> Option<DateTime<Utc>> {
        Utc.timestamp_micros(self.0).single()
    }

    /// RFC 3339 with microseconds and `Z`; the number itself where it is no calendar time.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        self.to_utc().map_or_else(|| self.0.to_string(), |at| at.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}
