//! Projectors with an engine: two of one board, of which the newer has it, and the older stands by and takes it back when the newer
//! is gone; and one whose broker is gone.

use std::time::{Duration, Instant};

use helix_fold::settings::Settings;
use helix_live::{BoardReader, Decoder, run};
use helix_runtime::{EngineConfig, Membership, PARK_LIMIT, Watch};
use helix_schemas::{
    fact::{AgentState, Fact},
    topics,
};
use rdkafka::{
    ClientConfig,
    mocking::MockCluster,
    producer::{BaseRecord, DefaultProducerContext, ThreadedProducer},
};
use tokio::{sync::watch, task::JoinHandle};

use crate::support::{Facts, TestRedis, codec};

/// A broker with one partition, and a Redis.
pub struct World {
    cluster: MockCluster<'static, DefaultProducerContext>,
    producer: ThreadedProducer<DefaultProducerContext>,
    pub redis: TestRedis,
}

impl World {
    pub fn new() -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(topics::FACTS, 1, 1).unwrap();
        let producer = ClientConfig::new().set("bootstrap.servers", cluster.bootstrap_servers()).create().unwrap();
        Self { cluster, producer, redis: TestRedis::start() }
    }

    pub fn append(&self, fact: &Fact) {
        let (key, value) = (fact.key(), codec().encode(fact).unwrap());
        let record = BaseRecord::to(topics::FACTS).key(&key).payload(&value);
        self.producer.send(record).map_err(|(error, _)| error).unwrap();
    }

    pub fn start(&self) -> (watch::Sender<bool>, JoinHandle<()>) {
        let config = EngineConfig {
            connection: vec![("bootstrap.servers".to_owned(), self.cluster.bootstrap_servers())],
            topic: topics::FACTS.to_owned(),
            group: "helix-live-ramaiah".to_owned(),
            instance: None,
            membership: Membership::All,
            batch_records: 16,
            batch_bytes: 1 << 20,
            batch_time: Duration::from_millis(5),
            park_limit: PARK_LIMIT,
            watch: Watch::default(),
        };
        let (stop, stopped) = watch::channel(false);
        let (url, workspace) = (self.redis.url(), Facts::of("ramaiah").workspace);
        let running = tokio::spawn(async move {
            let decoder = Decoder::new(codec(), None);
            run(config, &url, workspace, Settings::default(), decoder, stopped, drop).await.unwrap();
        });
        (stop, running)
    }

    pub async fn meta(&self, field: &str) -> String {
        format!("{:?}", self.redis.command(&["HGET", "helix:ramaiah:live:meta", field]).await)
    }

    /// Waits until a projector holds the board, other than this one.
    pub async fn owned_by_another_than(&self, before: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let now = self.meta("owner").await;
            if now != before && now != "nil" && !now.contains("operator") {
                return;
            }
            assert!(Instant::now() < deadline, "nobody takes the board: {now}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a field is another than it was; what it is then.
    pub async fn changed(&self, field: &str, before: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let now = self.meta(field).await;
            if now != before {
                return now;
            }
            assert!(Instant::now() < deadline, "{field} stays {before}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_was_fenced_stands_by_until_its_successor_is_gone() {
    let world = World::new();
    let facts = Facts::of("ramaiah");
    let first = world.start();
    let owner = world.changed("owner", "nil").await;
    let second = world.start();
    let successor = world.changed("owner", &owner).await;
    // The first learns of it by its next batch; the board is the second's all the while.
    let mut version = world.meta("version").await;
    for second in 0..4 {
        world.append(&facts.state(
            "agent.one",
            second,
            [AgentState::Ready, AgentState::Paused][second as usize % 2],
            None,
        ));
        version = world.changed("version", &version).await;
        assert_eq!(world.meta("owner").await, successor);
    }
    second.0.send(true).unwrap();
    second.1.await.unwrap();
    world.changed("owner", &successor).await;
    world.append(&facts.state("agent.one", 10, AgentState::Ready, None));
    world.changed("version", &version).await;
    first.0.send(true).unwrap();
    first.1.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pulse_says_nothing_of_the_time_after_the_broker_was_gone() {
    const ENOUGH: Duration = Duration::from_millis(3500);
    let world = World::new();
    let (stop, running) = world.start();
    let reader = BoardReader::new(&world.redis.url(), &Facts::of("ramaiah").workspace).unwrap();
    let mut connection = reader.connect().await.unwrap();
    let begun = Instant::now();
    while reader.pulse(&mut connection).await.unwrap().age.is_none_or(|age| age > Duration::from_secs(2)) {
        assert!(begun.elapsed() < Duration::from_secs(60), "no pulse");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.cluster.broker_down(1).unwrap();
    let gone = Instant::now();
    loop {
        let since = gone.elapsed();
        let age = reader.pulse(&mut connection).await.unwrap().age.unwrap();
        // An answer may have been on its way.
        assert!(age + Duration::from_secs(1) > since, "{age:?} old, {since:?} after the broker went");
        if age > ENOUGH {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.send(true).unwrap();
    running.await.unwrap();
}
