//! Reading on while the store applies a batch, so that neither waits for the other.
//!
//! What is read ahead is polled, prepared ([`Store::preparer`]) and held behind the batch, on the loop's own thread, a little
//! at a time between the answers that the store waits for. It is one batch at most; nothing of it is cut before the answer
//! has come, and it shares the fate of all that is held: it is applied or dropped with its partition, and polled again by
//! whoever reads on from the store's progress. A rebalance that is noted meanwhile ends the reading: the group waits for no
//! more than what is under way.

use std::{
    pin::pin,
    sync::{
        PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    Message,
    consumer::{BaseConsumer, Consumer},
};

use crate::{
    client::Callbacks,
    engine::EngineError,
    event_loop::{Loop, consumer_error, patiently, waiting},
    fault::{self, Point},
    held::Held,
    status::Status,
    store::{Batch, Prepared, Record, Store, StoreError},
};

/// So many records are read before the store's turn comes again: a fraction of a millisecond.
const AT_ONCE: usize = 32;
/// Where there is nothing to read, the client is asked again after this.
const AGAIN: Duration = Duration::from_millis(2);

/// Whether to read on while a batch is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ahead {
    Read,
    Stay,
}

/// Since when what was read ahead is held; `None` where there is none of it.
pub(crate) type ReadSince = Option<Instant>;

impl<S: Store> Loop<S> {
    /// Gives a batch to the store; tells its answer, and how reading on went meanwhile.
    pub(crate) fn give(
        &mut self,
        batch: &Batch,
        prepared: Vec<Option<Prepared>>,
        ahead: Ahead,
    ) -> (Result<(), StoreError>, Result<ReadSince, EngineError>) {
        let mut reader = Reader {
            consumer: &self.consumer,
            preparer: self.preparer.as_deref(),
            stop: &self.stop,
            topic: &self.config.topic,
            status: &self.status,
            most_records: self.held.records() + self.config.batch_records,
            most_bytes: self.held.bytes() + self.config.batch_bytes,
            held: &mut self.held,
            next: if ahead == Ahead::Read { Next::Read } else { Next::Rest },
            since: None,
            failed: None,
        };
        let store = &mut self.store;
        let outcome = self.runtime.block_on(async {
            let mut applying = pin!(patiently(store.apply_prepared(batch, prepared)));
            loop {
                tokio::select! {
                    biased;
                    outcome = &mut applying => return outcome,
                    () = reader.turn() => reader.read(),
                }
            }
        });
        let Reader { since, failed, .. } = reader;
        (outcome, failed.map_or(Ok(since), Err))
    }
}

/// What the reader does next.
enum Next {
    Read,
    /// The client had nothing.
    Wait,
    /// No more is to be read during this batch.
    Rest,
}

/// What a [`crate::Preparer`] holds.
type Prepare = dyn Fn(&Record) -> Option<Prepared> + Send;

struct Reader<'a> {
    consumer: &'a BaseConsumer<Callbacks>,
    preparer: Option<&'a Prepare>,
    stop: &'a AtomicBool,
    topic: &'a str,
    status: &'a Status,
    held: &'a mut Held,
    most_records: usize,
    most_bytes: usize,
    next: Next,
    since: ReadSince,
    failed: Option<EngineError>,
}

impl Reader<'_> {
    /// Resolves when it is the reader's turn: never, where it rests.
    async fn turn(&self) {
        match self.next {
            Next::Read => tokio::task::yield_now().await,
            Next::Wait => tokio::time::sleep(AGAIN).await,
            Next::Rest => std::future::pending().await,
        }
    }

    fn read(&mut self) {
        self.next = Next::Read;
        for _ in 0..AT_ONCE {
            if self.rests() {
                self.next = Next::Rest;
                break;
            }
            match self.consumer.poll(Duration::ZERO) {
                None => {
                    self.next = Next::Wait;
                    break;
                }
                Some(Err(error)) => self.failed = consumer_error(error, self.topic).err(),
                Some(Ok(message)) => {
                    let mut polled = waiting(&message);
                    polled.prepared = self.preparer.and_then(|prepare| prepare(&polled.record));
                    if self.held.push(message.partition(), polled) {
                        self.since.get_or_insert_with(Instant::now);
                        fault::pass(Point::AfterPoll);
                    }
                }
            }
        }
        self.status.holds(self.held.records());
    }

    fn rests(&self) -> bool {
        self.failed.is_some()
            || self.held.records() >= self.most_records
            || self.held.bytes() >= self.most_bytes
            || self.stop.load(Ordering::Relaxed)
            || !self.consumer.context().rebalances.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}
