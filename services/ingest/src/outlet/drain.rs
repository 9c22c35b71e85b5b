//! Empties the spool into the log, in order, and closes it when it is empty.
//!
//! A batch that is not acknowledged in time is perhaps written: its producer is given up and the whole batch is sent
//! again by a new one. What the old one may still write is the batch's beginning, in order.

use std::{sync::Arc, time::Duration};

use helix_schemas::topics;

use super::{Entry, Late, Mode, Outlet, Spool, SpoolError, late::NotYet};
use crate::{
    publish::PublishError,
    ready::{LogFault, check_log},
};

/// Most records and bytes sent at once.
const BATCH: usize = 1000;
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// With fewer than this left, new records wait while the rest is sent.
const NEARLY_EMPTY: usize = 250;
/// How long a batch may take: the log may be slow, and librdkafka reconnects by itself.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long new records may be made to wait.
const CLOSING_PATIENCE: Duration = Duration::from_millis(500);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(2);

/// Why a batch is still in the spool.
#[derive(Debug, thiserror::Error)]
enum Held {
    #[error(transparent)]
    Log(#[from] PublishError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error(transparent)]
    NotYet(#[from] NotYet),
    #[error("the log did not acknowledge in time")]
    Late,
    #[error("the log does not answer")]
    Silent,
}

impl Outlet {
    /// Empties the spool whenever there is something in it. Never ends; an aborted one loses nothing.
    pub async fn drain(self: Arc<Self>, late: Late) {
        let Some(spool) = self.spool() else {
            return std::future::pending().await;
        };
        let mut modes = self.mode.subscribe();
        loop {
            // The sender is `self`: it cannot be gone.
            drop(modes.wait_for(|mode| *mode != Mode::Direct).await);
            self.until(|state| state.unsettled == 0).await;
            self.empty(spool, &late).await;
        }
    }

    async fn empty(&self, spool: &Spool, late: &Late) {
        let (mut pause, mut sent, mut told) = (FIRST_PAUSE, 0_u64, false);
        while self.mode() != Mode::Direct {
            match self.step(spool, late).await {
                Ok(count) => {
                    sent += count;
                    pause = FIRST_PAUSE;
                }
                Err(error) => {
                    if !told {
                        tracing::warn!(%error, "the spool cannot be emptied yet");
                        told = true;
                    }
                    self.change(Mode::Closing, Mode::Spooling);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LAST_PAUSE);
                }
            }
        }
        tracing::info!(sent, "the spool is empty; records go to the log again");
    }

    /// Sends the next batch and removes it, or closes an empty spool. How many records the log took.
    async fn step(&self, spool: &Spool, late: &Late) -> Result<u64, Held> {
        // What went directly, also in a moment between two turns of this loop, comes first.
        self.until(|state| state.unsettled == 0).await;
        let closing = self.mode() == Mode::Closing;
        // What was sent is removed, so the beginning is always what is to be sent next. Puts were handed to the spool
        // before the door was shut, and are written before they are read.
        let batch = match spool.read(BATCH, BATCH_BYTES).await {
            // A spool that fails without holding anything must not keep the log from being used.
            Err(_) if spool.fill().records == 0 => Vec::new(),
            read => read?,
        };
        if batch.is_empty() {
            if closing {
                self.change(Mode::Closing, Mode::Direct);
            } else {
                // With nothing to send, the log must say by itself that it is back.
                let publisher = self.publisher.clone();
                let asked = tokio::task::spawn_blocking(move || check_log(&publisher)).await;
                if !matches!(asked, Ok(Ok(()) | Err(LogFault::Wrong(_)))) {
                    return Err(Held::Silent);
                }
                self.change(Mode::Spooling, Mode::Closing);
            }
            return Ok(0);
        }
        let (mut sequences, mut entries) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        for (sequence, entry) in batch {
            sequences.push(sequence);
            entries.push(late.settle(entry).await?);
        }
        let count = entries.len();
        if let Err(error) = self.send(&entries, closing).await {
            self.publisher.renew();
            return Err(error);
        }
        spool.remove(sequences).await?;
        if count < NEARLY_EMPTY {
            self.change(Mode::Spooling, Mode::Closing);
        }
        Ok(u64::try_from(count).unwrap_or(u64::MAX))
    }

    /// Hands a batch to the producer in order and waits until all of it is acknowledged.
    async fn send(&self, batch: &[Entry], closing: bool) -> Result<(), Held> {
        let mut pending = Vec::with_capacity(batch.len());
        for entry in batch {
            let topic = topics::ALL.iter().find(|topic| topic.name == entry.topic);
            let topic = topic.ok_or_else(|| SpoolError::Broken("a record is of no topic of ours".to_owned()))?;
            pending.push(self.publisher.enqueue(topic.name, &entry.key, &entry.value)?);
        }
        let acknowledged = async {
            for delivery in pending {
                self.publisher.acknowledged(delivery).await?;
            }
            Ok(())
        };
        tokio::pin!(acknowledged);
        if closing {
            match tokio::time::timeout(CLOSING_PATIENCE, &mut acknowledged).await {
                Ok(outcome) => return outcome,
                // Nobody waits for a log that is slow.
                Err(_elapsed) => self.change(Mode::Closing, Mode::Spooling),
            }
        }
        tokio::time::timeout(PATIENCE, acknowledged).await.unwrap_or(Err(Held::Late))
    }

    fn change(&self, from: Mode, to: Mode) {
        let mut state = self.state();
        if state.mode == from {
            self.set(&mut state, to);
        }
    }
}
