//! Appends to the log and says when every in-sync replica has it. Knows Kafka and nothing of telephony.
//!
//! [`Publisher::enqueue`] never waits: it hands the record to librdkafka in the caller's order, or says that the
//! queue is full. [`Pending::acknowledged`] resolves with the coordinates once the brokers have acknowledged. Any
//! failure after enqueue means "perhaps written" (style.md, trap 1): the caller answers 503 and ids absorb the repeat.
//!
//! A fatal error of the idempotent producer (its sequence is lost) ends that producer for good, and a record that is late
//! may still be written: [`crate::outlet`] decides when a producer is given up. Dropping one purges what is in flight,
//! so [`Publisher::close`] flushes first.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use helix_kit::config::LogConfig;
use rdkafka::{
    ClientConfig, ClientContext, Statistics,
    client::Client,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    error::{KafkaError, RDKafkaErrorCode},
    producer::{
        DeliveryFuture, FutureProducer, FutureRecord, Producer, PurgeConfig, future_producer::FutureProducerContext,
    },
};

use crate::metrics;

/// Largest record, key and value together, bytes: below the topics' `max.message.bytes`.
pub const LARGEST: usize = 1_000_000;
/// Most messages the queue holds; bytes are bounded by `log.queue_kib`.
const QUEUE_MESSAGES: u32 = 100_000;
/// How often librdkafka reports its statistics.
const STATISTICS: Duration = Duration::from_secs(1);

type InnerProducer = FutureProducer<ProducerContext>;

/// Where a record stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coordinates {
    /// Its topic.
    pub topic: &'static str,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
}

/// How long librdkafka tries by itself where there is a spool: the outlet's own clock decides, because a record that
/// times out alone would be overtaken by the next one of its key.
const WITH_SPOOL: Duration = Duration::from_secs(600);

/// Why a record was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The queue is full: nothing of this record was written.
    #[error("the producer's queue is full")]
    Backpressure,
    /// Not acknowledged: perhaps written.
    #[error("{topic} did not acknowledge: {source}")]
    NotAcknowledged {
        /// Its topic.
        topic: &'static str,
        /// librdkafka's words.
        #[source]
        source: KafkaError,
    },
    /// Not acknowledged within the time it is given: perhaps written.
    #[error("{topic} did not acknowledge in time")]
    Late {
        /// Its topic.
        topic: &'static str,
    },
    /// The log is known not to acknowledge: nothing of this record was written.
    #[error("the log is down")]
    Down,
    /// The producer ended while the record was in flight: perhaps written.
    #[error("the producer ended before {topic} acknowledged")]
    Ended {
        /// Its topic.
        topic: &'static str,
    },
}

impl PublishError {
    /// Whether the record is at fault and not the log: it will never be taken.
    #[must_use]
    pub fn is_of_the_record(&self) -> bool {
        let Self::NotAcknowledged { source, .. } = self else { return false };
        matches!(
            source.rdkafka_error_code(),
            Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidRecord)
        )
    }
}

/// Turns librdkafka's callbacks into logs and metrics.
#[derive(Debug)]
pub struct ProducerContext;

impl ClientContext for ProducerContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client_log(level, facility, message);
    }

    fn stats(&self, statistics: Statistics) {
        metrics::queue(statistics.msg_cnt, statistics.msg_max, statistics.msg_size, statistics.msg_size_max);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "the log's client reports an error");
    }
}

/// librdkafka's log lines: brokers and protocol, never payloads.
pub(crate) fn client_log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
            tracing::warn!(facility, message, "librdkafka");
        }
        RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice => tracing::info!(facility, message, "librdkafka"),
        RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => tracing::debug!(facility, message, "librdkafka"),
    }
}

/// The producer, made anew where the old one is beyond repair.
pub struct Publisher {
    settings: ClientConfig,
    patience: Duration,
    producer: ArcSwap<InnerProducer>,
    renewal: Mutex<()>,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Publisher")
    }
}

/// A record on its way.
pub struct Pending {
    topic: &'static str,
    delivery: DeliveryFuture,
    timer: metrics::AckTimer,
}

fn settings(config: &LogConfig, delivery: Duration) -> ClientConfig {
    let mut settings = ClientConfig::new();
    settings.extend(config.connection());
    settings
        .set("client.id", "helix-ingest")
        .set("enable.idempotence", "true")
        // A record that is refused for good must not be overtaken by the next one of its key: the producer ends instead.
        .set("enable.gapless.guarantee", "true")
        .set("message.max.bytes", LARGEST.to_string())
        .set("acks", "all")
        // As Java clients hash keys; librdkafka's default would scatter a key's facts between the two.
        .set("partitioner", "murmur2_random")
        .set("compression.codec", "lz4")
        .set("linger.ms", config.linger.as_millis().to_string())
        .set("delivery.timeout.ms", delivery.as_millis().to_string())
        // A broker that comes back is found within this.
        .set("reconnect.backoff.max.ms", "1000")
        .set("queue.buffering.max.kbytes", config.queue_kib.to_string())
        .set("queue.buffering.max.messages", QUEUE_MESSAGES.to_string())
        .set("allow.auto.create.topics", "false")
        .set("statistics.interval.ms", STATISTICS.as_millis().to_string());
    settings
}

impl Publisher {
    /// A producer as design.md section 6 wants it; `spooled` where a spool takes over what is late. Does not wait for a
    /// broker.
    ///
    /// # Errors
    /// Where librdkafka refuses a setting.
    pub fn new(config: &LogConfig, spooled: bool) -> Result<Self, KafkaError> {
        let settings = settings(config, if spooled { WITH_SPOOL } else { config.delivery_timeout });
        let producer = InnerProducer::from_config_and_context(&settings, ProducerContext)?;
        let patience = config.delivery_timeout;
        Ok(Self { settings, patience, producer: ArcSwap::from_pointee(producer), renewal: Mutex::new(()) })
    }

    /// Puts a record into the queue. Records of one caller keep their order.
    ///
    /// # Errors
    /// [`PublishError::Backpressure`] at once where the queue is full.
    pub fn enqueue(&self, topic: &'static str, key: &str, value: &[u8]) -> Result<Pending, PublishError> {
        let producer = self.producer.load();
        let timer = metrics::AckTimer::start();
        match producer.send_result(FutureRecord::to(topic).key(key).payload(value)) {
            Ok(delivery) => Ok(Pending { topic, delivery, timer }),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                timer.done(false);
                metrics::publish_failed("queue_full");
                Err(PublishError::Backpressure)
            }
            Err((source, _)) => {
                timer.done(false);
                metrics::publish_failed("not_acknowledged");
                Err(PublishError::NotAcknowledged { topic, source })
            }
        }
    }

    /// Puts one record into the queue and waits for it.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn publish(&self, topic: &'static str, key: &str, value: &[u8]) -> Result<Coordinates, PublishError> {
        let pending = self.enqueue(topic, key, value)?;
        self.acknowledged_in_time(pending).await
    }

    /// Waits until every in-sync replica has the record, as long as `log.delivery_timeout`.
    ///
    /// # Errors
    /// [`PublishError`]; the record is perhaps written.
    pub async fn acknowledged_in_time(&self, pending: Pending) -> Result<Coordinates, PublishError> {
        let topic = pending.topic;
        let waited = tokio::time::timeout(self.patience, self.acknowledged(pending)).await;
        waited.unwrap_or(Err(PublishError::Late { topic }))
    }

    /// Waits until every in-sync replica has the record.
    ///
    /// # Errors
    /// [`PublishError`]; the record is perhaps written.
    pub async fn acknowledged(&self, pending: Pending) -> Result<Coordinates, PublishError> {
        let Pending { topic, delivery, timer } = pending;
        let delivered = delivery.await;
        timer.done(matches!(delivered, Ok(Ok(_))));
        let fault = match delivered {
            Ok(Ok(delivery)) => {
                return Ok(Coordinates { topic, partition: delivery.partition, offset: delivery.offset });
            }
            Ok(Err((source, _message))) => PublishError::NotAcknowledged { topic, source },
            Err(_cancelled) => PublishError::Ended { topic },
        };
        metrics::publish_failed("not_acknowledged");
        Err(fault)
    }

    /// Whether the producer can never again produce.
    #[must_use]
    pub fn is_beyond_repair(&self) -> bool {
        self.producer.load().client().fatal_error().is_some()
    }

    /// A new producer, where the old one can never again produce.
    pub fn renew_if_fatal(&self) {
        let _one_at_a_time = self.renewal.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((code, reason)) = self.producer.load().client().fatal_error() {
            tracing::error!(%code, reason, "the producer is beyond repair; a new one takes over");
            self.replace();
        }
    }

    /// Gives the producer up with all it holds, which is perhaps written, and takes a new one.
    pub fn renew(&self) {
        let _one_at_a_time = self.renewal.lock().unwrap_or_else(PoisonError::into_inner);
        self.replace();
    }

    fn replace(&self) {
        match InnerProducer::from_config_and_context(&self.settings, ProducerContext) {
            // Dropping the old one joins its thread: not on an executor's thread.
            Ok(fresh) => drop_elsewhere(self.producer.swap(Arc::new(fresh))),
            Err(error) => tracing::error!(%error, "no new producer could be made"),
        }
    }

    /// The client, for metadata.
    pub(crate) fn with_client<R>(&self, ask: impl FnOnce(&Client<FutureProducerContext<ProducerContext>>) -> R) -> R {
        ask(self.producer.load().client())
    }

    /// Waits until the queue is empty, at most until `deadline`. Blocks: call it where blocking is allowed.
    ///
    /// # Errors
    /// Where records were still in flight; they are perhaps written.
    pub fn close(&self, deadline: Duration) -> Result<(), KafkaError> {
        self.producer.load().flush(deadline)
    }
}

/// Ends a producer: what it holds is given up at once, joining its thread may take a while.
fn drop_elsewhere(producer: Arc<InnerProducer>) {
    let end = move || {
        producer.purge(PurgeConfig::default().queue().inflight());
        drop(producer);
    };
    if let Err(error) = std::thread::Builder::new().name("producer-end".to_owned()).spawn(end) {
        tracing::error!(%error, "no thread to end a producer on");
    }
}
