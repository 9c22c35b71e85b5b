//! Redrive against the mock cluster: what was set aside becomes facts, in order, once, under its ids and times.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use helix_ingest::{
    normalise::Hint,
    outlet::Outlet,
    publish::Publisher,
    redrive::{
        RedriveError,
        background::{GROUP, Redriver},
        command::{Installation, Watcher},
        listing, rejected, unrouted,
    },
    registrar::Claim,
};
use helix_schemas::{
    fact::{Fact, Kind},
    id::FactId,
    names::{AgentId, Did, WorkspaceId},
    registry::Registry,
    rejected::RejectedBody,
    time::ReceivedAt,
    topics,
    unrouted::UnroutedEvent,
};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    topic_partition_list::TopicPartitionListElem,
    types::{RDKafkaApiKey, RDKafkaRespErr},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{
    directory::{Instance, instance},
    support::{ACCOUNT_KEY, Answer, Stage, cluster, codecs, config, context, read_topic, sample, the_one},
};

const AGENT_EVENT: &str = "/api/supervisor/agent-event";
/// The mock group alone takes three seconds to settle.
const PATIENCE: Duration = Duration::from_secs(120);

/// The task of one instance; aborted with the value, as at the end of the process.
struct Redriving(JoinHandle<()>);

impl Redriving {
    fn start(brokers: &str, instance: &Instance) -> Self {
        let redriver = Redriver::new(
            &config(brokers).log,
            Registry::new("http://127.0.0.1:1"),
            instance.codecs.clone(),
            instance.publisher.clone(),
            Outlet::new(instance.publisher.clone(), &config(brokers).spool).unwrap(),
            instance.view.clone(),
        );
        Self(tokio::spawn(redriver.unwrap().run()))
    }
}

impl Drop for Redriving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn stage(brokers: &str, instance: &Instance) -> Stage {
    Stage::over(config(brokers), instance.view.clone(), Some(codecs()), instance.publisher.clone())
}

fn claim(workspace: &str, agents: &[&str], dids: &[&str]) -> Claim {
    Claim {
        workspace: WorkspaceId::new(workspace).unwrap(),
        url: None,
        agents: agents.iter().map(|id| AgentId::new(id).unwrap()).collect(),
        dids: dids.iter().map(|did| Did::new(did).unwrap()).collect(),
    }
}

/// What an answer says of its one event: id, partition, offset.
fn placed(answer: &Answer, status: &str) -> (String, i64, i64) {
    assert_eq!(answer.statuses(), [status]);
    let result = &answer.json["results"][0];
    (
        result["id"].as_str().unwrap().to_owned(),
        result["partition"].as_i64().unwrap(),
        result["offset"].as_i64().unwrap(),
    )
}

async fn post(stage: &Stage, body: String) -> Answer {
    stage.post(&format!("{AGENT_EVENT}/k/{ACCOUNT_KEY}"), body).await
}

/// A sign-in of an agent at some second of the day.
fn sign_in(agent: &str, second: usize) -> String {
    let at = format!("2026-03-24 {:02}:{:02}:{:02}", 8 + second / 3600, second / 60 % 60, second % 60);
    sample("A01.1").body.replace("agent.one", agent).replace("2026-03-24 14:39:52", &at)
}

/// The facts of a log that are no audit, in the order of their partitions.
fn facts(brokers: &str) -> Vec<Fact> {
    let all = read_topic(brokers, topics::FACTS);
    let all = all.iter().map(|record| codecs().fact.decode(&record.value).unwrap());
    all.filter(|fact| fact.kind != Kind::DirectoryChanged).collect()
}

/// Events and marks of `telephony.unrouted`.
fn set_aside(brokers: &str) -> (Vec<UnroutedEvent>, Vec<UnroutedEvent>) {
    let all = read_topic(brokers, topics::UNROUTED);
    let all = all.iter().map(|record| codecs().unrouted.decode(&record.value).unwrap());
    all.partition(|record| record.redriven.is_none())
}

async fn until<T>(what: &str, mut asked: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = asked() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until that many marks are there, and gives them.
async fn marked(brokers: &str, count: usize) -> Vec<UnroutedEvent> {
    until("everything is marked", || Some(set_aside(brokers).1).filter(|marks| marks.len() >= count)).await
}

fn committed(brokers: &str, partition: i32) -> Option<i64> {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", brokers).set("group.id", GROUP).create().unwrap();
    let mut asked = TopicPartitionList::new();
    asked.add_partition(topics::UNROUTED, partition);
    let told = consumer.committed_offsets(asked, PATIENCE).unwrap();
    match told.elements().first().map(TopicPartitionListElem::offset) {
        Some(Offset::Offset(offset)) => Some(offset),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_become_facts_in_order_under_their_ids_and_times_once_they_can_be_attributed() {
    let cluster = cluster();
    let brokers = cluster.bootstrap_servers();
    let instance = instance(&brokers).await;
    let stage = stage(&brokers, &instance);
    let mut by_agent = Vec::new();
    // Later events first: it is the order of arrival that is kept.
    for second in [30, 10, 20] {
        by_agent.push(placed(&post(&stage, sign_in("stranger", second)).await, "unrouted").0);
    }
    let by_did = placed(&post(&stage, sample("C02.1").body).await, "unrouted").0;
    let stays = placed(&post(&stage, sign_in("nobody", 1)).await, "unrouted");
    let _redriving = Redriving::start(&brokers, &instance);
    instance.registrar.claim(&claim("ramaiah", &["stranger"], &["918040000001"]), "r").await.unwrap();
    let marks = marked(&brokers, 4).await;

    let (events, _) = set_aside(&brokers);
    let facts = facts(&brokers);
    let ids = |agent: Option<&str>| {
        let of = facts.iter().filter(|fact| fact.agent.as_ref().map(AgentId::as_str) == agent);
        of.map(|fact| fact.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(ids(Some("stranger")), by_agent);
    assert_eq!(ids(None), [by_did]);
    for fact in &facts {
        let event = events.iter().find(|event| event.id == fact.id).unwrap();
        assert!(*fact == event.clone().into_fact(WorkspaceId::new("ramaiah").unwrap()), "not what was set aside");
    }
    // Each once, with a mark that says nothing of the event.
    assert_eq!((facts.len(), marks.len(), events.len()), (4, 4, 5));
    assert!(
        marks.iter().all(|mark| mark.raw.is_empty() && mark.redriven.as_ref().unwrap().workspace.as_str() == "ramaiah")
    );
    let (_, partition, offset) = stays;
    let partition = i32::try_from(partition).unwrap();
    let held = until("the place is noted", || committed(&brokers, partition)).await;
    assert_eq!(held, offset, "never past what waits");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_torn_between_two_workspaces_stays_until_the_directory_is_corrected() {
    let cluster = cluster();
    let brokers = cluster.bootstrap_servers();
    let instance = instance(&brokers).await;
    let stage = stage(&brokers, &instance);
    let _redriving = Redriving::start(&brokers, &instance);
    // The agent is global's, the DID ramaiah's.
    instance.registrar.claim(&claim("global", &["agent.one"], &[]), "g").await.unwrap();
    instance.registrar.claim(&claim("ramaiah", &[], &["918040000001"]), "r").await.unwrap();
    let torn = post(&stage, sample("C01.1").body).await;
    assert_eq!(torn.json["results"][0]["reason"], "directory_conflict");
    // A sentinel of the same key goes its way: the torn one was looked at, and stays.
    let (id, ..) = placed(&torn, "unrouted");
    let orphan = placed(&post(&stage, sign_in("orphan", 5)).await, "unrouted").0;
    instance.registrar.claim(&claim("ramaiah", &["orphan"], &[]), "r2").await.unwrap();
    let marks = marked(&brokers, 1).await;
    assert_eq!(marks[0].id.to_string(), orphan);
    assert_eq!(facts(&brokers).len(), 1);
    // Corrected: the agent changes hands.
    let agent = helix_schemas::directory::EntryKind::Agent;
    instance.registrar.release(&WorkspaceId::new("global").unwrap(), agent, "agent.one", "g2").await.unwrap();
    let marks = marked(&brokers, 2).await;
    let mark = marks.iter().find(|mark| mark.id.to_string() == id).unwrap();
    assert_eq!(mark.redriven.as_ref().unwrap().workspace.as_str(), "ramaiah");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_ends_in_the_middle_is_followed_by_one_that_loses_and_repeats_no_mark() {
    const EVENTS: usize = 700;
    let cluster = cluster();
    let brokers = cluster.bootstrap_servers();
    let instance = instance(&brokers).await;
    let stage = stage(&brokers, &instance);
    let mut ids = BTreeMap::<String, Vec<String>>::new();
    for second in 0..EVENTS {
        let agent = format!("stranger.{}", second % 7);
        let (id, ..) = placed(&post(&stage, sign_in(&agent, second)).await, "unrouted");
        ids.entry(agent).or_default().push(id);
    }
    let agents: Vec<&str> = ids.keys().map(String::as_str).collect();
    instance.registrar.claim(&claim("ramaiah", &agents, &[]), "r").await.unwrap();
    // Slow enough that it is at work for seconds: each of a key's hundred facts waits for the one before.
    cluster.broker_round_trip_time(1, Duration::from_millis(80)).unwrap();
    let first = Redriving::start(&brokers, &instance);
    until("some are facts", || (!facts(&brokers).is_empty()).then_some(())).await;
    drop(first);
    cluster.broker_round_trip_time(1, Duration::ZERO).unwrap();
    let before = set_aside(&brokers).1.len();
    println!("ended after {before} marks");
    assert!(before < EVENTS, "it was done before it could be ended");
    let _second = Redriving::start(&brokers, &instance);
    let marks = marked(&brokers, EVENTS).await;
    let offsets: BTreeSet<_> = marks.iter().map(|mark| mark.id).collect();
    assert_eq!((offsets.len(), marks.len()), (EVENTS, EVENTS));
    // Facts may be there twice, under one id; the first arrivals are in order.
    let mut found = BTreeMap::<String, Vec<String>>::new();
    for fact in facts(&brokers) {
        let ids = found.entry(fact.agent.as_ref().unwrap().to_string()).or_default();
        let id = fact.id.to_string();
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    assert_eq!(found, ids);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_refuses_for_a_while_neither_loses_nor_reorders() {
    let cluster = cluster();
    let brokers = cluster.bootstrap_servers();
    let instance = instance(&brokers).await;
    let stage = stage(&brokers, &instance);
    let mut ids = Vec::new();
    for second in 0..40 {
        ids.push(placed(&post(&stage, sign_in("stranger", second)).await, "unrouted").0);
    }
    let _redriving = Redriving::start(&brokers, &instance);
    // A sentinel tells that the task is at work.
    post(&stage, sign_in("sentinel", 1)).await;
    instance.registrar.claim(&claim("global", &["sentinel"], &[]), "g").await.unwrap();
    marked(&brokers, 1).await;
    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    let fine = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
    instance.registrar.claim(&claim("ramaiah", &["stranger"], &[]), "r").await.unwrap();
    cluster.request_errors(RDKafkaApiKey::Produce, &[fine, fine, refusal, fine, refusal, refusal, fine, refusal]);
    marked(&brokers, 41).await;
    let mut found = Vec::new();
    for fact in facts(&brokers).into_iter().filter(|fact| fact.workspace.as_str() == "ramaiah") {
        let id = fact.id.to_string();
        if !found.contains(&id) {
            found.push(id);
        }
    }
    assert_eq!(found, ids);
}

/// Nobody waits, and nobody stops it.
struct Nobody;

impl Watcher for Nobody {
    fn begin(&self, _what: &'static str, _total: u64) {}
    fn step(&self) {}
    fn end(&self) {}
    fn stopped(&self) -> bool {
        false
    }
}

fn installation(brokers: &str) -> Installation {
    Installation::with(&config(brokers), Registry::new("http://127.0.0.1:1"), codecs())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_hand_a_dry_run_writes_nothing_and_a_run_does_what_it_said() {
    let cluster = cluster();
    let brokers = cluster.bootstrap_servers();
    let instance = instance(&brokers).await;
    let stage = stage(&brokers, &instance);
    let mut ids = Vec::new();
    for second in [3, 1, 2] {
        ids.push(placed(&post(&stage, sign_in("stranger", second)).await, "unrouted").0);
    }
    post(&stage, sign_in("nobody", 1)).await;
    post(&stage, sign_in("rekha.cc", 1)).await;
    instance.registrar.claim(&claim("ramaiah", &["stranger"], &[]), "r").await.unwrap();
    instance.registrar.claim(&claim("global", &["rekha.cc"], &[]), "g").await.unwrap();
    let installation = installation(&brokers);
    let ramaiah = WorkspaceId::new("ramaiah").unwrap();

    let missing = WorkspaceId::new("elsewhere").unwrap();
    let refused = unrouted::Plan::make(&installation, Some(&missing), &Nobody).await;
    assert_eq!(refused.unwrap_err().exit_code(), 2);
    let plan = unrouted::Plan::make(&installation, Some(&ramaiah), &Nobody).await.unwrap();
    let summary = plan.summary().clone();
    assert_eq!((summary.pending, summary.other_workspaces), (5, 1));
    assert_eq!(summary.attributable, [(ramaiah.clone(), 3)].into());
    assert_eq!(summary.stay, [("agent_and_did_unknown", 1)].into());
    drop(plan);
    assert_eq!((facts(&brokers).len(), set_aside(&brokers).1.len()), (0, 0), "a plan writes nothing");

    let plan = unrouted::Plan::make(&installation, Some(&ramaiah), &Nobody).await.unwrap();
    let done = plan.carry_out(&installation, &Nobody).await;
    assert!(done.failed.is_none());
    assert_eq!(done.redriven, [(ramaiah, 3)].into());
    assert_eq!(facts(&brokers).iter().map(|fact| fact.id.to_string()).collect::<Vec<_>>(), ids);
    let again = unrouted::Plan::make(&installation, None, &Nobody).await.unwrap();
    assert_eq!((again.summary().pending, again.summary().attributable.len()), (2, 1));

    let listed = listing::unrouted(&installation, false, 1, &Nobody).await.unwrap();
    assert_eq!((listed.total, listed.records.len()), (2, 1));
    let all = listing::unrouted(&installation, true, 50, &Nobody).await.unwrap();
    assert_eq!(all.records.iter().filter(|line| line.redriven_to.as_deref() == Some("ramaiah")).count(), 3);
    let shown = listing::show_unrouted(&installation, all.records[0].id, &Nobody).await.unwrap();
    assert!(shown[0].to_json()["raw"].as_str().unwrap().contains("stranger"));
    let nothing = listing::show_unrouted(&installation, FactId::from_uuid(uuid_of(7)), &Nobody).await;
    assert!(matches!(nothing, Err(RedriveError::NoSuchRecord(_))));
}

fn uuid_of(number: u8) -> uuid::Uuid {
    uuid::Uuid::from_bytes([number; 16])
}

fn rejected_body(number: u8, code: &str, endpoint: &str, raw: &str) -> RejectedBody {
    RejectedBody {
        id: FactId::from_uuid(uuid_of(number)),
        code: code.to_owned(),
        reason: "an older build did not understand it".to_owned(),
        received_at: context(None).received_at,
        method: "POST".to_owned(),
        endpoint: endpoint.to_owned(),
        workspace: None,
        headers: BTreeMap::new(),
        content_type: "application/json".to_owned(),
        raw: raw.as_bytes().to_vec(),
        request_id: format!("request-{number}"),
        redriven: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kept_bodies_are_read_again_as_if_they_had_just_arrived() {
    let cluster = cluster();
    let brokers = cluster.bootstrap_servers();
    let instance = instance(&brokers).await;
    instance.registrar.claim(&claim("ramaiah", &["agent.one"], &[]), "r").await.unwrap();
    let publisher = Publisher::new(&config(&brokers).log, false).unwrap();
    let (good, unknown) = (sample("A01.1").body, sign_in("stranger", 9));
    let callback = "/workspaces/ramaiah/webhooks/ozonetel/missed-call";
    let bodies = [
        rejected_body(1, "body_unreadable", AGENT_EVENT, &good),
        rejected_body(2, "body_unreadable", AGENT_EVENT, &unknown),
        rejected_body(3, "body_unreadable", AGENT_EVENT, "still no body"),
        rejected_body(4, "unauthorised", AGENT_EVENT, &sign_in("agent.one", 4)),
        rejected_body(5, "body_unreadable", AGENT_EVENT, &format!("[{},7]", sign_in("agent.one", 5))),
        rejected_body(6, "call_id_missing", "/nowhere", &good),
        RejectedBody {
            workspace: Some(WorkspaceId::new("ramaiah").unwrap()),
            ..rejected_body(7, "body_unreadable", callback, &sample("K01.1").body)
        },
    ];
    for body in &bodies {
        let key = if body.endpoint == callback {
            "/workspaces/{workspace}/webhooks/ozonetel/missed-call"
        } else {
            AGENT_EVENT
        };
        publisher.publish(topics::REJECTED, key, &codecs().rejected.encode(body).unwrap()).await.unwrap();
    }
    let config = config(&brokers);
    let installation = installation(&brokers);
    let choice = rejected::Choice::default();
    let plan = rejected::Plan::make(&installation, &config, &choice, &Nobody).await.unwrap();
    let told: Value = serde_json::to_value(plan.summary()).unwrap();
    let expected = json!({
        "pending": 7, "readable": 4, "facts": {"ramaiah": 3}, "unrouted": 1, "kept": 1, "unreadable": 0,
        "stay": {"body_unreadable": 1, "sender_refused": 1, "endpoint_unknown": 1},
    });
    assert_eq!(told, expected);
    assert_eq!((facts(&brokers).len(), read_topic(&brokers, topics::REJECTED).len()), (0, 7), "a plan writes nothing");
    let done = plan.carry_out(&installation, &Nobody).await;
    assert!(done.failed.is_none());
    assert_eq!((done.bodies, done.unrouted), (4, 1));

    let facts = facts(&brokers);
    let expected = the_one(good.as_bytes(), &helix_ingest::normalise::Context { hint: Hint::Agent, ..context(None) });
    let fact = facts.iter().find(|fact| fact.id == expected.id).expect("the id it always had");
    assert_eq!((fact.received_at, fact.occurred_at), (bodies[0].received_at, expected.occurred_at));
    assert_eq!((fact.raw.as_slice(), fact.source.request_id.as_str()), (good.as_bytes(), "request-1"));
    assert!(facts.iter().any(|fact| fact.kind == Kind::CallSummarised && fact.workspace.as_str() == "ramaiah"));
    let (events, _) = set_aside(&brokers);
    assert_eq!(events.iter().map(|event| event.agent.as_ref().unwrap().as_str()).collect::<Vec<_>>(), ["stranger"]);
    // What is done is not done again; the part of the batch that is no event is kept for itself.
    let plan = rejected::Plan::make(&installation, &config, &choice, &Nobody).await.unwrap();
    assert_eq!((plan.summary().pending, plan.summary().readable), (4, 0));
    assert_eq!(plan.summary().stay.get("event_not_an_object"), None, "7 is JSON, but no body");
    let listed = listing::rejected(&installation, false, 50, &Nobody).await.unwrap();
    assert_eq!(listed.records.iter().filter(|line| line.code == "event_not_an_object").count(), 1);
    // Of an unknown sender only where that is asked for.
    let choice = rejected::Choice { include_refused: true, code: Some("unauthorised".to_owned()), id: None };
    let plan = rejected::Plan::make(&installation, &config, &choice, &Nobody).await.unwrap();
    assert_eq!((plan.summary().pending, plan.summary().readable), (1, 1));
    let choice = rejected::Choice { id: Some(FactId::from_uuid(uuid_of(99))), ..rejected::Choice::default() };
    let nothing = rejected::Plan::make(&installation, &config, &choice, &Nobody).await;
    assert!(matches!(nothing, Err(RedriveError::NoSuchRecord(_))));
    let shown = listing::show_rejected(&installation, bodies[0].id, &Nobody).await.unwrap();
    assert_eq!(shown[0].fields["redriven"]["stored"], 1);
    assert!(ReceivedAt::now() > bodies[0].received_at);
}

#[test]
fn bytes_are_shown_without_doing_anything_to_a_terminal() {
    assert_eq!(listing::escaped("caf\u{e9}\n\u{1b}[2J".as_bytes()), "caf\u{e9}\n\\u{1b}[2J");
    assert_eq!(listing::escaped(&[b'a', 0xff, 0]), "a\\xff\\u{0}");
}
