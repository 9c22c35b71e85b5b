//! The HTTP contract where no broker is needed.

use std::sync::Arc;

use helix_ingest::directory::View;

use super::support::{ACCOUNT_KEY, NOWHERE, REGISTER_KEY, Stage, WEBHOOK_KEY, config, directory, sample};

const WEBHOOKS: [&str; 8] = [
    "/api/supervisor/agent-event",
    "/api/supervisor/agent-event/k/anything",
    "/api/supervisor/call-event",
    "/api/supervisor/call-event/k/anything",
    "/webhooks/ozonetel/missed-call",
    "/webhooks/ozonetel/missed-call/k/anything",
    "/workspaces/ramaiah/webhooks/ozonetel/missed-call",
    "/workspaces/ramaiah/webhooks/ozonetel/missed-call/k/anything",
];

/// Schemas unknown: nothing can be stored, and nothing waits for a broker.
fn unstarted() -> Stage {
    Stage::with(config(NOWHERE), Arc::new(View::fixed(&directory())), None)
}

#[tokio::test]
async fn the_dashboard_s_probe_is_answered() {
    let stage = unstarted();
    for path in WEBHOOKS {
        for method in ["GET", "HEAD"] {
            assert_eq!(stage.send(method, path, &[], "").await.status, 200, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn without_the_right_key_nothing_is_taken() {
    let stage = unstarted();
    let event = sample("A01.1").body;
    for path in WEBHOOKS {
        let answer = stage
            .send("POST", path, &[("x-helix-workspace", "ramaiah"), ("x-helix-key", "wrong")], event.clone())
            .await;
        answer.is_problem(401, "unauthorised");
        assert!(answer.headers.contains_key("www-authenticate"), "{path}");
    }
    // A workspace's key opens no account path, nor another workspace.
    for path in ["/api/supervisor/agent-event", "/workspaces/global/webhooks/ozonetel/missed-call"] {
        stage.send("POST", path, &[("x-helix-key", WEBHOOK_KEY)], event.clone()).await.is_problem(401, "unauthorised");
    }
    // Nor does the account's key in a header open a workspace's callback path.
    let path = "/workspaces/ramaiah/webhooks/ozonetel/missed-call";
    stage.send("POST", path, &[("x-helix-key", ACCOUNT_KEY)], event).await.is_problem(401, "unauthorised");
    for (method, path) in [
        ("POST", "/api/supervisor/register"),
        ("POST", "/api/supervisor/heartbeat"),
        ("DELETE", "/api/supervisor/register/ramaiah/agents/agent.one"),
        ("DELETE", "/api/supervisor/register/ramaiah/dids/918040000001"),
        ("GET", "/api/supervisor/directory"),
    ] {
        let answer = stage.send(method, path, &[("x-helix-key", "wrong")], r#"{"workspace":"ramaiah"}"#).await;
        answer.is_problem(401, "unauthorised");
    }
}

#[tokio::test]
async fn the_key_is_taken_from_header_query_and_path() {
    let stage = unstarted();
    let event = sample("A01.1").body;
    // 503 and not 401: the key was right, the schemas are not known yet.
    for path in [
        format!("/api/supervisor/agent-event?key={ACCOUNT_KEY}"),
        format!("/api/supervisor/call-event/k/{ACCOUNT_KEY}"),
        format!("/workspaces/ramaiah/webhooks/ozonetel/missed-call/k/{WEBHOOK_KEY}"),
    ] {
        let answer = stage.post(&path, event.clone()).await;
        answer.is_problem(503, "component_down");
        assert!(answer.headers.contains_key("retry-after"));
    }
    let headers = [("x-helix-key", WEBHOOK_KEY), ("x-helix-workspace", "ramaiah")];
    stage.send("POST", "/webhooks/ozonetel/missed-call", &headers, event).await.is_problem(503, "component_down");
    // A callback may carry the account's key instead; in a batch each event must.
    let callback = format!(r#"{{"monitorUCID":"1","Apikey":"{ACCOUNT_KEY}"}}"#);
    let path = "/workspaces/ramaiah/webhooks/ozonetel/missed-call";
    stage.post(path, callback.clone()).await.is_problem(503, "component_down");
    stage.post(path, format!("[{callback},{{\"monitorUCID\":\"2\"}}]")).await.is_problem(401, "unauthorised");
}

#[tokio::test]
async fn an_unknown_workspace_is_not_found() {
    let stage = unstarted();
    for (path, host) in [
        ("/workspaces/nobody/webhooks/ozonetel/missed-call", "ramaiah"),
        ("/workspaces/No%20Body/webhooks/ozonetel/missed-call", "ramaiah"),
        ("/workspaces/%ff/webhooks/ozonetel/missed-call", "ramaiah"),
        ("/webhooks/ozonetel/missed-call", "nobody"),
        ("/webhooks/ozonetel/missed-call", ""),
    ] {
        let headers = [("x-helix-workspace", host), ("x-helix-key", WEBHOOK_KEY)];
        stage.send("POST", path, &headers, "{}").await.is_problem(404, "unknown_workspace");
    }
}

#[tokio::test]
async fn a_large_body_an_unknown_path_and_a_wrong_method_have_their_codes() {
    let stage = unstarted();
    let path = format!("/api/supervisor/agent-event?key={ACCOUNT_KEY}");
    stage.post(&path, "x".repeat(262_145)).await.is_problem(413, "body_too_large");
    stage.post(&path, "x".repeat(262_144)).await.is_problem(503, "component_down");
    stage.post("/nowhere", "").await.is_problem(404, "no_such_path");
    let answer = stage.send("PUT", "/api/supervisor/agent-event", &[], "").await;
    answer.is_problem(405, "no_such_method");
    assert!(answer.headers["allow"].to_str().unwrap().contains("POST"));
}

#[tokio::test]
async fn a_request_id_is_taken_or_made_and_returned() {
    let stage = unstarted();
    let answer = stage.send("GET", "/api/supervisor/directory", &[("x-request-id", "mine-1")], "").await;
    assert_eq!(answer.json["requestId"], "mine-1");
    let answer = stage.send("GET", "/api/supervisor/directory", &[("x-request-id", "no good")], "").await;
    assert_eq!(answer.json["requestId"].as_str().unwrap().len(), 36);
}

#[tokio::test]
async fn before_the_directory_is_read_no_event_is_attributed() {
    let stage = Stage::with(config(NOWHERE), Arc::new(View::default()), Some(super::support::codecs()));
    let answer = stage.post(&format!("/api/supervisor/agent-event?key={ACCOUNT_KEY}"), sample("A01.1").body).await;
    answer.is_problem(503, "component_down");
}

#[tokio::test]
async fn the_directory_shows_each_key_its_own() {
    let stage = unstarted();
    let list = |key: &'static str| {
        let stage = &stage;
        async move {
            let answer = stage.send("GET", "/api/supervisor/directory", &[("x-helix-key", key)], "").await;
            assert_eq!(answer.status, 200);
            answer.json["workspaces"].as_array().unwrap().clone()
        }
    };
    let all = list(ACCOUNT_KEY).await;
    assert_eq!(all.len(), 2);
    let own = list(REGISTER_KEY).await;
    assert_eq!(own.len(), 1);
    assert_eq!(own[0]["workspace"], "ramaiah");
    assert_eq!(own[0]["agents"], serde_json::json!(["agent.one", "agent.two"]));
    assert_eq!(own[0]["dids"], serde_json::json!(["918040000001"]));
    // Redis does not answer: nobody knows who lives.
    assert!(own[0]["live"].is_null());
}

#[tokio::test]
async fn a_heartbeat_needs_a_registration_and_redis() {
    let stage = unstarted();
    let beat = |key: &'static str, workspace: &'static str, stage: Stage| async move {
        let body = format!(r#"{{"workspace":"{workspace}"}}"#);
        stage.send("POST", "/api/supervisor/heartbeat", &[("x-helix-key", key)], body).await
    };
    beat(REGISTER_KEY, "ramaiah", stage).await.is_problem(503, "component_down");
    let empty =
        Stage::with(config(NOWHERE), Arc::new(View::fixed(&helix_schemas::directory::Directory::default())), None);
    beat(REGISTER_KEY, "ramaiah", empty).await.is_problem(404, "not_registered");
    beat(REGISTER_KEY, "nobody", unstarted()).await.is_problem(404, "unknown_workspace");
}

#[tokio::test]
async fn a_stranger_learns_neither_what_a_registration_lacks_nor_which_workspaces_exist() {
    let stage = unstarted();
    for path in ["/api/supervisor/register", "/api/supervisor/heartbeat"] {
        for body in ["{", r#"{"workspace":"ramaiah"}"#, r#"{"workspace":"nobody"}"#] {
            for headers in
                [vec![], vec![("x-helix-key", "a-wrong-key-that-nobody-has")], vec![("x-helix-key", ACCOUNT_KEY)]]
            {
                stage.send("POST", path, &headers, body).await.is_problem(401, "unauthorised");
            }
        }
    }
    for path in ["nobody/agents/agent.one", "ramaiah/agents/agent.one", "No%20Body/dids/1"] {
        let path = format!("/api/supervisor/register/{path}");
        stage.send("DELETE", &path, &[], "").await.is_problem(401, "unauthorised");
    }
}

#[tokio::test]
async fn a_registration_that_does_not_fit_is_refused() {
    let stage = unstarted();
    for body in [
        "",
        "[]",
        "{",
        r#"{"workspace":"ramaiah","agents":"agent.one"}"#,
        r#"{"workspace":"ramaiah","agents":[null]}"#,
        r#"{"workspace":"ramaiah","agents":["a\u0000b"]}"#,
        r#"{"workspace":"ramaiah","url":"ftp://x"}"#,
        r#"{"workspace":7}"#,
    ] {
        let answer = stage.send("POST", "/api/supervisor/register", &[("x-helix-key", REGISTER_KEY)], body).await;
        answer.is_problem(400, "request_invalid");
    }
}
