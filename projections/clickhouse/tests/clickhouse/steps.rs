//! Hand-driven interleavings: an instance or an operator is held at each of its questions to ClickHouse in turn, on either side
//! of it, while others work; or dies there.

use std::collections::{BTreeMap, BTreeSet};

use helix_clickhouse::{ClickHouseStore, GenerationError, Generations, Options, parked};
use helix_runtime::{Batch, Cause, Parked, Position, Slice, Store as _, StoreError, fill::StandbyState};
use helix_schemas::{fact::AgentState, registry::Registry, scope::Scope};
use rand::RngExt as _;

use crate::{
    gate::Gate,
    generations::{Log, TOPIC, both_scopes, generations, has_all, quiet, reached, story},
    story::{World, state},
};

/// No work asks more questions than this.
const MOST: usize = 400;
const ALL: [i32; 3] = [0, 1, 2];
/// Of long work one question in so many is tried, beginning with a draw.
const STRIDE: usize = 11;
/// The one that is parked.
const KEY: &str = "ramaiah/agent.one";

fn some_questions() -> impl Iterator<Item = usize> {
    let first = rand::rng().random_range(0..STRIDE);
    println!("questions from {first} on, one in {STRIDE}");
    (first..MOST).step_by(STRIDE)
}

fn through(gate: &Gate, world: &World) -> Options {
    Options { url: gate.url.clone(), ..world.options.clone() }
}

async fn store_at(options: &Options, world: &World) -> ClickHouseStore {
    let registry = Registry::new("http://127.0.0.1:1");
    ClickHouseStore::open(options, registry, world.codec.clone(), &BTreeMap::new()).await.unwrap()
}

fn operator_at(options: &Options, world: &World) -> Generations {
    Generations::new(options, Registry::new("http://127.0.0.1:1"), world.codec.clone()).unwrap()
}

async fn cut_over(world: &World) {
    generations(world).cut_over(TOPIC, &mut Log::of(world)).await.unwrap();
}

async fn build(world: &World, scope: &Scope) {
    let generations = generations(world);
    generations.begin(TOPIC, scope).await.unwrap();
    generations.fill(TOPIC, &mut Log::of(world), &mut quiet, &|| false).await.unwrap();
}

/// Everything that lies beyond these positions.
fn batch_of(world: &World, held: &[Position]) -> Batch {
    let slice = |held: &Position| {
        let of = world
            .log
            .iter()
            .filter(|(partition, offset, _)| *partition == held.partition && *offset >= held.next_offset.0);
        let records: Vec<_> = of.map(|(_, offset, fact)| world.record(*offset, fact)).collect();
        let to = records.last().map_or(held.next_offset, |record| record.offset.next());
        let (partition, epoch, from) = (held.partition, held.epoch, held.next_offset);
        Slice { partition, epoch, from, to, records, parked: Vec::new() }
    };
    let slices = held.iter().map(slice).filter(|slice| !slice.records.is_empty()).collect();
    Batch { topic: TOPIC.to_owned(), slices }
}

/// Parks all of a key.
fn park(mut batch: Batch, key: &str) -> Batch {
    for slice in &mut batch.slices {
        let mut first = None;
        for record in slice.records.extract_if(.., |record| record.key == key) {
            let cause = first.map_or_else(|| Cause::Poison("injected".to_owned()), Cause::Behind);
            first = first.or(Some(record.offset));
            slice.parked.push(Parked { offset: record.offset, key: record.key, cause });
        }
    }
    assert!(batch.parked() > 0);
    batch
}

/// Whoever projects comes back and works off the rest; then both generations have all, one after the other.
async fn goes_well(world: &mut World) {
    world.acquire().await;
    world.append(&state(800, "agent.two", AgentState::Ready, None));
    let rest = world.rest();
    world.apply(&rest).await;
    let log = Log::of(world);
    has_all(world, &log).await;
    let generations = generations(world);
    if generations.standby().await.unwrap().is_none() {
        generations.begin(TOPIC, &Scope::All).await.unwrap();
    }
    let diff = generations.diff(TOPIC, &mut Log::of(world), 9).await.unwrap();
    assert!(diff.is_empty(), "{diff:?}");
    cut_over(world).await;
    has_all(world, &log).await;
}

/// Every record that progress has passed is a row or is parked.
async fn nothing_is_lost(world: &World) {
    let log = &world.log;
    let passed = reached(world).await;
    let ids: BTreeSet<String> = world
        .rows("SELECT DISTINCT fact_id FROM {db}.facts")
        .await
        .iter()
        .map(|row| row["fact_id"].to_string())
        .collect();
    let set_aside: BTreeSet<(i32, i64)> = parked(&world.options)
        .await
        .unwrap()
        .into_iter()
        .map(|entry| (entry.partition, entry.parked.offset.0))
        .collect();
    for (partition, offset, fact) in log.iter().filter(|(partition, offset, _)| *offset < passed[partition]) {
        let is_stored = ids.contains(&format!("\"{}\"", fact.id));
        assert!(is_stored || set_aside.contains(&(*partition, *offset)), "{partition}/{offset} is lost");
    }
}

fn told(world: &mut World) {
    for fact in story() {
        world.append(&fact);
    }
}

/// A store behind a gate, that holds all partitions of a log of which nothing is projected yet, beside a standby that is filled.
async fn projector(scope: &Scope) -> (World, Gate, ClickHouseStore, Vec<Position>) {
    let mut world = World::new().await;
    told(&mut world);
    build(&world, scope).await;
    let gate = Gate::before(&world.options.url).await;
    let mut store = store_at(&through(&gate, &world), &world).await;
    let held = store.acquire(TOPIC, &ALL).await.unwrap();
    (world, gate, store, held)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exchanges_between_any_two_steps_of_a_batch_lose_and_double_nothing() {
    for exchanges in 1..=3 {
        let mut fences = 0;
        for nth in 0..MOST {
            let (mut world, gate, mut store, held) = projector(&both_scopes()[nth % 2]).await;
            let batch = batch_of(&world, &held);
            let meanwhile = async {
                for _ in 0..exchanges {
                    cut_over(&world).await;
                }
            };
            match gate.hold(nth, store.apply(&batch), meanwhile).await {
                Some(Ok(())) => {}
                Some(Err(StoreError::Fenced { .. })) => fences += 1,
                Some(Err(other)) => panic!("{exchanges} exchanges before question {nth}: {other}"),
                None => break,
            }
            goes_well(&mut world).await;
        }
        assert!(fences > 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_parked_while_generations_are_exchanged_is_a_row_or_parked() {
    for exchanges in 1..=2 {
        for nth in 0..MOST {
            let (mut world, gate, mut store, held) = projector(&both_scopes()[nth % 2]).await;
            let batch = park(batch_of(&world, &held), KEY);
            let meanwhile = async {
                for _ in 0..exchanges {
                    cut_over(&world).await;
                }
            };
            if gate.hold(nth, store.apply(&batch), meanwhile).await.is_none() {
                break;
            }
            nothing_is_lost(&world).await;
            world.acquire().await;
            let rest = world.rest();
            world.apply(&rest).await;
            nothing_is_lost(&world).await;
            cut_over(&world).await;
            nothing_is_lost(&world).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_freezes_while_it_acquires_unparks_nothing_of_its_successors() {
    for nth in 0..MOST {
        let mut world = World::new().await;
        told(&mut world);
        let gate = Gate::before(&world.options.url).await;
        let mut frozen = store_at(&through(&gate, &world), &world).await;
        let mut successor = world.another_store().await;
        let meanwhile = async {
            let held = successor.acquire(TOPIC, &ALL).await.unwrap();
            successor.apply(&park(batch_of(&world, &held), KEY)).await.unwrap();
        };
        let Some(held) = gate.hold(nth, frozen.acquire(TOPIC, &ALL), meanwhile).await else { break };
        nothing_is_lost(&world).await;
        // It wakes with what it was told, and may be fenced.
        let _fenced = frozen.apply(&batch_of(&world, &held.unwrap())).await;
        nothing_is_lost(&world).await;
        world.acquire().await;
        let rest = park_known(&world);
        world.apply(&rest).await;
        nothing_is_lost(&world).await;
    }
}

/// The rest, with what is parked already of its keys.
fn park_known(world: &World) -> Batch {
    let mut batch = world.rest();
    for slice in &mut batch.slices {
        let known = &world.held[&slice.partition].parked;
        for record in slice.records.extract_if(.., |record| known.contains_key(&record.key)) {
            let cause = Cause::Behind(known[&record.key]);
            slice.parked.push(Parked { offset: record.offset, key: record.key, cause });
        }
    }
    batch
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_operators_who_cut_over_at_once_lose_and_double_nothing() {
    for nth in some_questions() {
        let mut world = World::new().await;
        told(&mut world);
        build(&world, &both_scopes()[nth % 2]).await;
        let rest = world.rest();
        world.apply(&rest).await;
        world.append(&state(700, "agent.one", AgentState::Paused, None));
        let gate = Gate::before(&world.options.url).await;
        let first = operator_at(&through(&gate, &world), &world);
        let mut log = Log::of(&world);
        let mut projector = world.another_store().await;
        let meanwhile = async {
            cut_over(&world).await;
            // And somebody goes on with what is live by now.
            let held = projector.acquire(TOPIC, &ALL).await.unwrap();
            projector.apply(&batch_of(&world, &held)).await.unwrap();
        };
        if gate.hold(nth, first.cut_over(TOPIC, &mut log), meanwhile).await.is_none() {
            break;
        }
        nothing_is_lost(&world).await;
        goes_well(&mut world).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_is_discarded_while_it_is_filled_or_exchanged_takes_nothing_with_it() {
    for exchange in [false, true] {
        for nth in some_questions() {
            let mut world = World::new().await;
            told(&mut world);
            let rest = world.rest();
            world.apply(&rest).await;
            let scope = &both_scopes()[nth % 2];
            generations(&world).begin(TOPIC, scope).await.unwrap();
            let gate = Gate::before(&world.options.url).await;
            let first = operator_at(&through(&gate, &world), &world);
            let mut log = Log::of(&world);
            let work = async {
                let filled = first.fill(TOPIC, &mut log, &mut quiet, &|| false).await.map(|_| ());
                if exchange { first.cut_over(TOPIC, &mut log).await.map(|_| ()) } else { filled }
            };
            let meanwhile = async {
                generations(&world).discard().await.unwrap();
                if nth % 3 == 0 {
                    build(&world, &Scope::All).await;
                }
            };
            if gate.hold(nth, work, meanwhile).await.is_none() {
                break;
            }
            nothing_is_lost(&world).await;
            goes_well(&mut world).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_while_another_discards_keeps_the_progress_of_what_is_live() {
    for nth in 0..MOST {
        let mut world = World::new().await;
        told(&mut world);
        build(&world, &both_scopes()[nth % 2]).await;
        let batch = park(world.rest(), KEY);
        world.apply(&batch).await;
        let gate = Gate::before(&world.options.url).await;
        let first = operator_at(&through(&gate, &world), &world);
        let meanwhile = async {
            let done = generations(&world).cut_over(TOPIC, &mut Log::of(&world)).await;
            assert!(matches!(done, Ok(_) | Err(GenerationError::NoStandby)), "{done:?}");
        };
        if gate.hold(nth, first.discard(), meanwhile).await.is_none() {
            break;
        }
        let passed = reached(&world).await;
        assert!(passed.values().any(|next| *next > 0), "question {nth}: the log would be read anew");
        nothing_is_lost(&world).await;
        world.acquire().await;
        let rest = park_known(&world);
        world.apply(&rest).await;
        nothing_is_lost(&world).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_who_dies_at_any_question_leaves_what_the_next_can_go_on_with() {
    for nth in some_questions() {
        let mut world = World::new().await;
        told(&mut world);
        let rest = world.rest();
        world.apply(&rest).await;
        let gate = Gate::before(&world.options.url).await;
        let first = operator_at(&through(&gate, &world), &world);
        let scope = &both_scopes()[nth % 2];
        let mut log = Log::of(&world);
        let whole = async {
            first.begin(TOPIC, scope).await.unwrap();
            first.fill(TOPIC, &mut log, &mut quiet, &|| false).await.unwrap();
            first.cut_over(TOPIC, &mut log).await.unwrap();
            first.cut_over(TOPIC, &mut log).await.unwrap();
            first.discard().await.unwrap();
        };
        if !gate.kill(nth, whole).await {
            return;
        }
        nothing_is_lost(&world).await;
        // The next one does the same, or finds what is left and goes on with that.
        let next = generations(&world);
        match next.begin(TOPIC, scope).await {
            Ok(_) => {}
            Err(GenerationError::AnotherStandby { .. }) => {
                next.discard().await.unwrap();
            }
            Err(other) => panic!("question {nth}: {other}"),
        }
        goes_well(&mut world).await;
    }
    panic!("it never ends");
}

#[tokio::test]
async fn a_pause_outlives_an_exchange() {
    let mut world = World::new().await;
    told(&mut world);
    build(&world, &Scope::All).await;
    helix_clickhouse::pause(&world.options, true).await.unwrap();
    cut_over(&world).await;
    let standing = world.store.standing(TOPIC, &ALL).await.unwrap().unwrap();
    assert!(standing.paused);
    assert!(standing.positions.iter().all(|at| at.epoch != world.held[&at.partition].epoch), "{standing:?}");
    world.acquire().await;
    assert!(world.store.standing(TOPIC, &ALL).await.unwrap().unwrap().paused);
    helix_clickhouse::pause(&world.options, false).await.unwrap();
    assert!(!world.store.standing(TOPIC, &ALL).await.unwrap().unwrap().paused);
    let rest = world.rest();
    world.apply(&rest).await;
    has_all(&world, &Log::of(&world)).await;
}

#[tokio::test]
async fn the_last_word_on_a_pause_counts_whatever_the_servers_clock_did() {
    let world = World::new().await;
    world.run("INSERT INTO {db}.projection_pauses VALUES ('clickhouse', true, now64(6) + INTERVAL 5 HOUR)").await;
    for paused in [false, true, false] {
        helix_clickhouse::pause(&world.options, paused).await.unwrap();
        assert_eq!(helix_clickhouse::paused(&world.options).await.unwrap(), paused);
    }
}

#[tokio::test]
async fn a_generation_of_an_older_build_is_filled_exchanged_and_brought_back() {
    let mut world = World::new().await;
    told(&mut world);
    let rest = world.rest();
    world.apply(&rest).await;
    // As they were written: the live one has no comment, the standby says of itself that it was live.
    world.run("CREATE TABLE {db}.facts_standby AS {db}.facts").await;
    world
        .run(r#"ALTER TABLE {db}.facts_standby MODIFY COMMENT '{"generation":"clickhouse.7","made_at":7,"left_at":9}'"#)
        .await;
    let generations = generations(&world);
    let standby = generations.standby().await.unwrap().unwrap();
    assert_eq!((standby.state, standby.cut_over_at), (StandbyState::Previous, Some(9)));
    let left = generations.cut_over(TOPIC, &mut Log::of(&world)).await.unwrap();
    assert_eq!((left.state, generations.standby().await.unwrap()), (StandbyState::Previous, Some(left.clone())));
    goes_well(&mut world).await;
    generations.cut_over(TOPIC, &mut Log::of(&world)).await.unwrap();
    goes_well(&mut world).await;
}
