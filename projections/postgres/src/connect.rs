//! Opening the database: where unqualified names lead, and what no session may do for ever.

use sqlx::{
    Executor as _, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{PostgresError, generation::Generation};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// What every session of a projector is told.
const SESSION: [(&str, &str); 12] = [
    // A frozen instance with an open transaction would hold its partitions' progress, and all who wait for them.
    ("idle_in_transaction_session_timeout", "15s"),
    // Below the engine's patience with a store; waiting for a lock counts.
    ("statement_timeout", "25s"),
    // A peer that is gone without a word.
    ("tcp_keepalives_idle", "15"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "30s"),
    // A batch finds its rows by key. A plan is made for the tables as they are: one that was kept from when they were empty
    // takes any index that begins with the workspace. And it reads by index, however many keys are asked: what a batch costs
    // must not grow with the tables.
    ("plan_cache_mode", "force_custom_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_material", "off"),
    ("jit", "off"),
];

/// For work over whole tables, within a transaction: plans for that, and the time that it takes.
pub(crate) const WHOLE_TABLES: &str = "set local enable_seqscan = on; set local enable_hashjoin = on;
    set local enable_mergejoin = on; set local enable_material = on;
    set local statement_timeout = 0; set local idle_in_transaction_session_timeout = '5min'";

/// Opens a pool on the live generation.
///
/// # Errors
/// [`PostgresError::Sql`] where the URL is wrong or the database does not answer.
pub async fn connect(url: &str, connections: u32) -> Result<PgPool, PostgresError> {
    let options = session(url.parse()?, Generation::Live);
    Ok(PgPoolOptions::new().max_connections(connections).connect_with(options).await?)
}

/// A pool on the standby generation of the same database. It connects when it is first used.
pub(crate) fn beside(pool: &PgPool) -> PgPool {
    let options = pool.connect_options().as_ref().clone();
    PgPoolOptions::new().max_connections(2).connect_lazy_with(session(options, Generation::Standby))
}

fn session(options: PgConnectOptions, generation: Generation) -> PgConnectOptions {
    let name = format!("helix {}", generation.projection());
    options.application_name(&name).options(SESSION).options([("search_path", generation.search_path())])
}

/// Brings the schema to this build's version, and lets those read it who may.
///
/// # Errors
/// [`PostgresError::Migrate`] where an applied migration is not the one this build carries.
pub async fn migrate(pool: &PgPool) -> Result<(), PostgresError> {
    let mut connection = pool.acquire().await?.detach();
    // The list of migrations is sought on the search path, and made on its first schema.
    connection.execute("set search_path = public; set statement_timeout = 0; set enable_seqscan = on").await?;
    // Several services may start at once; sqlx takes an advisory lock for the duration.
    MIGRATIONS.run(&mut connection).await?;
    connection.execute("call helix.grant_readers()").await?;
    sqlx::Connection::close(connection).await?;
    Ok(())
}
