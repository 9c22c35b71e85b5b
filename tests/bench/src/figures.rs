//! From runs to figures: median, spread, ratio to the floor; the file of the contract and a table to read.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::json;

use crate::environment::Environment;

/// What was measured, once a run.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    name: String,
    runs: Vec<f64>,
}

impl Series {
    /// A name and a value for each run.
    pub(crate) fn new(name: impl Into<String>, runs: impl IntoIterator<Item = f64>) -> Self {
        Self { name: name.into(), runs: runs.into_iter().collect() }
    }

    /// The middle run; between two, their mean.
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.runs.clone();
        sorted.sort_by(f64::total_cmp);
        let upper = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
        let lower = sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or_default();
        f64::midpoint(lower, upper)
    }

    /// How far apart the runs are: greatest less least, over the median.
    pub(crate) fn spread(&self) -> f64 {
        let greatest = self.runs.iter().copied().fold(f64::MIN, f64::max);
        let least = self.runs.iter().copied().fold(f64::MAX, f64::min);
        let median = self.median();
        if median > 0.0 { (greatest - least) / median } else { 0.0 }
    }
}

/// What a ratio must be, or a value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    /// Of costs.
    AtMost(f64),
    /// Of rates.
    AtLeast(f64),
    /// What the value itself must stay below, in its own unit.
    ValueBelow(f64),
}

impl Target {
    /// `None` where it asks for a ratio and there is none.
    fn is_met(self, value: f64, ratio: Option<f64>) -> Option<bool> {
        match self {
            Self::AtMost(bound) => ratio.map(|ratio| ratio <= bound),
            Self::AtLeast(bound) => ratio.map(|ratio| ratio >= bound),
            Self::ValueBelow(bound) => Some(value < bound),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtMost(bound) => write!(f, "<= {bound}"),
            Self::AtLeast(bound) => write!(f, ">= {bound}"),
            Self::ValueBelow(bound) => write!(f, "value < {bound}"),
        }
    }
}

/// A series, and the floor it is held against.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    pub(crate) subject: Series,
    pub(crate) unit: &'static str,
    pub(crate) floor: Option<Series>,
    /// What is asked for (design.md section 16).
    pub(crate) target: Option<Target>,
    /// Events a second that were offered; 0 where nothing was paced.
    pub(crate) rate: u64,
}

/// A line of the file. The first nine are the contract's.
#[derive(Debug, Serialize)]
struct Line<'a> {
    name: &'a str,
    value: f64,
    unit: &'a str,
    floor_name: Option<&'a str>,
    floor_value: Option<f64>,
    ratio: Option<f64>,
    runs: usize,
    spread: f64,
    environment: &'a Environment,
    floor_spread: Option<f64>,
    target: Option<Target>,
    rate_per_second: u64,
    seconds: u64,
}

/// Three digits behind the point are more than any of these is good for.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

impl Figure {
    fn ratio(&self) -> Option<f64> {
        let floor = self.floor.as_ref()?.median();
        (floor > 0.0).then(|| self.subject.median() / floor)
    }

    fn line<'a>(&'a self, environment: &'a Environment, seconds: u64) -> Line<'a> {
        Line {
            name: &self.subject.name,
            value: rounded(self.subject.median()),
            unit: self.unit,
            floor_name: self.floor.as_ref().map(|floor| floor.name.as_str()),
            floor_value: self.floor.as_ref().map(|floor| rounded(floor.median())),
            ratio: self.ratio().map(rounded),
            runs: self.subject.runs.len(),
            spread: rounded(self.subject.spread()),
            environment,
            floor_spread: self.floor.as_ref().map(|floor| rounded(floor.spread())),
            target: self.target,
            rate_per_second: self.rate,
            seconds,
        }
    }

    fn verdict(&self) -> &'static str {
        match self.target.and_then(|target| target.is_met(self.subject.median(), self.ratio())) {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        }
    }
}

/// Writes the file of the contract anew.
pub(crate) fn write(path: &Path, figures: &[Figure], environment: &Environment, seconds: u64) -> Result<()> {
    put(path, String::new(), figures, environment, seconds)
}

/// Adds to the file of the contract; a figure that is in it already is replaced.
pub(crate) fn append(path: &Path, figures: &[Figure], environment: &Environment, seconds: u64) -> Result<()> {
    let held = if path.exists() { fs::read_to_string(path)? } else { String::new() };
    let named = |line: &&str| {
        let name: Option<String> = serde_json::from_str::<serde_json::Value>(line)
            .ok()
            .and_then(|value| Some(value.get("name")?.as_str()?.to_owned()));
        !figures.iter().any(|figure| name.as_ref() == Some(&figure.subject.name))
    };
    let kept: String = held.lines().filter(named).map(|line| format!("{line}\n")).collect();
    put(path, kept, figures, environment, seconds)
}

fn put(path: &Path, mut text: String, figures: &[Figure], environment: &Environment, seconds: u64) -> Result<()> {
    for figure in figures {
        text.push_str(&serde_json::to_string(&figure.line(environment, seconds))?);
        text.push('\n');
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text).with_context(|| path.display().to_string())
}

/// A table for people.
pub(crate) fn table(figures: &[Figure], environment: &Environment) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let mut row = |cells: [&str; 8]| {
        let [name, rate, value, spread, floor, floor_spread, ratio, verdict] = cells;
        let _infallible = writeln!(
            text,
            "{name:<42} {rate:>6} {value:>12} {spread:>7} {floor:>12} {floor_spread:>7} {ratio:>7}  {verdict}"
        );
    };
    row(["figure", "rate/s", "median", "spread", "floor", "spread", "ratio", "target"]);
    for figure in figures {
        let with_unit = |value: f64| format!("{value:.2} {}", figure.unit);
        let share = |value: f64| format!("{:.0}%", value * 100.0);
        let target = figure.target.map(|target| format!("{target} {}", figure.verdict())).unwrap_or_default();
        row([
            &figure.subject.name,
            &figure.rate.to_string(),
            &with_unit(figure.subject.median()),
            &share(figure.subject.spread()),
            &figure.floor.as_ref().map(|floor| with_unit(floor.median())).unwrap_or_default(),
            &figure.floor.as_ref().map(|floor| share(floor.spread())).unwrap_or_default(),
            &figure.ratio().map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
            &target,
        ]);
    }
    let _infallible = writeln!(text, "\n{}", json!(environment));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_lies_in_the_middle_and_a_spread_is_its_share() {
        let three = Series::new("three", [9.0, 10.0, 12.0]);
        assert_eq!((three.median(), three.spread()), (10.0, 0.3));
        assert_eq!(Series::new("two", [1.0, 3.0]).median(), 2.0);
        assert_eq!(Series::new("none", []).median(), 0.0);
    }

    #[test]
    fn a_target_is_met_by_its_ratio_or_by_its_value() {
        let figure = |value: f64, floor: Option<f64>, target| Figure {
            subject: Series::new("subject", [value]),
            unit: "ms",
            floor: floor.map(|floor| Series::new("floor", [floor])),
            target,
            rate: 0,
        };
        let verdict = |value, floor, target| figure(value, floor, Some(target)).verdict();
        assert_eq!(verdict(3.0, Some(2.0), Target::AtMost(1.5)), "met");
        assert_eq!(verdict(3.1, Some(2.0), Target::AtMost(1.5)), "MISSED");
        assert_eq!(verdict(1.0, Some(2.0), Target::AtLeast(0.6)), "MISSED");
        assert_eq!(verdict(1.0, None, Target::AtMost(1.5)), "");
        assert_eq!(verdict(49.9, None, Target::ValueBelow(50.0)), "met");
        assert_eq!(verdict(50.0, Some(90.0), Target::ValueBelow(50.0)), "MISSED");
        assert_eq!(figure(1.0, Some(1.0), None).verdict(), "");
    }
}
