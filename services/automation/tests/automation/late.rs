//! Decisions that reach the log late, as those of an instance that froze between its look and its append, and decisions that the
//! truth has overtaken: what the folds make of them. ClickHouse's views are compared with the same fold, decisions included.

use helix_fold::{board::Board, settings::Settings, workspace::WorkspaceFold};
use helix_schemas::fact::Fact;
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use crate::{
    history::{Delivery, UNTIL, bounds_of, facts_of, held, history, holds, play, state_of},
    machine::Made,
    story::at,
};

/// Rows and board of a log.
pub fn folded(log: &[Fact]) -> (WorkspaceFold, Board) {
    let workspace = log[0].workspace.clone();
    let mut fold = WorkspaceFold::new(workspace.clone(), Settings::default());
    let mut board = Board::new(workspace, Settings::default());
    for (offset, fact) in (0..).zip(log) {
        fold.apply(fact, offset);
        board.apply(fact);
    }
    (fold, board)
}

/// The log with each decision where it was made, or later by a draw.
fn log_with(deliveries: &[Delivery], made: &[Made], mut later: impl FnMut(usize) -> usize) -> Vec<Fact> {
    let mut placed: Vec<(usize, &Fact)> = Vec::new();
    for made in made {
        let place = deliveries.partition_point(|delivery| at(delivery.second) <= made.now);
        placed.push((place + later(deliveries.len() - place + 1), &made.fact));
    }
    placed.sort_by_key(|(place, _)| *place);
    let mut placed = placed.into_iter().peekable();
    let mut log = Vec::new();
    for (place, delivery) in deliveries.iter().enumerate() {
        while let Some((_, fact)) = placed.next_if(|(at, _)| *at <= place) {
            log.push(fact.clone());
        }
        log.push(delivery.fact.clone());
    }
    log.extend(placed.map(|(_, fact)| fact.clone()));
    log
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 96, ..ProptestConfig::default() })]

    /// An instance may freeze between its look and its append for as long as it likes: once it is in the log, a decision says what
    /// it would have said at its time.
    #[test]
    fn a_decision_that_is_appended_late_comes_to_the_same_rows(seed: u64) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let deliveries = history(&mut random);
        let bounds = bounds_of(&mut random);
        let made = play(&deliveries, bounds, 0.5, UNTIL, &mut random);
        let (fold, _) = folded(&log_with(&deliveries, &made, |_| 0));
        for _ in 0..3 {
            let frozen = |below| if random.random_bool(0.5) { random.random_range(0..below) } else { 0 };
            let (late, _) = folded(&log_with(&deliveries, &made, frozen));
            prop_assert_eq!(late.rows().root(), fold.rows().root());
            prop_assert_eq!(late.rows().len(), fold.rows().len());
        }
    }

    /// Decisions that were made before the truth came leave no trace once it is there: neither in rows nor on the board.
    #[test]
    fn what_the_truth_overtakes_leaves_no_trace(seed: u64) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut deliveries = history(&mut random);
        let bounds = bounds_of(&mut random);
        // The truth comes late, by minutes and by hours; in the end all of it is there.
        for delivery in &mut deliveries {
            let most = if state_of(&delivery.fact).is_some() { 20_000 } else { 9_000 };
            if random.random_bool(0.15) {
                delivery.second += random.random_range(1..most);
            }
        }
        deliveries.sort_by_key(|delivery| delivery.second);
        let made = play(&deliveries, bounds, 0.5, UNTIL, &mut random);
        let facts = facts_of(&deliveries);
        let (void, true_still): (Vec<Made>, Vec<Made>) =
            made.iter().cloned().partition(|made| !holds(&held(&made.fact), &facts));
        let (with, board) = folded(&log_with(&deliveries, &made, |_| 0));
        let (without, meant) = folded(&log_with(&deliveries, &true_still, |_| 0));
        prop_assert_eq!(with.rows().root(), without.rows().root(), "{} void decisions", void.len());
        prop_assert_eq!(with.rows().len(), without.rows().len());
        prop_assert_eq!(board.root(), meant.root());
    }
}
