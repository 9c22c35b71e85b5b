//! Topics on a real broker.

use helix_local::topics::{TopicError, ensure};
use helix_schemas::topics::{ALL, FACTS};
use rdkafka::{
    admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication},
    client::DefaultClientContext,
    config::ClientConfig,
};

use crate::command::Stack;

#[tokio::test]
async fn topics_are_made_once_corrected_when_they_drift_and_refused_with_other_partitions() {
    let stack = Stack::up("kafka");
    let brokers = stack.variable("HELIX_KAFKA_BROKERS");
    let connection = [("bootstrap.servers".to_owned(), brokers.clone())];
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &brokers).create().unwrap();
    let options = AdminOptions::new();
    let wrong = NewTopic::new(FACTS, 5, TopicReplication::Fixed(1));
    admin.create_topics([&wrong], &options).await.unwrap()[0].as_ref().unwrap();
    let refused = ensure(&connection, 1).await.unwrap_err();
    assert!(matches!(refused, TopicError::Partitions { topic: FACTS, found: 5, expected: 12 }), "{refused}");
    admin.delete_topics(&[FACTS], &options).await.unwrap()[0].as_ref().unwrap();
    let made = ensure(&connection, 1).await.unwrap();
    assert_eq!(made.made, [FACTS]);
    assert_eq!(ensure(&connection, 1).await.unwrap(), helix_local::topics::Ensured::default());
    let drift =
        AlterConfig::new(ResourceSpecifier::Topic(FACTS)).set("retention.ms", "1000").set("segment.ms", "60000");
    admin.alter_configs([&drift], &options).await.unwrap()[0].as_ref().unwrap();
    assert_eq!(ensure(&connection, 1).await.unwrap().corrected, [FACTS]);
    let described = admin.describe_configs([&ResourceSpecifier::Topic(FACTS)], &options).await.unwrap();
    let described = described.into_iter().next().unwrap().unwrap();
    let value = |name: &str| described.get(name).unwrap().value.clone().unwrap();
    assert_eq!((value("retention.ms"), value("segment.ms")), ("-1".to_owned(), "60000".to_owned()));
    assert_eq!(ALL.len(), 4);
}
