//! The continuous check of the books reads what it compares, and not all history.

use helix_postgres::{BooksCheck, check_books};
use sqlx::{Executor as _, PgPool};

use crate::story::{World, missed_call};

const OLD: i64 = 100_000;
const RECENT: i64 = 40;

/// Missed calls of two years, of two hospitals, and some of today; with their books.
const HISTORY: &str = "
    create procedure pg_temp.calls(count bigint, first timestamptz, step interval, name text) language sql as $$
        insert into read.calls (workspace_id, call_id, outcome, agent_ids, started_at, ended_at, presumed, conflicts,
                                direction, skill, caller, caller_key)
        select case n % 3 when 0 then 'global' else 'ramaiah' end, name || n, 'missed', '{}', first + n * step,
               first + n * step + interval '30 s', false, '{}', 'inbound', 'front desk', n::text, n::text
        from generate_series(1, count) as n;
    $$;
    call pg_temp.calls(100000, now() - interval '730 days', interval '10 min', 'old');
    call pg_temp.calls(40, now() - interval '40 min', interval '1 min', 'new');
    insert into read.missed_calls (workspace_id, call_id, missed_at, status, attempts, priority, due_at, caller, caller_key)
    select workspace_id, call_id, ended_at, 'open', 0, 100, ended_at, caller, caller_key from read.calls;
    insert into read.queue_days
    select workspace_id, skill, (started_at at time zone 'Asia/Kolkata')::date, count(*), 0, count(*), 0, 0
    from read.calls group by 1, 2, 3;
";

/// What has been read of these tables, by whatever way: whole tables read, rows in them, entries of indexes.
async fn read(pool: &PgPool) -> (i64, i64, i64) {
    sqlx::query_scalar::<_, Option<i32>>("select 1 from pg_stat_force_next_flush()").fetch_one(pool).await.unwrap();
    sqlx::query_as(
        "select sum(seq_scan)::bigint, sum(seq_tup_read)::bigint,
                (select sum(idx_tup_read + idx_tup_fetch)::bigint from pg_stat_user_indexes where schemaname = 'read')
         from pg_stat_user_tables where schemaname = 'read'",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_check_of_the_last_days_reads_those_alone_by_index() {
    let world = World::new().await;
    let mut administrator = world.database.administrator().await;
    administrator.execute(HISTORY).await.unwrap();
    // One session, so that what it read is told when it is asked for.
    let pool = helix_postgres::connect(&world.database.url(), 1).await.unwrap();
    let check = async |days| -> (BooksCheck, (i64, i64, i64)) {
        let before = read(&pool).await;
        let check = check_books(&pool, &world.settings, days).await.unwrap();
        let after = read(&pool).await;
        (check, (after.0 - before.0, after.1 - before.1, after.2 - before.2))
    };
    // Before the tables have statistics, and with them.
    for statistics in ["select 1", "analyze"] {
        administrator.execute(statistics).await.unwrap();
        let (found, (whole, of_whole, by_index)) = check(Some(3)).await;
        println!("{statistics}: {whole} whole tables of {of_whole} rows, {by_index} by index");
        assert_eq!(found.differences(), 0, "{found:?}");
        assert!(found.queue_days >= 2);
        assert_eq!((whole, of_whole), (0, 0), "{statistics}");
        // Each recent call is counted, looked up among the missed ones and the reverse; the old ones end a month before.
        let most = 20 * RECENT;
        assert!(by_index < most, "{statistics}: {by_index} entries of {OLD} calls");
    }
    // And it finds what is wrong in them: a count, a missed call without an obligation, one without its call.
    let spoil = "update read.queue_days set missed = missed + 1 where day >= now() - interval '1 day' and workspace_id = 'global';
        delete from read.missed_calls where call_id = 'new10'; delete from read.calls where call_id = 'new11';
        update read.missed_calls set missed_at = missed_at + interval '1 ms' where call_id = 'new12'";
    administrator.execute(spoil).await.unwrap();
    let (found, (whole, ..)) = check(Some(3)).await;
    assert_eq!(whole, 0);
    assert!(!found.books.is_empty());
    let calls: Vec<(&str, bool)> = found.obligations.iter().map(|found| (found.call.as_str(), found.missed)).collect();
    assert_eq!(calls, [("new12", false), ("new10", true), ("new11", false)]);
    // The check of everything finds the same, and may read whole tables.
    let (all, _) = check(None).await;
    assert_eq!((all.books, all.obligations), (found.books, found.obligations));
}

#[tokio::test]
async fn a_workspace_without_settings_is_checked_too() {
    let mut world = World::new().await;
    let facts = missed_call(0, "c1", "919000000001").into_iter().map(|fact| crate::story::of("unheard-of", fact));
    world.tell(facts).await;
    world.database.administrator().await.execute("update read.queue_days set missed = 9").await.unwrap();
    let check = check_books(&world.pool, &world.settings, None).await.unwrap();
    assert_eq!((check.books.len(), check.books[0].workspace.as_str()), (1, "unheard-of"));
    world
        .database
        .administrator()
        .await
        .execute("delete from read.calls; delete from read.missed_calls")
        .await
        .unwrap();
    assert_eq!(check_books(&world.pool, &world.settings, None).await.unwrap().books.len(), 1);
}
