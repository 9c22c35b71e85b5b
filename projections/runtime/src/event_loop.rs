//! The loop: one thread owns the consumer, the store and all that is held between them.
//!
//! Everything happens on that one thread, in order: poll, hold, cut, apply; while a batch is applied, what follows it is
//! polled and held ([`crate::ahead`]). Rebalances are only noted by the client's
//! callback and worked off by the loop ([`crate::rebalance`]), so that progress can be read from the store before a partition
//! is assigned, and what is held of a revoked one is applied before it is given back. While the store does not answer, or an
//! operator has paused the projection, partitions are paused and polling goes on, so that the group keeps this member and
//! memory stays flat.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use rdkafka::{
    Message, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::BorrowedMessage,
};
use tokio::runtime::Handle;

use crate::{
    ahead::Ahead,
    client::{Callbacks, Rebalance, client_config},
    config::{EngineConfig, Membership},
    engine::{Engine, EngineError},
    fault::{self, Point},
    held::{Cut, Held, Narrowed, Waiting},
    metrics::Meter,
    status::Status,
    store::{Batch, Cause, Offset, Preparer, Record, Store, StoreError},
    watchdog::Watchdog,
};

pub(crate) const POLL: Duration = Duration::from_millis(100);
const BEAT: Duration = Duration::from_secs(1);
pub(crate) const FIRST_RETRY: Duration = Duration::from_millis(100);
pub(crate) const LAST_RETRY: Duration = Duration::from_secs(5);
/// A store that has not answered within this time does not answer: its connection may hang for ever.
pub(crate) const STORE_PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Loop<S> {
    pub(crate) config: EngineConfig,
    pub(crate) store: S,
    pub(crate) status: Status,
    pub(crate) projection: String,
    pub(crate) meter: Meter,
    pub(crate) runtime: Handle,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) preparer: Option<Preparer>,
    pub(crate) consumer: BaseConsumer<Callbacks>,
    pub(crate) held: Held,
    pub(crate) first_held: Option<Instant>,
    /// The store did not take the last batch.
    pub(crate) retry: Option<Retry>,
    /// An operator paused the projection.
    pub(crate) paused: bool,
    /// Whether the client gives out records of what is assigned.
    pub(crate) flowing: bool,
    /// Rebalances that were noted and not worked off yet. While a store does not answer, partitions that wait for it are in
    /// front.
    pub(crate) rebalances: VecDeque<Rebalance>,
    pub(crate) acquire_again: Option<Retry>,
    /// A partition that turned out to be another instance's: the group must be asked anew.
    pub(crate) fenced: Option<i32>,
    last_beat: Instant,
    _watchdog: Watchdog,
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

pub(crate) struct Retry {
    pub(crate) at: Instant,
    next_wait: Duration,
}

impl Retry {
    /// Twice as long as the time before, within bounds.
    pub(crate) fn after(before: Option<&Self>) -> Self {
        let wait = before.map_or(FIRST_RETRY, |before| before.next_wait);
        Self { at: Instant::now() + wait, next_wait: (wait * 2).min(LAST_RETRY) }
    }
}

/// Waits for the store as long as it may take.
pub(crate) async fn patiently<T>(asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(STORE_PATIENCE, asked).await.unwrap_or_else(|elapsed| Err(StoreError::too_long(elapsed)))
}

/// What to do after a batch was tried.
#[derive(PartialEq, Eq)]
enum Then {
    /// What was cut is applied; what is held beyond it is for another turn of the loop, after the group and the beat.
    Done,
    /// Cut and try the next at once.
    GoOn,
    /// Go on polling: everything is applied, or nothing can be for now.
    Poll,
}

impl<S: Store> Loop<S> {
    pub(crate) fn start(engine: Engine<S>, runtime: Handle, stop: Arc<AtomicBool>) -> Result<Self, EngineError> {
        let Engine { config, store, status } = engine;
        let consumer: BaseConsumer<Callbacks> = client_config(&config).create_with_context(Callbacks::default())?;
        let projection = store.projection().to_owned();
        let meter = Meter::new(&projection, &config.group, &config.topic);
        let watchdog = Watchdog::start(&config, &projection, &status, &meter)?;
        let mut this = Self {
            meter,
            config,
            preparer: store.preparer(),
            store,
            status,
            projection,
            runtime,
            stop,
            consumer,
            held: Held::default(),
            first_held: None,
            retry: None,
            paused: false,
            flowing: true,
            rebalances: VecDeque::new(),
            acquire_again: None,
            fenced: None,
            last_beat: Instant::now(),
            _watchdog: watchdog,
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

    pub(crate) fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(crate) fn run(mut self) -> Result<(), EngineError> {
        while !self.stopping() {
            self.status.turned();
            let idle = self.poll()?;
            self.rebalance()?;
            if let Some(partition) = self.fenced.take() {
                self.rejoin(partition)?;
            }
            if self.due(idle) {
                self.apply(Ahead::Read)?;
            }
            self.beat()?;
        }
        // Leaving: what is held may be applied now or read again later, so a store that is down does not hold us up.
        self.retry = None;
        self.drain()
    }

    /// Takes one record, or waits a moment for it; whether there was none.
    fn poll(&mut self) -> Result<bool, EngineError> {
        let wait = match (&self.retry, self.held.records()) {
            (Some(retry), _) => retry.at.saturating_duration_since(Instant::now()).min(POLL),
            (None, 0) => POLL,
            (None, _) if self.paused => POLL,
            (None, _) => Duration::ZERO,
        };
        let (partition, polled) = match self.consumer.poll(wait) {
            None => return Ok(true),
            Some(Err(error)) => return consumer_error(error, &self.config.topic).map(|()| false),
            Some(Ok(message)) => (message.partition(), waiting(&message)),
        };
        if self.held.push(partition, polled) {
            self.first_held.get_or_insert_with(Instant::now);
            self.status.holds(self.held.records());
            fault::pass(Point::AfterPoll);
        }
        Ok(false)
    }

    /// Whether what is held must be applied now.
    fn due(&self, idle: bool) -> bool {
        if let Some(retry) = &self.retry {
            return Instant::now() >= retry.at;
        }
        idle || self.held.records() >= self.config.batch_records
            || self.held.bytes() >= self.config.batch_bytes
            || self.first_held.is_some_and(|first| first.elapsed() >= self.config.batch_time)
    }

    /// Applies everything that is held before it is given up, where the store takes it. One that is slow would hold up the
    /// group, or whoever waits for our end: whoever is next reads it again.
    pub(crate) fn drain(&mut self) -> Result<(), EngineError> {
        if self.retry.is_some() || self.paused || self.held.slowed() || self.held.records() == 0 {
            return Ok(());
        }
        self.apply(Ahead::Stay)
    }

    /// Applies everything that is held: as one batch where nothing is wrong with it. What is read ahead meanwhile stays held,
    /// unless something is. While batches are kept small, one of them.
    fn apply(&mut self, mut ahead: Ahead) -> Result<(), EngineError> {
        if self.paused {
            return Ok(());
        }
        while self.held.records() > 0 {
            self.status.turned();
            match self.attempt(ahead)? {
                Then::Poll => return Ok(()),
                Then::GoOn => ahead = Ahead::Stay,
                Then::Done => break,
            }
        }
        // Also where what was to be tried again is another instance's by now.
        if self.retry.take().is_some() {
            tracing::info!(projection = self.projection, "the store answers again");
        }
        self.gate()
    }

    fn attempt(&mut self, ahead: Ahead) -> Result<Then, EngineError> {
        let Cut { batch, prepared } = self.held.cut(&self.config.topic);
        let slowed = self.held.slowed();
        // One batch ahead and no more: none while a batch is tried again or narrowed down, which holds what was read.
        let ahead = if self.retry.is_some() || self.held.narrowing() || slowed { Ahead::Stay } else { ahead };
        let begun = Instant::now();
        let (outcome, read) = self.give(&batch, prepared, ahead);
        let took = begun.elapsed();
        let applied = outcome.is_ok();
        let then = self.answered(&batch, outcome, took)?;
        // What went wrong with reading on is told when the batch is dealt with.
        let since = read?;
        if applied && ahead == Ahead::Read {
            self.first_held = since;
        }
        Ok(if applied && (ahead == Ahead::Read || slowed) { Then::Done } else { then })
    }

    /// What follows from the store's answer.
    fn answered(
        &mut self,
        batch: &Batch,
        outcome: Result<(), StoreError>,
        took: Duration,
    ) -> Result<Then, EngineError> {
        let facts = batch.len();
        match outcome {
            Ok(()) => {
                self.meter.batch("applied", facts, took);
                self.applied(batch);
                Ok(Then::GoOn)
            }
            Err(StoreError::Unavailable(error)) => {
                self.meter.batch("unavailable", facts, took);
                tracing::warn!(projection = self.projection, %error, facts, "the store does not answer; trying again");
                self.try_again()
            }
            Err(StoreError::TooLong(error)) => {
                self.meter.batch("too_long", facts, took);
                tracing::warn!(projection = self.projection, %error, facts, "a batch took too long; trying fewer facts");
                self.held.too_long(batch);
                self.try_again()
            }
            Err(StoreError::Fenced { partition }) => {
                self.meter.batch("fenced", facts, took);
                tracing::warn!(projection = self.projection, partition, "fenced: another instance holds the partition");
                self.let_go(partition);
                Ok(Then::Poll)
            }
            Err(StoreError::Poison { partition, offset, reason }) => {
                self.meter.batch("poison", facts, took);
                self.park(partition, offset, &reason)
            }
            Err(StoreError::Refused { reason }) => {
                self.meter.batch("refused", facts, took);
                match self.held.refused(batch) {
                    Narrowed::Smaller => Ok(Then::GoOn),
                    Narrowed::Found { partition, offset } => self.park(partition, offset, &reason),
                    Narrowed::Nothing => Err(self.store_error(StoreError::Refused { reason })),
                }
            }
        }
    }

    fn try_again(&mut self) -> Result<Then, EngineError> {
        self.retry = Some(Retry::after(self.retry.as_ref()));
        self.gate()?;
        Ok(Then::Poll)
    }

    /// Parks a record's key; what is held is cut again.
    fn park(&mut self, partition: i32, offset: Offset, reason: &str) -> Result<Then, EngineError> {
        let limit = self.config.park_limit;
        if self.held.is_new(partition, offset) && self.held.parked_keys() >= limit {
            return Err(EngineError::TooManyParked { projection: self.projection.clone(), limit });
        }
        // No store's text holds a NUL; a parked record must not be refused for its reason.
        let reason = reason.replace('\0', "\u{fffd}");
        if !self.held.park(partition, offset, reason.clone()) {
            // A store that points at a record that was not in the batch would point at it for ever.
            return Err(self.store_error(StoreError::Poison { partition, offset, reason }));
        }
        tracing::error!(
            projection = self.projection,
            topic = self.config.topic,
            partition,
            offset = offset.0,
            reason,
            "a fact cannot be applied: its key is parked until a person unparks it"
        );
        Ok(Then::GoOn)
    }

    fn applied(&mut self, batch: &Batch) {
        let parked = batch.slices.iter().flat_map(|slice| &slice.parked);
        let poison = parked.filter(|parked| matches!(parked.cause, Cause::Poison(_))).count();
        for (cause, facts) in [("poison", poison), ("behind", batch.parked() - poison)] {
            if facts > 0 {
                self.meter.parked(cause, facts);
            }
        }
        for moved in self.held.applied(batch) {
            self.status.applied(&moved);
        }
        self.recount();
    }

    pub(crate) fn recount(&mut self) {
        self.status.holds(self.held.records());
        if self.held.records() == 0 {
            self.first_held = None;
        }
    }

    /// Lets records flow, or not, as things stand. While batches are kept small what is held is worked off first.
    pub(crate) fn gate(&mut self) -> Result<(), EngineError> {
        let crowded = self.held.slowed() && self.held.records() > 0;
        let flowing = self.retry.is_none() && !self.paused && !crowded;
        if flowing != self.flowing {
            let assigned = self.consumer.assignment()?;
            if flowing { self.consumer.resume(&assigned) } else { self.consumer.pause(&assigned) }?;
            self.flowing = flowing;
        }
        Ok(())
    }

    /// Drops everything that is held; the loop rejoins the group before it goes on.
    fn let_go(&mut self, partition: i32) {
        for partition in self.held.partitions() {
            self.release(partition);
        }
        self.recount();
        self.retry = None;
        self.fenced = Some(partition);
    }

    pub(crate) fn release(&mut self, partition: i32) {
        self.held.release(partition);
        self.status.released(partition);
        self.meter.released(partition);
    }

    pub(crate) fn store_error(&self, source: StoreError) -> EngineError {
        EngineError::Store { projection: self.projection.clone(), source }
    }

    fn beat(&mut self) -> Result<(), EngineError> {
        if self.last_beat.elapsed() < BEAT {
            return Ok(());
        }
        self.last_beat = Instant::now();
        let now = now_millis();
        for (partition, status) in self.status.partitions() {
            self.meter.partition(partition, &status, now);
        }
        // First, so that the store knows by the beat which partitions are still held.
        if !self.look()? {
            return Ok(());
        }
        let told = self.runtime.block_on(patiently(self.store.beat(self.status.lag(now))));
        if let Err(error) = told {
            tracing::debug!(projection = self.projection, %error, "the store did not take the beat");
        }
        Ok(())
    }

    /// Asks the store how the projection stands there: whether it is paused, and whether a partition stands elsewhere than
    /// here, or under another epoch. While a batch is tried again only the former: that may have been written, unheard.
    /// False where it did not answer.
    fn look(&mut self) -> Result<bool, EngineError> {
        let partitions = self.held.partitions();
        if partitions.is_empty() {
            return Ok(true);
        }
        let asked = self.runtime.block_on(patiently(self.store.standing(&self.config.topic, &partitions)));
        let standing = match asked {
            Ok(Some(standing)) => standing,
            Ok(None) => return Ok(true),
            Err(error) => {
                tracing::debug!(projection = self.projection, %error, "the store does not tell how the projection stands");
                return Ok(false);
            }
        };
        let trying_again = self.retry.is_some();
        self.pause(standing.paused)?;
        if let Some(at) = standing.positions.iter().find(|at| !trying_again && self.held.differs(at)) {
            let partition = at.partition;
            tracing::warn!(projection = self.projection, partition, "progress is not where this instance left it");
            self.let_go(partition);
        }
        Ok(true)
    }

    /// An operator's word: pauses, or goes on.
    pub(crate) fn pause(&mut self, paused: bool) -> Result<(), EngineError> {
        if paused != self.paused {
            self.paused = paused;
            self.status.set_paused(paused);
            let word = if paused { "paused" } else { "resumed" };
            tracing::warn!(projection = self.projection, "the projection is {word} by an operator");
        }
        if paused {
            // Nothing is tried again meanwhile; what is held is applied when it goes on.
            self.retry = None;
        }
        self.gate()
    }
}

/// A record as it was polled; it outlives the client's buffer.
pub(crate) fn waiting(message: &BorrowedMessage<'_>) -> Waiting {
    let key = Bytes::copy_from_slice(message.key().unwrap_or_default());
    let value = Bytes::copy_from_slice(message.payload().unwrap_or_default());
    let record = Record { offset: Offset(message.offset()), key, value };
    Waiting { record, appended_at: message.timestamp().to_millis(), prepared: None }
}

/// What the client says; an error where it says that it will not go on.
pub(crate) fn consumer_error(error: KafkaError, topic: &str) -> Result<(), EngineError> {
    if let KafkaError::MessageConsumptionFatal(_) = error {
        // This client will never read again, as after a broker that froze told another that this one's name is free.
        return Err(error.into());
    }
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
            Err(EngineError::LogStartPassed { topic: topic.to_owned() })
        }
        Some(RDKafkaErrorCode::Fatal) => Err(error.into()),
        // The client recovers from all others by itself: brokers that went away, a coordinator that moved.
        Some(_) | None => {
            tracing::warn!(%error, topic, "consumer");
            Ok(())
        }
    }
}

fn now_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
