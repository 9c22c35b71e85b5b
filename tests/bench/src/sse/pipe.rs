//! The floor of a frame: a record from its due time to a consumer, with nothing in between but the log.
//!
//! The producer has the ingest's settings and the consumer the projectors' (helix-runtime, client.rs), both in one
//! process, which is the only one that can know both moments by one clock.

use std::{
    collections::HashMap,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use helix_kit::config::{Config, LogConfig};
use helix_schemas::topics::{ALL, FACTS};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};
use tokio::runtime::Handle;

use crate::{
    bare_produce::{Records, enqueue, producer},
    pace::{Pace, sleep_until},
    records::TOPIC,
    sample::{Latencies, Sample},
};

/// How long records may still come after the last was sent.
const PATIENCE: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(100);

/// When each record was there, by partition and offset.
type Arrivals = HashMap<(i32, i64), Instant>;

/// Writes records at a pace and reads them. Blocks.
pub(super) fn run(config: &Path, records: &Path, pace: Pace, runtime: &Handle) -> Result<Sample> {
    let records = Records::read(records)?;
    let producer = producer(config)?;
    let consumer = consumer(&Config::load(Some(config))?.log)?;
    let schedule = pace.begin();
    let (_, end) = schedule.window();
    let count = usize::try_from(pace.count())?;
    let consuming = thread::spawn(move || consume(&consumer, count, end + PATIENCE));
    let mut sent = Vec::with_capacity(count);
    for index in 0..pace.count() {
        let record = records.at(usize::try_from(index)?).context("no record")?;
        let due = schedule.due(index);
        sleep_until(due);
        let delay = due.elapsed();
        sent.push((delay, enqueue(&producer, record)?));
    }
    let arrivals = consuming.join().map_err(|_| anyhow!("the consumer died"))??;
    let mut latencies = Latencies::new()?;
    for (index, (delay, delivery)) in (0..).zip(sent) {
        let delivery = runtime.block_on(delivery).context("the producer is gone")?.map_err(|(error, _)| error)?;
        let arrived = arrivals.get(&(delivery.partition, delivery.offset)).context("a record was not consumed")?;
        if index >= pace.unmeasured() {
            latencies.record(delay, arrived.saturating_duration_since(schedule.due(index)));
        }
    }
    Ok(latencies.sample(Duration::ZERO))
}

fn consume(consumer: &BaseConsumer, count: usize, until: Instant) -> Result<Arrivals> {
    let mut arrivals = HashMap::with_capacity(count);
    while arrivals.len() < count {
        let polled = consumer.poll(POLL);
        let now = Instant::now();
        if let Some(message) = polled {
            let message = message?;
            arrivals.insert((message.partition(), message.offset()), now);
        }
        if now > until {
            bail!("{} of {count} records were consumed", arrivals.len());
        }
    }
    Ok(arrivals)
}

/// A consumer at the end of the floors' topic, with what costs or saves time set as the projectors set it.
fn consumer(log: &LogConfig) -> Result<BaseConsumer> {
    let mut settings = ClientConfig::new();
    settings.extend(log.connection());
    settings
        .set("group.id", "helix-bench-pipe")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("fetch.wait.max.ms", "100")
        .set("fetch.error.backoff.ms", "100")
        .set("queued.max.messages.kbytes", "16384")
        .set("allow.auto.create.topics", "false");
    let consumer: BaseConsumer = settings.create()?;
    let partitions = ALL.iter().find(|topic| topic.name == FACTS).map_or(0, |topic| topic.partitions);
    let mut assignment = TopicPartitionList::new();
    for partition in 0..partitions {
        let (_, high) = consumer.fetch_watermarks(TOPIC, partition, PATIENCE)?;
        assignment.add_partition_offset(TOPIC, partition, Offset::Offset(high))?;
    }
    consumer.assign(&assignment)?;
    Ok(consumer)
}
