//! Row-level security: what a workspace's role sees of every table and view there is.

use helix_postgres::pause;
use helix_schemas::scope::Scope;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use sqlx::{AssertSqlSafe, Executor as _, PgConnection, Row as _};

use crate::{
    random::history,
    server::Database,
    story::{TOPIC, World, missed_call, of},
};

/// A table or view: its name, whether it has the column workspace_id.
struct Relation {
    name: String,
    of_workspaces: bool,
}

async fn relations(administrator: &mut PgConnection) -> Vec<Relation> {
    let found = administrator
        .fetch_all(
            "select format('%I.%I', space.nspname, class.relname) as name,
                    exists (select from pg_attribute where attrelid = class.oid and attname = 'workspace_id') as of_workspaces
             from pg_class as class join pg_namespace as space on space.oid = class.relnamespace
             where class.relkind in ('r', 'v', 'm', 'p', 'f')
               and space.nspname not in ('pg_catalog', 'information_schema', 'pg_toast') and space.nspname not like 'pg_temp%'
             order by 1",
        )
        .await
        .unwrap();
    found.iter().map(|row| Relation { name: row.get("name"), of_workspaces: row.get("of_workspaces") }).collect()
}

/// Two hospitals with rows in every table, and a standby of both.
async fn two_hospitals() -> World {
    let mut world = World::new().await;
    let mut facts = history(&mut ChaCha8Rng::seed_from_u64(5));
    facts.extend(missed_call(0, "missed.here", "919000000009"));
    facts.extend(missed_call(0, "missed.there", "919000000009").into_iter().map(|fact| of("global", fact)));
    world.append(facts);
    let broken = world.log.append_raw(b"ramaiah/agent.broken", b"none");
    let batch = world.rest_with_parked(broken, "cannot be read");
    world.apply(&batch).await.unwrap();
    let broken = world.log.append_raw(b"global/agent.broken", b"none");
    let batch = world.rest_with_parked(broken, "cannot be read");
    world.apply(&batch).await.unwrap();
    pause(&world.pool, "forward:global", true).await.unwrap();
    let generations = world.generations();
    generations.begin(&Scope::All).await.unwrap();
    generations.fill(TOPIC, &mut world.log.clone(), &mut |_, _| (), &|| false).await.unwrap();
    world
}

/// How many rows of a workspace; the error's code where it may not be asked.
async fn seen(connection: &mut PgConnection, relation: &str, of: &str) -> Result<i64, String> {
    let count = format!("select count(*) from {relation} where {of}");
    let counted: Result<i64, _> = sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(connection).await;
    counted.map_err(|error| {
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        code.unwrap_or_default().into_owned()
    })
}

const NOT_ALLOWED: &str = "42501";
/// What a workspace's role may read.
const READABLE: [&str; 17] = [
    "helix.parked_facts",
    "helix.projection_roots",
    "helix.workspace_roles",
    "read.agent_intervals",
    "read.agent_sessions",
    "read.agents",
    "read.call_legs",
    "read.calls",
    "read.missed_calls",
    "read.queue_days",
    "read_standby.agent_intervals",
    "read_standby.agent_sessions",
    "read_standby.agents",
    "read_standby.call_legs",
    "read_standby.calls",
    "read_standby.missed_calls",
    "read_standby.queue_days",
];

async fn sees_its_own_alone(world: &World, bound: &mut PgConnection, own: &str, other: &str) {
    let mut administrator = world.database.administrator().await;
    let mut readable = Vec::new();
    for Relation { name, of_workspaces } in relations(&mut administrator).await {
        if !of_workspaces {
            assert_eq!(seen(bound, &name, "true").await, Err(NOT_ALLOWED.to_owned()), "{name}");
            continue;
        }
        let (of_own, of_other) = (format!("workspace_id = '{own}'"), format!("workspace_id = '{other}'"));
        let there = seen(&mut administrator, &name, &of_own).await.unwrap();
        match seen(bound, &name, &of_own).await {
            Ok(found) => {
                assert_eq!(found, there, "{name}");
                assert_eq!(seen(bound, &name, "workspace_id is distinct from null").await, Ok(there), "{name}");
                assert_eq!(seen(bound, &name, &of_other).await, Ok(0), "{name}");
                assert!(there > 0, "{name} holds nothing of {own}: the test shows nothing");
                let others = seen(&mut administrator, &name, &of_other).await.unwrap();
                assert!(others > 0, "{name} holds nothing of {other}: the test shows nothing");
                readable.push(name);
            }
            Err(code) => assert_eq!(code, NOT_ALLOWED, "{name}"),
        }
    }
    assert_eq!(readable, READABLE);
}

#[tokio::test]
async fn a_workspaces_role_sees_its_rows_of_every_table_and_view_and_no_others() {
    let world = two_hospitals().await;
    // A slug may be as long as a role's name, and hold `-`.
    let mut here = world.database.as_workspace("ramaiah", "ws_ramaiah").await;
    let mut there = world.database.as_workspace("global", "ws_global").await;
    sees_its_own_alone(&world, &mut here, "ramaiah", "global").await;
    sees_its_own_alone(&world, &mut there, "global", "ramaiah").await;
    // Also after the generations were exchanged, and their tables with them.
    world.generations().cut_over(TOPIC, &mut world.log.clone()).await.unwrap();
    sees_its_own_alone(&world, &mut here, "ramaiah", "global").await;
}

#[tokio::test]
async fn a_bound_role_cannot_widen_itself() {
    let world = two_hospitals().await;
    let mut bound = world.database.as_workspace("ramaiah", "ws_ramaiah").await;
    let every = "select count(*) from read.calls";
    let own: i64 = sqlx::query_scalar(every).fetch_one(&mut bound).await.unwrap();
    for attempt in [
        "set helix.workspace = 'global'",
        "set role helix_reader",
        "set session helix.workspace = 'global'; set role helix_reader",
    ] {
        bound.execute(attempt).await.unwrap();
        let seen: i64 = sqlx::query_scalar(every).fetch_one(&mut bound).await.unwrap();
        assert_eq!(seen, own, "{attempt}");
        let others = "select count(*) from read.agent_sessions where workspace_id <> 'ramaiah'";
        let others: i64 = sqlx::query_scalar(others).fetch_one(&mut bound).await.unwrap();
        assert_eq!(others, 0, "{attempt}");
        bound.execute("reset role; reset helix.workspace").await.unwrap();
    }
    for refused in [
        "set role helix",
        "set session authorization helix",
        "alter table read.calls disable row level security",
        "drop policy one_workspace on read.calls",
        "create policy more on read.calls for select using (true)",
        "insert into helix.workspace_roles values ('ws_ramaiah2', 'global')",
        "update helix.workspace_roles set workspace_id = 'global'",
        "delete from helix.workspace_roles",
        "create or replace function helix.current_workspace() returns text language sql as 'select ''global'''",
        "call helix.protect('read.calls')",
        "call helix.grant_readers()",
        "create schema mine",
        "create table public.mine (at integer)",
    ] {
        let code = bound.execute(refused).await.unwrap_err().as_database_error().unwrap().code().unwrap().into_owned();
        assert_eq!(code, NOT_ALLOWED, "{refused}");
    }
}

#[tokio::test]
async fn a_bound_role_writes_nothing() {
    let world = two_hospitals().await;
    let mut bound = world.database.as_workspace("ramaiah", "ws_ramaiah").await;
    let mut administrator = world.database.administrator().await;
    for Relation { name, .. } in relations(&mut administrator).await {
        for attempt in [
            format!("delete from {name}"),
            format!("truncate {name}"),
            format!("insert into {name} default values"),
            format!("lock table {name} in access exclusive mode"),
        ] {
            let refused = bound.execute(AssertSqlSafe(attempt.clone())).await;
            assert!(refused.is_err(), "{attempt}");
        }
    }
}

#[tokio::test]
async fn a_reader_without_a_binding_sees_the_workspace_that_it_names_and_none_without() {
    let world = two_hospitals().await;
    let mut administrator = world.database.administrator().await;
    administrator.execute("set role helix_reader").await.unwrap();
    let of = "select coalesce(string_agg(distinct workspace_id, ','), '') from read.calls";
    let mut seen = async |set: &'static str| -> String {
        administrator.execute(set).await.unwrap();
        sqlx::query_scalar(of).fetch_one(&mut administrator).await.unwrap()
    };
    assert_eq!(seen("reset helix.workspace").await, "");
    assert_eq!(seen("set helix.workspace = 'ramaiah'").await, "ramaiah");
    assert_eq!(seen("set helix.workspace = 'global'").await, "global");
    assert_eq!(seen("set helix.workspace = ''").await, "");
}

#[tokio::test]
async fn every_table_with_a_workspace_forces_its_policies_on_its_owner_too() {
    let world = two_hospitals().await;
    let mut administrator = world.database.administrator().await;
    let open = administrator
        .fetch_all(
            "select class.oid::regclass::text as name from pg_class as class
             join pg_attribute as attribute on attribute.attrelid = class.oid and attribute.attname = 'workspace_id'
             where class.relkind = 'r' and not (class.relrowsecurity and class.relforcerowsecurity)
               and class.relnamespace::regnamespace::text in ('read', 'state', 'helix', 'read_standby', 'state_standby')",
        )
        .await
        .unwrap();
    let open: Vec<String> = open.iter().map(|row| row.get("name")).collect();
    assert_eq!(open, Vec::<String>::new());
}

#[tokio::test]
async fn a_role_that_is_older_than_the_tables_is_bound_and_reads_them_once_they_are_there() {
    let database = Database::empty().await;
    let mut bound = database.as_workspace("ramaiah", "ws_ramaiah").await;
    let binding = "select string_agg(workspace_id, ',') from helix.workspace_roles";
    let pool = database.pool().await;
    helix_postgres::migrate(&pool).await.unwrap();
    let bindings: String = sqlx::query_scalar(binding).fetch_one(&mut bound).await.unwrap();
    assert_eq!(bindings, "ramaiah");
    bound.execute("set helix.workspace = 'global'").await.unwrap();
    // Its search path leads to the read models.
    let calls: i64 = sqlx::query_scalar("select count(*) from calls").fetch_one(&mut bound).await.unwrap();
    assert_eq!(calls, 0);
    let sees: String = sqlx::query_scalar("select helix.current_workspace()").fetch_one(&mut bound).await.unwrap();
    assert_eq!(sees, "ramaiah");
}
