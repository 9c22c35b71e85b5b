//! What a request asks for: its query string, read with a clear word where something in it cannot be meant.

use std::collections::BTreeMap;

use axum::{
    extract::{FromRequestParts, Query},
    http::{StatusCode, request::Parts},
};
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, TimeZone as _, Utc};
use helix_fold::settings::Tz;
use helix_kit::problem::Problem;
use helix_schemas::names::AgentId;

use super::counts::Cut;

/// Records on a page, unless asked otherwise, and at most.
const PAGE: i64 = 20;
const LARGEST_PAGE: i64 = 200;
/// Bytes of a queue's name or a DID.
const LONGEST_LABEL: usize = 1024;

/// The parameters of a request, by name; of one that is given twice the last counts. Unknown ones are passed over, and an
/// empty one is as if it were not there, but where it is a label.
#[derive(Debug, Clone, Default)]
pub(crate) struct Params(BTreeMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let Query(pairs) = read.map_err(|_| {
            Problem::new(StatusCode::BAD_REQUEST, "query_invalid", TITLE, "the query string cannot be read")
        })?;
        Ok(Self(pairs.into_iter().collect()))
    }
}

/// From a moment until before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) from: Option<DateTime<Utc>>,
    pub(crate) to: Option<DateTime<Utc>>,
}

const TITLE: &str = "The query cannot be meant";

/// 400: a parameter cannot be read. Its value is not repeated.
pub(crate) fn invalid(parameter: &'static str, expected: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "query_invalid", TITLE, format!("{parameter} is {expected}"))
        .with("parameter", parameter)
}

impl Params {
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// One of some words.
    pub(crate) fn word<T: Copy>(&self, name: &'static str, words: &[(&str, T)]) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match words.iter().find(|(word, _)| *word == text) {
            Some((_, meant)) => Ok(Some(*meant)),
            None => {
                let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                Err(invalid(name, &format!("one of {}", known.join(", "))))
            }
        }
    }

    /// The name of a queue, or a DID. Empty: what has none.
    pub(crate) fn label(&self, name: &'static str) -> Result<Option<&str>, Problem> {
        match self.0.get(name).map(String::as_str) {
            Some(text) if text.len() > LONGEST_LABEL || text.contains('\0') => {
                Err(invalid(name, &format!("a text of at most {LONGEST_LABEL} bytes, without NUL")))
            }
            other => Ok(other),
        }
    }

    /// An agent's id.
    pub(crate) fn agent(&self, name: &'static str) -> Result<Option<AgentId>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        AgentId::new(text).map(Some).map_err(|_| invalid(name, "an agent's id, at most 255 bytes"))
    }

    /// A moment.
    pub(crate) fn moment(&self, name: &'static str) -> Result<Option<DateTime<Utc>>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match moment(text) {
            Some(at) => Ok(Some(at)),
            None => Err(invalid(name, "a moment as in 2026-01-31T09:00:00+05:30 (RFC 3339; `+` is %2B)")),
        }
    }

    /// A stretch of time, either end of which may be open.
    pub(crate) fn range(&self) -> Result<Range, Problem> {
        let (from, to) = (self.moment("from")?, self.moment("to")?);
        if from.zip(to).is_some_and(|(from, to)| from >= to) {
            return Err(invalid("to", "later than from"));
        }
        Ok(Range { from, to })
    }

    /// A local day.
    pub(crate) fn date(&self, name: &'static str) -> Result<Option<NaiveDate>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|_| text.len() == "2026-01-31".len());
        date.map(Some).ok_or_else(|| invalid(name, "a day as in 2026-01-31"))
    }

    /// How many records a page may have.
    pub(crate) fn limit(&self) -> Result<i64, Problem> {
        let Some(text) = self.text("limit") else { return Ok(PAGE) };
        let limit = text.parse().ok().filter(|limit| (1..=LARGEST_PAGE).contains(limit));
        limit.ok_or_else(|| invalid("limit", &format!("a number from 1 to {LARGEST_PAGE}")))
    }

    /// All of them as one text: what tells one list from another.
    pub(crate) fn identity(&self) -> String {
        let pairs: Vec<String> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("&")
    }
}

/// An RFC 3339 moment. A `+` that was not escaped arrives as a space; only the zone's can be meant.
pub(crate) fn moment(text: &str) -> Option<DateTime<Utc>> {
    let zoned = text.rfind(' ').filter(|at| text.get(..*at).is_some_and(|before| before.contains(':')));
    let text = zoned.map_or_else(|| text.to_owned(), |at| format!("{}+{}", &text[..at], &text[at + 1..]));
    DateTime::parse_from_rfc3339(&text).ok().map(|at| at.with_timezone(&Utc))
}

/// A local day from its first moment to the first of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Day {
    pub(crate) date: NaiveDate,
    pub(crate) from: DateTime<Utc>,
    pub(crate) to: DateTime<Utc>,
}

impl Day {
    /// The day with that date.
    pub(crate) fn on(date: NaiveDate, zone: Tz) -> Self {
        let from = first_moment(date, zone);
        let to = date.succ_opt().map_or(from, |next| first_moment(next, zone));
        Self { date, from, to }
    }

    /// As the one interval that is counted.
    pub(crate) const fn cut(&self) -> Cut {
        Cut { from: self.from, to: self.to }
    }

    /// The day that a moment lies in.
    pub(crate) fn of(at: DateTime<Utc>, zone: Tz) -> Self {
        Self::on(at.with_timezone(&zone).date_naive(), zone)
    }
}

/// The first moment of a local day; where clocks skip midnight, the moment they have jumped.
fn first_moment(date: NaiveDate, zone: Tz) -> DateTime<Utc> {
    let midnight = date.and_time(NaiveTime::MIN);
    // No zone has ever skipped more than a day.
    let tries = (0..=96).map(|quarter| midnight + TimeDelta::minutes(15 * quarter));
    let found = tries.filter_map(|local| zone.from_local_datetime(&local).earliest()).next();
    found.map_or_else(|| midnight.and_utc(), |at| at.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        Params(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn what_cannot_be_meant_is_told_by_its_name_and_never_repeated() {
        let given = params(&[
            ("from", "yesterday"),
            ("limit", "201"),
            ("date", "2026-02-30"),
            ("agentId", "a\u{0}b"),
            ("sort", "up"),
        ]);
        let told = [
            given.moment("from").unwrap_err(),
            given.limit().unwrap_err(),
            given.date("date").unwrap_err(),
            given.agent("agentId").unwrap_err(),
            given.word("sort", &[("due", ())]).unwrap_err(),
        ];
        let names: Vec<&str> = told.iter().map(|problem| problem.members["parameter"].as_str().unwrap()).collect();
        assert_eq!(names, ["from", "limit", "date", "agentId", "sort"]);
        for (problem, value) in told.iter().zip(["yesterday", "201", "2026-02-30", "a\u{0}b", "up"]) {
            assert_eq!((problem.code, problem.status.as_u16()), ("query_invalid", 400));
            assert!(!problem.detail.contains(value));
        }
        let backwards = params(&[("from", "2026-03-02T00:00:00Z"), ("to", "2026-03-02T00:00:00Z")]);
        assert!(backwards.range().is_err());
        assert_eq!(params(&[]).limit().unwrap(), 20);
    }

    #[test]
    fn an_empty_parameter_is_none_but_a_label_is_the_empty_one() {
        let given = params(&[("from", ""), ("sort", ""), ("queue", "")]);
        assert_eq!(given.moment("from").unwrap(), None);
        assert_eq!(given.word("sort", &[("due", ())]).unwrap(), None);
        assert_eq!(given.label("queue").unwrap(), Some(""));
        assert_eq!(given.label("did").unwrap(), None);
    }

    #[test]
    fn a_plus_that_was_not_escaped_is_still_the_zone_s() {
        assert_eq!(moment("2026-03-02T09:00:00 05:30"), moment("2026-03-02T03:30:00Z"));
        assert!(moment("2026-03-02 09:00").is_none());
    }

    #[test]
    fn a_day_is_the_workspace_s_own_and_may_be_shorter() {
        let date = NaiveDate::from_ymd_opt(2026, 3, 2).unwrap();
        let day = Day::on(date, Tz::Asia__Kolkata);
        assert_eq!(day.from.to_rfc3339(), "2026-03-01T18:30:00+00:00");
        assert_eq!((day.to - day.from).num_hours(), 24);
        assert_eq!(Day::of(day.from, Tz::Asia__Kolkata), day);
        assert_eq!(Day::of(day.from - TimeDelta::seconds(1), Tz::Asia__Kolkata).to, day.from);
        // Clocks of Beirut jump from 0:00 to 1:00.
        let spring = Day::on(NaiveDate::from_ymd_opt(2024, 3, 31).unwrap(), Tz::Asia__Beirut);
        assert_eq!(
            (spring.from.to_rfc3339().as_str(), (spring.to - spring.from).num_hours()),
            ("2024-03-30T22:00:00+00:00", 23)
        );
    }
}
