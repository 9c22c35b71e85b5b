//! How long a million facts take: to write, and to read through each view.
//!
//! `cargo test -p helix-clickhouse --test clickhouse -- --ignored --exact --nocapture measure::a_million_facts`

use std::time::{Duration, Instant};

use helix_runtime::{Batch, NextOffset, Slice, Store as _};
use helix_schemas::{
    fact::{AgentState, Fact},
    topics,
};

use crate::story::{World, answered, at, ended, inbound, link, outbound, rang, state, summary};

const FACTS: usize = 1_000_000;
const BATCH: usize = 20_000;
const AGENTS: i64 = 200;

/// The eight facts of the nth call: every fifth is unanswered, every fourth outbound.
fn call(nth: i64) -> Vec<Fact> {
    let agent = format!("agent.{}", nth % AGENTS);
    let name = format!("8971{nth:012}");
    let begins = nth / AGENTS * 400 + nth % AGENTS;
    let party = || {
        let mut party = if nth % 4 == 0 { outbound() } else { inbound() };
        party.caller = Some(format!("9190{:08}", nth * 7 % 50_000));
        party.skill = Some("front desk".into());
        party
    };
    let talks = if nth % 5 == 0 { 0 } else { 60 + nth % 120 };
    let (answers, ends) = (begins + 8, begins + 8 + talks);
    let mut facts = vec![
        rang(begins, &name, Some(&agent), party()),
        state(begins, &agent, AgentState::Ringing, None),
        ended(ends, &name, Some(&agent), party()),
        state(ends, &agent, AgentState::WrapUp, None),
        state(ends + 20, &agent, AgentState::Ready, None),
        summary(ends + 5, &name, |said| {
            said.party = party();
            said.answered = Some(talks > 0);
            said.started_at = Some(at(begins));
            said.ended_at = Some(at(ends));
            said.agents = vec![link(&agent)];
            said.disposition = Some("Booked".into());
            said.recording_url = Some(format!("https://recordings.example/{name}"));
        }),
    ];
    if talks > 0 {
        facts.push(answered(answers, &name, Some(&agent), party()));
        facts.push(state(answers, &agent, AgentState::OnCall, None));
    }
    facts.iter_mut().for_each(|fact| fact.raw = vec![b'x'; 400]);
    facts
}

#[tokio::test]
#[ignore = "a measurement: minutes"]
async fn a_million_facts() {
    let mut world = World::new().await;
    let held = world.held[&0].clone();
    let mut facts = (0..).flat_map(call).take(FACTS);
    let mut next = 0;
    let mut writing = Duration::ZERO;
    loop {
        let records: Vec<_> =
            (next..).zip(facts.by_ref().take(BATCH)).map(|(offset, fact)| world.record(offset, &fact)).collect();
        let Some(last) = records.last() else { break };
        let to = last.offset.next();
        let slice = Slice { partition: 0, epoch: held.epoch, from: NextOffset(next), to, records, parked: Vec::new() };
        let batch = Batch { topic: topics::FACTS.to_owned(), slices: vec![slice] };
        let begun = Instant::now();
        world.store.apply(&batch).await.unwrap();
        writing += begun.elapsed();
        next = to.0;
    }
    println!("{FACTS} facts in batches of {BATCH}: {} facts/s", FACTS as u128 * 1000 / writing.as_millis());

    let mut visible = Vec::new();
    for fact in call(1_000_000).into_iter().cycle().take(50) {
        let slice = Slice {
            partition: 0,
            epoch: held.epoch,
            from: NextOffset(next),
            to: NextOffset(next + 1),
            records: vec![world.record(next, &fact)],
            parked: Vec::new(),
        };
        next += 1;
        let begun = Instant::now();
        world.store.apply(&Batch { topic: topics::FACTS.to_owned(), slices: vec![slice] }).await.unwrap();
        visible.push(begun.elapsed());
    }
    visible.sort();
    println!("one fact until it can be read: median {:?}, slowest of 50 {:?}", visible[25], visible[49]);

    for view in helix_clickhouse::WORKSPACE_VIEWS {
        let mut times = Vec::new();
        for _ in 0..3 {
            let begun = Instant::now();
            world.number(&format!("SELECT count() + sum(ignore(*)) FROM {{db}}.{view}")).await;
            times.push(begun.elapsed());
        }
        times.sort();
        println!("{view}: all of it, median of 3: {:?}", times[1]);
    }
    for one in ["calls WHERE call_id = '8971000000000777'", "agent_intervals WHERE agent_id = 'agent.7'"] {
        let begun = Instant::now();
        world.number(&format!("SELECT count() + sum(ignore(*)) FROM {{db}}.{one} AND workspace_id = 'ramaiah'")).await;
        println!("{one}: {:?}", begun.elapsed());
    }
}
