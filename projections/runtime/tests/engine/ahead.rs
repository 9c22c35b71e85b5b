//! What is read while a batch is being applied, and what becomes of it.

use helix_runtime::Membership;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::{
    store::{Fault, Words},
    world::{PARTITIONS, PATIENCE, Running, World},
};

/// As many as a batch has.
const BATCH: usize = 7;

/// A store that is busy with a first batch while a whole second one has been read, of far more records that lie there.
async fn busy(world: &mut World) -> Running {
    world.shared.hang(true);
    world.produce(400);
    let running = world.start(Membership::Group);
    world.shared.prepared_are(BATCH, PATIENCE).await;
    assert_eq!((world.shared.count(), world.shared.offered().0), (0, 1), "one batch is being applied");
    running
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_batch_is_read_ahead_and_no_more_and_flows_with_what_was_prepared() {
    let mut world = World::new();
    let running = busy(&mut world).await;
    assert_eq!(world.shared.prepared(), BATCH);
    world.shared.hang(false);
    world.all_applied().await;
    // The next batch is the one that was read, and at most the record with which the loop found it due.
    assert!(world.shared.offered().1 <= BATCH + 1, "{:?}", world.shared.offered());
    running.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_store_is_as_slow_as_reading_most_records_are_read_ahead() {
    let mut world = World::new();
    world.shared.slow_as_reading(BATCH, 400);
    world.produce(400);
    let running = world.start(Membership::Group);
    world.all_applied().await;
    let (prepared, unprepared) = world.shared.came();
    assert_eq!(prepared + unprepared, 400, "each came once");
    // The first batches of all partitions, and of each further one the record with which the loop found it due.
    assert!(prepared >= 400 * 3 / 4, "{prepared} of 400 were read ahead");
    running.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_ahead_is_dropped_with_a_fence_and_read_again() {
    let mut world = World::new();
    let running = busy(&mut world).await;
    world.shared.raise_epochs();
    world.shared.hang(false);
    world.all_applied().await;
    running.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_ahead_of_lost_partitions_is_dropped_and_read_again() {
    let mut world = World::new();
    let running = busy(&mut world).await;
    // The group says that it does not know this member any more.
    world.cluster.request_errors(RDKafkaApiKey::Heartbeat, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID]);
    world.shared.hang(false);
    world.all_applied().await;
    running.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_ahead_of_revoked_partitions_is_applied_first_and_once() {
    let mut world = World::new();
    let first = busy(&mut world).await;
    let second = world.start(Membership::Group);
    world.shared.hang(false);
    second.until("partitions are shared", |status| !status.partitions().is_empty()).await;
    world.all_applied().await;
    first.stop().await.expect("a clean end");
    second.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_ahead_of_a_batch_that_was_not_taken_follows_it() {
    for fault in [Fault::Unavailable, Fault::AnswerLost] {
        let mut world = World::new();
        world.shared.fail_next([fault]);
        let running = busy(&mut world).await;
        world.shared.hang(false);
        world.all_applied().await;
        // Tried again with what was read behind it, and with no more than that.
        assert!(world.shared.offered().1 <= 2 * BATCH + 1, "{:?}", world.shared.offered());
        running.stop().await.expect("a clean end");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_is_parked_parks_what_was_read_ahead_of_its_key() {
    for words in [Words::Poison, Words::Refused] {
        let world = World::with(1);
        world.shared.cannot_apply(["bad"], words);
        world.shared.hang(true);
        let mut records = vec![(0, "one", "a"), (0, "two", "bad"), (0, "one", "b")];
        records.extend([(0, "two", "behind"), (0, "one", "c")].repeat(BATCH));
        world.append(&records);
        let running = world.start(Membership::All);
        world.shared.prepared_are(BATCH, PATIENCE).await;
        world.shared.hang(false);
        world.shared.passed(records.len(), PATIENCE).await;
        let expected: Vec<&str> = ["a", "b"].into_iter().chain(["c"; BATCH]).collect();
        assert_eq!(world.shared.values(0), expected);
        assert_eq!(world.shared.parked().len(), 1 + BATCH);
        running.stop().await.expect("a clean end");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_applies_what_was_read_ahead() {
    let mut world = World::new();
    let running = busy(&mut world).await;
    let leaving = running.stop();
    world.shared.hang(false);
    leaving.await.expect("a clean end");
    assert!(world.shared.count() > BATCH, "{} records are applied", world.shared.count());
    world.shared.check(PARTITIONS);
}
