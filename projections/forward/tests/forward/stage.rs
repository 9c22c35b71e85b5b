//! A log on librdkafka's mock cluster, facts in it, and forward projectors that run over it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use helix_forward::{ForwardStore, Options, Trouble};
use helix_runtime::{Engine, EngineConfig, EngineError, Membership};
use helix_schemas::{
    codec::Codec,
    fact::{Body, Fact, OccurredAtFrom, Source, Unknown},
    id::NaturalKey,
    names::{AgentId, WorkspaceId},
    registry::Registry,
    schema,
    time::{OccurredAt, ReceivedAt},
};
use rdkafka::{
    ClientConfig,
    mocking::MockCluster,
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};
use tokio::sync::watch;

use crate::{progress::Kept, receiver::Receiver};

const TOPIC: &str = "telephony.facts";
const PARTITIONS: i32 = 3;
/// Nothing here takes this long unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(120);
pub const AGENT_EVENT: &str = "/api/supervisor/agent-event";
pub const FORM: &str = "application/x-www-form-urlencoded";

pub fn workspace(slug: &str) -> WorkspaceId {
    WorkspaceId::new(slug).expect("a slug")
}

/// Values that no registry is needed for.
pub fn reading() -> (Registry, Arc<Codec<Fact>>) {
    (Registry::new("http://127.0.0.1:1"), Arc::new(Codec::new(1, &schema::FACT).expect("our own schema")))
}

/// An agent event as it came in; its number is in its body and its id.
pub fn event(slug: &str, agent: &str, number: usize) -> Fact {
    let body = Body::Unknown(Unknown { event: "agent".into(), word: number.to_string(), ..Unknown::default() });
    Fact {
        id: NaturalKey::new("ozonetel", slug, agent).field(&number.to_string()).id(),
        workspace: workspace(slug),
        agent: Some(AgentId::new(agent).expect("an agent")),
        call: None,
        leg: None,
        provider: "ozonetel".into(),
        kind: body.kind(),
        occurred_at: OccurredAt::from_millis(1_774_343_392_000),
        occurred_at_from: OccurredAtFrom::Event,
        received_at: ReceivedAt::from_micros(1_774_343_392_000_001),
        raw: format!("{agent}#{number}").into_bytes(),
        raw_content_type: "application/json".into(),
        source: Source {
            endpoint: AGENT_EVENT.into(),
            account: "demo".into(),
            request_id: format!("request-{number}"),
        },
        normaliser: 1,
        body,
    }
}

/// The log, and what each key of a workspace is owed.
pub struct Stage {
    // Kept: the cluster ends with it.
    _cluster: MockCluster<'static, DefaultProducerContext>,
    brokers: String,
    produced: usize,
    owed: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

impl Stage {
    pub fn new() -> Self {
        let cluster = MockCluster::new(1).expect("a mock cluster");
        cluster.create_topic(TOPIC, PARTITIONS, 1).expect("a topic");
        let brokers = cluster.bootstrap_servers();
        Self { _cluster: cluster, brokers, produced: 0, owed: BTreeMap::new() }
    }

    /// Appends facts, each to its key's partition.
    pub fn append(&mut self, facts: &[Fact]) {
        let (_, codec) = reading();
        let producer: ThreadedProducer<_> =
            ClientConfig::new().set("bootstrap.servers", &self.brokers).create().expect("a producer");
        for fact in facts {
            let key = fact.key();
            let value = codec.encode(fact).expect("a fact of ours");
            let partition = key.bytes().map(i32::from).sum::<i32>() % PARTITIONS;
            let record = BaseRecord::to(TOPIC).partition(partition).key(&key).payload(&value);
            producer.send(record).map_err(|(error, _)| error).expect("room in the queue");
        }
        producer.flush(PATIENCE).expect("everything acknowledged");
        self.produced += facts.len();
    }

    /// Appends the next events of agents, one of each in turn.
    pub fn events(&mut self, slug: &str, agents: &[&str], count: usize) {
        let mut facts = Vec::new();
        for index in 0..count {
            let agent = agents[index % agents.len()];
            let owed = self.owed.entry(slug.to_owned()).or_default().entry(agent.to_owned()).or_default();
            let fact = event(slug, agent, owed.len());
            owed.push(fact.id.to_string());
            facts.push(fact);
        }
        self.append(&facts);
    }

    /// Everything that a workspace is owed has come, in order and once.
    pub async fn all_settled(&self, slug: &str, receiver: &Receiver) {
        let owed = &self.owed[slug];
        receiver.settled(owed.values().map(Vec::len).sum()).await;
        receiver.check(owed);
    }

    pub fn start(&self, slug: &str, receiver: &Receiver, kept: &Kept) -> Running {
        self.start_with(slug, &options(receiver), kept)
    }

    /// For a receiver that hangs: it is given up soon.
    pub fn start_hurried(&self, slug: &str, receiver: &Receiver, kept: &Kept) -> Running {
        self.start_with(slug, &Options { timeout: Duration::from_secs(2), ..options(receiver) }, kept)
    }

    fn start_with(&self, slug: &str, options: &Options, kept: &Kept) -> Running {
        let workspace = workspace(slug);
        let config = EngineConfig {
            connection: vec![("bootstrap.servers".to_owned(), self.brokers.clone())],
            topic: TOPIC.to_owned(),
            group: helix_forward::group(&workspace),
            instance: None,
            membership: Membership::Group,
            batch_records: 16,
            batch_bytes: 1 << 20,
            batch_time: Duration::from_millis(5),
            park_limit: helix_runtime::PARK_LIMIT,
            watch: helix_runtime::Watch::default(),
        };
        let (stop, stopped) = watch::channel(false);
        let store = ForwardStore::new(workspace, options, kept.clone(), reading(), stopped.clone()).expect("options");
        let trouble = store.trouble();
        let engine = Engine::new(config, store);
        let mut asked = stopped;
        let ended = tokio::spawn(engine.run(async move {
            asked.wait_for(|stop| *stop).await.expect("the sender is held by the test");
        }));
        Running { stop, ended, trouble }
    }

    /// Waits until progress is at the log's end.
    pub async fn passed(&self, kept: &Kept) {
        let all = i64::try_from(self.produced).expect("small");
        let waiting = async {
            while kept.total() < all {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("progress reaches the log's end");
        assert_eq!(kept.total(), all);
    }
}

/// Patient for as long as may be, so that on a busy machine too nothing is sent again to one who answers.
pub fn options(receiver: &Receiver) -> Options {
    let timeout = Duration::from_secs(15);
    Options { url: receiver.url(), key: "a-key-of-the-receiver".to_owned(), timeout, concurrency: 4 }
}

pub struct Running {
    stop: watch::Sender<bool>,
    ended: tokio::task::JoinHandle<Result<(), EngineError>>,
    pub trouble: Trouble,
}

impl Running {
    pub async fn stop(self) {
        self.stop.send(true).expect("the engine still runs");
        let ended = tokio::time::timeout(PATIENCE, self.ended).await.expect("it leaves in time");
        ended.expect("no panic").expect("a clean end");
    }
}
