//! `helix project live`: an engine a workspace, over its own Redis.

use helix_kit::{
    config::{Config, ProjectorConfig},
    http::Readiness,
};
use helix_live::Decoder;
use helix_runtime::Membership;
use tokio::{sync::watch, task::AbortHandle};

use super::{CONSUMER, NOT_ACQUIRED, STORE, codec, engine_config, engine_trouble, wait_before_again, watch_status};
use crate::{failure::Failure, setup::settings};

/// One engine a workspace: a hospital whose Redis is down holds up nobody else.
pub(super) async fn run(
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
            readiness.not_ready(&part, NOT_ACQUIRED);
            loop {
                let mut watcher: Option<AbortHandle> = None;
                let told = |status| {
                    let next = watch_status(status, readiness.clone(), part.clone(), engine_trouble);
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
                if !wait_before_again(&workspace, &error, (&readiness, &part), &stopped).await {
                    return;
                }
            }
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.map_err(|error| Failure::of(1, &error))?;
    }
    Ok(())
}
