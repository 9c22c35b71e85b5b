//! The live boards' generations on the whole system: a board rests, is folded afresh beside the live one, compared, exchanged and
//! brought back while facts flow, and whoever watches it sees one unbroken chain of hashes.

use std::{
    collections::BTreeMap,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use helix_fold::board::visible::{BoardRoot, Change, Visible};
use helix_tests::{
    cli,
    stack::{Stack, until},
};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::{Outcome, proof::caught_up};

/// For longer than it is needed; it is ended then.
const TRAFFIC: [&str; 13] = [
    "simulate",
    "--agents",
    "6",
    "--calls-per-hour",
    "240",
    "--hours",
    "12",
    "--speed",
    "60",
    "--seed",
    "12",
    "--start",
    "2026-05-08T08:00:00",
];

const PATIENCE: Duration = Duration::from_secs(60);

/// What a page that stays open has seen.
#[derive(Default)]
struct Seen {
    copy: Visible,
    version: u64,
    snapshots: usize,
    deltas: usize,
    wrong: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    version: u64,
    changes: Vec<Change>,
    hash: BoardRoot,
}

type Raw = Box<RawValue>;

/// A copy as the page makes one: every value exactly as it was sent, its root compared.
fn copy_of(board: &str) -> Result<(Visible, u64)> {
    let parts: BTreeMap<String, Raw> = serde_json::from_str(board)?;
    let part = |name: &str| parts.get(name).map(|raw| raw.get()).with_context(|| format!("the board has no {name}"));
    let mut copy = Visible::default();
    for (collection, id) in
        [("agents", "agentId"), ("calls", "callId"), ("waiting", "callId"), ("producers", "producer")]
    {
        for value in serde_json::from_str::<Vec<Raw>>(part(collection)?)? {
            let card: Value = serde_json::from_str(value.get())?;
            copy.set_raw(&format!("{collection}/{}", card[id].as_str().context(id)?), value);
        }
    }
    for path in ["today", "openMissedCalls"] {
        copy.set_raw(path, serde_json::from_str(part(path)?)?);
    }
    let watermark: BTreeMap<String, Raw> = serde_json::from_str(part("watermark")?)?;
    for (name, moment) in watermark.into_iter().filter(|(name, at)| name.ends_with("At") && at.get() != "null") {
        copy.set_raw(&format!("watermark/{name}"), moment);
    }
    let root: String = serde_json::from_str(part("root")?)?;
    ensure!(copy.root().to_string() == root, "the snapshot's root is not that of its values");
    Ok((copy, serde_json::from_str(part("version")?)?))
}

impl Seen {
    fn takes(&mut self, event: &str, data: &str) -> Result<()> {
        if event == "snapshot" {
            (self.copy, self.version) = copy_of(data)?;
            self.snapshots += 1;
        } else if event == "delta" {
            let delta: Delta = serde_json::from_str(data)?;
            ensure!(delta.version == self.version + 1, "version {} after {}", delta.version, self.version);
            delta.changes.iter().for_each(|change| drop(self.copy.apply(change)));
            ensure!(self.copy.root() == delta.hash, "the hash chain breaks at version {}", delta.version);
            self.version = delta.version;
            self.deltas += 1;
        }
        Ok(())
    }
}

async fn watch(mut stream: reqwest::Response, seen: &Mutex<Seen>) -> Result<()> {
    let mut rest = String::new();
    while let Some(piece) = stream.chunk().await? {
        rest.push_str(std::str::from_utf8(&piece)?);
        while let Some(end) = rest.find("\n\n") {
            let block: String = rest.drain(..end + 2).collect();
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            if let (Some(event), Some(data)) = (field("event:"), field("data:")) {
                seen.lock().unwrap_or_else(PoisonError::into_inner).takes(event, data)?;
            }
        }
    }
    bail!("the stream ended")
}

/// Opens the event stream as ramaiah's supervisor, and follows it as long as this test runs.
async fn open(stack: &Stack) -> Result<Arc<Mutex<Seen>>> {
    let url = format!("{}/api/supervisor/events", stack.env("HELIX_SIDECAR_RAMAIAH_URL"));
    let stream = stack.http.get(url).bearer_auth(stack.env("HELIX_TOKEN_RAMAIAH_SUPERVISOR")).send().await?;
    ensure!(stream.status() == 200, "the stream answered {}", stream.status());
    let seen = Arc::new(Mutex::new(Seen::default()));
    let kept = seen.clone();
    tokio::spawn(async move {
        if let Err(error) = watch(stream, &kept).await {
            kept.lock().unwrap_or_else(PoisonError::into_inner).wrong = Some(error.to_string());
        }
    });
    Ok(seen)
}

/// What `helix projection list` says of a projection's partitions.
fn listed(stack: &Stack, projection: &str) -> Result<Vec<Value>> {
    let told = cli::succeed(&stack.config(), &["projection", "list", "--json"])?;
    let standings: Vec<Value> = serde_json::from_str(&told)?;
    Ok(standings.into_iter().filter(|one| one["projection"] == projection).collect())
}

fn refused(stack: &Stack, words: &[&str]) -> Outcome {
    let output = cli::run(&stack.config(), words)?;
    ensure!(output.status.code() == Some(2), "{words:?} ended with {}", output.status);
    Ok(())
}

fn verified(stack: &Stack) -> Outcome {
    cli::succeed(&stack.config(), &["audit", "verify", "--projection", "live"]).map(drop)
}

pub(crate) async fn a_board_rests_is_rebuilt_beside_exchanged_and_brought_back_while_facts_flow(
    stack: &Stack,
) -> Outcome {
    caught_up(stack).await?;
    for verb in ["diff", "cut-over", "cut-back", "discard"] {
        refused(stack, &["projection", verb, "live"])?;
    }
    for verb in ["pause", "resume", "rebuild", "diff"] {
        refused(stack, &["projection", verb, "live", "--workspace", "nobody"])?;
    }
    let seen = open(stack).await?;
    let config = stack.config();
    let mut traffic =
        Command::new(cli::binary()?).arg("--config").arg(&config).args(TRAFFIC).stdout(Stdio::null()).spawn()?;
    let done = rests(stack).await;
    let done = if done.is_ok() { exchanged(stack).await } else { done };
    let over = ended(&mut traffic)?;
    done?;
    ensure!(!over, "the traffic ended before the exchanges: make it longer");
    caught_up(stack).await?;
    verified(stack)?;
    cli::succeed(&config, &["projection", "discard", "live"])?;
    refused(stack, &["projection", "discard", "live"])?;
    the_page_is_even(stack, &seen).await
}

fn ended(traffic: &mut Child) -> Result<bool> {
    let over = traffic.try_wait()?.is_some();
    traffic.kill()?;
    traffic.wait()?;
    Ok(over)
}

/// The page that was open all the while shows what the board is.
async fn the_page_is_even(stack: &Stack, seen: &Mutex<Seen>) -> Outcome {
    until(PATIENCE, "the page shows the board", async || {
        let board = stack.board("ramaiah").await?;
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wrong) = &seen.wrong {
            bail!("{wrong}");
        }
        Ok(board["version"] == seen.version && board["root"] == seen.copy.root().to_string())
    })
    .await?;
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    println!("{} deltas, {} snapshot", seen.deltas, seen.snapshots);
    ensure!(seen.snapshots == 1 && seen.deltas > 100, "{} snapshots, {} deltas", seen.snapshots, seen.deltas);
    Ok(())
}

/// One board rests, through a restart of its projector; it says that it is stale; the other goes on.
async fn rests(stack: &Stack) -> Outcome {
    let config = stack.config();
    cli::succeed(&config, &["projection", "pause", "live", "--workspace", "ramaiah"])?;
    stack.kill("project-live").await?;
    let stale = async || Ok(stack.board("ramaiah").await?["stale"] == true);
    until(PATIENCE, "the resting board says that it is stale", stale).await?;
    let paused = |name: &str| -> Result<bool> {
        let partitions = listed(stack, name)?;
        ensure!(!partitions.is_empty(), "{name} is not listed");
        Ok(partitions.iter().all(|one| one["paused"] == true))
    };
    ensure!(paused("live:ramaiah")? && !paused("live:global")?);
    let moved = async |workspace: &str| -> Result<u64> {
        stack.board(workspace).await?["version"].as_u64().context("a version")
    };
    let (rests, goes_on) = (moved("ramaiah").await?, moved("global").await?);
    until(PATIENCE, "the other board goes on", async || Ok(moved("global").await? > goes_on)).await?;
    ensure!(moved("ramaiah").await? == rests, "a resting board moved");
    cli::succeed(&config, &["projection", "resume", "live:ramaiah"])?;
    until(PATIENCE, "the board is live again", async || Ok(stack.board("ramaiah").await?["stale"] == false)).await?;
    ensure!(!paused("live:ramaiah")? && moved("ramaiah").await? > rests);
    Ok(())
}

/// Rebuilt beside, compared, exchanged, back again, and exchanged once more.
async fn exchanged(stack: &Stack) -> Outcome {
    let config = stack.config();
    let told: Value = serde_json::from_str(&cli::succeed(&config, &["projection", "rebuild", "live", "--json"])?)?;
    ensure!(told["rebuilt"]["scope"] == "all" && told["rebuilt"]["facts"].as_u64() > Some(100), "{told}");
    ensure!(!listed(stack, "live:ramaiah.standby")?.is_empty());
    let diff: Value = serde_json::from_str(&cli::succeed(&config, &["projection", "diff", "live", "--json"])?)?;
    let roots = diff["roots"].as_array().context("roots")?;
    ensure!(diff["same"] == true && roots.len() == 2 && roots.iter().all(|root| root["equal"] == true), "{diff}");
    refused(stack, &["projection", "cut-back", "live"])?;
    for verb in ["cut-over", "cut-back", "cut-back"] {
        cli::succeed(&config, &["projection", verb, "live"])?;
        let exchanged_at = stack.board("ramaiah").await?["version"].as_u64();
        until(PATIENCE, "the board goes on", async || {
            Ok(stack.board("ramaiah").await?["version"].as_u64() > exchanged_at)
        })
        .await?;
        verified(stack)?;
    }
    refused(stack, &["projection", "cut-over", "live", "--workspace", "global"])?;
    refused(stack, &["projection", "rebuild", "live", "--workspace", "global"])
}
