//! What the projector does in a second, against COPY of the very rows it left.
//!
//! `cargo test -p helix-postgres --test postgres -- --ignored --exact --nocapture measure::the_projector_against_copy`
//! (`HELIX_FACTS=200000`, `HELIX_AGENTS=10000` for other numbers of facts and agents; `--profile measure` for an optimised build)

use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use helix_history::Plan;
use helix_postgres::Generation;
use helix_runtime::{Batch, NextOffset, Slice};
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};

use crate::story::{TOPIC, World};

const FACTS: usize = 50_000;
const AGENTS: usize = 200;

/// Clock ticks that a process has had, by itself and for the system.
fn ticks_of(process: &str) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    // utime and stime are fields 14 and 15, and the name is field 2.
    after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}

/// Processor time of this process and of the database's backends, in hundredths of a second: what other work on the
/// machine does not disturb as much as the clock.
struct Processors {
    ours: u64,
    theirs: u64,
}

async fn processors(connection: &mut PgConnection) -> Processors {
    let backends: Vec<i32> = sqlx::query_scalar("select pid from pg_stat_activity where datname = current_database()")
        .fetch_all(connection)
        .await
        .unwrap();
    Processors { ours: ticks_of("self"), theirs: backends.iter().map(|pid| ticks_of(&pid.to_string())).sum() }
}

/// Tables without their schema, each with its rows in COPY's binary form.
struct Rows {
    tables: Vec<(&'static str, String, Vec<u8>)>,
    count: i64,
}

/// A number that may be given in the environment.
fn given(name: &str, default: usize) -> usize {
    std::env::var(name).ok().map_or(default, |number| number.parse().unwrap())
}

fn given_list(name: &str, default: &[i64]) -> Vec<i64> {
    let list = std::env::var(name).ok();
    list.map_or_else(|| default.to_vec(), |list| list.split(',').map(|number| number.parse().unwrap()).collect())
}

fn facts() -> usize {
    given("HELIX_FACTS", FACTS)
}

async fn all_rows(connection: &mut PgConnection) -> Rows {
    let mut rows = Rows { tables: Vec::new(), count: 0 };
    for (schema, tables) in [
        (
            Generation::Live.read_schema(),
            &["agents", "agent_intervals", "calls", "call_legs", "missed_calls", "queue_days"][..],
        ),
        (Generation::Live.state_schema(), &["agent_timeline", "agent_registers", "call_states"][..]),
    ] {
        for table in tables {
            let count = format!("select count(*) from {schema}.{table}");
            let count: i64 = sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(&mut *connection).await.unwrap();
            rows.count += count;
            println!("    {count:>7} {table}");
            let copy = format!("copy {schema}.{table} to stdout (format binary)");
            let parts = connection.copy_out_raw(&copy).await.unwrap();
            let bytes: Vec<bytes::Bytes> = parts.try_collect().await.unwrap();
            rows.tables.push((table, format!("{schema}.{table}"), bytes.concat()));
        }
    }
    rows
}

/// The same rows by COPY into tables of the same columns and indexes, in one transaction; the median of three.
async fn floor(connection: &mut PgConnection, rows: &Rows) -> Duration {
    connection.execute("create schema floor").await.unwrap();
    for (table, source, _) in &rows.tables {
        connection
            .execute(AssertSqlSafe(format!("create table floor.{table} (like {source} including all)")))
            .await
            .unwrap();
    }
    let mut times = Vec::new();
    for _ in 0..3 {
        for (table, _, _) in &rows.tables {
            connection.execute(AssertSqlSafe(format!("truncate floor.{table}"))).await.unwrap();
        }
        connection.execute("checkpoint").await.unwrap();
        let begun = Instant::now();
        connection.execute("begin").await.unwrap();
        for (table, _, bytes) in &rows.tables {
            let statement = format!("copy floor.{table} from stdin (format binary)");
            let mut copy = connection.copy_in_raw(&statement).await.unwrap();
            copy.send(bytes.as_slice()).await.unwrap();
            copy.finish().await.unwrap();
        }
        connection.execute("commit").await.unwrap();
        times.push(begun.elapsed());
    }
    times.sort();
    times[1]
}

/// What each statement took, where the server counts it (`HELIX_POSTGRES_SETTINGS="shared_preload_libraries='pg_stat_statements'"`).
async fn statements(connection: &mut PgConnection) {
    if connection.execute("create extension pg_stat_statements").await.is_err() {
        return;
    }
    let counted: Result<Vec<String>, _> = sqlx::query_scalar(
        "select format('%s ms, %s calls, %s rows, %s KiB of WAL: %s', round(total_exec_time + total_plan_time),
                       calls, rows, wal_bytes::bigint / 1024, left(regexp_replace(query, '\\s+', ' ', 'g'), 100))
         from pg_stat_statements
         where dbid = (select oid from pg_database where datname = current_database())
         order by total_exec_time + total_plan_time desc limit 40",
    )
    .fetch_all(connection)
    .await;
    // It is an error where nothing is counted.
    counted.iter().flatten().for_each(|statement| println!("    {statement}"));
}

async fn project(batch_records: i64) {
    let mut world = World::new().await;
    let agents = u32::try_from(given("HELIX_AGENTS", AGENTS)).unwrap();
    for fact in Plan::new("ramaiah", agents, 1).history().take(facts()) {
        world.log.append(&fact);
    }
    let mut administrator = world.database.administrator().await;
    administrator.execute("checkpoint").await.unwrap();
    let mut taken = Duration::ZERO;
    let before = processors(&mut administrator).await;
    loop {
        // As an engine cuts it: what came first of every partition.
        let share = batch_records / i64::try_from(world.held.len()).unwrap();
        let slices: Vec<Slice> = world
            .held
            .iter()
            .map(|(partition, held)| {
                let to = NextOffset(world.log.end(*partition).0.min(held.next_offset.0 + share));
                world.slice(*partition, to)
            })
            .filter(|slice| slice.from != slice.to)
            .collect();
        if slices.is_empty() {
            break;
        }
        let batch = Batch { topic: TOPIC.to_owned(), slices };
        let begun = Instant::now();
        world.apply(&batch).await.unwrap();
        taken += begun.elapsed();
    }
    println!("batches of {batch_records}, {} facts", facts());
    let after = processors(&mut administrator).await;
    let (ours, theirs) = (after.ours - before.ours, after.theirs - before.theirs);
    statements(&mut administrator).await;
    let rows = all_rows(&mut administrator).await;
    let before = processors(&mut administrator).await;
    let floor = floor(&mut administrator, &rows).await;
    let after = processors(&mut administrator).await;
    // It copies three times.
    let floor_processors = (after.ours + after.theirs - before.ours - before.theirs) / 3;
    let count = rows.count.unsigned_abs() as f64;
    println!(
        "  projector {:.0} facts/s, {:.0} rows/s; COPY {:.0} rows/s; ratio {:.3}",
        facts() as f64 / taken.as_secs_f64(),
        count / taken.as_secs_f64(),
        count / floor.as_secs_f64(),
        floor.as_secs_f64() / taken.as_secs_f64()
    );
    println!(
        "  processor time, hundredths of a second: projector {ours} here + {theirs} in the database; COPY {floor_processors}; ratio {:.3}",
        floor_processors as f64 / (ours + theirs) as f64
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn the_projector_against_copy() {
    for batch_records in given_list("HELIX_BATCH", &[2_000, 10_000]) {
        project(batch_records).await;
    }
}
