//! A cluster, a store and engines between them.

use std::{
    future::pending,
    time::{Duration, Instant},
};

use helix_runtime::{Engine, EngineConfig, EngineError, Membership, PARK_LIMIT, Status, Watch};
use rdkafka::{
    ClientConfig,
    mocking::MockCluster,
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};
use tokio::sync::oneshot;

use crate::store::{Memory, Shared};

pub const TOPIC: &str = "facts";
pub const PARTITIONS: i32 = 4;
/// A group whose members come and go shares out some three times, and the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(90);

pub struct World {
    pub cluster: MockCluster<'static, DefaultProducerContext>,
    pub shared: Shared,
    pub park_limit: usize,
    pub watch: Watch,
    produced: usize,
}

impl World {
    pub fn new() -> Self {
        Self::with(PARTITIONS)
    }

    pub fn with(partitions: i32) -> Self {
        let cluster = MockCluster::new(1).expect("a mock cluster");
        cluster.create_topic(TOPIC, partitions, 1).expect("a topic");
        Self { cluster, shared: Shared::default(), park_limit: PARK_LIMIT, watch: Watch::default(), produced: 0 }
    }

    /// Appends records: partition, key, value.
    pub fn append(&self, records: &[(i32, &str, &str)]) {
        let producer: ThreadedProducer<_> = ClientConfig::new()
            .set("bootstrap.servers", self.cluster.bootstrap_servers())
            .create()
            .expect("a producer");
        for (partition, key, value) in records {
            producer
                .send(BaseRecord::to(TOPIC).partition(*partition).key(*key).payload(*value))
                .map_err(|(error, _)| error)
                .expect("room in the queue");
        }
        producer.flush(PATIENCE).expect("everything acknowledged");
    }

    /// Appends records to every partition in turn; their values are consecutive numbers a partition.
    pub fn produce(&mut self, count: usize) {
        let values: Vec<String> = (self.produced..self.produced + count).map(|number| number.to_string()).collect();
        let partitions = (0..PARTITIONS).cycle().skip(self.produced % usize::try_from(PARTITIONS).expect("small"));
        let records: Vec<_> = values.iter().zip(partitions).map(|(value, at)| (at, "k", value.as_str())).collect();
        self.append(&records);
        self.produced += count;
    }

    pub fn config(&self, membership: Membership) -> EngineConfig {
        EngineConfig {
            connection: vec![("bootstrap.servers".to_owned(), self.cluster.bootstrap_servers())],
            topic: TOPIC.to_owned(),
            group: "projector".to_owned(),
            instance: None,
            membership,
            batch_records: 7,
            batch_bytes: 1 << 20,
            batch_time: Duration::from_millis(20),
            park_limit: self.park_limit,
            watch: self.watch,
        }
    }

    pub fn start(&self, membership: Membership) -> Running {
        let engine = Engine::new(self.config(membership), Memory::new(self.shared.clone()));
        let status = engine.status();
        let (stop, stopped) = oneshot::channel::<()>();
        let ended = tokio::spawn(engine.run(async move {
            if stopped.await.is_err() {
                pending::<()>().await;
            }
        }));
        Running { stop, ended, status }
    }

    /// Waits until every produced record was applied, and checks that none was applied twice or out of order.
    pub async fn all_applied(&self) {
        self.shared.applied(self.produced, PATIENCE).await;
        self.shared.check(PARTITIONS);
    }
}

pub struct Running {
    pub stop: oneshot::Sender<()>,
    pub ended: tokio::task::JoinHandle<Result<(), EngineError>>,
    pub status: Status,
}

impl Running {
    pub async fn stop(self) -> Result<(), EngineError> {
        self.stop.send(()).expect("the engine still runs");
        tokio::time::timeout(PATIENCE, self.ended).await.expect("it leaves in time").expect("no panic")
    }

    /// Waits until it ends by itself, and why.
    pub async fn failed(self) -> EngineError {
        let ended = tokio::time::timeout(PATIENCE, self.ended).await.expect("it ends").expect("no panic");
        ended.expect_err("it stops by itself")
    }

    /// Waits for what only a look at the status can tell.
    pub async fn until(&self, what: &str, seen: impl Fn(&Status) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !seen(&self.status) {
            assert!(Instant::now() < deadline, "waited in vain until {what}: {:?}", self.status);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
