//! A store in memory with a real compare-and-set, and the faults that stores have.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use helix_runtime::{Batch, Epoch, NextOffset, Parked, Position, Prepared, Preparer, Standing, Store, StoreError};
use tokio::sync::watch;

/// What goes wrong with one `apply`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is written.
    Unavailable,
    /// Everything is written, but the caller is told it was not.
    AnswerLost,
}

/// What the store says of a record that it cannot apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Words {
    /// Which one it is.
    #[default]
    Poison,
    /// Only that there is one.
    Refused,
}

#[derive(Default)]
struct State {
    /// Next offset and epoch, by partition.
    progress: BTreeMap<i32, (i64, i64)>,
    applied: Vec<(i32, i64, String)>,
    parked: Vec<(i32, Parked)>,
    /// Values that cannot be applied.
    bad: BTreeSet<String>,
    words: Words,
    faults: VecDeque<Fault>,
    acquire_faults: usize,
    acquires: usize,
    /// What was asked for, answered or not.
    asked_for: BTreeSet<Vec<i32>>,
    applies: usize,
    largest: usize,
    /// Records that were prepared.
    prepared: usize,
    /// Records that came to be applied prepared, and that did not; tries included.
    came: (usize, usize),
    /// A batch is applied in time with at most so many records.
    in_time: Option<usize>,
    /// How many records each batch had, those that were not applied included.
    sizes: Vec<usize>,
    /// A batch is applied only when so many of all records were read, or a whole further batch of so many.
    until_read: Option<(usize, usize)>,
    down: bool,
    hangs: bool,
    paused: bool,
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

    /// Records with these values cannot be applied.
    pub fn cannot_apply<'a>(&self, values: impl IntoIterator<Item = &'a str>, words: Words) {
        let mut state = self.state();
        state.bad = values.into_iter().map(str::to_owned).collect();
        state.words = words;
    }

    /// From now on every batch is unavailable, or none.
    pub fn down(&self, down: bool) {
        self.state().down = down;
    }

    /// From now on no batch is answered, or every one is again.
    pub fn hang(&self, hangs: bool) {
        self.state().hangs = hangs;
        self.touch();
    }

    /// From now on a batch with more records, to apply or to park, takes too long; `None`: none does.
    pub fn in_time(&self, records: Option<usize>) {
        self.state().in_time = records;
    }

    /// How many records each batch had that was offered, in order.
    pub fn sizes(&self) -> Vec<usize> {
        self.state().sizes.clone()
    }

    /// From now on a batch takes as long as it takes to read another of `batch` records, or the last of `all`.
    pub fn slow_as_reading(&self, batch: usize, all: usize) {
        self.state().until_read = Some((batch, all));
    }

    /// Whether a batch is not answered yet.
    fn busy(&self) -> bool {
        let state = self.state();
        state.hangs || state.reads_on()
    }

    /// How many records came to be applied prepared, and how many did not.
    pub fn came(&self) -> (usize, usize) {
        self.state().came
    }

    pub fn pause(&self, paused: bool) {
        self.state().paused = paused;
    }

    pub fn count(&self) -> usize {
        self.state().applied.len()
    }

    /// How often a batch was offered, and the most records that one had.
    pub fn offered(&self) -> (usize, usize) {
        let state = self.state();
        (state.applies, state.largest)
    }

    /// How many records were read and prepared while a batch was being applied.
    pub fn prepared(&self) -> usize {
        self.state().prepared
    }

    /// Waits until so many records were prepared.
    pub async fn prepared_are(&self, count: usize, patience: Duration) {
        self.until(patience, "records were prepared", || self.prepared() >= count).await;
    }

    /// Values that were applied, in the order of a partition.
    pub fn values(&self, partition: i32) -> Vec<String> {
        let state = self.state();
        state.applied.iter().filter(|(at, _, _)| *at == partition).map(|(_, _, value)| value.clone()).collect()
    }

    /// Everything that is parked, with its partition, in order.
    pub fn parked(&self) -> Vec<(i32, Parked)> {
        let mut parked = self.state().parked.clone();
        parked.sort_by_key(|(partition, parked)| (*partition, parked.offset));
        parked
    }

    /// Progress over all partitions.
    pub fn progress(&self) -> usize {
        let sum: i64 = self.state().progress.values().map(|(next, _)| next).sum();
        usize::try_from(sum).expect("an offset is not negative")
    }

    /// As a rebuild does it: no rows, progress 0, every holder fenced.
    pub fn reset(&self) {
        let mut state = self.state();
        state.applied.clear();
        state.parked.clear();
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

    /// Waits until progress has passed so many records, applied or parked.
    pub async fn passed(&self, count: usize, patience: Duration) {
        self.until(patience, "progress has passed them", || self.progress() >= count).await;
    }

    /// Waits until the store was asked for partitions.
    pub async fn asked(&self, patience: Duration) {
        self.until(patience, "partitions were asked for", || self.state().acquires > 0).await;
    }

    /// Waits until each of two instances has asked for its part.
    pub async fn asked_for_in_two_parts(&self, partitions: usize, patience: Duration) {
        let apart = |one: &Vec<i32>, other: &Vec<i32>| one.iter().all(|partition| !other.contains(partition));
        self.until(patience, "two instances have asked for their parts", || {
            let asked = self.state().asked_for.clone();
            let pairs = asked.iter().flat_map(|one| asked.iter().map(move |other| (one, other)));
            let mut whole = pairs.filter(|(one, other)| apart(one, other) && one.len() + other.len() == partitions);
            whole.any(|(one, other)| !one.is_empty() && !other.is_empty())
        })
        .await;
    }

    /// Waits until a batch was offered that often.
    pub async fn offered_times(&self, times: usize, patience: Duration) {
        self.until(patience, "a batch was offered that often", || self.offered().0 >= times).await;
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

impl State {
    /// Whether a batch waits for what is read meanwhile.
    fn reads_on(&self) -> bool {
        self.until_read.is_some_and(|(further, all)| {
            let (prepared, unprepared) = self.came;
            // All that came unprepared is read, and all that was prepared, come or not.
            let read = unprepared + self.prepared;
            read < all && self.prepared < prepared + further
        })
    }

    fn position(&self, partition: i32) -> Option<Position> {
        let (next, epoch) = self.progress.get(&partition)?;
        let mut parked = BTreeMap::new();
        for (_, entry) in self.parked.iter().filter(|(at, _)| *at == partition) {
            parked.entry(entry.key.clone()).or_insert(entry.offset);
        }
        Some(Position { partition, next_offset: NextOffset(*next), epoch: Epoch(*epoch), parked })
    }

    /// What a real store does in its transaction.
    fn apply(&mut self, batch: &Batch) -> Result<(), StoreError> {
        for slice in &batch.slices {
            if self.progress.get(&slice.partition) != Some(&(slice.from.0, slice.epoch.0)) {
                return Err(StoreError::Fenced { partition: slice.partition });
            }
            for record in &slice.records {
                if self.bad.contains(&*String::from_utf8_lossy(&record.value)) {
                    let (partition, offset, reason) = (slice.partition, record.offset, "bad".to_owned());
                    return Err(match self.words {
                        Words::Poison => StoreError::Poison { partition, offset, reason },
                        Words::Refused => StoreError::Refused { reason },
                    });
                }
            }
        }
        for slice in &batch.slices {
            self.progress.insert(slice.partition, (slice.to.0, slice.epoch.0));
            for record in &slice.records {
                let value = String::from_utf8_lossy(&record.value).into_owned();
                self.applied.push((slice.partition, record.offset.0, value));
            }
            self.parked.extend(slice.parked.iter().map(|parked| (slice.partition, parked.clone())));
        }
        Ok(())
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

#[async_trait]
impl Store for Memory {
    fn projection(&self) -> &str {
        "memory"
    }

    async fn acquire(&mut self, _topic: &str, partitions: &[i32]) -> Result<Vec<Position>, StoreError> {
        let mut state = self.shared.state();
        state.acquires += 1;
        let mut asked = partitions.to_vec();
        asked.sort_unstable();
        state.asked_for.insert(asked);
        let failing = state.acquire_faults > 0;
        state.acquire_faults = state.acquire_faults.saturating_sub(1);
        let mut positions = Vec::new();
        if !failing {
            for partition in partitions {
                state.progress.entry(*partition).or_default().1 += 1;
                positions.extend(state.position(*partition));
            }
        }
        drop(state);
        self.shared.touch();
        if failing { Err(StoreError::unavailable("injected")) } else { Ok(positions) }
    }

    async fn apply(&mut self, batch: &Batch) -> Result<(), StoreError> {
        {
            let mut state = self.shared.state();
            state.applies += 1;
            state.largest = state.largest.max(batch.len());
            state.sizes.push(batch.len());
        }
        self.shared.touch();
        let mut changed = self.shared.changed.subscribe();
        while self.shared.busy() {
            changed.changed().await.map_err(StoreError::unavailable)?;
        }
        let mut state = self.shared.state();
        if state.in_time.is_some_and(|most| batch.len() + batch.parked() > most) {
            return Err(StoreError::too_long("injected"));
        }
        let fault = state.faults.pop_front();
        if state.down || fault == Some(Fault::Unavailable) {
            return Err(StoreError::unavailable("injected"));
        }
        let outcome = state.apply(batch);
        drop(state);
        self.shared.touch();
        match fault {
            Some(Fault::AnswerLost) => Err(StoreError::unavailable("injected")),
            Some(Fault::Unavailable) | None => outcome,
        }
    }

    /// What is prepared of a record is its value.
    fn preparer(&self) -> Option<Preparer> {
        let shared = self.shared.clone();
        Some(Box::new(move |record| {
            shared.state().prepared += 1;
            shared.touch();
            Some(Arc::new(record.value.clone()) as Prepared)
        }))
    }

    async fn apply_prepared(&mut self, batch: &Batch, prepared: Vec<Option<Prepared>>) -> Result<(), StoreError> {
        let records: Vec<_> = batch.slices.iter().flat_map(|slice| &slice.records).collect();
        assert_eq!(records.len(), prepared.len(), "one place a record");
        for (record, prepared) in records.into_iter().zip(&prepared) {
            let own = prepared.as_ref().is_none_or(|prepared| prepared.downcast_ref() == Some(&record.value));
            assert!(own, "what was prepared of another record came with {record:?}");
        }
        let came = prepared.iter().filter(|prepared| prepared.is_some()).count();
        {
            let mut state = self.shared.state();
            state.came = (state.came.0 + came, state.came.1 + prepared.len() - came);
        }
        self.apply(batch).await
    }

    async fn standing(&mut self, _topic: &str, partitions: &[i32]) -> Result<Option<Standing>, StoreError> {
        let state = self.shared.state();
        let positions = partitions.iter().filter_map(|at| state.position(*at)).collect();
        Ok(Some(Standing { positions, paused: state.paused }))
    }
}
