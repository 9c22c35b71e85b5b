//! The books balance, and a check that counts them afresh finds what does not.

use helix_postgres::check_books;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use sqlx::Executor as _;

use crate::{
    random::history,
    story::{World, missed_call},
};

#[tokio::test]
async fn the_books_of_any_history_balance_after_every_batch() {
    for seed in 0..6 {
        println!("seed {seed}");
        let mut world = World::new().await;
        let facts = history(&mut ChaCha8Rng::seed_from_u64(seed));
        for part in facts.chunks(25) {
            world.tell(part.to_vec()).await;
            let check = check_books(&world.pool, &world.settings, None).await.unwrap();
            assert_eq!(check.differences(), 0, "{check:?}");
        }
        let check = check_books(&world.pool, &world.settings, None).await.unwrap();
        assert!(check.queue_days > 0);
    }
}

#[tokio::test]
async fn a_tampered_row_of_the_books_or_of_the_calls_is_found() {
    let mut world = World::new().await;
    world.tell((0..3).flat_map(|number| missed_call(number * 100, &format!("c{number}"), "919000000001"))).await;
    let mut administrator = world.database.administrator().await;
    let check = async || check_books(&world.pool, &world.settings, None).await.unwrap();
    assert_eq!(check().await.differences(), 0);

    administrator.execute("update read.queue_days set missed = missed + 1").await.unwrap();
    let found = check().await;
    assert_eq!(found.books.len(), 1);
    let row = &found.books[0];
    assert_eq!((row.workspace.as_str(), row.queue.as_str(), row.day.as_str()), ("ramaiah", "front desk", "2025-10-09"));
    assert_eq!((row.stored, row.counted), ([3, 0, 4, 0, 0], [3, 0, 3, 0, 0]));
    administrator.execute("update read.queue_days set missed = missed - 1").await.unwrap();

    administrator.execute("update read.calls set outcome = 'answered' where call_id = 'c1'").await.unwrap();
    let found = check().await;
    assert_eq!((found.books.len(), found.obligations.len()), (1, 1));
    assert_eq!((found.obligations[0].call.as_str(), found.obligations[0].missed), ("c1", false));
    administrator.execute("update read.calls set outcome = 'missed' where call_id = 'c1'").await.unwrap();

    administrator.execute("delete from read.missed_calls where call_id = 'c2'").await.unwrap();
    let found = check().await;
    assert_eq!((found.books.len(), found.obligations.len()), (0, 1));
    assert_eq!((found.obligations[0].call.as_str(), found.obligations[0].missed), ("c2", true));
    administrator.execute("delete from read.queue_days").await.unwrap();
    assert_eq!(check().await.books.len(), 1);
}

#[tokio::test]
async fn a_check_of_the_last_days_passes_over_what_is_older() {
    let mut world = World::new().await;
    world.tell(missed_call(0, "old", "919000000001")).await;
    let days = (std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() / 86_400)
        .saturating_sub(u64::try_from(crate::story::EPOCH_MILLIS / 86_400_000).unwrap());
    let days = u32::try_from(days).unwrap();
    let mut administrator = world.database.administrator().await;
    administrator.execute("update read.queue_days set missed = 7; delete from read.missed_calls").await.unwrap();
    let recent = check_books(&world.pool, &world.settings, Some(days - 3)).await.unwrap();
    assert_eq!((recent.queue_days, recent.differences()), (0, 0));
    let reaching = check_books(&world.pool, &world.settings, Some(days + 3)).await.unwrap();
    assert_eq!((reaching.queue_days, reaching.differences()), (1, 2));
}
