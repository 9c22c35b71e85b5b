//! A hospital with records: Postgres with the role of the workspace, a log where the test needs one, and a sidecar.

#![allow(dead_code)] // The tests and the development feeder take what they need.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    routing::{post, put},
};
use helix_kit::auth::Role;
use helix_kit::secret::Secret;
use helix_postgres::{AllSettings, PostgresStore};
use helix_runtime::{Engine, EngineConfig, Membership, PARK_LIMIT, Position, Store as _, Watch};
use helix_schemas::{
    codec::Codec,
    fact::Fact,
    registry::Registry,
    schema::{self, SUBJECTS},
    topics,
};
use helix_sidecar::Extensions;
use rdkafka::{
    ClientConfig, Message as _,
    consumer::{BaseConsumer, Consumer as _},
    mocking::MockCluster,
    producer::{DefaultProducerContext, FutureProducer, FutureRecord},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::net::TcpListener;

use crate::{
    server::{Database, server},
    stage::{Running, Stage, WORKSPACE},
    support::{Facts, Log, PARTITIONS, TestRedis},
};

/// Roles are of the whole server: two tests at once would trip over each other in making one.
static MAKING_A_ROLE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
const ROLE: &str = "ws_ramaiah";

/// A broker with the topic of facts, and a registry beside it.
pub struct Broker {
    cluster: MockCluster<'static, DefaultProducerContext>,
    codec: Arc<Codec<Fact>>,
    registry: Registry,
    pub registry_url: String,
}

impl Broker {
    pub async fn start() -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(topics::FACTS, PARTITIONS, 1).unwrap();
        let registry_url = serve_registry().await;
        let registry = Registry::new(&registry_url);
        let codec = Arc::new(registry.fact_codec().await.unwrap());
        Self { cluster, codec, registry, registry_url }
    }

    pub fn brokers(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    fn connection(&self) -> Vec<(String, String)> {
        vec![("bootstrap.servers".to_owned(), self.brokers())]
    }

    pub async fn append(&self, facts: &[Fact]) {
        let producer: FutureProducer = ClientConfig::new()
            .set("bootstrap.servers", self.brokers())
            .set("partitioner", "murmur2_random")
            .create()
            .unwrap();
        let sent = facts.iter().map(|fact| {
            let (key, value) = (fact.key(), self.codec.encode(fact).unwrap());
            producer
                .send_result(FutureRecord::to(topics::FACTS).key(&key).payload(&value))
                .map_err(|(error, _)| error)
                .unwrap()
        });
        // All of them are handed over, in order, before the first is waited for.
        for delivery in sent.collect::<Vec<_>>() {
            delivery.await.unwrap().map_err(|(error, _)| error).unwrap();
        }
    }

    /// The projector, for as long as the runtime lives.
    pub fn project(&self, pool: PgPool) {
        let store = PostgresStore::new(pool, self.registry.clone(), self.codec.clone(), AllSettings::default());
        let config = EngineConfig {
            connection: self.connection(),
            topic: topics::FACTS.to_owned(),
            group: "helix-postgres".to_owned(),
            instance: None,
            membership: Membership::All,
            batch_records: 100,
            batch_bytes: 1 << 20,
            batch_time: Duration::from_millis(20),
            park_limit: PARK_LIMIT,
            watch: Watch::default(),
        };
        tokio::spawn(Engine::new(config, store).run(std::future::pending::<()>()));
    }

    /// Everything in the log until `enough` says so of what has come.
    pub async fn until(&self, enough: impl Fn(&[Fact]) -> bool + Send + 'static) -> Vec<Fact> {
        let (connection, codec) = (self.connection(), self.codec.clone());
        let read = move || {
            let mut settings = ClientConfig::new();
            settings.extend(connection);
            settings.set("group.id", "reader").set("auto.offset.reset", "earliest");
            let consumer: BaseConsumer = settings.create().unwrap();
            let mut all = rdkafka::TopicPartitionList::new();
            for partition in 0..PARTITIONS {
                all.add_partition_offset(topics::FACTS, partition, rdkafka::Offset::Beginning).unwrap();
            }
            consumer.assign(&all).unwrap();
            let mut facts = Vec::new();
            let deadline = std::time::Instant::now() + Duration::from_secs(120);
            while !enough(&facts) {
                assert!(std::time::Instant::now() < deadline, "{} facts and not enough", facts.len());
                // Nothing, too, where the client had other work than records.
                let Some(Ok(record)) = consumer.poll(Duration::from_millis(100)) else { continue };
                facts.push(codec.decode(record.payload().unwrap()).unwrap());
            }
            facts
        };
        tokio::task::spawn_blocking(read).await.unwrap()
    }
}

/// A registry that takes whatever it is given and numbers it.
async fn serve_registry() -> String {
    let number = |body: &Value| {
        let text = body["schema"].as_str().unwrap();
        SUBJECTS.iter().flat_map(|subject| subject.versions).position(|known| *known == text).unwrap() + 1
    };
    let router = Router::new().route("/config/{subject}", put(|| async { Json(json!({})) })).route(
        "/subjects/{subject}/versions",
        post(move |body: String| async move {
            let body: Value = serde_json::from_str(&body).unwrap();
            Json(json!({ "id": number(&body) }))
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

/// What lies in Postgres, and what writes it without a broker.
pub struct Records {
    pub database: Database,
    pub pool: PgPool,
    store: PostgresStore,
    positions: Vec<Position>,
    log: Log,
}

impl Records {
    pub async fn empty() -> Self {
        let database = Database::empty().await;
        {
            let _alone = MAKING_A_ROLE.lock().await;
            // Before the first migration, as a stack does it: the migration then grants.
            drop(database.as_workspace(WORKSPACE, ROLE).await);
        }
        let pool = database.pool().await;
        helix_postgres::migrate(&pool).await.unwrap();
        let codec = Arc::new(Codec::new(1, &schema::FACT).unwrap());
        // The codec knows every schema of these tests: the registry is never asked.
        let registry = Registry::new("http://127.0.0.1:9");
        let mut store = PostgresStore::new(pool.clone(), registry, codec, AllSettings::default());
        let all: Vec<i32> = (0..PARTITIONS).collect();
        let positions = store.acquire(topics::FACTS, &all).await.unwrap();
        Self { database, pool, store, positions, log: Log::default() }
    }

    pub fn url(&self) -> String {
        server().url_of(ROLE, &self.database.name)
    }

    pub async fn feed(&mut self, facts: &[Fact]) {
        facts.iter().for_each(|fact| self.log.append(fact));
        let batch = self.log.batch(&self.positions, usize::MAX / 2);
        self.store.apply(&batch).await.unwrap();
        for slice in &batch.slices {
            for position in self.positions.iter_mut().filter(|position| position.partition == slice.partition) {
                position.next_offset = slice.to;
            }
        }
    }
}

/// All of it.
pub struct Hospital {
    // Ended with it.
    pub redis: TestRedis,
    pub records: Records,
    pub stage: Stage,
    pub running: Running,
    pub facts: Facts,
    pub http: reqwest::Client,
}

impl Hospital {
    /// Without a log.
    pub async fn open() -> Self {
        Self::open_with(|_| {}).await
    }

    /// With a configuration of its own.
    pub async fn open_with(change: impl FnOnce(&mut Stage)) -> Self {
        let records = Records::empty().await;
        let redis = TestRedis::start();
        let mut stage = Stage::set(&redis.url()).await;
        stage.own().postgres_url = Secret::new(records.url());
        // Nobody listens there.
        stage.config.log.brokers = "127.0.0.1:9".to_owned();
        stage.config.registry.url = "http://127.0.0.1:9".to_owned();
        stage.config.clickhouse.url = "http://127.0.0.1:9".to_owned();
        change(&mut stage);
        let running = stage.start(([127, 0, 0, 1], 0).into(), Extensions::default()).await;
        Self { redis, records, stage, running, facts: Facts::of(WORKSPACE), http: reqwest::Client::new() }
    }

    /// With a log, and a projector that reads it.
    pub async fn open_on(broker: &Broker) -> Self {
        let hospital = Self::open_with(|stage| {
            stage.config.log.brokers = broker.brokers();
            stage.config.registry.url = broker.registry_url.clone();
        })
        .await;
        broker.project(hospital.records.pool.clone());
        hospital
    }

    /// Waits until a count of rows is there.
    pub async fn until_rows(&self, table: &'static str, wanted: i64) {
        let count = format!("select count(*) from {table}");
        for _ in 0..2400 {
            let there: i64 =
                sqlx::query_scalar(sqlx::AssertSqlSafe(count.clone())).fetch_one(&self.records.pool).await.unwrap();
            if there >= wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{table} has not got {wanted} rows");
    }

    pub fn token(&self, role: Role) -> String {
        self.stage.token(WORKSPACE, role, (role == Role::Agent).then_some("agent.one"))
    }

    pub async fn ask(&self, method: Method, path: &str, token: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = self.http.request(method, format!("{}{path}", self.running.url)).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        assert_eq!(kind.starts_with("application/problem+json"), !status.is_success(), "{path}: {status} {kind}");
        let retry = response.headers().contains_key("retry-after");
        assert!(status != StatusCode::SERVICE_UNAVAILABLE || retry, "{path}: 503 without Retry-After");
        (status, response.json().await.unwrap())
    }

    /// What a supervisor is answered.
    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask(Method::GET, path, &self.token(Role::Supervisor), None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    /// Status and code of a refusal.
    pub async fn refusal(&self, path: &str, token: &str) -> (u16, String) {
        let (status, body) = self.ask(Method::GET, path, token, None).await;
        (status.as_u16(), body["code"].as_str().unwrap_or_default().to_owned())
    }

    pub async fn act(&self, call: &str, action: &str, token: &str, body: Option<Value>) -> (u16, Value) {
        let path = format!("/api/missed-calls/{call}/{action}");
        let (status, body) = self.ask(Method::POST, &path, token, body).await;
        (status.as_u16(), body)
    }
}
