//! Who gets in, and what they are given.

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use helix_fold::board::visible::Visible;
use helix_kit::auth::Role;
use helix_schemas::fact::AgentState;
use helix_sidecar::{Clock, Extensions, PastBoard, PastBoardError, PastBoards};
use serde_json::{Value, json};

use crate::{
    client::{Lateness, World},
    stage::{PASSWORD, WORKSPACE},
};

const NUMBER: &str = "919845012345";

async fn problem(response: reqwest::Response) -> (u16, String) {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    // Who is not known is told how to be (RFC 9110, 11.6.1), and nobody else.
    let challenge = response.headers().get("www-authenticate").map(|value| value.to_str().unwrap());
    assert_eq!(challenge, (status == 401).then_some("Bearer realm=\"helix\""));
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["status"], status);
    assert!(body["requestId"].is_string());
    (status, body["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn without_a_valid_token_of_this_workspace_nothing_is_shown() {
    let world = World::start().await;
    for path in ["/api/supervisor/board", "/api/supervisor/events", "/api/session"] {
        let none = world.http.get(world.url(path)).send().await.unwrap();
        assert_eq!(problem(none).await, (401, "token_missing".to_owned()), "{path}");
        assert_eq!(problem(world.get(path, "nonsense").await).await, (401, "token_invalid".to_owned()), "{path}");
        let other = world.stage.token("global", Role::Admin, None);
        assert_eq!(problem(world.get(path, &other).await).await, (403, "wrong_workspace".to_owned()), "{path}");
    }
    assert_eq!(problem(world.get("/api/nothing", &world.supervisor()).await).await, (404, "no_such_path".to_owned()));
}

#[tokio::test]
async fn a_sign_in_gives_a_token_that_opens_the_board() {
    let world = World::start().await;
    let login = |email: &str, password: &str| {
        world.http.post(world.url("/api/auth/login")).json(&json!({"email": email, "password": password})).send()
    };
    let session: Value = login("Supervisor@ramaiah.example", PASSWORD).await.unwrap().json().await.unwrap();
    assert_eq!((session["role"].as_str(), session["workspace"].as_str()), (Some("supervisor"), Some(WORKSPACE)));
    let board: Value =
        world.get("/api/supervisor/board", session["token"].as_str().unwrap()).await.json().await.unwrap();
    assert_eq!(board["workspace"], WORKSPACE);
    // Whatever the content type says, and where there is none.
    let credentials = json!({"email": "agent@ramaiah.example", "password": PASSWORD}).to_string();
    for content_type in [None, Some("text/plain")] {
        let request = world.http.post(world.url("/api/auth/login")).body(credentials.clone());
        let request = content_type.into_iter().fold(request, |request, told| request.header("content-type", told));
        let agent: Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(agent["agentId"], "agent.one", "{content_type:?}");
    }
    let nothing = world.http.post(world.url("/api/auth/login")).send().await.unwrap();
    assert_eq!(problem(nothing).await, (400, "login_malformed".to_owned()));
    assert_eq!(problem(login("nobody@ramaiah.example", PASSWORD).await.unwrap()).await.0, 401);
    for _ in 0..5 {
        assert_eq!(problem(login("supervisor@ramaiah.example", "wrong").await.unwrap()).await.1, "sign_in_refused");
    }
    let held = login("supervisor@ramaiah.example", PASSWORD).await.unwrap();
    assert!(held.headers()["retry-after"].to_str().unwrap().parse::<u32>().unwrap() > 0);
    assert_eq!(problem(held).await, (429, "too_many_sign_ins".to_owned()));
}

#[tokio::test]
async fn behind_our_gateway_one_guesser_holds_up_nobody_but_himself() {
    let world = World::start().await;
    let login = |from: &str, email: &str, password: &str| {
        let request = world.http.post(world.url("/api/auth/login")).header("x-forwarded-for", from);
        request.json(&json!({"email": email, "password": password})).send()
    };
    // What a client says of himself stands before what our gateway adds, and is not believed.
    let mut guesses = 0;
    loop {
        let from = format!("198.51.100.{guesses}, 203.0.113.7");
        let answer = login(&from, &format!("guess{guesses}@x.example"), "wrong").await.unwrap();
        if answer.status() == 429 {
            break;
        }
        assert_eq!(answer.status(), 401);
        guesses += 1;
        assert!(guesses < 200);
    }
    assert!(guesses >= 60, "{guesses}");
    let held = login("203.0.113.7", "supervisor@ramaiah.example", PASSWORD).await.unwrap();
    assert_eq!(problem(held).await, (429, "too_many_sign_ins".to_owned()));
    let other = login("203.0.113.8", "supervisor@ramaiah.example", PASSWORD).await.unwrap();
    assert_eq!(other.status(), 200);
}

#[tokio::test]
async fn guesses_that_come_all_at_once_are_no_more_than_a_burst() {
    let world = World::start().await;
    let guess = |number: usize| {
        let request = world.http.post(world.url("/api/auth/login"));
        let request = request.header("x-forwarded-for", format!("198.51.100.{number}"));
        request.json(&json!({"email": "Supervisor@ramaiah.example", "password": format!("wrong {number}")})).send()
    };
    let answers = futures_util::future::join_all((0..60).map(guess)).await;
    let mut refused = 0;
    for answer in answers {
        let answer = answer.unwrap();
        if answer.status() == 401 {
            refused += 1;
            continue;
        }
        // However many are held off, the person waits no longer for it.
        let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!(answer.status() == 429 && wait <= 31, "{wait}");
    }
    assert_eq!(refused, 5);
    let long = json!({"email": "a".repeat(255), "password": "x"});
    let answer = world.http.post(world.url("/api/auth/login")).json(&long).send().await.unwrap();
    assert_eq!(problem(answer).await, (400, "login_malformed".to_owned()));
}

#[tokio::test]
async fn a_token_of_a_sign_in_here_is_given_anew_and_no_other() {
    let world = World::start().await;
    let credentials = json!({"email": "agent@ramaiah.example", "password": PASSWORD});
    let answer = world.http.post(world.url("/api/auth/login")).json(&credentials).send().await.unwrap();
    let first: Value = answer.json().await.unwrap();
    let renew = |token: &str| world.http.post(world.url("/api/auth/renew")).bearer_auth(token).send();
    let answer = renew(first["token"].as_str().unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200);
    let second: Value = answer.json().await.unwrap();
    for member in ["role", "workspace", "agentId"] {
        assert_eq!(first[member], second[member]);
    }
    let session = world.get("/api/session", second["token"].as_str().unwrap()).await.json::<Value>().await.unwrap();
    assert_eq!(session["subject"], "agent@ramaiah.example");
    assert_eq!(renew(second["token"].as_str().unwrap()).await.unwrap().status(), 200);
    // Nobody who is configured here; and somebody whose role has changed since.
    for token in [world.supervisor(), world.stage.token_of("agent@ramaiah.example", Role::Supervisor)] {
        assert_eq!(problem(renew(&token).await.unwrap()).await, (401, "token_not_renewed".to_owned()));
    }
}

#[tokio::test]
async fn numbers_are_masked_and_an_agent_sees_only_what_is_its_own() {
    let mut world = World::start().await;
    let facts = world.facts.clone();
    world
        .feeder
        .feed(&[
            facts.state("agent.one", 0, AgentState::OnCall, None),
            facts.state("agent.two", 0, AgentState::Ready, None),
            facts.rang("c1", Some("agent.one"), 0, NUMBER),
            facts.answered("c1", "agent.one", 4, NUMBER),
            facts.rang("c2", None, 5, NUMBER),
        ])
        .await
        .unwrap();
    let version = world.feeder.root();
    let board = |role, agent| {
        let token = world.stage.token(WORKSPACE, role, agent);
        let world = &world;
        let version = version.clone();
        async move {
            loop {
                let admin =
                    world.get("/api/supervisor/board", &world.supervisor()).await.json::<Value>().await.unwrap();
                if admin["root"] == version.as_str() {
                    return world.get("/api/supervisor/board", &token).await.text().await.unwrap();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    };
    for role in [Role::Admin, Role::Supervisor] {
        assert!(board(role, None).await.contains(NUMBER));
    }
    for role in [Role::Analyst, Role::Auditor] {
        let text = board(role, None).await;
        assert!(!text.contains(NUMBER) && text.contains("••••••2345"), "{role:?}");
    }
    let own: Value = serde_json::from_str(&board(Role::Agent, Some("agent.one")).await).unwrap();
    assert_eq!(own["agents"].as_array().unwrap().len(), 1);
    assert_eq!(own["calls"][0]["callId"], "c1");
    assert_eq!(own["calls"].as_array().unwrap().len(), 1);
    assert_eq!(own["waiting"], json!([]));
    assert_eq!((&own["today"], &own["openMissedCalls"]), (&Value::Null, &Value::Null));
    assert!(!own.to_string().contains(NUMBER));
    let nobody: Value = serde_json::from_str(&board(Role::Agent, None).await).unwrap();
    assert_eq!((&nobody["agents"], &nobody["calls"]), (&json!([]), &json!([])));
}

#[tokio::test]
async fn the_page_is_served_compressed_with_headers_that_keep_it_to_itself() {
    let world = World::start().await;
    let page = world.http.get(world.url("/")).header("accept-encoding", "gzip").send().await.unwrap();
    assert_eq!(page.headers()["content-encoding"], "gzip");
    assert_eq!(page.headers()["x-content-type-options"], "nosniff");
    let policy = page.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("frame-ancestors 'none'") && policy.contains("script-src 'self';"));
    let tag = page.headers()["etag"].to_str().unwrap().to_owned();
    let again = world.http.get(world.url("/")).header("if-none-match", tag).send().await.unwrap();
    assert_eq!(again.status(), 304);
    let html = world.http.get(world.url("/")).send().await.unwrap().text().await.unwrap();
    let script = html.split('"').find(|part| part.starts_with("/assets/") && part.ends_with(".js")).unwrap();
    let script = world.http.get(world.url(script)).send().await.unwrap();
    assert!(script.headers()["cache-control"].to_str().unwrap().contains("immutable"));
    assert_eq!(script.headers()["content-type"], "text/javascript; charset=utf-8");
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(world.http.get(world.url(path)).send().await.unwrap().status(), 200, "{path}");
    }
    assert_eq!(world.http.get(world.url("/assets/../Cargo.toml")).send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn the_workspace_is_registered_with_the_ingest() {
    let world = World::start().await;
    for _ in 0..1200 {
        if !world.stage.ingest.registrations.lock().unwrap().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let told = world.stage.ingest.registrations.lock().unwrap()[0].clone();
    assert_eq!(
        told,
        json!({"workspace": WORKSPACE, "url": "http://127.0.0.1:4100", "agents": ["agent.one", "agent.two"], "dids": ["918041763400"]})
    );
}

struct Yesterday;

#[async_trait]
impl PastBoards for Yesterday {
    async fn board(&self, as_of: DateTime<Utc>, clock: Clock) -> Result<PastBoard, PastBoardError> {
        if clock == Clock::Received {
            return Err(PastBoardError::TooFar);
        }
        assert_eq!(as_of.to_rfc3339(), "2026-03-01T04:00:00+00:00");
        let mut visible = Visible::default();
        visible.set("waiting/c1", &json!({"callId": "c1", "caller": NUMBER, "did": null, "skill": null, "since": "x"}));
        Ok(PastBoard { visible, version: 7 })
    }
}

#[tokio::test]
async fn a_past_board_is_refused_without_a_log_and_masked_with_one() {
    let world = World::start().await;
    let path = "/api/supervisor/board?asOf=2026-03-01T09:30:00%2B05:30";
    assert_eq!(problem(world.get(path, &world.supervisor()).await).await, (400, "as_of_not_here".to_owned()));
    let bad = world.get("/api/supervisor/board?asOf=yesterday", &world.supervisor()).await;
    assert_eq!(problem(bad).await, (400, "as_of_malformed".to_owned()));
    let extensions = Extensions { past_boards: Some(Arc::new(Yesterday)), routes: None };
    let running = world.stage.start(([127, 0, 0, 1], 0).into(), extensions).await;
    let ask = |role, clock: &str| {
        let token = world.stage.token(WORKSPACE, role, None);
        world.http.get(format!("{}{path}&clock={clock}", running.url)).bearer_auth(token).send()
    };
    let full: Value = ask(Role::Supervisor, "event").await.unwrap().json().await.unwrap();
    assert_eq!((&full["waiting"][0]["caller"], &full["version"]), (&json!(NUMBER), &json!(7)));
    let masked: Value = ask(Role::Analyst, "event").await.unwrap().json().await.unwrap();
    assert_eq!(masked["waiting"][0]["caller"], "••••••2345");
    assert_eq!(problem(ask(Role::Analyst, "received").await.unwrap()).await.1, "as_of_too_far");
    assert_eq!(problem(ask(Role::Analyst, "sun").await.unwrap()).await.1, "clock_unknown");
}

#[tokio::test]
async fn a_silent_projector_and_an_ingest_that_is_not_ready_make_the_board_stale_within_five_seconds() {
    use helix_runtime::{Lag, Store};
    let mut world = World::start().await;
    let token = world.supervisor();
    world.feeder.store.beat(Some(Lag::default())).await.unwrap();
    let mut events = world.events(&token, None).await;
    while events.next_named("heartbeat").await.data["stale"] == true {
        world.feeder.store.beat(Some(Lag::default())).await.unwrap();
    }
    let (since, lateness) = (std::time::Instant::now(), Lateness::watch());
    world.stage.ingest.ready.store(false, Ordering::Relaxed);
    let mut seen: Vec<String> = Vec::new();
    while seen.len() < 2 {
        let beat = events.next_named("heartbeat").await.data;
        seen = beat["staleReasons"].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect();
        assert!(since.elapsed() < Duration::from_secs(6) + lateness.so_far(), "{seen:?}");
        assert!(beat["stale"] == false || beat["staleSince"].is_string());
    }
    assert_eq!(seen, ["projector", "ingest"]);
    // Ready, and nothing of what it takes reaches the log.
    world.stage.ingest.spools.store(true, Ordering::Relaxed);
    world.stage.ingest.ready.store(true, Ordering::Relaxed);
    while events.next_named("heartbeat").await.data["staleReasons"] != json!(["ingest"]) {
        world.feeder.store.beat(Some(Lag::default())).await.unwrap();
    }
    world.stage.ingest.spools.store(false, Ordering::Relaxed);
    while events.next_named("heartbeat").await.data["stale"] == true {
        world.feeder.store.beat(Some(Lag::default())).await.unwrap();
    }
}
