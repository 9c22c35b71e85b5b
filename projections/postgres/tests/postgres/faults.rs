//! Connections that break, freeze or lie at the worst moment.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use helix_postgres::PostgresStore;
use helix_runtime::{NextOffset, Store as _, StoreError};
use sqlx::{Executor as _, Row as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{
    server::server,
    story::{TOPIC, World, missed_call, registry},
};

/// Stands between a client and the database; while `armed`, it delivers a commit and keeps the answer.
async fn proxy(armed: Arc<AtomicBool>) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let armed = armed.clone();
            tokio::spawn(async move {
                let database = TcpStream::connect(("127.0.0.1", server().port)).await.unwrap();
                let _ended = pass_on(client, database, &armed).await;
            });
        }
    });
    port
}

async fn pass_on(mut client: TcpStream, mut database: TcpStream, armed: &AtomicBool) -> std::io::Result<()> {
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut committing = false;
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let read = read?;
                if read == 0 {
                    return Ok(());
                }
                committing |= armed.load(Ordering::SeqCst) && asked[..read].windows(6).any(|word| word == b"COMMIT");
                database.write_all(&asked[..read]).await?;
            }
            read = database.read(&mut answered) => {
                let read = read?;
                // The answer says that the commit is done. Nobody hears it.
                if read == 0 || committing {
                    armed.store(false, Ordering::SeqCst);
                    return Ok(());
                }
                client.write_all(&answered[..read]).await?;
            }
        }
    }
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_applied_once() {
    let mut world = World::new().await;
    let armed = Arc::new(AtomicBool::new(false));
    let port = proxy(armed.clone()).await;
    let url = world.database.url().replace(&format!(":{}/", server().port), &format!(":{port}/"));
    let pool = helix_postgres::connect(&url, 2).await.unwrap();
    world.store = PostgresStore::new(pool, registry(), world.codec.clone(), world.settings.clone());
    world.acquire().await;
    world.append(missed_call(0, "c1", "919000000001"));
    let batch = world.rest();
    armed.store(true, Ordering::SeqCst);
    let lost = world.apply(&batch).await;
    assert!(matches!(lost, Err(StoreError::Unavailable(_))), "{lost:?}");
    assert!(!armed.load(Ordering::SeqCst), "the commit went through the proxy");
    // The engine tries the same batch again, is told that it no longer holds the partition, and asks where it stands.
    let again = world.apply(&batch).await;
    assert!(matches!(again, Err(StoreError::Fenced { .. })), "{again:?}");
    world.acquire().await;
    for (partition, held) in &world.held {
        assert_eq!(held.next_offset, world.log.end(*partition));
    }
    world.agrees_with_the_fold().await;
}

#[tokio::test]
async fn a_batch_that_the_database_ends_for_its_time_is_told_as_one_that_took_too_long() {
    let mut world = World::new().await;
    // As a projector's sessions, less patient, but with whatever a busy machine takes.
    let options: sqlx::postgres::PgConnectOptions = world.database.url().parse().unwrap();
    let options = options.options([("search_path", "read,state"), ("statement_timeout", "3s")]);
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(2).connect_with(options).await.unwrap();
    world.store = PostgresStore::new(pool, registry(), world.codec.clone(), world.settings.clone());
    world.acquire().await;
    world.append(missed_call(0, "c1", "919000000001"));
    let batch = world.rest();
    let other = helix_postgres::connect(&world.database.url(), 1).await.unwrap();
    let mut holding = other.begin().await.unwrap();
    sqlx::query("lock table read.calls in access exclusive mode").execute(&mut *holding).await.unwrap();
    let late = world.apply(&batch).await;
    assert!(matches!(late, Err(StoreError::TooLong(_))), "{late:?}");
    holding.rollback().await.unwrap();
    world.apply(&batch).await.unwrap();
    world.agrees_with_the_fold().await;
}

#[tokio::test]
async fn a_frozen_instance_with_an_open_transaction_does_not_hold_its_partitions_for_ever() {
    let mut world = World::new().await;
    let mut frozen = world.pool.acquire().await.unwrap();
    let timeout: String =
        sqlx::query_scalar("show idle_in_transaction_session_timeout").fetch_one(&mut *frozen).await.unwrap();
    assert_eq!(timeout, "15s");
    // The same sooner.
    frozen.execute("set idle_in_transaction_session_timeout = '300ms'").await.unwrap();
    frozen.execute("begin; update helix.projection_progress set updated_at = now()").await.unwrap();
    world.acquire().await;
    world.tell(missed_call(0, "c1", "919000000001")).await;
    world.agrees_with_the_fold().await;
    assert!(frozen.execute("commit").await.is_err());
}

#[tokio::test]
async fn a_zombie_that_wakes_after_its_partition_was_taken_changes_nothing() {
    let mut world = World::new().await;
    world.append(missed_call(0, "c1", "919000000001"));
    let stale = world.rest();
    let mut other = world.another_store();
    other.acquire(TOPIC, &[0, 1, 2]).await.unwrap();
    let woken = world.apply(&stale).await;
    assert!(matches!(woken, Err(StoreError::Fenced { .. })), "{woken:?}");
    assert!(world.snapshot().await.rows.is_empty());
}

#[tokio::test]
async fn a_batch_of_which_one_partition_is_lost_is_not_applied_at_all() {
    let mut world = World::new().await;
    for number in 0..9 {
        world.append(missed_call(number, &format!("c{number}"), "919000000001"));
    }
    let batch = world.rest();
    assert!(batch.slices.len() > 1);
    let lost = batch.slices.last().unwrap().partition;
    world.another_store().acquire(TOPIC, &[lost]).await.unwrap();
    let refused = world.apply(&batch).await;
    assert!(matches!(refused, Err(StoreError::Fenced { partition }) if partition == lost), "{refused:?}");
    let snapshot = world.snapshot().await;
    assert!(snapshot.rows.is_empty());
    assert!(snapshot.progress.values().all(|next| *next == 0));
    world.acquire().await;
    world.drain().await;
    world.agrees_with_the_fold().await;
}

#[tokio::test]
async fn a_backend_that_dies_in_a_batch_leaves_nothing_of_it() {
    let mut world = World::new().await;
    world.append(missed_call(0, "c1", "919000000001"));
    // The batch waits for the workspace and dies waiting.
    let mut holding = world.pool.acquire().await.unwrap();
    holding.execute("select pg_advisory_lock(hashtextextended('postgres/ramaiah', 0))").await.unwrap();
    let batch = world.rest();
    let mut store = world.another_store();
    let applying = tokio::spawn(async move { store.apply(&batch).await });
    let mut administrator = world.database.administrator().await;
    loop {
        let found = administrator
            .fetch_all(
                "with waiting as materialized (
                     select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
                 )
                 select pid from waiting where pg_terminate_backend(pid)",
            )
            .await
            .unwrap();
        if let Some(row) = found.first() {
            println!("ended backend {}", row.get::<i32, _>("pid"));
            break;
        }
        tokio::task::yield_now().await;
    }
    let died = applying.await.unwrap();
    assert!(matches!(died, Err(StoreError::Unavailable(_))), "{died:?}");
    holding.execute("select pg_advisory_unlock_all()").await.unwrap();
    assert!(world.snapshot().await.progress.values().all(|next| NextOffset(*next) == NextOffset(0)));
    world.drain().await;
    world.agrees_with_the_fold().await;
}
