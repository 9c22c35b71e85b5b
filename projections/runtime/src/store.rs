//! What the engine asks of a store, and the words they share.

use std::{any::Any, collections::BTreeMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;

/// Where one record lies in its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub i64);

/// The offset that is to be read next. Not the last one read: that mix-up loses or repeats a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextOffset(pub i64);

impl Offset {
    /// The offset after this one.
    #[must_use]
    pub const fn next(self) -> NextOffset {
        NextOffset(self.0 + 1)
    }
}

/// How often a partition has changed hands. Whoever acquires it raises it; only the newest may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub i64);

/// Where a partition stands in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The partition.
    pub partition: i32,
    /// Read on from here.
    pub next_offset: NextOffset,
    /// Write under this epoch.
    pub epoch: Epoch,
    /// Keys of which a fact is parked, each with the offset of its first: what follows of them is parked too.
    pub parked: BTreeMap<Bytes, Offset>,
}

/// A record that is set aside instead of applied, until it is unparked (law 7: order per key).
#[derive(Clone, PartialEq, Eq)]
pub struct Parked {
    /// Where it lies; the value stays in the log.
    pub offset: Offset,
    /// Its key.
    pub key: Bytes,
    /// Why.
    pub cause: Cause,
}

impl fmt::Debug for Parked {
    /// Coordinates only: keys name agents.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parked").field("offset", &self.offset).field("cause", &self.cause).finish_non_exhaustive()
    }
}

/// Why a record is parked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// It cannot be applied; why, without personal data.
    Poison(String),
    /// An earlier record of its key is parked: the one at this offset.
    Behind(Offset),
}

/// One record as consumed. Key and value share the consumer's buffers.
#[derive(Clone)]
pub struct Record {
    /// Where it lies.
    pub offset: Offset,
    /// The record key, as in `helix_schemas::key`.
    pub key: Bytes,
    /// The framed value.
    pub value: Bytes,
}

impl fmt::Debug for Record {
    /// Coordinates only: values carry personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("offset", &self.offset).finish_non_exhaustive()
    }
}

/// A parked record as a store lists it: for `helix projection parked`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedEntry {
    /// The projection that parked it.
    pub projection: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// What is parked, and why.
    pub parked: Parked,
    /// When it was parked, Unix milliseconds.
    pub parked_at: i64,
}

/// What a store made of a record ahead of its batch; only that store knows what it is.
pub type Prepared = Arc<dyn Any + Send + Sync>;

/// Prepares one record: a function of the record alone, as reading its value. `None` where it does not come to that; the
/// record is then applied as it is, and the store says then what is wrong with it.
pub type Preparer = Box<dyn Fn(&Record) -> Option<Prepared> + Send>;

/// What one partition gives to a batch: all of it from `from` up to `to`, each record either to be applied or to be parked.
#[derive(Debug, Clone)]
pub struct Slice {
    /// The partition.
    pub partition: i32,
    /// The epoch under which this instance holds it.
    pub epoch: Epoch,
    /// Progress before the batch: the compare of the compare-and-set.
    pub from: NextOffset,
    /// Progress after the batch: the set.
    pub to: NextOffset,
    /// Its records to apply, in order; none where all of them are parked.
    pub records: Vec<Record>,
    /// Its records to park, in order: stored in the same atomic step.
    pub parked: Vec<Parked>,
}

/// A cut of the log, applied as one.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The topic.
    pub topic: String,
    /// One slice a partition, sorted by partition.
    pub slices: Vec<Slice>,
}

impl Batch {
    /// How many records are to be applied.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slices.iter().map(|slice| slice.records.len()).sum()
    }

    /// How many records are to be parked.
    #[must_use]
    pub fn parked(&self) -> usize {
        self.slices.iter().map(|slice| slice.parked.len()).sum()
    }

    /// Whether there is nothing in it: neither to apply nor to park. A batch that is all parked still moves progress.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slices.iter().all(|slice| slice.records.is_empty() && slice.parked.is_empty())
    }
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Progress is not where the slice says, or the epoch was raised: another instance holds the partition now.
    /// Nothing was written.
    #[error("partition {partition} is held by another instance")]
    Fenced {
        /// The partition.
        partition: i32,
    },
    /// The store cannot be reached or refused for the moment. The same batch may be tried again.
    #[error("the store does not answer: {0}")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store took too long, or would have. Nothing was written, or nobody heard of it: the same facts may be tried again,
    /// fewer at once.
    #[error("the store takes too long: {0}")]
    TooLong(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Something in the batch is refused for what it is, and the store cannot say which fact: the engine cuts the batch
    /// smaller until it is one. Nothing was written.
    #[error("the store refuses a fact of the batch: {reason}")]
    Refused {
        /// Why, without personal data.
        reason: String,
    },
    /// One fact cannot be applied, whatever the store does. Nothing was written.
    #[error("fact at partition {partition} offset {offset:?} cannot be applied: {reason}")]
    Poison {
        /// The partition.
        partition: i32,
        /// Its offset.
        offset: Offset,
        /// Why, without personal data.
        reason: String,
    },
}

impl StoreError {
    /// Wraps a client's error as [`StoreError::Unavailable`].
    pub fn unavailable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(error.into())
    }

    /// Wraps a client's error as [`StoreError::TooLong`].
    pub fn too_long(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::TooLong(error.into())
    }
}

/// How a projection stands in its store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// Where the partitions stand that were asked for; their `parked` need not be told.
    pub positions: Vec<Position>,
    /// An operator paused the projection: nothing is to be applied until the store says otherwise.
    pub paused: bool,
}

/// Where a projection's rows and progress live.
#[async_trait]
pub trait Store: Send {
    /// The projection's name, as in `helix projection list` and metric labels.
    fn projection(&self) -> &str;

    /// Takes hold of partitions: raises the epoch of each in the store and tells where it stands. A partition never
    /// seen before stands at offset 0. State held in memory is loaded anew here.
    async fn acquire(&mut self, topic: &str, partitions: &[i32]) -> Result<Vec<Position>, StoreError>;

    /// Applies a batch in one atomic step: rows, roots, what is parked, and progress (`from` -> `to` under `epoch`, compared
    /// and set), or nothing at all.
    async fn apply(&mut self, batch: &Batch) -> Result<(), StoreError>;

    /// What prepares records that the engine reads while a batch is being applied; `None` where there is nothing to gain.
    /// What is prepared is dropped with the record, whatever becomes of that. About one batch of it is held.
    fn preparer(&self) -> Option<Preparer> {
        None
    }

    /// As [`Store::apply`], with what was prepared of the records to apply: one place a record, slice by slice, in order.
    async fn apply_prepared(&mut self, batch: &Batch, _prepared: Vec<Option<Prepared>>) -> Result<(), StoreError> {
        self.apply(batch).await
    }

    /// How the projection stands now, as stored; `None` where the store does not say. The engine asks after each acquisition
    /// and about once a second before the beat, always for all partitions that this instance holds, so that an instance with
    /// nothing to write notices too that another took its partitions, or threw the rows away, or that an operator paused the
    /// projection.
    async fn standing(&mut self, _topic: &str, _partitions: &[i32]) -> Result<Option<Standing>, StoreError> {
        Ok(None)
    }

    /// Told about once a second how far behind the log this instance is, also when nothing happens; `None` while the end of
    /// the log is not known, or no partition is held. For stores that show their own freshness; failures are logged and forgotten.
    async fn beat(&mut self, _lag: Option<Lag>) -> Result<(), StoreError> {
        Ok(())
    }
}

/// How far behind the end of the log an instance is, over its partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lag {
    /// Facts not yet applied.
    pub facts: i64,
    /// For how many milliseconds, at most, the first of them has been waiting; 0 where none waits.
    pub millis: i64,
    /// How long ago the broker told the log's end that this rests on. A broker that is gone tells nothing: whoever says how
    /// fresh it is says it as of then.
    pub age: Duration,
}
