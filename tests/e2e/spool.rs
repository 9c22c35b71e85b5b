//! The spool on the real stack: brokers frozen and killed, ingest killed while it spools, a disk that takes no more.
//! What was answered 202 is in the log in the end, in the order of each agent.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use helix_tests::{
    cli,
    stack::{PATIENCE, Stack, answer, free_port, until},
};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinSet};

use crate::{Outcome, proof};

fn signal(pid: u64, signal: &str) -> Outcome {
    ensure!(Command::new("kill").args([signal, &pid.to_string()]).status()?.success(), "kill {signal} {pid}");
    Ok(())
}

/// A frozen process, which goes on when this is dropped.
struct Frozen(u64);

impl Frozen {
    fn new(pid: u64) -> Result<Self> {
        signal(pid, "-STOP")?;
        Ok(Self(pid))
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Err(error) = signal(self.0, "-CONT") {
            eprintln!("{error:#}");
        }
    }
}

async fn register(stack: &Stack, agents: &[String]) -> Outcome {
    let request = stack.http.post(format!("{}/api/supervisor/register", stack.env("HELIX_INGEST_URL")));
    let request = request.header("x-helix-key", stack.env("HELIX_REGISTER_KEY_RAMAIAH"));
    let request = request.body(json!({"workspace": "ramaiah", "agents": agents, "dids": []}).to_string());
    // The directory follows the log once the broker is back.
    until(PATIENCE, "the agents are registered", async || {
        let again = request.try_clone().context("a request of text can be sent again")?;
        Ok(answer(again).await?.0 == 200)
    })
    .await
}

/// One agent after the other's answer: an event is sent until it is taken, then the next one.
struct Feeder {
    http: reqwest::Client,
    url: String,
    key: String,
    agent: String,
}

impl Feeder {
    fn event(&self, number: u32) -> String {
        let at = format!("2026-07-01 {:02}:{:02}:{:02}", 8 + number / 3600, number / 60 % 60, number % 60);
        json!({"eventType": "Agent", "eventTime": at, "username": "demo_user", "data": {
            "action": "release", "agentUniqeId": 1, "agentId": self.agent, "eventTime": at, "n": number}})
        .to_string()
    }

    /// Status of one attempt and what became of the event; nothing where nobody answers.
    async fn attempt(&self, number: u32) -> Option<(u16, String)> {
        let request = self.http.post(&self.url).header("x-helix-key", &self.key).body(self.event(number));
        let (status, body) = answer(request).await.ok()?;
        Some((status, body["results"][0]["status"].as_str().unwrap_or_default().to_owned()))
    }

    /// Feeds until told to stop; how many were taken, and how often each way.
    async fn feed(self, stop: watch::Receiver<bool>) -> (String, u32, BTreeMap<String, u32>) {
        let (mut number, mut ways) = (0, BTreeMap::new());
        while !*stop.borrow() {
            let way = match self.attempt(number).await {
                Some((202, way)) => {
                    number += 1;
                    way
                }
                Some((status, _)) => status.to_string(),
                None => "no answer".to_owned(),
            };
            *ways.entry(way).or_default() += 1;
            // A steady stream, not a storm.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        (self.agent, number, ways)
    }
}

/// The numbers of an agent's facts in the log's order, repeats of an id left out.
fn told(stack: &Stack, agents: &[String]) -> Result<BTreeMap<String, Vec<u32>>> {
    let lines = cli::succeed(&stack.config(), &["replay", "export", "--workspace", "ramaiah"])?;
    let (mut seen, mut told) = (BTreeSet::new(), BTreeMap::<String, Vec<u32>>::new());
    for line in lines.lines() {
        let fact: Value = serde_json::from_str(line)?;
        let agent = fact["agent"].as_str().unwrap_or_default();
        // The directory's own facts are of these agents too.
        if fact["kind"] == "AgentStateChanged"
            && agents.iter().any(|one| one == agent)
            && seen.insert(fact["id"].to_string())
        {
            let raw: Value = serde_json::from_str(fact["raw"].as_str().context("raw")?)?;
            if let Some(number) = raw["data"]["n"].as_u64() {
                told.entry(agent.to_owned()).or_default().push(u32::try_from(number)?);
            }
        }
    }
    Ok(told)
}

async fn readiness(http: &reqwest::Client, url: &str) -> Result<(u16, Value)> {
    answer(http.get(format!("{url}/readyz"))).await
}

/// Waits until an ingest's spool is empty and it writes to the log again.
async fn drained(stack: &Stack, url: &str) -> Outcome {
    until(PATIENCE, "the spool is drained", async || {
        let Ok((status, ready)) = readiness(&stack.http, url).await else { return Ok(false) };
        Ok(status == 200 && ready["details"]["spool"]["records"] == 0 && ready["details"]["spool"]["inUse"] == false)
    })
    .await
}

pub(crate) async fn a_frozen_broker_and_a_killed_ingest_lose_nothing_and_keep_the_order(stack: &Stack) -> Outcome {
    let agents: Vec<String> = (0..6).map(|number| format!("spool.{number}")).collect();
    register(stack, &agents).await?;
    let ingest = stack.env("HELIX_INGEST_URL").to_owned();
    let (stop, stopped) = watch::channel(false);
    let mut feeding = JoinSet::new();
    for agent in &agents {
        let feeder = Feeder {
            http: reqwest::Client::new(),
            url: format!("{ingest}/api/supervisor/agent-event"),
            key: stack.env("HELIX_INGEST_KEY").to_owned(),
            agent: agent.clone(),
        };
        feeding.spawn(feeder.feed(stopped.clone()));
    }
    // Frozen: connections stand, nothing answers.
    let frozen = Frozen::new(stack.pid("kafka")?.context("kafka is not ready")?)?;
    let spooling = async |what: &str| {
        until(PATIENCE, what, async || {
            let Ok((status, ready)) = readiness(&stack.http, &ingest).await else { return Ok(false) };
            let records = ready["details"]["spool"]["records"].as_u64().unwrap_or(0);
            Ok(status == 200 && records > 100 && ready["degraded"]["log"].is_string())
        })
        .await
    };
    spooling("ingest spools and says so").await?;
    // Killed in the middle: it comes back while the log is still away, and goes on taking.
    let before = stack.pid("ingest")?.context("ingest is not ready")?;
    signal(before, "-9")?;
    until(PATIENCE, "another ingest spools", async || {
        let Ok((_, ready)) = readiness(&stack.http, &ingest).await else { return Ok(false) };
        Ok(ready["details"]["spool"]["inUse"] == true && stack.pid("ingest")?.is_some_and(|pid| pid != before))
    })
    .await?;
    spooling("the new one takes events").await?;
    drop(frozen);
    drained(stack, &ingest).await?;
    // And a broker that is killed outright.
    stack.kill("kafka").await?;
    drained(stack, &ingest).await?;
    stop.send_replace(true);
    let mut fed = BTreeMap::new();
    let mut all = BTreeMap::<String, u32>::new();
    while let Some(ended) = feeding.join_next().await {
        let (agent, taken, ways) = ended?;
        for (way, count) in ways {
            *all.entry(way).or_default() += count;
        }
        fed.insert(agent, (0..taken).collect::<Vec<_>>());
    }
    println!("answers: {all:?}");
    ensure!(all.get("spooled").is_some_and(|count| *count > 100), "hardly anything was spooled: {all:?}");
    drained(stack, &ingest).await?;
    let told = told(stack, &agents)?;
    for (agent, taken) in &fed {
        // The last event may have been kept though its answer never came.
        let found = told.get(agent).with_context(|| format!("nothing of {agent}"))?;
        let extra = found.len().checked_sub(taken.len()).context("facts are missing")?;
        ensure!(found.starts_with(taken) && extra <= 1, "{agent}: {} facts for {} answers", found.len(), taken.len());
    }
    // The projectors too have lived through it.
    proof::caught_up(stack).await?;
    cli::succeed(&stack.config(), &["audit", "verify"])?;
    Ok(())
}

/// An ingest of its own whose files may not grow beyond a few MiB: to it the disk is full.
struct Small {
    process: Child,
    url: String,
    _spool: tempfile::TempDir,
}

impl Small {
    fn start(stack: &Stack) -> Result<Self> {
        let spool = tempfile::tempdir()?;
        let listen = format!("127.0.0.1:{}", free_port()?);
        let log = File::create(stack.home().join("logs/ingest-small.log"))?;
        let process = Command::new("bash")
            // Without the trap the kernel would end the process instead of failing its write.
            .args(["-c", "trap '' XFSZ; ulimit -f 6144; exec \"$0\" \"$@\""])
            .arg(cli::binary()?)
            .arg("--config")
            .arg(stack.config())
            .arg("ingest")
            .env("HELIX__INGEST__LISTEN", &listen)
            .env("HELIX__SPOOL__FOLDER", spool.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Self { process, url: format!("http://{listen}"), _spool: spool })
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        if let Err(error) = self.process.kill().and_then(|()| self.process.wait()) {
            eprintln!("the small ingest could not be ended: {error}");
        }
    }
}

pub(crate) async fn a_full_disk_is_503_until_the_log_is_back_and_nothing_taken_is_lost(stack: &Stack) -> Outcome {
    drained(stack, stack.env("HELIX_INGEST_URL")).await?;
    let agents = vec!["full.disk".to_owned()];
    register(stack, &agents).await?;
    let mut small = Small::start(stack)?;
    until(PATIENCE, "the small ingest is ready", async || {
        Ok(readiness(&stack.http, &small.url).await.is_ok_and(|(status, _)| status == 200))
    })
    .await?;
    let feeder = Feeder {
        http: stack.http.clone(),
        url: format!("{}/api/supervisor/agent-event", small.url),
        key: stack.env("HELIX_INGEST_KEY").to_owned(),
        agent: agents[0].clone(),
    };
    let frozen = Frozen::new(stack.pid("kafka")?.context("kafka is not ready")?)?;
    // At the brink some still find room: an event is sent until it is taken, and five refusals are enough.
    let (mut taken, mut refused) = (0, 0);
    while refused < 5 {
        let request = stack.http.post(&feeder.url).header("x-helix-key", &feeder.key).body(feeder.event(taken));
        let answered = request.timeout(PATIENCE).send().await.context("it answers whatever the disk does")?;
        if answered.status() == 202 {
            taken += 1;
        } else {
            let told = answered.headers().contains_key("retry-after");
            ensure!(answered.status() == 503 && told, "{} after {taken}", answered.status());
            refused += 1;
        }
        ensure!(taken < 20_000, "the disk is never full");
    }
    println!("{taken} events were taken before the disk was full");
    ensure!(taken > 100, "only {taken} were taken");
    ensure!(small.process.try_wait()?.is_none(), "the small ingest has ended");
    drop(frozen);
    drained(stack, &small.url).await?;
    until(PATIENCE, "the small ingest takes events again", async || {
        Ok(feeder.attempt(taken).await.is_some_and(|(status, _)| status == 202))
    })
    .await?;
    let told = told(stack, &agents)?;
    ensure!(
        told["full.disk"] == (0..=taken).collect::<Vec<_>>(),
        "{} facts for {taken} answers",
        told["full.disk"].len()
    );
    Ok(())
}
