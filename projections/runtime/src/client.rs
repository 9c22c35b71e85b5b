//! The Kafka client: its settings, and what its callbacks tell the loop.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use rdkafka::{
    ClientConfig, ClientContext, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::KafkaError,
    topic_partition_list::TopicPartitionListElem,
    types::RDKafkaRespErr,
};

use crate::config::{EngineConfig, Membership};

/// What the group asked for.
pub(crate) enum Rebalance {
    Assigned(Vec<i32>),
    Revoked(Vec<i32>),
}

/// What the client's callbacks tell the loop.
#[derive(Default)]
pub(crate) struct Callbacks {
    pub(crate) rebalances: Mutex<Vec<Rebalance>>,
    /// Set when the loop has ended: closing the client revokes what is left, and nobody works off notes any more.
    pub(crate) ended: AtomicBool,
}

impl ClientContext for Callbacks {
    fn error(&self, error: KafkaError, _reason: &str) {
        tracing::warn!(%error, "kafka client");
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::error!(facility, "{message}");
            }
            RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice => tracing::warn!(facility, "{message}"),
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => tracing::debug!(facility, "{message}"),
        }
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
        let partitions = partitions.elements().iter().map(TopicPartitionListElem::partition).collect();
        let event = if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            Rebalance::Assigned(partitions)
        } else {
            Rebalance::Revoked(partitions)
        };
        self.rebalances.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }
}

/// The consumer's settings; each that differs from the client's default says why.
pub(crate) fn client_config(config: &EngineConfig) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.extend(config.connection.iter().cloned());
    client
        .set("group.id", &config.group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // A projection that finds its offset gone stops with an alarm instead of jumping.
        .set("auto.offset.reset", "error")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", "10000")
        .set("heartbeat.interval.ms", "2000")
        .set("max.poll.interval.ms", "300000")
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
