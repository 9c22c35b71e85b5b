//! Topics on a real broker.

use std::time::{Duration, Instant};

use helix_local::topics::{TopicError, ensure};
use helix_schemas::topics::{ALL, FACTS};
use rdkafka::{
    admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication},
    client::DefaultClientContext,
    config::ClientConfig,
};

use crate::command::Stack;

type Admin = AdminClient<DefaultClientContext>;

/// Waits until the broker shows what the controller has answered already: its view follows a moment later.
async fn until(what: &str, mut shown: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !shown().await {
        assert!(begun.elapsed() < Duration::from_secs(60), "the broker never shows that {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Partitions of the facts, none where there is no such topic. To ask for one topic by name might make it.
fn partitions(admin: &Admin) -> usize {
    let metadata = admin.inner().fetch_metadata(None, Duration::from_secs(60)).unwrap();
    let found = metadata.topics().iter().find(|topic| topic.name() == FACTS);
    found.map_or(0, |topic| topic.partitions().len())
}

async fn setting(admin: &Admin, name: &str) -> String {
    let described = admin.describe_configs([&ResourceSpecifier::Topic(FACTS)], &AdminOptions::new()).await.unwrap();
    let described = described.into_iter().next().unwrap().unwrap();
    described.get(name).unwrap().value.clone().unwrap()
}

#[tokio::test]
async fn topics_are_made_once_corrected_when_they_drift_and_refused_with_other_partitions() {
    let stack = Stack::up("kafka");
    let brokers = stack.variable("HELIX_KAFKA_BROKERS");
    let connection = [("bootstrap.servers".to_owned(), brokers.clone())];
    let admin: Admin = ClientConfig::new().set("bootstrap.servers", &brokers).create().unwrap();
    let options = AdminOptions::new();
    let wrong = NewTopic::new(FACTS, 5, TopicReplication::Fixed(1));
    admin.create_topics([&wrong], &options).await.unwrap()[0].as_ref().unwrap();
    until("the topic is there", async || partitions(&admin) == 5).await;
    let refused = ensure(&connection, 1).await.unwrap_err();
    assert!(matches!(refused, TopicError::Partitions { topic: FACTS, found: 5, expected: 12 }), "{refused}");
    admin.delete_topics(&[FACTS], &options).await.unwrap()[0].as_ref().unwrap();
    until("the topic is gone", async || partitions(&admin) == 0).await;
    let made = ensure(&connection, 1).await.unwrap();
    assert_eq!(made.made, [FACTS]);
    until("the topic is there again", async || partitions(&admin) == 12).await;
    assert_eq!(ensure(&connection, 1).await.unwrap(), helix_local::topics::Ensured::default());
    let drift =
        AlterConfig::new(ResourceSpecifier::Topic(FACTS)).set("retention.ms", "1000").set("segment.ms", "60000");
    admin.alter_configs([&drift], &options).await.unwrap()[0].as_ref().unwrap();
    until("the settings have drifted", async || setting(&admin, "retention.ms").await == "1000").await;
    assert_eq!(ensure(&connection, 1).await.unwrap().corrected, [FACTS]);
    until("they are set right", async || setting(&admin, "retention.ms").await == "-1").await;
    assert_eq!(setting(&admin, "segment.ms").await, "60000");
    assert_eq!(ALL.len(), 4);
}
