//! Records flow once and in order, whatever the store and the group do.

use helix_runtime::{EngineError, Membership};

use crate::{
    store::Fault,
    world::{PATIENCE, World},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_record_is_applied_once_in_the_order_of_its_partition() {
    let mut world = World::new();
    world.produce(100);
    let running = world.start(Membership::Group);
    world.all_applied().await;
    world.produce(50);
    world.all_applied().await;
    running.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_takes_every_partition_reads_on_from_the_stores_progress() {
    let mut world = World::new();
    world.produce(40);
    let first = world.start(Membership::All);
    world.all_applied().await;
    first.stop().await.expect("a clean end");
    world.produce(40);
    let second = world.start(Membership::All);
    world.all_applied().await;
    second.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_down_for_a_while_loses_nothing() {
    let mut world = World::new();
    world.shared.fail_acquire(2);
    world.shared.fail_next([Fault::Unavailable, Fault::Unavailable, Fault::Unavailable]);
    world.produce(60);
    let running = world.start(Membership::Group);
    world.all_applied().await;
    world.shared.fail_next([Fault::Unavailable]);
    world.produce(20);
    world.all_applied().await;
    running.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_applied_once_and_the_partitions_flow_on() {
    let mut world = World::new();
    world.produce(40);
    let running = world.start(Membership::Group);
    world.all_applied().await;
    // Written, but the answer says otherwise: tried again, fenced by its own progress, read anew.
    world.shared.fail_next([Fault::AnswerLost]);
    world.produce(40);
    world.all_applied().await;
    // The partitions were paused while it was tried again; they must not have stayed so.
    world.produce(40);
    world.all_applied().await;
    running.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_were_thrown_away_are_built_again_without_a_new_record() {
    let mut world = World::new();
    world.produce(40);
    let running = world.start(Membership::Group);
    world.all_applied().await;
    world.shared.reset();
    world.all_applied().await;
    running.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_instance_shares_the_partitions_and_takes_over_when_the_first_leaves() {
    let mut world = World::new();
    world.produce(40);
    let first = world.start(Membership::Group);
    world.all_applied().await;
    let second = world.start(Membership::Group);
    for _ in 0..5 {
        world.produce(40);
        world.all_applied().await;
    }
    first.stop().await.expect("a clean end");
    world.produce(40);
    world.all_applied().await;
    second.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_was_fenced_stops_where_it_takes_every_partition() {
    let mut world = World::new();
    world.produce(8);
    let old = world.start(Membership::All);
    world.all_applied().await;
    world.shared.raise_epochs();
    world.produce(8);
    let ended = tokio::time::timeout(PATIENCE, old.ended).await.expect("it ends").expect("no panic");
    assert!(matches!(ended, Err(EngineError::Store { .. })), "{ended:?}");
    assert_eq!(world.shared.count(), 8, "a fenced instance writes nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_does_not_wait_for_a_store_that_is_down() {
    let mut world = World::new();
    world.shared.fail_acquire(usize::MAX);
    world.produce(8);
    let running = world.start(Membership::Group);
    world.shared.asked(PATIENCE).await;
    // The store never comes back: whoever waited for it would not end.
    running.stop().await.expect("a clean end");
}
