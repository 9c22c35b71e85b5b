//! The generator: posts requests at a fixed rate from a process of its own and watches the one under test.
//!
//! One blocking connection a thread, the next due request to whichever is free: with enough of them, a slow answer
//! holds up nothing but its own connection. Any answer but the expected one ends the run: half a run says nothing.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::{
    connection::Connection,
    cpu, frames,
    pace::{Pace, Schedule, sleep_until},
    sample::Latencies,
};

/// What to post, and where to.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Who is posted to.
    #[arg(long)]
    target: SocketAddr,
    /// Whose CPU is measured.
    #[arg(long)]
    pid: u32,
    /// The requests, at least as many as are due.
    #[arg(long)]
    requests: PathBuf,
    #[command(flatten)]
    pace: Pace,
    /// Connections, each with one request at a time.
    #[arg(long)]
    connections: usize,
    /// What a 202 must say.
    #[arg(long)]
    expect: Expect,
}

/// What the body of an answer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Expect {
    /// Anything.
    Any,
    /// One event, stored.
    Stored,
}

struct Shared {
    requests: Vec<Vec<u8>>,
    pace: Pace,
    schedule: Schedule,
    next: AtomicU64,
    failed: AtomicBool,
    expect: Expect,
}

/// Requests that are being posted.
#[derive(Debug)]
pub(crate) struct Posting {
    schedule: Schedule,
    threads: Vec<thread::JoinHandle<Result<Latencies>>>,
}

impl Posting {
    /// Connects, and begins.
    pub(crate) fn begin(
        target: SocketAddr,
        connections: usize,
        requests: Vec<Vec<u8>>,
        pace: Pace,
        expect: Expect,
    ) -> Result<Self> {
        if (requests.len() as u64) < pace.count() {
            bail!("{} requests are too few for {}", requests.len(), pace.count());
        }
        let connections: Vec<Connection> = (0..connections).map(|_| Connection::open(target)).collect::<Result<_>>()?;
        let schedule = pace.begin();
        let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
        let shared = Arc::new(Shared { requests, pace, schedule, next, failed, expect });
        let posting = connections.into_iter().map(|connection| {
            let shared = shared.clone();
            thread::spawn(move || {
                let posted = post_all(&shared, connection);
                if posted.is_err() {
                    shared.failed.store(true, Ordering::Relaxed);
                }
                posted
            })
        });
        Ok(Self { schedule, threads: posting.collect() })
    }

    /// When each request is due.
    pub(crate) const fn schedule(&self) -> Schedule {
        self.schedule
    }

    /// Waits for the last answer.
    pub(crate) fn finish(self) -> Result<Latencies> {
        let mut latencies = Latencies::new()?;
        for thread in self.threads {
            latencies.add(&thread.join().map_err(|_| anyhow::anyhow!("a thread of the generator died"))??)?;
        }
        Ok(latencies)
    }
}

/// Runs and prints a [`crate::sample::Sample`].
pub(crate) fn run(options: &Options) -> Result<()> {
    let requests = frames::read(&options.requests)?;
    let posting = Posting::begin(options.target, options.connections, requests, options.pace, options.expect)?;
    let (from, to) = posting.schedule().window();
    sleep_until(from);
    let used_before = cpu::used(options.pid)?;
    sleep_until(to);
    let used_after = cpu::used(options.pid)?;
    let sample = posting.finish()?.sample(cpu::between(used_before, used_after)?);
    println!("{}", serde_json::to_string(&sample)?);
    Ok(())
}

/// Posts whatever is due next, until nothing is.
fn post_all(shared: &Shared, mut connection: Connection) -> Result<Latencies> {
    let mut latencies = Latencies::new()?;
    while !shared.failed.load(Ordering::Relaxed) {
        let index = shared.next.fetch_add(1, Ordering::Relaxed);
        let request = match usize::try_from(index).ok().and_then(|index| shared.requests.get(index)) {
            Some(request) if index < shared.pace.count() => request,
            Some(_) | None => break,
        };
        let due = shared.schedule.due(index);
        sleep_until(due);
        let sent = due.elapsed();
        let (status, body) = connection.exchange(request)?;
        let done = due.elapsed();
        check(status, body, shared.expect).with_context(|| format!("request {index}"))?;
        if index >= shared.pace.unmeasured() {
            latencies.record(sent, done);
        }
    }
    Ok(latencies)
}

fn check(status: u16, body: &[u8], expect: Expect) -> Result<()> {
    const STORED: &[u8] = br#""results":[{"status":"stored""#;
    if status != 202 {
        let problem: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        bail!("answered {status} {}", problem.get("code").unwrap_or_default());
    }
    if expect == Expect::Stored && !body.windows(STORED.len()).any(|part| part == STORED) {
        let accepted: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let status = accepted.pointer("/results/0/status").unwrap_or_default();
        bail!("an event became {status}, where it should be stored");
    }
    Ok(())
}
