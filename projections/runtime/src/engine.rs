//! The loop: one thread owns the consumer, the store and all that is held between them.
//!
//! Everything happens on that one thread, in order: poll, hold, cut, apply. Rebalances are only noted by the client's
//! callback and worked off by the loop, so that progress can be read from the store before a partition is assigned, and
//! what is held of a revoked one is applied before it is given back. While the store does not answer, partitions are
//! paused and polling goes on, so that the group keeps this member and memory stays flat.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use rdkafka::{
    ClientConfig, ClientContext, Message, Offset as KafkaOffset, Statistics, TopicPartitionList,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
    types::RDKafkaRespErr,
};
use tokio::{runtime::Handle, sync::oneshot};

use crate::{
    metrics,
    status::Status,
    store::{Batch, Epoch, NextOffset, Offset, Position, Record, Slice, Store, StoreError},
};

const POLL: Duration = Duration::from_millis(100);
const BEAT: Duration = Duration::from_secs(1);
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);
const METADATA: Duration = Duration::from_secs(10);

/// How this instance shares the topic with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// Partitions are shared out among the instances of the group.
    Group,
    /// This instance takes every partition; an older one is fenced by the epoch.
    All,
}

/// How to run.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Bootstrap brokers.
    pub brokers: String,
    /// The topic.
    pub topic: String,
    /// Consumer group; its offsets are never committed, it only shares out partitions.
    pub group: String,
    /// A name for this instance that survives restarts (static membership); a new member at each start where absent.
    pub instance: Option<String>,
    /// How partitions are shared.
    pub membership: Membership,
    /// A batch is cut at this many records,
    pub batch_records: usize,
    /// or this many bytes,
    pub batch_bytes: usize,
    /// or this long after its first record.
    pub batch_time: Duration,
}

/// Why the engine stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The client cannot be made or told what to do.
    #[error("kafka: {0}")]
    Kafka(#[from] KafkaError),
    /// The broker no longer has the offset this projection stands at. Going on would skip facts: a person must decide.
    #[error("the log of {topic} starts after this projection's progress: rebuild it (`helix projection rebuild`)")]
    LogStartPassed {
        /// The topic.
        topic: String,
    },
    /// A fact cannot be applied.
    #[error("projection {projection}: {source}")]
    Store {
        /// The projection.
        projection: String,
        /// What the store said.
        #[source]
        source: StoreError,
    },
    /// The engine's thread broke.
    #[error("the engine's thread ended without a word")]
    Thread,
}

/// A projector: a store, and what drives it.
pub struct Engine<S> {
    config: EngineConfig,
    store: S,
    status: Status,
}

impl<S> std::fmt::Debug for Engine<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("config", &self.config).finish_non_exhaustive()
    }
}

impl<S: Store + 'static> Engine<S> {
    /// Puts the two together.
    pub fn new(config: EngineConfig, store: S) -> Self {
        Self { config, store, status: Status::default() }
    }

    /// Where it stands while it runs.
    pub fn status(&self) -> Status {
        self.status.clone()
    }

    /// Runs until `shutdown` resolves, then applies what is held and leaves.
    ///
    /// # Errors
    /// [`EngineError`] where going on would lose or skip a fact.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), EngineError> {
        let stop = Arc::new(AtomicBool::new(false));
        let (done, ended) = oneshot::channel();
        let runtime = Handle::current();
        let thread_stop = stop.clone();
        std::thread::Builder::new()
            .name(format!("project-{}", self.store.projection()))
            .spawn(move || {
                let outcome = Loop::start(self, runtime, thread_stop).and_then(Loop::run);
                // The receiver is gone only where the caller was dropped: nobody is left to be told.
                let _told = done.send(outcome);
            })
            .map_err(|_| EngineError::Thread)?;
        tokio::pin!(ended);
        tokio::select! {
            outcome = &mut ended => return outcome.map_err(|_| EngineError::Thread)?,
            () = shutdown => stop.store(true, Ordering::Relaxed),
        }
        ended.await.map_err(|_| EngineError::Thread)?
    }
}

enum Rebalance {
    Assigned(Vec<i32>),
    Revoked(Vec<i32>),
}

/// What the client's callbacks tell the loop.
struct Callbacks {
    topic: String,
    rebalances: Mutex<Vec<Rebalance>>,
    status: Status,
    /// Set when the loop has ended: closing the client revokes what is left, and nobody works off notes any more.
    ended: AtomicBool,
}

impl ClientContext for Callbacks {
    fn stats(&self, statistics: Statistics) {
        let Some(topic) = statistics.topics.get(&self.topic) else { return };
        for (partition, told) in &topic.partitions {
            if *partition >= 0 && told.hi_offset >= 0 {
                self.status.high_water(*partition, told.hi_offset);
            }
        }
    }

    fn error(&self, error: KafkaError, _reason: &str) {
        tracing::warn!(%error, "kafka client");
    }
}

impl ConsumerContext for Callbacks {
    /// Only notes the event: the loop reads progress from the store before it assigns.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        if self.ended.load(Ordering::Relaxed) {
            if let Err(error) = consumer.incremental_unassign(partitions) {
                tracing::debug!(%error, "partitions could not be given back while closing");
            }
            return;
        }
        let partitions = partitions.elements().iter().map(rdkafka::topic_partition_list::TopicPartitionListElem::partition).collect();
        let event = if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            Rebalance::Assigned(partitions)
        } else {
            Rebalance::Revoked(partitions)
        };
        self.rebalances.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }
}

/// What is held of one partition.
struct Held {
    epoch: Epoch,
    next: NextOffset,
    records: Vec<Record>,
    last_timestamp: Option<i64>,
}

struct Loop<S> {
    config: EngineConfig,
    store: S,
    status: Status,
    projection: String,
    runtime: Handle,
    stop: Arc<AtomicBool>,
    consumer: BaseConsumer<Callbacks>,
    held: BTreeMap<i32, Held>,
    held_records: usize,
    held_bytes: usize,
    first_held: Option<Instant>,
    retry: Option<Retry>,
    last_beat: Instant,
}

impl<S> Drop for Loop<S> {
    fn drop(&mut self) {
        self.consumer.context().ended.store(true, Ordering::Relaxed);
    }
}

struct Retry {
    at: Instant,
    next_wait: Duration,
}

impl<S: Store> Loop<S> {
    fn start(engine: Engine<S>, runtime: Handle, stop: Arc<AtomicBool>) -> Result<Self, EngineError> {
        let Engine { config, store, status } = engine;
        let callbacks =
            Callbacks { topic: config.topic.clone(), rebalances: Mutex::default(), status: status.clone(), ended: AtomicBool::new(false) };
        let consumer: BaseConsumer<Callbacks> = client_config(&config).create_with_context(callbacks)?;
        let projection = store.projection().to_owned();
        let mut this = Self {
            config,
            store,
            status,
            projection,
            runtime,
            stop,
            consumer,
            held: BTreeMap::new(),
            held_records: 0,
            held_bytes: 0,
            first_held: None,
            retry: None,
            last_beat: Instant::now(),
        };
        match this.config.membership {
            Membership::Group => this.consumer.subscribe(&[&this.config.topic])?,
            Membership::All => {
                let partitions = this.all_partitions()?;
                this.acquire(&partitions)?;
            }
        }
        Ok(this)
    }

    fn all_partitions(&self) -> Result<Vec<i32>, EngineError> {
        loop {
            match self.consumer.fetch_metadata(Some(&self.config.topic), METADATA) {
                Ok(metadata) => {
                    let partitions: Vec<i32> = metadata
                        .topics()
                        .iter()
                        .flat_map(rdkafka::metadata::MetadataTopic::partitions)
                        .map(rdkafka::metadata::MetadataPartition::id)
                        .collect();
                    if !partitions.is_empty() || self.stopping() {
                        return Ok(partitions);
                    }
                    tracing::warn!(topic = self.config.topic, "the topic does not exist yet");
                }
                Err(error) if self.stopping() => return Err(error.into()),
                Err(error) => tracing::warn!(%error, "the broker does not answer"),
            }
            std::thread::sleep(FIRST_RETRY);
        }
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn run(mut self) -> Result<(), EngineError> {
        while !self.stopping() {
            self.poll()?;
            self.rebalance()?;
            if self.due() {
                self.apply()?;
            }
            self.beat();
        }
        // Leaving: what is held may be applied now or read again later, so a store that is down does not hold us up.
        self.retry = None;
        self.apply()?;
        Ok(())
    }

    /// Takes one record, or waits a moment for it.
    fn poll(&mut self) -> Result<(), EngineError> {
        let wait = match (&self.retry, self.held_records) {
            (Some(retry), _) => retry.at.saturating_duration_since(Instant::now()).min(POLL),
            (None, 0) => POLL,
            (None, _) => Duration::ZERO,
        };
        let (partition, offset, key, value, timestamp) = match self.consumer.poll(wait) {
            None => {
                if self.retry.is_none() && self.held_records > 0 {
                    self.apply()?;
                }
                return Ok(());
            }
            Some(Err(error)) => return self.consumer_error(error),
            Some(Ok(message)) => (
                message.partition(),
                message.offset(),
                Bytes::copy_from_slice(message.key().unwrap_or_default()),
                Bytes::copy_from_slice(message.payload().unwrap_or_default()),
                message.timestamp().to_millis(),
            ),
        };
        // A record of a partition that was given back meanwhile: its next owner reads it.
        let Some(held) = self.held.get_mut(&partition) else { return Ok(()) };
        self.held_records += 1;
        self.held_bytes += key.len() + value.len();
        held.last_timestamp = timestamp;
        held.records.push(Record { offset: Offset(offset), key, value });
        self.first_held.get_or_insert_with(Instant::now);
        Ok(())
    }

    fn consumer_error(&self, error: KafkaError) -> Result<(), EngineError> {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                Err(EngineError::LogStartPassed { topic: self.config.topic.clone() })
            }
            Some(RDKafkaErrorCode::Fatal) => Err(error.into()),
            // The client recovers from all others by itself: brokers that went away, a coordinator that moved.
            Some(_) | None => {
                tracing::warn!(%error, topic = self.config.topic, "consumer");
                Ok(())
            }
        }
    }

    /// Whether what is held must be applied now.
    fn due(&self) -> bool {
        if let Some(retry) = &self.retry {
            return Instant::now() >= retry.at;
        }
        self.held_records >= self.config.batch_records
            || self.held_bytes >= self.config.batch_bytes
            || self.first_held.is_some_and(|first| first.elapsed() >= self.config.batch_time)
    }

    fn rebalance(&mut self) -> Result<(), EngineError> {
        let events = {
            let mut noted = self.consumer.context().rebalances.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *noted)
        };
        for event in events {
            match event {
                Rebalance::Assigned(partitions) => self.acquire(&partitions)?,
                Rebalance::Revoked(partitions) => self.give_back(&partitions)?,
            }
        }
        Ok(())
    }

    /// Raises the epoch of partitions, reads where they stand and reads on from there.
    fn acquire(&mut self, partitions: &[i32]) -> Result<(), EngineError> {
        let mut wait = FIRST_RETRY;
        let positions = loop {
            let asked = self.runtime.block_on(self.store.acquire(&self.config.topic, partitions));
            match asked {
                Ok(positions) => break positions,
                Err(StoreError::Unavailable(error)) if !self.stopping() => {
                    tracing::warn!(projection = self.projection, %error, "the store does not answer; trying again");
                    std::thread::sleep(wait);
                    wait = (wait * 2).min(LAST_RETRY);
                }
                Err(StoreError::Unavailable(_)) => return Ok(()),
                Err(source) => return Err(self.store_error(source)),
            }
        };
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for Position { partition, next_offset, epoch } in positions {
            list.add_partition_offset(&self.config.topic, partition, KafkaOffset::Offset(next_offset.0))?;
            self.held.insert(partition, Held { epoch, next: next_offset, records: Vec::new(), last_timestamp: None });
            self.status.acquired(partition, next_offset);
        }
        match self.config.membership {
            Membership::Group => self.consumer.incremental_assign(&list)?,
            Membership::All => self.consumer.assign(&list)?,
        }
        if self.retry.is_some() {
            self.consumer.pause(&list)?;
        }
        tracing::info!(projection = self.projection, ?partitions, "partitions acquired");
        Ok(())
    }

    /// Applies what is held of revoked partitions (drops it where the group has given them to another already), then
    /// lets go of them.
    fn give_back(&mut self, partitions: &[i32]) -> Result<(), EngineError> {
        let lost = self.consumer.assignment_lost();
        if !lost && self.retry.is_none() {
            self.apply()?;
        }
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(&self.config.topic, *partition);
            self.held.remove(partition);
            self.status.released(*partition);
        }
        self.recount();
        self.consumer.incremental_unassign(&list)?;
        tracing::info!(projection = self.projection, ?partitions, lost, "partitions given back");
        Ok(())
    }

    fn recount(&mut self) {
        self.held_records = self.held.values().map(|held| held.records.len()).sum();
        self.held_bytes =
            self.held.values().flat_map(|held| &held.records).map(|record| record.key.len() + record.value.len()).sum();
        if self.held_records == 0 {
            self.first_held = None;
        }
    }

    /// Applies everything that is held as one batch.
    fn apply(&mut self) -> Result<(), EngineError> {
        if self.held_records == 0 {
            return Ok(());
        }
        let batch = self.cut();
        let facts = batch.len();
        let begun = Instant::now();
        let outcome = self.runtime.block_on(self.store.apply(&batch));
        match outcome {
            Ok(()) => {
                metrics::batch(&self.projection, "applied", facts, begun.elapsed());
                self.applied(&batch);
                self.resume()
            }
            Err(StoreError::Unavailable(error)) => {
                metrics::batch(&self.projection, "unavailable", facts, begun.elapsed());
                tracing::warn!(projection = self.projection, %error, facts, "the store does not answer; trying again");
                self.hold_again(batch);
                self.back_off()
            }
            Err(StoreError::Fenced { partition }) => {
                metrics::batch(&self.projection, "fenced", facts, begun.elapsed());
                tracing::warn!(projection = self.projection, partition, "fenced: another instance holds the partition");
                self.rejoin(partition)
            }
            Err(source @ StoreError::Poison { .. }) => {
                metrics::batch(&self.projection, "poison", facts, begun.elapsed());
                Err(self.store_error(source))
            }
        }
    }

    fn cut(&mut self) -> Batch {
        let mut slices = Vec::with_capacity(self.held.len());
        for (partition, held) in &mut self.held {
            let Some(last) = held.records.last() else { continue };
            let to = last.offset.next();
            let records = std::mem::take(&mut held.records);
            slices.push(Slice { partition: *partition, epoch: held.epoch, from: held.next, to, records });
        }
        Batch { topic: self.config.topic.clone(), slices }
    }

    fn hold_again(&mut self, batch: Batch) {
        for slice in batch.slices {
            if let Some(held) = self.held.get_mut(&slice.partition) {
                let newer = std::mem::replace(&mut held.records, slice.records);
                held.records.extend(newer);
            }
        }
    }

    fn applied(&mut self, batch: &Batch) {
        for slice in &batch.slices {
            if let Some(held) = self.held.get_mut(&slice.partition) {
                held.next = slice.to;
                self.status.applied(slice.partition, slice.to, held.last_timestamp);
            }
        }
        self.recount();
    }

    fn back_off(&mut self) -> Result<(), EngineError> {
        let wait = self.retry.as_ref().map_or(FIRST_RETRY, |retry| retry.next_wait);
        if self.retry.is_none() {
            self.consumer.pause(&self.consumer.assignment()?)?;
        }
        self.retry = Some(Retry { at: Instant::now() + wait, next_wait: (wait * 2).min(LAST_RETRY) });
        Ok(())
    }

    fn resume(&mut self) -> Result<(), EngineError> {
        if self.retry.take().is_some() {
            self.consumer.resume(&self.consumer.assignment()?)?;
            tracing::info!(projection = self.projection, "the store answers again");
        }
        Ok(())
    }

    /// Drops everything and asks the group again who holds what: progress is read anew from the store. An instance that
    /// takes every partition stops instead: its successor is at work.
    fn rejoin(&mut self, partition: i32) -> Result<(), EngineError> {
        if self.config.membership == Membership::All {
            return Err(self.store_error(StoreError::Fenced { partition }));
        }
        for partition in std::mem::take(&mut self.held).into_keys() {
            self.status.released(partition);
        }
        self.recount();
        self.retry = None;
        self.consumer.unsubscribe();
        // Leaving revokes what we hold; what is noted until then is of the old membership.
        let deadline = Instant::now() + LAST_RETRY;
        while self.consumer.assignment()?.count() > 0 && Instant::now() < deadline {
            drop(self.consumer.poll(POLL));
            self.rebalance()?;
        }
        self.consumer.subscribe(&[&self.config.topic])?;
        Ok(())
    }

    fn store_error(&self, source: StoreError) -> EngineError {
        EngineError::Store { projection: self.projection.clone(), source }
    }

    fn beat(&mut self) {
        if self.last_beat.elapsed() < BEAT {
            return;
        }
        self.last_beat = Instant::now();
        let now = now_millis();
        for (partition, status) in self.status.partitions() {
            metrics::partition(&self.projection, &self.config.topic, partition, &status, now);
        }
        let told = self.runtime.block_on(self.store.beat(self.status.lag(now)));
        if let Err(error) = told {
            tracing::debug!(projection = self.projection, %error, "the store did not take the beat");
        }
    }
}

fn now_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn client_config(config: &EngineConfig) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", &config.brokers)
        .set("group.id", &config.group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // A projection that finds its offset gone stops with an alarm instead of jumping.
        .set("auto.offset.reset", "error")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", "10000")
        .set("heartbeat.interval.ms", "2000")
        .set("max.poll.interval.ms", "300000")
        .set("statistics.interval.ms", "1000")
        .set("fetch.wait.max.ms", "100")
        .set("fetch.error.backoff.ms", "100")
        .set("reconnect.backoff.max.ms", "2000")
        // Memory stays flat whatever the backlog: the client holds at most this much ahead of us.
        .set("queued.max.messages.kbytes", "16384")
        .set("allow.auto.create.topics", "false");
    if let (Some(instance), Membership::Group) = (&config.instance, config.membership) {
        client.set("group.instance.id", instance);
    }
    client
}
