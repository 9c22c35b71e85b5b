//! What came of the deliveries: counted as they go, summed up at the end.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::latency::Latencies;

/// Counts shared by all lanes.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Counts>);

#[derive(Debug, Default, Clone)]
pub(super) struct Counts {
    pub(super) played: Played,
    pub(super) latencies: Latencies,
    /// Simulated milliseconds up to which something was sent.
    pub(super) clock: u64,
}

/// What was sent and what came back.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Played {
    /// Deliveries that got a final answer.
    pub sent: u64,
    /// Their answers by HTTP status.
    pub by_status: BTreeMap<u16, u64>,
    /// Events by the status in the 202's results (`stored`, `spooled`, `duplicate`, `unrouted`, `rejected`).
    pub by_result: BTreeMap<String, u64>,
    /// Attempts that had to be repeated: 429, 502 to 504, connection trouble.
    pub retries: u64,
    /// Final answers other than 202, and 202s whose body could not be read.
    pub errors: u64,
}

impl Played {
    /// Events the ingest took (`stored` and `spooled`).
    pub fn accepted(&self) -> u64 {
        self.result("stored") + self.result("spooled")
    }

    /// Events with this status in the answers.
    pub fn result(&self, status: &str) -> u64 {
        self.by_result.get(status).copied().unwrap_or(0)
    }
}

/// Latencies of the attempts that got the final answer, in microseconds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LatencySummary {
    /// Half were faster.
    pub p50_us: u64,
    /// 99 of 100 were faster.
    pub p99_us: u64,
    /// The slowest.
    pub max_us: u64,
}

impl Tally {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Counting does not panic half-way: what a poisoned lock guards is still right.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn snapshot(&self) -> Counts {
        self.counts().clone()
    }

    pub(super) fn retry(&self) {
        self.counts().played.retries += 1;
    }

    pub(super) fn answer(&self, at: u64, status: u16, results: Option<Vec<String>>, microseconds: u64) {
        let mut counts = self.counts();
        counts.played.sent += 1;
        *counts.played.by_status.entry(status).or_default() += 1;
        counts.played.errors += u64::from(results.is_none());
        for result in results.unwrap_or_default() {
            *counts.played.by_result.entry(result).or_default() += 1;
        }
        counts.latencies.record(microseconds);
        counts.clock = counts.clock.max(at);
    }
}

impl Counts {
    pub(super) fn latency(&self) -> LatencySummary {
        LatencySummary {
            p50_us: self.latencies.per_mille(500),
            p99_us: self.latencies.per_mille(990),
            max_us: self.latencies.max_us(),
        }
    }
}
