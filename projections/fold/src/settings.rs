//! What a workspace decides for itself (metrics.md): bounds and its time zone.

pub use chrono_tz::Tz;
use helix_schemas::time::OccurredAt;

/// Bounds and zone of one workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// B: an unanswered call that ends within this many seconds of ringing is a short abandon.
    pub short_abandon_seconds: i64,
    /// T: an answer within this many seconds meets the service level.
    pub service_level_seconds: i64,
    /// The zone of its days.
    pub zone: Tz,
}

impl Default for Settings {
    fn default() -> Self {
        Self { short_abandon_seconds: 10, service_level_seconds: 20, zone: Tz::Asia__Kolkata }
    }
}

impl Settings {
    /// The workspace's local day of a moment, as a day number (days since 1970-01-01 in that zone).
    #[must_use]
    pub fn day_of(&self, at: OccurredAt) -> i64 {
        use chrono::{Datelike, TimeZone};
        const UNIX_EPOCH_FROM_CE: i64 = 719_163;
        match self.zone.timestamp_millis_opt(at.millis()).single() {
            Some(local) => i64::from(local.num_days_from_ce()) - UNIX_EPOCH_FROM_CE,
            None => at.millis().div_euclid(86_400_000),
        }
    }
}
