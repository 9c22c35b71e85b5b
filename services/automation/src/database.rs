//! The schema `automation`, and the rows of what is remembered in it.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeZone as _, Utc};
use helix_runtime::StoreError;
use helix_schemas::{
    names::{AgentId, CallId, WorkspaceId},
    time::OccurredAt,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sqlx::{
    Connection as _, Executor as _, PgConnection, PgPool, Row as _,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions, PgRow},
};

use crate::watch::{Arrived, Watched};

/// Where this service's tables and the list of its own migrations are.
const SCHEMA: &str = "automation";

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AutomationError {
    /// It does not answer, or refused.
    #[error("postgres: {0}")]
    Sql(#[from] sqlx::Error),
    /// Its schema is not what this build expects.
    #[error("postgres migrations: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A stored value is none that this build writes: forget everything (`helix automation --rebuild`).
    #[error("{table} holds a value that cannot be read: {reason}")]
    Stored {
        /// The table.
        table: &'static str,
        /// What is wrong, without values.
        reason: String,
    },
}

impl AutomationError {
    /// What Postgres refuses for what it is, however often it is asked: data exceptions (class 22, as a NUL in a text),
    /// broken constraints (class 23), and values that are longer than an index takes (54000). The code and what it concerns;
    /// never the message, which may hold values.
    fn refusal(&self) -> Option<String> {
        let Self::Sql(sqlx::Error::Database(error)) = self else { return None };
        let code = error.code()?;
        let of_data = code.starts_with("22") || code.starts_with("23") || code == "54000";
        of_data.then(|| match error.constraint().or_else(|| error.table()) {
            Some(place) => format!("postgres refuses it: sqlstate {code} at {place}"),
            None => format!("postgres refuses it: sqlstate {code}"),
        })
    }
}

impl From<AutomationError> for StoreError {
    fn from(error: AutomationError) -> Self {
        match error.refusal() {
            Some(reason) => Self::Refused { reason },
            None => Self::unavailable(error),
        }
    }
}

/// What every session is told: as those of the read models, whose projector meets the same deaths.
const SESSION: [(&str, &str); 9] = [
    // A frozen instance with an open transaction would hold its partitions' progress, and all who wait for them.
    ("idle_in_transaction_session_timeout", "15s"),
    // Below the engine's patience with a store; waiting for a lock counts.
    ("statement_timeout", "25s"),
    // A peer that is gone without a word.
    ("tcp_keepalives_idle", "15"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "30s"),
    // What a batch concerns is found by key: a plan is made for the tables as they are, not as they were when they were empty.
    ("plan_cache_mode", "force_custom_plan"),
    ("jit", "off"),
    ("search_path", "public"),
];

/// Opens a pool.
///
/// # Errors
/// [`AutomationError::Sql`] where the URL is wrong or the database does not answer.
pub async fn connect(url: &str, connections: u32) -> Result<PgPool, AutomationError> {
    let options: PgConnectOptions = url.parse()?;
    let options = options.application_name("helix-automation").options(SESSION);
    Ok(PgPoolOptions::new().max_connections(connections).connect_with(options).await?)
}

/// Brings the schema to this build's version.
///
/// # Errors
/// [`AutomationError::Migrate`] where an applied migration is not the one this build carries.
pub async fn migrate(pool: &PgPool) -> Result<(), AutomationError> {
    let mut migrator: Migrator = sqlx::migrate!();
    migrator.create_schema(SCHEMA);
    migrator.dangerous_set_table_name(format!("{SCHEMA}.migrations"));
    let mut connection = pool.acquire().await?.detach();
    // It may wait for another service that migrates, and a migration for large tables.
    connection.execute("set statement_timeout = 0").await?;
    migrator.run(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

/// Forgets everything, so that the log is read anew. Decisions that are in the log count as made. Running instances are
/// fenced and begin anew. In one transaction.
///
/// # Errors
/// Where the database does not answer; then nothing has changed.
pub async fn forget_everything(pool: &PgPool) -> Result<(), AutomationError> {
    let mut tx = pool.begin().await?;
    // Progress first: it is what instances lock first, so that neither waits for the other.
    sqlx::query(
        "update automation.progress set next_offset = 0, epoch = epoch + 1, read_at = null, updated_at = now()",
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "truncate automation.agents, automation.calls, automation.timers, automation.clocks, automation.parked",
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

/// Takes the workspaces one after the other, always in the same order: instances that work facts of one call wait for each
/// other and never for good.
pub(crate) async fn lock(tx: &mut PgConnection, facts: &[Arrived]) -> Result<(), AutomationError> {
    let workspaces: BTreeSet<&str> = facts.iter().map(|arrived| arrived.fact.workspace.as_str()).collect();
    for workspace in workspaces {
        sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 0))")
            .bind(format!("helix.automation.{workspace}"))
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

/// What is remembered of the subjects that facts concern.
pub(crate) async fn load(tx: &mut PgConnection, facts: &[Arrived]) -> Result<Watched, AutomationError> {
    const AGENTS: &str = "automation.agents";
    const CALLS: &str = "automation.calls";
    let mut watched = Watched::default();
    let agents = Watched::agents_of(facts);
    let (workspaces, ids): (Vec<&str>, Vec<&str>) =
        agents.iter().map(|(workspace, agent)| (workspace.as_str(), agent.as_str())).unzip();
    let rows = sqlx::query(
        "select held.* from automation.agents as held
         join unnest($1::text[], $2::text[]) as asked (workspace_id, agent_id) using (workspace_id, agent_id)",
    )
    .bind(&workspaces)
    .bind(&ids)
    .fetch_all(&mut *tx)
    .await?;
    for row in &rows {
        let agent = AgentId::new(row.try_get("agent_id")?).map_err(|error| bad(AGENTS, error))?;
        watched.know_agent((workspace(AGENTS, row)?, agent), row.try_get("partition")?, read(AGENTS, row, "watch")?);
    }
    let calls = watched.calls_of(facts);
    let (workspaces, ids): (Vec<&str>, Vec<&str>) =
        calls.iter().map(|(workspace, call)| (workspace.as_str(), call.as_str())).unzip();
    let rows = sqlx::query(
        "select held.* from automation.calls as held
         join unnest($1::text[], $2::text[]) as asked (workspace_id, call_id) using (workspace_id, call_id)",
    )
    .bind(&workspaces)
    .bind(&ids)
    .fetch_all(&mut *tx)
    .await?;
    for row in &rows {
        let call = CallId::new(row.try_get("call_id")?).map_err(|error| bad(CALLS, error))?;
        watched.know_call((workspace(CALLS, row)?, call), read(CALLS, row, "watch")?);
    }
    Ok(watched)
}

/// Writes what is remembered of agents and calls where that has changed, and the clocks.
pub(crate) async fn store(tx: &mut PgConnection, watched: &Watched) -> Result<(), AutomationError> {
    let agents = watched.changed_agents().map(|((workspace, agent), partition, watch)| {
        json!({"workspace_id": workspace, "agent_id": agent, "partition": partition, "watch": watch})
    });
    sqlx::query(
        "insert into automation.agents select * from jsonb_populate_recordset(null::automation.agents, $1)
         on conflict (workspace_id, agent_id) do update set partition = excluded.partition, watch = excluded.watch",
    )
    .bind(agents.collect::<Value>())
    .execute(&mut *tx)
    .await?;
    let calls = watched.changed_calls().filter_map(|((workspace, call), watch)| {
        let last_at = to_sql(watch.last_at()?);
        let is_open = watch.is_open();
        Some(json!({
            "workspace_id": workspace, "call_id": call, "watch": watch, "is_open": is_open, "last_at": last_at,
        }))
    });
    sqlx::query(
        "insert into automation.calls select * from jsonb_populate_recordset(null::automation.calls, $1)
         on conflict (workspace_id, call_id) do update
         set watch = excluded.watch, is_open = excluded.is_open, last_at = excluded.last_at",
    )
    .bind(calls.collect::<Value>())
    .execute(&mut *tx)
    .await?;
    let clocks = watched.clocks.iter().map(|((workspace, partition), clock)| {
        let received_at = clock.received_at.to_utc().unwrap_or_default();
        let occurred_at = to_sql(clock.occurred_at);
        json!({
            "workspace_id": workspace, "partition": partition, "occurred_at": occurred_at, "received_at": received_at,
        })
    });
    sqlx::query(
        "insert into automation.clocks as held select * from jsonb_populate_recordset(null::automation.clocks, $1)
         on conflict (workspace_id, partition) do update
         set occurred_at = excluded.occurred_at, received_at = excluded.received_at
         where excluded.occurred_at > held.occurred_at
            or (excluded.occurred_at = held.occurred_at and excluded.received_at < held.received_at)",
    )
    .bind(clocks.collect::<Value>())
    .execute(tx)
    .await?;
    Ok(())
}

/// A moment that Postgres can hold: what lies outside of our era is at its edge. Exact moments are in the documents.
pub(crate) fn to_sql(at: OccurredAt) -> DateTime<Utc> {
    const YEAR_1: i64 = -62_135_596_800_000;
    const YEAR_9999: i64 = 253_402_300_799_999;
    Utc.timestamp_millis_opt(at.millis().clamp(YEAR_1, YEAR_9999)).single().unwrap_or_default()
}

pub(crate) fn bad(table: &'static str, reason: impl std::fmt::Display) -> AutomationError {
    AutomationError::Stored { table, reason: reason.to_string() }
}

pub(crate) fn workspace(table: &'static str, row: &PgRow) -> Result<WorkspaceId, AutomationError> {
    WorkspaceId::new(row.try_get("workspace_id")?).map_err(|error| bad(table, error))
}

pub(crate) fn read<T: DeserializeOwned>(table: &'static str, row: &PgRow, column: &str) -> Result<T, AutomationError> {
    let value: Value = row.try_get(column)?;
    // serde_json's own words may quote a value.
    serde_json::from_value(value).map_err(|_| bad(table, format!("{column} does not fit this build")))
}
