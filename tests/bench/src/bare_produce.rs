//! The floor in the log: a bare producer that writes given records at a fixed rate and waits for each acknowledgement.
//!
//! It has to pace itself, which costs CPU that producing does not: `--pacing-only` does everything but produce, so
//! that its cost can be taken off.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Barrier,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use helix_kit::config::Config;
use rdkafka::{
    ClientConfig,
    error::KafkaError,
    producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer},
};

use crate::{
    WORKERS, cpu, frames,
    pace::{Pace, Schedule, sleep_until},
    records::TOPIC,
    sample::Latencies,
};

/// How long acknowledgements may still come after the last record was sent.
const PATIENCE: Duration = Duration::from_secs(15);

/// What to write, and how fast.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The stack's configuration.
    #[arg(long)]
    config: PathBuf,
    /// The records, taken in turn.
    #[arg(long)]
    records: PathBuf,
    #[command(flatten)]
    pace: Pace,
    /// Everything but produce.
    #[arg(long)]
    pacing_only: bool,
}

/// Records to write.
#[derive(Debug)]
pub(crate) struct Records(Vec<Vec<u8>>);

/// One of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    key: &'a [u8],
    value: &'a [u8],
}

impl Records {
    /// Reads what [`crate::records::capture`] gave.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let frames = frames::read(path)?;
        if frames.len() < 2 {
            bail!("{} has no record", path.display());
        }
        Ok(Self(frames))
    }

    /// The record of an index, beginning again after the last.
    pub(crate) fn at(&self, index: usize) -> Option<Record<'_>> {
        match self.0.chunks_exact(2).nth(index % (self.0.len() / 2))? {
            [key, value] => Some(Record { key, value }),
            [..] => None,
        }
    }
}

/// A producer with what costs or saves time set as the ingest sets it (helix-ingest, publish.rs), and nothing else.
pub(crate) fn producer(config: &Path) -> Result<FutureProducer> {
    let log = Config::load(Some(config))?.log;
    let mut settings = ClientConfig::new();
    settings.extend(log.connection());
    settings
        .set("client.id", "helix-bench")
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("partitioner", "murmur2_random")
        .set("compression.codec", "lz4")
        .set("linger.ms", log.linger.as_millis().to_string())
        .set("delivery.timeout.ms", log.delivery_timeout.as_millis().to_string())
        .set("allow.auto.create.topics", "false");
    Ok(settings.create()?)
}

/// Puts a record into the producer's queue.
pub(crate) fn enqueue(producer: &FutureProducer, record: Record<'_>) -> Result<DeliveryFuture, KafkaError> {
    producer.send_result(FutureRecord::to(TOPIC).key(record.key).payload(record.value)).map_err(|(error, _)| error)
}

/// Nanoseconds after its due time at which each record was sent and acknowledged; 0: not yet.
struct Slots(Vec<[AtomicU64; 2]>);

/// A wait that cannot be told from none yet is a nanosecond.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1)
}

impl Slots {
    /// Waits until the last tasks have seen their acknowledgements.
    fn wait(&self, patience: Duration) {
        let begun = Instant::now();
        let open = |[_, done]: &[AtomicU64; 2]| done.load(Ordering::Relaxed) == 0;
        while self.0.iter().any(open) && begun.elapsed() < patience {
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn put(&self, index: usize, place: usize, time: Duration) {
        if let Some(slot) = self.0.get(index).and_then(|slot| slot.get(place)) {
            slot.store(nanoseconds(time), Ordering::Relaxed);
        }
    }
}

/// Runs and prints a [`crate::sample::Sample`] of itself.
pub(crate) fn run(options: &Options) -> Result<()> {
    let pace = options.pace;
    let records = Records::read(&options.records)?;
    let producer = if options.pacing_only { None } else { Some(producer(&options.config)?) };
    let slots = Arc::new(Slots((0..pace.count()).map(|_| Default::default()).collect()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    let measured = Arc::new(Barrier::new(2));
    let schedule = pace.begin();
    let sending = {
        let (slots, handle, producer) = (slots.clone(), runtime.handle().clone(), producer.clone());
        let measured = measured.clone();
        thread::spawn(move || {
            let sent = send_all(&records, pace, schedule, producer.as_ref(), &slots, &handle);
            // A thread that ends takes its run time with it.
            measured.wait();
            sent
        })
    };
    let (from, to) = schedule.window();
    let own = std::process::id();
    sleep_until(from);
    let used_before = cpu::used(own)?;
    sleep_until(to);
    let used_after = cpu::used(own)?;
    measured.wait();
    sending.join().map_err(|_| anyhow::anyhow!("the sending thread died"))??;
    if let Some(producer) = producer {
        producer.flush(PATIENCE).context("not every record was acknowledged")?;
    }
    slots.wait(PATIENCE);
    drop(runtime);
    let mut latencies = Latencies::new()?;
    for [sent, done] in slots.0.iter().skip(usize::try_from(pace.unmeasured())?) {
        let (sent, done) = (sent.load(Ordering::Relaxed), done.load(Ordering::Relaxed));
        if done == 0 {
            bail!("a record was not acknowledged");
        }
        latencies.record(Duration::from_nanos(sent), Duration::from_nanos(done));
    }
    println!("{}", serde_json::to_string(&latencies.sample(cpu::between(used_before, used_after)?))?);
    Ok(())
}

fn send_all(
    records: &Records,
    pace: Pace,
    schedule: Schedule,
    producer: Option<&FutureProducer>,
    slots: &Arc<Slots>,
    runtime: &tokio::runtime::Handle,
) -> Result<()> {
    for index in 0..pace.count() {
        let due = schedule.due(index);
        let index = usize::try_from(index)?;
        let record = records.at(index).context("no record")?;
        sleep_until(due);
        slots.put(index, 0, due.elapsed());
        let delivery = producer.map(|producer| enqueue(producer, record)).transpose()?;
        let slots = slots.clone();
        runtime.spawn(acknowledged(due, delivery, move |time| slots.put(index, 1, time)));
    }
    Ok(())
}

async fn acknowledged(due: Instant, delivery: Option<DeliveryFuture>, done: impl FnOnce(Duration)) {
    if let Some(delivery) = delivery
        && !matches!(delivery.await, Ok(Ok(_)))
    {
        return;
    }
    done(due.elapsed());
}
