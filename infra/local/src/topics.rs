//! The topics of [`helix_schemas::topics`], made with explicit settings and checked before any service starts.
//!
//! The number of partitions decides where a key's facts are, so a topic that has another number is never touched:
//! the boot is refused. Settings that drifted are set right, other overrides of the topic are kept.
//!
//! Used by `helix up` and by the job that prepares a production cluster.

use std::{collections::BTreeMap, time::Duration};

use helix_schemas::topics::{ALL, TopicSpec};
use rdkafka::{
    admin::{AdminClient, AdminOptions, AlterConfig, ConfigSource, NewTopic, ResourceSpecifier, TopicReplication},
    client::DefaultClientContext,
    config::ClientConfig,
    error::{KafkaError, RDKafkaErrorCode},
    metadata::Metadata,
};

use crate::brokers::Ear;

type Client = AdminClient<DefaultClientContext>;

/// The broker answers within this, or the boot fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why the topics are not as they must be.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// The cluster cannot be asked.
    #[error("the brokers {brokers} cannot be asked about topics: {source}")]
    Unreachable {
        /// Where they were sought.
        brokers: String,
        /// The client's words.
        #[source]
        source: KafkaError,
    },
    /// The brokers are there, but not on these terms: a certificate, a name or a password.
    #[error("no connection to the brokers {brokers} can be agreed on: {reason}")]
    Disagreed {
        /// Where they were sought.
        brokers: String,
        /// The client's words.
        reason: String,
    },
    /// A topic could not be made or changed.
    #[error("topic {topic} cannot be {action}: {code}")]
    Refused {
        /// Its name.
        topic: String,
        /// `made` or `changed`.
        action: &'static str,
        /// The broker's reason.
        code: RDKafkaErrorCode,
    },
    /// A topic has another number of partitions than keys were placed for.
    #[error(
        "topic {topic} has {found} partitions and must have {expected}: the key decides the partition, so this is \
         refused; point Helix at the right cluster, or rebuild the topic with a copy of its records"
    )]
    Partitions {
        /// Its name.
        topic: &'static str,
        /// What the cluster has.
        found: usize,
        /// What this build needs.
        expected: i32,
    },
}

/// What [`ensure`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ensured {
    /// Topics that were made.
    pub made: Vec<String>,
    /// Topics whose settings were set right.
    pub corrected: Vec<String>,
}

/// Makes the topics that are missing and checks those that are there. `connection` is how to reach the brokers, in
/// librdkafka's words.
///
/// # Errors
/// [`TopicError`].
pub async fn ensure(connection: &[(String, String)], replicas: i32) -> Result<Ensured, TopicError> {
    let brokers = connection.iter().find(|(name, _)| name == "bootstrap.servers").map_or("", |(_, value)| value);
    let unreachable = |source| TopicError::Unreachable { brokers: brokers.to_owned(), source };
    let mut settings = ClientConfig::new();
    settings.extend(connection.iter().cloned());
    settings.set("client.id", "helix-topics");
    let client: Client = settings.create().map_err(unreachable)?;
    let ear = Ear::open(&settings, PATIENCE).map_err(unreachable)?;
    tokio::select! {
        ensured = ensure_by(client, brokers, replicas) => ensured,
        // Asking longer would not change it.
        reason = ear.disagreement() => Err(TopicError::Disagreed { brokers: brokers.to_owned(), reason }),
    }
}

async fn ensure_by(client: Client, brokers: &str, replicas: i32) -> Result<Ensured, TopicError> {
    let unreachable = |source| TopicError::Unreachable { brokers: brokers.to_owned(), source };
    let options = AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE));
    let settings: Vec<(TopicSpec, Vec<(&str, String)>)> =
        ALL.into_iter().map(|topic| (topic, topic.settings(replicas))).collect();
    let wanted: Vec<NewTopic<'_>> = settings
        .iter()
        .map(|(topic, settings)| NewTopic {
            name: topic.name,
            num_partitions: topic.partitions,
            replication: TopicReplication::Fixed(replicas),
            config: settings.iter().map(|(key, value)| (*key, value.as_str())).collect(),
        })
        .collect();
    let mut ensured = Ensured::default();
    for result in client.create_topics(&wanted, &options).await.map_err(unreachable)? {
        match result {
            Ok(topic) => ensured.made.push(topic),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => {
                return Err(TopicError::Refused { topic, action: "made", code });
            }
        }
    }
    if ensured.made.len() == ALL.len() {
        return Ok(ensured);
    }
    let (client, metadata) = metadata(client).await.map_err(unreachable)?;
    for (topic, settings) in &settings {
        if ensured.made.iter().any(|made| made == topic.name) {
            continue;
        }
        let found = metadata.topics().iter().find(|found| found.name() == topic.name);
        let found = found.map_or(0, |found| found.partitions().len());
        if usize::try_from(topic.partitions) != Ok(found) {
            return Err(TopicError::Partitions { topic: topic.name, found, expected: topic.partitions });
        }
        if correct(&client, topic.name, settings, &options).await.map_err(|failure| failure.at(brokers))? {
            ensured.corrected.push(topic.name.to_owned());
        }
    }
    Ok(ensured)
}

/// Asks for the metadata, which blocks, on a thread for it.
async fn metadata(client: Client) -> Result<(Client, Metadata), KafkaError> {
    let asked = tokio::task::spawn_blocking(move || {
        let metadata = client.inner().fetch_metadata(None, PATIENCE);
        metadata.map(|metadata| (client, metadata))
    });
    asked.await.map_err(|_| KafkaError::Canceled)?
}

enum Failure {
    Client(KafkaError),
    Topic(TopicError),
}

impl Failure {
    fn at(self, brokers: &str) -> TopicError {
        match self {
            Self::Client(source) => TopicError::Unreachable { brokers: brokers.to_owned(), source },
            Self::Topic(error) => error,
        }
    }
}

/// Sets right what drifted; tells whether anything had. A setting that the broker does not know is not compared.
async fn correct(
    client: &Client,
    topic: &str,
    wanted: &[(&str, String)],
    options: &AdminOptions,
) -> Result<bool, Failure> {
    let refused = |action, code| Failure::Topic(TopicError::Refused { topic: topic.to_owned(), action, code });
    let described = client.describe_configs([&ResourceSpecifier::Topic(topic)], options).await;
    let Some(described) = described.map_err(Failure::Client)?.into_iter().next() else {
        return Ok(false);
    };
    let described = described.map_err(|code| refused("described", code))?;
    let drifted = wanted.iter().any(|(key, value)| {
        described.get(key).and_then(|entry| entry.value.as_ref()).is_some_and(|found| found != value)
    });
    if !drifted {
        return Ok(false);
    }
    // The request replaces every override of the topic, so those that are not ours are repeated.
    let own = described.entries.iter().filter(|entry| entry.source == ConfigSource::DynamicTopic);
    let mut all: BTreeMap<&str, &str> =
        own.filter_map(|entry| Some((entry.name.as_str(), entry.value.as_deref()?))).collect();
    all.extend(wanted.iter().map(|(key, value)| (*key, value.as_str())));
    let mut change = AlterConfig::new(ResourceSpecifier::Topic(topic));
    for (key, value) in all {
        change = change.set(key, value);
    }
    let changed = client.alter_configs([&change], options).await.map_err(Failure::Client)?;
    match changed.into_iter().next() {
        Some(Err((_, code))) => Err(refused("changed", code)),
        Some(Ok(_)) | None => Ok(true),
    }
}
