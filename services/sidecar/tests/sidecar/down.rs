//! Components that are away: the board goes on, and what needs them says so.

use std::time::{Duration, Instant};

use helix_kit::{auth::Role, secret::Secret};
use helix_runtime::{Lag, Store as _};
use helix_schemas::fact::AgentState;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    hospital::Hospital,
    stage::WORKSPACE,
    support::{Feeder, Log, store},
};

/// Nothing here takes this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(120);

async fn readyz(hospital: &Hospital) -> (u16, Value) {
    let response = hospital.http.get(format!("{}/readyz", hospital.running.url)).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn without_postgres_the_sidecar_starts_serves_the_board_and_says_what_is_down() {
    let hospital = Hospital::open_with(|stage| {
        stage.own().postgres_url = Secret::new("postgres://ws_ramaiah:x@127.0.0.1:9/helix");
    })
    .await;
    let mut feeder = Feeder::acquire(store(&hospital.redis.url(), WORKSPACE), Log::default()).await;
    feeder.feed(&[hospital.facts.state("agent.one", 0, AgentState::Ready, None)]).await.unwrap();
    feeder.store.beat(Some(Lag::default())).await.unwrap();
    let begun = Instant::now();
    let said = loop {
        let (status, body) = readyz(&hospital).await;
        if status == 200 && body["degraded"]["postgres"].is_string() {
            break body;
        }
        assert!(begun.elapsed() < PATIENCE, "{body}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(said["notReady"], json!({}));
    assert_eq!(hospital.get("/api/supervisor/board").await["agents"][0]["agentId"], "agent.one");
    assert_eq!(hospital.get("/api/workspace").await["workspace"], WORKSPACE);
    let admin = hospital.token(Role::Admin);
    for path in [
        "/api/agents",
        "/api/agents/agent.one/timeline",
        "/api/agents/agent.one/performance",
        "/api/calls",
        "/api/calls/c1",
        "/api/missed-calls",
        "/api/metrics",
    ] {
        assert_eq!(hospital.refusal(path, &admin).await, (503, "component_down".to_owned()), "{path}");
    }
    for action in ["claim", "release", "waive"] {
        let (status, answer) = hospital.act("c1", action, &admin, Some(json!({"reason": "x"}))).await;
        assert_eq!((status, answer["code"].as_str().unwrap()), (503, "component_down"), "{action}");
    }
}

/// Passes bytes to Postgres and back until it freezes, with its connections open.
async fn freezing_proxy(to: u16) -> (u16, tokio::sync::watch::Sender<bool>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (freeze, frozen) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut frozen = frozen.clone();
            tokio::spawn(async move {
                let mut server = tokio::net::TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                let told = async { drop(frozen.wait_for(|frozen| *frozen).await) };
                tokio::select! {
                    _ended = tokio::io::copy_bidirectional(&mut client, &mut server) => return,
                    () = told => {}
                }
                std::future::pending::<()>().await;
            });
        }
    });
    (port, freeze)
}

#[tokio::test]
async fn a_postgres_that_freezes_while_it_is_asked_is_told_as_down_and_is_back_when_it_is() {
    let mut hospital = Hospital::open().await;
    let facts = hospital.facts.clone();
    hospital.records.feed(&[facts.rang("c1", Some("agent.one"), 0, "919845012345")]).await;
    let url = hospital.records.url();
    let port: u16 = url.rsplit(':').next().unwrap().split('/').next().unwrap().parse().unwrap();
    let (proxy, freeze) = freezing_proxy(port).await;
    hospital.stage.own().postgres_url = Secret::new(url.replace(&format!(":{port}/"), &format!(":{proxy}/")));
    let listen = ([127, 0, 0, 1], 0).into();
    hospital.running = hospital.stage.start(listen, helix_sidecar::Extensions::default()).await;
    assert_eq!(hospital.get("/api/calls").await["calls"][0]["callId"], "c1");
    freeze.send(true).unwrap();
    // Postgres never answers; who asks is.
    let token = hospital.token(Role::Admin);
    let refused = tokio::time::timeout(PATIENCE, hospital.refusal("/api/calls", &token)).await;
    assert_eq!(refused.expect("it waits for ever"), (503, "component_down".to_owned()));
    // What is connected anew passes: only the connections of before are frozen.
    freeze.send(false).unwrap();
    let begun = Instant::now();
    while hospital.refusal("/api/calls", &hospital.token(Role::Admin)).await.0 != 200 {
        assert!(begun.elapsed() < PATIENCE, "it did not come back");
    }
}

#[tokio::test]
async fn slow_questions_that_hold_every_connection_do_not_make_postgres_look_down() {
    let hospital = Hospital::open().await;
    let admin = hospital.token(Role::Admin);
    assert_eq!(hospital.refusal("/api/calls", &admin).await.0, 200);
    let mut held = hospital.records.pool.begin().await.unwrap();
    sqlx::query("lock table read.calls").execute(&mut *held).await.unwrap();
    let questions = futures_util::future::join_all((0..8).map(|_| hospital.refusal("/api/calls", &admin)));
    let looking = async {
        let begun = Instant::now();
        // Longer than two looks of the probe.
        while begun.elapsed() < Duration::from_secs(5) {
            let (_, body) = readyz(&hospital).await;
            assert_eq!(body["degraded"].get("postgres"), None, "{body}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let (refused, ()) = tokio::join!(questions, looking);
    assert!(refused.iter().all(|(status, _)| *status == 503), "{refused:?}");
    held.rollback().await.unwrap();
    assert_eq!(hospital.refusal("/api/calls", &admin).await.0, 200);
}

#[tokio::test]
async fn without_clickhouse_calls_are_listed_and_one_call_says_what_is_down() {
    let mut hospital = Hospital::open().await;
    let facts = hospital.facts.clone();
    hospital.records.feed(&[facts.rang("c1", Some("agent.one"), 0, "919845012345")]).await;
    assert_eq!(hospital.get("/api/calls").await["calls"][0]["callId"], "c1");
    let (status, answer) = hospital.ask(Method::GET, "/api/calls/c1", &hospital.token(Role::Admin), None).await;
    assert_eq!((status.as_u16(), answer["code"].as_str().unwrap()), (503, "component_down"));
    assert!(answer["detail"].as_str().unwrap().contains("clickhouse"));
}

#[tokio::test]
async fn without_the_log_lists_are_read_and_nothing_is_claimed() {
    let mut hospital = Hospital::open().await;
    let facts = hospital.facts.clone();
    hospital
        .records
        .feed(&[facts.rang("m", None, 0, "919845012345"), facts.ended("m", None, 60, "919845012345")])
        .await;
    assert_eq!(hospital.get("/api/missed-calls").await["total"], 1);
    let (status, answer) = hospital.act("m", "claim", &hospital.token(Role::Supervisor), None).await;
    assert_eq!((status, answer["code"].as_str().unwrap()), (503, "component_down"));
    assert_eq!(hospital.get("/api/missed-calls").await["missedCalls"][0]["claimedBy"], Value::Null);
}
