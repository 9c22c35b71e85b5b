//! Reading the topics: a whole one as it is now, or single records again. No group is joined and nothing is committed.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use helix_kit::config::LogConfig;
use helix_schemas::{
    codec::{Codec, CodecError},
    registry::{Registry, RegistryError},
};
use rdkafka::{
    ClientConfig, ClientContext, Message, Offset, TopicPartitionList,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    consumer::{Consumer, ConsumerContext, StreamConsumer},
    error::KafkaError,
    message::OwnedMessage,
    types::RDKafkaErrorCode,
};
use serde::{Serialize, de::DeserializeOwned};

use super::RedriveError;
use crate::publish::client_log;

/// How long a broker may take to say where a topic ends.
const METADATA: Duration = Duration::from_secs(10);
/// A read that hears nothing for this long, though records are due, gives up.
const SILENCE: Duration = Duration::from_secs(10);
/// A gap longer than this is jumped over rather than read through.
const GAP: i64 = 1000;

/// Turns librdkafka's callbacks into logs.
#[derive(Debug)]
pub struct ReadContext;

impl ClientContext for ReadContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client_log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::PartitionEOF) {
            tracing::debug!(%error, reason, "the redrive's reader reports an error");
        }
    }
}

impl ConsumerContext for ReadContext {}

type Client = StreamConsumer<ReadContext>;

fn client(log: &LogConfig) -> Result<Client, KafkaError> {
    let mut settings = ClientConfig::new();
    settings.extend(log.connection());
    settings
        .set("client.id", "helix-redrive-reader")
        // Assigned by hand, but the client wants a name.
        .set("group.id", "helix-redrive-reader")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "error")
        .set("allow.auto.create.topics", "false")
        .set("queued.max.messages.kbytes", "8192")
        .set("fetch.wait.max.ms", "100")
        .set("reconnect.backoff.max.ms", "1000");
    Client::from_config_and_context(&settings, ReadContext)
}

/// Faults that the client does not mend by itself.
fn lasting(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::Fatal)
    )
}

/// Decodes a record, asking the registry where its schema is new here.
///
/// # Errors
/// [`RedriveError::Unreachable`] where the registry does not answer. `Ok(None)`: the value is none of ours.
pub(crate) async fn decode<T: Serialize + DeserializeOwned>(
    registry: &Registry,
    codec: &Codec<T>,
    value: &[u8],
) -> Result<Option<T>, RedriveError> {
    match registry.decode(codec, value).await {
        Ok(record) => Ok(Some(record)),
        Err(error @ RegistryError::Unreachable { .. }) => Err(error.into()),
        Err(RegistryError::Refused { .. })
        | Err(RegistryError::Codec(CodecError::NotFramed | CodecError::Datum { .. } | CodecError::Write(_)))
        | Err(RegistryError::Codec(CodecError::UnknownSchema(_) | CodecError::Schema { .. })) => Ok(None),
    }
}

/// A topic, read once from its start to where it ends now.
pub struct Scan {
    consumer: Arc<Client>,
    /// Where each partition that is not read to its end yet ends.
    open: BTreeMap<i32, i64>,
    span: u64,
}

impl std::fmt::Debug for Scan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scan").field("open", &self.open).finish_non_exhaustive()
    }
}

impl Scan {
    /// Asks where the topic ends and begins to read it.
    ///
    /// # Errors
    /// [`RedriveError::Unreachable`] where the log does not answer or has no such topic.
    pub async fn open(log: &LogConfig, topic: &'static str) -> Result<Self, RedriveError> {
        let consumer = Arc::new(client(log)?);
        let asked = consumer.clone();
        let ends = tokio::task::spawn_blocking(move || ends(&asked, topic));
        let ends = ends.await.map_err(|error| RedriveError::unreachable("the log", error))??;
        let mut assignment = TopicPartitionList::new();
        let (mut open, mut span) = (BTreeMap::new(), 0);
        for (partition, (from, until)) in ends {
            if from < until {
                assignment.add_partition_offset(topic, partition, Offset::Offset(from))?;
                open.insert(partition, until);
                span += u64::try_from(until - from).unwrap_or_default();
            }
        }
        consumer.assign(&assignment)?;
        Ok(Self { consumer, open, span })
    }

    /// How many offsets it reads.
    #[must_use]
    pub const fn span(&self) -> u64 {
        self.span
    }

    /// The next record, in order within its partition; `None` at the end.
    ///
    /// # Errors
    /// [`RedriveError::Unreachable`] where the log falls silent.
    pub async fn next(&mut self) -> Result<Option<OwnedMessage>, RedriveError> {
        while !self.open.is_empty() {
            let heard = tokio::time::timeout(SILENCE, self.consumer.recv()).await;
            let heard = heard.map_err(|silence| RedriveError::unreachable("the log", silence))?;
            match heard.map(|message| message.detach()) {
                Ok(message) => {
                    let (partition, offset) = (message.partition(), message.offset());
                    let Some(until) = self.open.get(&partition).copied() else { continue };
                    if offset + 1 >= until {
                        self.open.remove(&partition);
                    }
                    if offset < until {
                        return Ok(Some(message));
                    }
                }
                // The last records of a compacted topic may be gone.
                Err(KafkaError::PartitionEOF(partition)) => {
                    self.open.remove(&partition);
                }
                Err(error) if lasting(&error) => return Err(error.into()),
                Err(error) => tracing::debug!(%error, "the redrive's reader"),
            }
        }
        Ok(None)
    }
}

/// From where to where each partition goes. Blocks.
fn ends(consumer: &Client, topic: &str) -> Result<BTreeMap<i32, (i64, i64)>, RedriveError> {
    let metadata = consumer.fetch_metadata(Some(topic), METADATA)?;
    let mut ends = BTreeMap::new();
    for found in metadata.topics() {
        if let Some(error) = found.error() {
            return Err(RedriveError::unreachable("the log", RDKafkaErrorCode::from(error).to_string()));
        }
        for partition in found.partitions() {
            ends.insert(partition.id(), consumer.fetch_watermarks(topic, partition.id(), METADATA)?);
        }
    }
    Ok(ends)
}

/// Reads single records again.
pub struct Fetch {
    consumer: Client,
    topic: &'static str,
}

impl std::fmt::Debug for Fetch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetch").field("topic", &self.topic).finish_non_exhaustive()
    }
}

/// Records that were read again.
#[derive(Debug, Default)]
pub struct Fetched {
    /// In the order that was asked for.
    pub records: Vec<(i64, Vec<u8>)>,
    /// Asked for, and not in the log any more.
    pub gone: Vec<i64>,
}

impl Fetch {
    /// A reader of single records of a topic.
    ///
    /// # Errors
    /// Where librdkafka refuses a setting.
    pub fn new(log: &LogConfig, topic: &'static str) -> Result<Self, KafkaError> {
        Ok(Self { consumer: client(log)?, topic })
    }

    /// Reads these offsets, which ascend, of one partition; fewer where together they are more than `bytes`, but always
    /// the first.
    ///
    /// # Errors
    /// [`RedriveError::Unreachable`] where the log falls silent.
    pub async fn read(&self, partition: i32, offsets: &[i64], bytes: usize) -> Result<Fetched, RedriveError> {
        let read = self.read_assigned(partition, offsets, bytes).await;
        self.consumer.unassign()?;
        read
    }

    async fn read_assigned(&self, partition: i32, offsets: &[i64], bytes: usize) -> Result<Fetched, RedriveError> {
        let mut fetched = Fetched::default();
        let mut held = 0;
        let mut wanted = offsets.iter().copied().peekable();
        let Some(mut next) = wanted.next() else { return Ok(fetched) };
        self.assign(partition, next)?;
        let mut heard = Instant::now();
        loop {
            let left = SILENCE.saturating_sub(heard.elapsed());
            let received = tokio::time::timeout(left, self.consumer.recv()).await;
            let received = received.map_err(|silence| RedriveError::unreachable("the log", silence))?;
            let message = match received {
                Ok(message) => message,
                Err(KafkaError::PartitionEOF(_)) => {
                    // What is asked for was read before: at the end it can only be gone.
                    fetched.gone.push(next);
                    fetched.gone.extend(wanted);
                    return Ok(fetched);
                }
                Err(error) if lasting(&error) => return Err(error.into()),
                Err(error) => {
                    tracing::debug!(%error, "the redrive's reader");
                    continue;
                }
            };
            heard = Instant::now();
            while next < message.offset() {
                fetched.gone.push(next);
                let Some(following) = wanted.next() else { return Ok(fetched) };
                next = following;
            }
            if message.offset() == next {
                let value = message.payload().unwrap_or_default().to_vec();
                held += value.len();
                fetched.records.push((next, value));
                let Some(following) = wanted.next() else { return Ok(fetched) };
                if held >= bytes {
                    return Ok(fetched);
                }
                next = following;
            }
            if next - message.offset() > GAP {
                drop(message);
                self.assign(partition, next)?;
            }
        }
    }

    fn assign(&self, partition: i32, offset: i64) -> Result<(), KafkaError> {
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset(self.topic, partition, Offset::Offset(offset))?;
        self.consumer.assign(&assignment)
    }
}
