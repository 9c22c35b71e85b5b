//! What a batch reads does not grow with the history of its agent or its caller: counted in rows that the database gives.

use std::{cell::Cell, fmt::Debug, sync::Once};

use helix_postgres::PostgresStore;
use helix_schemas::{
    decision::Decision,
    fact::{AgentState, CallParty, Fact},
};
use sqlx::Executor as _;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use crate::story::{World, answered, inbound, missed_call, outbound, rang, registry, state};

const AGENT: &str = "agent.one";
const CALLER: &str = "919000000001";
const HISTORY: i64 = 2_000;
/// Far less than the history; more than any batch here should read.
const FEW: u64 = 100;

thread_local! {
    /// Rows returned to this thread: each test has a thread and a runtime of its own.
    static RETURNED: Cell<u64> = const { Cell::new(0) };
}

/// Adds up the rows that sqlx says were returned, for each thread apart.
///
/// One for the whole process: what a call site's subscriber wants is remembered for all threads, so with one subscriber
/// a thread, a thread without any could be the first to ask and silence the site for the others.
struct Returned;

impl Returned {
    fn listen() {
        static LISTENING: Once = Once::new();
        LISTENING.call_once(|| {
            tracing::subscriber::set_global_default(Self).expect("no other test listens");
            tracing::callsite::rebuild_interest_cache();
        });
    }
}

impl Visit for &Returned {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "rows_returned" {
            RETURNED.set(RETURNED.get() + value);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

impl Subscriber for Returned {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sqlx::query"
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut &*self);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// The rows that are read to apply these facts, after a restart; then all rows must be the fold's.
async fn read_for(world: &mut World, facts: impl IntoIterator<Item = Fact>) -> u64 {
    Returned::listen();
    world.acquire().await;
    world.append(facts);
    let before = RETURNED.get();
    world.drain().await;
    let read = RETURNED.get() - before;
    world.agrees_with_the_fold().await;
    assert!(read > 0, "nothing was counted");
    read
}

fn silent() -> CallParty {
    CallParty { caller: None, ..inbound() }
}

#[tokio::test]
async fn an_agent_with_touches_alone_is_not_read_back() {
    let mut world = World::new().await;
    world.tell((0..HISTORY).map(|second| rang(second, &format!("c{}", second / 2), Some(AGENT), silent()))).await;
    assert!(read_for(&mut world, [rang(HISTORY, "n", Some(AGENT), silent())]).await < FEW);
    assert!(read_for(&mut world, [rang(3, "late", Some(AGENT), silent())]).await < FEW);
    assert!(read_for(&mut world, [state(HISTORY + 1, AGENT, AgentState::OnCall, None)]).await < FEW);
    // All touches lie in one interval now, and the next ends it.
    let touches = (0..HISTORY).map(|second| rang(HISTORY + 2 + second, &format!("d{second}"), Some(AGENT), silent()));
    world.tell(touches).await;
    assert!(read_for(&mut world, [state(2 * HISTORY + 9, AGENT, AgentState::WrapUp, None)]).await < FEW);
}

#[tokio::test]
async fn a_state_that_is_repeated_is_not_read_back() {
    let mut world = World::new().await;
    let facts: Vec<Fact> = (0..HISTORY).map(|second| state(second, AGENT, AgentState::Ready, None)).collect();
    let (last, middle) = (facts[facts.len() - 1].id, facts[facts.len() / 2].id);
    world.tell(facts).await;
    assert!(read_for(&mut world, [state(HISTORY, AGENT, AgentState::Ready, None)]).await < FEW);
    // A decision may rest on the last of them and on no other.
    let presumed = |rests_on, second| {
        crate::story::decided(second, Decision::AgentPresumedOffline, Some(AGENT), None, Some(rests_on))
    };
    assert!(read_for(&mut world, [presumed(last, HISTORY + 5)]).await < FEW);
    assert!(read_for(&mut world, [presumed(middle, HISTORY / 2)]).await < FEW);
}

#[tokio::test]
async fn a_late_fact_is_computed_to_where_its_agents_story_is_as_it_was() {
    let mut world = World::new().await;
    let words = [AgentState::Ready, AgentState::Paused];
    let word = |second: i64| if second % 2 == 0 { words[0] } else { words[1] };
    world.tell((0..HISTORY).map(|second| state(second, AGENT, word(second), None))).await;
    for (second, word) in [(-1_000, words[0]), (-1_001, words[1]), (500, AgentState::OnCall), (700, words[0])] {
        assert!(read_for(&mut world, [state(second, AGENT, word, None)]).await < 3 * FEW, "at {second}");
    }
    // With what is remembered.
    world.tell([state(HISTORY, AGENT, AgentState::Ready, None)]).await;
    world.tell([state(100, AGENT, AgentState::Offline, Some("late"))]).await;
    world.agrees_with_the_fold().await;
}

#[tokio::test]
async fn a_late_fact_within_a_repeated_state_is_computed_to_the_next_of_them() {
    let mut world = World::new().await;
    world.tell((0..HISTORY).map(|second| state(2 * second, AGENT, AgentState::Ready, None))).await;
    assert!(read_for(&mut world, [state(HISTORY + 1, AGENT, AgentState::Paused, None)]).await < 2 * FEW);
    assert!(read_for(&mut world, [rang(101, "late", Some(AGENT), silent())]).await < 2 * FEW);
}

#[tokio::test]
async fn a_callers_many_missed_calls_are_not_read_for_one_more() {
    let mut world = World::new().await;
    // One in a thousand seconds: some 86 lie in the window of a day.
    let call = |number: i64| missed_call(number * 1_000, &format!("c{number}"), CALLER);
    world.tell((0..HISTORY).flat_map(call)).await;
    let end = HISTORY * 1_000;
    assert!(read_for(&mut world, missed_call(end, "n", CALLER)).await < 2 * FEW);
    let claim = crate::story::decided(end, Decision::MissedCallClaimed, None, Some("c7"), None);
    assert!(read_for(&mut world, [claim]).await < 2 * FEW);
    // A callback concerns them all; what comes after it concerns none of them.
    let back = |second, call: &str| {
        [rang(second, call, Some("b"), outbound()), answered(second + 5, call, Some("b"), outbound())]
    };
    assert!(read_for(&mut world, back(end + 100, "back")).await > HISTORY.unsigned_abs());
    assert!(read_for(&mut world, back(end + 200, "again")).await < FEW);
    assert!(read_for(&mut world, missed_call(end + 100_000, "later", CALLER)).await < 2 * FEW);
    assert!(read_for(&mut world, back(end + 101_000, "later.back")).await < 2 * FEW);
}

/// Entries that the store reads of the indexes of calls and missed calls, and rows that it reads without one, to apply these.
async fn looked_at_for(world: &mut World, facts: impl IntoIterator<Item = Fact>) -> i64 {
    // A session of its own, so that what it counted can be had at once.
    let own = helix_postgres::connect(&world.database.url(), 1).await.unwrap();
    world.store = PostgresStore::new(own.clone(), registry(), world.codec.clone(), world.settings.clone());
    world.acquire().await;
    world.append(facts);
    let before = counted(world).await;
    world.drain().await;
    own.execute("select pg_stat_force_next_flush()").await.unwrap();
    let looked_at = counted(world).await - before;
    assert!(looked_at > 0, "nothing was counted");
    looked_at
}

async fn counted(world: &World) -> i64 {
    let statement =
        "select ((select sum(idx_tup_read) from pg_stat_user_indexes where relname in ('calls', 'missed_calls'))
        + (select sum(seq_tup_read) from pg_stat_user_tables where relname in ('calls', 'missed_calls')))::bigint";
    sqlx::query_scalar(statement).fetch_one(&world.pool).await.unwrap()
}

#[tokio::test]
async fn what_a_busy_caller_did_long_ago_is_not_looked_at() {
    let mut world = World::new().await;
    let party = |party: CallParty| CallParty { caller: Some(CALLER.to_owned()), ..party };
    let back = |second: i64, call: String| {
        let told = [
            rang(second, &call, Some("b"), party(outbound())),
            answered(second + 5, &call, Some("b"), party(outbound())),
        ];
        told.into_iter().chain([crate::story::ended(second + 60, &call, Some("b"), party(outbound()))])
    };
    // Each is called back before the next is missed: nothing is open. Some 43 lie in the window of a day.
    let story = |number: i64| {
        missed_call(number * 2_000, &format!("m{number}"), CALLER)
            .into_iter()
            .chain(back(number * 2_000 + 500, format!("b{number}")))
    };
    let end = HISTORY * 2_000;
    let early = looked_at_for(&mut world, (0..100).flat_map(story)).await;
    for part in [100..HISTORY / 2, HISTORY / 2..HISTORY] {
        looked_at_for(&mut world, part.flat_map(story)).await;
    }
    assert!(early > 100, "the beginning of the story is looked at: {early}");
    for (what, facts) in [
        ("one more miss", missed_call(end, "n", CALLER)),
        ("its callback", back(end + 500, "n.back".to_owned()).collect()),
        ("a call that is answered, with nothing open", back(end + 1_000, "again".to_owned()).collect()),
    ] {
        let looked_at = looked_at_for(&mut world, facts).await;
        println!("{what}: {looked_at}");
        assert!(looked_at < 3 * 100, "{what}: {looked_at}");
    }
    world.agrees_with_the_fold().await;
}

#[tokio::test]
async fn a_leg_whose_row_is_gone_is_written_again() {
    let mut world = World::new().await;
    let agents = ["one", "two", "three"];
    world.tell(agents.map(|agent| rang(0, "c1", Some(agent), inbound()))).await;
    world.pool.execute("delete from read.call_legs where position = 1").await.unwrap();
    world.tell([crate::story::ended(30, "c1", Some("three"), inbound())]).await;
    let legs: i64 = sqlx::query_scalar("select count(*) from read.call_legs").fetch_one(&world.pool).await.unwrap();
    assert_eq!(legs, 3);
}
