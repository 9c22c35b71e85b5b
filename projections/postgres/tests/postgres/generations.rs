//! A generation's life beside the live one: filled, compared, exchanged, brought back, discarded.

use helix_history::Plan;
use helix_postgres::{GenerationError, ParkedFilter, parked, progress_of};
use helix_runtime::{NextOffset, Slice, Store as _, StoreError, fill::StandbyState};
use helix_schemas::{fact::AgentState, scope::Scope};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use crate::{
    random::{history, seeds},
    story::{Log, PARTITIONS, TOPIC, World, missed_call, of, state, summary, workspace},
};

fn quiet(_: u64, _: u64) {}

async fn filled(world: &World, scope: &Scope) {
    let generations = world.generations();
    generations.begin(scope).await.unwrap();
    generations.fill(TOPIC, &mut world.log.clone(), &mut quiet, &|| false).await.unwrap();
}

async fn told() -> World {
    let mut dice = ChaCha8Rng::seed_from_u64(11);
    let mut world = World::new().await;
    world.tell(history(&mut dice)).await;
    world
}

#[tokio::test]
async fn a_rebuilt_generation_is_the_live_one_row_by_row_and_root_by_root() {
    for scope in [Scope::All, Scope::Workspace(workspace("global"))] {
        let world = told().await;
        filled(&world, &scope).await;
        let generations = world.generations();
        assert_eq!(generations.gaps(TOPIC).await.unwrap(), vec![]);
        let diff = generations.diff(TOPIC, &mut world.log.clone(), 10).await.unwrap();
        assert!(diff.is_empty(), "{diff:?}");
        let workspaces: Vec<&str> = diff.roots.iter().map(|root| root.workspace.as_str()).collect();
        match scope {
            Scope::All => assert_eq!(workspaces, ["global", "ramaiah"]),
            Scope::Workspace(_) => assert_eq!(workspaces, ["global"]),
        }
        // What is compared is there.
        let rows: i64 = diff.tables.iter().map(|table| table.live).sum();
        assert_eq!(rows, diff.roots.iter().map(|root| root.live_rows).sum::<i64>());
        assert!(rows > 20, "{:?}", diff.tables);
    }
}

#[tokio::test]
async fn a_flipped_byte_in_any_table_is_found_with_its_row_column_and_both_values() {
    let world = told().await;
    filled(&world, &Scope::All).await;
    let mut administrator = world.database.administrator().await;
    for (table, column, change) in [
        ("agents", "reason", "coalesce(reason, '') || 'x'"),
        ("agent_intervals", "presumed", "not presumed"),
        ("calls", "agent_ids", "agent_ids || array['x']"),
        ("call_legs", "transferred", "not transferred"),
        ("missed_calls", "priority", "priority + 1"),
        ("queue_days", "offered", "offered + 1"),
    ] {
        let one = format!("ctid = (select min(ctid) from read.{table})");
        let flip = format!("update read.{table} set {column} = {change} where {one}");
        let kept = format!("create table kept as select * from read.{table}");
        administrator.execute(AssertSqlSafe(kept)).await.unwrap();
        administrator.execute(AssertSqlSafe(flip)).await.unwrap();
        let diff = world.generations().diff(TOPIC, &mut world.log.clone(), 10).await.unwrap();
        assert_eq!(diff.rows.len(), 1, "{table}");
        let row = &diff.rows[0];
        assert_eq!((row.table, row.columns.as_slice()), (table, [column.to_owned()].as_slice()));
        assert_ne!(row.live.as_ref().unwrap()[column], row.standby.as_ref().unwrap()[column]);
        let differing: Vec<i64> = diff.tables.iter().map(|table| table.differing).collect();
        assert_eq!(differing.iter().sum::<i64>(), 1);
        let back = format!("truncate read.{table}; insert into read.{table} select * from kept; drop table kept");
        administrator.execute(AssertSqlSafe(back)).await.unwrap();
    }
    let missing = "delete from read.calls where ctid = (select min(ctid) from read.calls)";
    administrator.execute(missing).await.unwrap();
    let diff = world.generations().diff(TOPIC, &mut world.log.clone(), 10).await.unwrap();
    assert_eq!(diff.rows.len(), 1);
    assert!(diff.rows[0].live.is_none() && diff.rows[0].standby.is_some());
}

#[tokio::test]
async fn a_cut_over_mends_what_was_tampered_with_and_cutting_back_brings_it_again() {
    for scope in [Scope::All, Scope::Workspace(workspace("ramaiah"))] {
        let mut world = told().await;
        let mut administrator = world.database.administrator().await;
        let tamper = "update read.calls set disposition = 'tampered' where workspace_id = 'ramaiah'";
        let tampered = administrator.execute(tamper).await.unwrap().rows_affected();
        assert!(tampered > 0);
        let count = "select count(*) from read.calls where disposition = 'tampered'";
        filled(&world, &scope).await;
        let generations = world.generations();
        let standby = generations.cut_over(TOPIC, &mut world.log.clone()).await.unwrap();
        assert_eq!((standby.scope.clone(), standby.state), (scope.clone(), StandbyState::Previous));
        let left: i64 = sqlx::query_scalar(count).fetch_one(&mut administrator).await.unwrap();
        assert_eq!(left, 0);
        world.agrees_with_the_fold().await;

        // Whoever projected is fenced, comes back, and goes on with the new tables.
        world.append([state(500, "agent.one", AgentState::Ready, None)]);
        let batch = world.rest();
        let fenced = world.apply(&batch).await;
        assert!(matches!(fenced, Err(StoreError::Fenced { .. })), "{fenced:?}");
        world.acquire().await;
        world.drain().await;
        world.agrees_with_the_fold().await;

        generations.cut_over(TOPIC, &mut world.log.clone()).await.unwrap();
        let back: i64 = sqlx::query_scalar(count).fetch_one(&mut administrator).await.unwrap();
        assert_eq!(back.unsigned_abs(), tampered);
        let progress = progress_of(&world.pool, "postgres", TOPIC).await.unwrap();
        assert!(progress.iter().all(|at| NextOffset(at.next_offset) == world.log.end(at.partition)));
        generations.discard().await.unwrap();
        assert_eq!(generations.standby().await.unwrap(), None);
        let left: i64 = sqlx::query_scalar("select count(*) from pg_namespace where nspname like '%standby'")
            .fetch_one(&mut administrator)
            .await
            .unwrap();
        assert_eq!(left, 0);
    }
}

/// Projects the log as it grows, as an engine does: fenced, it comes back.
async fn project(world: &World, log: &std::sync::Mutex<Log>, finished: &std::sync::atomic::AtomicBool) -> u32 {
    let mut store = world.another_store();
    let all: Vec<i32> = (0..PARTITIONS).collect();
    let mut held = store.acquire(TOPIC, &all).await.unwrap();
    let mut fences = 0;
    loop {
        let last_round = finished.load(std::sync::atomic::Ordering::SeqCst);
        let slices: Vec<Slice> = {
            let log = log.lock().unwrap();
            let slice = |held: &helix_runtime::Position| {
                let to = NextOffset(log.end(held.partition).0.min(held.next_offset.0 + 40));
                let records = log.between(held.partition, held.next_offset, to);
                Slice {
                    partition: held.partition,
                    epoch: held.epoch,
                    from: held.next_offset,
                    to,
                    records,
                    parked: Vec::new(),
                }
            };
            held.iter().map(slice).filter(|slice| slice.from != slice.to).collect()
        };
        if slices.is_empty() {
            if last_round {
                return fences;
            }
            tokio::task::yield_now().await;
            continue;
        }
        match store.apply(&helix_runtime::Batch { topic: TOPIC.to_owned(), slices: slices.clone() }).await {
            Ok(()) => {
                for slice in slices {
                    held.iter_mut().find(|held| held.partition == slice.partition).unwrap().next_offset = slice.to;
                }
            }
            Err(StoreError::Fenced { .. }) => {
                fences += 1;
                held = store.acquire(TOPIC, &all).await.unwrap();
            }
            Err(other) => panic!("{other}"),
        }
    }
}

/// A log that others append to.
#[derive(Clone)]
struct Growing(std::sync::Arc<std::sync::Mutex<Log>>);

#[async_trait::async_trait]
impl helix_postgres::LogSource for Growing {
    async fn records(
        &mut self,
        _: &str,
        partition: i32,
        from: NextOffset,
        to: NextOffset,
    ) -> Result<Vec<helix_runtime::Record>, StoreError> {
        Ok(self.0.lock().unwrap().between(partition, from, to))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cutting_over_and_back_under_traffic_loses_and_doubles_nothing() {
    let seed = seeds()[0];
    println!("seed {seed}");
    for scope in [Scope::All, Scope::Workspace(workspace("ramaiah"))] {
        let mut world = World::new().await;
        let history = Plan::new("ramaiah", 12, seed).history().zip(Plan::new("global", 7, seed ^ 1).history());
        let mut facts = history.flat_map(|(one, other)| [one, other]);
        let log = Growing(std::sync::Arc::new(std::sync::Mutex::new(world.log.clone())));
        let [exchanged, finished] = [false, false].map(std::sync::atomic::AtomicBool::new);
        // Facts come until all is exchanged, and some after that: whoever projects meets each exchange.
        let traffic = async {
            loop {
                let last_part = exchanged.load(std::sync::atomic::Ordering::SeqCst);
                facts.by_ref().take(50).for_each(|fact| {
                    log.0.lock().unwrap().append(&fact);
                });
                if last_part {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(25)).await;
            }
        };
        let operator = async {
            let generations = world.generations();
            generations.begin(&scope).await.unwrap();
            generations.fill(TOPIC, &mut log.clone(), &mut quiet, &|| false).await.unwrap();
            for _ in 0..4 {
                let diff = generations.diff(TOPIC, &mut log.clone(), 3).await.unwrap();
                assert!(diff.is_empty(), "{diff:?}");
                generations.cut_over(TOPIC, &mut log.clone()).await.unwrap();
            }
            exchanged.store(true, std::sync::atomic::Ordering::SeqCst);
        };
        let projecting = project(&world, &log.0, &finished);
        let working = async {
            tokio::join!(traffic, operator);
            finished.store(true, std::sync::atomic::Ordering::SeqCst);
        };
        let (fences, ()) = tokio::join!(projecting, working);
        assert!(fences > 0, "the projector was fenced");
        world.log = log.0.lock().unwrap().clone();
        world.agrees_with_the_fold().await;
        let progress = progress_of(&world.pool, "postgres", TOPIC).await.unwrap();
        assert!(progress.iter().all(|at| NextOffset(at.next_offset) == world.log.end(at.partition)));
    }
}

#[tokio::test]
async fn a_cut_over_that_dies_before_its_commit_leaves_everything_as_it_was() {
    let world = told().await;
    filled(&world, &Scope::All).await;
    let before = world.snapshot().await;
    // The last thing before the commit is the record of the standby: held by somebody else, it makes the cut-over wait.
    let mut administrator = world.database.administrator().await;
    let mut holding = administrator.begin().await.unwrap();
    holding.execute("select from helix.standby for update").await.unwrap();
    let generations = world.generations();
    let mut log = world.log.clone();
    let cutting = tokio::spawn(async move { generations.cut_over(TOPIC, &mut log).await });
    let mut other = world.database.administrator().await;
    let killed = async {
        loop {
            let waiting = "select count(*) from pg_stat_activity where datname = current_database()
                           and wait_event_type = 'Lock' and query like 'update helix.standby%'";
            let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&mut other).await.unwrap();
            if waiting == 1 {
                break;
            }
            tokio::task::yield_now().await;
        }
        other
            .execute("select pg_terminate_backend(pid) from pg_stat_activity where query like 'update helix.standby%' and pid <> pg_backend_pid()")
            .await
            .unwrap();
    };
    killed.await;
    let died = cutting.await.unwrap();
    assert!(died.is_err(), "{died:?}");
    holding.rollback().await.unwrap();
    let after = world.snapshot().await;
    assert_eq!(before.roots, after.roots);
    assert_eq!(world.generations().standby().await.unwrap().unwrap().state, StandbyState::Filling);
    world.agrees_with_the_fold().await;
    // And it can be done afterwards.
    world.generations().cut_over(TOPIC, &mut world.log.clone()).await.unwrap();
    world.agrees_with_the_fold().await;
}

#[tokio::test]
async fn two_people_cannot_work_on_generations_at_once() {
    let world = told().await;
    let mut other = sqlx::PgConnection::connect(&world.database.url()).await.unwrap();
    other.execute("select pg_advisory_lock(hashtextextended('helix.generations', 0))").await.unwrap();
    let busy = world.generations().begin(&Scope::All).await;
    assert!(matches!(busy, Err(GenerationError::Busy)), "{busy:?}");
    other.execute("select pg_advisory_unlock(hashtextextended('helix.generations', 0))").await.unwrap();
    world.generations().begin(&Scope::All).await.unwrap();
    // The same again goes on; another does not.
    world.generations().begin(&Scope::All).await.unwrap();
    let another = world.generations().begin(&Scope::Workspace(workspace("global"))).await;
    assert!(matches!(another, Err(GenerationError::AnotherStandby { .. })), "{another:?}");
}

#[tokio::test]
async fn a_standby_never_passes_the_live_generation() {
    let mut world = World::new().await;
    world.append(missed_call(0, "c1", "919000000001"));
    let generations = world.generations();
    generations.begin(&Scope::All).await.unwrap();
    let mut store = generations.store().await.unwrap();
    let held = store.acquire(TOPIC, &[0, 1, 2]).await.unwrap();
    let mut batch = world.rest();
    for slice in &mut batch.slices {
        slice.epoch = held.iter().find(|held| held.partition == slice.partition).unwrap().epoch;
    }
    let ahead = store.apply(&batch).await;
    assert!(matches!(ahead, Err(StoreError::Unavailable(_))), "{ahead:?}");
    world.drain().await;
    store.apply(&batch).await.unwrap();
    assert!(generations.diff(TOPIC, &mut world.log.clone(), 1).await.unwrap().is_empty());
}

#[tokio::test]
async fn filling_parks_what_cannot_be_applied_as_the_live_projector_did() {
    let mut world = World::new().await;
    world.tell([state(0, "agent.one", AgentState::Ready, None)]).await;
    let at = world.log.append(&summary(1, "c9", |said| said.disposition = Some("\0".to_owned())));
    world.append(missed_call(0, "c9", "919000000001"));
    let broken = world.log.append_raw(b"ramaiah/agent.one", b"none");
    world.append([state(5, "agent.one", AgentState::Paused, None), state(6, "agent.two", AgentState::Paused, None)]);
    // Both keys, whichever partitions they are in.
    let mut batch = world.rest_with_parked(at, "refused");
    let other = world.rest_with_parked(broken, "cannot be read");
    for (slice, other) in batch.slices.iter_mut().zip(other.slices) {
        let parked: Vec<_> = other.parked.iter().map(|parked| parked.offset).collect();
        slice.records.retain(|record| !parked.contains(&record.offset));
        slice.parked.extend(other.parked);
        slice.parked.sort_by_key(|parked| parked.offset);
    }
    world.apply(&batch).await.unwrap();
    filled(&world, &Scope::All).await;
    let of = async |projection: &str| {
        let filter = ParkedFilter { projection: Some(projection.to_owned()), ..Default::default() };
        let listed = parked(&world.pool, &filter).await.unwrap();
        listed.into_iter().map(|entry| (entry.partition, entry.parked.offset)).collect::<Vec<_>>()
    };
    let live = of("postgres").await;
    assert_eq!(live.len(), 5);
    assert_eq!(of("postgres.standby").await, live);
    assert!(world.generations().diff(TOPIC, &mut world.log.clone(), 1).await.unwrap().is_empty());
    world.generations().cut_over(TOPIC, &mut world.log.clone()).await.unwrap();
    assert_eq!(of("postgres").await, live);
}

#[tokio::test]
async fn a_fill_that_is_stopped_goes_on_where_it_was() {
    let mut world = World::new().await;
    world
        .tell(
            (0..60).map(|second| of("global", state(second, "agent.one", AgentState::ALL[second as usize % 7], None))),
        )
        .await;
    let generations = world.generations();
    generations.begin(&Scope::All).await.unwrap();
    let stopped = generations.fill(TOPIC, &mut world.log.clone(), &mut quiet, &|| true).await;
    assert!(matches!(stopped, Err(GenerationError::Interrupted)), "{stopped:?}");
    let mut last = (0, 0);
    let mut report = |done, total| last = (done, total);
    generations.fill(TOPIC, &mut world.log.clone(), &mut report, &|| false).await.unwrap();
    assert_eq!(last, (60, 60));
    assert!(generations.diff(TOPIC, &mut world.log.clone(), 1).await.unwrap().is_empty());
}
