//! Produce paths against librdkafka's mock cluster: what is stored, under which key, and what failures answer.

use std::time::{Duration, Instant};

use helix_ingest::redact::occurs;
use helix_schemas::{key::workspace_of_key, rejected::RejectedBody, topics};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use serde_json::Value;

use super::support::{
    ACCOUNT_KEY, Answer, SAMPLE_KEY, Stage, WEBHOOK_KEY, cluster, codecs, config, impatient, sample, samples, stored,
};

pub const AGENT_EVENT: &str = "/api/supervisor/agent-event";
const CALLBACK: &str = "/workspaces/ramaiah/webhooks/ozonetel/missed-call";

fn with_key(path: &str) -> String {
    let key = if path.starts_with("/workspaces") { WEBHOOK_KEY } else { ACCOUNT_KEY };
    format!("{path}/k/{key}")
}

pub async fn deliver(stage: &Stage, path: &str, body: impl Into<axum::body::Body>) -> Answer {
    stage.post(&with_key(path), body).await
}

fn first(answer: &Answer) -> &Value {
    &answer.json["results"][0]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_stored_under_its_workspace_and_agent() {
    let cluster = cluster();
    let stage = Stage::new(config(&cluster.bootstrap_servers()));
    let answer = deliver(&stage, AGENT_EVENT, sample("A01.1").body).await;
    assert_eq!(answer.statuses(), ["stored"]);
    assert_eq!(first(&answer)["topic"], topics::FACTS);
    assert!(first(&answer)["offset"].is_i64() && first(&answer)["partition"].is_i64());
    let facts = stored(&cluster.bootstrap_servers(), topics::FACTS, 1);
    assert_eq!(facts[0].key, "ramaiah/agent.one");
    let fact = codecs().fact.decode(&facts[0].value).unwrap();
    assert_eq!(first(&answer)["id"], fact.id.to_string());
    assert_eq!(fact.raw, sample("A01.1").body.as_bytes());
    assert_eq!(fact.source.endpoint, AGENT_EVENT);
    assert_eq!(Value::from(fact.source.request_id.clone()), answer.json["requestId"]);
    assert_eq!(fact.source.account, "demo_user");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_without_an_agent_is_keyed_by_call_and_attributed_by_did() {
    let cluster = cluster();
    let stage = Stage::new(config(&cluster.bootstrap_servers()));
    assert_eq!(deliver(&stage, AGENT_EVENT, sample("C02.1").body).await.statuses(), ["stored"]);
    assert_eq!(stored(&cluster.bootstrap_servers(), topics::FACTS, 1)[0].key, "ramaiah/call:9062174000000001");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_attributed_is_set_aside_and_never_guessed() {
    let cluster = cluster();
    let stage = Stage::new(config(&cluster.bootstrap_servers()));
    let nobody = sample("A01.1").body.replace("agent.one", "stranger");
    let answer = deliver(&stage, AGENT_EVENT, nobody).await;
    assert_eq!(answer.statuses(), ["unrouted"]);
    assert_eq!(first(&answer)["reason"], "agent_and_did_unknown");
    // The agent is global's, the DID ramaiah's.
    let torn = sample("C01.1").body.replace("agent.one", "rekha.cc");
    let answer = deliver(&stage, AGENT_EVENT, torn).await;
    assert_eq!(answer.statuses(), ["unrouted"]);
    assert_eq!(first(&answer)["reason"], "directory_conflict");
    let events = stored(&cluster.bootstrap_servers(), topics::UNROUTED, 2);
    let mut keys: Vec<_> = events.iter().map(|event| event.key.as_str()).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["agent:rekha.cc", "agent:stranger"]);
    stored(&cluster.bootstrap_servers(), topics::FACTS, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callback_belongs_to_the_workspace_of_its_path_and_loses_its_key() {
    let cluster = cluster();
    let stage = Stage::new(config(&cluster.bootstrap_servers()));
    let mut ids = std::collections::BTreeSet::new();
    for id in ["K01.1", "K02.1", "K03.1", "K04.1", "K06.1", "K07.1", "K10.1", "K13.1"] {
        let answer = deliver(&stage, CALLBACK, sample(id).body).await;
        assert_eq!(answer.statuses().len(), 1, "{id}");
        ids.insert(first(&answer)["id"].to_string());
    }
    // K06 is K01 in an array: the same fact, recognised.
    assert_eq!(ids.len(), 7);
    for record in stored(&cluster.bootstrap_servers(), topics::FACTS, 7) {
        assert_eq!(workspace_of_key(record.key.as_bytes()), Some("ramaiah"));
        assert!(!occurs(SAMPLE_KEY, &record.value));
        assert!(!occurs(SAMPLE_KEY, &codecs().fact.decode(&record.value).unwrap().raw));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_in_a_comment_reaches_neither_raw_nor_body() {
    let cluster = cluster();
    let stage = Stage::new(config(&cluster.bootstrap_servers()));
    let body =
        format!(r#"{{"monitorUCID":"1","Comments":"use {WEBHOOK_KEY} or KKabcdef0123","Apikey":"KKabcdef0123"}}"#);
    assert_eq!(deliver(&stage, CALLBACK, body).await.statuses(), ["stored"]);
    let record = stored(&cluster.bootstrap_servers(), topics::FACTS, 1).remove(0);
    for secret in [WEBHOOK_KEY, "KKabcdef0123"] {
        assert!(!occurs(secret, &record.value), "{}", String::from_utf8_lossy(&record.value));
    }
    assert!(String::from_utf8_lossy(&record.value).contains("use REDACTED or REDACTED"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_is_recognised_and_not_appended_again() {
    let cluster = cluster();
    let stage = Stage::new(config(&cluster.bootstrap_servers()));
    let one = deliver(&stage, AGENT_EVENT, sample("C07.1").body).await;
    let two = deliver(&stage, AGENT_EVENT, sample("C07.2").body).await;
    assert_eq!((one.statuses(), two.statuses()), (vec!["stored"], vec!["duplicate"]));
    for member in ["id", "topic", "partition", "offset"] {
        assert_eq!(first(&one)[member], first(&two)[member]);
    }
    // Another body under the same id is a conflict: appended, never an overwrite.
    let changed = sample("C07.1").body.replace("919000000001", "919000000009");
    let three = deliver(&stage, AGENT_EVENT, changed).await;
    assert_eq!(three.statuses(), ["stored"]);
    assert_eq!(first(&three)["id"], first(&one)["id"]);
    stored(&cluster.bootstrap_servers(), topics::FACTS, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_cannot_be_read_is_kept_and_its_id_told() {
    let cluster = cluster();
    let stage = Stage::new(config(&cluster.bootstrap_servers()));
    let bodies: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"[]".to_vec(),
        sample("K14.2").body.into_bytes(),
        sample("K14.3").body.into_bytes(),
        format!("{{\"Apikey\":\"{SAMPLE_KEY}\",\"a\":00:01").into_bytes(),
        b"\xff\xfe{".to_vec(),
    ];
    let mut told = Vec::new();
    for body in &bodies {
        let answer = deliver(&stage, CALLBACK, body.clone()).await;
        answer.is_problem(400, "body_unreadable");
        told.push(answer.json["rejectedId"].as_str().unwrap().to_owned());
    }
    let kept = stored(&cluster.bootstrap_servers(), topics::REJECTED, bodies.len());
    let kept: Vec<RejectedBody> = kept.iter().map(|record| codecs().rejected.decode(&record.value).unwrap()).collect();
    for (body, id) in bodies.iter().zip(told) {
        let record = kept.iter().find(|record| record.id.to_string() == id).unwrap();
        assert_eq!(record.workspace.as_ref().unwrap().as_str(), "ramaiah");
        assert_eq!(record.endpoint, CALLBACK);
        assert_eq!(record.code, "body_unreadable");
        assert!(!occurs(SAMPLE_KEY, &record.raw));
        if !occurs(SAMPLE_KEY, body) {
            assert_eq!(&record.raw, body);
        }
    }
    // Raw control characters are no reason to refuse.
    assert_eq!(deliver(&stage, CALLBACK, sample("K14.1").body).await.statuses(), ["stored"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_event_without_an_agent_is_kept_and_given_to_nobody() {
    let cluster = cluster();
    let stage = Stage::new(config(&cluster.bootstrap_servers()));
    for index in 1..=4 {
        let answer = deliver(&stage, AGENT_EVENT, sample(&format!("A07.{index}")).body).await;
        answer.is_problem(400, "agent_id_missing");
        assert!(answer.json["rejectedId"].is_string());
    }
    deliver(&stage, CALLBACK, r#"{"Status":"NotAnswered"}"#).await.is_problem(400, "call_id_missing");
    let kept = stored(&cluster.bootstrap_servers(), topics::REJECTED, 5);
    assert!(
        kept.iter()
            .any(|record| codecs().rejected.decode(&record.value).unwrap().raw == sample("A07.2").body.as_bytes())
    );
    stored(&cluster.bootstrap_servers(), topics::FACTS, 0);
    stored(&cluster.bootstrap_servers(), topics::UNROUTED, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_event_does_not_fail_its_batch_and_order_is_kept() {
    let cluster = cluster();
    let stage = Stage::new(config(&cluster.bootstrap_servers()));
    let [login, nobody, calling, incall] = ["A01.1", "A07.1", "A05.1", "A05.2"].map(|id| sample(id).body);
    let answer = deliver(&stage, AGENT_EVENT, format!("[{login},{nobody},7,{calling},{incall}]")).await;
    assert_eq!(answer.statuses(), ["stored", "rejected", "rejected", "stored", "stored"]);
    let reasons: Vec<_> =
        answer.json["results"].as_array().unwrap().iter().map(|result| result["reason"].as_str()).collect();
    assert_eq!(reasons, [None, Some("agent_id_missing"), Some("event_not_an_object"), None, None]);
    let facts = stored(&cluster.bootstrap_servers(), topics::FACTS, 3);
    // One key, one partition, the order of the batch; each with its own bytes.
    let raw: Vec<_> = facts.iter().map(|record| codecs().fact.decode(&record.value).unwrap().raw).collect();
    assert_eq!(raw, [login.as_bytes(), calling.as_bytes(), incall.as_bytes()]);
    stored(&cluster.bootstrap_servers(), topics::REJECTED, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_body_is_kept_without_secrets_and_within_bounds() {
    let cluster = cluster();
    let stage = Stage::new(config(&cluster.bootstrap_servers()));
    let wrong = "a-wrong-key-that-nobody-has";
    let begun = Instant::now();
    let answer = stage.post(&format!("{AGENT_EVENT}/k/{wrong}?key={wrong}"), sample("A01.1").body).await;
    answer.is_problem(401, "unauthorised");
    assert!(answer.json["rejectedId"].is_string());
    let headers = [
        ("x-helix-key", WEBHOOK_KEY),
        ("x-helix-workspace", "nobody"),
        ("cookie", "c"),
        ("x-forwarded-for", "10.0.0.1"),
    ];
    let answer = stage.send("POST", "/webhooks/ozonetel/missed-call", &headers, sample("K01.1").body).await;
    answer.is_problem(404, "unknown_workspace");
    assert!(answer.json["rejectedId"].is_string());
    // Many at once, until one is not kept.
    let (mut kept, mut let_go) = (2, 0);
    while let_go == 0 {
        let many = (0..50).map(|_| stage.post(AGENT_EVENT, "x".repeat(100_000)));
        for answer in futures_util::future::join_all(many).await {
            answer.is_problem(401, "unauthorised");
            *(if answer.json["rejectedId"].is_string() { &mut kept } else { &mut let_go }) += 1;
        }
    }
    // A hundred, and twenty for each second since the first.
    let most = 100 + 20 * (usize::try_from(begun.elapsed().as_secs()).unwrap() + 1);
    assert!((100..=most).contains(&kept), "{kept} kept, at most {most}");
    for record in stored(&cluster.bootstrap_servers(), topics::REJECTED, kept) {
        let record = codecs().rejected.decode(&record.value).unwrap();
        let shown = format!("{} {:?} {} {}", record.endpoint, record.headers, record.content_type, record.reason);
        assert!(!shown.contains(wrong) && !shown.contains(WEBHOOK_KEY) && !shown.contains("10.0.0.1"), "{shown}");
        assert!(!occurs(SAMPLE_KEY, &record.raw) && record.raw.len() <= 64 * 1024);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_said_to_be_stored_before_it_is_acknowledged() {
    let cluster = cluster();
    let stage = Stage::new(config(&cluster.bootstrap_servers()));
    deliver(&stage, AGENT_EVENT, sample("A01.1").body).await.statuses();
    let slow = Duration::from_millis(700);
    cluster.broker_round_trip_time(1, slow).unwrap();
    let begun = Instant::now();
    assert_eq!(deliver(&stage, AGENT_EVENT, sample("A06.1").body).await.statuses(), ["stored"]);
    assert!(begun.elapsed() >= slow, "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_refuses_or_is_gone_is_answered_503() {
    let cluster = cluster();
    let stage = Stage::new(config(&cluster.bootstrap_servers()));
    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    cluster.request_errors(RDKafkaApiKey::Produce, &[refusal]);
    let answer = deliver(&stage, AGENT_EVENT, sample("A01.1").body).await;
    answer.is_problem(503, "log_unavailable");
    assert!(answer.headers.contains_key("retry-after"));
    // Nothing was remembered: the repeat is stored.
    assert_eq!(deliver(&stage, AGENT_EVENT, sample("A01.1").body).await.statuses(), ["stored"]);
    // What waits for an answer is one stage, what waits for none another.
    let hurried = Stage::new(impatient(&cluster.bootstrap_servers()));
    cluster.broker_down(1).unwrap();
    deliver(&hurried, AGENT_EVENT, sample("A06.1").body).await.is_problem(503, "log_unavailable");
    deliver(&hurried, CALLBACK, "no body").await.is_problem(503, "log_unavailable");
    cluster.broker_up(1).unwrap();
    assert_eq!(deliver(&stage, AGENT_EVENT, sample("A06.1").body).await.statuses(), ["stored"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_passing_fault_of_the_broker_is_retried_without_a_second_record() {
    let cluster = cluster();
    let stage = Stage::new(config(&cluster.bootstrap_servers()));
    cluster.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION]);
    assert_eq!(deliver(&stage, AGENT_EVENT, sample("A01.1").body).await.statuses(), ["stored"]);
    stored(&cluster.bootstrap_servers(), topics::FACTS, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_beyond_repair_is_replaced() {
    let cluster = cluster();
    let stage = Stage::new(config(&cluster.bootstrap_servers()));
    deliver(&stage, AGENT_EVENT, sample("A01.1").body).await.statuses();
    cluster.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER]);
    let mut answers = Vec::new();
    for index in 1..=3 {
        answers.push(deliver(&stage, AGENT_EVENT, sample(&format!("A05.{index}")).body).await.status.as_u16());
    }
    assert_eq!(answers.last(), Some(&202), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_is_answered_at_once() {
    let mut config = impatient(super::support::NOWHERE);
    config.log.queue_kib = 5;
    let patience = config.log.delivery_timeout;
    let stage = Stage::new(config);
    let body = format!(
        r#"{{"eventType":"Agent","data":{{"action":"login","agentId":"agent.one","x":"{}"}}}}"#,
        "y".repeat(3000)
    );
    // One fills the queue and waits for the log in vain; the other is told so at once.
    let begun = Instant::now();
    let deliveries = [deliver(&stage, AGENT_EVENT, body.clone()), deliver(&stage, AGENT_EVENT, body)];
    let mut codes = Vec::new();
    for (answer, waited) in futures_util::future::join_all(deliveries.map(|delivery| async {
        let answer = delivery.await;
        (answer, begun.elapsed())
    }))
    .await
    {
        assert_eq!(answer.status, 503);
        let code = answer.json["code"].as_str().unwrap().to_owned();
        if code == "backpressure" {
            assert_eq!(answer.headers["retry-after"], "1");
            assert!(waited < patience, "{waited:?}");
        } else {
            assert!(waited >= patience, "{waited:?}");
        }
        codes.push(code);
    }
    codes.sort();
    assert_eq!(codes, ["backpressure", "log_unavailable"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_past_its_deadline_is_answered_503() {
    let mut config = config(super::support::NOWHERE);
    config.ingest.deadline = Duration::from_millis(200);
    let stage = Stage::new(config);
    deliver(&stage, AGENT_EVENT, sample("A01.1").body).await.is_problem(503, "deadline_exceeded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_sample_is_answered_as_the_contract_says() {
    let cluster = cluster();
    let stage = Stage::new(config(&cluster.bootstrap_servers()));
    let mut stored_or_kept = 0;
    for sample in samples().into_iter().filter(|sample| sample.path.is_some()) {
        let path = match sample.path.as_deref() {
            Some("/webhooks/ozonetel/missed-call") | None => CALLBACK,
            Some(path) => path,
        };
        let answer = deliver(&stage, path, sample.body.clone()).await;
        let expected = match sample.id.as_str() {
            "A07.1" | "A07.2" | "A07.3" | "A07.4" | "K14.2" | "K14.3" => 400,
            _ => 202,
        };
        assert_eq!(answer.status, expected, "{}: {}", sample.id, answer.json);
        stored_or_kept += 1;
    }
    assert!(stored_or_kept > 35);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_event_that_found_no_room_nothing_of_its_batch_overtakes_it() {
    let cluster = cluster();
    let mut config = config(&cluster.bootstrap_servers());
    config.log.queue_kib = 5;
    let stage = Stage::new(config);
    let event = |action: &str, size: usize| {
        format!(
            r#"{{"eventType":"Agent","data":{{"action":"{action}","agentId":"agent.one","x":"{}"}}}}"#,
            "y".repeat(size)
        )
    };
    // The first takes most of the queue, the second finds no room, the third would.
    let batch = format!("[{},{},{}]", event("login", 3000), event("release", 3000), event("calling", 10));
    deliver(&stage, AGENT_EVENT, batch).await.is_problem(503, "backpressure");
    let facts = stored(&cluster.bootstrap_servers(), topics::FACTS, 1);
    let fact = codecs().fact.decode(&facts[0].value).unwrap();
    assert_eq!(fact.raw, event("login", 3000).as_bytes());
}
