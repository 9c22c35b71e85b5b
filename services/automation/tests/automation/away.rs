//! Instances that freeze, sleep, fall behind or are slow, on a real Postgres: what they say when they are back.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use helix_automation::{AllBounds, AutomationStore};
use helix_runtime::{Lag, Store as _, StoreError};
use helix_schemas::{fact::AgentState, topics};

use crate::{
    machine::partition_of,
    postgres::Database,
    store::{ALL, HOUR, Instance, Log, wrap_up},
    story::{Story, codec},
};

/// Nothing waits, as of a second ago.
const A_MOMENT_AGO: Lag = Lag { facts: 0, millis: 0, age: Duration::from_secs(1) };

#[tokio::test]
async fn a_frozen_instance_with_an_open_transaction_holds_its_partitions_for_seconds_and_writes_nothing() {
    let (database, log) = (Database::new().await, Log::default());
    wrap_up(&log);
    let frozen = helix_automation::connect(&database.url(), 1).await.unwrap();
    Instance::start(&database, &log, &ALL).await.catch_up(10).await;
    let mut open = frozen.begin().await.unwrap();
    sqlx::query("update automation.progress set next_offset = 1000").execute(&mut *open).await.unwrap();
    // Another takes over, and asks as the engine does.
    let pool = helix_automation::connect(&database.url(), 4).await.unwrap();
    let mut second = AutomationStore::new(pool, (None, codec()), AllBounds(BTreeMap::new()), Arc::new(log.clone()));
    let patience = Duration::from_secs(120);
    let acquired = tokio::time::timeout(patience, second.acquire(topics::FACTS, &ALL)).await;
    let positions = acquired.expect("the engine waits no longer").unwrap();
    assert!(positions.iter().all(|position| position.next_offset.0 < 1000), "{positions:?}");
    assert!(open.commit().await.is_err(), "what it had begun is gone");
}

#[tokio::test]
async fn no_session_waits_or_works_for_ever() {
    let database = Database::new().await;
    for name in ["idle_in_transaction_session_timeout", "statement_timeout", "tcp_user_timeout"] {
        let value: String = sqlx::query_scalar("select setting from pg_settings where name = $1")
            .bind(name)
            .fetch_one(&database.pool)
            .await
            .unwrap();
        assert!((1..30_001).contains(&value.parse::<i64>().unwrap()), "{name} = {value}");
    }
}

/// Two agents whose facts lie in different partitions, with the first one's partition and all others.
fn two_agents() -> ([String; 2], Vec<i32>, Vec<i32>) {
    let partition = |name: &str| partition_of(&Story::of("w").state(name, 0, AgentState::Ready));
    let other = (0..20).map(|number| format!("b{number}")).find(|name| partition(name) != partition("a"));
    let (mine, theirs) = ALL.into_iter().partition(|at| *at == partition("a"));
    (["a".to_owned(), other.unwrap()], mine, theirs)
}

#[tokio::test]
async fn a_call_is_not_decided_while_another_instance_has_not_read_its_part() {
    let (database, log) = (Database::new().await, Log::default());
    let story = Story::of("w");
    let ([one, other], mine, theirs) = two_agents();
    // Who knows but a's part sees a call that rang and nobody answered. It is talked on.
    log.put(&story.rang("c", Some(&one), 0));
    let mut first = Instance::start(&database, &log, &mine).await;
    let mut second = Instance::start(&database, &log, &theirs).await;
    first.catch_up(10).await;
    second.catch_up(10).await;
    second.look(60).await;
    // The second one comes back from some hours away: its partitions are acquired anew, and it has yet to read them.
    drop(second);
    log.put(&story.answered("c", &other, 600));
    let mut second = Instance::start(&database, &log, &theirs).await;
    first.look(HOUR + 1).await;
    assert_eq!(log.told(), [], "somebody has not said yet what is in his part");
    second.catch_up(10).await;
    second.look(HOUR + 1).await;
    first.look(HOUR + 2).await;
    assert_eq!(log.told(), [], "it was answered");
    second.look(4 * HOUR + 600).await;
    assert_eq!(log.told(), [("CallPresumedEnded".to_owned(), 4 * HOUR + 600)]);
}

#[tokio::test]
async fn a_database_whose_clock_was_set_back_holds_nothing_up_and_vouches_for_nobody() {
    let (database, log) = (Database::new().await, Log::default());
    let story = Story::of("w");
    let ([one, other], mine, theirs) = two_agents();
    log.put(&story.state(&one, 0, AgentState::WrapUp));
    log.put(&story.rang("c", Some(&one), 0));
    let mut first = Instance::start(&database, &log, &mine).await;
    let mut second = Instance::start(&database, &log, &theirs).await;
    first.catch_up(10).await;
    second.catch_up(10).await;
    first.look(10).await;
    second.look(10).await;
    // What was noted before is hours ahead now.
    for noted in ["automation.timers set set_at", "automation.progress set read_at"] {
        let update = format!("update {noted} = now() + interval '5 hours'");
        sqlx::query(sqlx::AssertSqlSafe(update)).execute(&database.pool).await.unwrap();
    }
    log.put(&story.answered("c", &other, 600));
    first.look(HOUR + 1).await;
    assert_eq!(log.told(), [("WrapUpExpired".to_owned(), 30)], "who has the other part may be away for hours");
    second.catch_up(10).await;
    second.look(HOUR + 1).await;
    first.look(4 * HOUR + 599).await;
    assert!(log.told().iter().all(|(decision, _)| decision != "CallPresumedEnded"), "it was answered");
    second.look(4 * HOUR + 600).await;
    assert!(log.told().contains(&("CallPresumedEnded".to_owned(), 4 * HOUR + 600)));
}

#[tokio::test]
async fn a_clock_of_ours_that_is_set_back_decides_nothing_before_its_time_and_nothing_twice() {
    let (database, log) = (Database::new().await, Log::default());
    wrap_up(&log);
    let mut instance = Instance::start(&database, &log, &ALL).await;
    instance.catch_up(10).await;
    for second in [89, -5 * HOUR, 89] {
        instance.look(second).await;
        assert_eq!(log.told(), [], "at {second}");
    }
    instance.look(90).await;
    instance.look(-5 * HOUR).await;
    instance.catch_up(10).await;
    for second in [0, 91, 4 * HOUR - 1] {
        instance.look(second).await;
    }
    assert_eq!(log.told(), [("WrapUpExpired".to_owned(), 90)]);
}

#[tokio::test]
async fn a_clock_of_ours_that_is_set_ahead_decides_what_the_next_word_takes_back() {
    let (database, log) = (Database::new().await, Log::default());
    wrap_up(&log);
    let mut instance = Instance::start(&database, &log, &ALL).await;
    instance.catch_up(10).await;
    // Five hours too many: a silence that has not been yet.
    instance.look(5 * HOUR).await;
    instance.catch_up(10).await;
    assert_eq!(log.told().len(), 2, "{:?}", log.told());
    let ready = Story::of("w").state("a", 80, AgentState::Ready);
    log.put(&ready);
    instance.look(81).await;
    instance.catch_up(10).await;
    let (with, board) = crate::late::folded(&log.facts());
    let provider: Vec<_> = log.facts().into_iter().filter(|fact| fact.provider == "ozonetel").collect();
    let (without, meant) = crate::late::folded(&provider);
    assert_eq!(
        (with.rows().root(), with.rows().len(), board.root()),
        (without.rows().root(), without.rows().len(), meant.root())
    );
    // And the silence that does come is decided.
    instance.look(4 * HOUR + 80).await;
    assert!(log.told().contains(&("AgentPresumedOffline".to_owned(), 4 * HOUR + 80)), "{:?}", log.told());
}

#[tokio::test]
async fn a_state_of_a_century_ago_or_of_tomorrow_keeps_nobody_from_being_judged_today() {
    let (database, log) = (Database::new().await, Log::default());
    let story = Story::of("w");
    let century = -100 * 365 * 24 * HOUR;
    // Received today, both of them.
    for second in [century, 20 * HOUR] {
        let mut odd = story.state("a", second, AgentState::Ready);
        odd.received_at = crate::story::ours(0);
        log.put(&odd);
    }
    log.put(&story.state("a", 0, AgentState::OnCall));
    log.put(&story.state("a", 60, AgentState::WrapUp));
    let mut instance = Instance::start(&database, &log, &ALL).await;
    instance.catch_up(1).await;
    for second in [30, 89, 90, 91, 4 * HOUR + 61] {
        instance.look(second).await;
        instance.catch_up(1).await;
    }
    let today = log.told().into_iter().filter(|(_, second)| *second >= 0).collect::<Vec<_>>();
    let expected = [("AgentPresumedOffline".to_owned(), 60 + 4 * HOUR), ("WrapUpExpired".to_owned(), 90)];
    assert_eq!(today, expected);
    assert!(log.told().len() <= 3, "a silence of a century is decided once: {:?}", log.told());
}

#[tokio::test]
async fn a_workspace_that_is_configured_no_more_is_left_alone_and_one_that_is_again_is_judged_from_its_next_word() {
    let (database, log) = (Database::new().await, Log::default());
    wrap_up(&log);
    let mut instance = Instance::start(&database, &log, &ALL).await;
    instance.catch_up(10).await;
    let pool = database.pool.clone();
    let gone = AllBounds(BTreeMap::new());
    let mut other = AutomationStore::new(pool, (None, codec()), gone, Arc::new(log.clone()));
    other.acquire(topics::FACTS, &ALL).await.unwrap();
    other.beat(Some(Lag::default())).await.unwrap();
    assert_eq!(log.told(), []);
    let mut again = Instance::start(&database, &log, &ALL).await;
    log.put(&Story::of("w").rang("c", Some("a"), 70));
    again.catch_up(10).await;
    again.look(90).await;
    assert_eq!(log.told(), [("WrapUpExpired".to_owned(), 90)]);
}

#[tokio::test]
async fn an_agent_is_decided_whatever_another_instance_has_read() {
    let (database, log) = (Database::new().await, Log::default());
    let (_, mine, theirs) = two_agents();
    wrap_up(&log);
    let mut first = Instance::start(&database, &log, &mine).await;
    let _second = Instance::start(&database, &log, &theirs).await;
    first.catch_up(10).await;
    first.look(90).await;
    assert_eq!(log.told(), [("WrapUpExpired".to_owned(), 90)]);
}

#[tokio::test]
async fn whoever_slept_for_hours_asks_for_the_logs_end_before_it_decides() {
    let (database, log) = (Database::new().await, Log::default());
    let story = Story::of("w");
    log.put(&story.state("a", 0, AgentState::Ready));
    let mut instance = Instance::start(&database, &log, &ALL).await;
    instance.catch_up(10).await;
    instance.look(10).await;
    // While the machine slept, the agent worked on; what the lag rests on was asked before.
    log.put(&story.rang("c", Some("a"), 3 * HOUR));
    instance.second.store(5 * HOUR, Ordering::Relaxed);
    instance.store.beat(Some(A_MOMENT_AGO)).await.unwrap();
    assert_eq!(log.told(), []);
    instance.catch_up(10).await;
    instance.look(5 * HOUR).await;
    assert_eq!(log.told(), [("CallPresumedEnded".to_owned(), 4 * HOUR)], "the agent's silence begins at 3 h");
}

#[tokio::test]
async fn what_was_due_a_while_ago_is_looked_up_again_before_it_is_appended() {
    let (database, log) = (Database::new().await, Log::default());
    let story = Story::of("w");
    for number in 0..150 {
        log.put(&story.state(&format!("a{number}"), 60, AgentState::WrapUp));
    }
    let mut instance = Instance::start(&database, &log, &ALL).await;
    instance.catch_up(200).await;
    // The log takes hundreds of seconds for the first hundred.
    *log.slow.lock().unwrap() = Some((instance.second.clone(), 6));
    instance.look(90).await;
    assert_eq!(log.told().len(), 100);
    instance.look(1000).await;
    assert_eq!(log.told().len(), 150);
}

#[tokio::test]
async fn one_that_was_fenced_for_hours_and_comes_back_decides_by_what_was_read_meanwhile() {
    let (database, log) = (Database::new().await, Log::default());
    let story = Story::of("w");
    log.put(&story.state("a", 60, AgentState::WrapUp));
    log.put(&story.answered("c", "b", 60));
    let mut first = Instance::start(&database, &log, &ALL).await;
    first.catch_up(10).await;
    let mut second = Instance::start(&database, &log, &ALL).await;
    log.put(&story.state("a", 80, AgentState::Ready));
    log.put(&story.ended("c", Some("b"), 90));
    log.put(&story.state("b", 95, AgentState::Offline));
    log.put(&story.state("a", 5 * HOUR, AgentState::Offline));
    second.catch_up(10).await;
    drop(second);
    // It wakes, thinks that it has read all there was, and is told that it holds nothing.
    first.look(6 * HOUR).await;
    assert_eq!(log.told(), []);
    let late = first.apply(&first.batch(10)).await;
    assert!(matches!(late, Err(StoreError::Fenced { .. })), "{late:?}");
    let mut again = Instance::start(&database, &log, &ALL).await;
    again.catch_up(10).await;
    again.look(6 * HOUR).await;
    assert_eq!(log.told(), [("AgentPresumedOffline".to_owned(), 80 + 4 * HOUR)], "the one silence that there was");
}

#[tokio::test]
async fn however_many_wait_to_be_read_back_the_others_are_decided() {
    let (database, log) = (Database::new().await, Log::default());
    let story = Story::of("w");
    for number in 0..1100 {
        log.put(&story.rang(&format!("c{number}"), None, number % 7));
    }
    log.put(&story.state("b", HOUR, AgentState::WrapUp));
    let mut instance = Instance::start(&database, &log, &ALL).await;
    instance.catch_up(2000).await;
    instance.look(HOUR + 30).await;
    assert_eq!(log.told().len(), 1000, "most that are made at once");
    // Nothing is read back.
    instance.look(HOUR + 31).await;
    let told = log.told();
    assert_eq!(told.len(), 1101);
    assert!(told.contains(&("WrapUpExpired".to_owned(), HOUR + 30)));
    let mut ids: Vec<_> = log.appended().iter().map(|fact| fact.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 1101, "each once");
}

#[tokio::test]
async fn what_the_database_refuses_for_what_it_is_is_told_as_refused_without_its_values() {
    let (database, log) = (Database::new().await, Log::default());
    let story = Story::of("w");
    log.put(&story.rang("c-secret", Some("a"), 0));
    sqlx::query("alter table automation.calls add constraint no_such_calls check (call_id <> 'c-secret')")
        .execute(&database.pool)
        .await
        .unwrap();
    let mut instance = Instance::start(&database, &log, &ALL).await;
    let refused = instance.apply(&instance.batch(10)).await;
    let Err(StoreError::Refused { reason }) = refused else { panic!("{refused:?}") };
    assert_eq!(reason, "postgres refuses it: sqlstate 23514 at no_such_calls");
    // What is only not to be had for now is tried again.
    sqlx::query("alter table automation.calls rename to calls_away").execute(&database.pool).await.unwrap();
    let unavailable = instance.apply(&instance.batch(10)).await;
    assert!(matches!(unavailable, Err(StoreError::Unavailable(_))), "{unavailable:?}");
}
