//! The loop: one thread owns the consumer, the store and all that is held between them.
//!
//! Everything happens on that one thread, in order: poll, hold, cut, apply. Rebalances are only noted by the client's
//! callback and worked off by the loop, so that progress can be read from the store before a partition is assigned, and
//! what is held of a revoked one is applied before it is given back. While the store does not answer, partitions are
//! paused and polling goes on, so that the group keeps this member and memory stays flat.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use rdkafka::{
    Message, Offset as KafkaOffset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
};
use tokio::{runtime::Handle, sync::oneshot};

use crate::{
    client::{Callbacks, Rebalance, client_config},
    config::{EngineConfig, Membership},
    metrics::Meter,
    status::Status,
    store::{Batch, Epoch, NextOffset, Offset, Position, Record, Slice, Store, StoreError},
};

const POLL: Duration = Duration::from_millis(100);
const BEAT: Duration = Duration::from_secs(1);
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);
/// A store that has not answered within this time does not answer: its connection may hang for ever.
const STORE_PATIENCE: Duration = Duration::from_secs(30);
const METADATA: Duration = Duration::from_secs(10);

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
    meter: Meter,
    runtime: Handle,
    stop: Arc<AtomicBool>,
    consumer: BaseConsumer<Callbacks>,
    held: BTreeMap<i32, Held>,
    held_records: usize,
    held_bytes: usize,
    first_held: Option<Instant>,
    retry: Option<Retry>,
    /// Rebalances that were noted and not worked off yet: a store that does not answer holds them up, not the polling.
    rebalances: VecDeque<Rebalance>,
    acquire_again: Option<Retry>,
    /// A partition that turned out to be another instance's: the group must be asked anew.
    fenced: Option<i32>,
    last_beat: Instant,
}

impl<S> Drop for Loop<S> {
    /// A rebalance that was noted and never answered would keep the client from closing, so both kinds are answered here.
    fn drop(&mut self) {
        let given_back = self
            .consumer
            .incremental_assign(&TopicPartitionList::new())
            .and_then(|()| self.consumer.assignment())
            .and_then(|all| self.consumer.incremental_unassign(&all));
        if let Err(error) = given_back {
            tracing::debug!(%error, "partitions could not be given back while leaving");
        }
        self.consumer.context().ended.store(true, Ordering::Relaxed);
    }
}

struct Retry {
    at: Instant,
    next_wait: Duration,
}

impl Retry {
    /// Twice as long as the time before, within bounds.
    fn after(before: Option<&Self>) -> Self {
        let wait = before.map_or(FIRST_RETRY, |before| before.next_wait);
        Self { at: Instant::now() + wait, next_wait: (wait * 2).min(LAST_RETRY) }
    }
}

/// Waits for the store as long as it may take.
async fn patiently<T>(asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(STORE_PATIENCE, asked).await.unwrap_or_else(|elapsed| Err(StoreError::unavailable(elapsed)))
}

impl<S: Store> Loop<S> {
    fn start(engine: Engine<S>, runtime: Handle, stop: Arc<AtomicBool>) -> Result<Self, EngineError> {
        let Engine { config, store, status } = engine;
        let callbacks = Callbacks {
            topic: config.topic.clone(),
            rebalances: Mutex::default(),
            status: status.clone(),
            ended: AtomicBool::new(false),
        };
        let consumer: BaseConsumer<Callbacks> = client_config(&config).create_with_context(callbacks)?;
        let projection = store.projection().to_owned();
        let meter = Meter::new(&projection, &config.group, &config.topic);
        let mut this = Self {
            meter,
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
            rebalances: VecDeque::new(),
            acquire_again: None,
            fenced: None,
            last_beat: Instant::now(),
        };
        match this.config.membership {
            Membership::Group => this.consumer.subscribe(&[&this.config.topic])?,
            Membership::All => {
                let partitions = this.all_partitions()?;
                this.rebalances.push_back(Rebalance::Assigned(partitions));
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
            if let Some(partition) = self.fenced.take() {
                self.rejoin(partition)?;
            }
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
        let Some(held) = self.held.get_mut(&partition) else {
            return Ok(());
        };
        self.held_records += 1;
        self.held_bytes += key.len() + value.len();
        held.last_timestamp = timestamp;
        held.records.push(Record { offset: Offset(offset), key, value });
        self.first_held.get_or_insert_with(Instant::now);
        Ok(())
    }

    fn consumer_error(&self, error: KafkaError) -> Result<(), EngineError> {
        if let KafkaError::MessageConsumptionFatal(_) = error {
            // This client will never read again, as after a broker that froze told another that this one's name is free.
            return Err(error.into());
        }
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

    fn noted(&mut self) {
        let mut noted = self.consumer.context().rebalances.lock().unwrap_or_else(PoisonError::into_inner);
        self.rebalances.extend(noted.drain(..));
    }

    fn rebalance(&mut self) -> Result<(), EngineError> {
        self.noted();
        while let Some(event) = self.rebalances.pop_front() {
            match event {
                Rebalance::Revoked(partitions) => self.give_back(&partitions)?,
                Rebalance::Assigned(partitions) => {
                    if !self.acquire(&partitions)? {
                        self.rebalances.push_front(Rebalance::Assigned(partitions));
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Raises the epoch of partitions, reads where they stand and reads on from there. False where the store does not
    /// answer: nothing flows of these partitions until it does.
    fn acquire(&mut self, partitions: &[i32]) -> Result<bool, EngineError> {
        if self.acquire_again.as_ref().is_some_and(|again| Instant::now() < again.at) {
            return Ok(false);
        }
        let asked = self.runtime.block_on(patiently(self.store.acquire(&self.config.topic, partitions)));
        let positions = match asked {
            Ok(positions) => positions,
            Err(StoreError::Unavailable(error)) => {
                tracing::warn!(projection = self.projection, %error, "the store does not answer; trying again");
                self.acquire_again = Some(Retry::after(self.acquire_again.as_ref()));
                return Ok(false);
            }
            Err(source) => return Err(self.store_error(source)),
        };
        self.acquire_again = None;
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for Position { partition, next_offset, epoch, parked: _ } in positions {
            list.add_partition_offset(&self.config.topic, partition, KafkaOffset::Offset(next_offset.0))?;
            self.held.insert(partition, Held { epoch, next: next_offset, records: Vec::new(), last_timestamp: None });
            self.status.acquired(partition, next_offset);
        }
        match self.config.membership {
            Membership::Group => self.consumer.incremental_assign(&list)?,
            Membership::All => self.consumer.assign(&list)?,
        }
        // The client remembers that a partition was paused, also from an earlier time it was ours.
        if self.retry.is_some() {
            self.consumer.pause(&list)?;
        } else {
            self.consumer.resume(&list)?;
        }
        tracing::info!(projection = self.projection, ?partitions, "partitions acquired");
        Ok(true)
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
            // What was to be tried again may be another instance's by now.
            return self.resume();
        }
        let batch = self.cut();
        let facts = batch.len();
        let begun = Instant::now();
        let outcome = self.runtime.block_on(patiently(self.store.apply(&batch)));
        match outcome {
            Ok(()) => {
                self.meter.batch("applied", facts, begun.elapsed());
                self.applied(&batch);
                self.resume()
            }
            Err(StoreError::Unavailable(error)) => {
                self.meter.batch("unavailable", facts, begun.elapsed());
                tracing::warn!(projection = self.projection, %error, facts, "the store does not answer; trying again");
                self.hold_again(batch);
                self.back_off()
            }
            Err(StoreError::Fenced { partition }) => {
                self.meter.batch("fenced", facts, begun.elapsed());
                tracing::warn!(projection = self.projection, partition, "fenced: another instance holds the partition");
                self.let_go(partition);
                Ok(())
            }
            Err(source @ (StoreError::Poison { .. } | StoreError::Refused { .. })) => {
                self.meter.batch("poison", facts, begun.elapsed());
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
            slices.push(Slice {
                partition: *partition,
                epoch: held.epoch,
                from: held.next,
                to,
                records,
                parked: Vec::new(),
            });
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
        if self.retry.is_none() {
            self.consumer.pause(&self.consumer.assignment()?)?;
        }
        self.retry = Some(Retry::after(self.retry.as_ref()));
        Ok(())
    }

    fn resume(&mut self) -> Result<(), EngineError> {
        if self.retry.take().is_some() {
            self.consumer.resume(&self.consumer.assignment()?)?;
            tracing::info!(projection = self.projection, "the store answers again");
        }
        Ok(())
    }

    /// Drops everything that is held; the loop rejoins the group before it goes on.
    fn let_go(&mut self, partition: i32) {
        for partition in std::mem::take(&mut self.held).into_keys() {
            self.status.released(partition);
        }
        self.recount();
        self.retry = None;
        self.fenced = Some(partition);
    }

    /// Asks the group again who holds what: progress is then read anew from the store. An instance that takes every
    /// partition stops instead: its successor is at work.
    fn rejoin(&mut self, partition: i32) -> Result<(), EngineError> {
        if self.config.membership == Membership::All {
            return Err(self.store_error(StoreError::Fenced { partition }));
        }
        self.consumer.unsubscribe();
        let deadline = Instant::now() + LAST_RETRY;
        loop {
            // What is noted until then is of the old membership: revocations are answered, assignments declined.
            self.noted();
            while let Some(event) = self.rebalances.pop_front() {
                match event {
                    Rebalance::Revoked(partitions) => self.give_back(&partitions)?,
                    Rebalance::Assigned(_) => self.consumer.incremental_assign(&TopicPartitionList::new())?,
                }
            }
            if self.consumer.assignment()?.count() == 0 || Instant::now() > deadline {
                break;
            }
            drop(self.consumer.poll(POLL));
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
            self.meter.partition(partition, &status, now);
        }
        let told = self.runtime.block_on(patiently(self.store.beat(self.status.lag(now))));
        if let Err(error) = told {
            tracing::debug!(projection = self.projection, %error, "the store did not take the beat");
        }
        if let Some(partition) = self.taken() {
            tracing::warn!(projection = self.projection, partition, "progress is not where this instance left it");
            self.let_go(partition);
        }
    }

    /// A partition that stands elsewhere in the store than here, or under another epoch.
    fn taken(&mut self) -> Option<i32> {
        let partitions: Vec<i32> = self.held.keys().copied().collect();
        if partitions.is_empty() || self.retry.is_some() {
            return None;
        }
        let asked = self.runtime.block_on(self.store.standing(&self.config.topic, &partitions));
        let standing = asked.ok().flatten()?;
        let moved = |at: &Position| {
            self.held.get(&at.partition).is_some_and(|held| held.epoch != at.epoch || held.next != at.next_offset)
        };
        standing.iter().find(|at| moved(at)).map(|at| at.partition)
    }
}

fn now_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
