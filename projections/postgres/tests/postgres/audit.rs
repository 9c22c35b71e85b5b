//! One changed value of any column of any table is found, and nothing else is.

use std::collections::{BTreeMap, BTreeSet};

use helix_fold::workspace::WorkspaceFold;
use helix_postgres::{Audit, RowDifference};
use helix_runtime::NextOffset;
use helix_schemas::{decision::Decision, fact::Body, names::WorkspaceId, time::MOMENTS, time::OccurredAt};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use crate::{
    random::{history, seeds},
    story::{PARTITIONS, TOPIC, World, answered, decided, ended, inbound, missed_call, rang, state, summary},
};

/// The first difference of each workspace.
async fn differences(world: &World) -> BTreeMap<WorkspaceId, RowDifference> {
    let audit = Audit::take(&world.pool, TOPIC, None).await.unwrap();
    let mut folds: BTreeMap<WorkspaceId, WorkspaceFold> = BTreeMap::new();
    let fold = |workspace: &WorkspaceId| WorkspaceFold::new(workspace.clone(), world.settings.of(workspace));
    audit.workspaces().for_each(|workspace| drop(folds.insert(workspace.clone(), fold(workspace))));
    for partition in 0..PARTITIONS {
        let until = NextOffset(audit.progress.get(&partition).copied().unwrap_or(0));
        for record in world.log.between(partition, NextOffset(0), until) {
            if audit.parked.contains(&(partition, record.offset.0)) {
                continue;
            }
            let fact = world.codec.decode(&record.value).unwrap();
            let of_fact = folds.entry(fact.workspace.clone()).or_insert_with(|| fold(&fact.workspace));
            of_fact.apply(&fact, record.offset.0);
        }
    }
    let found = folds.into_iter().filter_map(|(workspace, fold)| {
        Some((workspace, audit.first_difference(&fold, &fold.rows(), &world.settings)?))
    });
    found.collect()
}

#[tokio::test]
async fn what_any_history_leaves_has_no_difference() {
    for seed in 0..6 {
        println!("seed {seed}");
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let mut world = World::new().await;
        for part in history(&mut dice).chunks(20) {
            world.append(part.to_vec());
            let mut batch = world.rest();
            // Another instance has some of the partitions, and is slower.
            batch.slices.retain(|_| dice.random_bool(0.7));
            if batch.slices.is_empty() {
                continue;
            }
            world.apply(&batch).await.unwrap();
            if dice.random_bool(0.2) {
                world.acquire().await;
            }
            assert_eq!(differences(&world).await, BTreeMap::new());
        }
        world.drain().await;
        assert_eq!(differences(&world).await, BTreeMap::new());
    }
}

#[tokio::test]
async fn a_key_that_is_parked_and_unparked_leaves_no_difference() {
    let mut world = World::new().await;
    world.tell(missed_call(0, "c1", "919000000001")).await;
    let parked = rang(100, "c2", Some("agent.one"), inbound());
    let at = world.log.append(&parked);
    world.append([state(101, "agent.one", helix_schemas::fact::AgentState::OnCall, None)]);
    let batch = world.rest_with_parked(at, "a test");
    world.apply(&batch).await.unwrap();
    assert_eq!(differences(&world).await, BTreeMap::new());
    let end = world.log.end(at.0);
    let waiting = world.log.between(at.0, NextOffset(at.1.0), end).into_iter();
    let waiting = waiting.filter(|record| record.key == parked.key().as_bytes()).map(|record| (at.0, record)).collect();
    world.store.unpark(TOPIC, parked.key().as_bytes(), waiting, false).await.unwrap();
    assert_eq!(differences(&world).await, BTreeMap::new());
}

/// Every table has rows in which each column that may be null is null and is not, as far as facts make it so.
async fn a_full_world() -> World {
    let mut world = World::new().await;
    world.tell(history(&mut ChaCha8Rng::seed_from_u64(3))).await;
    let mut facts = missed_call(300, "m1", "919000000077");
    facts.extend(missed_call(400, "m2", "919000000077"));
    facts.extend(missed_call(9_000, "m3", "919000000078"));
    facts.push(decided(450, Decision::MissedCallClaimed, None, Some("m1"), None));
    facts.push(decided(9_100, Decision::MissedCallClaimed, None, Some("m3"), None));
    facts.push(decided(470, Decision::MissedCallWaived, None, Some("m2"), None));
    let mut named = state(500, "agent.two", helix_schemas::fact::AgentState::Ready, Some("Lunch"));
    if let Body::AgentStateChanged(changed) = &mut named.body {
        (changed.agent_name, changed.mode) = (Some("A name".into()), Some("INBOUND".into()));
    }
    facts.push(named);
    facts.extend([
        rang(600, "s1", Some("agent.two"), inbound()),
        answered(605, "s1", Some("agent.two"), inbound()),
        ended(700, "s1", Some("agent.two"), inbound()),
    ]);
    facts.push(summary(705, "s1", |said| {
        (said.answered, said.disposition, said.hangup_by) = (Some(true), Some("Sale".into()), Some("agent".into()));
        (said.recording_url, said.party.campaign) = (Some("https://example/a".into()), Some("Heart".into()));
        (said.hold_seconds, said.wrap_up_seconds) = (Some(3), Some(9));
        (said.call_seconds, said.talk_seconds) = (Some(500), Some(1));
    }));
    world.tell(facts).await;
    assert_eq!(differences(&world).await, BTreeMap::new());
    world
}

struct Column {
    schema: String,
    table: String,
    name: String,
    kind: String,
}

async fn columns(administrator: &mut PgConnection) -> Vec<Column> {
    let found: Vec<(String, String, String, String)> = sqlx::query_as(
        "select table_schema::text, table_name::text, column_name::text, udt_name::text
         from information_schema.columns join information_schema.tables using (table_schema, table_name)
         where table_schema in ('read', 'state') and table_type = 'BASE TABLE'
         order by table_schema, table_name, ordinal_position",
    )
    .fetch_all(administrator)
    .await
    .unwrap();
    found.into_iter().map(|(schema, table, name, kind)| Column { schema, table, name, kind }).collect()
}

/// Another value than the one that is there, as little off as the type allows.
fn another(column: &Column) -> String {
    let name = &column.name;
    match column.kind.as_str() {
        "text" => format!("coalesce({name} || 'x', 'x')"),
        "int8" => format!("coalesce({name} + 1000, 0)"),
        "bool" => format!("not {name}"),
        "timestamptz" => format!("coalesce({name} + interval '1 microsecond', '2025-10-09')"),
        "date" => format!("{name} + 1"),
        "uuid" => "gen_random_uuid()".to_owned(),
        "_text" => format!("{name} || 'x'::text"),
        // One bit in the middle.
        "bytea" => format!("set_byte({name}, length({name}) / 2, get_byte({name}, length({name}) / 2) # 1)"),
        other => panic!("a column of a type that this test cannot change: {other}"),
    }
}

#[tokio::test]
async fn a_changed_value_of_any_column_of_any_table_is_found() {
    let seed = seeds()[0];
    println!("seed {seed}");
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let world = a_full_world().await;
    let mut administrator = world.database.administrator().await;
    let columns = columns(&mut administrator).await;
    let tables: BTreeSet<&str> = columns.iter().map(|column| column.table.as_str()).collect();
    let expected = ["agent_intervals", "agent_registers", "agent_timeline", "agents", "call_legs", "call_states"];
    assert_eq!(tables, expected.into_iter().chain(["calls", "missed_calls", "queue_days"]).collect());
    for column in &columns {
        let Column { schema, table, name, .. } = column;
        let mut flipped = 0;
        for of in ["is null", "is not null"] {
            let rows = format!("select ctid::text from {schema}.{table} where {name} {of} order by ctid");
            let rows: Vec<String> =
                sqlx::query_scalar(AssertSqlSafe(rows)).fetch_all(&mut administrator).await.unwrap();
            if rows.is_empty() {
                continue;
            }
            let chosen = &rows[dice.random_range(0..rows.len())];
            let text = |what: &str| format!("create table public.kept as select * from {schema}.{table}; {what}");
            let change = format!("update {schema}.{table} set {name} = {} where ctid = '{chosen}'", another(column));
            administrator.execute(AssertSqlSafe(text(&change))).await.unwrap();
            let found = differences(&world).await;
            let told = found.values().find(|told| told.table == table);
            let told = told.unwrap_or_else(|| panic!("{table}.{name} {of}, {chosen}: {found:?}"));
            // A changed key is a row that is missing.
            assert!(told.column.as_ref().is_none_or(|told| told == name), "{table}.{name}: {told:?}");
            let mend = format!(
                "truncate {schema}.{table}; insert into {schema}.{table} select * from public.kept; drop table public.kept"
            );
            administrator.execute(AssertSqlSafe(mend)).await.unwrap();
            flipped += 1;
        }
        assert!(flipped > 0, "{table} has no row whose {name} could be changed");
    }
    assert_eq!(differences(&world).await, BTreeMap::new());
    administrator.close().await.unwrap();
}

#[tokio::test]
async fn a_row_too_many_a_row_too_few_and_a_column_that_nobody_tells_are_found() {
    let world = a_full_world().await;
    let mut administrator = world.database.administrator().await;
    let ramaiah = crate::story::workspace("ramaiah");
    for table in ["read.call_legs", "state.agent_registers", "state.call_states", "state.agent_timeline"] {
        let name = table.split_once('.').unwrap().1;
        let taken = format!(
            "create table public.kept as select * from {table} where workspace_id = 'ramaiah' limit 1;
             delete from {table} as held using public.kept where held = kept.*::{table}"
        );
        let taken = taken.replace(&format!("held = kept.*::{table}"), "to_jsonb(held) = to_jsonb(kept)");
        administrator.execute(AssertSqlSafe(taken)).await.unwrap();
        let found = differences(&world).await.remove(&ramaiah).unwrap();
        assert_eq!((found.table, found.column.is_none(), found.stored.is_null()), (name, true, true));
        let again = format!("insert into {table} select * from public.kept; drop table public.kept");
        administrator.execute(AssertSqlSafe(again)).await.unwrap();
        assert_eq!(differences(&world).await, BTreeMap::new());
    }
    administrator
        .execute("insert into state.call_states (workspace_id, call_id, state, handled) values ('ramaiah', 'none', '{}', false)")
        .await
        .unwrap();
    let found = differences(&world).await.remove(&ramaiah).unwrap();
    assert_eq!((found.table, found.key.as_str(), found.folded.is_null()), ("call_states", "none", true));
    administrator.execute("delete from state.call_states where call_id = 'none'").await.unwrap();
    administrator.execute("alter table read.queue_days add column later bigint not null default 7").await.unwrap();
    let found = differences(&world).await.remove(&ramaiah).unwrap();
    assert_eq!((found.table, found.column.as_deref()), ("queue_days", Some("later")));
}

#[tokio::test]
async fn the_first_and_the_last_moments_of_facts_leave_the_rows_of_the_fold() {
    for millis in [MOMENTS.start, -1, 0, 1, 946_684_800_000, 4_133_980_799_999, MOMENTS.end - 1] {
        let mut world = World::new().await;
        let mut facts = vec![
            rang(0, "c1", Some("agent.one"), inbound()),
            ended(0, "c1", Some("agent.one"), inbound()),
            state(0, "agent.one", helix_schemas::fact::AgentState::Ready, None),
        ];
        facts.iter_mut().for_each(|fact| fact.occurred_at = OccurredAt::from_millis(millis));
        world.tell(facts).await;
        world.tell([state(0, "agent.one", helix_schemas::fact::AgentState::Paused, None)]).await;
        // What is remembered is read again, from the earliest on.
        world.acquire().await;
        let mut late = state(0, "agent.one", helix_schemas::fact::AgentState::OnCall, None);
        late.occurred_at = OccurredAt::from_millis(MOMENTS.start);
        world.tell([late]).await;
        world.agrees_with_the_fold().await;
        assert_eq!(differences(&world).await, BTreeMap::new(), "{millis}");
        let check = helix_postgres::check_books(&world.pool, &world.settings, None).await.unwrap();
        assert_eq!(check.differences(), 0, "{millis}: {check:?}");
    }
}
