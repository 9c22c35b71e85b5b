//! The books: what became of the calls of a queue on a day (docs/rules.md, "Books").
//!
//! A call is in one place of the books: its queue, the workspace's local day of its start, and its outcome. A projector
//! takes a changed call's old entry out and puts its new one in, so the books cost nothing that grows with the day.
//! `offered` is counted by itself: that it equals the sum of the others is a check and not a definition.

use std::collections::BTreeMap;

use helix_schemas::names::WorkspaceId;

use crate::{
    call::{CallRow, Outcome},
    row::{Columns, Row},
    settings::{Settings, day_text},
};

/// A queue on a day.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueueDay {
    /// The skill; empty where the call names none.
    pub queue: String,
    /// The workspace's local day.
    pub day: i64,
}

/// Calls counted by outcome. As a change it may be negative.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Inbound calls that began.
    pub offered: i64,
    /// Of those, ended with an agent's answer.
    pub answered: i64,
    /// Ended unanswered, later than the short-abandon bound.
    pub missed: i64,
    /// Ended unanswered within the bound.
    pub short_abandoned: i64,
    /// Not ended yet.
    pub in_progress: i64,
}

impl Counts {
    /// Whether every offered call is in one of the others.
    #[must_use]
    pub const fn balance(&self) -> bool {
        self.offered == self.answered + self.missed + self.short_abandoned + self.in_progress
    }

    /// Adds other counts.
    pub const fn add(&mut self, other: &Self) {
        self.offered += other.offered;
        self.answered += other.answered;
        self.missed += other.missed;
        self.short_abandoned += other.short_abandoned;
        self.in_progress += other.in_progress;
    }

    /// Whether nothing is counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    const fn one(outcome: Outcome, sign: i64) -> Self {
        let mut counts = Self { offered: sign, answered: 0, missed: 0, short_abandoned: 0, in_progress: 0 };
        match outcome {
            Outcome::Answered => counts.answered = sign,
            Outcome::Missed => counts.missed = sign,
            Outcome::ShortAbandon => counts.short_abandoned = sign,
            Outcome::InProgress => counts.in_progress = sign,
            // Of outbound calls only.
            Outcome::NoAnswer => {}
        }
        counts
    }
}

/// The books of one workspace, or the change of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Books(BTreeMap<QueueDay, Counts>);

impl Books {
    /// Puts a call in.
    pub fn enter(&mut self, row: &CallRow, settings: &Settings) {
        self.book(row, settings, 1);
    }

    /// Takes a call out as it was entered.
    pub fn strike(&mut self, row: &CallRow, settings: &Settings) {
        self.book(row, settings, -1);
    }

    fn book(&mut self, row: &CallRow, settings: &Settings, sign: i64) {
        if !row.counts_as_inbound() {
            return;
        }
        let place = QueueDay { queue: row.skill.clone().unwrap_or_default(), day: settings.day_of(row.started_at) };
        let counts = self.0.entry(place.clone()).or_default();
        counts.add(&Counts::one(row.outcome, sign));
        if counts.is_empty() {
            self.0.remove(&place);
        }
    }

    /// Every queue and day with what is counted there, or by how much it changes; none that is empty.
    pub fn iter(&self) -> impl Iterator<Item = (&QueueDay, &Counts)> {
        self.0.iter()
    }

    /// As rows, by queue and day.
    #[must_use]
    pub fn rows(&self, workspace: &WorkspaceId) -> Vec<QueueDayRow> {
        let row = |(place, counts): (&QueueDay, &Counts)| QueueDayRow {
            workspace: workspace.clone(),
            place: place.clone(),
            counts: *counts,
        };
        self.0.iter().map(row).collect()
    }
}

/// A row of `read.queue_days`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueDayRow {
    /// The hospital.
    pub workspace: WorkspaceId,
    /// Queue and day.
    pub place: QueueDay,
    /// What is counted there.
    pub counts: Counts,
}

impl Row for QueueDayRow {
    const TABLE: &'static str = "queue_days";

    fn key(&self) -> String {
        format!("{}@{}", self.place.queue, day_text(self.place.day))
    }

    fn tell<C: Columns>(&self, to: &mut C) {
        to.text("workspace_id", Some(self.workspace.as_str()));
        to.text("queue", Some(&self.place.queue));
        to.day("day", self.place.day);
        to.int("offered", Some(self.counts.offered));
        to.int("answered", Some(self.counts.answered));
        to.int("missed", Some(self.counts.missed));
        to.int("short_abandoned", Some(self.counts.short_abandoned));
        to.int("in_progress", Some(self.counts.in_progress));
    }
}
