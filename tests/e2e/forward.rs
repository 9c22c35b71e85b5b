//! `helix project forward`: sidecars of the older contract get their provider's events in order, through a crash, and a
//! receiver that hangs delays nobody else.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    process::Stdio,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
};
use helix_tests::{
    cli,
    stack::{PATIENCE, Stack, answer, free_port, until},
};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    process::{Child, Command},
};

use crate::Outcome;

const KEY: &str = "a-key-of-the-older-sidecars";
/// `project.forward.batch_facts`: as many events as a crash may bring again.
const BATCH: usize = 64;
/// Events of each agent.
const EVENTS: usize = 200;

/// One request as a sidecar of the older contract sees it.
#[derive(Debug, Clone)]
struct Seen {
    path: String,
    headers: HeaderMap,
    body: String,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// A sidecar of the older contract: it takes everything, or hangs.
#[derive(Clone, Default)]
struct Sidecar {
    taken: Arc<Mutex<Vec<Seen>>>,
    hangs: Arc<AtomicBool>,
}

impl Sidecar {
    async fn start(&self) -> Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let routes = Router::new().fallback(take).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(address)
    }

    fn taken(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until so many different events have come.
    async fn has(&self, count: usize) -> Outcome {
        until(PATIENCE, &format!("{count} events have come"), async || {
            let ids: BTreeSet<String> =
                self.taken().iter().map(|seen| seen.header("x-helix-fact-id").to_owned()).collect();
            Ok(ids.len() >= count)
        })
        .await
    }
}

async fn take(State(sidecar): State<Sidecar>, request: Request) -> StatusCode {
    if sidecar.hangs.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else { return StatusCode::BAD_REQUEST };
    // As slow as a sidecar is that writes to its own store.
    tokio::time::sleep(Duration::from_millis(10)).await;
    let body = String::from_utf8_lossy(&body).into_owned();
    sidecar.taken().push(Seen { path: parts.uri.path().to_owned(), headers: parts.headers, body });
    StatusCode::OK
}

/// `helix project forward`, as a container would run it.
struct Forward {
    child: Child,
}

impl Forward {
    async fn start(stack: &Stack, listen: SocketAddr, sidecars: &[(&str, SocketAddr)]) -> Result<Self> {
        let mut command = Command::new(cli::binary()?);
        command.arg("--config").arg(stack.config()).args(["project", "forward"]).stdin(Stdio::null());
        command.env("HELIX__PROJECT__FORWARD__LISTEN", listen.to_string());
        // A restarted one then has its partitions back at once.
        command.env("HELIX__PROJECT__FORWARD__INSTANCE", "e2e");
        for (workspace, address) in sidecars {
            let named = |key: &str| format!("HELIX__WORKSPACES__{}__FORWARD__{key}", workspace.to_ascii_uppercase());
            command.env(named("URL"), format!("http://{address}")).env(named("KEY"), KEY);
            command.env(named("TIMEOUT"), "5s");
        }
        let log =
            std::fs::File::options().create(true).append(true).open(stack.home().join("logs/project-forward.log"))?;
        let child = command.stderr(log).kill_on_drop(true).spawn()?;
        let forward = Self { child };
        until(PATIENCE, "the forward projector is ready", async || {
            Ok(readiness(stack, listen).await.is_ok_and(|(status, _)| status == 200))
        })
        .await?;
        Ok(forward)
    }

    async fn kill(mut self) -> Outcome {
        Ok(self.child.kill().await?)
    }

    async fn stop(mut self) -> Outcome {
        let pid = self.child.id().context("it runs")?.to_string();
        ensure!(Command::new("kill").args(["-TERM", &pid]).status().await?.success());
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await??;
        ensure!(ended.success(), "it ended with {ended}");
        Ok(())
    }
}

async fn readiness(stack: &Stack, listen: SocketAddr) -> Result<(u16, Value)> {
    answer(stack.http.get(format!("http://{listen}/readyz"))).await
}

/// Posts events of one agent, one after the other; gives their ids.
async fn events(stack: &Stack, agent: &str, from: usize, count: usize) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for number in from..from + count {
        // A day that no other test looks at; each event a second of its own.
        let at = format!("2026-02-03 {:02}:{:02}:{:02}", 8 + number / 3600, number / 60 % 60, number % 60);
        let action = if number % 2 == 0 { "release" } else { "AUX" };
        let event = json!({"eventType": "Agent", "eventTime": at, "username": "demo_user", "data": {
            "action": action, "agentUniqeId": 1, "agentId": agent, "agentMode": "INBOUND", "eventTime": at, "number": number}});
        let key = stack.env("HELIX_INGEST_KEY");
        let (status, body) =
            stack.post("/api/supervisor/agent-event", key, "application/json", event.to_string()).await?;
        ensure!(status == 202 && body["results"][0]["status"] == "stored", "{status}: {body}");
        ids.push(body["results"][0]["id"].as_str().context("an id")?.to_owned());
    }
    Ok(ids)
}

/// Posts a callback by the path that names its workspace; gives its id.
async fn callback(stack: &Stack) -> Result<String> {
    let summary = json!({"monitorUCID": "9062174000555001", "Did": "918041763400", "CallerID": "919000000055",
        "StartTime": "2026-02-03 07:00:00", "EndTime": "2026-02-03 07:01:00", "TimeToAnswer": "00:00:05",
        "CallDuration": "00:01:00", "Duration": "00:00:55", "Type": "inbound", "Status": "Answered", "AgentID": "agent.one"});
    let form = format!("data={}", summary.to_string().replace('"', "%22").replace(' ', "+"));
    let path = "/workspaces/ramaiah/webhooks/ozonetel/missed-call";
    let key = stack.env("HELIX_WEBHOOK_KEY_RAMAIAH");
    let (status, body) = stack.post(path, key, "application/x-www-form-urlencoded", form).await?;
    ensure!(status == 202, "{status}: {body}");
    Ok(body["results"][0]["id"].as_str().context("an id")?.to_owned())
}

/// Each agent's events are there in order, none skipped; at most once for each crash it goes back, and from there on in
/// order again. Gives how many came again.
fn in_order(taken: &[Seen], expected: &BTreeMap<&str, Vec<String>>, crashes: usize) -> Result<usize> {
    let mut again = 0;
    for (agent, ids) in expected {
        let (mut next, mut back) = (0, 0);
        for seen in taken {
            let Some(at) = ids.iter().position(|id| id == seen.header("x-helix-fact-id")) else { continue };
            ensure!(at <= next, "{agent}: event {at} came before event {next}");
            back += usize::from(at < next);
            again += next - at;
            next = at + 1;
        }
        ensure!(back <= crashes, "{agent}: went back {back} times");
        ensure!(next == ids.len(), "{agent}: {next} of {} have come", ids.len());
    }
    Ok(again)
}

pub(crate) async fn events_reach_older_sidecars_in_order_through_a_crash_and_a_receiver_that_hangs(
    stack: &Stack,
) -> Outcome {
    let (ramaiah, global) = (Sidecar::default(), Sidecar::default());
    global.hangs.store(true, Ordering::Relaxed);
    let sidecars = [("ramaiah", ramaiah.start().await?), ("global", global.start().await?)];
    let listen = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    // What was in the log before a receiver is configured came to it by another way.
    events(stack, "agent.one", 0, 3).await?;
    let forward = Forward::start(stack, listen, &sidecars).await?;

    let summary = callback(stack).await?;
    ramaiah.has(1).await?;
    let posting = async {
        tokio::try_join!(
            events(stack, "agent.one", 10, EVENTS),
            events(stack, "agent.two", 10, EVENTS),
            events(stack, "rekha.cc", 10, EVENTS),
        )
    };
    // In the middle of it, by kill -9.
    let crashing = async {
        ramaiah.has(EVENTS / 2).await?;
        forward.kill().await?;
        Forward::start(stack, listen, &sidecars).await
    };
    let ((mut one, two, of_global), forward) = tokio::try_join!(posting, crashing)?;
    one.insert(0, summary);
    let expected = BTreeMap::from([("agent.one", one), ("agent.two", two)]);
    let all: usize = expected.values().map(Vec::len).sum();
    ramaiah.has(all).await?;
    {
        let taken = ramaiah.taken();
        let again = in_order(&taken, &expected, 1)?;
        println!("{again} events came again after the crash");
        ensure!(again <= BATCH, "{again} events came again");
        ensure!(taken.len() == all + again, "{} requests, {all} events, {again} again", taken.len());
        let summary = taken.first().context("the callback came first")?;
        ensure!(summary.path == "/webhooks/ozonetel/missed-call", "{}", summary.path);
        ensure!(
            summary.header("content-type") == "application/x-www-form-urlencoded" && summary.body.starts_with("data=")
        );
        let last = taken.last().context("an event")?;
        ensure!(last.path == "/api/supervisor/agent-event" && last.header("x-helix-workspace") == "ramaiah");
        ensure!(last.header("x-helix-key") == KEY && !last.header("x-request-id").is_empty());
        ensure!(serde_json::from_str::<Value>(&last.body)?["data"]["number"].is_u64(), "the bytes as received");
    }

    // All that time the other hospital's sidecar hung: it is told, and the process is ready all the same.
    ensure!(global.taken().is_empty(), "a receiver that hangs has taken nothing");
    let mut told = Value::Null;
    until(PATIENCE, "the receiver that hangs is told", async || {
        let (status, body) = readiness(stack, listen).await?;
        ensure!(status == 200, "{status}: {body}");
        told = body;
        Ok(told["degraded"]["forward to global"].is_string())
    })
    .await?;
    ensure!(told["degraded"]["forward to ramaiah"].is_null(), "{told}");
    global.hangs.store(false, Ordering::Relaxed);
    global.has(of_global.len()).await?;
    let again = in_order(&global.taken(), &BTreeMap::from([("rekha.cc", of_global)]), 0)?;
    ensure!(again == 0, "{again} events came again");
    until(PATIENCE, "all is well", async || Ok(readiness(stack, listen).await?.1["degraded"] == json!({}))).await?;

    // An orderly restart brings nothing again.
    passed(stack).await?;
    let before = ramaiah.taken().len();
    forward.stop().await?;
    let forward = Forward::start(stack, listen, &sidecars).await?;
    let last = events(stack, "agent.two", 10 + EVENTS, 1).await?;
    ramaiah.has(all + 1).await?;
    ensure!(ramaiah.taken()[before..].iter().map(|seen| seen.header("x-helix-fact-id")).eq(last.iter()));
    forward.stop().await
}

/// Waits until the progress of both receivers is where the Postgres projector's is, at the log's end.
async fn passed(stack: &Stack) -> Outcome {
    until(PATIENCE, "progress is at the log's end", async || {
        let standing: Value = serde_json::from_str(&cli::succeed(&stack.config(), &["projection", "list", "--json"])?)?;
        for at in standing.as_array().context("standings")? {
            let Some(partition) = at["partition"].as_i64() else { bail!("{at}") };
            let behind: i64 = sqlx::query_scalar(
                "select count(*) from helix.projection_progress
                 where projection in ('forward:ramaiah', 'forward:global') and topic = 'telephony.facts'
                   and partition = $1 and next_offset < $2",
            )
            .bind(i32::try_from(partition)?)
            .bind(at["high_water"].as_i64())
            .fetch_one(&stack.postgres)
            .await?;
            if behind > 0 {
                return Ok(false);
            }
        }
        Ok(true)
    })
    .await
}
