//! Order per agent, and nobody waits for anybody else.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::{
    progress::Kept,
    receiver::{Answer, Receiver},
    stage::Stage,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workspace_is_served_while_the_receiver_of_another_hangs() {
    let mut stage = Stage::new();
    let hanging = Arc::new(AtomicBool::new(true));
    let hangs = hanging.clone();
    let stuck =
        Receiver::start(move |_| if hangs.load(Ordering::Relaxed) { Answer::Hang } else { Answer::Status(204) }).await;
    let healthy = Receiver::scripted([]).await;
    stage.events("ramaiah", &["agent.one", "agent.two"], 40);
    stage.events("global", &["rekha.cc", "ganesh.cc"], 40);
    let first = stage.start_hurried("ramaiah", &stuck, &Kept::default());
    stuck.until("the first workspace hangs", |seen| !seen.is_empty()).await;
    let second = stage.start("global", &healthy, &Kept::default());
    stage.all_settled("global", &healthy).await;
    stage.events("global", &["rekha.cc"], 10);
    stage.all_settled("global", &healthy).await;
    assert!(stuck.seen().iter().all(|seen| !seen.settled()), "the first hangs still");
    hanging.store(false, Ordering::Relaxed);
    stage.all_settled("ramaiah", &stuck).await;
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_receiver_does_each_agents_events_arrive_in_order_and_none_again_once_answered() {
    for seed in [1, 2] {
        println!("seed {seed}");
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let mut answers = ChaCha8Rng::seed_from_u64(dice.next_u64());
        let mut receiver = Receiver::start(move |_| match answers.random_range(0..20) {
            0 => Answer::Close,
            1 => Answer::Hang,
            2 => Answer::Status(500),
            3 => Answer::Status(503),
            4 => Answer::Status(408),
            5 => Answer::Status(302),
            6 => Answer::Status(401),
            7 => Answer::Status(422),
            _ => Answer::Status(202),
        })
        .await;
        let (mut stage, kept) = (Stage::new(), Kept::default());
        let mut running = stage.start_hurried("ramaiah", &receiver, &kept);
        for _ in 0..4 {
            let agents = ["a", "b", "c", "d", "e"];
            stage.events("ramaiah", &agents[..dice.random_range(1..=agents.len())], dice.random_range(1..40));
            match dice.random_range(0..3) {
                0 => {
                    receiver.down().await;
                    receiver.up().await;
                }
                1 => {
                    stage.all_settled("ramaiah", &receiver).await;
                    stage.passed(&kept).await;
                    running.stop().await;
                    running = stage.start_hurried("ramaiah", &receiver, &kept);
                }
                _ => {}
            }
        }
        stage.all_settled("ramaiah", &receiver).await;
        stage.passed(&kept).await;
        running.stop().await;
    }
}
