//! The two clocks of a fact, kept apart by type (design.md section 5).
//!
//! A fact's moments lie in the years 1900 to 2199 ([`MOMENTS`]). That is more than ingest writes: the provider's times are
//! of 2000 to 2100, and what is computed from one of them and a duration in seconds (32 bits) lies within 69 years of it.
//! It is less than any store holds, so that none has to bend one. What lies outside is refused where a record is decoded
//! (`of_a_fact`), once for all folds and stores.

use std::ops::Range;

use chrono::{DateTime, SecondsFormat, TimeZone, Utc};
use serde::{Deserialize, Serialize};

/// The moments that a fact may tell, in UTC milliseconds: 1900-01-01 to 2199-12-31.
pub const MOMENTS: Range<i64> = -2_208_988_800_000..7_258_118_400_000;

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

/// Reading the moments of a record: `#[serde(deserialize_with = "…")]` on the fields of what goes through the log. Not on the
/// types themselves: a state that is kept may hold moments that were computed, as by when something is due.
pub(crate) mod of_a_fact {
    use serde::{Deserialize, Deserializer, de::Error};

    use super::{MOMENTS, OccurredAt, ReceivedAt};

    fn within<E: Error>(millis: i64) -> Result<(), E> {
        match MOMENTS.contains(&millis) {
            true => Ok(()),
            false => Err(E::custom("a moment outside of the years 1900 to 2199")),
        }
    }

    /// A moment by the provider's clock.
    pub(crate) fn occurred<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OccurredAt, D::Error> {
        let at = OccurredAt::deserialize(deserializer)?;
        within(at.millis()).map(|()| at)
    }

    /// One that may be missing.
    pub(crate) fn perhaps<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<OccurredAt>, D::Error> {
        let at = Option::<OccurredAt>::deserialize(deserializer)?;
        at.map_or(Ok(()), |at| within(at.millis())).map(|()| at)
    }

    /// A moment by our clock.
    pub(crate) fn received<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ReceivedAt, D::Error> {
        let at = ReceivedAt::deserialize(deserializer)?;
        within(at.as_occurred().millis()).map(|()| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_moments_of_facts_are_those_of_whole_years() {
        let shown = |millis: i64| OccurredAt::from_millis(millis).to_rfc3339();
        assert_eq!(shown(MOMENTS.start), "1900-01-01T00:00:00.000Z");
        assert_eq!(shown(MOMENTS.end - 1), "2199-12-31T23:59:59.999Z");
    }
}
