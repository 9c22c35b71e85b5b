//! helix-ingest: the HTTP edge. Webhooks in, facts out; and the directory's API.
//!
//! Mechanism and policy are kept apart:
//!
//! | module | decides |
//! |---|---|
//! | [`value`], [`body`] | what a body holds, by what it is |
//! | [`normalise`] | what an event says: kind, identity, times (pure) |
//! | [`route`] | whose it is, by the directory |
//! | [`redact`] | that no secret is stored |
//! | [`outlet`] | that 2xx means kept: in the log, or in the spool while the log is down (law 1), in order |
//! | [`publish`] | how a record gets into the log |
//! | [`recent`] | which repeats need not be appended again |
//! | [`directory`], [`registrar`], [`liveness`] | who belongs to whom; who lives |
//! | [`audit`] | that each change of the directory leaves a fact |
//! | [`redrive`] | that what was set aside becomes facts once it can |
//! | [`http`] | statuses and bodies, to the letter of the contract |
//!
//! Nothing reads the environment; the listener is bound outside and passed in.

pub mod app;
pub mod audit;
pub mod body;
pub mod bucket;
pub mod codecs;
pub mod directory;
pub mod http;
pub mod liveness;
pub mod metrics;
pub mod normalise;
pub mod outlet;
pub mod publish;
pub mod ready;
pub mod recent;
pub mod redact;
pub mod redrive;
pub mod registrar;
pub mod route;
pub mod value;

use std::{
    future::Future,
    sync::{Arc, OnceLock},
    time::Duration,
};

use helix_kit::{config::Config, http::Readiness};
use helix_schemas::registry::Registry;
use helix_schemas::registry::RegistryError;
use metrics_exporter_prometheus::PrometheusHandle;
use rdkafka::error::KafkaError;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

pub use crate::app::{App, Parts};
use crate::{
    codecs::Codecs,
    directory::{Reader, View},
    liveness::Liveness,
    outlet::{Late, Outlet},
    publish::Publisher,
    recent::Recent,
    redrive::background::Redriver,
};

/// The name of the schema registry in `/readyz`.
const REGISTRY: &str = "registry";

/// Why ingest cannot start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The configuration does not fit.
    #[error("the configuration of ingest is wrong: {0}")]
    Config(String),
    /// librdkafka refuses its settings.
    #[error("the log's client cannot be made")]
    Log(#[from] KafkaError),
    /// The spool's thread cannot be started.
    #[error("the spool cannot be started")]
    Spool(#[source] std::io::Error),
    /// The URL of Redis cannot be used.
    #[error("telephony_redis.url cannot be used")]
    Redis(#[from] redis::RedisError),
}

/// Serves until `shutdown`, then stops accepting, lets running requests finish and empties the producer's queue.
///
/// Starts without broker, registry or Redis: `/readyz` then says what is missing, and events are answered 503.
///
/// # Errors
/// [`IngestError`] where it cannot start.
pub async fn run(
    config: Config,
    listener: TcpListener,
    metrics: PrometheusHandle,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), IngestError> {
    metrics::describe();
    let spooled = !config.spool.folder.as_os_str().is_empty();
    let publisher = Arc::new(Publisher::new(&config.log, spooled)?);
    let outlet = Outlet::new(publisher.clone(), &config.spool).map_err(IngestError::Spool)?;
    let codecs = Arc::new(OnceLock::new());
    let directory = Arc::new(View::default());
    let recent = Arc::new(Recent::default());
    let readiness = Readiness::default();
    readiness.not_ready(REGISTRY, "the schemas are not registered yet");
    readiness.not_ready(directory::PART, "the directory has not been read to its end yet");
    readiness.not_ready(ready::LOG, "the log has not been asked yet");
    let registry = Registry::new(&config.registry.url);
    let reader = Reader::new(&config.log, registry.clone(), publisher.clone(), directory.clone(), readiness.clone())?;
    let deadline = config.ingest.deadline;
    let limits = config.ingest.limits();
    let drain_time = config.log.delivery_timeout + Duration::from_secs(1);
    let redriver = Redriver::new(
        &config.log,
        registry.clone(),
        codecs.clone(),
        publisher.clone(),
        outlet.clone(),
        directory.clone(),
    )?;
    let late = Late { directory: directory.clone(), registry: registry.clone(), codecs: codecs.clone() };
    let app = App::new(Parts {
        liveness: Liveness::new(&config.telephony_redis)?,
        config,
        publisher: publisher.clone(),
        outlet: outlet.clone(),
        codecs: codecs.clone(),
        directory: directory.clone(),
        recent: recent.clone(),
        readiness: readiness.clone(),
    })?;
    let mut tasks = JoinSet::new();
    tasks.spawn(ready::watch_log(publisher.clone(), outlet.clone(), directory.clone(), recent, readiness.clone()));
    tasks.spawn(ready::watch_spool(outlet.clone(), readiness.clone()));
    tasks.spawn(outlet.clone().drain(late));
    tasks.spawn(redriver.run());
    tasks.spawn(follow_directory(registry, codecs, outlet.clone(), reader, readiness.clone()));

    let (begin_drain, draining) = watch::channel(false);
    let stop = async move {
        shutdown.await;
        readiness.drain();
        tracing::info!("ingest stops accepting");
        begin_drain.send_replace(true);
    };
    tokio::select! {
        () = helix_kit::http::serve(listener, app.router(metrics), limits, stop) => {}
        // A client that neither reads nor closes must not keep the process.
        () = after(draining, deadline) => {}
    }
    // What was taken is kept before anything ends; what the spool holds goes to the log at the next start.
    if tokio::time::timeout(drain_time, outlet.settled()).await.is_err() {
        tracing::error!("deliveries were still under way at the end; their senders were told 503");
    }
    tasks.shutdown().await;
    drop(outlet);
    drain(publisher, drain_time).await;
    Ok(())
}

async fn after(mut begun: watch::Receiver<bool>, time: Duration) {
    if begun.wait_for(|begun| *begun).await.is_err() {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(time).await;
}

/// Registers the schemas, for as long as that takes, then follows the directory. Where the registry is away, the ids
/// that an earlier run was given hold: they are given once and for ever.
async fn follow_directory(
    registry: Registry,
    codecs: Arc<OnceLock<Codecs>>,
    outlet: Arc<Outlet>,
    reader: Reader,
    readiness: Readiness,
) {
    let mut told = false;
    loop {
        let error = match Codecs::register(&registry).await {
            Ok(registered) => {
                registered.note(&outlet).await;
                let codecs = codecs.get_or_init(|| registered);
                readiness.ready(REGISTRY);
                return reader.run(codecs).await;
            }
            Err(error) => error,
        };
        if !told {
            tracing::warn!(%error, "the schemas cannot be registered yet");
            told = true;
        }
        readiness.not_ready(REGISTRY, error.to_string());
        if let RegistryError::Unreachable { .. } = error
            && let Some(noted) = Codecs::noted(&outlet).await
        {
            readiness.degraded(REGISTRY, error.to_string());
            let codecs = codecs.get_or_init(|| noted);
            tracing::warn!("the schema ids of an earlier run are used");
            tokio::join!(reader.run(codecs), async {
                while Codecs::register(&registry).await.is_err() {
                    tokio::time::sleep(Duration::from_secs(2)).await;
                }
                readiness.ready(REGISTRY);
            });
            return;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Empties the producer's queue: dropping a producer purges what is in flight.
async fn drain(publisher: Arc<Publisher>, time: Duration) {
    let flushed = tokio::task::spawn_blocking(move || {
        let flushed = publisher.close(time);
        drop(publisher);
        flushed
    })
    .await;
    match flushed {
        Ok(Ok(())) => tracing::info!("the producer's queue is empty"),
        Ok(Err(error)) => {
            tracing::error!(%error, "records were still in flight at the end; their senders were told 503");
        }
        Err(error) => tracing::error!(%error, "the drain itself failed"),
    }
}
