//! A store in memory with a real compare-and-set, and the faults that stores have.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use helix_runtime::{Batch, Epoch, NextOffset, Position, Store, StoreError};
use tokio::sync::watch;

/// What goes wrong with one `apply`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is written.
    Unavailable,
    /// Everything is written, but the caller is told it was not.
    AnswerLost,
    /// The first fact cannot be applied.
    Poison,
}

#[derive(Default)]
struct State {
    progress: BTreeMap<i32, (i64, i64)>,
    applied: Vec<(i32, i64, String)>,
    faults: VecDeque<Fault>,
    acquire_faults: usize,
    acquires: usize,
}

/// What outlives an instance: the database.
#[derive(Clone)]
pub struct Shared {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
}

impl Default for Shared {
    fn default() -> Self {
        Self { state: Arc::default(), changed: watch::Sender::new(0) }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn touch(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    pub fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.extend(faults);
    }

    pub fn fail_acquire(&self, times: usize) {
        self.state().acquire_faults = times;
    }

    pub fn count(&self) -> usize {
        self.state().applied.len()
    }

    /// As a rebuild does it: no rows, progress 0, every holder fenced.
    pub fn reset(&self) {
        let mut state = self.state();
        state.applied.clear();
        for (next, epoch) in state.progress.values_mut() {
            (*next, *epoch) = (0, *epoch + 1);
        }
    }

    pub fn raise_epochs(&self) {
        for (_, epoch) in self.state().progress.values_mut() {
            *epoch += 1;
        }
    }

    /// Waits for the number of applied records.
    pub async fn applied(&self, count: usize, patience: Duration) {
        self.until(patience, "records were applied", || self.count() >= count).await;
    }

    /// Waits until the store was asked for partitions.
    pub async fn asked(&self, patience: Duration) {
        self.until(patience, "partitions were asked for", || self.state().acquires > 0).await;
    }

    async fn until(&self, patience: Duration, what: &str, done: impl Fn() -> bool) {
        let mut changed = self.changed.subscribe();
        let waiting = async {
            while !done() {
                changed.changed().await.expect("the sender is held here");
            }
        };
        let outcome = tokio::time::timeout(patience, waiting).await;
        assert!(outcome.is_ok(), "waited in vain until {what}; {} applied", self.count());
    }

    /// Each record once, in the order of its partition, and progress where the rows are.
    pub fn check(&self, partitions: i32) {
        let state = self.state();
        for partition in 0..partitions {
            let of: Vec<&(i32, i64, String)> = state.applied.iter().filter(|(at, _, _)| *at == partition).collect();
            for (expected, (_, offset, value)) in (0_i64..).zip(&of) {
                assert_eq!(*offset, expected, "partition {partition}: a gap, a repeat or disorder");
                assert_eq!(*value, (expected * i64::from(partitions) + i64::from(partition)).to_string());
            }
            let next = state.progress.get(&partition).map_or(0, |(next, _)| *next);
            assert_eq!(next, i64::try_from(of.len()).expect("small"), "progress of partition {partition}");
        }
    }
}

/// One instance's hold on it.
pub struct Memory {
    shared: Shared,
}

impl Memory {
    pub fn new(shared: Shared) -> Self {
        Self { shared }
    }
}

fn position(partition: i32, (next, epoch): (i64, i64)) -> Position {
    Position { partition, next_offset: NextOffset(next), epoch: Epoch(epoch), parked: Default::default() }
}

#[async_trait]
impl Store for Memory {
    fn projection(&self) -> &str {
        "memory"
    }

    async fn acquire(&mut self, _topic: &str, partitions: &[i32]) -> Result<Vec<Position>, StoreError> {
        let mut state = self.shared.state();
        state.acquires += 1;
        let failing = state.acquire_faults > 0;
        state.acquire_faults = state.acquire_faults.saturating_sub(1);
        let mut positions = Vec::new();
        if !failing {
            for partition in partitions {
                let held = state.progress.entry(*partition).or_default();
                held.1 += 1;
                positions.push(position(*partition, *held));
            }
        }
        drop(state);
        self.shared.touch();
        if failing { Err(StoreError::unavailable("injected")) } else { Ok(positions) }
    }

    async fn apply(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let mut state = self.shared.state();
        let fault = state.faults.pop_front();
        match fault {
            Some(Fault::Unavailable) => return Err(StoreError::unavailable("injected")),
            Some(Fault::Poison) => {
                let slice = batch.slices.first().expect("a batch is not empty");
                let offset = slice.records.first().expect("a slice is not empty").offset;
                return Err(StoreError::Poison { partition: slice.partition, offset, reason: "injected".to_owned() });
            }
            Some(Fault::AnswerLost) | None => {}
        }
        for slice in &batch.slices {
            if state.progress.get(&slice.partition) != Some(&(slice.from.0, slice.epoch.0)) {
                return Err(StoreError::Fenced { partition: slice.partition });
            }
        }
        for slice in &batch.slices {
            state.progress.insert(slice.partition, (slice.to.0, slice.epoch.0));
            for record in &slice.records {
                let value = String::from_utf8_lossy(&record.value).into_owned();
                state.applied.push((slice.partition, record.offset.0, value));
            }
        }
        drop(state);
        self.shared.touch();
        if fault == Some(Fault::AnswerLost) { Err(StoreError::unavailable("injected")) } else { Ok(()) }
    }

    async fn standing(&mut self, _topic: &str, partitions: &[i32]) -> Result<Option<Vec<Position>>, StoreError> {
        let state = self.shared.state();
        let held = partitions.iter().filter_map(|at| state.progress.get(at).map(|held| position(*at, *held)));
        Ok(Some(held.collect()))
    }
}
