//! What a sidecar learned of the provider's silences, and the next one knows.

use std::time::{Duration, Instant};

use helix_runtime::{Lag, Store as _};
use serde_json::Value;

use crate::{
    client::World,
    stage::{Running, Stage, WORKSPACE},
    support::{Facts, Feeder, TestRedis},
};

/// Longer than a silence may be where nothing is learned, and less than three times as long.
const SILENCE: Duration = Duration::from_millis(5500);
/// Nothing here takes this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);
const KEY: &str = "helix:ramaiah:sidecar:silences";

/// Why the board is stale, while the projector is well; `None` before there is one.
async fn reasons(stage: &Stage, running: &Running, feeder: &mut Feeder) -> Option<Vec<String>> {
    feeder.store.beat(Some(Lag::default())).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let token = stage.token(WORKSPACE, helix_kit::auth::Role::Supervisor, None);
    let request = reqwest::Client::new().get(format!("{}/api/supervisor/board", running.url));
    let asked = request.bearer_auth(&token).send().await.unwrap();
    if !asked.status().is_success() {
        return None;
    }
    let board: Value = asked.json().await.unwrap();
    Some(serde_json::from_value(board["staleReasons"].clone()).unwrap())
}

/// Watches for some time in which the provider says nothing, from when all is known to be well but for that; whether the board
/// was told to be quiet.
async fn silence(stage: &Stage, running: &Running, feeder: &mut Feeder) -> bool {
    let is_well = |reasons: &Vec<String>| reasons.iter().all(|reason| reason == "quiet");
    let (begun, mut well) = (Instant::now(), 0);
    // Five looks in a row: a sidecar that has just started knows nothing of its links yet, and says nothing against them.
    while well < 5 {
        let is_well = reasons(stage, running, feeder).await.as_ref().is_some_and(is_well);
        well = if is_well { well + 1 } else { 0 };
        assert!(begun.elapsed() < PATIENCE, "the board is not well");
    }
    let (begun, mut was_quiet) = (Instant::now(), false);
    while begun.elapsed() < SILENCE {
        let told = reasons(stage, running, feeder).await.unwrap();
        assert!(is_well(&told), "{told:?}");
        was_quiet |= !told.is_empty();
    }
    was_quiet
}

/// Facts of which that of this second reaches us now: a sidecar that starts reads off the board when the provider was last heard.
fn facts_of_now(second: i64) -> Facts {
    let start = chrono::Utc::now().timestamp_millis() - second * 1000;
    Facts { start, delay: 0, ..Facts::of(WORKSPACE) }
}

async fn start(stage: &Stage) -> Running {
    stage.start(([127, 0, 0, 1], 0).into(), helix_sidecar::Extensions::default()).await
}

/// Until Redis has what was learned.
async fn until_kept(redis: &TestRedis) {
    let begun = Instant::now();
    while redis.command(&["EXISTS", KEY]).await != redis::Value::Int(1) {
        assert!(begun.elapsed() < PATIENCE, "it is not kept");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_usual_silence_is_not_told_after_a_restart_and_learned_again_where_redis_forgot_it() {
    let World { redis, stage, mut feeder, running, .. } = World::start().await;
    let mut second = 0;
    let mut hear = async |feeder: &mut Feeder| {
        second += 1;
        let fact = facts_of_now(second).answered("c1", "agent.one", second, "919845012345");
        feeder.feed(&[fact]).await.unwrap();
    };
    feeder.feed(&[facts_of_now(0).rang("c1", Some("agent.one"), 0, "919845012345")]).await.unwrap();
    assert!(silence(&stage, &running, &mut feeder).await, "nothing is learned yet");
    hear(&mut feeder).await;
    until_kept(&redis).await;
    let redis::Value::Int(ends) = redis.command(&["TTL", KEY]).await else { panic!("TTL is a number") };
    assert!((3000..=3600).contains(&ends), "{ends}");

    running.stop().await;
    let running = start(&stage).await;
    assert!(!silence(&stage, &running, &mut feeder).await, "what was learned is forgotten");

    running.stop().await;
    redis.command(&["DEL", KEY]).await;
    let running = start(&stage).await;
    assert!(silence(&stage, &running, &mut feeder).await, "nobody can know");
    hear(&mut feeder).await;
    until_kept(&redis).await;
    assert!(!silence(&stage, &running, &mut feeder).await, "it is not learned again");
    running.stop().await;
}
