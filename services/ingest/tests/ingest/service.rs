//! The whole service over sockets: it starts without anything, becomes ready when all is there, and drains.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    routing::{post, put},
};
use helix_schemas::topics;
use metrics_exporter_prometheus::PrometheusBuilder;
use rdkafka::mocking::MockCluster;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

use super::support::{ACCOUNT_KEY, REGISTER_KEY, config, sample, stored};

/// A registry that gives every schema the next id.
async fn registry() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let next = Arc::new(AtomicU32::new(1));
    let register = move || {
        let id = next.fetch_add(1, Ordering::Relaxed);
        async move { Json(json!({"id": id})) }
    };
    let routes = Router::new()
        .route("/config/{subject}", put(|| async { Json(json!({"compatibility": "FULL_TRANSITIVE"})) }))
        .route("/subjects/{subject}/versions", post(register));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    url
}

async fn ready(url: &str) -> (u16, Value) {
    let answer = reqwest::get(format!("{url}/readyz")).await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_is_ready_only_when_all_is_there_and_ends_without_loss() {
    let cluster = MockCluster::new(1).unwrap();
    let brokers = cluster.bootstrap_servers();
    // All topics but one, as an operator's mistake would have it.
    for topic in topics::ALL.into_iter().filter(|topic| topic.name != topics::FACTS) {
        cluster.create_topic(topic.name, topic.partitions, 1).unwrap();
    }
    let mut config = config(&brokers);
    config.registry.url = registry().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let metrics = PrometheusBuilder::new().build_recorder().handle();
    let service = tokio::spawn(helix_ingest::run(config, listener, metrics, async move {
        let _ = stopped.await;
    }));
    let wait_for = |wanted: u16| {
        let url = url.clone();
        async move {
            let mut last = ready(&url).await;
            for _ in 0..1200 {
                if last.0 == wanted && (wanted == 200 || last.1["notReady"]["directory"].is_null()) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
                last = ready(&url).await;
            }
            last
        }
    };
    let (status, why) = wait_for(503).await;
    assert_eq!(status, 503);
    assert!(
        why["notReady"]["log"].as_str().is_some_and(|why| why.contains("telephony.facts") || why.contains("asked")),
        "{why}"
    );
    cluster.create_topic(topics::FACTS, 12, 1).unwrap();
    let (status, why) = wait_for(200).await;
    assert_eq!(status, 200, "{why}");

    let http = reqwest::Client::new();
    let claim = json!({"workspace": "ramaiah", "url": "http://127.0.0.1:1", "agents": ["agent.one"], "dids": []});
    let answer = http
        .post(format!("{url}/api/supervisor/register"))
        .header("X-Helix-Key", REGISTER_KEY)
        .json(&claim)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    // Read your writes: the very next event is routed by it.
    let event = |id: &str| {
        http.post(format!("{url}/api/supervisor/agent-event?key={ACCOUNT_KEY}")).body(sample(id).body).send()
    };
    let answer: Value = event("A01.1").await.unwrap().json().await.unwrap();
    assert_eq!(answer["results"][0]["status"], "stored");
    // Asked to stop while one is on its way: that one is still stored, and answered.
    cluster.broker_round_trip_time(1, Duration::from_millis(400)).unwrap();
    let body = sample("A06.1").body;
    let mut last = BufReader::new(TcpStream::connect(url.trim_start_matches("http://")).await.unwrap());
    let head = format!(
        "POST /api/supervisor/agent-event?key={ACCOUNT_KEY} HTTP/1.1\r\nhost: helix\r\nexpect: 100-continue\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    last.write_all(head.as_bytes()).await.unwrap();
    // Whoever is told to go on is in the service's hands.
    let mut told = String::new();
    last.read_line(&mut told).await.unwrap();
    assert_eq!(told, "HTTP/1.1 100 Continue\r\n");
    stop.send(()).unwrap();
    last.write_all(body.as_bytes()).await.unwrap();
    last.read_to_string(&mut told).await.unwrap();
    assert!(told.contains("\r\nHTTP/1.1 202 "), "{told}");
    service.await.unwrap().unwrap();
    assert!(reqwest::get(format!("{url}/livez")).await.is_err(), "nothing listens any more");
    // Two events, and that the agent was claimed.
    stored(&brokers, topics::FACTS, 3);
}
