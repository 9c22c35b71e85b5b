//! `helix project forward`: an engine a workspace that has a receiver of the older contract.

use std::collections::BTreeMap;

use helix_forward::ForwardStore;
use helix_kit::{
    config::{Config, ProjectorConfig},
    http::Readiness,
};
use helix_postgres::ProgressOf;
use helix_replay::{ReplayError, log::FactLog};
use helix_runtime::{Engine, Membership, Status};
use helix_schemas::{names::WorkspaceId, topics};
use tokio::sync::watch;

use super::{
    CONSUMER, NOT_ACQUIRED, STORE, codec, engine_config, open_postgres, patiently, until, wait_before_again,
    watch_status,
};
use crate::failure::Failure;

/// One engine a workspace that has a receiver of the older contract: one that is down delays nobody else's.
pub(super) async fn run(
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
            readiness.not_ready(&part, NOT_ACQUIRED);
            loop {
                let (progress, reading) = (progress.clone(), reading.clone());
                let store = ForwardStore::new(workspace.clone(), &options, progress, reading, stopped.clone());
                let store = store.map_err(|error| Failure::of(2, &error))?;
                let trouble = store.trouble();
                let engine = Engine::new(engine.clone(), store);
                // Its facts wait while the receiver takes nothing; the process does its work.
                let takes_nothing =
                    move |_: &Status| trouble.why().map(|cause| format!("the receiver takes nothing: {cause}"));
                let watcher = watch_status(engine.status(), readiness.clone(), part.clone(), takes_nothing);
                let outcome = engine.run(until(stopped.clone())).await;
                watcher.abort();
                let Err(error) = outcome else { return Ok(()) };
                if !wait_before_again(&workspace, &error, (&readiness, &part), &stopped).await {
                    return Ok(());
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
