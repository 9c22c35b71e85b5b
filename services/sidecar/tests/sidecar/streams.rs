//! The event stream: whole, in order, resumable; its slow clients ended and never skipped.

use std::time::{Duration, Instant};

use helix_kit::auth::Role;
use helix_runtime::{Lag, Store};
use helix_schemas::fact::AgentState;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    client::{Copy, Lateness, World},
    stage::WORKSPACE,
    support::{Feeder, Log, store},
};

#[tokio::test]
async fn every_kind_of_viewer_proves_its_copy_through_snapshot_and_deltas() {
    let mut world = World::start().await;
    let facts = world.facts.clone();
    let mut viewers = Vec::new();
    for (role, agent) in [(Role::Supervisor, None), (Role::Analyst, None), (Role::Agent, Some("agent.one"))] {
        let mut events = world.events(&world.stage.token(WORKSPACE, role, agent), None).await;
        let snapshot = events.next().await.unwrap();
        assert_eq!(snapshot.name, "snapshot");
        viewers.push((role, Copy::of(&snapshot.data), events));
    }
    let number = "919845012345";
    for (at, agent) in [(0, "agent.one"), (60, "agent.two"), (120, "agent.one")] {
        let call = format!("c{at}");
        world.feeder.feed(&[facts.rang(&call, None, at, number)]).await.unwrap();
        world.feeder.feed(&[facts.state(agent, at + 2, AgentState::Ringing, None)]).await.unwrap();
        world.feeder.feed(&[facts.rang(&call, Some(agent), at + 2, number)]).await.unwrap();
        // Handed on: no longer the first agent's.
        world.feeder.feed(&[facts.answered(&call, "agent.two", at + 5, number)]).await.unwrap();
        world.feeder.feed(&[facts.ended(&call, Some("agent.two"), at + 9, number)]).await.unwrap();
    }
    for (role, copy, events) in &mut viewers {
        loop {
            let event = events.next().await.unwrap();
            if event.name == "delta" {
                assert!(*role == Role::Supervisor || !event.data.to_string().contains(number));
                copy.apply(&event.data);
                if event.data["version"] == 15 {
                    break;
                }
            }
        }
        if *role == Role::Supervisor {
            assert_eq!(copy.0.root().to_string(), world.feeder.root());
        }
    }
}

#[tokio::test]
async fn a_client_that_comes_back_is_sent_exactly_what_it_missed() {
    let mut world = World::start().await;
    let facts = world.facts.clone();
    let token = world.supervisor();
    let mut events = world.events(&token, None).await;
    let mut copy = Copy::of(&events.next_named("snapshot").await.data);
    world.feeder.feed(&[facts.state("agent.one", 1, AgentState::Ready, None)]).await.unwrap();
    let seen = events.next_named("delta").await;
    copy.apply(&seen.data);
    drop(events);
    for second in 2..12 {
        world.feeder.feed(&[facts.rang(&format!("c{second}"), None, second, "1")]).await.unwrap();
    }
    // Another client shows that the sidecar has read all of it.
    let mut other = world.events(&token, None).await;
    while other.next().await.unwrap().data["version"] != 11 {}
    let mut events = world.events(&token, Some(&seen.id)).await;
    for version in 2..=11 {
        let event = events.next().await.unwrap();
        assert_eq!((event.name.as_str(), event.data["version"].as_u64()), ("delta", Some(version)));
        copy.apply(&event.data);
    }
    let beat = events.next().await.unwrap();
    assert_eq!(beat.name, "heartbeat");
    for unknown in ["nonsense", "0123-4", &beat.id.replace("-11", "-99")] {
        assert_eq!(world.events(&token, Some(unknown)).await.next().await.unwrap().name, "snapshot", "{unknown}");
    }
}

#[tokio::test]
async fn a_wiped_redis_gives_every_client_a_new_snapshot() {
    let mut world = World::start().await;
    let facts = world.facts.clone();
    world.feeder.feed(&[facts.state("agent.one", 1, AgentState::Ready, None)]).await.unwrap();
    let token = world.supervisor();
    let mut events = world.events(&token, None).await;
    let first = events.next_named("snapshot").await;
    let mut own = world.events(&world.stage.token(WORKSPACE, Role::Agent, Some("agent.two")), None).await;
    assert_eq!(own.next_named("snapshot").await.data["agents"], serde_json::json!([]));
    world.redis.command(&["FLUSHALL"]).await;
    let mut again = Feeder::acquire(store(&world.redis.url(), WORKSPACE), Log::default()).await;
    again.feed(&[facts.state("agent.two", 1, AgentState::Ready, None)]).await.unwrap();
    // Until a pulse says that the new board has been at the log's end, the one before is shown.
    let snapshot = loop {
        let event = events.next().await.unwrap();
        if event.name == "snapshot" {
            break event;
        }
        again.store.beat(Some(Lag::default())).await.unwrap();
    };
    assert_eq!(snapshot.data["agents"][0]["agentId"], "agent.two");
    assert_ne!(first.id.split('-').next(), snapshot.id.split('-').next());
    let mut copy = Copy::of(&own.next_named("snapshot").await.data);
    again.feed(&[facts.state("agent.two", 5, AgentState::Paused, None)]).await.unwrap();
    copy.apply(&own.next_named("delta").await.data);
}

#[tokio::test]
async fn a_stream_ends_when_its_token_does() {
    let world = World::start().await;
    let begun = Instant::now();
    // Long enough to come in with it on a busy machine. A token lasts until a whole second.
    let token = world.stage.token_for(WORKSPACE, Role::Supervisor, None, Duration::from_secs(6));
    let mut events = world.events(&token, None).await;
    let lateness = Lateness::watch();
    while events.next().await.is_some() {}
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(5), "{took:?}");
    assert!(took < Duration::from_secs(8) + lateness.so_far(), "{took:?}");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_ended_while_others_miss_nothing() {
    let mut world = World::start().await;
    let facts = world.facts.clone();
    let token = world.supervisor();
    let slow = tokio::net::TcpSocket::new_v4().unwrap();
    slow.set_recv_buffer_size(16 * 1024).unwrap();
    let mut slow = slow.connect(world.running.address).await.unwrap();
    let request = format!(
        "GET /api/supervisor/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    );
    slow.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0_u8; 64];
    slow.read_exact(&mut head).await.unwrap();
    let mut good = world.events(&token, None).await;
    let mut copy = Copy::of(&good.next_named("snapshot").await.data);
    // More than sockets buffer and more frames than the broadcast holds, in big deltas.
    let rounds = 2200_i64;
    let reader = tokio::spawn(async move {
        let mut version = 0;
        while version < rounds as u64 {
            let event = good.next().await.expect("the good client was ended");
            if event.name == "delta" {
                copy.apply(&event.data);
                assert_eq!(event.data["version"], version + 1);
                version += 1;
            }
        }
    });
    for round in 0..rounds {
        let batch: Vec<_> = (0..40)
            .map(|agent| {
                facts.state(&format!("agent.{agent}"), round + 1, AgentState::Paused, Some(&format!("{round}")))
            })
            .collect();
        world.feeder.feed(&batch).await.unwrap();
    }
    tokio::time::timeout(Duration::from_secs(180), reader).await.unwrap().unwrap();
    // What was on its way may still be read; then the end comes, long before everything was sent.
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(120), slow.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the slow client is still connected");
    assert!(!String::from_utf8_lossy(&rest).contains(&format!("\"version\":{rounds},")), "it was not slow");
}

#[tokio::test]
async fn a_sidecar_that_stops_ends_its_streams_at_once() {
    let world = World::start().await;
    let mut events = world.events(&world.supervisor(), None).await;
    events.next_named("snapshot").await;
    let begun = Instant::now();
    // It waits a little for what is to be written down; streams do not wait for that.
    let stopping = tokio::spawn(world.running.stop());
    while events.next().await.is_some() {}
    let took = begun.elapsed();
    assert!(took < helix_kit::http::Limits::default().drain / 2, "they are waited for: {took:?}");
    stopping.await.unwrap();
}
