//! The engine's metrics. Labels are bounded: projection, consumer group (which names the workspace where a projector
//! serves one), topic, partition, and the outcome of a batch.

use std::time::Duration;

use crate::status::PartitionStatus;

/// Whose metrics they are.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    projection: String,
    group: String,
    topic: String,
}

impl Meter {
    pub(crate) fn new(projection: &str, group: &str, topic: &str) -> Self {
        Self { projection: projection.to_owned(), group: group.to_owned(), topic: topic.to_owned() }
    }

    /// A batch was applied, or not.
    pub(crate) fn batch(&self, outcome: &'static str, facts: usize, took: Duration) {
        let labels =
            [("projection", self.projection.clone()), ("group", self.group.clone()), ("outcome", outcome.to_owned())];
        metrics::histogram!("helix_projector_batch_seconds", &labels).record(took.as_secs_f64());
        if outcome == "applied" {
            let [projection, group, _] = labels;
            metrics::counter!("helix_projector_facts_total", &[projection, group]).increment(facts as u64);
        }
    }

    /// Where a partition stands; `now` in Unix milliseconds.
    pub(crate) fn partition(&self, partition: i32, status: &PartitionStatus, now: i64) {
        let labels = [
            ("projection", self.projection.clone()),
            ("group", self.group.clone()),
            ("topic", self.topic.clone()),
            ("partition", partition.to_string()),
        ];
        let behind = status.high_water.map_or(0, |end| (end - status.next_offset.0).max(0));
        let waited = status.applied_timestamp.filter(|_| behind > 0).map_or(0, |at| (now - at).max(0));
        metrics::gauge!("helix_projector_next_offset", &labels).set(status.next_offset.0 as f64);
        metrics::gauge!("helix_projector_lag_facts", &labels).set(behind as f64);
        metrics::gauge!("helix_projector_lag_seconds", &labels).set(waited as f64 / 1000.0);
    }
}
