//! How far the read models in Postgres are behind the board: both say which record of each partition they read next, so that
//! no clock and no log is needed.
//!
//! The board's progress is read and waited for: once Postgres has passed it, the read models were even with the board at the
//! moment of reading. A board that does not move is passed at once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use helix_live::BoardReader;
use tokio::time::sleep;

use crate::{
    database::Database,
    freshness::{Freshness, LOOK},
};

/// Topic and partition to the offset that is read next.
type Progress = BTreeMap<(String, i32), i64>;

/// Tells `freshness` each time the read models have caught up with the board, for as long as it is polled.
pub(crate) async fn watch(reader: BoardReader, database: Database, freshness: Arc<Mutex<Freshness>>) {
    loop {
        if let Ok(mut connection) = reader.connect().await {
            while let Ok(board) = reader.progress(&mut connection).await {
                let at = Instant::now();
                until_passed(&database, &board).await;
                freshness.lock().unwrap_or_else(PoisonError::into_inner).records_even(at);
                sleep(LOOK).await;
            }
        }
        sleep(LOOK).await;
    }
}

async fn until_passed(database: &Database, board: &Progress) {
    loop {
        if let Ok(records) = database.progress().await
            && has_passed(&records, board)
        {
            return;
        }
        sleep(LOOK).await;
    }
}

/// A partition of which nothing was read yet may be missing.
fn has_passed(records: &Progress, board: &Progress) -> bool {
    board.iter().all(|(slice, next)| *next <= records.get(slice).copied().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(slices: &[(i32, i64)]) -> Progress {
        slices.iter().map(|(partition, next)| (("facts".to_owned(), *partition), *next)).collect()
    }

    #[test]
    fn the_read_models_are_even_once_every_partition_is() {
        let board = progress(&[(0, 10), (1, 0), (2, 7)]);
        assert!(has_passed(&progress(&[(0, 10), (2, 9)]), &board));
        assert!(!has_passed(&progress(&[(0, 10), (1, 5), (2, 6)]), &board));
        assert!(!has_passed(&progress(&[]), &board));
        assert!(has_passed(&progress(&[]), &progress(&[])));
    }
}
