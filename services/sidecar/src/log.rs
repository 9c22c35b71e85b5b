//! Appends to the log what people decide and look at: idempotent, acknowledged by every in-sync replica, bounded.
//!
//! Nothing is connected, and the schema registry is not asked, before the first fact. What fails after it was handed over is
//! perhaps written: ids absorb a repeat of the same fact.
//!
//! Facts of one key lie in the log in the order in which they were handed over.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use helix_kit::{config::LogConfig, problem::Problem};
use helix_schemas::{
    codec::{Codec, CodecError},
    fact::Fact,
    registry::{Registry, RegistryError},
    topics,
};
use rdkafka::{
    ClientConfig,
    error::KafkaError,
    producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer, PurgeConfig},
};
use tokio::{sync::OnceCell, time::timeout};

/// The registry is asked once; no request waits longer for that.
const REGISTRY_WITHIN: Duration = Duration::from_secs(3);
/// Bounds of the producer's queue.
const QUEUE_KIB: u32 = 1024;
const QUEUE_MESSAGES: u32 = 1000;

/// Why a fact is not known to be in the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// The schema registry did not serve; nothing was written.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// It took too long; nothing was written.
    #[error("the schema registry did not answer in time")]
    RegistryLate,
    /// The fact does not fit the schema: a defect of this build.
    #[error("a fact cannot be encoded: {0}")]
    Encode(#[from] CodecError),
    /// Not acknowledged: perhaps written.
    #[error("{topic} did not acknowledge: {0}", topic = topics::FACTS)]
    Log(#[from] KafkaError),
    /// The producer ended while the fact was in flight: perhaps written.
    #[error("the producer ended before {topic} acknowledged", topic = topics::FACTS)]
    Ended,
}

impl From<LogError> for Problem {
    fn from(error: LogError) -> Self {
        tracing::warn!(%error, "a person's decision could not be appended");
        match error {
            LogError::Registry(_) | LogError::RegistryLate => Self::component_down("the schema registry"),
            LogError::Encode(_) | LogError::Log(_) | LogError::Ended => Self::component_down("the log"),
        }
    }
}

/// The log, as this process writes it.
pub(crate) struct Log {
    registry: Registry,
    codec: OnceCell<Arc<Codec<Fact>>>,
    settings: ClientConfig,
    // A fatal error ends an idempotent producer for good; the next fact makes a new one.
    producer: Mutex<Option<FutureProducer>>,
}

/// Where a fact lies in `telephony.facts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

/// The log, once the schema is known: facts are handed over without waiting.
pub(crate) struct Opened<'a> {
    log: &'a Log,
    codec: Arc<Codec<Fact>>,
}

/// A fact that was handed over.
pub(crate) struct Handed<'a> {
    log: &'a Log,
    producer: FutureProducer,
    delivery: DeliveryFuture,
}

impl<'a> Opened<'a> {
    /// Hands a fact to the producer. Where that fails nothing was written.
    pub(crate) fn hand_over(&self, fact: &Fact) -> Result<Handed<'a>, LogError> {
        let value = self.codec.encode(fact)?;
        let key = fact.key();
        let producer = self.log.producer()?;
        let record = FutureRecord::to(topics::FACTS).key(&key).payload(&value);
        match producer.send_result(record) {
            Ok(delivery) => Ok(Handed { log: self.log, producer, delivery }),
            Err((error, _)) => {
                self.log.give_up_if_fatal(&producer);
                Err(error.into())
            }
        }
    }
}

impl Handed<'_> {
    /// Waits until every in-sync replica has it. Where that fails it is perhaps written.
    pub(crate) async fn acknowledged(self) -> Result<Place, LogError> {
        match self.delivery.await {
            Ok(Ok(delivery)) => Ok(Place { partition: delivery.partition, offset: delivery.offset }),
            Ok(Err((error, _))) => {
                self.log.give_up_if_fatal(&self.producer);
                Err(error.into())
            }
            Err(_ended) => Err(LogError::Ended),
        }
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Log")
    }
}

impl Log {
    pub(crate) fn new(config: &LogConfig, registry_url: &str, workspace: &str) -> Self {
        let mut settings = ClientConfig::new();
        settings.extend(config.connection());
        settings
            .set("client.id", format!("helix-sidecar-{workspace}"))
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // As ingest and Java clients hash keys.
            .set("partitioner", "murmur2_random")
            .set("compression.codec", "lz4")
            .set("linger.ms", config.linger.as_millis().to_string())
            .set("delivery.timeout.ms", config.delivery_timeout.as_millis().to_string())
            .set("reconnect.backoff.max.ms", "1000")
            .set("queue.buffering.max.kbytes", QUEUE_KIB.to_string())
            .set("queue.buffering.max.messages", QUEUE_MESSAGES.to_string())
            .set("allow.auto.create.topics", "false");
        Self { registry: Registry::new(registry_url), codec: OnceCell::new(), settings, producer: Mutex::new(None) }
    }

    /// Asks the registry, once.
    pub(crate) async fn open(&self) -> Result<Opened<'_>, LogError> {
        let open = async || Ok::<_, RegistryError>(Arc::new(self.registry.fact_codec().await?));
        let opened = timeout(REGISTRY_WITHIN, self.codec.get_or_try_init(open)).await;
        Ok(Opened { log: self, codec: opened.map_err(|_| LogError::RegistryLate)??.clone() })
    }

    fn producer(&self) -> Result<FutureProducer, KafkaError> {
        let mut held = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(producer) = &*held {
            return Ok(producer.clone());
        }
        let fresh: FutureProducer = self.settings.create()?;
        *held = Some(fresh.clone());
        Ok(fresh)
    }

    fn give_up_if_fatal(&self, producer: &FutureProducer) {
        let Some((code, reason)) = producer.client().fatal_error() else { return };
        tracing::error!(%code, reason, "the producer is beyond repair; the next fact makes a new one");
        producer.purge(PurgeConfig::default().queue().inflight());
        let ended = self.producer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The last owner's drop joins a thread: not on an executor's.
        tokio::task::spawn_blocking(move || drop(ended));
    }
}
