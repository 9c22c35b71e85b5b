//! The store behind the engine: applying a batch is delivering it, then moving progress.

use std::{sync::Arc, time::Instant};

use async_trait::async_trait;
use bytes::Bytes;
use helix_runtime::{
    Batch, Lag, Position, Record, Standing, Store, StoreError,
    fault::{self, Point},
};
use helix_schemas::{codec::Codec, fact::Fact, key::workspace_of_key, names::WorkspaceId, registry::Registry};
use tokio::sync::watch;

use crate::{
    courier::Courier,
    memory::Memory,
    metrics::Meter,
    options::{Options, OptionsError, WINDOW},
    progress::Progress,
    projection,
    receiver::{Cause, Receiver},
    request::Event,
};

/// Why a batch has to wait: for the engine's log.
#[derive(Debug, thiserror::Error)]
enum Waiting {
    #[error("the receiver of {workspace} takes nothing ({cause}); {left} events of the batch wait")]
    Circuit { workspace: WorkspaceId, cause: String, left: usize },
    #[error("the receiver of {workspace} has not answered all yet; {left} events of the batch wait")]
    Slow { workspace: WorkspaceId, left: usize },
}

/// Tells whether a receiver takes its events.
#[derive(Debug, Clone)]
pub struct Trouble(watch::Receiver<Option<Cause>>);

impl Trouble {
    /// Why the receiver is only probed at the moment; `None` where all is well. Without personal data or secrets.
    #[must_use]
    pub fn why(&self) -> Option<String> {
        self.0.borrow().map(|cause| cause.to_string())
    }
}

/// The store behind `helix project forward`, for one workspace.
pub struct ForwardStore<P> {
    workspace: WorkspaceId,
    projection: String,
    progress: P,
    registry: Registry,
    codec: Arc<Codec<Fact>>,
    courier: Courier,
    memory: Memory,
    meter: Meter,
}

impl<P> std::fmt::Debug for ForwardStore<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ForwardStore").field("workspace", &self.workspace).finish_non_exhaustive()
    }
}

impl<P: Progress> ForwardStore<P> {
    /// For one workspace's receiver. Once `stopping` turns true, what fails is not tried again by this process.
    ///
    /// # Errors
    /// [`OptionsError`].
    pub fn new(
        workspace: WorkspaceId,
        options: &Options,
        progress: P,
        (registry, codec): (Registry, Arc<Codec<Fact>>),
        stopping: watch::Receiver<bool>,
    ) -> Result<Self, OptionsError> {
        let meter = Meter::new(workspace.as_str());
        let receiver = Receiver::new(&workspace, options, meter.clone())?;
        let courier = Courier::new(workspace.clone(), receiver, options.concurrency, meter.clone(), stopping);
        let projection = projection(&workspace);
        Ok(Self { workspace, projection, progress, registry, codec, courier, memory: Memory::default(), meter })
    }

    /// Tells whether the receiver takes its events.
    #[must_use]
    pub fn trouble(&self) -> Trouble {
        Trouble(self.courier.circuit.told())
    }

    /// What of a batch is still to be sent, with record keys, in the order of the log.
    async fn events(&self, batch: &Batch) -> Result<Vec<(Bytes, Event)>, StoreError> {
        let mut events = Vec::new();
        for slice in &batch.slices {
            for record in &slice.records {
                let ours = workspace_of_key(&record.key) == Some(self.workspace.as_str());
                if !ours || self.memory.knows(slice.partition, record.offset) {
                    continue;
                }
                let fact = self.decode(slice.partition, record).await?;
                if let Some(event) = Event::of(slice.partition, record.offset, fact) {
                    events.push((record.key.clone(), event));
                }
            }
        }
        Ok(events)
    }

    async fn decode(&self, partition: i32, record: &Record) -> Result<Fact, StoreError> {
        self.registry.decode(&self.codec, &record.value).await.map_err(|error| {
            if error.blames_the_record() {
                StoreError::Poison { partition, offset: record.offset, reason: error.to_string() }
            } else {
                StoreError::unavailable(error)
            }
        })
    }

    /// Nothing is sent for a partition that is another instance's by now: what progress would refuse afterwards could not
    /// be taken back from the receiver.
    async fn check(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let partitions: Vec<i32> = batch.slices.iter().map(|slice| slice.partition).collect();
        let standing = self.progress.standing(&batch.topic, &partitions).await?;
        let ours = |slice: &&helix_runtime::Slice| {
            let at = standing.positions.iter().find(|at| at.partition == slice.partition);
            at.is_some_and(|at| at.epoch == slice.epoch && at.next_offset == slice.from)
        };
        match batch.slices.iter().find(|slice| !ours(slice)) {
            Some(slice) => Err(StoreError::Fenced { partition: slice.partition }),
            None => Ok(()),
        }
    }

    fn waiting(&self, left: usize) -> StoreError {
        let workspace = self.workspace.clone();
        StoreError::unavailable(match self.trouble().why() {
            Some(cause) => Waiting::Circuit { workspace, cause, left },
            None => Waiting::Slow { workspace, left },
        })
    }
}

#[async_trait]
impl<P: Progress> Store for ForwardStore<P> {
    fn projection(&self) -> &str {
        &self.projection
    }

    async fn acquire(&mut self, topic: &str, partitions: &[i32]) -> Result<Vec<Position>, StoreError> {
        let positions = self.progress.acquire(topic, partitions).await?;
        for position in &positions {
            self.memory.acquired(position);
        }
        Ok(positions)
    }

    async fn apply(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let until = Instant::now() + WINDOW;
        for slice in &batch.slices {
            self.memory.begin(slice);
        }
        let events = self.events(batch).await?;
        fault::pass(Point::AfterDecode);
        if !events.is_empty() {
            self.check(batch).await?;
            let left = self.courier.deliver(events, until, &mut self.memory).await;
            if left > 0 {
                return Err(self.waiting(left));
            }
        }
        fault::pass(Point::AfterWrite);
        self.progress.advance(batch).await?;
        fault::pass(Point::AfterCommit);
        for slice in &batch.slices {
            self.memory.finished(slice.partition);
        }
        Ok(())
    }

    async fn standing(&mut self, topic: &str, partitions: &[i32]) -> Result<Option<Standing>, StoreError> {
        Ok(Some(self.progress.standing(topic, partitions).await?))
    }

    async fn beat(&mut self, lag: Option<Lag>) -> Result<(), StoreError> {
        self.meter.lag(lag);
        Ok(())
    }
}
