//! The projector as a whole: the engine over the store, started anew where the Redis lost its state.

use std::time::{Duration, Instant};

use helix_fold::settings::Settings;
use helix_runtime::{Engine, EngineConfig, EngineError, Status, StoreError};
use helix_schemas::names::WorkspaceId;
use tokio::sync::watch;

use crate::{
    reader::{BoardReader, Holder},
    store::{Decoder, LiveStore},
};

/// A holder that has said nothing for this long is gone: it beats once a second.
const HOLDER_GONE: Duration = Duration::from_secs(5);
/// How often one that stands by looks: an operator who exchanges the board holds it for a moment only.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// How often the log's end is measured: the pulse is as old as that.
const MEASURE_EVERY: Duration = Duration::from_millis(500);
/// From one beginning to the next, at least: a Redis that loses everything again and again is not filled from the start of the
/// log without a pause.
const BETWEEN_BEGINNINGS: Duration = Duration::from_secs(1);

/// Why the projector stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The URL is none.
    #[error("the workspace's Redis: {0}")]
    Redis(#[from] redis::RedisError),
    /// The engine stopped where going on would lose or skip a fact.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Runs the live projector of one workspace until `shutdown` turns true (or its sender goes away). Where a newer instance
/// takes the board, this one stands by until that one has been silent for a while: two instances never fence each other in
/// turns. The same where an operator holds it ([`crate::Generations::cut_over`]), who lets go of it within a moment.
///
/// `told` is called with the status of each engine that is started: once, and again after each loss.
///
/// # Errors
/// [`RunError`] where going on would lose or skip a fact.
pub async fn run(
    mut config: EngineConfig,
    redis_url: &str,
    workspace: WorkspaceId,
    settings: Settings,
    decoder: Decoder,
    mut shutdown: watch::Receiver<bool>,
    mut told: impl FnMut(Status) + Send,
) -> Result<(), RunError> {
    config.watch.every = config.watch.every.min(MEASURE_EVERY);
    loop {
        let begun = Instant::now();
        let store = LiveStore::new(redis_url, workspace.clone(), settings.clone(), decoder.clone())?;
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
        if stopping {
            return Ok(outcome?);
        }
        // The engine may have met a loss as a fence; then the state is made anew.
        let fenced = matches!(&outcome, Err(EngineError::Store { source: StoreError::Fenced { .. }, .. }));
        if fenced && !loss.happened() {
            tracing::warn!(%workspace, "another instance or an operator holds the board; standing by");
            if !stand_by(redis_url, &workspace, shutdown.clone()).await? {
                return Ok(());
            }
        } else if !loss.happened() {
            return Ok(outcome?);
        } else {
            tokio::select! {
                () = tokio::time::sleep(BETWEEN_BEGINNINGS.saturating_sub(begun.elapsed())) => {}
                _ended = shutdown.wait_for(|stop| *stop) => return Ok(()),
            }
        }
        tracing::warn!(%workspace, "starting the live projector anew");
    }
}

/// Waits until whoever holds the board is gone, or lets go of it; false where this instance is to stop before.
async fn stand_by(
    redis_url: &str,
    workspace: &WorkspaceId,
    mut shutdown: watch::Receiver<bool>,
) -> Result<bool, redis::RedisError> {
    let reader = BoardReader::new(redis_url, workspace)?;
    // The last word may still be our own: the newer one has as much time as any to say its first.
    let mut silent = Duration::ZERO;
    while silent < HOLDER_GONE {
        tokio::select! {
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            _ended = shutdown.wait_for(|stop| *stop) => return Ok(false),
        }
        let asked = async { reader.holder(&mut reader.connect().await?).await };
        silent = match asked.await {
            Ok(Holder::Nobody) => return Ok(true),
            Ok(Holder::Spoke(Some(age))) => age,
            Ok(Holder::Spoke(None)) => silent + LOOK_AGAIN,
            // Whether anybody holds it cannot be told now, and neither could it be taken.
            Err(error) => {
                tracing::debug!(%workspace, %error, "the pulse could not be read");
                Duration::ZERO
            }
        };
    }
    Ok(true)
}
