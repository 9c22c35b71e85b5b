//! What a workspace decides for itself (metrics.md): bounds, its time zone, and the rules of its missed calls.

use std::collections::BTreeSet;

pub use chrono_tz::Tz;
use helix_schemas::time::OccurredAt;
use serde::{Deserialize, Serialize};

/// How far ahead of its arrival a fact may lie and still say something of the provider's clock: 26 hours, as far as two time
/// zones lie apart. One slip of a date would else take today's calls off the board, and the day on for good.
pub const FURTHEST_AHEAD_MILLIS: i64 = 26 * 3_600_000;

/// How far ahead of our own clock the provider's now may be: 5 minutes. One event that is misdated within
/// [`FURTHEST_AHEAD_MILLIS`] takes the watermark hours ahead; whoever reckons with the provider's now takes it to be no later
/// than this, so that nothing is due and no second is counted that has not passed.
pub const NOW_AHEAD_MILLIS: i64 = 5 * 60 * 1000;

/// Bounds, zone and rules of one workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// B: an unanswered call that ends within this many seconds of ringing is a short abandon.
    pub short_abandon_seconds: i64,
    /// T: an answer within this many seconds meets the service level.
    pub service_level_seconds: i64,
    /// The zone of its days.
    pub zone: Tz,
    /// What stands before its callers' national numbers, digits alone.
    pub country_code: String,
    /// How missed calls are worked.
    pub rules: Rules,
}

/// How a workspace works its missed calls (docs/rules.md, "Missed calls").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// A missed call should be called back within this many seconds.
    pub due_after_seconds: i64,
    /// So many unanswered attempts close it; 0: none does.
    pub attempts: i64,
    /// How urgent it is.
    pub priority: Priority,
    /// An earlier answered call of the caller with one of these dispositions makes its later ones spam.
    pub spam_dispositions: BTreeSet<String>,
}

/// The parts of a missed call's priority, added up. Higher is more urgent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Priority {
    /// Of a call with outcome `missed`.
    pub missed: i64,
    /// Of a call with outcome `short_abandon`.
    pub short_abandon: i64,
    /// For each other missed call of the caller shortly before,
    pub repeat: i64,
    /// but so much at most.
    pub repeat_most: i64,
    /// How many seconds "shortly before" is.
    pub repeat_window_seconds: i64,
    /// For each attempt made.
    pub per_attempt: i64,
    /// For a caller who is known as spam.
    pub spam: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            short_abandon_seconds: 10,
            service_level_seconds: 20,
            zone: Tz::Asia__Kolkata,
            country_code: "91".to_owned(),
            rules: Rules::default(),
        }
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self { due_after_seconds: 600, attempts: 3, priority: Priority::default(), spam_dispositions: BTreeSet::new() }
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self {
            missed: 100,
            short_abandon: 50,
            repeat: 10,
            repeat_most: 50,
            repeat_window_seconds: 86_400,
            per_attempt: -10,
            spam: -80,
        }
    }
}

impl Settings {
    /// The workspace's local day of a moment, as a day number (days since 1970-01-01 in that zone).
    #[must_use]
    pub fn day_of(&self, at: OccurredAt) -> i64 {
        use chrono::{Datelike, TimeZone};
        match self.zone.timestamp_millis_opt(at.millis()).single() {
            Some(local) => i64::from(local.num_days_from_ce()) - UNIX_EPOCH_FROM_CE,
            None => at.millis().div_euclid(86_400_000),
        }
    }

    /// By which a caller's calls are linked, however the number is written: its digits with the country's code before them
    /// (docs/rules.md, "Callers"). `None` where there is no digit: that names nobody.
    #[must_use]
    pub fn caller_key(&self, caller: &str) -> Option<String> {
        let digits: String = caller.chars().filter(char::is_ascii_digit).collect();
        let number = digits.strip_prefix("00").unwrap_or(&digits);
        let national = match number.len() {
            NATIONAL_DIGITS => Some(number),
            _ => number.strip_prefix('0').filter(|number| number.len() == NATIONAL_DIGITS),
        };
        match national {
            Some(national) => Some(format!("{}{national}", self.country_code)),
            None => Some(number.to_owned()).filter(|number| !number.is_empty()),
        }
    }
}

/// How many digits a national number has.
const NATIONAL_DIGITS: usize = 10;

/// Days from 0001-01-01, counted from 1, to 1970-01-01.
const UNIX_EPOCH_FROM_CE: i64 = 719_163;

/// A day number as `YYYY-MM-DD`; the number itself where it is no calendar day.
#[must_use]
pub fn day_text(day: i64) -> String {
    let date = i32::try_from(day.saturating_add(UNIX_EPOCH_FROM_CE))
        .ok()
        .and_then(chrono::NaiveDate::from_num_days_from_ce_opt);
    date.map_or_else(|| day.to_string(), |date| date.format("%Y-%m-%d").to_string())
}

/// The day number of a calendar day.
#[must_use]
pub fn day_number(date: chrono::NaiveDate) -> i64 {
    use chrono::Datelike;
    i64::from(date.num_days_from_ce()) - UNIX_EPOCH_FROM_CE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_person_has_one_key_however_the_number_is_written() {
        let settings = Settings::default();
        for written in
            ["9876543210", "919876543210", "+91 98765 43210", "+91-98765-43210", "00919876543210", "09876543210"]
        {
            assert_eq!(settings.caller_key(written).as_deref(), Some("919876543210"), "{written}");
        }
        for nobody in ["", "Anonymous", "+", "00"] {
            assert_eq!(settings.caller_key(nobody), None, "{nobody}");
        }
        assert_eq!(settings.caller_key("1298").as_deref(), Some("1298"));
        assert_eq!(settings.caller_key("0129").as_deref(), Some("0129"));
        let abroad = Settings { country_code: "1".to_owned(), ..Settings::default() };
        assert_eq!(abroad.caller_key("(415) 555-0100").as_deref(), Some("14155550100"));
    }
}
