//! Roots: order-free, reversible, and different for different rows; and nothing in them of another workspace.

use helix_fold::{
    root::Root,
    row::Row,
    settings::Settings,
    workspace::{Rows, WorkspaceFold},
};
use helix_schemas::{fact::Fact, names::WorkspaceId};
use proptest::prelude::*;

use crate::facts::{a_history, workspace};

fn fold(history: &[Fact]) -> WorkspaceFold {
    let mut fold = WorkspaceFold::new(workspace(), Settings::default());
    for (arrival, fact) in (0_i64..).zip(history) {
        fold.apply(fact, arrival);
    }
    fold
}

fn subtract<R: Row>(root: &mut Root, rows: &[R]) {
    rows.iter().rev().for_each(|row| root.subtract(row));
}

fn canonical(rows: &Rows) -> Vec<Vec<u8>> {
    fn of<R: Row>(rows: &[R]) -> impl Iterator<Item = Vec<u8>> + '_ {
        rows.iter().map(Row::canonical)
    }
    let agents = of(&rows.agents).chain(of(&rows.intervals));
    agents
        .chain(of(&rows.calls))
        .chain(of(&rows.legs))
        .chain(of(&rows.missed_calls))
        .chain(of(&rows.queue_days))
        .collect()
}

proptest! {
    #[test]
    fn rows_may_be_added_and_taken_away_in_any_order(history in a_history()) {
        let rows = fold(&history).rows();
        let mut root = rows.root();
        subtract(&mut root, &rows.queue_days);
        subtract(&mut root, &rows.calls);
        subtract(&mut root, &rows.missed_calls);
        subtract(&mut root, &rows.intervals);
        subtract(&mut root, &rows.legs);
        subtract(&mut root, &rows.agents);
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

    #[test]
    fn no_two_rows_have_the_same_bytes(history in a_history()) {
        let rows = fold(&history).rows();
        let mut bytes = canonical(&rows);
        prop_assert_eq!(bytes.len(), rows.len());
        bytes.sort();
        bytes.dedup();
        prop_assert_eq!(bytes.len(), rows.len());
    }

    #[test]
    fn facts_of_another_workspace_change_nothing(history in a_history(), of_other in prop::collection::vec(any::<bool>(), 120)) {
        let mut mixed = history.clone();
        for (fact, other) in mixed.iter_mut().zip(of_other) {
            if other {
                fact.workspace = WorkspaceId::new("global").unwrap();
            }
        }
        let own: Vec<Fact> = mixed.iter().filter(|fact| fact.workspace == workspace()).cloned().collect();
        prop_assert_eq!(fold(&mixed).rows().root(), fold(&own).rows().root());
    }
}
