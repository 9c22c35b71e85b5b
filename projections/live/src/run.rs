//! The projector as a whole: the engine over the store, started anew where the Redis lost its state.

use helix_fold::settings::Settings;
use helix_runtime::{Engine, EngineConfig, EngineError, Status};
use helix_schemas::names::WorkspaceId;
use tokio::sync::watch;

use crate::store::{Decoder, LiveStore};

/// Why the projector stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The URL is none.
    #[error("the workspace's Redis: {0}")]
    Redis(#[from] redis::RedisError),
    /// The engine stopped; fenced where a newer instance of this workspace's projector runs.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Runs the live projector of one workspace until `shutdown` turns true (or its sender goes away).
///
/// `told` is called with the status of each engine that is started: once, and again after each loss.
///
/// # Errors
/// [`RunError`] where going on would lose or skip a fact, or a newer instance is at work.
pub async fn run(
    config: EngineConfig,
    redis_url: &str,
    workspace: WorkspaceId,
    settings: Settings,
    decoder: Decoder,
    mut shutdown: watch::Receiver<bool>,
    mut told: impl FnMut(Status) + Send,
) -> Result<(), RunError> {
    loop {
        let store = LiveStore::new(redis_url, workspace.clone(), settings, decoder.clone())?;
        let loss = store.loss();
        let engine = Engine::new(config.clone(), store);
        told(engine.status());
        let mut stop = shutdown.clone();
        let until = {
            let loss = loss.clone();
            async move {
                tokio::select! {
                    // An error means that the sender is gone: nobody could stop us any more, so we stop.
                    _ended = stop.wait_for(|stop| *stop) => {}
                    () = loss.wait() => {}
                }
            }
        };
        let outcome = engine.run(until).await;
        let stopping = *shutdown.borrow_and_update() || shutdown.has_changed().is_err();
        if stopping || !loss.happened() {
            return Ok(outcome?);
        }
        // The engine may have met the loss as a fence; either way the state is made anew.
        tracing::warn!(%workspace, "starting the live projector anew");
    }
}
