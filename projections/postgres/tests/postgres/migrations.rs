//! Coming from older versions of the schema.

use std::collections::BTreeSet;

use helix_runtime::{NextOffset, Store as _};
use sqlx::{Executor as _, migrate::Migrator};

use crate::{
    server::Database,
    story::{Log, PARTITIONS, TOPIC, World, missed_call, registry},
};

/// A database as the build of version 1 left it, with a row in every table.
async fn of_version_1() -> Database {
    let database = Database::empty().await;
    let folder = tempfile::tempdir().unwrap();
    let first = include_str!("../../migrations/0001_read_models.sql");
    std::fs::write(folder.path().join("0001_read_models.sql"), first).unwrap();
    let mut owner = <sqlx::PgConnection as sqlx::Connection>::connect(&database.url()).await.unwrap();
    owner.execute("set search_path = public").await.unwrap();
    Migrator::new(folder.path()).await.unwrap().run(&mut owner).await.unwrap();
    owner
        .execute(
            "insert into read.agents values ('ramaiah', 'agent.one', null, 'ready', now(), null, null, null);
             insert into read.agent_intervals values ('ramaiah', 'agent.one', 'ready', null, now(), null, null);
             insert into read.calls (workspace_id, call_id, outcome, agent_ids, started_at, presumed)
                 values ('ramaiah', 'old', 'in_progress', '{}', now(), false);
             insert into read.missed_calls (workspace_id, call_id, missed_at, status, attempts, priority, due_at)
                 values ('ramaiah', 'old', now(), 'open', 0, 100, now());
             insert into helix.agent_timeline (workspace_id, agent_id, occurred_at, arrival, fact_id)
                 values ('ramaiah', 'agent.one', now(), 0, gen_random_uuid());
             insert into helix.agent_registers values ('ramaiah', 'agent.one', '{}');
             insert into helix.call_states values ('ramaiah', 'old', '{}');
             insert into helix.projection_roots values ('postgres', 'ramaiah', 0, '\\x00', 4);
             insert into helix.projection_progress values
                 ('postgres', 'telephony.facts', 0, 1, 5), ('forward:ramaiah', 'telephony.facts', 0, 9, 2)",
        )
        .await
        .unwrap();
    database
}

#[tokio::test]
async fn a_database_of_version_1_is_emptied_and_filled_again_from_the_log() {
    let database = of_version_1().await;
    let pool = database.pool().await;
    helix_postgres::migrate(&pool).await.unwrap();
    // Twice is harmless.
    helix_postgres::migrate(&pool).await.unwrap();
    let fresh = World::new().await;
    let mut world = World { database, pool: pool.clone(), log: Log::new(fresh.codec.clone()), ..fresh };
    world.store = helix_postgres::PostgresStore::new(pool, registry(), world.codec.clone(), world.settings.clone());
    let snapshot = world.snapshot().await;
    assert!(snapshot.rows.is_empty() && snapshot.roots.is_empty());
    assert_eq!(snapshot.progress, [(0, 0)].into());
    let epochs = helix_postgres::progress(&world.pool, TOPIC).await.unwrap();
    assert_eq!(epochs[0].epoch, 6, "whoever projects is fenced");
    let forward = helix_postgres::progress_of(&world.pool, "forward:ramaiah", TOPIC).await.unwrap();
    assert_eq!((forward[0].next_offset, forward[0].epoch), (9, 2), "other projections stay where they were");

    let positions = world.store.acquire(TOPIC, &(0..PARTITIONS).collect::<Vec<_>>()).await.unwrap();
    assert!(positions.iter().all(|position| position.next_offset == NextOffset(0)));
    world.acquire().await;
    world.tell(missed_call(0, "c1", "919000000001")).await;
    world.agrees_with_the_fold().await;
}

/// The indexes of the tables that callers are looked up in, without their names, which Postgres gives those of a generation that
/// was made from another.
async fn caller_indexes(database: &Database, schema: &str) -> BTreeSet<String> {
    let statement = format!(
        "select regexp_replace(indexdef, '^CREATE (UNIQUE )?INDEX \\S+ ON {schema}\\.', '\\1') from pg_indexes
         where schemaname = '{schema}' and tablename in ('calls', 'missed_calls')"
    );
    let found: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
        .fetch_all(&mut database.administrator().await)
        .await
        .unwrap();
    found.into_iter().collect()
}

#[tokio::test]
async fn a_database_of_version_4_keeps_its_rows_and_finds_callers_by_time_in_both_generations() {
    let database = Database::empty().await;
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("0001_read_models.sql", include_str!("../../migrations/0001_read_models.sql")),
        ("0002_generations.sql", include_str!("../../migrations/0002_generations.sql")),
        ("0003_sidecars.sql", include_str!("../../migrations/0003_sidecars.sql")),
        ("0004_books_by_time.sql", include_str!("../../migrations/0004_books_by_time.sql")),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let mut owner = <sqlx::PgConnection as sqlx::Connection>::connect(&database.url()).await.unwrap();
    owner.execute("set search_path = public").await.unwrap();
    Migrator::new(folder.path()).await.unwrap().run(&mut owner).await.unwrap();
    owner
        .execute(
            "create schema read_standby;
             create table read_standby.calls (like read.calls including all);
             create table read_standby.missed_calls (like read.missed_calls including all);
             insert into read.calls (workspace_id, call_id, outcome, agent_ids, started_at, presumed, conflicts, caller_key)
                 values ('ramaiah', 'old', 'missed', '{}', now(), false, '{}', '919000000001');
             insert into helix.projection_progress values ('postgres', 'telephony.facts', 0, 7, 5)",
        )
        .await
        .unwrap();
    assert!(
        caller_indexes(&database, "read_standby")
            .await
            .iter()
            .any(|index| index.ends_with("(caller_key, workspace_id)"))
    );
    let pool = database.pool().await;
    helix_postgres::migrate(&pool).await.unwrap();
    let fresh = World::new().await;
    let expected = caller_indexes(&fresh.database, "read").await;
    assert!(expected.iter().any(|index| index.ends_with("(caller_key, workspace_id, started_at)")), "{expected:?}");
    assert!(!expected.iter().any(|index| index.ends_with("(caller_key, workspace_id)")), "{expected:?}");
    for schema in ["read", "read_standby"] {
        assert_eq!(caller_indexes(&database, schema).await, expected, "{schema}");
    }
    let rows: i64 = sqlx::query_scalar("select count(*) from read.calls").fetch_one(&pool).await.unwrap();
    let progress = helix_postgres::progress(&pool, TOPIC).await.unwrap();
    assert_eq!((rows, progress[0].next_offset, progress[0].epoch), (1, 7, 5), "nothing is emptied");
}

#[tokio::test]
async fn the_tables_have_the_columns_that_the_rows_tell_and_no_others() {
    use helix_fold::row::Row as _;
    let world = World::new().await;
    let mut told = World::new().await;
    told.tell(crate::random::history(&mut rand::SeedableRng::seed_from_u64(3))).await;
    let rows = told.snapshot().await.rows.into_values().next().unwrap();
    let columns = async |table: &str| -> Vec<String> {
        sqlx::query_scalar(
            "select column_name::text from information_schema.columns where table_schema = 'read' and table_name = $1",
        )
        .bind(table)
        .fetch_all(&world.pool)
        .await
        .unwrap()
    };
    let mut tables = vec![
        ("agents", rows.agents[0].columns()),
        ("agent_intervals", rows.intervals[0].columns()),
        ("calls", rows.calls[0].columns()),
        ("call_legs", rows.legs[0].columns()),
        ("queue_days", rows.queue_days[0].columns()),
    ];
    let mut missed = World::new().await;
    missed.tell(missed_call(0, "c1", "919000000001")).await;
    tables.push(("missed_calls", missed.snapshot().await.rows.into_values().next().unwrap().missed_calls[0].columns()));
    for (table, told) in tables {
        let mut in_table = columns(table).await;
        let mut told: Vec<String> = told.into_iter().map(|(name, _)| name.to_owned()).collect();
        // By which callers are linked: the projector's own, and not told.
        if ["calls", "missed_calls"].contains(&table) {
            told.push("caller_key".to_owned());
        }
        in_table.sort();
        told.sort();
        assert_eq!(in_table, told, "{table}");
    }
}
