//! Appends decisions to the log: idempotent, acknowledged by every in-sync replica, one after the other in the order given.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use helix_schemas::{
    codec::{Codec, CodecError},
    fact::Fact,
    topics,
};
use rdkafka::{
    ClientConfig, ClientContext,
    config::RDKafkaLogLevel,
    error::KafkaError,
    producer::{FutureProducer, FutureRecord, Producer, PurgeConfig},
};

/// Why a decision is not known to be in the log.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// It cannot be written as Avro: a defect of this build.
    #[error("a decision cannot be encoded: {0}")]
    Encode(#[from] CodecError),
    /// Not acknowledged: perhaps written. Its id absorbs the repeat.
    #[error("{topic} did not acknowledge: {0}", topic = topics::FACTS)]
    Log(#[from] KafkaError),
}

/// Where decisions go.
#[async_trait]
pub trait Append: Send + Sync {
    /// Appends a fact under its own key; done when it cannot be lost any more.
    ///
    /// # Errors
    /// [`AppendError`]; the fact is perhaps in the log.
    async fn append(&self, fact: &Fact) -> Result<(), AppendError>;
}

/// Turns the client's callbacks into logs: brokers and protocol, never payloads.
struct Callbacks;

impl ClientContext for Callbacks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::warn!(facility, message, "librdkafka");
            }
            RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice => tracing::info!(facility, message, "librdkafka"),
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => tracing::debug!(facility, message, "librdkafka"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "the log's client reports an error");
    }
}

type InnerProducer = FutureProducer<Callbacks>;

/// How to reach the log.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// librdkafka's settings of the connection.
    pub connection: Vec<(String, String)>,
    /// How long to wait for an acknowledgement.
    pub delivery_timeout: Duration,
    /// How long the producer waits to fill a batch.
    pub linger: Duration,
}

/// The log.
pub struct Log {
    settings: ClientConfig,
    codec: Arc<Codec<Fact>>,
    // A fatal error ends an idempotent producer for good; the next append makes a new one.
    producer: Mutex<Option<InnerProducer>>,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Log")
    }
}

impl Log {
    /// Nothing is connected yet.
    #[must_use]
    pub fn new(options: &LogOptions, codec: Arc<Codec<Fact>>) -> Self {
        let mut settings = ClientConfig::new();
        settings.extend(options.connection.iter().cloned());
        settings
            .set("client.id", "helix-automation")
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // As ingest and Java clients hash keys: a decision must lie in its agent's partition.
            .set("partitioner", "murmur2_random")
            .set("compression.codec", "lz4")
            .set("linger.ms", options.linger.as_millis().to_string())
            .set("delivery.timeout.ms", options.delivery_timeout.as_millis().to_string())
            .set("reconnect.backoff.max.ms", "1000")
            .set("queue.buffering.max.kbytes", "1024")
            .set("allow.auto.create.topics", "false");
        Self { settings, codec, producer: Mutex::new(None) }
    }

    fn producer(&self) -> Result<InnerProducer, KafkaError> {
        let mut held = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(producer) = &*held {
            return Ok(producer.clone());
        }
        let fresh: InnerProducer = self.settings.create_with_context(Callbacks)?;
        *held = Some(fresh.clone());
        Ok(fresh)
    }

    fn give_up_if_fatal(&self, producer: &InnerProducer) {
        if let Some((code, reason)) = producer.client().fatal_error() {
            tracing::error!(%code, reason, "the producer is beyond repair; the next append makes a new one");
            producer.purge(PurgeConfig::default().queue().inflight());
            *self.producer.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

#[async_trait]
impl Append for Log {
    async fn append(&self, fact: &Fact) -> Result<(), AppendError> {
        let value = self.codec.encode(fact)?;
        let key = fact.key();
        let producer = self.producer()?;
        let record = FutureRecord::to(topics::FACTS).key(&key).payload(&value);
        let sent = producer.send(record, Duration::ZERO).await;
        sent.map(|_| ()).map_err(|(error, _)| {
            self.give_up_if_fatal(&producer);
            error.into()
        })
    }
}
