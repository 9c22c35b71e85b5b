//! What one run of one process measured; printed by that process as a line of JSON and read by `run`.

use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// One run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Requests or records in the measured seconds, every one of them answered or acknowledged.
    pub(crate) count: u64,
    /// CPU of the process under test, microseconds for each of them.
    pub(crate) cpu_us: f64,
    /// From due to done, milliseconds.
    pub(crate) p50_ms: f64,
    /// As above.
    pub(crate) p99_ms: f64,
    /// As above.
    pub(crate) p999_ms: f64,
    /// From due to sent: what the generator itself was late by, milliseconds.
    pub(crate) send_delay_p99_ms: f64,
}

/// Microseconds of each request.
#[derive(Debug)]
pub(crate) struct Latencies {
    done: Histogram<u64>,
    sent: Histogram<u64>,
}

impl Latencies {
    /// None yet.
    pub(crate) fn new() -> Result<Self> {
        let histogram = Histogram::new_with_bounds(1, 120_000_000, 3)?;
        Ok(Self { done: histogram.clone(), sent: histogram })
    }

    /// One request, by how long after its due time it was sent and done.
    pub(crate) fn record(&mut self, sent: Duration, done: Duration) {
        self.sent.saturating_record(microseconds(sent));
        self.done.saturating_record(microseconds(done));
    }

    /// Those of another thread too.
    pub(crate) fn add(&mut self, other: &Self) -> Result<()> {
        self.done.add(&other.done)?;
        self.sent.add(&other.sent)?;
        Ok(())
    }

    /// Summed up.
    pub(crate) fn sample(&self, cpu: Duration) -> Sample {
        let count = self.done.len();
        let milliseconds = |histogram: &Histogram<u64>, quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        Sample {
            count,
            cpu_us: cpu.as_nanos() as f64 / 1000.0 / count.max(1) as f64,
            p50_ms: milliseconds(&self.done, 0.5),
            p99_ms: milliseconds(&self.done, 0.99),
            p999_ms: milliseconds(&self.done, 0.999),
            send_delay_p99_ms: milliseconds(&self.sent, 0.99),
        }
    }
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
