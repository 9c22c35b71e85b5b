//! The directory over a mock log: read your writes, first claim wins, compaction keeps the owner.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use helix_ingest::{
    codecs::Codecs,
    directory::{Reader, View},
    publish::Publisher,
    redact::occurs,
    registrar::{Claim, Registrar, RegistrarError},
};
use helix_kit::http::Readiness;
use helix_schemas::{
    directory::EntryKind,
    fact::Body,
    names::{AgentId, Did, WorkspaceId},
    registry::Registry,
    topics,
};
use serde_json::json;

use super::support::{Answer, OTHER_REGISTER_KEY, REGISTER_KEY, Stage, cluster, codecs, config, stored};

/// Nothing here takes this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// One instance: its own producer, reader and view.
pub struct Instance {
    pub view: Arc<View>,
    pub publisher: Arc<Publisher>,
    pub registrar: Registrar,
    pub codecs: Arc<OnceLock<Codecs>>,
    reading: tokio::task::JoinHandle<()>,
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

pub async fn instance(brokers: &str) -> Instance {
    let config = config(brokers);
    let publisher = Arc::new(Publisher::new(&config.log, false).unwrap());
    let view = Arc::new(View::default());
    // Schemas are known by id: the registry is never asked.
    let registry = Registry::new("http://127.0.0.1:1");
    let reader = Reader::new(&config.log, registry, publisher.clone(), view.clone(), Readiness::default()).unwrap();
    let slot: Arc<OnceLock<Codecs>> = Arc::new(OnceLock::new());
    assert!(slot.set(codecs()).is_ok());
    let registrar = Registrar::new(view.clone(), publisher.clone(), slot.clone(), PATIENCE);
    let reading = tokio::spawn(async move { reader.run(&codecs()).await });
    let caught_up = async {
        while !view.caught_up() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, caught_up).await.expect("the directory is read to its end");
    Instance { view, publisher, registrar, codecs: slot, reading }
}

async fn register(stage: &Stage, key: &str, body: serde_json::Value) -> Answer {
    stage.send("POST", "/api/supervisor/register", &[("x-helix-key", key)], body.to_string()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_registers_is_seen_at_once_and_nobody_else_gets_its_agents() {
    let cluster = cluster();
    let brokers = cluster.bootstrap_servers();
    let instance = instance(&brokers).await;
    let stage = Stage::over(config(&brokers), instance.view.clone(), Some(codecs()), instance.publisher.clone());
    let claim = json!({"workspace": "ramaiah", "url": "http://127.0.0.1:4100", "agents": ["agent.one", " agent.two "], "dids": [918041763400_u64]});
    for added in [2, 0] {
        let answer = register(&stage, REGISTER_KEY, claim.clone()).await;
        assert_eq!((answer.status.as_u16(), &answer.json["added"]["agents"]), (200, &json!(added)), "{}", answer.json);
    }
    let directory = instance.view.snapshot();
    assert_eq!(directory.owner_of_did(&Did::new("918041763400").unwrap()).unwrap().as_str(), "ramaiah");
    // Another workspace wants one of them: told which, and gets none of the rest.
    let greedy =
        json!({"workspace": "global", "agents": ["agent.one", "rekha.cc"], "dids": ["918041763400", "918041763265"]});
    let answer = register(&stage, OTHER_REGISTER_KEY, greedy.clone()).await;
    answer.is_problem(409, "directory_conflict");
    assert_eq!(answer.json["conflicts"], json!({"agents": ["agent.one"], "dids": ["918041763400"]}));
    assert!(instance.view.snapshot().owner_of_agent(&AgentId::new("rekha.cc").unwrap()).is_none());
    stored(&brokers, topics::DIRECTORY, 4);
    // Released by its owner, it is free.
    let release = |key: &'static str, workspace: &'static str, what: &'static str| {
        let stage = &stage;
        async move {
            let path = format!("/api/supervisor/register/{workspace}/{what}");
            stage.send("DELETE", &path, &[("x-helix-key", key)], "").await
        }
    };
    release(OTHER_REGISTER_KEY, "global", "agents/agent.one").await.is_problem(409, "directory_conflict");
    assert_eq!(release(REGISTER_KEY, "ramaiah", "agents/agent.one").await.status, 204);
    assert_eq!(release(REGISTER_KEY, "ramaiah", "dids/918041763400").await.status, 204);
    assert_eq!(release(REGISTER_KEY, "ramaiah", "dids/918041763400").await.status, 204);
    assert_eq!(register(&stage, OTHER_REGISTER_KEY, greedy).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_instances_that_race_one_wins_and_all_agree_for_ever() {
    let cluster = cluster();
    let brokers = cluster.bootstrap_servers();
    let (one, two) = (instance(&brokers).await, instance(&brokers).await);
    let claim = |workspace: &str, round: usize| Claim {
        workspace: WorkspaceId::new(workspace).unwrap(),
        url: None,
        agents: [format!("shared.{round}"), format!("{workspace}.{round}")]
            .iter()
            .map(|id| AgentId::new(id).unwrap())
            .collect(),
        dids: std::collections::BTreeSet::new(),
    };
    let mut winners = Vec::new();
    for round in 0..5 {
        let (left, right) = (claim("ramaiah", round), claim("global", round));
        let outcomes = tokio::join!(one.registrar.claim(&left, "l"), two.registrar.claim(&right, "r"));
        let winner = match outcomes {
            (Ok(_), Err(RegistrarError::Conflict { agents, .. }))
            | (Err(RegistrarError::Conflict { agents, .. }), Ok(_)) => {
                assert_eq!(agents, [format!("shared.{round}")]);
                if one.view.snapshot().agents_of(&left.workspace).contains(format!("shared.{round}").as_str()) {
                    "ramaiah"
                } else {
                    "global"
                }
            }
            (left, right) => panic!("{left:?} {right:?}"),
        };
        winners.push(winner);
    }
    // What compaction would leave: each key's last record alone, read by a newcomer.
    let fresh = instance(&brokers).await;
    let mut count = 0;
    let mut last = std::collections::BTreeMap::new();
    let consumer_view = fresh.view.snapshot();
    for record in stored_all(&brokers) {
        count += 1;
        let entry = codecs().directory.decode(&record.value).unwrap();
        last.insert(record.key, entry);
    }
    assert!(count >= 5);
    let mut compacted = helix_schemas::directory::Directory::default();
    last.values().for_each(|entry| {
        compacted.apply(entry);
    });
    for (round, winner) in winners.iter().enumerate() {
        let loser = if *winner == "ramaiah" { "global" } else { "ramaiah" };
        for directory in [&compacted, &*consumer_view, &*one.view.snapshot(), &*two.view.snapshot()] {
            let owner = |id: String| directory.owner_of_agent(&AgentId::new(&id).unwrap()).map(ToString::to_string);
            assert_eq!(owner(format!("shared.{round}")).as_deref(), Some(*winner));
            assert_eq!(owner(format!("{winner}.{round}")).as_deref(), Some(*winner));
            assert_eq!(owner(format!("{loser}.{round}")), None, "nothing of a refused claim is added");
        }
    }
}

fn stored_all(brokers: &str) -> Vec<super::support::Stored> {
    super::support::read_topic(brokers, topics::DIRECTORY)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_claim_that_was_left_behind_is_repaired_by_the_next_reader() {
    let cluster = cluster();
    let brokers = cluster.bootstrap_servers();
    let publisher = Publisher::new(&config(&brokers).log, false).unwrap();
    for workspace in ["ramaiah", "global"] {
        let entry = helix_schemas::directory::DirectoryEntry {
            entry: EntryKind::Agent,
            value: "agent.one".to_owned(),
            workspace: Some(WorkspaceId::new(workspace).unwrap()),
            url: None,
            recorded_at: helix_schemas::time::ReceivedAt::from_micros(0),
            request_id: String::new(),
        };
        let value = codecs().directory.encode(&entry).unwrap();
        publisher.publish(topics::DIRECTORY, &entry.key(), &value).await.unwrap();
    }
    let reader = instance(&brokers).await;
    tokio::time::timeout(PATIENCE, reader.view.applied(2)).await.expect("the owner is written again");
    let last = codecs().directory.decode(&stored(&brokers, topics::DIRECTORY, 3)[2].value).unwrap();
    assert_eq!(last.workspace.unwrap().as_str(), "ramaiah");
}

/// The audit facts of a log: key, change, entry, value.
fn audit(brokers: &str) -> Vec<(String, [String; 3])> {
    let facts = super::support::read_topic(brokers, topics::FACTS).into_iter();
    let told = facts.map(|record| {
        let fact = codecs().fact.decode(&record.value).unwrap();
        assert_eq!((fact.provider.as_str(), fact.key()), ("helix", record.key.clone()));
        assert_eq!(fact.occurred_at, fact.received_at.as_occurred());
        assert!(!fact.source.request_id.is_empty() && fact.source.endpoint.starts_with("/api/supervisor/register"));
        let Body::DirectoryChanged(changed) = fact.body else { panic!("{fact:?}") };
        (record.key, [changed.change, changed.entry, changed.value])
    });
    let mut all: Vec<_> = told.collect();
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_and_refusal_leaves_a_fact_in_the_log_of_who_asked() {
    let cluster = cluster();
    let brokers = cluster.bootstrap_servers();
    let instance = instance(&brokers).await;
    let stage = Stage::over(config(&brokers), instance.view.clone(), Some(codecs()), instance.publisher.clone());
    let claim = json!({"workspace": "ramaiah", "agents": ["agent.one"], "dids": ["918041763400"]});
    let greedy = json!({"workspace": "global", "agents": ["agent.one"], "dids": []});
    // What is the workspace's already changes nothing; a refusal that is repeated is told once.
    for _ in 0..2 {
        assert_eq!(register(&stage, REGISTER_KEY, claim.clone()).await.status, 200);
        register(&stage, OTHER_REGISTER_KEY, greedy.clone()).await.is_problem(409, "directory_conflict");
    }
    let told = |key: &str, change: &str, entry: &str, value: &str| {
        (key.to_owned(), [change.to_owned(), entry.to_owned(), value.to_owned()])
    };
    let mut expected = vec![
        told("global/agent.one", "refused", "agent", "agent.one"),
        told("ramaiah/-", "claimed", "did", "918041763400"),
        told("ramaiah/agent.one", "claimed", "agent", "agent.one"),
    ];
    assert_eq!(audit(&brokers), expected);
    for record in super::support::read_topic(&brokers, topics::FACTS) {
        let names_the_owner = record.key.starts_with("global/") && occurs("ramaiah", &record.value);
        assert!(!names_the_owner, "a refusal never says whose it is");
    }
    // The same request id again: a release and a claim that are no repeats.
    let headers = [("x-helix-key", REGISTER_KEY), ("x-request-id", "one-and-the-same")];
    for _ in 0..2 {
        let path = "/api/supervisor/register/ramaiah/agents/agent.one";
        assert_eq!(stage.send("DELETE", path, &headers, "").await.status, 204);
        let answer = stage.send("POST", "/api/supervisor/register", &headers, claim.to_string()).await;
        assert_eq!(answer.status, 200);
        expected.push(told("ramaiah/agent.one", "claimed", "agent", "agent.one"));
        expected.push(told("ramaiah/agent.one", "released", "agent", "agent.one"));
    }
    expected.sort();
    assert_eq!(audit(&brokers), expected);
    let ids: std::collections::BTreeSet<_> = super::support::read_topic(&brokers, topics::FACTS)
        .iter()
        .map(|record| codecs().fact.decode(&record.value).unwrap().id)
        .collect();
    assert_eq!(ids.len(), expected.len(), "each change has an id of its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_stands_though_its_audit_cannot_be_written() {
    let cluster = rdkafka::mocking::MockCluster::new(1).unwrap();
    // No topic for facts.
    cluster.create_topic(topics::DIRECTORY, 1, 1).unwrap();
    let brokers = cluster.bootstrap_servers();
    cluster
        .topic_error(topics::FACTS, rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
        .unwrap();
    let instance = instance(&brokers).await;
    let claim = Claim {
        workspace: WorkspaceId::new("ramaiah").unwrap(),
        url: None,
        agents: [AgentId::new("agent.one").unwrap()].into(),
        dids: std::collections::BTreeSet::new(),
    };
    assert_eq!(instance.registrar.claim(&claim, "r").await.unwrap().agents, 1);
    let owner = instance.view.snapshot().owner_of_agent(&AgentId::new("agent.one").unwrap()).cloned();
    assert_eq!(owner.unwrap().as_str(), "ramaiah");
}
