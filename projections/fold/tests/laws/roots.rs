//! Roots: order-free, reversible, and different for different rows.

use helix_fold::{root::Root, settings::Settings, workspace::WorkspaceFold};
use helix_schemas::fact::Fact;
use proptest::prelude::*;

use crate::facts::{a_history, workspace};

fn fold(history: &[Fact]) -> WorkspaceFold {
    let mut fold = WorkspaceFold::new(workspace(), Settings::default());
    for (arrival, fact) in (0_i64..).zip(history) {
        fold.apply(fact, arrival);
    }
    fold
}

proptest! {
    #[test]
    fn rows_may_be_added_and_taken_away_in_any_order(history in a_history()) {
        let rows = fold(&history).rows();
        let mut root = rows.root();
        rows.calls.iter().rev().for_each(|row| root.subtract(row));
        rows.missed_calls.iter().for_each(|row| root.subtract(row));
        rows.intervals.iter().rev().for_each(|row| root.subtract(row));
        rows.agents.iter().for_each(|row| root.subtract(row));
        prop_assert!(root.is_empty());
        prop_assert_eq!(Root::from_bytes(&rows.root().to_bytes()), Some(rows.root()));
    }

    #[test]
    fn a_changed_row_is_noticed(history in a_history(), which in any::<prop::sample::Index>()) {
        let mut rows = fold(&history).rows();
        prop_assume!(!rows.calls.is_empty());
        let before = rows.root();
        let index = which.index(rows.calls.len());
        rows.calls[index].wait_seconds = Some(rows.calls[index].wait_seconds.unwrap_or(0) + 1);
        prop_assert_ne!(before, rows.root());
    }

}
