//! The provider's times and durations (ozonetel.md section 5): naive, in the account's zone, to the second.

use chrono::{DateTime, LocalResult, NaiveDate, NaiveDateTime, TimeDelta, TimeZone};
use chrono_tz::Tz;
use helix_schemas::time::OccurredAt;

/// Years a telephone call of this provider can lie in; outside is a zero date or nonsense.
const YEARS: std::ops::RangeInclusive<i32> = 2000..=2100;

/// A moment: `YYYY-MM-DD HH:MM:SS` in `zone`; also with `:`, `/` in the date, `T`, a fraction, or its own offset.
pub(super) fn moment(text: &str, zone: Tz) -> Option<OccurredAt> {
    let text = text.trim();
    let date = text.get(..10)?;
    let rest = text.get(10..)?;
    let (naive, rest) = naive(date, rest)?;
    let at = match rest.trim() {
        "" => in_zone(naive, zone)?,
        "Z" | "z" => naive.and_utc().timestamp_millis(),
        offset => {
            let seconds = offset_seconds(offset)?;
            naive.checked_sub_signed(TimeDelta::seconds(seconds))?.and_utc().timestamp_millis()
        }
    };
    Some(OccurredAt::from_millis(at))
}

/// The calendar time, and what stands after it.
fn naive<'a>(date: &str, rest: &'a str) -> Option<(NaiveDateTime, &'a str)> {
    let mut parts = date.split(['-', ':', '/']);
    let year: i32 = digits(parts.next()?, 4)?;
    let month = u32::try_from(digits(parts.next()?, 2)?).ok()?;
    let day = u32::try_from(digits(parts.next()?, 2)?).ok()?;
    if parts.next().is_some() || !YEARS.contains(&year) {
        return None;
    }
    let day = NaiveDate::from_ymd_opt(year, month, day)?;
    let clock = rest.strip_prefix(['T', 't']).unwrap_or(rest).trim_start();
    if clock.len() == rest.len() {
        return None;
    }
    let hour = u32::try_from(digits(clock.get(..2)?, 2)?).ok()?;
    let minute = u32::try_from(digits(clock.get(2..)?.strip_prefix(':')?.get(..2)?, 2)?).ok()?;
    let second = u32::try_from(digits(clock.get(5..)?.strip_prefix(':')?.get(..2)?, 2)?).ok()?;
    let mut after = clock.get(8..)?;
    let mut millis = 0_u32;
    if let Some(fraction) = after.strip_prefix('.') {
        let count = fraction.bytes().take_while(u8::is_ascii_digit).count();
        let shown = fraction.get(..count.min(3))?;
        millis = format!("{shown:0<3}").parse().ok()?;
        after = fraction.get(count..)?;
    }
    Some((day.and_hms_milli_opt(hour, minute, second, millis)?, after))
}

fn digits(text: &str, count: usize) -> Option<i32> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// A local time that happens twice is the earlier; one that is skipped is read with the offset before the gap.
fn in_zone(naive: NaiveDateTime, zone: Tz) -> Option<i64> {
    match zone.from_local_datetime(&naive) {
        LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => Some(at.timestamp_millis()),
        LocalResult::None => {
            let hour = TimeDelta::hours(1);
            let before: DateTime<Tz> = zone.from_local_datetime(&naive.checked_sub_signed(hour)?).earliest()?;
            before.checked_add_signed(hour).map(|at| at.timestamp_millis())
        }
    }
}

fn offset_seconds(text: &str) -> Option<i64> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let compact: String = rest.chars().filter(|c| *c != ':').collect();
    let number = match compact.len() {
        2 => digits(&compact, 2)? * 100,
        4 => digits(&compact, 4)?,
        _ => return None,
    };
    let (hours, minutes) = (number / 100, number % 100);
    (hours <= 14 && minutes < 60).then(|| i64::from(sign * (hours * 3600 + minutes * 60)))
}

/// Whole seconds of `HH:MM:SS` (hours of any length), `MM:SS` or plain seconds; a fraction is cut off.
pub(super) fn seconds(text: &str) -> Option<i32> {
    let text = text.trim();
    let whole = match text.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|byte| byte.is_ascii_digit()) => whole,
        Some(_) => return None,
        None => text,
    };
    let mut total: i32 = 0;
    let mut parts = 0;
    for part in whole.split(':') {
        if part.is_empty() || part.len() > 9 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        parts += 1;
        total = total.checked_mul(60)?.checked_add(part.parse().ok()?)?;
    }
    (parts <= 3).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IST: Tz = Tz::Asia__Kolkata;

    fn shown(text: &str) -> Option<String> {
        moment(text, IST).map(OccurredAt::to_rfc3339)
    }

    #[test]
    fn a_naive_time_is_in_the_account_s_zone() {
        for text in ["2026-03-24 14:39:52", "2026:03:24 14:39:52", "2026/03/24T14:39:52", " 2026-03-24  14:39:52 "] {
            assert_eq!(shown(text).as_deref(), Some("2026-03-24T09:09:52.000Z"), "{text}");
        }
        assert_eq!(shown("2026-03-24 14:39:52.1239").as_deref(), Some("2026-03-24T09:09:52.123Z"));
    }

    #[test]
    fn an_explicit_offset_outranks_the_zone() {
        for text in [
            "2026-03-24T14:39:52Z",
            "2026-03-24 09:39:52-05:00",
            "2026-03-24T20:09:52+0530",
            "2026-03-24T15:39:52.0+01",
        ] {
            assert_eq!(shown(text).as_deref(), Some("2026-03-24T14:39:52.000Z"), "{text}");
        }
    }

    #[test]
    fn zero_dates_and_nonsense_are_no_time() {
        for text in [
            "",
            "0000-00-00 00:00:00",
            "0001-01-01 00:00:00",
            "1970-01-01 05:30:00",
            "2026-02-30 10:00:00",
            "2026-03-24",
            "2026-03-24 25:00:00",
            "2026-03-24 10:00",
            "24-03-2026 10:00:00",
            "2026-03-2410:00:00",
            "अ026-03-24 10:00:00",
            "2026-03-24 14:39:52 IST",
            "2026-03-24 14:39:52+99:00",
        ] {
            assert_eq!(shown(text), None, "{text}");
        }
    }

    #[test]
    fn a_skipped_or_doubled_hour_still_has_one_answer() {
        let berlin = Tz::Europe__Berlin;
        assert_eq!(moment("2026-03-29 02:30:00", berlin).unwrap().to_rfc3339(), "2026-03-29T01:30:00.000Z");
        assert_eq!(moment("2026-10-25 02:30:00", berlin).unwrap().to_rfc3339(), "2026-10-25T00:30:00.000Z");
    }

    #[test]
    fn durations_are_whole_seconds() {
        for (text, expected) in
            [("00:01:23", 83), ("83", 83), ("01:23", 83), ("120:00:00", 432_000), ("00:00:07.9", 7), ("0", 0)]
        {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
        for text in ["", "-1", "00:01:", "a", "1:2:3:4", "99999999999", "700000:00:00", "1.x"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
