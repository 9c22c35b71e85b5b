//! Which day to play where nobody says.
//!
//! A board shows the latest day that it was told of, so each demonstration needs a later one than the last; and one that is
//! over, for what lies ahead of our own clock is taken for a mistake (docs/rules.md, "Decisions").

use chrono::{Days, NaiveDateTime, NaiveTime, TimeDelta, Timelike};

/// The first day lies so far back: as many can follow it, one a demonstration, before they meet today.
const DAYS_BACK: u64 = 28;
/// Between the last moment that was seen and a day that begins right after it.
const BREAK: TimeDelta = TimeDelta::minutes(15);
/// A day that begins so may end this much ahead of now: calls are played to their end, and all of it still counts.
const AHEAD: TimeDelta = TimeDelta::hours(24);

/// The start of a day of so many hours that was not seen yet: 08:00 of the day after the last one that was, if that is over by
/// now. Where there is none left, right after the last moment that was seen, if that lies not too far ahead. All in local time;
/// `seen` is the latest moment of which anything is known.
pub fn unseen_day(now: NaiveDateTime, seen: Option<NaiveDateTime>, hours: u32) -> Option<NaiveDateTime> {
    let opening = NaiveTime::from_hms_opt(8, 0, 0)?;
    let length = TimeDelta::hours(i64::from(hours));
    let first = now.date().checked_sub_days(Days::new(DAYS_BACK))?;
    let Some(seen) = seen else { return Some(first.and_time(opening)) };
    let next = seen.date().checked_add_days(Days::new(1))?.max(first).and_time(opening);
    if next.checked_add_signed(length)? <= now {
        return Some(next);
    }
    let right_after = seen.checked_add_signed(BREAK)?.with_second(0)?.with_nanosecond(0)?;
    (right_after.checked_add_signed(length)? <= now.checked_add_signed(AHEAD)?).then_some(right_after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> NaiveDateTime {
        text.parse().unwrap()
    }

    #[test]
    fn days_follow_each_other_and_none_lies_ahead_of_now() {
        let now = at("2026-03-24T12:00:00");
        let mut seen = None;
        let mut days = Vec::new();
        while let Some(start) = unseen_day(now, seen, 10).filter(|start| *start < now - TimeDelta::hours(10)) {
            assert!(seen.is_none_or(|seen| start > seen), "{start} after {seen:?}");
            days.push(start);
            // Calls are played to their end, and the last agent signs out.
            seen = Some(start + TimeDelta::minutes(10 * 60 + 40));
        }
        assert_eq!(days.first(), Some(&at("2026-02-24T08:00:00")));
        // The day of now is not over; one that begins in the evening before it is.
        assert_eq!(days[27..], [at("2026-03-23T08:00:00"), at("2026-03-23T18:55:00")]);
    }

    #[test]
    fn where_all_is_seen_up_to_now_a_day_follows_at_once_but_not_far_ahead() {
        let now = at("2026-03-24T12:00:00");
        let start = unseen_day(now, Some(at("2026-03-24T11:59:31.5")), 10);
        assert_eq!(start, Some(at("2026-03-24T12:14:00")));
        assert_eq!(unseen_day(now, Some(at("2026-03-25T01:30:00")), 10), Some(at("2026-03-25T01:45:00")));
        assert_eq!(unseen_day(now, Some(at("2026-03-25T02:00:00")), 10), None);
        assert_eq!(unseen_day(now, Some(at("2026-04-20T08:00:00")), 1), None);
        // What was seen long ago is no reason to play a day of then.
        assert_eq!(unseen_day(now, Some(at("2024-01-01T08:00:00")), 10), unseen_day(now, None, 10));
    }
}
