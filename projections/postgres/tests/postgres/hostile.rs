//! Random histories as nobody would send them on purpose: odd texts and settings, two bodies under one id, long histories of one
//! agent, moments decades apart and restarts that empty the memory. The rows must be the fold's after every batch. Few fixed
//! seeds; `HELIX_SEED=fresh` takes and prints a new one, `HELIX_SEED=<number>` replays one.

use std::collections::BTreeMap;

use helix_fold::{
    settings::{Settings, Tz},
    workspace::WorkspaceFold,
};
use helix_postgres::{AllSettings, GenerationError, ParkedFilter, check_books, parked};
use helix_runtime::{Batch, Cause, NextOffset, Parked, Slice, Store as _};
use helix_schemas::{
    decision::Decision,
    fact::{AgentState, Body, CallParty, Fact},
    id::FactId,
    names::{LegId, WorkspaceId},
    scope::Scope,
    time::{OccurredAt, ReceivedAt},
};
use rand::{RngExt as _, SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;
use uuid::Uuid;

use crate::story::{
    EPOCH_MILLIS, PARTITIONS, TOPIC, World, answered, at, decided, ended, inbound, link, of, outbound, rang, same_rows,
    state, summary, workspace,
};

const TEXTS: [&str; 15] = [
    "",
    " ",
    "0",
    "00",
    "0000000000",
    "91",
    "९८७६५",
    "9000000001",
    "+919000000001",
    "009000000001",
    "a\"b\\c{},NULL",
    "\u{feff}",
    "x'--",
    "\u{202e}",
    "Ünï 9000000001 ",
];

fn pick<T: Copy>(dice: &mut ChaCha8Rng, of: &[T]) -> T {
    of[dice.random_range(0..of.len())]
}

fn seeds(most: u64) -> Vec<u64> {
    match std::env::var("HELIX_SEED").ok().as_deref() {
        Some("fresh") => vec![Uuid::new_v4().as_u64_pair().0],
        Some(seed) => vec![seed.parse().unwrap()],
        None => (0..most).collect(),
    }
}

/// What a history is made of.
struct Taste {
    /// A quarter of the facts happened at one of these.
    moments: &'static [i64],
    agents: &'static [&'static str],
    calls: usize,
    /// Seconds in which the others happened.
    span: i64,
    facts: usize,
    /// Whether an id may come with another body.
    twins: bool,
}

const PLAIN: Taste = Taste { moments: &[], agents: &["agent.one", "b"], calls: 6, span: 90, facts: 120, twins: false };

impl Taste {
    fn party(dice: &mut ChaCha8Rng) -> CallParty {
        let text = |dice: &mut ChaCha8Rng, likely| dice.random_bool(likely).then(|| pick(dice, &TEXTS).to_owned());
        let base = if dice.random_bool(0.5) { inbound() } else { outbound() };
        CallParty {
            direction: base.direction.filter(|_| dice.random_bool(0.8)),
            caller: text(dice, 0.7),
            did: text(dice, 0.3),
            skill: text(dice, 0.5),
            campaign: text(dice, 0.2),
            ..base
        }
    }

    fn agents_state(dice: &mut ChaCha8Rng, seconds: i64, agent: &str) -> Fact {
        let reason = dice.random_bool(0.4).then(|| pick(dice, &["Lunch", "", "wrap_up_expired", "presumed"]));
        let mut told = state(seconds, agent, pick(dice, &AgentState::ALL), reason);
        if let Body::AgentStateChanged(changed) = &mut told.body {
            changed.agent_name = dice.random_bool(0.3).then(|| pick(dice, &TEXTS).to_owned());
        }
        told
    }

    /// A decision that rests on any earlier fact, or on none there is.
    fn decision(&self, dice: &mut ChaCha8Rng, seconds: i64, call: &str, before: &[Fact]) -> Fact {
        let decision = pick(dice, &Decision::ALL);
        let nothing = FactId::from_uuid(Uuid::nil());
        if decision.agent_state().is_none() {
            let rests_on = (decision == Decision::CallPresumedEnded).then_some(nothing);
            return decided(seconds, decision, Some(self.agents[0]), Some(call), rests_on);
        }
        let ground = (!before.is_empty()).then(|| &before[dice.random_range(0..before.len())]);
        let agent = ground.and_then(|ground| ground.agent.as_ref());
        let agent = agent.map_or_else(|| self.agents[0].to_owned(), ToString::to_string);
        decided(seconds, decision, Some(&agent), None, Some(ground.map_or(nothing, |ground| ground.id)))
    }

    /// What a person does about a call; a release may name a claim.
    fn wish(dice: &mut ChaCha8Rng, seconds: i64, call: &str, before: &[Fact]) -> Fact {
        let wishes = [
            Decision::MissedCallClaimed,
            Decision::MissedCallReleased,
            Decision::MissedCallReleased,
            Decision::MissedCallWaived,
        ];
        let decision = pick(dice, &wishes);
        let mut told = decided(seconds, decision, None, Some(call), None);
        let Body::Decided(body) = &mut told.body else { return told };
        if decision == Decision::MissedCallReleased && dice.random_bool(0.7) {
            let is_claim =
                |fact: &&Fact| matches!(&fact.body, Body::Decided(told) if told.decision == "MissedCallClaimed");
            let claims: Vec<i64> = before.iter().filter(is_claim).map(|fact| fact.occurred_at.millis()).collect();
            let nonsense = claims.is_empty() || dice.random_bool(0.1);
            let claim = if nonsense { "no moment".to_owned() } else { pick(dice, &claims).to_string() };
            body.attributes.insert("claimed_at".to_owned(), claim);
        }
        if dice.random_bool(0.1) {
            body.attributes.insert("by".to_owned(), String::new());
        }
        told
    }

    fn summarised(&self, dice: &mut ChaCha8Rng, seconds: i64, call: &str) -> Fact {
        let statuses = [None, Some("answered"), Some("Not Answered"), Some("NotDialed"), Some("?")];
        let mut chain = Vec::new();
        for _ in 0..dice.random_range(0..5) {
            let mut one = link(pick(dice, self.agents));
            one.status = pick(dice, &statuses).map(str::to_owned);
            chain.push(one);
        }
        let party = Self::party(dice);
        summary(seconds + 100, call, |said| {
            let mut moment = || dice.random_bool(0.5).then(|| at(seconds + dice.random_range(-20..40)));
            (said.started_at, said.answered_at, said.ended_at) = (moment(), moment(), moment());
            let lasted = pick(dice, &[None, Some(i32::MIN), Some(-1), Some(0), Some(20), Some(i32::MAX)]);
            (said.call_seconds, said.talk_seconds) = (lasted, lasted);
            (said.hold_seconds, said.wrap_up_seconds) = (lasted, lasted);
            said.answered = pick(dice, &[None, Some(true), Some(false)]);
            said.disposition = pick(dice, &[None, Some("Spam"), Some("Booked")]).map(str::to_owned);
            said.dial_status = Some("x -> answered".to_owned());
            (said.party, said.agents) = (party, chain);
        })
    }

    fn fact(&self, dice: &mut ChaCha8Rng, before: &[Fact]) -> Fact {
        let seconds = dice.random_range(0..self.span);
        let agent = pick(dice, self.agents);
        let own = dice.random_bool(0.6).then_some(agent);
        let call = format!("c{}", dice.random_range(0..self.calls));
        let mut told = match dice.random_range(0..16) {
            0..=4 => Self::agents_state(dice, seconds, agent),
            5..=6 => rang(seconds, &call, own, Self::party(dice)),
            7 => answered(seconds, &call, own, Self::party(dice)),
            8..=9 => ended(seconds, &call, own, Self::party(dice)),
            10..=11 => self.decision(dice, seconds, &call, before),
            12..=13 => Self::wish(dice, seconds, &call, before),
            _ => self.summarised(dice, seconds, &call),
        };
        if told.call.is_some() && dice.random_bool(0.5) {
            told.leg = LegId::new(pick(dice, &["l1", "l2", "L1"])).ok();
        }
        if !self.moments.is_empty() && dice.random_bool(0.25) {
            told.occurred_at = OccurredAt::from_millis(pick(dice, self.moments));
        } else if dice.random_bool(0.3) {
            told.occurred_at = OccurredAt::from_millis(told.occurred_at.millis() + dice.random_range(-3..4));
        }
        told.received_at = ReceivedAt::from_micros(at(dice.random_range(0..60)).millis() * 1000);
        told.id = FactId::from_uuid(Uuid::from_u128(dice.random()));
        told
    }

    fn history(&self, dice: &mut ChaCha8Rng) -> Vec<Fact> {
        let mut facts: Vec<Fact> = Vec::new();
        for _ in 0..self.facts {
            let told = self.fact(dice, &facts);
            let mut told = of(pick(dice, &["ramaiah", "ramaiah", "global"]), told);
            let is_twin = |fact: &&Fact| fact.agent == told.agent && fact.workspace == told.workspace;
            let twins: Vec<FactId> = facts.iter().filter(is_twin).map(|fact| fact.id).collect();
            if self.twins && !twins.is_empty() && dice.random_bool(0.1) {
                told.id = pick(dice, &twins);
            }
            facts.push(told);
        }
        for _ in 0..facts.len() / 4 {
            facts.push(facts[dice.random_range(0..facts.len())].clone());
        }
        facts.shuffle(dice);
        facts
    }
}

fn any_settings(dice: &mut ChaCha8Rng) -> AllSettings {
    let mut all = AllSettings::default();
    let zones = [Tz::Asia__Kolkata, Tz::America__New_York, Tz::Pacific__Apia, Tz::Africa__Cairo, Tz::UTC];
    for name in ["ramaiah", "global"] {
        let mut settings = Settings { zone: pick(dice, &zones), ..Settings::default() };
        settings.short_abandon_seconds = pick(dice, &[0, 10, 1000]);
        settings.country_code = pick(dice, &["91", "", "1"]).to_owned();
        settings.rules.attempts = pick(dice, &[0, 1, 2, 3]);
        settings.rules.priority.repeat_window_seconds = pick(dice, &[0, 10, 86_400]);
        settings.rules.due_after_seconds = pick(dice, &[0, 600]);
        settings.rules.spam_dispositions = pick(dice, &[None, Some("Spam")]).into_iter().map(str::to_owned).collect();
        all.0.insert(workspace(name), settings);
    }
    all
}

async fn world(dice: &mut ChaCha8Rng) -> World {
    let mut world = World::new().await;
    world.settings = any_settings(dice);
    world.store = world.another_store();
    world.acquire().await;
    world
}

/// In random batches, with a restart now and then.
async fn agrees_whatever_the_cut(taste: &Taste, most_seeds: u64) {
    for seed in seeds(most_seeds) {
        println!("seed {seed}");
        let dice = &mut ChaCha8Rng::seed_from_u64(seed);
        let mut world = world(dice).await;
        world.append(taste.history(dice));
        let most = pick(dice, &[3_usize, 12, 60]);
        loop {
            let mut batch = world.rest();
            if batch.is_empty() {
                break;
            }
            batch.slices.retain(|_| dice.random_bool(0.6));
            for slice in &mut batch.slices {
                slice.records.truncate(dice.random_range(1..=most));
                slice.to = slice.records.last().unwrap().offset.next();
            }
            if batch.is_empty() {
                continue;
            }
            world.apply(&batch).await.unwrap();
            if dice.random_bool(0.1) {
                world.acquire().await;
            }
            world.agrees_with_the_fold().await;
            let check = check_books(&world.pool, &world.settings, None).await.unwrap();
            assert_eq!(check.differences(), 0, "{check:?}");
        }
    }
}

#[tokio::test]
async fn odd_texts_and_settings_leave_the_rows_of_the_fold() {
    let taste = Taste { agents: &["agent.one", "Agent.one", "\"q\\{}"], ..PLAIN };
    agrees_whatever_the_cut(&taste, 3).await;
}

#[tokio::test]
async fn a_long_history_of_one_agent_leaves_the_rows_of_the_fold() {
    let taste = Taste { agents: &["agent.one"], calls: 10, span: 3_000, facts: 400, ..PLAIN };
    agrees_whatever_the_cut(&taste, 2).await;
}

#[tokio::test]
async fn an_id_that_comes_with_two_bodies_leaves_the_rows_of_the_fold() {
    agrees_whatever_the_cut(&Taste { twins: true, ..PLAIN }, 3).await;
}

#[tokio::test]
async fn moments_decades_apart_and_ends_of_days_leave_the_rows_of_the_fold() {
    let moments = &[
        946_684_800_000,
        946_684_799_999,
        4_133_980_799_999,
        1_759_948_199_999,
        1_759_948_200_000,
        1_762_063_200_000,
        1_762_066_800_000,
        1_741_503_600_000,
        EPOCH_MILLIS,
    ];
    agrees_whatever_the_cut(&Taste { moments, ..PLAIN }, 3).await;
}

/// As [`World::agrees_with_the_fold`], without what is parked.
async fn agrees(world: &World) {
    let stored = world.snapshot().await;
    let mut folds: BTreeMap<WorkspaceId, WorkspaceFold> = BTreeMap::new();
    for partition in 0..PARTITIONS {
        let until = NextOffset(stored.progress.get(&partition).copied().unwrap_or(0));
        for record in world.log.between(partition, NextOffset(0), until) {
            if stored.parked.contains(&(partition, record.offset.0)) {
                continue;
            }
            let fact = world.codec.decode(&record.value).unwrap();
            let new = || WorkspaceFold::new(fact.workspace.clone(), world.settings.of(&fact.workspace));
            folds.entry(fact.workspace.clone()).or_insert_with(new).apply(&fact, record.offset.0);
        }
    }
    for (workspace, fold) in &folds {
        let rows = &fold.rows();
        same_rows(&stored.rows.get(workspace).cloned().unwrap_or_default(), rows);
        let root = stored.roots.get(workspace.as_str()).copied().unwrap_or_default();
        assert_eq!(root.root, rows.root(), "root of {workspace}");
        assert_eq!(root.rows, i64::try_from(rows.len()).unwrap(), "row count of {workspace}");
    }
}

/// What is parked already stays behind, and now and then a fact is parked.
fn park_some(world: &World, dice: &mut ChaCha8Rng, slice: &mut Slice) {
    let mut firsts = world.held[&slice.partition].parked.clone();
    for record in std::mem::take(&mut slice.records) {
        let behind = firsts.get(&record.key).map(|first| Cause::Behind(*first));
        match behind.or_else(|| dice.random_bool(0.03).then(|| Cause::Poison("dice".to_owned()))) {
            Some(cause) => {
                firsts.entry(record.key.clone()).or_insert(record.offset);
                slice.parked.push(Parked { offset: record.offset, key: record.key, cause });
            }
            None => slice.records.push(record),
        }
    }
}

async fn apply_and_park(world: &mut World, dice: &mut ChaCha8Rng) {
    world.acquire().await;
    let mut batch = world.rest();
    if !batch.is_empty() {
        for slice in &mut batch.slices {
            park_some(world, dice, slice);
        }
        world.apply(&batch).await.unwrap();
    }
}

async fn unpark_one(world: &mut World, dry_run: bool) {
    let filter = ParkedFilter { projection: Some("postgres".into()), ..ParkedFilter::default() };
    let listed = parked(&world.pool, &filter).await.unwrap();
    let Some(first) = listed.first() else { return };
    let key = first.parked.key.clone();
    let of_key = listed.iter().filter(|entry| entry.parked.key == key);
    let record = |partition, offset: helix_runtime::Offset| {
        let lies = world.log.between(partition, NextOffset(offset.0), offset.next());
        (partition, lies[0].clone())
    };
    let records = of_key.map(|entry| record(entry.partition, entry.parked.offset)).collect();
    world.store.unpark(TOPIC, &key, records, dry_run).await.unwrap();
}

/// One of the things that a person does with generations; what cannot be done at that point is refused.
async fn generation_step(world: &World, dice: &mut ChaCha8Rng) {
    let generations = world.generations();
    match dice.random_range(0..5) {
        0 => {
            let scope = match dice.random_range(0..3) {
                0 => Scope::All,
                1 => Scope::Workspace(workspace("ramaiah")),
                _ => Scope::Workspace(workspace("global")),
            };
            drop(generations.begin(&scope).await);
        }
        1 => drop(generations.fill(TOPIC, &mut world.log.clone(), &mut |_, _| (), &|| false).await),
        2..=3 => match generations.cut_over(TOPIC, &mut world.log.clone()).await {
            Ok(_) | Err(GenerationError::NoStandby) => {}
            Err(error) => panic!("{error}"),
        },
        _ => drop(generations.discard().await),
    }
}

#[tokio::test]
async fn parking_and_generations_in_any_order_leave_the_rows_of_the_fold() {
    for seed in seeds(3) {
        println!("seed {seed}");
        let dice = &mut ChaCha8Rng::seed_from_u64(seed);
        let taste = Taste { agents: &["agent.one", "b", "c d"], calls: 8, span: 200, facts: 150, ..PLAIN };
        let mut world = world(dice).await;
        let mut waiting = taste.history(dice);
        for _ in 0..40 {
            match dice.random_range(0..10) {
                0..=3 => {
                    let some = waiting.len().min(dice.random_range(1..15));
                    world.append(waiting.drain(..some));
                    apply_and_park(&mut world, dice).await;
                }
                4 => {
                    let dry_run = dice.random_bool(0.3);
                    unpark_one(&mut world, dry_run).await;
                }
                _ => generation_step(&world, dice).await,
            }
            agrees(&world).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_that_share_agents_and_calls_and_often_restart_leave_the_rows_of_the_fold() {
    for seed in seeds(3) {
        println!("seed {seed}");
        let dice = &mut ChaCha8Rng::seed_from_u64(seed);
        let taste = Taste {
            agents: &["agent.one", "b", "c d", "e", "f"],
            calls: 5,
            span: 120,
            facts: 300,
            twins: true,
            ..PLAIN
        };
        let mut world = world(dice).await;
        world.append(taste.history(dice));
        let mut running = Vec::new();
        for partition in 0..PARTITIONS {
            let (mut store, log, step) = (world.another_store(), world.log.clone(), dice.random_range(1..15));
            running.push(tokio::spawn(async move {
                let mut held = store.acquire(TOPIC, &[partition]).await.unwrap().remove(0);
                for turn in 1.. {
                    let from = held.next_offset;
                    let to = NextOffset((from.0 + step).min(log.end(partition).0));
                    if from == to {
                        return;
                    }
                    let records = log.between(partition, from, to);
                    let slice = Slice { partition, epoch: held.epoch, from, to, records, parked: Vec::new() };
                    store.apply(&Batch { topic: TOPIC.to_owned(), slices: vec![slice] }).await.unwrap();
                    held.next_offset = to;
                    if turn % 7 == 0 {
                        held = store.acquire(TOPIC, &[partition]).await.unwrap().remove(0);
                    }
                }
            }));
        }
        for one in running {
            one.await.unwrap();
        }
        agrees(&world).await;
    }
}
