//! `helix project`: an engine over a store, with health and metrics beside it.

mod forward;
mod live;
mod row_settings;

use std::{net::SocketAddr, path::Path, process::ExitCode, sync::Arc, time::Duration};

use helix_clickhouse::ClickHouseStore;
use helix_kit::{
    config::{Config, ProjectorConfig},
    http::{Limits, Readiness, bind, finish, health_routes, serve, shutdown_signal},
    telemetry,
};
use helix_postgres::{AllSettings, PostgresStore};
use helix_runtime::{Engine, EngineConfig, Membership, PARK_LIMIT, Status, Store, Watch};
use helix_schemas::{
    codec::Codec,
    fact::Fact,
    names::WorkspaceId,
    registry::{Registry, RegistryError},
    topics,
};
use sqlx::PgPool;
use tokio::{sync::watch, task::AbortHandle};

use crate::{
    books,
    cli::Projection,
    failure::Failure,
    setup::{clickhouse_options, load, metrics, settings},
};

const CONSUMER: &str = "consumer";
const STORE: &str = "store";
const NOT_ACQUIRED: &str = "no partition has been acquired yet";
/// A workspace whose own projector stopped is started again after this.
const WORKSPACE_AGAIN: Duration = Duration::from_secs(10);
/// A component that is not there yet is asked again this often.
const AGAIN: Duration = Duration::from_millis(500);

pub(crate) fn engine_config(
    config: &Config,
    own: &ProjectorConfig,
    group: String,
    membership: Membership,
) -> EngineConfig {
    EngineConfig {
        connection: config.log.connection(),
        topic: topics::FACTS.to_owned(),
        group,
        instance: (!own.instance.is_empty()).then(|| own.instance.clone()),
        membership,
        batch_records: own.batch_facts,
        batch_bytes: own.batch_kib * 1024,
        batch_time: own.batch_time,
        park_limit: PARK_LIMIT,
        watch: Watch::default(),
    }
}

pub(crate) async fn run(config: Option<&Path>, projection: Projection) -> Result<ExitCode, Failure> {
    let config = load(config)?;
    telemetry::start_logs(&config.telemetry);
    let own = match projection {
        Projection::Postgres => config.project.postgres.clone(),
        Projection::Clickhouse => config.project.clickhouse.clone(),
        Projection::Live => config.project.live.clone(),
        Projection::Forward => config.project.forward.clone(),
    };
    let name = match projection {
        Projection::Postgres => "project-postgres",
        Projection::Clickhouse => "project-clickhouse",
        Projection::Live => "project-live",
        Projection::Forward => "project-forward",
    };
    beside(own.listen, name, async |readiness, stopped| match projection {
        Projection::Postgres => postgres(&config, &own, readiness, stopped).await,
        Projection::Clickhouse => clickhouse(&config, &own, readiness, stopped).await,
        Projection::Live => live::run(&config, &own, readiness, stopped).await,
        Projection::Forward => forward::run(&config, &own, readiness, stopped).await,
    })
    .await
}

/// Runs an engine with health and metrics beside it, until it ends or the process is told to stop.
pub(crate) async fn beside(
    listen: SocketAddr,
    name: &'static str,
    work: impl AsyncFnOnce(&Readiness, watch::Receiver<bool>) -> Result<(), Failure>,
) -> Result<ExitCode, Failure> {
    let listener = bind(listen, name).await?;
    let readiness = Readiness::default();
    readiness.not_ready(STORE, "the store has not been opened yet");
    readiness.not_ready(CONSUMER, NOT_ACQUIRED);
    let routes = finish(health_routes(readiness.clone(), metrics(name)?), name);
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        shutdown_signal().await;
        // Nobody listens any more only where the process is ending anyway.
        let _told = stop.send(true);
    });
    let serving = tokio::spawn(serve(listener, routes, Limits::default(), until(stopped.clone())));
    let outcome = work(&readiness, stopped).await;
    readiness.drain();
    serving.abort();
    outcome.map(|()| ExitCode::SUCCESS)
}

pub(crate) async fn until(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone: nobody could stop us any more, so we stop.
    let _ended = stopped.wait_for(|stop| *stop).await;
}

/// Asks until the component answers or the process is told to stop (`None`).
pub(crate) async fn patiently<T, E: std::error::Error>(
    what: &'static str,
    stopped: &watch::Receiver<bool>,
    readiness: &Readiness,
    mut ask: impl AsyncFnMut() -> Result<T, E>,
) -> Option<T> {
    loop {
        if *stopped.borrow() {
            return None;
        }
        match ask().await {
            Ok(answer) => return Some(answer),
            Err(error) => {
                readiness.not_ready(STORE, format!("{what} does not answer"));
                tracing::warn!(%error, "{what} does not answer yet");
            }
        }
        let mut stopped = stopped.clone();
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            _ended = stopped.wait_for(|stop| *stop) => return None,
        }
    }
}

pub(crate) async fn codec(
    config: &Config,
    stopped: &watch::Receiver<bool>,
    readiness: &Readiness,
) -> Option<(Registry, Arc<Codec<Fact>>)> {
    let registry = Registry::new(&config.registry.url);
    let codec = patiently("the schema registry", stopped, readiness, async || -> Result<_, RegistryError> {
        registry.fact_codec().await
    })
    .await?;
    Some((registry, Arc::new(codec)))
}

/// Says "ready" once partitions are held, "degraded" where there is trouble, and again "not ready" where no partition is held
/// any more; until it is aborted.
fn watch_status(
    status: Status,
    readiness: Readiness,
    part: String,
    trouble: impl Fn(&Status) -> Option<String> + Send + 'static,
) -> AbortHandle {
    let watching = tokio::spawn(async move {
        loop {
            match (status.partitions().is_empty(), trouble(&status)) {
                (true, _) => readiness.not_ready(&part, NOT_ACQUIRED),
                (false, Some(trouble)) => readiness.degraded(&part, trouble),
                (false, None) => readiness.ready(&part),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    watching.abort_handle()
}

/// What the engine itself is held up by.
fn engine_trouble(status: &Status) -> Option<String> {
    status.trouble().map(|trouble| trouble.to_string())
}

/// Waits before the projector of a workspace is started again; false where the process is told to stop.
async fn wait_before_again(
    workspace: &WorkspaceId,
    error: &(dyn std::error::Error + Sync),
    (readiness, part): (&Readiness, &str),
    stopped: &watch::Receiver<bool>,
) -> bool {
    // Fenced by another instance, or a fact that cannot be applied: this hospital waits, the others go on.
    tracing::error!(%workspace, %error, "the projector of a workspace stopped; starting it again");
    readiness.not_ready(part, "its projector stopped; it is started again");
    let mut stopped = stopped.clone();
    tokio::select! {
        () = tokio::time::sleep(WORKSPACE_AGAIN) => true,
        _ended = stopped.wait_for(|stop| *stop) => false,
    }
}

pub(crate) async fn drive<S: Store + 'static>(
    engine: Engine<S>,
    readiness: &Readiness,
    stopped: watch::Receiver<bool>,
) -> Result<(), Failure> {
    readiness.ready(STORE);
    watch_status(engine.status(), readiness.clone(), CONSUMER.to_owned(), engine_trouble);
    engine.run(until(stopped)).await.map_err(|error| Failure::of(1, &error))
}

/// Postgres, migrated; `None` where the process is told to stop before it answers.
async fn open_postgres(config: &Config, readiness: &Readiness, stopped: &watch::Receiver<bool>) -> Option<PgPool> {
    patiently("postgres", stopped, readiness, async || {
        let pool = helix_postgres::connect(config.postgres.url.reveal(), config.postgres.connections).await?;
        helix_postgres::migrate(&pool).await?;
        Ok::<_, helix_postgres::PostgresError>(pool)
    })
    .await
}

async fn postgres(
    config: &Config,
    own: &ProjectorConfig,
    readiness: &Readiness,
    stopped: watch::Receiver<bool>,
) -> Result<(), Failure> {
    let settings = AllSettings(settings(config)?);
    let Some((registry, codec)) = codec(config, &stopped, readiness).await else {
        return Ok(());
    };
    let Some(pool) = open_postgres(config, readiness, &stopped).await else {
        return Ok(());
    };
    let checking = tokio::spawn(books::keep(pool.clone(), settings.clone()));
    let looking = tokio::spawn(row_settings::keep(pool.clone(), settings.clone(), readiness.clone()));
    let store = PostgresStore::new(pool, registry, codec, settings);
    let engine = engine_config(config, own, "helix-postgres".to_owned(), Membership::Group);
    let outcome = drive(Engine::new(engine, store), readiness, stopped).await;
    checking.abort();
    looking.abort();
    outcome
}

async fn clickhouse(
    config: &Config,
    own: &ProjectorConfig,
    readiness: &Readiness,
    stopped: watch::Receiver<bool>,
) -> Result<(), Failure> {
    let settings = settings(config)?;
    let Some((registry, codec)) = codec(config, &stopped, readiness).await else {
        return Ok(());
    };
    let options = clickhouse_options(config);
    let opened = patiently("clickhouse", &stopped, readiness, async || {
        ClickHouseStore::open(&options, registry.clone(), codec.clone(), &settings).await
    })
    .await;
    let Some(store) = opened else { return Ok(()) };
    let engine = engine_config(config, own, "helix-clickhouse".to_owned(), Membership::Group);
    drive(Engine::new(engine, store), readiness, stopped).await
}
