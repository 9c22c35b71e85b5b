//! A board that moves, without Kafka: a Redis and a Postgres of its own, librdkafka's mock cluster for a log, the stores fed
//! with invented facts, and the sidecar on port 4190 (or the first argument). Prints a sign-in and a link. There is no
//! ClickHouse: one call alone says so.
//!
//! `cargo run -p helix-sidecar --example dev_board [port] [agents]`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::wildcard_enum_match_arm)] // A tool of development.

#[path = "../tests/sidecar/hospital.rs"]
mod hospital;
#[allow(dead_code)]
#[path = "../../../projections/postgres/tests/postgres/server.rs"]
mod server;
#[path = "../tests/sidecar/stage.rs"]
mod stage;
#[path = "../../../projections/live/tests/support/mod.rs"]
mod support;

use std::time::Duration;

use chrono::Utc;
use helix_kit::{auth::Role, secret::Secret};
use helix_runtime::{Lag, Store};
use helix_schemas::fact::{AgentState, Fact};
use hospital::{Broker, Records};
use support::{Facts, Feeder, Log, TestRedis};

const PAUSES: [&str; 4] = ["lunch", "tea", "training", "signed_in"];

struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Every agent does one thing after another; calls come and go.
struct Day {
    facts: Facts,
    dice: Dice,
    agents: Vec<(String, i64, Doing)>,
    waiting: Vec<(String, String, i64)>,
    calls: u64,
}

enum Doing {
    Nothing,
    Ringing(String, String),
    Talking(String, String),
    WrappingUp,
}

impl Day {
    fn step(&mut self, now: i64) -> Vec<Fact> {
        let mut out = Vec::new();
        if self.dice.below(5) == 0 && self.waiting.len() < 6 {
            self.calls += 1;
            let call = format!("41{:014}", self.calls * 7919);
            let caller = format!("9198450{:05}", self.dice.below(100_000));
            out.push(self.facts.rang(&call, None, now, &caller));
            self.waiting.push((call, caller, now));
        }
        if let Some(place) = self.waiting.iter().position(|(_, _, since)| now - since > 45) {
            let (call, caller, _) = self.waiting.remove(place);
            out.push(self.facts.ended(&call, None, now, &caller));
        }
        for place in 0..self.agents.len() {
            let (agent, until, _) = &self.agents[place];
            if *until > now {
                continue;
            }
            let agent = agent.clone();
            let (next, doing) = self.next(place, &agent, now, &mut out);
            self.agents[place] = (agent, now + next, doing);
        }
        out
    }

    fn next(&mut self, place: usize, agent: &str, now: i64, out: &mut Vec<Fact>) -> (i64, Doing) {
        let doing = std::mem::replace(&mut self.agents[place].2, Doing::Nothing);
        match doing {
            Doing::Nothing if !self.waiting.is_empty() && self.dice.below(3) > 0 => {
                let (call, caller, _) = self.waiting.remove(0);
                out.push(self.facts.state(agent, now, AgentState::Ringing, None));
                out.push(self.facts.rang(&call, Some(agent), now, &caller));
                (3 + self.dice.below(8) as i64, Doing::Ringing(call, caller))
            }
            Doing::Nothing if self.dice.below(6) == 0 => {
                let reason = PAUSES[self.dice.below(4) as usize];
                out.push(self.facts.state(agent, now, AgentState::Paused, Some(reason)));
                (30 + self.dice.below(200) as i64, Doing::Nothing)
            }
            Doing::Nothing if self.dice.below(40) == 0 => {
                out.push(self.facts.state(agent, now, AgentState::Offline, None));
                (120, Doing::Nothing)
            }
            Doing::Nothing => {
                out.push(self.facts.state(agent, now, AgentState::Ready, None));
                (2 + self.dice.below(20) as i64, Doing::Nothing)
            }
            Doing::Ringing(call, caller) => {
                out.push(self.facts.state(agent, now, AgentState::OnCall, None));
                out.push(self.facts.answered(&call, agent, now, &caller));
                (20 + self.dice.below(180) as i64, Doing::Talking(call, caller))
            }
            Doing::Talking(call, caller) => {
                out.push(self.facts.state(agent, now, AgentState::WrapUp, None));
                out.push(self.facts.ended(&call, Some(agent), now, &caller));
                (10 + self.dice.below(40) as i64, Doing::WrappingUp)
            }
            Doing::WrappingUp => {
                out.push(self.facts.state(agent, now, AgentState::Ready, None));
                (2 + self.dice.below(10) as i64, Doing::Nothing)
            }
        }
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let port: u16 = std::env::args().nth(1).map_or(4190, |text| text.parse().unwrap());
    let agents: usize = std::env::args().nth(2).map_or(14, |text| text.parse().unwrap());
    let redis = TestRedis::start();
    let (broker, records) = (Broker::start().await, Records::empty().await);
    broker.project(records.pool.clone());
    let mut stage = stage::Stage::set(&redis.url()).await;
    stage.own().postgres_url = Secret::new(records.url());
    stage.config.log.brokers = broker.brokers();
    stage.config.registry.url = broker.registry_url.clone();
    stage.config.clickhouse.url = "http://127.0.0.1:9".to_owned();
    let mut feeder = Feeder::acquire(support::store(&redis.url(), stage::WORKSPACE), Log::default()).await;
    let start = Utc::now().timestamp_millis() - 3_600_000;
    let facts = Facts { start, delay: 0, ..Facts::of(stage::WORKSPACE) };
    let names = ["asha.rao", "vikram.s", "meena.k", "john.d", "fatima.b", "ravi.n", "lakshmi.p", "arjun.m"];
    let agents = (0..agents).map(|index| {
        let name = names[index % names.len()];
        let name = if index < names.len() { name.to_owned() } else { format!("{name}{}", index / names.len() + 1) };
        (name, 0, Doing::Nothing)
    });
    let mut day = Day { facts, dice: Dice(42), agents: agents.collect(), waiting: Vec::new(), calls: 0 };
    let past: Vec<Fact> = (0..3600).flat_map(|second| day.step(second)).collect();
    feeder.feed(&past).await.unwrap();
    broker.append(&past).await;
    let running = stage.start(([127, 0, 0, 1], port).into(), helix_sidecar::Extensions::default()).await;
    println!("{}/  supervisor@ramaiah.example / {}", running.url, stage::PASSWORD);
    for role in [Role::Supervisor, Role::Analyst, Role::Agent] {
        println!("{}: {}/#token={}", role.as_str(), running.url, stage.token(stage::WORKSPACE, role, Some("asha.rao")));
    }
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        let second = (Utc::now().timestamp_millis() - start) / 1000;
        let facts = day.step(second);
        feeder.feed(&facts).await.unwrap();
        broker.append(&facts).await;
        feeder.store.beat(Some(Lag::default())).await.unwrap();
    }
}
