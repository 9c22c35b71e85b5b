//! Posts odd deliveries as fast as they are answered, and draws up the account.
//!
//! Answers that may come: 202 with a result for each event, 400 with the id under which the bytes are kept, 429 with a
//! time after which the same delivery is sent again. Any other, a connection that breaks and a request without an answer
//! end the run.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{
    client::{Answer, Connection},
    delivery::{Delivery, Mill},
    ledger::{self, Account, Codecs, Promise},
};

/// How often progress is told.
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// How often one delivery is sent again after 429.
const MOST_REPEATS: u32 = 100;
/// How long the log may stand still before what was spooled is given up, and how long it may take at all.
const STILL: Duration = Duration::from_secs(120);
const DRAINED_WITHIN: Duration = Duration::from_secs(600);

/// Whom to post to.
#[derive(Debug, Clone)]
pub struct Target {
    /// `http://host:port` of ingest.
    pub ingest: String,
    /// Of the log.
    pub brokers: String,
    /// Of the schema registry.
    pub registry: String,
}

/// How much.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Everything follows from it.
    pub seed: u64,
    /// The first delivery's number.
    pub from: u64,
    /// Deliveries.
    pub count: u64,
    /// Connections at once.
    pub concurrency: usize,
}

/// What was answered.
#[derive(Debug, Default, Serialize)]
pub struct Tally {
    /// Requests that were answered for good.
    pub answered: u64,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Events by what became of them.
    pub results: BTreeMap<String, u64>,
    /// Refusals that keep the bytes, by code.
    pub kept: BTreeMap<String, u64>,
    /// Deliveries by what is odd about them.
    pub oddities: BTreeMap<&'static str, u64>,
    /// Requests sent again after 429.
    pub sent_again: u64,
    /// Connections opened.
    pub connections: u64,
    /// Bytes of bodies.
    pub bytes: u64,
    /// The slowest answer, milliseconds.
    pub slowest_ms: u128,
    #[serde(skip)]
    promises: Vec<Promise>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.sent_again += other.sent_again;
        self.connections += other.connections;
        self.bytes += other.bytes;
        self.slowest_ms = self.slowest_ms.max(other.slowest_ms);
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        for (into, from) in [(&mut self.results, other.results), (&mut self.kept, other.kept)] {
            for (name, count) in from {
                *into.entry(name).or_default() += count;
            }
        }
        for (name, count) in other.oddities {
            *self.oddities.entry(name).or_default() += count;
        }
        self.promises.extend(other.promises);
    }

    /// Records that the answers promise.
    #[must_use]
    pub fn promised(&self) -> u64 {
        let appended = |(status, count): (&String, &u64)| if status == "duplicate" { 0 } else { *count };
        self.results.iter().map(appended).sum::<u64>() + self.kept.values().sum::<u64>()
    }
}

/// A run's outcome.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// Everything followed from it.
    pub seed: u64,
    /// The first delivery's number.
    pub from: u64,
    /// Deliveries that were to be posted.
    pub count: u64,
    /// How long posting took, seconds.
    pub seconds: f64,
    /// What was answered.
    pub tally: Tally,
    /// What the log says.
    pub log: Account,
    /// What is wrong; empty where nothing is.
    pub faults: Vec<String>,
    /// The first delivery at fault.
    pub first: Option<u64>,
}

#[derive(Deserialize)]
struct Accepted {
    results: Vec<EventResult>,
}

#[derive(Deserialize)]
struct EventResult {
    status: String,
    id: Uuid,
    topic: Option<String>,
    partition: Option<i32>,
    offset: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Refusal {
    code: String,
    rejected_id: Option<Uuid>,
}

/// What all connections share.
struct Shared {
    mill: Mill,
    host: String,
    next: AtomicU64,
    end: u64,
    stop: AtomicBool,
    first_fault: Mutex<Option<(u64, String)>>,
}

impl Shared {
    fn fault(&self, number: u64, what: String) {
        self.stop.store(true, Ordering::Relaxed);
        let mut first = self.first_fault.lock().unwrap_or_else(PoisonError::into_inner);
        if first.as_ref().is_none_or(|(other, _)| number < *other) {
            *first = Some((number, what));
        }
    }
}

/// Posts, and holds the log against the answers.
///
/// # Errors
/// Where the log or the registry cannot be asked. What is wrong with ingest is in the outcome.
pub async fn run(target: &Target, mill: &Mill, options: Options) -> Result<Outcome> {
    let codecs = Codecs::of(&target.registry).await?;
    let before = ends(&target.brokers).await?;
    let host =
        target.ingest.strip_prefix("http://").context("ingest is reached by http")?.trim_end_matches('/').to_owned();
    let shared = Arc::new(Shared {
        mill: mill.clone(),
        host,
        next: AtomicU64::new(options.from),
        end: options.from + options.count,
        stop: AtomicBool::new(false),
        first_fault: Mutex::new(None),
    });
    let begun = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..options.concurrency.max(1) {
        workers.spawn(work(shared.clone()));
    }
    let progress = tokio::spawn(tell(shared.clone(), options));
    let mut tally = Tally::default();
    while let Some(worked) = workers.join_next().await {
        tally.add(worked?);
    }
    progress.abort();
    let seconds = begun.elapsed().as_secs_f64();
    let after = drained(target, &before, &tally).await?;
    let promises = std::mem::take(&mut tally.promises);
    let (brokers, mill) = (target.brokers.clone(), mill.clone());
    let (appended, log) = tokio::task::spawn_blocking(move || {
        let appended: u64 = ledger::appended(&before, &after).values().sum();
        let log = ledger::settle(&brokers, &codecs, (&before, &after), &promises, &mill)?;
        anyhow::Ok((appended, log))
    })
    .await??;

    let mut faults = Vec::new();
    let first = shared.first_fault.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((number, what)) = &first {
        faults.push(format!("delivery {number}: {what}"));
    }
    if tally.answered != options.count {
        faults.push(format!("{} deliveries, {} answers", options.count, tally.answered));
    }
    if tally.promised() + log.own != appended {
        faults.push(format!("{} records promised and {} of our own, {appended} appended", tally.promised(), log.own));
    }
    faults.extend(log.faults.iter().cloned());
    let first = first.map(|(number, _)| number).or(log.first);
    Ok(Outcome { seed: options.seed, from: options.from, count: options.count, seconds, tally, log, faults, first })
}

async fn ends(brokers: &str) -> Result<ledger::Ends> {
    let brokers = brokers.to_owned();
    tokio::task::spawn_blocking(move || ledger::ends(&brokers)).await?
}

/// The log's ends, once what was spooled has reached it.
async fn drained(target: &Target, before: &ledger::Ends, tally: &Tally) -> Result<ledger::Ends> {
    let begun = Instant::now();
    let (mut grown, mut grown_at) = (0, begun);
    loop {
        let after = ends(&target.brokers).await?;
        let appended: u64 = ledger::appended(before, &after).values().sum();
        if appended >= tally.promised() || grown_at.elapsed() > STILL || begun.elapsed() > DRAINED_WITHIN {
            return Ok(after);
        }
        if appended > grown {
            (grown, grown_at) = (appended, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn tell(shared: Arc<Shared>, options: Options) {
    let begun = Instant::now();
    let mut every = tokio::time::interval(TOLD_EVERY);
    every.tick().await;
    loop {
        every.tick().await;
        let sent = shared.next.load(Ordering::Relaxed).min(shared.end) - options.from;
        let rate = sent * 1000 / u64::try_from(begun.elapsed().as_millis()).unwrap_or(1).max(1);
        let left = (options.count - sent) / rate.max(1);
        eprintln!("{sent} of {} sent, {rate}/s, {left} s to go", options.count);
    }
}

/// One connection's share.
async fn work(shared: Arc<Shared>) -> Tally {
    let mut tally = Tally::default();
    let mut connection: Option<Connection> = None;
    while !shared.stop.load(Ordering::Relaxed) {
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        if number >= shared.end {
            break;
        }
        let delivery = shared.mill.delivery(number);
        match deliver(&shared, &mut connection, &delivery, &mut tally).await {
            Ok(()) => {}
            Err(error) => {
                shared.fault(number, format!("{error:#} ({})", delivery.oddities.join(", ")));
                connection = None;
            }
        }
    }
    tally
}

async fn deliver(
    shared: &Shared,
    connection: &mut Option<Connection>,
    delivery: &Delivery,
    tally: &mut Tally,
) -> Result<()> {
    for oddity in &delivery.oddities {
        *tally.oddities.entry(oddity).or_default() += 1;
    }
    for _ in 0..MOST_REPEATS {
        let mut open = match connection.take().filter(|connection| !connection.is_closed()) {
            Some(open) => open,
            None => {
                tally.connections += 1;
                Connection::open(&shared.host).await?
            }
        };
        let begun = Instant::now();
        let answer = open.post(delivery).await?;
        tally.slowest_ms = tally.slowest_ms.max(begun.elapsed().as_millis());
        *connection = Some(open);
        if answer.status == 429 {
            tally.sent_again += 1;
            tokio::time::sleep(answer.retry_after.unwrap_or(Duration::from_secs(1))).await;
            continue;
        }
        tally.answered += 1;
        tally.bytes += u64::try_from(delivery.body.len()).unwrap_or_default();
        *tally.statuses.entry(answer.status).or_default() += 1;
        return judge(delivery, &answer, tally);
    }
    Err(anyhow!("429 again and again"))
}

/// Takes an answer's promises down.
fn judge(delivery: &Delivery, answer: &Answer, tally: &mut Tally) -> Result<()> {
    let digest = ledger::digest(&delivery.body);
    let told = || String::from_utf8_lossy(answer.body.get(..300).unwrap_or(&answer.body)).into_owned();
    match answer.status {
        202 => {
            let accepted: Accepted = serde_json::from_slice(&answer.body).with_context(told)?;
            ensure!(!accepted.results.is_empty(), "202 and no result");
            for result in accepted.results {
                let place = match (&result.topic, result.partition, result.offset) {
                    (Some(topic), Some(partition), Some(offset)) => {
                        Some((ledger::topic(topic).with_context(told)?, partition, offset))
                    }
                    _ => None,
                };
                let known =
                    ["stored", "spooled", "duplicate", "unrouted", "rejected"].contains(&result.status.as_str());
                ensure!(known, "no such result: {}", result.status);
                let duplicate = result.status == "duplicate";
                tally.promises.push(Promise { number: delivery.number, id: result.id, place, digest, duplicate });
                *tally.results.entry(result.status).or_default() += 1;
            }
            Ok(())
        }
        400 => {
            let refusal: Refusal = serde_json::from_slice(&answer.body).with_context(told)?;
            let id = refusal.rejected_id.with_context(|| format!("its bytes are not kept: {}", told()))?;
            tally.promises.push(Promise { number: delivery.number, id, place: None, digest, duplicate: false });
            *tally.kept.entry(refusal.code).or_default() += 1;
            Ok(())
        }
        status => Err(anyhow!("answered {status}: {}", told())),
    }
}
