//! What a fact costs does not grow with what its agent did before.

use std::collections::BTreeMap;

use sqlx::Row as _;

use crate::{
    postgres::Database,
    store::{ALL, Instance, Log},
    story::Story,
};

/// The transaction that wrote each row last, by table and row.
async fn written(database: &Database) -> BTreeMap<String, i64> {
    let rows = sqlx::query(
        "select 'call ' || call_id as id, xmin::text::bigint as by from automation.calls
         union all select 'agent ' || agent_id, xmin::text::bigint from automation.agents
         union all select 'timer ' || subject || ' ' || subject_id || ' ' || decision, xmin::text::bigint
                   from automation.timers",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    rows.iter().map(|row| (row.get("id"), row.get("by"))).collect()
}

async fn calls_of(database: &Database, agent: &str) -> i32 {
    let query =
        "select count(*)::integer from automation.agents, jsonb_object_keys(watch -> 'calls') where agent_id = $1";
    sqlx::query_scalar(query).bind(agent).fetch_one(&database.pool).await.unwrap()
}

#[tokio::test]
async fn a_fact_of_an_agent_of_whom_no_states_come_writes_its_own_call_alone() {
    let (database, log) = (Database::new().await, Log::default());
    let story = Story::of("w");
    let mut instance = Instance::start(&database, &log, &ALL).await;
    for number in 0..300 {
        let call = format!("c{number}");
        log.put(&story.rang(&call, Some("a"), number * 20));
        log.put(&story.answered(&call, "a", number * 20 + 5));
        log.put(&story.ended(&call, None, number * 20 + 15));
        log.put(&story.summarised(&call, number * 20 + 16));
    }
    instance.catch_up(500).await;
    let before = written(&database).await;
    log.put(&story.rang("new", Some("a"), 300 * 20));
    instance.catch_up(10).await;
    let after = written(&database).await;
    let changed = after.iter().filter(|(id, by)| before.get(*id) != Some(*by)).map(|(id, _)| id.as_str());
    assert_eq!(changed.collect::<Vec<_>>(), ["agent a", "call new", "timer call new CallPresumedEnded"]);
    assert_eq!(calls_of(&database, "a").await, 64, "most that are remembered of an agent");
}

#[tokio::test]
async fn the_agents_next_state_frees_calls_that_nobody_ended_however_many_were_over_since() {
    let (database, log) = (Database::new().await, Log::default());
    let story = Story::of("w");
    log.put(&story.answered("lost", "a", 0));
    for number in 1..60 {
        let call = format!("c{number}");
        log.put(&story.answered(&call, "a", number * 20));
        log.put(&story.summarised(&call, number * 20 + 16));
    }
    log.put(&story.state("a", 1300, helix_schemas::fact::AgentState::Ready));
    let mut instance = Instance::start(&database, &log, &ALL).await;
    instance.catch_up(7).await;
    instance.look(1310).await;
    assert_eq!(log.told(), [("CallPresumedEnded".to_owned(), 1300)]);
}
