//! A receiver that fails, one fault at a time.

use std::time::Duration;

use crate::{
    progress::Kept,
    receiver::{Answer, Receiver},
    stage::{PATIENCE, Stage},
};

/// Plays a script to a few events of two agents; all must arrive all the same. Gives back the receiver.
async fn through<const TIMES: usize>(script: [Answer; TIMES]) -> Receiver {
    let (mut stage, kept) = (Stage::new(), Kept::default());
    stage.events("ramaiah", &["agent.one", "agent.two"], 6);
    let hangs = script.contains(&Answer::Hang);
    let receiver = Receiver::scripted(script).await;
    let start = if hangs { Stage::start_hurried } else { Stage::start };
    let running = start(&stage, "ramaiah", &receiver, &kept);
    stage.all_settled("ramaiah", &receiver).await;
    stage.passed(&kept).await;
    running.stop().await;
    receiver
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_answers_500_gets_the_same_event_again() {
    let receiver = through([Answer::Status(500); 7]).await;
    assert_eq!(receiver.seen().len(), 6 + 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_does_not_answer_in_time_gets_the_same_event_again() {
    let receiver = through([Answer::Hang; 3]).await;
    assert_eq!(receiver.seen().len(), 6 + 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_closes_its_connections_gets_the_same_event_again() {
    let receiver = through([Answer::Close; 4]).await;
    assert_eq!(receiver.seen().len(), 6 + 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_receiver_refuses_is_behind_us_and_what_comes_after_it_arrives() {
    let receiver = through([Answer::Status(400), Answer::Status(422), Answer::Status(404)]).await;
    assert_eq!(receiver.seen().len(), 6, "nothing was sent twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_does_not_know_our_key_has_refused_no_event() {
    let receiver = through([Answer::Status(401), Answer::Status(403), Answer::Status(401)]).await;
    assert_eq!(receiver.seen().len(), 6 + 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_neither_followed_nor_taken_for_an_answer() {
    let receiver = through([Answer::Status(301), Answer::Status(307)]).await;
    assert_eq!(receiver.seen().len(), 6 + 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_down_and_comes_back_gets_everything() {
    let (mut stage, kept) = (Stage::new(), Kept::default());
    let mut receiver = Receiver::scripted([]).await;
    let running = stage.start("ramaiah", &receiver, &kept);
    stage.events("ramaiah", &["agent.one", "agent.two"], 10);
    stage.all_settled("ramaiah", &receiver).await;
    receiver.down().await;
    stage.events("ramaiah", &["agent.one", "agent.two", "agent.three"], 60);
    trouble(&running).await;
    let why = running.trouble.why();
    assert_eq!(why.as_deref(), Some("no connection, or it broke"));
    receiver.up().await;
    stage.all_settled("ramaiah", &receiver).await;
    stage.passed(&kept).await;
    assert_eq!(running.trouble.why(), None);
    running.stop().await;
}

/// Waits until the circuit is open.
async fn trouble(running: &crate::stage::Running) {
    let waiting = async {
        while running.trouble.why().is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the receiver's trouble is told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_does_not_wait_for_a_receiver_and_what_it_had_not_taken_comes_after_the_restart() {
    let (mut stage, kept) = (Stage::new(), Kept::default());
    let receiver = Receiver::start(|_| Answer::Hang).await;
    stage.events("ramaiah", &["agent.one", "agent.two"], 30);
    let first = stage.start_hurried("ramaiah", &receiver, &kept);
    trouble(&first).await;
    first.stop().await;
    assert_eq!(kept.total(), 0);
    receiver.instead(|_| Answer::Status(200));
    let second = stage.start("ramaiah", &receiver, &kept);
    stage.all_settled("ramaiah", &receiver).await;
    stage.passed(&kept).await;
    second.stop().await;
}
