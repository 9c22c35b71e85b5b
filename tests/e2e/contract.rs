//! The contract's surface: names, statuses, problems, the directory, the gateway.

use anyhow::{Context, ensure};
use helix_tests::{
    cli,
    stack::{Stack, answer},
};
use serde_json::{Value, json};

use crate::Outcome;

const AGENT_EVENT: &str = "/api/supervisor/agent-event";
const MISSED_CALL: &str = "/webhooks/ozonetel/missed-call";

pub(crate) async fn dev_env_has_every_name_of_the_contract(stack: &Stack) -> Outcome {
    let mut wanted: Vec<String> = [
        "HELIX_INGEST_URL",
        "HELIX_SIDECAR_RAMAIAH_URL",
        "HELIX_SIDECAR_GLOBAL_URL",
        "HELIX_GATEWAY_URL",
        "HELIX_KAFKA_BROKERS",
        "HELIX_SCHEMA_REGISTRY_URL",
        "HELIX_POSTGRES_URL",
        "HELIX_CLICKHOUSE_URL",
        "HELIX_REDIS_TELEPHONY_URL",
        "HELIX_REDIS_RAMAIAH_URL",
        "HELIX_REDIS_GLOBAL_URL",
        "HELIX_INGEST_KEY",
    ]
    .map(str::to_owned)
    .into();
    for workspace in ["RAMAIAH", "GLOBAL"] {
        wanted.push(format!("HELIX_WEBHOOK_KEY_{workspace}"));
        wanted.push(format!("HELIX_REGISTER_KEY_{workspace}"));
        for role in ["ADMIN", "SUPERVISOR", "ANALYST", "AUDITOR", "AGENT"] {
            wanted.push(format!("HELIX_TOKEN_{workspace}_{role}"));
        }
    }
    let names: Vec<&str> = stack.names().collect();
    let missing: Vec<&String> = wanted.iter().filter(|name| !names.contains(&name.as_str())).collect();
    ensure!(missing.is_empty(), "missing in dev.env: {missing:?}");
    Ok(())
}

pub(crate) async fn health_and_probes_answer_without_a_key(stack: &Stack) -> Outcome {
    let ingest = stack.env("HELIX_INGEST_URL");
    for path in
        ["/livez", "/readyz", "/metrics", AGENT_EVENT, MISSED_CALL, "/workspaces/ramaiah/webhooks/ozonetel/missed-call"]
    {
        let status = stack.http.get(format!("{ingest}{path}")).send().await?.status();
        ensure!(status == 200, "GET {path} answered {status}");
    }
    let status = stack.http.head(format!("{ingest}{MISSED_CALL}")).send().await?.status();
    ensure!(status == 200, "HEAD answered {status}");
    let (status, problem) = answer(stack.http.get(format!("{ingest}/nowhere"))).await?;
    ensure!(
        status == 404 && problem["code"] == "no_such_path" && problem["requestId"].is_string(),
        "{status} {problem}"
    );
    Ok(())
}

fn login(agent: &str, second: &str) -> String {
    json!({"eventType": "Agent", "eventTime": second, "username": "demo_user",
           "data": {"action": "login", "agentUniqeId": 100_001, "agentId": agent, "agentMode": "INBOUND", "eventTime": second}})
    .to_string()
}

pub(crate) async fn a_wrong_key_is_401_and_the_bytes_are_kept(stack: &Stack) -> Outcome {
    let body = login("agent.one", "2026-03-20 08:00:00");
    let (status, problem) = stack.post(AGENT_EVENT, "wrong", "application/json", body.clone()).await?;
    ensure!(status == 401 && problem["code"] == "unauthorised", "{status} {problem}");
    let (status, _) = stack.post(&format!("{AGENT_EVENT}/k/wrong"), "", "application/json", body.clone()).await?;
    ensure!(status == 401, "path key: {status}");
    // The other forms of the right key are taken.
    let key = stack.env("HELIX_INGEST_KEY");
    for path in [format!("{AGENT_EVENT}/k/{key}"), format!("{AGENT_EVENT}?key={key}")] {
        let (status, answer) = stack.post(&path, "", "application/json", body.clone()).await?;
        ensure!(status == 202, "{status} {answer}");
    }
    // A hospital's own key is no key of the other.
    let global = stack.env("HELIX_WEBHOOK_KEY_GLOBAL");
    let path = "/workspaces/ramaiah/webhooks/ozonetel/missed-call";
    let (status, _) = stack.post(path, global, "application/json", r#"{"monitorUCID":"1"}"#).await?;
    ensure!(status == 401, "global's key at ramaiah's path: {status}");
    Ok(())
}

pub(crate) async fn an_unknown_workspace_is_404_and_a_large_body_413(stack: &Stack) -> Outcome {
    let key = stack.env("HELIX_WEBHOOK_KEY_RAMAIAH");
    let (status, problem) =
        stack.post("/workspaces/nobody/webhooks/ozonetel/missed-call", key, "application/json", "{}").await?;
    ensure!(status == 404 && problem["code"] == "unknown_workspace", "{status} {problem}");
    let (status, _) = stack.post(MISSED_CALL, key, "application/json", "{}").await?;
    ensure!(status == 404, "no host told the workspace: {status}");
    let large = format!("{{\"comments\":\"{}\"}}", "x".repeat(300 * 1024));
    let (status, problem) = stack.post(AGENT_EVENT, stack.env("HELIX_INGEST_KEY"), "application/json", large).await?;
    ensure!(status == 413 && problem["code"] == "body_too_large", "{status} {problem}");
    Ok(())
}

pub(crate) async fn the_directory_registers_refuses_releases_and_beats(stack: &Stack) -> Outcome {
    let ingest = stack.env("HELIX_INGEST_URL");
    let register = async |workspace: &str, agents: Value| {
        let key = stack.env(&format!("HELIX_REGISTER_KEY_{}", workspace.to_ascii_uppercase()));
        let body = json!({"workspace": workspace, "url": "http://127.0.0.1:9", "agents": agents, "dids": []});
        stack.post("/api/supervisor/register", key, "application/json", body.to_string()).await
    };
    let (status, body) = register("ramaiah", json!(["e2e.agent"])).await?;
    ensure!(status == 200, "{status} {body}");
    let (status, _) = register("ramaiah", json!(["e2e.agent"])).await?;
    ensure!(status == 200, "a second time: {status}");
    // One of two is another's: 409, and nothing is added.
    let (status, problem) = register("global", json!(["e2e.other", "e2e.agent"])).await?;
    ensure!(status == 409 && problem.to_string().contains("e2e.agent"), "{status} {problem}");
    let directory = async || {
        let request = stack.http.get(format!("{ingest}/api/supervisor/directory"));
        answer(request.header("x-helix-key", stack.env("HELIX_INGEST_KEY"))).await
    };
    let (status, listed) = directory().await?;
    ensure!(status == 200 && listed.to_string().contains("e2e.agent"), "{status} {listed}");
    ensure!(!listed.to_string().contains("e2e.other"), "a refused registration added something: {listed}");

    let release = stack.http.delete(format!("{ingest}/api/supervisor/register/ramaiah/agents/e2e.agent"));
    let (status, _) = answer(release.header("x-helix-key", stack.env("HELIX_REGISTER_KEY_RAMAIAH"))).await?;
    ensure!(status == 204, "release: {status}");
    let (status, body) = register("global", json!(["e2e.agent"])).await?;
    ensure!(status == 200, "after the release: {status} {body}");

    let key = stack.env("HELIX_REGISTER_KEY_GLOBAL");
    let beat = stack.post("/api/supervisor/heartbeat", key, "application/json", r#"{"workspace":"global"}"#).await?;
    ensure!(beat == (200, json!({"expiresInSeconds": 90})), "{beat:?}");
    Ok(())
}

pub(crate) async fn the_gateway_serves_its_hosts_and_nothing_else(stack: &Stack) -> Outcome {
    let gateway = stack.env("HELIX_GATEWAY_URL");
    let get = async |host: &str, path: &str| {
        let request = stack.http.get(format!("{gateway}{path}")).header("host", host);
        anyhow::Ok(request.send().await?.status().as_u16())
    };
    ensure!(get("ramaiah.engage.localhost", "/").await? == 200, "the monitor of ramaiah");
    ensure!(get("ramaiah.engage.localhost", MISSED_CALL).await? == 200, "the provider's probe");
    ensure!(get("telephony.engage.localhost", AGENT_EVENT).await? == 200, "the provider's probe of events");
    for (host, path) in [
        ("nobody.engage.localhost", "/"),
        ("localhost", "/"),
        ("telephony.engage.localhost", "/"),
        ("telephony.engage.localhost", "/metrics"),
        ("ramaiah.engage.localhost", "/metrics"),
    ] {
        let status = get(host, path).await?;
        ensure!(status == 404, "{host}{path} answered {status}");
    }
    // The host says the workspace; what a client claims in the header is dropped.
    let request = stack
        .http
        .post(format!("{gateway}{MISSED_CALL}"))
        .header("host", "global.engage.localhost")
        .header("x-helix-workspace", "ramaiah")
        .header("x-helix-key", stack.env("HELIX_WEBHOOK_KEY_RAMAIAH"))
        .body(r#"{"monitorUCID":"9062174000009901"}"#);
    let (status, _) = answer(request).await?;
    ensure!(status == 401, "ramaiah's key at global's host: {status}");
    let kept = cli::succeed(&stack.config(), &["check-config"]).context("check-config")?;
    ensure!(!kept.contains(stack.env("HELIX_INGEST_KEY")), "check-config shows a secret");
    Ok(())
}
