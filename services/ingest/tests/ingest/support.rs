//! What the tests stand on: samples, a configured app, requests, and a reader of the mock log.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use helix_ingest::{
    App, Parts,
    body::{self, Delivery},
    codecs::Codecs,
    directory::View,
    liveness::Liveness,
    normalise::{Context, Hint, Normalised, Rejection, normalise},
    outlet::{Late, Outlet},
    publish::Publisher,
    recent::Recent,
};
use helix_kit::{
    config::{AccountConfig, Config, RateConfig, WorkspaceConfig},
    http::Readiness,
    secret::Secret,
};
use helix_schemas::{
    directory::{Directory, DirectoryEntry, EntryKind},
    names::WorkspaceId,
    registry::Registry,
    time::ReceivedAt,
    topics,
};
use metrics_exporter_prometheus::PrometheusBuilder;
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    mocking::MockCluster,
    producer::DefaultProducerContext,
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tower::ServiceExt;

pub const ACCOUNT_KEY: &str = "account-key-0123456789abcdef";
pub const WEBHOOK_KEY: &str = "webhook-key-of-ramaiah-01234";
pub const REGISTER_KEY: &str = "register-key-of-ramaiah-0123";
pub const OTHER_REGISTER_KEY: &str = "register-key-of-global-01234";
/// The callback samples' own key.
pub const SAMPLE_KEY: &str = "KK_TEST_NOT_A_REAL_KEY";
/// Nothing listens there.
pub const NOWHERE: &str = "127.0.0.1:1";

pub struct Sample {
    pub id: String,
    pub path: Option<String>,
    pub body: String,
}

pub fn samples() -> Vec<Sample> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut all = Vec::new();
    for file in files.into_iter().filter(|file| file.extension().is_some_and(|ext| ext == "json")) {
        let case: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        for (index, delivery) in case["deliveries"].as_array().unwrap().iter().enumerate() {
            all.push(Sample {
                id: format!("{}.{}", text(&case["id"]).unwrap(), index + 1),
                path: text(&delivery["path"]),
                body: text(&delivery["body"]).unwrap(),
            });
        }
    }
    assert!(all.len() > 35, "the corpus is complete");
    all
}

pub fn sample(id: &str) -> Sample {
    samples().into_iter().find(|sample| sample.id == id).unwrap()
}

pub fn context(path: Option<&str>) -> Context {
    let hint = match path {
        Some("/api/supervisor/agent-event") => Hint::Agent,
        Some("/api/supervisor/call-event") => Hint::Call,
        _ => Hint::Callback,
    };
    let received_at = ReceivedAt::from_micros(1_774_400_000_000_000);
    Context { zone: chrono_tz::Asia::Kolkata, received_at, hint }
}

/// What reader and normaliser make of a body, event by event.
pub fn understood(body: &[u8], context: &Context) -> Result<Vec<Result<Normalised, Rejection>>, body::Unreadable> {
    Ok(match body::read(body)? {
        Delivery::One(value) => vec![normalise(&value, context)],
        Delivery::Batch(elements) => elements.iter().map(|element| normalise(&element.value, context)).collect(),
    })
}

pub fn the_one(body: &[u8], context: &Context) -> Normalised {
    let mut all = understood(body, context).unwrap();
    assert_eq!(all.len(), 1);
    all.remove(0).unwrap_or_else(|why| panic!("{why}"))
}

fn workspace(slug: &str, webhook_key: &str, register_key: &str, port: u16) -> WorkspaceConfig {
    serde_json::from_value(json!({
        "name": slug, "zone": "Asia/Kolkata", "webhook_key": webhook_key, "register_key": register_key,
        "redis_url": format!("redis://127.0.0.1:{port}"), "sidecar_listen": format!("127.0.0.1:{port}"),
        "sidecar_url": "http://127.0.0.1:1", "signing_key": "none", "agents": [], "dids": [],
    }))
    .unwrap()
}

/// Patient: where a broker answers, however busy the machine, what it is sent is stored.
pub fn config(brokers: &str) -> Config {
    let mut config = Config::load(None).unwrap();
    config.log.brokers = brokers.to_owned();
    config.log.delivery_timeout = Duration::from_secs(60);
    config.ingest.deadline = Duration::from_secs(90);
    let account = AccountConfig {
        key: Secret::new(ACCOUNT_KEY),
        zone: "Asia/Kolkata".to_owned(),
        allowed_sources: Vec::new(),
        rate: RateConfig::default(),
    };
    config.accounts = [("ozonetel".to_owned(), account)].into();
    config.telephony_redis.url = Secret::new("redis://127.0.0.1:1");
    config.workspaces.insert("ramaiah".to_owned(), workspace("ramaiah", WEBHOOK_KEY, REGISTER_KEY, 2));
    config
        .workspaces
        .insert("global".to_owned(), workspace("global", "webhook-key-of-global-012345", OTHER_REGISTER_KEY, 3));
    config
}

/// For what a broker never answers: it is given up soon.
pub fn impatient(brokers: &str) -> Config {
    let mut config = config(brokers);
    config.log.delivery_timeout = Duration::from_secs(2);
    config
}

/// `agent.one`, `agent.two` and the samples' DID belong to ramaiah, `rekha.cc` to global.
pub fn directory() -> Directory {
    let mut directory = Directory::default();
    let claims = [
        (EntryKind::Workspace, "ramaiah", "ramaiah"),
        (EntryKind::Workspace, "global", "global"),
        (EntryKind::Agent, "agent.one", "ramaiah"),
        (EntryKind::Agent, "agent.two", "ramaiah"),
        (EntryKind::Did, "918040000001", "ramaiah"),
        (EntryKind::Agent, "rekha.cc", "global"),
    ];
    for (entry, value, workspace) in claims {
        directory.apply(&DirectoryEntry {
            entry,
            value: value.to_owned(),
            workspace: Some(WorkspaceId::new(workspace).unwrap()),
            url: None,
            recorded_at: ReceivedAt::from_micros(0),
            request_id: String::new(),
        });
    }
    directory
}

/// An app over any broker, with schemas known and a fixed directory.
pub struct Stage {
    pub router: Router,
    pub outlet: Arc<Outlet>,
    drain: JoinHandle<()>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.drain.abort();
    }
}

impl Stage {
    pub fn new(config: Config) -> Self {
        Self::with(config, Arc::new(View::fixed(&directory())), Some(codecs()))
    }

    pub fn with(config: Config, view: Arc<View>, codecs: Option<Codecs>) -> Self {
        let publisher = Arc::new(Publisher::new(&config.log, !config.spool.folder.as_os_str().is_empty()).unwrap());
        Self::over(config, view, codecs, publisher)
    }

    pub fn over(config: Config, view: Arc<View>, codecs: Option<Codecs>, publisher: Arc<Publisher>) -> Self {
        let slot = Arc::new(OnceLock::new());
        if let Some(codecs) = codecs {
            assert!(slot.set(codecs).is_ok());
        }
        let outlet = Outlet::new(publisher.clone(), &config.spool).unwrap();
        let late =
            Late { directory: view.clone(), registry: Registry::new("http://127.0.0.1:1"), codecs: slot.clone() };
        let drain = tokio::spawn(outlet.clone().drain(late));
        let app = App::new(Parts {
            liveness: Liveness::new(&config.telephony_redis).unwrap(),
            config,
            publisher,
            outlet: outlet.clone(),
            codecs: slot,
            directory: view,
            recent: Arc::new(Recent::default()),
            readiness: Readiness::default(),
        })
        .unwrap();
        Self { outlet, drain, router: app.router(PrometheusBuilder::new().build_recorder().handle()) }
    }

    pub async fn post(&self, path: &str, body: impl Into<Body>) -> Answer {
        self.send("POST", path, &[], body).await
    }

    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status: parts.status, headers: parts.headers, json }
    }
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub json: Value,
}

impl Answer {
    /// Checks that it is a problem of this status and code, as RFC 9457 and the contract want it.
    pub fn is_problem(&self, status: u16, code: &str) {
        assert_eq!((self.status.as_u16(), self.json["code"].as_str()), (status, Some(code)), "{}", self.json);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.json["status"], status);
        assert_eq!(self.json["type"], format!("urn:helix:error:{code}"));
        assert_eq!(self.json["requestId"].as_str(), self.headers["x-request-id"].to_str().ok());
        assert!(self.json["title"].is_string() && self.json["detail"].is_string());
    }

    pub fn statuses(&self) -> Vec<&str> {
        assert_eq!(self.status, 202, "{}", self.json);
        assert!(self.json["requestId"].is_string());
        self.json["results"].as_array().unwrap().iter().map(|result| result["status"].as_str().unwrap()).collect()
    }
}

pub fn codecs() -> Codecs {
    Codecs::with_ids(1, 2, 3, 4).unwrap()
}

/// Every topic, on a mock cluster of one broker.
pub fn cluster() -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(1).unwrap();
    for topic in topics::ALL {
        cluster.create_topic(topic.name, topic.partitions, 1).unwrap();
    }
    cluster
}

pub struct Stored {
    pub key: String,
    pub value: Vec<u8>,
}

/// The records of a topic, of which there are `count`.
pub fn stored(brokers: &str, topic: &str, count: usize) -> Vec<Stored> {
    let found = read_topic(brokers, topic);
    assert_eq!(found.len(), count, "records in {topic}");
    found
}

/// Every record of a topic, partition by partition to its end.
pub fn read_topic(brokers: &str, topic: &str) -> Vec<Stored> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "test")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "50")
        .create()
        .unwrap();
    let partitions = topics::ALL.iter().find(|spec| spec.name == topic).unwrap().partitions;
    let mut assignment = TopicPartitionList::new();
    for partition in 0..partitions {
        assignment.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let mut found = Vec::new();
    let mut ends = 0;
    while ends < partitions {
        match consumer.poll(Duration::from_secs(60)).expect("the mock cluster answers") {
            Ok(message) => found.push(Stored {
                key: String::from_utf8(message.key().unwrap_or_default().to_vec()).unwrap(),
                value: message.payload().unwrap_or_default().to_vec(),
            }),
            Err(rdkafka::error::KafkaError::PartitionEOF(_)) => ends += 1,
            Err(error) => panic!("{error}"),
        }
    }
    found
}
