//! Generations: the live tables, and others beside them that are filled, compared and exchanged with them
//! (docs/decisions/0013).
//!
//! A generation is a projection name and a search path. Statements name the tables of schemas `read` and `state` without a
//! schema, so that the same code works either generation; tables of schema `helix` are named in full and hold both, told
//! apart by the projection's name.
//!
//! Who rebuilds, compares, exchanges or discards holds one lock of the database for the whole of it ([`Operator`]), so that
//! two people cannot. Who reads the live generation by more than one statement holds another, shared one
//! ([`keep_readers_out`] takes it for itself).

use helix_runtime::fill::{FillError, StandbyState};
use helix_schemas::{names::WorkspaceId, scope::Scope};
use sqlx::{Connection as _, Executor as _, PgConnection, PgPool, Row as _};

use crate::PostgresError;

/// Read models, by name.
pub(crate) const READ_TABLES: [&str; 6] =
    ["agents", "agent_intervals", "calls", "call_legs", "missed_calls", "queue_days"];
/// What the folds keep beside them.
pub(crate) const STATE_TABLES: [&str; 3] = ["agent_timeline", "agent_registers", "call_states"];

/// One set of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Generation {
    /// What everybody reads.
    Live,
    /// What is being made, or was live before.
    Standby,
}

impl Generation {
    /// The name under which it keeps progress, roots and parked facts.
    #[must_use]
    pub const fn projection(self) -> &'static str {
        match self {
            Self::Live => crate::PROJECTION,
            Self::Standby => crate::STANDBY_PROJECTION,
        }
    }

    /// The schema of its read models.
    #[must_use]
    pub const fn read_schema(self) -> &'static str {
        match self {
            Self::Live => "read",
            Self::Standby => "read_standby",
        }
    }

    /// The schema of what the folds keep.
    #[must_use]
    pub const fn state_schema(self) -> &'static str {
        match self {
            Self::Live => "state",
            Self::Standby => "state_standby",
        }
    }

    /// Where unqualified names lead.
    pub(crate) const fn search_path(self) -> &'static str {
        match self {
            Self::Live => "read,state",
            Self::Standby => "read_standby,state_standby",
        }
    }

    /// Every table, with its schema.
    pub(crate) fn tables(self) -> Vec<String> {
        let read = READ_TABLES.iter().map(|table| format!("{}.{table}", self.read_schema()));
        read.chain(STATE_TABLES.iter().map(|table| format!("{}.{table}", self.state_schema()))).collect()
    }
}

/// The standby, as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Standby {
    /// Whose facts it takes.
    pub scope: Scope,
    /// What it is.
    pub state: StandbyState,
    /// When it was made, Unix milliseconds.
    pub made_at: i64,
    /// When it was last exchanged with the live one, Unix milliseconds.
    pub cut_over_at: Option<i64>,
}

/// Why work on generations was not done. Nothing is half done.
#[derive(Debug, thiserror::Error)]
pub enum GenerationError {
    /// Somebody else is at it.
    #[error("somebody else rebuilds, compares or exchanges this projection at the moment")]
    Busy,
    /// There is no standby.
    #[error("there is no standby: rebuild first")]
    NoStandby,
    /// There is one of another scope, or one that was live before: discard it first.
    #[error("there is a standby already that is not the one asked for: discard it first")]
    AnotherStandby {
        /// That one.
        standby: Box<Standby>,
    },
    /// The log gave less than the live projection has seen.
    #[error("the log does not reach the live projection's progress in partition {partition}")]
    LogTooShort {
        /// The partition.
        partition: i32,
    },
    /// The projector is too fast to be caught up with, or the standby too far behind.
    #[error("the standby cannot be brought to the live projection's progress: fill it first")]
    Behind,
    /// Asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// A batch could not be applied.
    #[error(transparent)]
    Store(#[from] helix_runtime::StoreError),
    /// The database does not answer, or refused.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
}

impl From<FillError> for GenerationError {
    fn from(error: FillError) -> Self {
        match error {
            FillError::Interrupted => Self::Interrupted,
            FillError::NotHeld { .. } => Self::Behind,
            FillError::Store(error) => Self::Store(error),
        }
    }
}

impl From<sqlx::Error> for GenerationError {
    fn from(error: sqlx::Error) -> Self {
        Self::Postgres(error.into())
    }
}

/// The one who works on generations, for as long as its connection lasts.
pub(crate) struct Operator {
    pub(crate) connection: PgConnection,
}

impl Operator {
    pub(crate) async fn take(pool: &PgPool) -> Result<Self, GenerationError> {
        // Of its own: closing it gives the lock back, whatever happened.
        let mut connection = pool.acquire().await?.detach();
        let taken: bool = sqlx::query_scalar("select pg_try_advisory_lock(hashtextextended('helix.generations', 0))")
            .fetch_one(&mut connection)
            .await?;
        if taken { Ok(Self { connection }) } else { Err(GenerationError::Busy) }
    }

    /// Gives the lock back, and waits until that is so.
    pub(crate) async fn leave(mut self) -> Result<(), GenerationError> {
        self.connection.execute("select pg_advisory_unlock(hashtextextended('helix.generations', 0))").await?;
        Ok(self.connection.close().await?)
    }
}

/// Waits until nobody reads the live generation by more than one statement, and keeps such readers out until the
/// transaction ends.
pub(crate) async fn keep_readers_out(tx: &mut PgConnection) -> Result<(), PostgresError> {
    tx.execute("select pg_advisory_xact_lock(hashtextextended('helix.generations.read', 0))").await?;
    Ok(())
}

/// The standby, if there is one.
///
/// # Errors
/// Where the database does not answer.
pub async fn standby(asked: impl sqlx::PgExecutor<'_>) -> Result<Option<Standby>, PostgresError> {
    let found = sqlx::query(
        "select workspace_id, state, (extract(epoch from made_at) * 1000)::bigint as made_at,
                (extract(epoch from cut_over_at) * 1000)::bigint as cut_over_at
         from helix.standby",
    )
    .fetch_optional(asked)
    .await?;
    let Some(row) = found else { return Ok(None) };
    let bad = |reason: String| PostgresError::Stored { table: "helix.standby", reason };
    let scope = match row.try_get::<Option<&str>, _>("workspace_id")? {
        Some(workspace) => Scope::Workspace(WorkspaceId::new(workspace).map_err(|error| bad(error.to_string()))?),
        None => Scope::All,
    };
    let state = match row.try_get("state")? {
        "filling" => StandbyState::Filling,
        "previous" => StandbyState::Previous,
        _ => return Err(bad("a state that is none".to_owned())),
    };
    Ok(Some(Standby { scope, state, made_at: row.try_get("made_at")?, cut_over_at: row.try_get("cut_over_at")? }))
}

/// Makes empty tables beside the live ones, progress at 0 in every partition that the live generation has, and the record.
pub(crate) async fn make(tx: &mut PgConnection, scope: &Scope) -> Result<(), PostgresError> {
    for (live, beside) in Generation::Live.tables().iter().zip(Generation::Standby.tables()) {
        let schema = beside.split('.').next().unwrap_or_default();
        let make = format!(
            "create schema if not exists {schema};
             create table {beside} (like {live} including all);
             call helix.protect('{beside}')"
        );
        tx.execute(sqlx::AssertSqlSafe(make)).await?;
    }
    let views = format!("call helix.make_views('{}'); call helix.grant_readers()", Generation::Standby.read_schema());
    tx.execute(sqlx::AssertSqlSafe(views)).await?;
    sqlx::query(
        "insert into helix.projection_progress (projection, topic, partition, next_offset, epoch)
         select $1, topic, partition, 0, 0 from helix.projection_progress where projection = $2",
    )
    .bind(Generation::Standby.projection())
    .bind(Generation::Live.projection())
    .execute(&mut *tx)
    .await?;
    sqlx::query("insert into helix.standby (workspace_id, state) values ($1, 'filling')")
        .bind(scope.only().map(WorkspaceId::as_str))
        .execute(tx)
        .await?;
    Ok(())
}

/// Removes the standby with all that belongs to it.
pub(crate) async fn remove(tx: &mut PgConnection) -> Result<(), PostgresError> {
    let schemas = format!(
        "drop schema if exists {}, {} cascade",
        Generation::Standby.read_schema(),
        Generation::Standby.state_schema()
    );
    tx.execute(sqlx::AssertSqlSafe(schemas)).await?;
    for statement in [
        "delete from helix.projection_progress where projection = $1",
        "delete from helix.projection_roots where projection = $1",
        "delete from helix.row_settings where projection = $1",
        "delete from helix.parked_facts where projection = $1",
        "delete from helix.standby where $1 is not null",
    ] {
        sqlx::query(statement).bind(Generation::Standby.projection()).execute(&mut *tx).await?;
    }
    Ok(())
}
