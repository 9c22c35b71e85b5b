//! What was set aside becomes facts; the directory on two instances; liveness in the real Redis.

use std::{
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use helix_tests::{
    cli,
    stack::{PATIENCE, Stack, answer, free_port, until},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::Outcome;

const AGENT_EVENT: &str = "/api/supervisor/agent-event";

fn sign_in(agent: &str, at: &str) -> Value {
    json!({"eventType": "Agent", "eventTime": at, "username": "demo_user", "data": {
        "action": "login", "agentUniqeId": 1, "agentId": agent, "agentMode": "INBOUND", "eventTime": at}})
}

/// The one result of an event that was taken.
async fn post(stack: &Stack, ingest: &str, event: &Value) -> Result<Value> {
    let request =
        stack.http.post(format!("{ingest}{AGENT_EVENT}")).header("x-helix-key", stack.env("HELIX_INGEST_KEY"));
    let (status, body) = answer(request.body(event.to_string())).await?;
    ensure!(status == 202, "{status} {body}");
    Ok(body["results"][0].clone())
}

async fn register(stack: &Stack, ingest: &str, workspace: &str, agents: &[&str]) -> Result<(u16, Value)> {
    let key = stack.env(&format!("HELIX_REGISTER_KEY_{}", workspace.to_ascii_uppercase()));
    let request = stack.http.post(format!("{ingest}/api/supervisor/register")).header("x-helix-key", key);
    answer(request.body(json!({"workspace": workspace, "agents": agents, "dids": []}).to_string())).await
}

/// What the directory of an instance says of a workspace.
async fn listed(stack: &Stack, ingest: &str, workspace: &str) -> Result<Value> {
    let request = stack.http.get(format!("{ingest}/api/supervisor/directory"));
    let (status, body) = answer(request.header("x-helix-key", stack.env("HELIX_INGEST_KEY"))).await?;
    ensure!(status == 200, "{status} {body}");
    let all = body["workspaces"].as_array().context("workspaces")?;
    let found = all.iter().find(|one| one["workspace"] == workspace);
    found.cloned().with_context(|| format!("{workspace} is not listed"))
}

/// A second ingest beside the stack's own.
struct Second {
    process: Child,
    url: String,
    _spool: tempfile::TempDir,
}

impl Drop for Second {
    /// In order, so that it gives its partitions back; killed where it does not end.
    fn drop(&mut self) {
        let asked = Command::new("kill").arg(self.process.id().to_string()).status();
        let begun = Instant::now();
        while matches!(self.process.try_wait(), Ok(None)) && begun.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(50));
        }
        if let Ok(None) = self.process.try_wait() {
            eprintln!("the second ingest did not end in order and is killed");
        }
        let ended = asked.and_then(|_| self.process.kill()).and_then(|()| self.process.wait());
        if let Err(error) = ended {
            eprintln!("the second ingest could not be ended: {error}");
        }
    }
}

impl Second {
    async fn start(stack: &Stack) -> Result<Self> {
        let spool = tempfile::tempdir()?;
        let listen = format!("127.0.0.1:{}", free_port()?);
        let log = std::fs::File::create(stack.home().join("logs/ingest-second.log"))?;
        let process = Command::new(cli::binary()?)
            .arg("--config")
            .arg(stack.config())
            .arg("ingest")
            .env("HELIX__INGEST__LISTEN", &listen)
            .env("HELIX__SPOOL__FOLDER", spool.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let second = Self { process, url: format!("http://{listen}"), _spool: spool };
        until(PATIENCE, "the second ingest is ready", async || {
            let asked = stack.http.get(format!("{}/readyz", second.url)).send().await;
            Ok(asked.is_ok_and(|answer| answer.status() == 200))
        })
        .await?;
        Ok(second)
    }
}

pub(crate) async fn two_instances_have_one_directory(stack: &Stack) -> Outcome {
    let first = stack.env("HELIX_INGEST_URL");
    let second = Second::start(stack).await?;
    let agent = "two.instances";
    ensure!(register(stack, first, "ramaiah", &[agent]).await?.0 == 200, "registered at the first");
    until(PATIENCE, "the second knows it", async || {
        Ok(listed(stack, &second.url, "ramaiah").await?["agents"].to_string().contains(agent))
    })
    .await?;
    let result = post(stack, &second.url, &sign_in(agent, "2026-03-28 08:00:00")).await?;
    ensure!(result["status"] == "stored" && result["topic"] == "telephony.facts", "{result}");
    // What the one took is refused at the other, and what is released at the other is free at the one.
    let (status, problem) = register(stack, &second.url, "global", &[agent]).await?;
    ensure!(status == 409 && problem["code"] == "directory_conflict", "{status} {problem}");
    ensure!(!problem.to_string().contains("ramaiah"), "the owner is named: {problem}");
    let release = stack.http.delete(format!("{}/api/supervisor/register/ramaiah/agents/{agent}", second.url));
    let (status, _) = answer(release.header("x-helix-key", stack.env("HELIX_REGISTER_KEY_RAMAIAH"))).await?;
    ensure!(status == 204, "release: {status}");
    until(PATIENCE, "the first knows that it is free", async || {
        Ok(!listed(stack, first, "ramaiah").await?["agents"].to_string().contains(agent))
    })
    .await?;
    // Both race for one agent: one wins, and both instances say the same for ever.
    let (one, two) =
        tokio::join!(register(stack, first, "ramaiah", &["raced"]), register(stack, &second.url, "global", &["raced"]));
    let statuses = [one?.0, two?.0];
    ensure!(statuses == [200, 409] || statuses == [409, 200], "{statuses:?}");
    let winner = if statuses[0] == 200 { "ramaiah" } else { "global" };
    until(PATIENCE, "both name the winner", async || {
        let mut agreed = true;
        for ingest in [first, &second.url] {
            for workspace in ["ramaiah", "global"] {
                let has = listed(stack, ingest, workspace).await?["agents"].to_string().contains("raced");
                agreed &= has == (workspace == winner);
            }
        }
        Ok(agreed)
    })
    .await
}

/// One command to the telephony core's Redis, in its inline form; the last line of the answer.
async fn redis(stack: &Stack, command: &str) -> Result<String> {
    let url = stack.env("HELIX_REDIS_TELEPHONY_URL");
    let (sign_in, host) = url.strip_prefix("redis://").and_then(|rest| rest.rsplit_once('@')).context("its URL")?;
    let password = sign_in.trim_start_matches(|c| c != ':').trim_start_matches(':');
    let host = host.split('/').next().unwrap_or(host);
    let mut socket = TcpStream::connect(host).await?;
    socket.write_all(format!("AUTH {password}\r\n{command}\r\nQUIT\r\n").as_bytes()).await?;
    let mut told = String::new();
    socket.read_to_string(&mut told).await?;
    let lines: Vec<&str> = told.lines().collect();
    ensure!(lines.len() == 3 && lines[0] == "+OK", "redis answered {} lines", lines.len());
    Ok(lines[1].to_owned())
}

pub(crate) async fn liveness_is_a_key_that_expires_and_never_decides_where_a_fact_goes(stack: &Stack) -> Outcome {
    let ingest = stack.env("HELIX_INGEST_URL");
    let key = stack.env("HELIX_REGISTER_KEY_GLOBAL");
    let beat = stack.post("/api/supervisor/heartbeat", key, "application/json", r#"{"workspace":"global"}"#).await?;
    ensure!(beat == (200, json!({"expiresInSeconds": 90})), "{beat:?}");
    ensure!(listed(stack, ingest, "global").await?["live"] == true, "live after a heartbeat");
    let left: i64 = redis(stack, "TTL helix:live:global").await?.trim_start_matches(':').parse()?;
    ensure!((1..=90).contains(&left), "{left} s are left");
    // Nobody beats any more: the key is gone. The stack's sidecar beats every 30 s, so this is looked at at once.
    ensure!(redis(stack, "PEXPIRE helix:live:global 1").await? == ":1", "the key was there");
    until(PATIENCE, "it lives no more", async || {
        // The sidecar may just have beaten.
        redis(stack, "PEXPIRE helix:live:global 1").await?;
        Ok(listed(stack, ingest, "global").await?["live"] == false)
    })
    .await?;
    let result = post(stack, ingest, &sign_in("rekha.cc", "2026-03-28 09:00:00")).await?;
    ensure!(result["status"] == "stored" && result["topic"] == "telephony.facts", "{result}");
    let beat = stack.post("/api/supervisor/heartbeat", key, "application/json", r#"{"workspace":"global"}"#).await?;
    ensure!(beat.0 == 200 && listed(stack, ingest, "global").await?["live"] == true, "alive again");
    Ok(())
}

fn helix_json(stack: &Stack, arguments: &[&str]) -> Result<Value> {
    Ok(serde_json::from_str(&cli::succeed(&stack.config(), arguments)?)?)
}

/// The facts of an agent that are no audit, in the order of the log.
fn facts_of(stack: &Stack, agent: &str) -> Result<Vec<Value>> {
    let lines = cli::succeed(&stack.config(), &["replay", "export", "--agent", agent])?;
    let facts = lines.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    Ok(facts.into_iter().filter(|fact| fact["kind"] != "DirectoryChanged").collect())
}

pub(crate) async fn unrouted_events_are_redriven_by_themselves_in_order(stack: &Stack) -> Outcome {
    let ingest = stack.env("HELIX_INGEST_URL");
    let agent = "late.agent";
    let mut ids = Vec::new();
    // By the provider's clock they are out of order: what is kept is the order in which they came.
    for at in ["2026-03-29 08:00:00", "2026-03-29 08:00:20", "2026-03-29 08:00:10"] {
        let result = post(stack, ingest, &sign_in(agent, at)).await?;
        ensure!(result["status"] == "unrouted", "{result}");
        ids.push(result["id"].clone());
    }
    let listed = helix_json(stack, &["unrouted", "list", "--limit", "1000", "--json"])?;
    let listed = listed["records"].as_array().context("records")?.clone();
    let received = |id: &Value| listed.iter().find(|line| line["id"] == *id).map(|line| line["receivedAt"].clone());
    ensure!(ids.iter().all(|id| received(id).is_some()), "not all are listed as pending: {listed:?}");
    let plan = helix_json(stack, &["redrive", "unrouted", "--dry-run", "--json"])?;
    ensure!(plan["plan"]["stay"]["agent_and_did_unknown"].as_u64() >= Some(3) && plan["redriven"].is_null(), "{plan}");

    let (status, body) = register(stack, ingest, "ramaiah", &[agent]).await?;
    ensure!(status == 200, "{status} {body}");
    until(PATIENCE, "they are facts", async || Ok(facts_of(stack, agent)?.len() >= 3)).await?;
    let facts = facts_of(stack, agent)?;
    ensure!(facts.iter().map(|fact| &fact["id"]).eq(&ids), "{facts:?}");
    for fact in &facts {
        ensure!(
            fact["workspace"] == "ramaiah" && Some(&fact["received_at"]) == received(&fact["id"]).as_ref(),
            "{fact}"
        );
    }
    ensure!(facts[1]["occurred_at"] == "2026-03-29T02:30:20.000Z", "{}", facts[1]);
    until(PATIENCE, "they are marked", async || {
        let pending = helix_json(stack, &["unrouted", "list", "--limit", "1000", "--json"])?.to_string();
        Ok(ids.iter().all(|id| !pending.contains(id.as_str().unwrap_or_default())))
    })
    .await?;
    let all = helix_json(stack, &["unrouted", "list", "--all", "--limit", "1000", "--json"])?;
    let line = all["records"].as_array().and_then(|all| all.iter().find(|line| line["id"] == ids[0]).cloned());
    ensure!(line.as_ref().is_some_and(|line| line["redrivenTo"] == "ramaiah"), "{line:?}");
    // The story is what it would have been: three intervals in the order of the provider's clock.
    let last = facts.last().context("facts")?;
    stack.applied(&json!({"results": [last]})).await?;
    let starts: Vec<String> = sqlx::query_scalar(
        "select to_char(started_at at time zone 'Asia/Kolkata', 'HH24:MI:SS') from read.agent_intervals
         where agent_id = $1 and not presumed order by started_at",
    )
    .bind(agent)
    .fetch_all(&stack.postgres)
    .await?;
    // A sign-in that repeats the state before it opens no interval (docs/rules.md).
    ensure!(starts == ["08:00:00"], "{starts:?}");
    cli::succeed(&stack.config(), &["audit", "verify"])?;
    Ok(())
}

pub(crate) async fn a_refused_body_can_be_looked_at_and_redriven(stack: &Stack) -> Outcome {
    let event = sign_in("agent.two", "2026-03-30 08:00:00").to_string();
    let (status, problem) = stack.post(AGENT_EVENT, "mistyped", "application/json", event.clone()).await?;
    let refused = problem["rejectedId"].as_str().context("rejectedId")?.to_owned();
    ensure!(status == 401, "{status} {problem}");
    let garbled = "no body, caller 919000000055";
    let (status, problem) = stack.post(AGENT_EVENT, stack.env("HELIX_INGEST_KEY"), "text/plain", garbled).await?;
    let unreadable = problem["rejectedId"].as_str().context("rejectedId")?.to_owned();
    ensure!(status == 400, "{status} {problem}");

    let list = |all: &str| cli::succeed(&stack.config(), &["rejected", "list", all, "--limit", "10000", "--json"]);
    let pending = list("--pending")?;
    ensure!(pending.contains(&refused) && pending.contains(&unreadable), "both are listed");
    ensure!(!pending.contains("919000000055"), "a list shows a number");
    let shown = cli::succeed(&stack.config(), &["rejected", "show", &unreadable])?;
    ensure!(shown.contains(garbled) && shown.contains("body_unreadable"), "{shown}");

    let stays = helix_json(stack, &["redrive", "rejected", "--dry-run", "--id", &unreadable, "--json"])?;
    ensure!(stays["plan"]["stay"] == json!({"body_unreadable": 1}), "{stays}");
    let left = helix_json(stack, &["redrive", "rejected", "--id", &refused, "--json"])?;
    ensure!(left["plan"]["stay"] == json!({"sender_refused": 1}) && left["redriven"]["bodies"] == 0, "{left}");
    let dry =
        helix_json(stack, &["redrive", "rejected", "--dry-run", "--include-refused", "--id", &refused, "--json"])?;
    ensure!(dry["plan"]["facts"] == json!({"ramaiah": 1}) && dry["redriven"].is_null(), "{dry}");
    ensure!(facts_on(stack, "2026-03-30")?.is_empty(), "a dry run wrote something");
    let done = helix_json(stack, &["redrive", "rejected", "--include-refused", "--id", &refused, "--json"])?;
    ensure!(done["redriven"] == json!({"bodies": 1, "facts": {"ramaiah": 1}, "unrouted": 0}), "{done}");
    let facts = facts_on(stack, "2026-03-30")?;
    ensure!(facts.len() == 1 && facts[0]["raw"] == event.as_str(), "{facts:?}");
    ensure!(!list("--pending")?.contains(&refused) && list("--all")?.contains(&refused), "it is marked");
    // The same event, sent with the right key after all, is the same fact.
    let again: Value = serde_json::from_str(&event)?;
    let result = post(stack, stack.env("HELIX_INGEST_URL"), &again).await?;
    ensure!(result["id"] == facts[0]["id"], "{result}");
    Ok(())
}

fn facts_on(stack: &Stack, day: &str) -> Result<Vec<Value>> {
    let facts = facts_of(stack, "agent.two")?;
    Ok(facts.into_iter().filter(|fact| fact["occurred_at"].as_str().is_some_and(|at| at.starts_with(day))).collect())
}

pub(crate) async fn the_verbs_of_what_was_set_aside_end_with_the_codes_of_the_contract(stack: &Stack) -> Outcome {
    let run = |arguments: &[&str]| cli::run(&stack.config(), arguments);
    let ends = |output: Output, code: i32, says: &str| -> Outcome {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(code) && text.contains(says), "{} {text}", output.status);
        Ok(())
    };
    ends(run(&["redrive", "unrouted", "--workspace", "No Slug"])?, 2, "workspace")?;
    ends(run(&["redrive", "unrouted", "--workspace", "elsewhere"])?, 2, "no workspace elsewhere is registered")?;
    ends(run(&["unrouted", "show", "7"])?, 2, "7 is no id")?;
    let missing = "0b7c1d3e-58a2-5f0e-9c41-7d2e6a8b9c10";
    ends(run(&["rejected", "show", missing])?, 1, "there is no record with id")?;
    ends(run(&["redrive", "rejected", "--id", missing])?, 1, "there is no record with id")?;
    ends(run(&["rejected", "list", "--pending", "--all"])?, 2, "cannot be used with")?;
    for (name, value, says) in [
        ("HELIX__REGISTRY__URL", "http://127.0.0.1:1", "the schema registry"),
        ("HELIX__LOG__BROKERS", "127.0.0.1:1", "the log cannot be reached"),
    ] {
        let output = Command::new(cli::binary()?)
            .arg("--config")
            .arg(stack.config())
            .args(["unrouted", "list"])
            .env(name, value)
            .output()?;
        ends(output, 3, says)?;
    }
    Ok(())
}
