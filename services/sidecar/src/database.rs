//! The read models of this workspace in Postgres: a small pool that connects when it is needed, and what is said of its
//! failures.
//!
//! The sidecar starts and serves the board without it: whatever needs it answers 503 meanwhile. Locally and in production
//! the role is the workspace's own, to which row-level security shows that workspace alone; every query names the
//! workspace besides.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use axum::http::StatusCode;
use helix_kit::{http::Readiness, problem::Problem};
use sqlx::{
    Connection as _, PgPool, Postgres, Transaction,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::{sleep, timeout};

/// What it is called in `/readyz` and problems.
pub(crate) const POSTGRES: &str = "postgres";
/// A request waits no longer for a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// How often it is asked whether it is there.
const LOOK: Duration = Duration::from_secs(2);
/// Postgres's word for a statement that took too long.
const QUERY_CANCELED: &str = "57014";

/// What every session is told: a question that takes longer than a person waits is given up.
const SESSION: [(&str, &str); 3] =
    [("statement_timeout", "5s"), ("idle_in_transaction_session_timeout", "10s"), ("tcp_user_timeout", "5s")];

/// Why the read models gave no answer.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct DatabaseError(#[from] sqlx::Error);

impl DatabaseError {
    /// A value that is not what this build expects.
    pub(crate) fn unreadable(what: &'static str) -> Self {
        Self(sqlx::Error::Decode(what.into()))
    }
}

impl From<DatabaseError> for Problem {
    fn from(DatabaseError(error): DatabaseError) -> Self {
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code).map(Cow::into_owned);
        if code.as_deref() == Some(QUERY_CANCELED) {
            return Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "query_too_slow",
                "The question takes longer than a request may",
                "ask for a shorter range, or for one agent or queue",
            )
            .retry_after(2);
        }
        // Postgres quotes values in its words; its code says enough.
        match code {
            Some(code) => tracing::error!(code, "postgres refused a question of the API"),
            None => tracing::warn!(kind = kind_of(&error), "postgres could not be asked"),
        }
        Self::component_down(POSTGRES)
    }
}

fn kind_of(error: &sqlx::Error) -> &'static str {
    // The library's enum may grow, so that a last arm is needed.
    #[allow(clippy::wildcard_enum_match_arm)]
    match error {
        sqlx::Error::PoolTimedOut => "no connection in time",
        sqlx::Error::Io(_) => "connection",
        sqlx::Error::Tls(_) => "tls",
        sqlx::Error::Protocol(_) => "protocol",
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_) => "unreadable row",
        _ => "other",
    }
}

/// Connections of what must not wait behind the questions of the API: whether it is there, and how far it is.
const PROBES: u32 = 2;

/// The read models.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pool: PgPool,
    probes: PgPool,
}

impl Database {
    /// Connects when it is first asked.
    ///
    /// # Errors
    /// Where the URL is none.
    pub(crate) fn new(url: &str, connections: u32, workspace: &str) -> Result<Self, sqlx::Error> {
        let options: PgConnectOptions = url.parse()?;
        let options = options
            .application_name(&format!("helix sidecar {workspace}"))
            .options(SESSION)
            // Of no effect for the workspace's own role; a role without a binding is held to it by row-level security.
            .options([("helix.workspace", workspace)]);
        let of = |connections, options| {
            PgPoolOptions::new().max_connections(connections).acquire_timeout(CONNECT_WITHIN).connect_lazy_with(options)
        };
        Ok(Self { pool: of(connections, options.clone()), probes: of(PROBES, options) })
    }

    /// For one statement.
    pub(crate) const fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// For several statements that must see the same moment. It only reads: dropping it ends it.
    pub(crate) async fn moment(&self) -> Result<Transaction<'static, Postgres>, DatabaseError> {
        Ok(self.pool.begin_with("begin isolation level repeatable read, read only").await?)
    }

    /// Which record of each topic and partition the projector of the read models reads next.
    pub(crate) async fn progress(&self) -> Result<BTreeMap<(String, i32), i64>, DatabaseError> {
        let asked = sqlx::query_as("select topic, partition, next_offset from helix.read_models_progress()");
        let rows: Vec<(String, i32, i64)> = asked.fetch_all(&self.probes).await?;
        Ok(rows.into_iter().map(|(topic, partition, next)| ((topic, partition), next)).collect())
    }

    /// Says whether it is there, for as long as it is polled. Without it work still comes: the board needs none of it.
    pub(crate) async fn watch(self, readiness: Readiness) {
        loop {
            let asked = timeout(CONNECT_WITHIN, async { self.probes.acquire().await?.ping().await }).await;
            if matches!(asked, Ok(Ok(()))) {
                readiness.ready(POSTGRES);
            } else {
                readiness.degraded(
                    POSTGRES,
                    "postgres does not answer: lists, worklist and metrics wait, the board does not",
                );
            }
            sleep(LOOK).await;
        }
    }
}
