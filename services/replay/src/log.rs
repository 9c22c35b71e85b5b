//! Reading the facts topic directly: a cut of it, or its end as it grows.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use helix_kit::config::Config;
use helix_runtime::Record;
use helix_schemas::{
    codec::{Codec, CodecError},
    fact::Fact,
    registry::Registry,
    topics,
};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    types::RDKafkaErrorCode,
};
use serde::Serialize;
use tokio::runtime::Handle;

use crate::ReplayError;

const METADATA: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(200);
/// A bounded read that hears nothing for this long, though records are due, gives up: the broker is gone.
const SILENCE: Duration = Duration::from_secs(20);

/// Asked to stop: by Ctrl-C, or by whoever holds the other end.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From now on reads end with [`ReplayError::Interrupted`].
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was asked.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// One that Ctrl-C sets.
    #[must_use]
    pub fn on_ctrl_c() -> Self {
        let stop = Self::default();
        let given = stop.clone();
        tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                given.stop();
            }
        });
        stop
    }
}

/// Where a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

/// A record as it lies in the log.
#[derive(Clone, Copy)]
pub struct RawRecord<'a> {
    /// Where.
    pub place: Place,
    /// Its key.
    pub key: &'a [u8],
    /// Its framed value.
    pub value: &'a [u8],
}

impl std::fmt::Debug for RawRecord<'_> {
    /// Coordinates only: values carry personal data.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawRecord").field("place", &self.place).finish_non_exhaustive()
    }
}

/// A cut of the topic: from (inclusive) until (exclusive), by partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cut(pub BTreeMap<i32, (i64, i64)>);

impl Cut {
    /// How many offsets it spans.
    #[must_use]
    pub fn span(&self) -> u64 {
        self.0.values().map(|(from, until)| u64::try_from(until - from).unwrap_or(0)).sum()
    }
}

/// The facts topic of an installation.
pub struct FactLog {
    connection: Vec<(String, String)>,
    registry: Registry,
    codec: Arc<Codec<Fact>>,
    runtime: Handle,
}

impl std::fmt::Debug for FactLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FactLog")
    }
}

impl FactLog {
    /// Asks the registry for the schemas. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`ReplayError::Unreachable`].
    pub async fn open(config: &Config) -> Result<Self, ReplayError> {
        let registry = Registry::new(&config.registry.url);
        let codec =
            registry.fact_codec().await.map_err(|error| ReplayError::unreachable("the schema registry", error))?;
        Ok(Self { connection: config.log.connection(), registry, codec: Arc::new(codec), runtime: Handle::current() })
    }

    fn consumer(&self) -> Result<BaseConsumer, ReplayError> {
        let mut settings = ClientConfig::new();
        settings.extend(self.connection.iter().cloned());
        settings
            // Never joined: partitions are assigned by hand and nothing is committed.
            .set("group.id", "helix-replay")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "error")
            .set("allow.auto.create.topics", "false")
            .set("queued.max.messages.kbytes", "32768")
            .set("fetch.wait.max.ms", "100")
            .create()
            .map_err(|error| ReplayError::unreachable("the log", error))
    }

    /// The whole topic as it is now.
    ///
    /// # Errors
    /// [`ReplayError::Unreachable`].
    pub fn whole(&self) -> Result<Cut, ReplayError> {
        let begun = Instant::now();
        loop {
            match self.ask_whole() {
                // A broker that has just come back needs a moment to lead its partitions again.
                Err(_) if begun.elapsed() < METADATA => std::thread::sleep(POLL),
                answer => return answer,
            }
        }
    }

    fn ask_whole(&self) -> Result<Cut, ReplayError> {
        let fault = |error| ReplayError::unreachable("the log", error);
        let consumer = self.consumer()?;
        let metadata = consumer.fetch_metadata(Some(topics::FACTS), METADATA).map_err(fault)?;
        let mut cut = Cut::default();
        for topic in metadata.topics() {
            if let Some(error) = topic.error() {
                return Err(ReplayError::unreachable("the log", RDKafkaErrorCode::from(error).to_string()));
            }
            for partition in topic.partitions() {
                let (low, high) = consumer.fetch_watermarks(topics::FACTS, partition.id(), METADATA).map_err(fault)?;
                cut.0.insert(partition.id(), (low, high));
            }
        }
        if cut.0.is_empty() {
            return Err(ReplayError::unreachable("the log", "the facts topic has no partitions"));
        }
        Ok(cut)
    }

    /// Reads every fact of a cut, in order per partition. Blocking: call it from `spawn_blocking`. Gives the places of
    /// records that are no facts of ours: every projector sets them aside, and the caller is to tell of them.
    ///
    /// # Errors
    /// [`ReplayError::Interrupted`] when `stop` says so; otherwise where the log cannot be read, or `each` refuses.
    pub fn read(
        &self,
        cut: &Cut,
        stop: &Stop,
        mut each: impl FnMut(Place, Fact) -> Result<(), ReplayError>,
    ) -> Result<Vec<Place>, ReplayError> {
        let mut unreadable = Vec::new();
        self.read_records(cut, stop, |record| match self.decode(record.place, record.value) {
            Ok(fact) => each(record.place, fact),
            Err(ReplayError::Record { .. }) => {
                unreadable.push(record.place);
                Ok(())
            }
            Err(error) => Err(error),
        })?;
        Ok(unreadable)
    }

    /// Reads every record of a cut undecoded, in order per partition. Blocking: call it from `spawn_blocking`.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_records(
        &self,
        cut: &Cut,
        stop: &Stop,
        mut each: impl FnMut(RawRecord<'_>) -> Result<(), ReplayError>,
    ) -> Result<(), ReplayError> {
        let mut open: BTreeMap<i32, i64> =
            cut.0.iter().filter(|(_, (from, until))| from < until).map(|(id, (_, until))| (*id, *until)).collect();
        if open.is_empty() {
            return Ok(());
        }
        let consumer = self.consumer()?;
        self.assign(
            &consumer,
            cut.0.iter().filter(|(id, _)| open.contains_key(id)).map(|(id, (from, _))| (*id, *from)),
        )?;
        let mut heard = Instant::now();
        while !open.is_empty() {
            if stop.stopped() {
                return Err(ReplayError::Interrupted);
            }
            match consumer.poll(POLL) {
                Some(Ok(message)) => {
                    heard = Instant::now();
                    let place = Place { partition: message.partition(), offset: message.offset() };
                    let Some(until) = open.get(&place.partition).copied() else {
                        continue;
                    };
                    if place.offset < until {
                        let (key, value) = (message.key().unwrap_or_default(), message.payload().unwrap_or_default());
                        each(RawRecord { place, key, value })?;
                    }
                    if place.offset + 1 >= until {
                        open.remove(&place.partition);
                    }
                }
                Some(Err(error)) => transient(error)?,
                None if heard.elapsed() > SILENCE => {
                    return Err(ReplayError::unreachable("the log", "no record within 20 s though more are due"));
                }
                None => {}
            }
        }
        Ok(())
    }

    /// A reader of single ranges, which keeps its connection from one to the next.
    ///
    /// # Errors
    /// [`ReplayError::Unreachable`].
    pub fn ranges(&self) -> Result<RangeReader, ReplayError> {
        Ok(RangeReader { consumer: self.consumer()? })
    }

    /// Follows the topic from these offsets until `stop`. Blocking. As [`Self::read`] otherwise.
    ///
    /// # Errors
    /// Where the log cannot be read, or `each` refuses.
    pub fn follow(
        &self,
        from: &BTreeMap<i32, i64>,
        stop: &Stop,
        mut each: impl FnMut(Place, Fact) -> Result<(), ReplayError>,
    ) -> Result<Vec<Place>, ReplayError> {
        let mut unreadable = Vec::new();
        let consumer = self.consumer()?;
        self.assign(&consumer, from.iter().map(|(id, offset)| (*id, *offset)))?;
        while !stop.stopped() {
            match consumer.poll(POLL) {
                Some(Ok(message)) => {
                    let place = Place { partition: message.partition(), offset: message.offset() };
                    match self.decode(place, message.payload().unwrap_or_default()) {
                        Ok(fact) => each(place, fact)?,
                        Err(ReplayError::Record { .. }) => unreadable.push(place),
                        Err(error) => return Err(error),
                    }
                }
                Some(Err(error)) => transient(error)?,
                None => {}
            }
        }
        Ok(unreadable)
    }

    fn assign(&self, consumer: &BaseConsumer, from: impl Iterator<Item = (i32, i64)>) -> Result<(), ReplayError> {
        let fault = |error| ReplayError::unreachable("the log", error);
        let mut list = TopicPartitionList::new();
        for (partition, offset) in from {
            list.add_partition_offset(topics::FACTS, partition, Offset::Offset(offset)).map_err(fault)?;
        }
        consumer.assign(&list).map_err(fault)
    }

    /// Decodes a record's value; a schema that is new to this process is asked of the registry. Blocking.
    ///
    /// # Errors
    /// [`ReplayError::Record`] where it cannot be read.
    pub fn decode(&self, place: Place, value: &[u8]) -> Result<Fact, ReplayError> {
        let bad = |reason: String| ReplayError::Record { partition: place.partition, offset: place.offset, reason };
        match self.codec.decode(value) {
            Err(CodecError::UnknownSchema(_)) => {
                self.runtime.block_on(self.registry.decode(&self.codec, value)).map_err(|error| bad(error.to_string()))
            }
            decoded => decoded.map_err(|error| bad(error.to_string())),
        }
    }
}

/// Reads one range of a partition after the other.
pub struct RangeReader {
    consumer: BaseConsumer,
}

impl std::fmt::Debug for RangeReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RangeReader")
    }
}

impl RangeReader {
    /// The records of a partition from (inclusive) until (exclusive), undecoded. Blocking.
    ///
    /// # Errors
    /// Where the log cannot be read, or no longer holds them.
    pub fn read(&self, partition: i32, from: i64, until: i64) -> Result<Vec<Record>, ReplayError> {
        let fault = |error| ReplayError::unreachable("the log", error);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topics::FACTS, partition, Offset::Offset(from)).map_err(fault)?;
        self.consumer.assign(&list).map_err(fault)?;
        let mut records = Vec::with_capacity(usize::try_from(until - from).unwrap_or(0));
        let mut next = from;
        let mut heard = Instant::now();
        while next < until {
            match self.consumer.poll(POLL) {
                Some(Ok(message)) => {
                    heard = Instant::now();
                    next = message.offset() + 1;
                    if message.offset() < until {
                        records.push(Record {
                            offset: helix_runtime::Offset(message.offset()),
                            key: Bytes::copy_from_slice(message.key().unwrap_or_default()),
                            value: Bytes::copy_from_slice(message.payload().unwrap_or_default()),
                        });
                    }
                }
                Some(Err(error)) => transient(error)?,
                None if heard.elapsed() > SILENCE => {
                    return Err(ReplayError::unreachable("the log", "no record within 20 s though more are due"));
                }
                None => {}
            }
        }
        Ok(records)
    }
}

/// The client recovers from most faults by itself; an offset that is gone, and what it calls fatal, it does not.
fn transient(error: KafkaError) -> Result<(), ReplayError> {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::Fatal) => {
            Err(ReplayError::unreachable("the log", error))
        }
        Some(_) | None => {
            tracing::debug!(%error, "replay consumer");
            Ok(())
        }
    }
}
