//! `helix project`: an engine over a store, with health and metrics beside it.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, process::ExitCode, sync::Arc, time::Duration};

use helix_clickhouse::ClickHouseStore;
use helix_forward::{ForwardStore, Trouble};
use helix_kit::{
    config::{Config, ProjectorConfig},
    http::{Limits, Readiness, bind, finish, health_routes, serve, shutdown_signal},
    telemetry,
};
use helix_live::Decoder;
use helix_postgres::{AllSettings, PostgresStore, ProgressOf};
use helix_replay::{ReplayError, log::FactLog};
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
    setup::{load, metrics, settings},
};

const CONSUMER: &str = "consumer";
const STORE: &str = "store";
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
        Projection::Live => live(&config, &own, readiness, stopped).await,
        Projection::Forward => forward(&config, &own, readiness, stopped).await,
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
    readiness.not_ready(CONSUMER, "no partition has been acquired yet");
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

/// Says "ready" once partitions are held, and again "not ready" where none is held any more; until it is aborted.
fn watch_status(status: Status, readiness: Readiness, part: String) -> AbortHandle {
    let watching = tokio::spawn(async move {
        loop {
            match (status.partitions().is_empty(), status.trouble()) {
                (true, _) => readiness.not_ready(&part, "no partition has been acquired yet"),
                (false, Some(trouble)) => readiness.degraded(&part, trouble.to_string()),
                (false, None) => readiness.ready(&part),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    watching.abort_handle()
}

pub(crate) async fn drive<S: Store + 'static>(
    engine: Engine<S>,
    readiness: &Readiness,
    stopped: watch::Receiver<bool>,
) -> Result<(), Failure> {
    readiness.ready(STORE);
    watch_status(engine.status(), readiness.clone(), CONSUMER.to_owned());
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
    let store = PostgresStore::new(pool, registry, codec, settings);
    let engine = engine_config(config, own, "helix-postgres".to_owned(), Membership::Group);
    let outcome = drive(Engine::new(engine, store), readiness, stopped).await;
    checking.abort();
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
    let options = helix_clickhouse::Options {
        url: config.clickhouse.url.clone(),
        database: config.clickhouse.database.clone(),
        user: config.clickhouse.user.clone(),
        password: config.clickhouse.password.reveal().to_owned(),
    };
    let opened = patiently("clickhouse", &stopped, readiness, async || {
        ClickHouseStore::open(&options, registry.clone(), codec.clone(), &settings).await
    })
    .await;
    let Some(store) = opened else { return Ok(()) };
    let engine = engine_config(config, own, "helix-clickhouse".to_owned(), Membership::Group);
    drive(Engine::new(engine, store), readiness, stopped).await
}

/// One engine a workspace: a hospital whose Redis is down holds up nobody else.
async fn live(
    config: &Config,
    own: &ProjectorConfig,
    readiness: &Readiness,
    stopped: watch::Receiver<bool>,
) -> Result<(), Failure> {
    let settings = settings(config)?;
    let Some((registry, codec)) = codec(config, &stopped, readiness).await else {
        return Ok(());
    };
    readiness.ready(STORE);
    // Each board says for itself whether it is held.
    readiness.ready(CONSUMER);
    let decoder = Decoder::new(codec, Some(registry));
    let mut running = tokio::task::JoinSet::new();
    for (workspace, own_settings) in settings {
        let Some(workspace_config) = config.workspaces.get(workspace.as_str()) else {
            continue;
        };
        let engine = engine_config(config, own, format!("helix-live-{workspace}"), Membership::All);
        let url = workspace_config.redis_url.reveal().to_owned();
        let (decoder, stopped, readiness) = (decoder.clone(), stopped.clone(), readiness.clone());
        running.spawn(async move {
            let part = format!("board of {workspace}");
            readiness.not_ready(&part, "no partition has been acquired yet");
            loop {
                let mut watcher: Option<AbortHandle> = None;
                let told = |status| {
                    let next = watch_status(status, readiness.clone(), part.clone());
                    if let Some(before) = watcher.replace(next) {
                        before.abort();
                    }
                };
                let outcome = helix_live::run(
                    engine.clone(),
                    &url,
                    workspace.clone(),
                    own_settings.clone(),
                    decoder.clone(),
                    stopped.clone(),
                    told,
                )
                .await;
                if let Some(watcher) = watcher {
                    watcher.abort();
                }
                let Err(error) = outcome else { return };
                // Fenced by another instance, or a fact that cannot be applied: this hospital waits, the others go on.
                tracing::error!(%workspace, %error, "the live projector of a workspace stopped; starting it again");
                readiness.not_ready(&part, "its projector stopped; it is started again");
                let mut stopping = stopped.clone();
                tokio::select! {
                    () = tokio::time::sleep(WORKSPACE_AGAIN) => {}
                    _ended = stopping.wait_for(|stop| *stop) => return,
                }
            }
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.map_err(|error| Failure::of(1, &error))?;
    }
    Ok(())
}

/// One engine a workspace that has a receiver of the older contract: one that is down delays nobody else's.
async fn forward(
    config: &Config,
    own: &ProjectorConfig,
    readiness: &Readiness,
    stopped: watch::Receiver<bool>,
) -> Result<(), Failure> {
    let receivers = receivers(config)?;
    let Some((registry, codec)) = codec(config, &stopped, readiness).await else {
        return Ok(());
    };
    let Some(pool) = open_postgres(config, readiness, &stopped).await else {
        return Ok(());
    };
    for workspace in receivers.keys() {
        let progress = ProgressOf::new(pool.clone(), helix_forward::projection(workspace));
        let begun =
            patiently("the log or postgres", &stopped, readiness, async || begin(config, &progress).await).await;
        if begun.is_none() {
            return Ok(());
        }
    }
    readiness.ready(STORE);
    // Each workspace says for itself whether its partitions are held.
    readiness.ready(CONSUMER);
    let mut running: tokio::task::JoinSet<Result<(), Failure>> = tokio::task::JoinSet::new();
    for (workspace, options) in receivers {
        let engine = engine_config(config, own, helix_forward::group(&workspace), Membership::Group);
        let progress = ProgressOf::new(pool.clone(), helix_forward::projection(&workspace));
        let reading = (registry.clone(), codec.clone());
        let (stopped, readiness) = (stopped.clone(), readiness.clone());
        running.spawn(async move {
            let part = format!("forward to {workspace}");
            readiness.not_ready(&part, "no partition has been acquired yet");
            loop {
                let (progress, reading) = (progress.clone(), reading.clone());
                let store = ForwardStore::new(workspace.clone(), &options, progress, reading, stopped.clone());
                let store = store.map_err(|error| Failure::of(2, &error))?;
                let trouble = store.trouble();
                let engine = Engine::new(engine.clone(), store);
                let watcher = watch_receiver(engine.status(), trouble, readiness.clone(), part.clone());
                let outcome = engine.run(until(stopped.clone())).await;
                watcher.abort();
                let Err(error) = outcome else { return Ok(()) };
                // A fact that cannot be read, or a log that begins after our progress: this hospital waits, the others go on.
                tracing::error!(%workspace, %error, "the forward projector of a workspace stopped; starting it again");
                readiness.not_ready(&part, "its projector stopped; it is started again");
                let mut stopping = stopped.clone();
                tokio::select! {
                    () = tokio::time::sleep(WORKSPACE_AGAIN) => {}
                    _ended = stopping.wait_for(|stop| *stop) => return Ok(()),
                }
            }
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.map_err(|error| Failure::of(1, &error))??;
    }
    Ok(())
}

/// The receivers that are configured, by workspace.
fn receivers(config: &Config) -> Result<BTreeMap<WorkspaceId, helix_forward::Options>, Failure> {
    let mut all = BTreeMap::new();
    for (slug, workspace) in &config.workspaces {
        let Some(forward) = &workspace.forward else { continue };
        let options = helix_forward::Options {
            url: forward.url.clone(),
            key: forward.key.reveal().to_owned(),
            timeout: forward.timeout,
            concurrency: forward.concurrency,
        };
        options.check().map_err(|error| Failure::usage(format!("workspaces.{slug}.forward: {error}")))?;
        all.insert(WorkspaceId::new(slug).map_err(|error| Failure::of(2, &error))?, options);
    }
    if all.is_empty() {
        return Err(Failure::usage("no workspace has a receiver to forward to: set [workspaces.<slug>.forward]"));
    }
    Ok(all)
}

/// A receiver that is new begins at the log's end: it had everything before that from elsewhere.
async fn begin(config: &Config, progress: &ProgressOf) -> Result<(), ReplayError> {
    let unreachable = |error| ReplayError::unreachable("postgres", error);
    if !progress.standing(topics::FACTS).await.map_err(unreachable)?.is_empty() {
        return Ok(());
    }
    let log = FactLog::open(config).await?;
    let asked = tokio::task::spawn_blocking(move || log.whole()).await;
    let cut = asked.map_err(|error| ReplayError::unreachable("the log", error))??;
    let ends: Vec<(i32, i64)> = cut.0.into_iter().map(|(partition, (_, end))| (partition, end)).collect();
    progress.begin(topics::FACTS, &ends).await.map_err(unreachable)?;
    tracing::info!(projection = progress.projection(), "a new receiver: delivery begins at the log's end");
    Ok(())
}

/// As [`watch_status`], and "degraded" while the receiver takes nothing: its facts wait, the process does its work.
fn watch_receiver(status: Status, trouble: Trouble, readiness: Readiness, part: String) -> AbortHandle {
    let watching = tokio::spawn(async move {
        loop {
            match (status.partitions().is_empty(), trouble.why()) {
                (true, _) => readiness.not_ready(&part, "no partition has been acquired yet"),
                (false, Some(cause)) => readiness.degraded(&part, format!("the receiver takes nothing: {cause}")),
                (false, None) => readiness.ready(&part),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    watching.abort_handle()
}
