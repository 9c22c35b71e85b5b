//! What callers see of the engine: how it is put together, run and stopped, and why it stops by itself.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use rdkafka::error::KafkaError;
use tokio::{runtime::Handle, sync::oneshot};

use crate::{
    config::EngineConfig,
    event_loop::Loop,
    status::Status,
    store::{Store, StoreError},
};

/// Why the engine stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The client cannot be made or told what to do.
    #[error("kafka: {0}")]
    Kafka(#[from] KafkaError),
    /// The broker no longer has the offset this projection stands at. Going on would skip facts: a person must decide.
    #[error("the log of {topic} starts after this projection's progress: rebuild it (`helix projection rebuild`)")]
    LogStartPassed {
        /// The topic.
        topic: String,
    },
    /// One key more than may be parked on one instance. Nothing of it was stored: that many poison facts are none.
    #[error("projection {projection} would park more than {limit} keys: it is broken, not the facts")]
    TooManyParked {
        /// The projection.
        projection: String,
        /// How many may be parked.
        limit: usize,
    },
    /// The store said what it cannot mean to be tried again: another instance holds the partitions, or what it refuses is no
    /// record of the batch.
    #[error("projection {projection}: {source}")]
    Store {
        /// The projection.
        projection: String,
        /// What the store said.
        #[source]
        source: StoreError,
    },
    /// The engine's thread broke.
    #[error("the engine's thread ended without a word")]
    Thread,
}

/// A projector: a store, and what drives it.
pub struct Engine<S> {
    pub(crate) config: EngineConfig,
    pub(crate) store: S,
    pub(crate) status: Status,
}

impl<S> std::fmt::Debug for Engine<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("config", &self.config).finish_non_exhaustive()
    }
}

impl<S: Store + 'static> Engine<S> {
    /// Puts the two together.
    pub fn new(config: EngineConfig, store: S) -> Self {
        let status = Status::new(config.watch);
        Self { config, store, status }
    }

    /// Where it stands while it runs.
    pub fn status(&self) -> Status {
        self.status.clone()
    }

    /// Runs until `shutdown` resolves, then applies what is held and leaves.
    ///
    /// # Errors
    /// [`EngineError`] where going on would lose or skip a fact.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), EngineError> {
        let stop = Arc::new(AtomicBool::new(false));
        let (done, ended) = oneshot::channel();
        let runtime = Handle::current();
        let thread_stop = stop.clone();
        std::thread::Builder::new()
            .name(format!("project-{}", self.store.projection()))
            .spawn(move || {
                let outcome = Loop::start(self, runtime, thread_stop).and_then(Loop::run);
                // The receiver is gone only where the caller was dropped: nobody is left to be told.
                let _told = done.send(outcome);
            })
            .map_err(|_| EngineError::Thread)?;
        tokio::pin!(ended);
        tokio::select! {
            outcome = &mut ended => return outcome.map_err(|_| EngineError::Thread)?,
            () = shutdown => stop.store(true, Ordering::Relaxed),
        }
        ended.await.map_err(|_| EngineError::Thread)?
    }
}
