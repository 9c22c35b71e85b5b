//! What the engine says of itself: only what it knows, and when it is not well.

use std::time::Duration;

use helix_runtime::{Membership, Trouble, Watch};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::world::World;

/// A watchdog in a hurry.
fn hurried() -> Watch {
    let every = Duration::from_millis(50);
    Watch { every, late: Duration::from_secs(1), stalled: Duration::from_secs(1) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lag_is_unknown_until_the_broker_has_told_the_logs_end() {
    let mut world = World::new();
    world.watch = hurried();
    // Whoever fetches sees the end as well, so that nothing is fetched.
    world.shared.pause(true);
    let silent = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART; 100_000];
    world.cluster.request_errors(RDKafkaApiKey::ListOffsets, &silent);
    world.produce(40);
    let running = world.start(Membership::All);
    running.until("partitions are held", |status| !status.partitions().is_empty()).await;
    assert_eq!(running.status.lag(0), None);
    running.until("the meter is missed", |status| matches!(status.trouble(), Some(Trouble::Meter(_)))).await;
    assert_eq!(running.status.lag(0), None);
    world.cluster.clear_request_errors(RDKafkaApiKey::ListOffsets);
    running.until("it is known", |status| status.lag(0).is_some_and(|lag| lag.facts == 40)).await;
    running.until("it is well", |status| status.trouble().is_none()).await;
    world.shared.pause(false);
    world.all_applied().await;
    running.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_logs_end_is_measured_while_nothing_is_fetched() {
    let mut world = World::new();
    world.watch = hurried();
    world.produce(40);
    world.shared.down(true);
    let running = world.start(Membership::All);
    running.until("it lags", |status| status.lag(0).is_some_and(|lag| lag.facts == 40)).await;
    world.produce(40);
    running.until("it lags more", |status| status.lag(0).is_some_and(|lag| lag.facts == 80)).await;
    world.shared.down(false);
    world.all_applied().await;
    running.until("it lags no more", |status| status.lag(0).is_some_and(|lag| lag.facts == 0)).await;
    running.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_went_away_is_noticed_and_its_return_too() {
    let mut world = World::new();
    world.watch = hurried();
    world.produce(40);
    let running = world.start(Membership::All);
    world.all_applied().await;
    running.until("it is well", |status| status.lag(0).is_some() && status.trouble().is_none()).await;
    world.cluster.broker_down(1).expect("a broker");
    running.until("the meter is missed", |status| matches!(status.trouble(), Some(Trouble::Meter(_)))).await;
    assert!(running.status.meter_age() > Duration::from_secs(1));
    running.until("nothing is known any more", |status| status.lag(0).is_none()).await;
    world.cluster.broker_up(1).expect("a broker");
    running.until("it is well again", |status| status.trouble().is_none()).await;
    running.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_holds_the_loop_is_noticed() {
    let mut world = World::new();
    world.watch = hurried();
    world.shared.hang(true);
    world.produce(40);
    let running = world.start(Membership::All);
    running.until("the loop is missed", |status| matches!(status.trouble(), Some(Trouble::Loop(_)))).await;
    world.shared.hang(false);
    world.all_applied().await;
    running.until("it is well again", |status| status.trouble().is_none()).await;
    running.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn facts_that_wait_without_any_progress_are_noticed() {
    let mut world = World::new();
    world.watch = hurried();
    world.shared.down(true);
    world.produce(40);
    let running = world.start(Membership::All);
    running.until("it has stalled", |status| matches!(status.trouble(), Some(Trouble::Stalled(_)))).await;
    world.shared.down(false);
    world.all_applied().await;
    running.until("it is well again", |status| status.trouble().is_none()).await;
    running.stop().await.expect("a clean end");
}
