//! The engine's metrics. Labels are bounded: projection, consumer group (which names the workspace where a projector
//! serves one), topic, partition, the outcome of a batch and the cause of parking.

use std::time::Duration;

use crate::status::{PartitionStatus, Status};

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

    /// Records were parked.
    pub(crate) fn parked(&self, cause: &'static str, facts: usize) {
        let labels =
            [("projection", self.projection.clone()), ("group", self.group.clone()), ("cause", cause.to_owned())];
        metrics::counter!("helix_projector_parked_facts_total", &labels).increment(facts as u64);
    }

    fn of_partition(&self, partition: i32) -> [(&'static str, String); 4] {
        [
            ("projection", self.projection.clone()),
            ("group", self.group.clone()),
            ("topic", self.topic.clone()),
            ("partition", partition.to_string()),
        ]
    }

    /// Where a partition stands; `now` in Unix milliseconds. A lag that is not known is no number.
    pub(crate) fn partition(&self, partition: i32, status: &PartitionStatus, now: i64) {
        let labels = self.of_partition(partition);
        let behind = status.behind().map_or(f64::NAN, |facts| facts as f64);
        let waited = status.behind_millis(now).map_or(f64::NAN, |millis| millis as f64 / 1000.0);
        metrics::gauge!("helix_projector_next_offset", &labels).set(status.next_offset.0 as f64);
        metrics::gauge!("helix_projector_lag_facts", &labels).set(behind);
        metrics::gauge!("helix_projector_lag_seconds", &labels).set(waited);
        metrics::gauge!("helix_projector_parked_keys", &labels).set(status.parked_keys as f64);
    }

    /// A partition is no longer ours: its keys and its lag count where it is now.
    pub(crate) fn released(&self, partition: i32) {
        let labels = self.of_partition(partition);
        for name in ["helix_projector_lag_facts", "helix_projector_lag_seconds", "helix_projector_parked_keys"] {
            metrics::gauge!(name, &labels).set(0.0);
        }
    }

    /// How the engine itself is: what it holds, and how old its word about that is.
    pub(crate) fn engine(&self, status: &Status) {
        let labels = [("projection", self.projection.clone()), ("group", self.group.clone())];
        metrics::gauge!("helix_projector_held_facts", &labels).set(status.held() as f64);
        metrics::gauge!("helix_projector_paused", &labels).set(if status.paused() { 1.0 } else { 0.0 });
        metrics::gauge!("helix_projector_meter_age_seconds", &labels).set(status.meter_age().as_secs_f64());
        metrics::gauge!("helix_projector_loop_age_seconds", &labels).set(status.loop_age().as_secs_f64());
    }
}
