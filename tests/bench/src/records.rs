//! The records that the ingest wrote, as the bare producer writes them again: the same keys and values, byte for byte.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use helix_kit::config::LogConfig;
use helix_schemas::topics::{ALL, FACTS};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
};

/// Where the floors write: a topic like that of the facts.
pub(crate) const TOPIC: &str = "bench.records";

const PATIENCE: Duration = Duration::from_secs(30);

/// Makes the floors' topic, with the facts' settings and as many partitions.
pub(crate) async fn make_topic(log: &LogConfig) -> Result<()> {
    let facts = ALL.iter().find(|topic| topic.name == FACTS).context("the topic of the facts")?;
    let settings = facts.settings(log.replicas);
    let mut topic = NewTopic::new(TOPIC, facts.partitions, TopicReplication::Fixed(log.replicas));
    for (name, value) in &settings {
        topic = topic.set(name, value);
    }
    let client: AdminClient<DefaultClientContext> = connection(log).create()?;
    let made = client.create_topics([&topic], &AdminOptions::new().operation_timeout(Some(PATIENCE))).await?;
    for one in made {
        one.map_err(|(name, code)| anyhow::anyhow!("topic {name} cannot be made: {code}"))?;
    }
    Ok(())
}

fn connection(log: &LogConfig) -> ClientConfig {
    let mut settings = ClientConfig::new();
    settings.extend(log.connection());
    settings
}

/// Every record of the facts' topic, key and value in turn, in the order in which they were written.
pub(crate) fn capture(log: &LogConfig) -> Result<Vec<Vec<u8>>> {
    let mut settings = connection(log);
    settings.set("group.id", "helix-bench").set("enable.auto.commit", "false").set("auto.offset.reset", "error");
    let consumer: BaseConsumer = settings.create()?;
    let partitions = ALL.iter().find(|topic| topic.name == FACTS).map_or(0, |topic| topic.partitions);
    let mut assignment = TopicPartitionList::new();
    let mut expected = 0;
    for partition in 0..partitions {
        let (low, high) = consumer.fetch_watermarks(FACTS, partition, PATIENCE)?;
        expected += usize::try_from(high - low)?;
        assignment.add_partition_offset(FACTS, partition, Offset::Offset(low))?;
    }
    consumer.assign(&assignment)?;
    let begun = Instant::now();
    let mut records = Vec::with_capacity(expected);
    while records.len() < expected {
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            let message = message?;
            let key = message.key().context("a fact without a key")?.to_vec();
            let value = message.payload().context("a fact without a value")?.to_vec();
            let written = message.timestamp().to_millis().unwrap_or_default();
            records.push(((written, message.partition(), message.offset()), [key, value]));
        } else if begun.elapsed() > PATIENCE {
            bail!("{} of {expected} records could be read", records.len());
        }
    }
    records.sort_by_key(|(place, _)| *place);
    Ok(records.into_iter().flat_map(|(_, pair)| pair).collect())
}
