//! The engine against librdkafka's mock cluster and a store in memory that fails as stores do.

// What a helper of a test cannot make is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod store;

use std::{
    future::pending,
    time::{Duration, Instant},
};

use helix_runtime::{Engine, EngineConfig, EngineError, Membership};
use rdkafka::{
    ClientConfig,
    mocking::MockCluster,
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};
use store::{Fault, Memory, Shared};
use tokio::sync::oneshot;

const TOPIC: &str = "facts";
const PARTITIONS: i32 = 4;

struct World {
    // Kept: the cluster ends with it.
    _cluster: MockCluster<'static, DefaultProducerContext>,
    brokers: String,
    shared: Shared,
    produced: usize,
}

impl World {
    fn new() -> Self {
        let cluster = MockCluster::new(1).expect("a mock cluster");
        cluster.create_topic(TOPIC, PARTITIONS, 1).expect("a topic");
        let brokers = cluster.bootstrap_servers();
        Self { _cluster: cluster, brokers, shared: Shared::default(), produced: 0 }
    }

    /// Appends records to every partition in turn; their values are consecutive numbers a partition.
    fn produce(&mut self, count: usize) {
        let producer: ThreadedProducer<_> =
            ClientConfig::new().set("bootstrap.servers", &self.brokers).create().expect("a producer");
        for number in self.produced..self.produced + count {
            let partition = i32::try_from(number).expect("small") % PARTITIONS;
            let value = number.to_string();
            producer
                .send(BaseRecord::to(TOPIC).partition(partition).key("k").payload(&value))
                .map_err(|(error, _)| error)
                .expect("room in the queue");
        }
        producer.flush(Duration::from_secs(10)).expect("everything acknowledged");
        self.produced += count;
    }

    fn config(&self, membership: Membership) -> EngineConfig {
        EngineConfig {
            connection: vec![("bootstrap.servers".to_owned(), self.brokers.clone())],
            topic: TOPIC.to_owned(),
            group: "projector".to_owned(),
            instance: None,
            membership,
            batch_records: 7,
            batch_bytes: 1 << 20,
            batch_time: Duration::from_millis(20),
        }
    }

    fn start(&self, membership: Membership) -> Running {
        let engine = Engine::new(self.config(membership), Memory::new(self.shared.clone()));
        let (stop, stopped) = oneshot::channel::<()>();
        let ended = tokio::spawn(engine.run(async move {
            if stopped.await.is_err() {
                pending::<()>().await;
            }
        }));
        Running { stop, ended }
    }

    /// Waits until every produced record was applied, and checks that none was applied twice or out of order.
    async fn all_applied(&self) {
        self.shared.applied(self.produced, Duration::from_secs(30)).await;
        self.shared.check(PARTITIONS);
    }
}

struct Running {
    stop: oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<Result<(), EngineError>>,
}

impl Running {
    async fn stop(self) -> Result<(), EngineError> {
        self.stop.send(()).expect("the engine still runs");
        tokio::time::timeout(Duration::from_secs(20), self.ended).await.expect("it leaves in time").expect("no panic")
    }
}

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
    let ended = tokio::time::timeout(Duration::from_secs(20), old.ended).await.expect("it ends").expect("no panic");
    assert!(matches!(ended, Err(EngineError::Store { .. })), "{ended:?}");
    assert_eq!(world.shared.count(), 8, "a fenced instance writes nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fact_that_cannot_be_applied_stops_the_projector_and_is_not_skipped() {
    let mut world = World::new();
    world.shared.fail_next([Fault::Poison]);
    world.produce(8);
    let running = world.start(Membership::Group);
    let ended = tokio::time::timeout(Duration::from_secs(20), running.ended).await.expect("it ends").expect("no panic");
    assert!(matches!(ended, Err(EngineError::Store { .. })), "{ended:?}");
    assert_eq!(world.shared.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_does_not_wait_for_a_store_that_is_down() {
    let mut world = World::new();
    world.shared.fail_acquire(usize::MAX);
    world.produce(8);
    let running = world.start(Membership::Group);
    world.shared.asked(Duration::from_secs(20)).await;
    let begun = Instant::now();
    running.stop().await.expect("a clean end");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}
