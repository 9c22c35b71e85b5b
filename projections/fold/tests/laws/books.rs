//! Books: they balance at every offset for every queue, and what is kept up call by call is what a recount finds.

use std::collections::BTreeMap;

use helix_fold::{
    books::{Books, Counts, QueueDay, QueueDayRow},
    call::{CallRow, CallState, Outcome},
    settings::Settings,
};
use helix_schemas::{
    fact::{CallParty, Direction, Fact},
    names::CallId,
};
use proptest::prelude::*;

use crate::facts::{a_history, ended, party, rang, slowed, workspace};

#[derive(Default)]
struct Kept {
    calls: BTreeMap<CallId, CallState>,
    books: Books,
}

impl Kept {
    fn row(&self, call: &CallId) -> Option<CallRow> {
        self.calls.get(call)?.row(&workspace(), call, &Settings::default())
    }

    fn apply(&mut self, fact: &Fact) {
        let Some(call) = fact.call.as_ref().filter(|_| CallState::concerns(fact)) else { return };
        if let Some(before) = self.row(call) {
            self.books.strike(&before, &Settings::default());
        }
        self.calls.entry(call.clone()).or_default().apply(fact);
        if let Some(after) = self.row(call) {
            self.books.enter(&after, &Settings::default());
        }
    }

    /// By asking every call.
    fn recount(&self) -> BTreeMap<QueueDay, Counts> {
        let settings = Settings::default();
        let mut counts: BTreeMap<QueueDay, Counts> = BTreeMap::new();
        for row in self.calls.keys().filter_map(|call| self.row(call)) {
            if row.direction == Some(Direction::Outbound) {
                continue;
            }
            let place = QueueDay { queue: row.skill.clone().unwrap_or_default(), day: settings.day_of(row.started_at) };
            let counts = counts.entry(place).or_default();
            counts.offered += 1;
            counts.answered += i64::from(row.outcome == Outcome::Answered);
            counts.missed += i64::from(row.outcome == Outcome::Missed);
            counts.short_abandoned += i64::from(row.outcome == Outcome::ShortAbandon);
            counts.in_progress += i64::from(row.outcome == Outcome::InProgress);
        }
        counts
    }
}

/// The pace of a history of a minute or so: as it is, over two days, over a week.
fn a_pace() -> impl Strategy<Value = i64> {
    prop::sample::select(vec![1, 2_400, 10_000])
}

proptest! {
    #[test]
    fn the_books_balance_at_every_offset_for_every_queue_and_day(history in a_history(), pace in a_pace()) {
        let history = slowed(history, pace);
        let mut kept = Kept::default();
        for fact in &history {
            kept.apply(fact);
            let counted: BTreeMap<QueueDay, Counts> =
                kept.books.iter().map(|(place, counts)| (place.clone(), *counts)).collect();
            prop_assert_eq!(&counted, &kept.recount());
            for counts in counted.values() {
                prop_assert!(counts.balance(), "{counts:?}");
            }
        }
    }
}

#[test]
fn a_call_that_turns_out_to_have_begun_the_day_before_changes_days_and_leaves_nothing_behind() {
    let mut kept = Kept::default();
    // The second 0 of these tests is a midnight in UTC; in Kolkata the day begins at 18:30.
    let midnight = 18 * 3600 + 1800;
    kept.apply(&ended(None, 1, midnight + 5, party(Direction::Inbound, "919000000001")));
    let days = |kept: &Kept| -> Vec<i64> {
        kept.books.rows(&workspace()).into_iter().map(|row: QueueDayRow| row.place.day).collect()
    };
    let [day] = days(&kept)[..] else { panic!("one day") };
    kept.apply(&rang(None, 1, midnight - 20, party(Direction::Inbound, "919000000001")));
    assert_eq!(days(&kept), [day - 1]);
}

#[test]
fn a_call_that_learns_its_skill_changes_queues_and_leaves_nothing_behind() {
    let nameless = party(Direction::Inbound, "919000000001");
    let skilled = CallParty { skill: Some("front desk".into()), ..nameless.clone() };
    let mut kept = Kept::default();
    kept.apply(&rang(None, 1, 0, nameless));
    let queues = |kept: &Kept| -> Vec<String> {
        kept.books.rows(&workspace()).into_iter().map(|row: QueueDayRow| row.place.queue).collect()
    };
    assert_eq!(queues(&kept), [""]);
    kept.apply(&ended(None, 1, 40, skilled));
    assert_eq!(queues(&kept), ["front desk"]);
    assert_eq!(kept.books.rows(&workspace())[0].counts.missed, 1);
}
