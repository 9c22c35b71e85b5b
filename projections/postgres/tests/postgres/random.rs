//! Random histories: ties, late facts, repeats, decisions, any cut. The rows must be the fold's. Eight fixed seeds;
//! `HELIX_SEED=fresh` takes and prints a new one, `HELIX_SEED=<number>` replays one.

use helix_runtime::{NextOffset, Store as _};
use helix_schemas::{
    decision::Decision,
    fact::{AgentState, Body, CallParty, Fact, Unknown},
    id::FactId,
    names::LegId,
    time::ReceivedAt,
};
use rand::{RngExt as _, SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;
use uuid::Uuid;

use crate::story::{
    PARTITIONS, TOPIC, World, answered, at, decided, ended, fact, inbound, link, of, outbound, rang, state, summary,
};

const AGENTS: [&str; 3] = ["agent.one", "agent.two", "आशा"];
const CALLS: [&str; 8] = ["c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8"];

/// Two people, each written in several ways, and nobody.
const CALLERS: [Option<&str>; 7] = [
    None,
    Some("Anonymous"),
    Some("919000000001"),
    Some("9000000001"),
    Some("+91 90000-00001"),
    Some("09000000002"),
    Some("00919000000002"),
];

fn pick<T: Copy>(dice: &mut ChaCha8Rng, of: &[T]) -> T {
    of[dice.random_range(0..of.len())]
}

fn maybe<T>(dice: &mut ChaCha8Rng, value: T) -> Option<T> {
    dice.random_bool(0.5).then_some(value)
}

fn party(dice: &mut ChaCha8Rng) -> CallParty {
    let base = if dice.random_bool(0.6) { inbound() } else { outbound() };
    CallParty {
        direction: if dice.random_bool(0.9) { base.direction } else { None },
        caller: pick(dice, &CALLERS).map(str::to_owned),
        did: maybe(dice, "918040000001".to_owned()),
        skill: pick(dice, &[None, Some("front desk"), Some("a \"quoted\\\" {queue}, with NULL")]).map(str::to_owned),
        ..base
    }
}

fn summarised(dice: &mut ChaCha8Rng, seconds: i64, call: &str) -> Fact {
    let party = party(dice);
    let chain = (0..dice.random_range(0..4))
        .map(|_| {
            let mut link = link(pick(dice, &AGENTS));
            link.status = pick(dice, &[None, Some("answered"), Some("not_answered")]).map(str::to_owned);
            link
        })
        .collect();
    let answered = pick(dice, &[None, Some(true), Some(false)]);
    let (start, answer) = (maybe(dice, at(seconds)), maybe(dice, at(seconds + 7)));
    let last = seconds + dice.random_range(-2..30);
    let (end, lasted, hold) = (maybe(dice, at(last)), maybe(dice, 20), maybe(dice, 3));
    summary(seconds + 100, call, |said| {
        said.party = party;
        said.answered = answered;
        said.started_at = start;
        said.answered_at = answer;
        said.ended_at = end;
        said.call_seconds = lasted;
        said.hold_seconds = hold;
        said.agents = chain;
    })
}

fn any_decision(dice: &mut ChaCha8Rng, seconds: i64, before: &[Fact]) -> Fact {
    let decision = pick(dice, &Decision::ALL);
    let ground = (!before.is_empty()).then(|| before[dice.random_range(0..before.len())].clone());
    if decision.agent_state().is_some() {
        // Mostly on a fact of the agent's own, so that it may hold.
        let agent = ground.as_ref().and_then(|ground| ground.agent.as_ref());
        let agent = agent.map_or_else(|| AGENTS[0].to_owned(), ToString::to_string);
        let rests_on = ground.map_or_else(|| FactId::from_uuid(Uuid::nil()), |ground| ground.id);
        return decided(seconds, decision, Some(&agent), None, Some(rests_on));
    }
    let rests_on = (decision == Decision::CallPresumedEnded).then(|| FactId::from_uuid(Uuid::nil()));
    let agent = pick(dice, &AGENTS);
    let agent = maybe(dice, agent);
    decided(seconds, decision, agent, Some(pick(dice, &CALLS)), rests_on)
}

/// What people do about a missed call, taking and giving it back most of all.
fn wished(dice: &mut ChaCha8Rng, seconds: i64) -> Fact {
    let (claim, release) = (Decision::MissedCallClaimed, Decision::MissedCallReleased);
    let decision = pick(dice, &[claim, claim, release, release, Decision::MissedCallWaived]);
    decided(seconds, decision, None, Some(pick(dice, &CALLS)), None)
}

fn any_fact(dice: &mut ChaCha8Rng, before: &[Fact]) -> Fact {
    // A narrow day: equal seconds are common.
    let seconds = dice.random_range(0..90);
    let agent = pick(dice, &AGENTS);
    let call = pick(dice, &CALLS);
    let own = maybe(dice, agent);
    let mut told = match dice.random_range(0..15) {
        0..=4 => {
            let reason = pick(dice, &[None, None, Some("Lunch")]);
            let mut told = state(seconds, agent, pick(dice, &AgentState::ALL), reason);
            if let Body::AgentStateChanged(changed) = &mut told.body {
                changed.agent_name = maybe(dice, format!("Name {seconds}"));
                changed.mode = maybe(dice, "INBOUND".to_owned());
            }
            told
        }
        5 => {
            let body = Unknown { event: "agent".into(), word: "changeMode".into(), ..Unknown::default() };
            fact(seconds, Some(agent), None, Body::Unknown(body))
        }
        6..=7 => rang(seconds, call, own, party(dice)),
        8 => answered(seconds, call, own, party(dice)),
        9 => ended(seconds, call, own, party(dice)),
        10..=11 => any_decision(dice, seconds, before),
        12..=13 => wished(dice, seconds),
        _ => summarised(dice, seconds, call),
    };
    if told.call.is_some() && dice.random_bool(0.5) {
        told.leg = LegId::new(pick(dice, &["leg.1", "leg.2"])).ok();
    }
    let name = pick(dice, &["ramaiah", "ramaiah", "global"]);
    of(name, told)
}

pub fn history(dice: &mut ChaCha8Rng) -> Vec<Fact> {
    let mut facts: Vec<Fact> = Vec::new();
    for _ in 0..dice.random_range(40..200) {
        let mut fact = any_fact(dice, &facts);
        fact.received_at = ReceivedAt::from_micros(at(dice.random_range(0..60)).millis() * 1000);
        fact.id = FactId::from_uuid(Uuid::from_u128(dice.random()));
        facts.push(fact);
    }
    for _ in 0..facts.len() / 4 {
        let mut again = facts[dice.random_range(0..facts.len())].clone();
        again.received_at =
            ReceivedAt::from_micros(again.received_at.micros() + dice.random_range(-30..60) * 1_000_000);
        facts.push(again);
    }
    facts.shuffle(dice);
    facts
}

/// Applies the log in random batches; after each the rows are the fold's.
async fn in_random_cuts(world: &mut World, dice: &mut ChaCha8Rng) {
    loop {
        let mut batch = world.rest();
        if batch.is_empty() {
            return;
        }
        batch.slices.retain(|_| dice.random_bool(0.7));
        for slice in &mut batch.slices {
            slice.records.truncate(dice.random_range(1..=12));
            slice.to = NextOffset(slice.records.last().unwrap().offset.0 + 1);
        }
        if !batch.is_empty() {
            world.apply(&batch).await.unwrap();
            world.agrees_with_the_fold().await;
        }
    }
}

pub fn seeds() -> Vec<u64> {
    match std::env::var("HELIX_SEED").ok().as_deref() {
        Some("fresh") => vec![Uuid::new_v4().as_u64_pair().0],
        Some(seed) => vec![seed.parse().unwrap()],
        None => (0..8).collect(),
    }
}

#[tokio::test]
async fn random_histories_leave_the_rows_and_the_root_of_the_fold_whatever_the_cut() {
    for seed in seeds() {
        println!("seed {seed}");
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let facts = history(&mut dice);
        let mut world = World::new().await;
        world.append(facts);
        in_random_cuts(&mut world, &mut dice).await;
    }
}

#[tokio::test]
async fn a_log_that_is_read_twice_leaves_every_row_as_it_was() {
    for seed in seeds() {
        println!("seed {seed}");
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let facts = history(&mut dice);
        let mut world = World::new().await;
        world.tell(facts.clone()).await;
        let before = world.snapshot().await;
        world.tell(facts).await;
        let after = world.snapshot().await;
        assert_eq!(before.roots, after.roots);
        world.agrees_with_the_fold().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_that_work_different_partitions_at_once_leave_the_rows_of_the_fold() {
    for seed in seeds() {
        println!("seed {seed}");
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let facts = history(&mut dice);
        let mut world = World::new().await;
        world.append(facts);
        let mut running = Vec::new();
        for partition in 0..PARTITIONS {
            let (mut store, log) = (world.another_store(), world.log.clone());
            let step = dice.random_range(1..20);
            running.push(tokio::spawn(async move {
                let mut held = store.acquire(TOPIC, &[partition]).await.unwrap().remove(0);
                while held.next_offset < log.end(partition) {
                    let to = NextOffset((held.next_offset.0 + step).min(log.end(partition).0));
                    let slice = helix_runtime::Slice {
                        partition,
                        epoch: held.epoch,
                        from: held.next_offset,
                        to,
                        records: log.between(partition, held.next_offset, to),
                        parked: Vec::new(),
                    };
                    let batch = helix_runtime::Batch { topic: TOPIC.to_owned(), slices: vec![slice] };
                    store.apply(&batch).await.unwrap();
                    held.next_offset = to;
                }
            }));
        }
        for one in running {
            one.await.unwrap();
        }
        world.agrees_with_the_fold().await;
    }
}

#[tokio::test]
async fn removing_all_facts_of_one_workspace_leaves_the_root_of_the_other() {
    let mut dice = ChaCha8Rng::seed_from_u64(7);
    let mut both = World::new().await;
    both.tell(history(&mut dice)).await;
    let mut alone = World::new().await;
    alone.log = both.log.without("global");
    alone.drain().await;
    let (with, without) = (both.snapshot().await, alone.snapshot().await);
    assert!(with.roots["global"].rows > 0);
    assert!(!without.roots.contains_key("global"));
    assert!(with.roots["ramaiah"].rows > 0);
    assert_eq!(with.roots["ramaiah"], without.roots["ramaiah"]);
}
