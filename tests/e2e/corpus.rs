//! The provider's sample bodies, end to end.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use helix_tests::{
    cli,
    stack::{PATIENCE, Stack, until},
};
use serde_json::{Value, json};
use sqlx::Row as _;

use crate::Outcome;

fn sample(id: &str) -> Result<Vec<(String, String, String)>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(format!("{id}.json"));
    let case: Value =
        serde_json::from_str(&std::fs::read_to_string(&path).with_context(|| path.display().to_string())?)?;
    let deliveries = case["deliveries"].as_array().context("deliveries")?;
    let text = |delivery: &Value, name: &str| delivery[name].as_str().unwrap_or_default().to_owned();
    Ok(deliveries.iter().map(|one| (text(one, "path"), text(one, "content_type"), text(one, "body"))).collect())
}

async fn deliver(stack: &Stack, path: &str, content_type: &str, body: &str) -> Result<(u16, Value)> {
    if path == "/webhooks/ozonetel/missed-call" {
        // As the gateway does it: the host block names the workspace.
        let url = format!("{}{path}", stack.env("HELIX_INGEST_URL"));
        let request = stack.http.post(url).header("x-helix-workspace", "ramaiah");
        let request = request.header("x-helix-key", stack.env("HELIX_WEBHOOK_KEY_RAMAIAH"));
        return helix_tests::stack::answer(request.header("content-type", content_type).body(body.to_owned())).await;
    }
    stack.post(path, stack.env("HELIX_INGEST_KEY"), content_type, body.to_owned()).await
}

/// What each delivery of each sample gets, and what the single result says.
const EXPECTED: &[(&str, &[(u16, &str)])] = &[
    ("A01", &[(202, "stored")]),
    ("A02", &[(202, "stored"), (202, "stored")]),
    ("A03", &[(202, "stored")]),
    ("A05", &[(202, "stored"), (202, "stored"), (202, "stored")]),
    ("A06", &[(202, "stored")]),
    ("A07", &[(400, ""), (400, ""), (400, ""), (400, "")]),
    ("A08", &[(202, "stored")]),
    ("A10", &[(202, "unrouted"), (202, "unrouted")]),
    ("A11", &[(202, "stored"), (202, "stored")]),
    ("C01", &[(202, "stored"), (202, "stored"), (202, "stored")]),
    ("C02", &[(202, "unrouted")]),
    ("C04", &[(202, "stored"), (202, "stored"), (202, "stored")]),
    ("C05", &[(202, "stored")]),
    // Its Answered was told by C01 already.
    ("C06", &[(202, "duplicate"), (202, "duplicate")]),
    ("C07", &[(202, "duplicate"), (202, "duplicate")]),
    ("C08", &[(202, "stored"), (202, "duplicate"), (202, "stored")]),
    ("K01", &[(202, "stored")]),
    ("K02", &[(202, "stored")]),
    ("K03", &[(202, "stored")]),
    ("K04", &[(202, "stored")]),
    // The same callback as K01, wrapped in an array.
    ("K06", &[(202, "duplicate")]),
    ("K07", &[(202, "stored")]),
    ("K10", &[(202, "stored")]),
    ("K13", &[(202, "stored")]),
    ("K14", &[(202, "stored"), (400, ""), (400, "")]),
];

pub(crate) async fn every_core_body_gets_the_contracts_status(stack: &Stack) -> Outcome {
    for (id, expected) in EXPECTED {
        let deliveries = sample(id)?;
        ensure!(deliveries.len() == expected.len(), "{id} has {} deliveries", deliveries.len());
        for (number, ((path, content_type, body), (status, result))) in deliveries.iter().zip(*expected).enumerate() {
            let (got, answer) = deliver(stack, path, content_type, body).await?;
            ensure!(got == *status, "{id}[{number}] answered {got}, not {status}: {answer}");
            if *status == 202 {
                let said = answer["results"][0]["status"].as_str().unwrap_or_default();
                ensure!(said == *result, "{id}[{number}] is {said}, not {result}: {answer}");
                stack.applied(&answer).await?;
            } else {
                let kept = answer["rejectedId"].as_str().with_context(|| format!("{id}[{number}]: {answer}"))?;
                ensure!(answer["code"].is_string() && kept.len() == 36, "{id}[{number}]: {answer}");
            }
        }
    }
    Ok(())
}

fn call_event(action: &str, call: &str, agent: &str, at: &str) -> Value {
    json!({"eventType": "Call", "eventTime": at, "username": "demo_user", "data": {
        "action": action, "call_type": "Inbound", "ucid": call, "monitor_ucid": call, "agent_id": agent,
        "skill": "OPD", "caller_id": "919000000077", "did": "918041763400", "agent_number": "500501", "event_time": at}})
}

fn agent_event(action: &str, agent: &str, at: &str) -> Value {
    json!({"eventType": "Agent", "eventTime": at, "username": "demo_user", "data": {
        "action": action, "agentUniqeId": 100_001, "agentId": agent, "agentMode": "INBOUND", "eventTime": at}})
}

pub(crate) async fn an_inbound_call_is_on_every_screen_within_a_second(stack: &Stack) -> Outcome {
    let call = "9062174000000501";
    for action in ["login", "release"] {
        stack.event(&agent_event(action, "agent.one", "2026-04-01 09:00:00")).await?;
    }
    let key = stack.env("HELIX_INGEST_KEY");
    let rings = json!([
        agent_event("calling", "agent.one", "2026-04-01 09:10:00"),
        call_event("Calling", call, "agent.one", "2026-04-01 09:10:00")
    ]);
    let begun = Instant::now();
    let (status, answer) = stack.post("/api/supervisor/call-event", key, "application/json", rings.to_string()).await?;
    ensure!(status == 202, "{status} {answer}");
    until(PATIENCE, "the board shows the call", async || {
        let board = stack.board("ramaiah").await?;
        let waiting = board["waiting"].as_array().is_some_and(|list| list.iter().any(|one| one["callId"] == call));
        let ringing = board["agents"].as_array().is_some_and(|list| {
            list.iter().any(|one| one["agentId"] == "agent.one" && one["state"] == "ringing" && one["callId"] == call)
        });
        Ok(waiting && ringing)
    })
    .await?;
    stack.applied(&answer).await?;
    let took = begun.elapsed();
    ensure!(took < Duration::from_secs(5), "board, Postgres and ClickHouse took {took:?}");
    println!("webhook to board, Postgres and ClickHouse: {} ms", took.as_millis());

    stack.event(&call_event("Answered", call, "agent.one", "2026-04-01 09:10:09")).await?;
    stack.event(&agent_event("incall", "agent.one", "2026-04-01 09:10:09")).await?;
    stack.event(&call_event("Disconnect", call, "agent.one", "2026-04-01 09:11:23")).await?;
    stack.event(&agent_event("ACW", "agent.one", "2026-04-01 09:11:23")).await?;
    let row = sqlx::query("select outcome, wait_seconds, talk_seconds, agent_id, agent_ids, caller from read.calls where workspace_id = 'ramaiah' and call_id = $1")
        .bind(call)
        .fetch_one(&stack.postgres)
        .await?;
    ensure!(row.try_get::<&str, _>("outcome")? == "answered");
    ensure!(row.try_get::<i64, _>("wait_seconds")? == 9 && row.try_get::<i64, _>("talk_seconds")? == 74);
    ensure!(row.try_get::<Vec<String>, _>("agent_ids")? == ["agent.one"]);
    let intervals: Vec<(String, Option<String>)> = sqlx::query_as(
        "select state, call_id from read.agent_intervals where workspace_id = 'ramaiah' and agent_id = 'agent.one'
         and started_at >= '2026-04-01 09:09:00+05:30' order by started_at",
    )
    .fetch_all(&stack.postgres)
    .await?;
    let expected = ["ringing", "on_call", "wrap_up"].map(|state| (state.to_owned(), Some(call.to_owned())));
    ensure!(intervals == expected, "{intervals:?}");
    let board = stack.board("ramaiah").await?;
    ensure!(board["today"]["answered"] == 1 && board["calls"] == json!([]), "{board}");
    Ok(())
}

pub(crate) async fn release_and_idle_of_one_second_are_one_ready_interval(stack: &Stack) -> Outcome {
    // A01 and A02 all lie in one second: the login's pause lasted none of it.
    let found: Vec<(String, bool)> = sqlx::query_as(
        "select state, ended_at is null from read.agent_intervals where workspace_id = 'ramaiah' and agent_id = 'agent.one'
         and started_at >= '2026-03-24 14:39:52+05:30' and started_at < '2026-03-24 14:40:00+05:30'",
    )
    .fetch_all(&stack.postgres)
    .await?;
    ensure!(found.len() == 1, "one second, one interval: {found:?}");
    Ok(())
}

pub(crate) async fn ids_beyond_two_to_the_53_survive_everywhere(stack: &Stack) -> Outcome {
    let call = "31733467784618213";
    let caller: String =
        sqlx::query_scalar("select caller from read.calls where workspace_id = 'ramaiah' and call_id = $1")
            .bind(call)
            .fetch_one(&stack.postgres)
            .await?;
    ensure!(caller == "9000000001", "{caller}");
    let found = stack
        .clickhouse(&format!(
            "select call_id, leg_id, caller from helix.facts where call_id = '{call}' and kind != 'Decided' format TSV"
        ))
        .await?;
    ensure!(found.trim() == format!("{call}\t9062173329753891\t9000000001"), "{found}");
    let exported = cli::succeed(
        &stack.config(),
        &["replay", "tail", "--from-beginning", "--no-follow", "--json", "--call", call],
    )?;
    let fact: Value = serde_json::from_str(exported.lines().next().context("one fact")?)?;
    ensure!(fact["leg"] == "9062173329753891" && fact["raw"].as_str().is_some_and(|raw| raw.contains(call)), "{fact}");
    Ok(())
}

pub(crate) async fn the_callback_outranks_the_events_and_its_secret_is_nowhere(stack: &Stack) -> Outcome {
    // K07 is the only callback of its call: doubly encoded, answered after 9 s, 74 s of talk, 12 s of wrap-up.
    let row = sqlx::query(
        "select outcome, wait_seconds, talk_seconds, wrap_up_seconds, disposition, agent_id, recording_url from read.calls
         where workspace_id = 'ramaiah' and call_id = '9062174000000007'",
    )
    .fetch_one(&stack.postgres)
    .await?;
    ensure!(row.try_get::<&str, _>("outcome")? == "answered");
    ensure!(row.try_get::<i64, _>("wait_seconds")? == 9 && row.try_get::<i64, _>("talk_seconds")? == 74);
    ensure!(row.try_get::<i64, _>("wrap_up_seconds")? == 12 && row.try_get::<&str, _>("disposition")? == "Interested");
    let everything = cli::succeed(&stack.config(), &["replay", "tail", "--from-beginning", "--no-follow", "--json"])?;
    ensure!(everything.contains("monitorUCID"), "the export has callbacks");
    ensure!(!everything.contains("KK_TEST_NOT_A_REAL_KEY"), "the provider's Apikey is in the log");
    Ok(())
}

pub(crate) async fn an_unknown_action_is_a_fact_of_kind_unknown(stack: &Stack) -> Outcome {
    let found = stack
        .clickhouse("select count() from helix.facts where kind = 'Unknown' and workspace_id = 'ramaiah' and agent_id = 'agent.one'")
        .await?;
    // A08's changeMode, C08's Hold and Chat.
    ensure!(found.trim() == "3", "{found}");
    Ok(())
}
