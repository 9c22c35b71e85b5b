//! Where a running engine stands, for health, metrics and the stores that show their own freshness.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use crate::store::{Lag, NextOffset};

/// Where one partition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionStatus {
    /// Applied up to here.
    pub next_offset: NextOffset,
    /// The log's end, as last told by the broker; `None` before it said so.
    pub high_water: Option<i64>,
    /// When the last applied record was appended, Unix milliseconds.
    pub applied_timestamp: Option<i64>,
}

/// Where every partition of this instance stands. Cheap to clone, shared.
#[derive(Debug, Clone, Default)]
pub struct Status {
    partitions: Arc<RwLock<BTreeMap<i32, PartitionStatus>>>,
}

impl Status {
    /// A copy of all partitions.
    #[must_use]
    pub fn partitions(&self) -> BTreeMap<i32, PartitionStatus> {
        self.partitions.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The lag over all partitions, `now` in Unix milliseconds.
    #[must_use]
    pub fn lag(&self, now: i64) -> Lag {
        let mut lag = Lag::default();
        for partition in self.partitions().values() {
            let behind = partition.high_water.map_or(0, |end| (end - partition.next_offset.0).max(0));
            lag.facts += behind;
            if behind > 0 {
                let since = partition.applied_timestamp.map_or(0, |at| (now - at).max(0));
                lag.millis = lag.millis.max(since);
            }
        }
        lag
    }

    pub(crate) fn acquired(&self, partition: i32, next_offset: NextOffset) {
        let fresh = PartitionStatus { next_offset, high_water: None, applied_timestamp: None };
        self.partitions.write().unwrap_or_else(PoisonError::into_inner).insert(partition, fresh);
    }

    pub(crate) fn released(&self, partition: i32) {
        self.partitions.write().unwrap_or_else(PoisonError::into_inner).remove(&partition);
    }

    pub(crate) fn applied(&self, partition: i32, next_offset: NextOffset, timestamp: Option<i64>) {
        if let Some(held) = self.partitions.write().unwrap_or_else(PoisonError::into_inner).get_mut(&partition) {
            held.next_offset = next_offset;
            held.applied_timestamp = timestamp.or(held.applied_timestamp);
            held.high_water = held.high_water.map(|end| end.max(next_offset.0));
        }
    }

    pub(crate) fn high_water(&self, partition: i32, end: i64) {
        if let Some(held) = self.partitions.write().unwrap_or_else(PoisonError::into_inner).get_mut(&partition) {
            held.high_water = Some(end.max(held.next_offset.0));
        }
    }
}
