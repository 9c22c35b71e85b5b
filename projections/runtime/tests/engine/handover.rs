//! What becomes of that which is held when partitions go, and while the projection is paused.

use helix_runtime::{EngineError, Membership, Status};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::world::{PATIENCE, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_of_lost_partitions_is_dropped_and_read_again() {
    let mut world = World::new();
    world.produce(8);
    let running = world.start(Membership::Group);
    world.all_applied().await;
    world.shared.down(true);
    world.produce(40);
    running.until("records are held", |status| status.held() > 0).await;
    // The group says that it does not know this member any more.
    world.cluster.request_errors(RDKafkaApiKey::Heartbeat, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID]);
    running.until("they are dropped", |status| status.held() == 0).await;
    world.shared.down(false);
    world.all_applied().await;
    running.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_of_revoked_partitions_is_applied_first_and_once() {
    let mut world = World::new();
    world.produce(8);
    let first = world.start(Membership::Group);
    world.all_applied().await;
    // Records are at hand in the client when the second instance asks for its share: those that the first holds by then
    // are applied by it, the others by whoever gets them.
    world.shared.hang(true);
    world.produce(400);
    let second = world.start(Membership::Group);
    first.until("a batch is on its way", |status| status.held() > 0).await;
    world.shared.hang(false);
    second.until("partitions are shared", |status| !status.partitions().is_empty()).await;
    world.all_applied().await;
    first.stop().await.expect("a clean end");
    second.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_applies_what_is_held_but_not_while_the_projection_is_paused() {
    let mut world = World::new();
    world.shared.pause(true);
    world.produce(40);
    let running = world.start(Membership::Group);
    running.until("it is paused with partitions", |status| status.paused() && !status.partitions().is_empty()).await;
    running.until("it sees what waits", |status| status.lag(0).is_some_and(|lag| lag.facts == 40)).await;
    assert_eq!(running.status.trouble(), None, "to be paused is no trouble");
    running.stop().await.expect("a clean end");
    assert_eq!((world.shared.count(), world.shared.offered().0), (0, 0), "a paused projection applies nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_projection_keeps_its_partitions_and_goes_on_when_it_is_told() {
    for membership in [Membership::Group, Membership::All] {
        let mut world = World::new();
        world.produce(8);
        let running = world.start(membership);
        world.all_applied().await;
        world.shared.pause(true);
        running.until("it is paused", Status::paused).await;
        let (offered, _) = world.shared.offered();
        world.produce(40);
        running.until("it sees what waits", |status| status.lag(0).is_some_and(|lag| lag.facts == 40)).await;
        assert_eq!(running.status.partitions().len(), 4);
        assert_eq!(world.shared.offered().0, offered);
        world.shared.pause(false);
        world.all_applied().await;
        assert!(!running.status.paused());
        running.stop().await.expect("a clean end");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_that_comes_with_a_rebalance_while_a_batch_is_tried_again_ends_when_it_is_told() {
    let mut world = World::new();
    world.produce(8);
    let first = world.start(Membership::Group);
    world.all_applied().await;
    world.shared.down(true);
    world.produce(40);
    first.until("records are held", |status| status.held() > 0).await;
    world.shared.pause(true);
    let second = world.start(Membership::Group);
    second.until("it has a part, paused", |status| status.paused() && !status.partitions().is_empty()).await;
    first.until("it is paused", Status::paused).await;
    world.shared.down(false);
    world.shared.pause(false);
    world.all_applied().await;
    assert!(!first.status.paused() && !second.status.paused());
    first.stop().await.expect("a clean end");
    second.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_is_heard_and_ends_while_a_batch_is_tried_again() {
    let mut world = World::new();
    world.produce(8);
    let running = world.start(Membership::All);
    world.all_applied().await;
    world.shared.down(true);
    world.produce(40);
    running.until("records are held", |status| status.held() > 0).await;
    world.shared.pause(true);
    running.until("it is paused", Status::paused).await;
    world.shared.down(false);
    world.shared.pause(false);
    world.all_applied().await;
    running.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_shares_out_while_the_store_answers_no_member() {
    let mut world = World::new();
    world.shared.fail_acquire(usize::MAX);
    world.produce(8);
    let first = world.start(Membership::Group);
    world.shared.asked(PATIENCE).await;
    // The second gets its part of what the first waits with.
    let second = world.start(Membership::Group);
    world.shared.asked_for_in_two_parts(4, 2 * PATIENCE).await;
    world.shared.fail_acquire(0);
    world.all_applied().await;
    first.stop().await.expect("a clean end");
    second.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_flat_while_the_store_does_not_answer() {
    let mut world = World::new();
    world.shared.down(true);
    world.produce(5_000);
    let running = world.start(Membership::Group);
    world.shared.offered_times(4, PATIENCE).await;
    // A batch, and what the client had handed out before it was paused.
    assert!(running.status.held() <= 14, "{} records are held", running.status.held());
    world.shared.down(false);
    world.all_applied().await;
    assert!(world.shared.offered().1 <= 14, "{:?}", world.shared.offered());
    running.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_begins_after_our_progress_stops_the_projector() {
    let world = World::with(1);
    // The mock broker keeps 5 MiB of a partition.
    let value = "x".repeat(100_000);
    let records: Vec<(i32, &str, &str)> = (0..80).map(|_| (0, "k", value.as_str())).collect();
    world.append(&records);
    let error = world.start(Membership::Group).failed().await;
    assert!(matches!(error, EngineError::LogStartPassed { .. }), "{error}");
    assert_eq!(world.shared.count(), 0, "nothing is jumped over");
}
