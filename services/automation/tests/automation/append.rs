//! The appends on librdkafka's mock cluster: a broker that is away cannot be had otherwise without a whole stack.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use helix_automation::{AllBounds, Append as _, AppendError, AutomationStore, GROUP, Log, LogOptions};
use helix_runtime::{Engine, EngineConfig, Membership, PARK_LIMIT, Watch};
use helix_schemas::{
    decision::Decision,
    fact::{AgentState, Fact},
    time::{OccurredAt, ReceivedAt},
    topics,
};
use rdkafka::{
    ClientConfig, Message as _,
    consumer::{BaseConsumer, Consumer as _},
    mocking::MockCluster,
    producer::DefaultProducerContext,
};
use tokio::sync::oneshot;

use crate::{
    postgres::Database,
    story::{Story, bounds, codec},
};

struct Broker {
    cluster: MockCluster<'static, DefaultProducerContext>,
    connection: Vec<(String, String)>,
}

impl Broker {
    fn new() -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(topics::FACTS, 3, 1).unwrap();
        let connection = vec![("bootstrap.servers".to_owned(), cluster.bootstrap_servers())];
        Self { cluster, connection }
    }

    fn log(&self, delivery_timeout: Duration) -> Log {
        let options =
            LogOptions { connection: self.connection.clone(), delivery_timeout, linger: Duration::from_millis(2) };
        Log::new(&options, codec())
    }
}

/// Reads from the beginning until `wanted` facts have come.
fn facts(connection: &[(String, String)], wanted: usize) -> Vec<(String, Fact)> {
    let mut settings = ClientConfig::new();
    settings.extend(connection.iter().cloned());
    let consumer: BaseConsumer =
        settings.set("group.id", "reader").set("auto.offset.reset", "earliest").create().unwrap();
    consumer.subscribe(&[topics::FACTS]).unwrap();
    let mut facts = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(120);
    while facts.len() < wanted {
        assert!(Instant::now() < deadline, "{} facts of {wanted} in time", facts.len());
        // Nothing, too, where the client had other work than records.
        let Some(message) = consumer.poll(Duration::from_secs(1)) else { continue };
        let message = message.unwrap();
        let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
        facts.push((key, codec().decode(message.payload().unwrap()).unwrap()));
    }
    facts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_is_under_the_facts_key_and_one_that_is_not_acknowledged_is_an_error() {
    let broker = Broker::new();
    let log = broker.log(Duration::from_secs(2));
    let (one, two) = (Story::of("w").state("a", 0, AgentState::Ready), Story::of("w").state("b", 0, AgentState::Ready));
    log.append(&one).await.unwrap();
    broker.cluster.broker_down(1).unwrap();
    let refused = log.append(&two).await;
    assert!(matches!(refused, Err(AppendError::Log(_))), "{refused:?}");
    broker.cluster.broker_up(1).unwrap();
    // Perhaps written, so written again; the same log goes on.
    let mut tried = log.append(&two).await;
    for _ in 0..10 {
        if tried.is_ok() {
            break;
        }
        tried = log.append(&two).await;
    }
    tried.unwrap();
    let mut ids: Vec<(String, String)> =
        facts(&broker.connection, 2).into_iter().map(|(key, fact)| (key, fact.id.to_string())).collect();
    ids.sort();
    assert_eq!(ids, [("w/a".to_owned(), one.id.to_string()), ("w/b".to_owned(), two.id.to_string())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_engine_reads_decides_and_reads_back() {
    let (broker, database) = (Broker::new(), Database::new().await);
    let log = Arc::new(broker.log(Duration::from_secs(5)));
    let story = Story::of("w");
    // Half a minute ago, so that it is due as soon as it is read.
    let now = ReceivedAt::now();
    let mut fact = story.state("a", 0, AgentState::WrapUp);
    fact.occurred_at = OccurredAt::from_millis(now.as_occurred().millis() - 31_000);
    fact.received_at = ReceivedAt::from_micros(now.micros() - 31_000_000);
    log.append(&fact).await.unwrap();
    let all = AllBounds([(story.workspace.clone(), bounds())].into());
    let store = AutomationStore::new(database.pool.clone(), (None, codec()), all, log);
    let config = EngineConfig {
        connection: broker.connection.clone(),
        topic: topics::FACTS.to_owned(),
        group: GROUP.to_owned(),
        instance: None,
        membership: Membership::Group,
        batch_records: 100,
        batch_bytes: 1 << 20,
        batch_time: Duration::from_millis(20),
        park_limit: PARK_LIMIT,
        watch: Watch::default(),
    };
    let engine = Engine::new(config, store);
    let status = engine.status();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(engine.run(async move {
        let _asked = stopped.await;
    }));
    let connection = broker.connection.clone();
    let read = tokio::task::spawn_blocking(move || facts(&connection, 2)).await.unwrap();
    let decision = read.iter().map(|(_, fact)| fact).find(|read| read.id != fact.id).unwrap();
    let (word, _) = Decision::of(decision).unwrap();
    assert_eq!((word, decision.key()), (Decision::WrapUpExpired, "w/a".to_owned()));
    // It has read its own decision back: the timer is struck out.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(120);
    loop {
        let open: i64 = sqlx::query_scalar("select count(*) from automation.timers where decision = 'WrapUpExpired'")
            .fetch_one(&database.pool)
            .await
            .unwrap();
        if open == 0 {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "not read back: {status:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
}
