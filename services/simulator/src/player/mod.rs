//! Plays generated days against a real ingest.
//!
//! Decides pacing, order and when to give up. Simulated time runs [`Options::speed`] times as fast as the clock; a player
//! that fell behind (the ingest was away) catches up as fast as answers come, and drops nothing. Each workspace is played
//! in order by one lane, or by several, each of which keeps the order of its agents and calls.

mod latency;
mod options;
mod post;
mod tally;

use std::collections::BTreeMap;
use std::future::Future;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{FixedOffset, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::day::{Day, Delivery, Endpoint};
use crate::truth::{Direction, Outcome, Truth};

pub use options::{Options, WorkspaceTarget};
use post::{Poster, Request};
use tally::{Counts, Tally};
pub use tally::{LatencySummary, Played};

/// Why a run could not be finished.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// The options contradict themselves.
    #[error("{0}")]
    Usage(String),
    /// The HTTP client could not be built.
    #[error("cannot build the http client")]
    Client(#[source] reqwest::Error),
    /// Nobody answers, or only with "not now", for too long.
    #[error("the ingest at {url} could not be reached for {seconds} s")]
    Unreachable {
        /// Base URL.
        url: String,
        /// For how long.
        seconds: u64,
        /// The last trouble, unless it was an answer.
        #[source]
        source: Option<reqwest::Error>,
    },
    /// The ingest refuses this key or does not know this workspace.
    #[error("the ingest answered {status} to {path}: wrong key or unknown workspace")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Path.
        path: String,
    },
    /// The directory did not take the agents and numbers.
    #[error("registering workspace {workspace} was answered {status}")]
    Register {
        /// Slug.
        workspace: String,
        /// HTTP status; 409 means that another workspace owns one of them.
        status: u16,
    },
    /// A lane died; a bug.
    #[error("a lane of the player died")]
    Lane(#[source] tokio::task::JoinError),
}

impl SimulateError {
    /// The CLI's exit code: 2 usage, 3 a component cannot be reached.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Unreachable { .. } => 3,
            Self::Usage(_) | Self::Refused { .. } | Self::Register { .. } => 2,
            Self::Client(_) | Self::Lane(_) => 1,
        }
    }
}

/// What really happened in a played day, for whoever compares a board or a report with it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TruthTotals {
    /// Inbound calls.
    pub offered: u64,
    /// Of those, answered.
    pub answered: u64,
    /// Of those, missed.
    pub missed: u64,
    /// Of those, given up at once.
    pub short_abandoned: u64,
    /// Calls that agents dialled.
    pub outbound: u64,
    /// Events, callbacks included.
    pub events: u64,
}

impl TruthTotals {
    /// Counts a truth.
    pub fn of(truth: &Truth) -> Self {
        let inbound = |outcome| truth.count(Direction::Inbound, outcome);
        Self {
            offered: truth.offered(),
            answered: inbound(Outcome::Answered),
            missed: inbound(Outcome::Missed),
            short_abandoned: inbound(Outcome::ShortAbandon),
            outbound: truth.calls.len() as u64 - truth.offered(),
            events: truth.events.len() as u64,
        }
    }
}

/// What a run did.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The seed, to play it again.
    pub seed: u64,
    /// Local (IST) time at which the days began.
    pub start: NaiveDateTime,
    /// Local time that was reached.
    pub reached: NaiveDateTime,
    /// True if it was stopped before the end.
    pub interrupted: bool,
    /// Deliveries of the whole days.
    pub planned: u64,
    /// What was sent and answered.
    pub played: Played,
    /// How fast it was answered.
    pub latency: LatencySummary,
    /// How long the run took.
    pub wall_milliseconds: u64,
    /// What really happened (of the whole day, also when interrupted), by workspace.
    pub truth: BTreeMap<String, TruthTotals>,
    /// Provider faults in the whole days, by name.
    pub faults: BTreeMap<&'static str, u64>,
}

/// Plays until the day is over or Ctrl-C, and prints as the options say.
///
/// # Errors
/// When options make no sense, the ingest cannot be reached, or refuses.
pub async fn run(options: Options) -> Result<Summary, SimulateError> {
    run_until(options, async {
        // Without a handler for the signal the process ends as if there were none of ours.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
    .await
}

/// As [`run`], stopped by `stop` instead of Ctrl-C.
///
/// # Errors
/// As [`run`].
pub async fn run_until(options: Options, stop: impl Future<Output = ()>) -> Result<Summary, SimulateError> {
    options.check()?;
    let start = options.start.unwrap_or_else(today_at_eight);
    let poster = Poster::new(&options.ingest_url, options.reconnect_patience)?;
    let tally = Arc::new(Tally::default());
    let mut summary = Summary {
        seed: options.seed,
        start,
        reached: start,
        interrupted: false,
        planned: 0,
        played: Played::default(),
        latency: LatencySummary::default(),
        wall_milliseconds: 0,
        truth: BTreeMap::new(),
        faults: BTreeMap::new(),
    };
    let began = Instant::now();
    let outcome = {
        let playing = play(&options, &poster, &tally, &mut summary);
        tokio::select! {
            outcome = playing => Some(outcome),
            () = stop => None,
            never = show_progress(&options, start, &tally) => match never {},
        }
    };
    let counts = tally.snapshot();
    summary.interrupted = outcome.is_none();
    summary.reached = start + TimeDelta::milliseconds(i64::try_from(counts.clock).unwrap_or(i64::MAX / 1000));
    summary.latency = counts.latency();
    summary.played = counts.played;
    summary.wall_milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    print_summary(&options, &summary);
    outcome.unwrap_or(Ok(())).map(|()| summary)
}

async fn play(
    options: &Options,
    poster: &Poster,
    tally: &Arc<Tally>,
    summary: &mut Summary,
) -> Result<(), SimulateError> {
    poster.wait_reachable(options.connect_patience).await?;
    for target in &options.workspaces {
        register(options, poster, target).await?;
    }
    let mut lanes = Vec::new();
    for target in &options.workspaces {
        let scenario = options.scenario(target, summary.start);
        // A large day takes seconds to generate: not on a thread that others wait for.
        let day = tokio::task::spawn_blocking(move || Day::generate(&scenario)).await.map_err(SimulateError::Lane)?;
        summary.planned += day.deliveries.len() as u64;
        summary.truth.insert(target.slug.clone(), TruthTotals::of(&day.truth));
        for (kind, times) in &day.faults {
            *summary.faults.entry(kind.name()).or_default() += times;
        }
        lanes.extend(split(day.deliveries, options.concurrency).into_iter().map(|lane| (target.clone(), lane)));
    }
    let began = Instant::now();
    let mut running = JoinSet::new();
    for (target, deliveries) in lanes {
        let lane = Lane {
            target,
            ingest_key: options.ingest_key.clone(),
            speed: options.speed,
            began,
            poster: poster.clone(),
            tally: Arc::clone(tally),
        };
        running.spawn(async move { lane.play(deliveries).await });
    }
    // Dropped on the first error or when stopped: the other lanes end with it.
    while let Some(ended) = running.join_next().await {
        ended.map_err(SimulateError::Lane)??;
    }
    Ok(())
}

/// Deals deliveries to lanes so that one agent's, or one call's without an agent, stay in one lane and in order.
fn split(deliveries: Vec<Delivery>, lanes: usize) -> Vec<Vec<Delivery>> {
    let mut dealt: Vec<Vec<Delivery>> = (0..lanes).map(|_| Vec::new()).collect();
    for delivery in deliveries {
        let key = delivery.events.first().and_then(|event| event.key()).map_or("", |key| key);
        // FNV-1a: any hash will do that is the same in every run.
        let hash = key
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let lane = usize::try_from(hash % lanes as u64).unwrap_or(0);
        dealt[lane].push(delivery);
    }
    dealt.retain(|lane| !lane.is_empty());
    dealt
}

struct Lane {
    target: WorkspaceTarget,
    ingest_key: String,
    speed: u32,
    began: Instant,
    poster: Poster,
    tally: Arc<Tally>,
}

impl Lane {
    async fn play(self, deliveries: Vec<Delivery>) -> Result<(), SimulateError> {
        for delivery in deliveries {
            if let Some(microseconds) = (delivery.at * 1000).checked_div(u64::from(self.speed)) {
                let due = self.began + Duration::from_micros(microseconds);
                tokio::time::sleep_until(due.into()).await;
            }
            let key = match delivery.endpoint {
                Endpoint::AgentEvent | Endpoint::CallEvent => &self.ingest_key,
                Endpoint::Callback => &self.target.webhook_key,
            };
            let request = Request {
                at: delivery.at,
                path: &delivery.endpoint.path(&self.target.slug),
                key,
                content_type: delivery.content_type,
                body: &delivery.body,
            };
            self.poster.deliver(&request, &self.tally).await?;
        }
        Ok(())
    }
}

/// Puts the workspace's agents and numbers into the directory; harmless when they are there.
async fn register(options: &Options, poster: &Poster, target: &WorkspaceTarget) -> Result<(), SimulateError> {
    let Some(key) = &target.register_key else { return Ok(()) };
    let agents: Vec<String> = target.profiles(options.agents).into_iter().map(|agent| agent.id).collect();
    let body = serde_json::json!({
        "workspace": target.slug, "url": target.sidecar_url, "agents": agents, "dids": target.dids,
    });
    let answer = poster
        .client
        .post(format!("{}/api/supervisor/register", poster.base))
        .header("X-Helix-Key", key)
        .json(&body)
        .send()
        .await
        .map_err(|source| SimulateError::Unreachable { url: poster.base.clone(), seconds: 0, source: Some(source) })?;
    if answer.status().is_success() {
        return Ok(());
    }
    Err(SimulateError::Register { workspace: target.slug.clone(), status: answer.status().as_u16() })
}

/// Today's 08:00 in India.
fn today_at_eight() -> NaiveDateTime {
    let ist = FixedOffset::east_opt(19_800)
        .map_or_else(|| Utc::now().naive_utc(), |ist| Utc::now().with_timezone(&ist).naive_local());
    ist.date().and_time(NaiveTime::from_hms_opt(8, 0, 0).unwrap_or_default())
}

async fn show_progress(options: &Options, start: NaiveDateTime, tally: &Tally) -> std::convert::Infallible {
    if options.quiet || !std::io::stderr().is_terminal() {
        return std::future::pending().await;
    }
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        // A terminal that is gone is no reason to stop playing.
        let _ = write!(std::io::stderr(), "\r\x1b[2K{}", line(start, &tally.snapshot()));
    }
}

fn line(start: NaiveDateTime, counts: &Counts) -> String {
    let clock = start + TimeDelta::milliseconds(i64::try_from(counts.clock).unwrap_or(0));
    let (played, latency) = (&counts.played, counts.latency());
    format!(
        "{}  sent {}  accepted {}  duplicates {}  unrouted {}  rejected {}  errors {}  retries {}  p50 {} ms  p99 {} ms",
        clock.format("%H:%M:%S"),
        played.sent,
        played.accepted(),
        played.result("duplicate"),
        played.result("unrouted"),
        played.result("rejected"),
        played.errors,
        played.retries,
        milliseconds(latency.p50_us),
        milliseconds(latency.p99_us),
    )
}

fn milliseconds(microseconds: u64) -> String {
    format!("{}.{}", microseconds / 1000, microseconds % 1000 / 100)
}

fn print_summary(options: &Options, summary: &Summary) {
    if options.quiet {
        return;
    }
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        // Ends the progress line.
        let _ = writeln!(stderr);
    }
    if options.json {
        let json = serde_json::to_string_pretty(summary).unwrap_or_default();
        let _ = writeln!(std::io::stdout(), "{json}");
        return;
    }
    let played = &summary.played;
    let _ = writeln!(
        stderr,
        "seed {}: {} of {} deliveries sent in {}.{} s{}, from {} to {}\n  answers {:?}, events {:?}, retries {}, errors {}, p50 {} ms, p99 {} ms",
        summary.seed,
        played.sent,
        summary.planned,
        summary.wall_milliseconds / 1000,
        summary.wall_milliseconds % 1000 / 100,
        if summary.interrupted { " (interrupted)" } else { "" },
        summary.start,
        summary.reached.format("%Y-%m-%d %H:%M:%S"),
        played.by_status,
        played.by_result,
        played.retries,
        played.errors,
        milliseconds(summary.latency.p50_us),
        milliseconds(summary.latency.p99_us),
    );
    for (workspace, truth) in &summary.truth {
        let _ = writeln!(
            stderr,
            "  {workspace}: offered {}, answered {}, missed {}, short abandons {}, dialled {}",
            truth.offered, truth.answered, truth.missed, truth.short_abandoned, truth.outbound
        );
    }
}
