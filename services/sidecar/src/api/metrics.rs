//! `GET /api/metrics`: the metrics of docs/metrics.md by interval of the workspace's local day, and by agent, queue or DID.
//!
//! Calls count in the interval in which they began. Intervals lie on the local grid and are cut to the range that was asked
//! for, so that the rows add up to just that; each appears, also where nothing happened. By agent each agent that a call came
//! to has its share in it (`counts`), by queue means by skill; the empty text is what came to no agent, or has no skill or DID.
//! What a metric counts: offered, answered, missed, short abandons, service level, ASA and abandonment are of inbound calls,
//! unknown directions included; AHT is of answered calls in either direction. Talk includes hold. The wrap-up of a call is the
//! time that agents were in state `wrap_up` after it, wherever that time falls.

use std::collections::BTreeSet;

use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, TimeDelta, Utc};
use helix_fold::settings::Tz;
use helix_kit::problem::Problem;
use serde::Serialize;

use super::{
    Moment, Ratio,
    agents::HandleTime,
    counts::{By, Counted, Counts, Cut, Only, count},
    query::{Day, Params, Range, invalid},
};
use crate::{
    access::{Part, Viewer},
    serve::App,
};

/// Most intervals of an answer.
const MOST_INTERVALS: usize = 400;
/// Most rows of an answer, intervals times agents, queues or DIDs: a day of 500 agents by the quarter of an eight-hour shift, some
/// MiB before compression.
const MOST_ROWS: usize = 16_000;

/// How long an interval is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grid {
    Quarter,
    Hour,
    Day,
}

const GRIDS: [(&str, Grid); 3] = [("15m", Grid::Quarter), ("1h", Grid::Hour), ("1d", Grid::Day)];

impl Grid {
    fn word(self) -> &'static str {
        match self {
            Self::Quarter => "15m",
            Self::Hour => "1h",
            Self::Day => "1d",
        }
    }

    /// `None`: as long as the local day.
    fn length(self) -> Option<TimeDelta> {
        match self {
            Self::Quarter => Some(TimeDelta::minutes(15)),
            Self::Hour => Some(TimeDelta::hours(1)),
            Self::Day => None,
        }
    }
}

const BYS: [(&str, By); 3] =
    [(By::Agent.as_str(), By::Agent), (By::Queue.as_str(), By::Queue), (By::Did.as_str(), By::Did)];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metrics {
    from: Moment,
    to: Moment,
    interval: &'static str,
    zone: &'static str,
    threshold_seconds: i64,
    rows: Vec<Row>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    from: Moment,
    to: Moment,
    by: Option<String>,
    offered: i64,
    answered: i64,
    missed: i64,
    short_abandoned: i64,
    in_progress: i64,
    service_level: ServiceLevel,
    asa: SpeedOfAnswer,
    aht: HandleTime,
    abandonment: Ratio,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
struct ServiceLevel {
    answered_within: i64,
    denominator: i64,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
struct SpeedOfAnswer {
    total_wait_seconds: i64,
    answered: i64,
}

pub(crate) async fn metrics(State(app): State<App>, viewer: Viewer, params: Params) -> Result<Json<Metrics>, Problem> {
    let sight = viewer.may(Part::Records)?;
    let grid = params.word("interval", &GRIDS)?.unwrap_or(Grid::Quarter);
    let by = params.word("by", &BYS)?;
    let Range { from, to } = params.range()?;
    // Without a word: today.
    let zone = app.api.zone;
    let from = from.unwrap_or_else(|| Day::of(to.map_or(app.provider_now(), before), zone).from);
    let to = to.unwrap_or_else(|| Day::of(from, zone).to);
    if from >= to {
        return Err(invalid("to", "later than from"));
    }
    let cuts = cuts(from, to, grid, zone).ok_or_else(too_many_rows)?;
    let mut moment = app.api.database.moment().await?;
    let only = Only { agent: sight.only(), queue: params.label("queue")?, did: params.label("did")? };
    let counted = count(&mut moment, &app, &cuts, by, only).await?;
    drop(moment);
    let rows = rows(&cuts, by, counted)?;
    Ok(Json(Metrics {
        from: Moment(from),
        to: Moment(to),
        interval: grid.word(),
        zone: zone.name(),
        threshold_seconds: app.api.service_level_seconds,
        rows,
    }))
}

/// The last moment before another.
fn before(at: DateTime<Utc>) -> DateTime<Utc> {
    at - TimeDelta::microseconds(1)
}

/// The intervals of a range; `None` where they are too many. The grid begins anew at each local midnight.
fn cuts(from: DateTime<Utc>, to: DateTime<Utc>, grid: Grid, zone: Tz) -> Option<Vec<Cut>> {
    let mut cuts = Vec::new();
    let mut day = Day::of(from, zone);
    let mut at = from;
    while at < to {
        if cuts.len() == MOST_INTERVALS {
            return None;
        }
        let end_of_cut = match grid.length() {
            Some(length) => {
                let passed = (at - day.from).num_microseconds()? / length.num_microseconds()?;
                day.from + length * i32::try_from(passed + 1).ok()?
            }
            None => day.to,
        };
        let end = end_of_cut.min(day.to).min(to);
        cuts.push(Cut { from: at, to: end });
        at = end;
        if at >= day.to {
            let next = Day::of(at, zone);
            // A calendar that has no next day ends here.
            day = if next == day { return None } else { next };
        }
    }
    Some(cuts)
}

fn too_many_rows() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "too_many_rows",
        "The answer would have too many rows",
        format!(
            "ask for a shorter range or a longer interval: at most {MOST_INTERVALS} intervals, and {MOST_ROWS} rows of \
             intervals times groups"
        ),
    )
}

fn rows(cuts: &[Cut], by: Option<By>, mut counted: Counted) -> Result<Vec<Row>, Problem> {
    if by.is_none() {
        counted.entry(String::new()).or_default();
    }
    if cuts.len() * counted.len() > MOST_ROWS {
        return Err(too_many_rows());
    }
    let groups: BTreeSet<String> = counted.keys().cloned().collect();
    let mut rows = Vec::with_capacity(cuts.len() * groups.len());
    for (place, cut) in cuts.iter().enumerate() {
        for group in &groups {
            let counts = counted.get_mut(group).and_then(|of_group| of_group.remove(&place)).unwrap_or_default();
            rows.push(row(*cut, by.is_some().then(|| group.clone()), &counts));
        }
    }
    Ok(rows)
}

fn row(cut: Cut, by: Option<String>, counts: &Counts) -> Row {
    let decided = counts.answered + counts.missed;
    Row {
        from: Moment(cut.from),
        to: Moment(cut.to),
        by,
        offered: counts.offered,
        answered: counts.answered,
        missed: counts.missed,
        short_abandoned: counts.short_abandoned,
        in_progress: counts.in_progress,
        service_level: ServiceLevel { answered_within: counts.answered_within, denominator: decided },
        asa: SpeedOfAnswer { total_wait_seconds: counts.wait_seconds, answered: counts.answered },
        aht: HandleTime::of(counts),
        abandonment: Ratio { numerator: counts.missed, denominator: decided },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        super::super::query::moment(text).unwrap()
    }

    #[test]
    fn intervals_lie_on_the_local_grid_and_fill_the_range_without_gap() {
        // Half past: Kolkata's hours are not UTC's.
        let (from, to) = (at("2026-03-02T09:10:00+05:30"), at("2026-03-02T12:00:00+05:30"));
        let hours = cuts(from, to, Grid::Hour, Tz::Asia__Kolkata).unwrap();
        assert_eq!(hours.len(), 3);
        assert_eq!(hours[0], Cut { from, to: at("2026-03-02T10:00:00+05:30") });
        let day = Day::of(from, Tz::Asia__Kolkata);
        for (grid, count) in [(Grid::Quarter, 96), (Grid::Hour, 24), (Grid::Day, 1)] {
            let cuts = cuts(day.from, day.to, grid, Tz::Asia__Kolkata).unwrap();
            assert_eq!(cuts.len(), count);
            assert!(cuts.windows(2).all(|pair| pair[0].to == pair[1].from));
            assert_eq!((cuts[0].from, cuts[count - 1].to), (day.from, day.to));
        }
    }

    #[test]
    fn a_day_of_23_hours_has_23_of_them_and_the_next_begins_at_midnight() {
        let day = Day::of(at("2026-03-29T12:00:00+02:00"), Tz::Europe__Berlin);
        let two_days = Day::of(day.to, Tz::Europe__Berlin);
        let hours = cuts(day.from, two_days.to, Grid::Hour, Tz::Europe__Berlin).unwrap();
        assert_eq!(hours.len(), 47);
        assert!(hours.iter().any(|cut| cut.from == day.to));
        assert_eq!(cuts(day.from, two_days.to, Grid::Day, Tz::Europe__Berlin).unwrap().len(), 2);
    }

    #[test]
    fn more_intervals_than_an_answer_may_have_are_refused_before_anything_is_asked() {
        let from = at("2026-03-02T00:00:00Z");
        assert_eq!(cuts(from, from + TimeDelta::minutes(15 * 400), Grid::Quarter, Tz::UTC).unwrap().len(), 400);
        assert!(cuts(from, from + TimeDelta::minutes(15 * 400 + 1), Grid::Quarter, Tz::UTC).is_none());
        assert!(cuts(at("0001-01-01T00:00:00Z"), at("9999-12-31T23:59:59Z"), Grid::Day, Tz::UTC).is_none());
    }
}
