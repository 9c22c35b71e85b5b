//! Bringing a database to head.

use helix_clickhouse::{ClickHouseError, Options, migrate, pending};
use uuid::Uuid;

use crate::{engine, story::World};

#[tokio::test]
async fn each_file_is_applied_once_and_recorded() {
    let database = format!("test_{}", Uuid::new_v4().simple());
    let options = Options { url: engine::url().to_owned(), database, user: String::new(), password: String::new() };
    assert!(matches!(pending(&options).await, Err(ClickHouseError::Refused { .. })));
    let (one, other) = tokio::join!(migrate(&options), migrate(&options));
    assert!(one.unwrap().contains(&"001_facts") && other.is_ok());
    assert_eq!(migrate(&options).await.unwrap(), Vec::<&str>::new());
    assert_eq!(pending(&options).await.unwrap(), Vec::<&str>::new());
}

#[tokio::test]
async fn a_file_that_was_applied_with_another_text_stops_the_start() {
    let world = World::new().await;
    world.run("INSERT INTO {db}.schema_migrations (name, checksum) VALUES ('004_calls', 'another')").await;
    let refused = migrate(&world.options).await;
    assert!(matches!(&refused, Err(ClickHouseError::MigrationChanged { name }) if name == "004_calls"), "{refused:?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_in_words() {
    let options = Options {
        url: "http://127.0.0.1:9".to_owned(),
        database: "helix".to_owned(),
        user: String::new(),
        password: String::new(),
    };
    let error = migrate(&options).await.unwrap_err();
    assert!(matches!(error, ClickHouseError::Unreachable(_)), "{error:?}");
}
