//! A batch that takes too long is cut smaller, and nothing is parked for it.

use helix_runtime::Membership;

use crate::world::{PARTITIONS, PATIENCE, World};

/// As many as a batch has.
const BATCH: usize = 7;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_takes_only_small_batches_in_time_gets_small_ones_and_large_ones_when_it_is_quick_again() {
    let mut world = World::new();
    world.shared.in_time(Some(3));
    world.produce(100);
    let running = world.start(Membership::Group);
    world.all_applied().await;
    assert!(world.shared.parked().is_empty());
    assert!(world.shared.sizes().iter().any(|size| *size > 3), "{:?}", world.shared.sizes());
    world.shared.in_time(None);
    let small = world.shared.sizes().len();
    world.produce(400);
    world.all_applied().await;
    let sizes = world.shared.sizes();
    assert!(sizes[small..].iter().any(|size| *size >= BATCH), "{sizes:?}");
    running.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_record_that_takes_too_long_is_tried_until_it_does_not_and_what_is_held_is_left_to_the_next() {
    let mut world = World::new();
    world.shared.in_time(Some(0));
    world.produce(20);
    let running = world.start(Membership::Group);
    // Halved from seven or eight to one, and once more.
    world.shared.offered_times(5, PATIENCE).await;
    assert_eq!((world.shared.sizes()[3..5].to_vec(), world.shared.progress()), (vec![1, 1], 0));
    // Leaving does not wait for it: the next one reads it again.
    running.stop().await.expect("a clean end");
    assert!(world.shared.parked().is_empty());
    world.shared.in_time(None);
    let running = world.start(Membership::Group);
    world.all_applied().await;
    world.shared.check(PARTITIONS);
    running.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_all_to_be_parked_is_parked_in_small_batches_too() {
    let world = World::with(1);
    world.shared.cannot_apply(["bad"], crate::store::Words::Poison);
    let key = |value| (0, "two", value);
    world.append(&[key("bad")]);
    let running = world.start(Membership::All);
    world.shared.passed(1, PATIENCE).await;
    world.shared.in_time(Some(2));
    world.append(&["a"; 9].map(key));
    world.shared.passed(10, PATIENCE).await;
    assert_eq!((world.shared.parked().len(), world.shared.count()), (10, 0));
    running.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poison_record_is_found_and_parked_while_batches_are_kept_small() {
    for words in [crate::store::Words::Poison, crate::store::Words::Refused] {
        let world = World::with(1);
        world.shared.in_time(Some(2));
        world.shared.cannot_apply(["bad"], words);
        let records = [(0, "one", "a"), (0, "two", "bad"), (0, "one", "b"), (0, "two", "c"), (0, "one", "d")];
        world.append(&records);
        let running = world.start(Membership::All);
        world.shared.passed(records.len(), PATIENCE).await;
        assert_eq!(world.shared.values(0), ["a", "b", "d"]);
        assert_eq!(world.shared.parked().len(), 2);
        running.stop().await.expect("a clean end");
    }
}
