//! What deltas may take of a Redis's memory.

use helix_fold::{board::Board, settings::Settings};
use helix_live::BoardReader;
use helix_schemas::fact::{AgentState, Fact};

use crate::support::{Facts, Feeder, Log, TestRedis, store};

const AGENTS: i64 = 100;

/// A batch that changes every agent: about 30 KB of a delta.
fn everybody(facts: &Facts, round: i64) -> Vec<Fact> {
    let state = [AgentState::Ready, AgentState::Paused][usize::try_from(round % 2).unwrap()];
    (0..AGENTS).map(|agent| facts.state(&format!("agent.{agent:03}"), round * 10, state, Some("so it is"))).collect()
}

async fn number(redis: &TestRedis, words: &[&str]) -> i64 {
    redis::from_redis_value(redis.command(words).await).unwrap()
}

const DELTAS: &str = "helix:ramaiah:live:deltas";

async fn feed(feeder: &mut Feeder, rounds: i64) -> Board {
    let facts = Facts::of("ramaiah");
    let mut expected = Board::new(facts.workspace.clone(), Settings::default());
    for round in 0..rounds {
        let batch = everybody(&facts, round);
        batch.iter().for_each(|fact| drop(expected.apply(fact)));
        feeder.feed(&batch).await.unwrap();
    }
    expected
}

#[tokio::test]
async fn the_deltas_of_a_replay_stay_within_their_bytes() {
    const MOST: i64 = 200_000;
    let redis = TestRedis::start();
    let store = store(&redis.url(), "ramaiah").keeping(usize::try_from(MOST).unwrap());
    let mut feeder = Feeder::acquire(store, Log::default()).await;
    feed(&mut feeder, 60).await;
    let written = number(&redis, &["HGET", "helix:ramaiah:live:meta", "deltaBytes"]).await;
    assert!(written > 5 * MOST, "{written} bytes are too few to prove anything");
    let kept = number(&redis, &["MEMORY", "USAGE", DELTAS, "SAMPLES", "0"]).await;
    let one = written / 60;
    assert!(kept > MOST / 2 && kept < MOST + 3 * one, "{kept} bytes are kept, of {MOST} and one delta of {one}");
    // Small ones are kept by their number.
    let large = number(&redis, &["XLEN", DELTAS]).await;
    let facts = Facts::of("ramaiah");
    for second in 1000..1100 {
        let state = [AgentState::Ready, AgentState::Paused][usize::try_from(second % 2).unwrap()];
        feeder.feed(&[facts.state("agent.000", second, state, None)]).await.unwrap();
    }
    let kept = number(&redis, &["XLEN", DELTAS]).await;
    assert!(kept >= 100 && kept <= 100 + large, "{kept} deltas, {large} of them large");
}

#[tokio::test]
async fn a_full_redis_makes_room_for_the_state_by_dropping_deltas() {
    const ROUNDS: i64 = 250;
    let redis = TestRedis::start_with(&["--maxmemory", "3mb", "--maxmemory-policy", "noeviction"]);
    let mut feeder = Feeder::acquire(store(&redis.url(), "ramaiah"), Log::default()).await;
    let expected = feed(&mut feeder, ROUNDS).await;
    assert_eq!(feeder.root(), expected.root().to_string());
    let written = number(&redis, &["HGET", "helix:ramaiah:live:meta", "deltaBytes"]).await;
    assert!(written > 3_500_000, "{written} bytes of deltas fit into the memory: nothing is proved");
    assert!(number(&redis, &["XLEN", DELTAS]).await < ROUNDS);
    let reader = BoardReader::new(&redis.url(), expected.workspace()).unwrap();
    assert!(reader.snapshot().await.unwrap().0.visible == *expected.visible());
    // Whoever comes after finds room as well.
    let again = Feeder::acquire(store(&redis.url(), "ramaiah"), feeder.log.clone()).await;
    assert_eq!(again.root(), expected.root().to_string());
}
