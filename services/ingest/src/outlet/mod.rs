//! Where records leave ingest: into the log, or, while the log does not acknowledge, into the spool; in order.
//!
//! Invariants:
//! - A record counts as placed only once every in-sync replica has it, or the spool has fsynced it (law 1).
//! - Records get sequence numbers in the order they are submitted, and the first copies of them reach the log in that
//!   order, through every failure. So nothing goes to the log directly while anything is in the spool or on its way
//!   there, and the spool is emptied only once all that went directly is settled.
//!   Facts that are not of a delivery (the directory's audit, redriven events) go to the log by themselves.
//! - A record whose acknowledgement does not come in time is perhaps written. With the first such record the producer
//!   is given up with all it holds (all of which goes to the spool): what it may still write is the beginning of what
//!   it held, in order, so that a second copy never overtakes a first one.
//!
//! ```text
//!   Direct --a record is not acknowledged in time--> Spooling --nearly empty--> Closing --empty--> Direct
//! ```
//! While closing, new records wait (milliseconds), or a steady stream would keep the spool from ever being empty.

mod drain;
mod late;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use helix_kit::config::SpoolConfig;
use helix_schemas::time::ReceivedAt;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

pub use self::late::{ATTRIBUTE_LATER, Late};
use crate::{
    metrics,
    publish::{Coordinates, Pending, PublishError, Publisher},
};
pub use helix_kit::spool::{Entry, Fill, Put, Spool, SpoolError};

/// Without a spool there is nothing to do but wait for the producer's own word.
const WITHOUT_SPOOL: Duration = Duration::from_secs(3600);

/// One record on its way out.
pub struct Record {
    /// Its topic.
    pub topic: &'static str,
    /// Its record key.
    pub key: String,
    /// Its framed value.
    pub value: Vec<u8>,
}

/// Where a record is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// In the log, acknowledged by every in-sync replica.
    Log(Coordinates),
    /// On this machine's disk; it goes to this topic once the log is back.
    Spool(&'static str),
}

/// Neither the log nor the spool took a record.
#[derive(Debug, thiserror::Error)]
#[error("neither the log nor the spool took it: {log}; {spool}")]
pub struct Unplaced {
    /// What the log said; perhaps written.
    pub log: PublishError,
    /// What the spool said.
    pub spool: SpoolError,
}

/// Where records go at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// To the log.
    Direct,
    /// To the spool, which is emptied into the log as it takes it.
    Spooling,
    /// The spool is nearly empty; new records wait until it is.
    Closing,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    /// Raised with each producer that is given up.
    generation: u64,
    next_sequence: u64,
    /// Records handed to the producer directly that are neither acknowledged nor kept in the spool yet.
    unsettled: usize,
    /// Records on their way to the spool's disk.
    putting: usize,
    /// Of the records that were handed over directly one could not be spooled: no later one may overtake it.
    refusing: bool,
}

/// The way out.
#[derive(Debug)]
pub struct Outlet {
    publisher: Arc<Publisher>,
    spool: Option<Spool>,
    /// How long an acknowledgement may take before the spool takes over; without a spool as long as the producer tries.
    after: Duration,
    state: Mutex<State>,
    /// Whoever waits for the door, in the order of arrival.
    door: tokio::sync::Mutex<()>,
    /// Told when the mode changes.
    mode: watch::Sender<Mode>,
    /// Told when something was settled or put.
    moved: Notify,
}

/// A record that was taken and is not placed yet.
pub struct Submitted {
    record: Record,
    sequence: u64,
    way: Way,
}

impl Submitted {
    /// Whether it is known already that nothing took it: what follows must not overtake it.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self.way, Way::Spool { put: Err(_), .. })
    }
}

enum Way {
    Direct { generation: u64, pending: Pending, until: Instant, unsettled: Counted },
    Spool { log: PublishError, put: Result<(Put, Counted), SpoolError> },
}

impl Outlet {
    /// An outlet over a producer, with the spool that the configuration names.
    ///
    /// # Errors
    /// Where the spool's thread cannot be started.
    pub fn new(publisher: Arc<Publisher>, config: &SpoolConfig) -> std::io::Result<Arc<Self>> {
        let (spool, highest) = if config.folder.as_os_str().is_empty() {
            (None, 0)
        } else {
            let (spool, highest) = Spool::open(&config.folder, config.limit_mib.saturating_mul(1024 * 1024))?;
            (Some(spool), highest)
        };
        let spooled = spool.is_some();
        let held = spool.as_ref().is_some_and(|spool| spool.fill().records > 0);
        let mode = if held { Mode::Spooling } else { Mode::Direct };
        if held {
            tracing::warn!("the spool holds records of an earlier run; they go to the log first");
        }
        // Above whatever a file that can only be opened later may hold.
        let now = u64::try_from(ReceivedAt::now().micros()).unwrap_or_default();
        let next_sequence = now.max(highest + 1);
        let state = State { mode, generation: 0, next_sequence, unsettled: 0, putting: 0, refusing: false };
        Ok(Arc::new(Self {
            publisher,
            spool,
            after: if spooled { config.after } else { WITHOUT_SPOOL },
            state: Mutex::new(state),
            door: tokio::sync::Mutex::new(()),
            mode: watch::Sender::new(mode),
            moved: Notify::new(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where records go at the moment.
    #[must_use]
    pub fn mode(&self) -> Mode {
        *self.mode.borrow()
    }

    /// The spool, where there is one.
    #[must_use]
    pub fn spool(&self) -> Option<&Spool> {
        self.spool.as_ref()
    }

    /// Whether a record would be kept if the log were down.
    #[must_use]
    pub fn could_spool(&self) -> bool {
        self.spool.as_ref().is_some_and(|spool| spool.fill().has_room())
    }

    /// Takes a record. Records of one caller keep their order. Waits only while the spool is being closed.
    pub async fn submit(self: &Arc<Self>, record: Record) -> Submitted {
        let _in_turn = self.door.lock().await;
        let mut modes = self.mode.subscribe();
        loop {
            // The sender is `self`: it cannot be gone.
            drop(modes.wait_for(|mode| *mode != Mode::Closing).await);
            let mut state = self.state();
            if state.mode == Mode::Closing {
                continue;
            }
            let sequence = state.next_sequence;
            state.next_sequence += 1;
            let log = if state.mode == Mode::Direct {
                if record.topic == ATTRIBUTE_LATER {
                    // The log has come back since its sender asked: there is no later any more.
                    let way = Way::Spool { log: PublishError::Down, put: Err(SpoolError::Closed) };
                    return Submitted { record, sequence, way };
                }
                match self.publisher.enqueue(record.topic, &record.key, &record.value) {
                    Ok(pending) => {
                        state.unsettled += 1;
                        let unsettled = Counted { outlet: self.clone(), what: |state| &mut state.unsettled };
                        let until = Instant::now() + self.after;
                        let way = Way::Direct { generation: state.generation, pending, until, unsettled };
                        return Submitted { record, sequence, way };
                    }
                    Err(error) => {
                        if error.is_of_the_record() {
                            let way = Way::Spool { log: error, put: Err(SpoolError::Closed) };
                            return Submitted { record, sequence, way };
                        }
                        self.give_up(&mut state, &error);
                        error
                    }
                }
            } else {
                PublishError::Down
            };
            let put = self.put(&mut state, sequence, &record);
            drop(state);
            return Submitted { record, sequence, way: Way::Spool { log, put } };
        }
    }

    /// Waits until a record is kept.
    ///
    /// # Errors
    /// [`Unplaced`]: the caller must not say that it is kept.
    pub async fn placed(self: &Arc<Self>, submitted: Submitted) -> Result<Placed, Unplaced> {
        let Submitted { record, sequence, way } = submitted;
        let (log, put) = match way {
            Way::Spool { log, put } => (log, put),
            Way::Direct { generation, pending, until, unsettled } => {
                let acknowledged = tokio::time::timeout_at(until, self.publisher.acknowledged(pending)).await;
                let log = match acknowledged {
                    Ok(Ok(coordinates)) => return Ok(Placed::Log(coordinates)),
                    Ok(Err(error)) => error,
                    Err(_elapsed) => PublishError::Late { topic: record.topic },
                };
                let mut state = self.state();
                if state.generation == generation {
                    self.give_up(&mut state, &log);
                }
                let put = if state.refusing { Err(SpoolError::Full) } else { self.put(&mut state, sequence, &record) };
                state.refusing = put.is_err();
                drop(state);
                // On its way to the disk: from here on it counts there.
                drop(unsettled);
                (log, put)
            }
        };
        let kept = match put {
            Ok((put, landing)) => {
                let kept = put.kept().await;
                drop(landing);
                kept
            }
            Err(error) => Err(error),
        };
        kept.map(|()| Placed::Spool(record.topic)).map_err(|spool| Unplaced { log, spool })
    }

    /// From now on records go to the spool; the producer is given up with all it holds.
    fn give_up(&self, state: &mut State, reason: &dyn std::fmt::Display) {
        if state.mode != Mode::Direct {
            return;
        }
        if !self.could_spool() {
            // Nobody takes over: the producer goes on trying.
            self.publisher.renew_if_fatal();
            return;
        }
        tracing::warn!(%reason, "the log does not acknowledge; records go to the spool");
        state.generation += 1;
        self.publisher.renew();
        self.set(state, Mode::Spooling);
    }

    /// Goes over to the spool before a record has to wait for an acknowledgement that will not come.
    pub fn log_is_down(&self, reason: &dyn std::fmt::Display) {
        self.give_up(&mut self.state(), reason);
    }

    /// Records in the spool while they go to the log directly: a file that could not be opened before.
    pub fn look_at_the_spool(&self) {
        let Some(spool) = &self.spool else { return };
        spool.look_at_the_disk();
        let mut state = self.state();
        if state.mode == Mode::Direct && spool.fill().records > 0 {
            tracing::warn!("the spool holds records of an earlier run after all; they go to the log first");
            self.set(&mut state, Mode::Spooling);
        }
    }

    /// A producer that can never again produce is given up, whoever noticed.
    pub fn producer_is_beyond_repair(&self) {
        self.give_up(&mut self.state(), &PublishError::Down);
    }

    fn set(&self, state: &mut State, mode: Mode) {
        state.mode = mode;
        metrics::spooling(mode != Mode::Direct);
        self.mode.send_replace(mode);
    }

    fn put(self: &Arc<Self>, state: &mut State, sequence: u64, record: &Record) -> Result<(Put, Counted), SpoolError> {
        let spool = self.spool.as_ref().ok_or(SpoolError::Closed)?;
        let entry = Entry {
            topic: record.topic.to_owned(),
            key: record.key.clone(),
            value: record.value.clone(),
            at: ReceivedAt::now().micros(),
        };
        let put = spool.put(sequence, entry)?;
        state.putting += 1;
        Ok((put, Counted { outlet: self.clone(), what: |state| &mut state.putting }))
    }

    /// Waits until all that was submitted is settled, for an orderly end.
    pub async fn settled(&self) {
        self.until(|state| state.unsettled == 0 && state.putting == 0).await;
    }

    async fn until(&self, reached: fn(&State) -> bool) {
        loop {
            // Made before the look, so that nothing that moves after it is missed.
            let moved = self.moved.notified();
            if reached(&self.state()) {
                return;
            }
            moved.await;
        }
    }

    /// Shows how full the spool is, in metrics.
    pub fn report(&self) {
        if let Some(spool) = &self.spool {
            metrics::spool(&spool.fill(), ReceivedAt::now().micros());
        }
    }
}

/// One of those that are counted until they are settled, also where whoever waits for it is gone.
struct Counted {
    outlet: Arc<Outlet>,
    what: fn(&mut State) -> &mut usize,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut state = self.outlet.state();
        let count = (self.what)(&mut state);
        *count = count.saturating_sub(1);
        state.refusing &= state.unsettled > 0;
        drop(state);
        self.outlet.moved.notify_waiters();
    }
}
