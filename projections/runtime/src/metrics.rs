//! The engine's metrics. Labels are bounded: projection, topic, partition, and the outcome of a batch.

use std::time::Duration;

use crate::status::PartitionStatus;

/// A batch was applied, or not.
pub(crate) fn batch(projection: &str, outcome: &'static str, facts: usize, took: Duration) {
    let projection = projection.to_owned();
    metrics::histogram!("helix_projector_batch_seconds", "projection" => projection.clone(), "outcome" => outcome)
        .record(took.as_secs_f64());
    if outcome == "applied" {
        metrics::counter!("helix_projector_facts_total", "projection" => projection).increment(facts as u64);
    }
}

/// Where a partition stands.
pub(crate) fn partition(projection: &str, topic: &str, partition: i32, status: &PartitionStatus, now: i64) {
    let labels = [
        ("projection", projection.to_owned()),
        ("topic", topic.to_owned()),
        ("partition", partition.to_string()),
    ];
    let behind = status.high_water.map_or(0, |end| (end - status.next_offset.0).max(0));
    let seconds = if behind > 0 { status.applied_timestamp.map_or(0, |at| (now - at).max(0)) as f64 / 1000.0 } else { 0.0 };
    metrics::gauge!("helix_projector_next_offset", &labels).set(status.next_offset.0 as f64);
    metrics::gauge!("helix_projector_lag_facts", &labels).set(behind as f64);
    metrics::gauge!("helix_projector_lag_seconds", &labels).set(seconds);
}
