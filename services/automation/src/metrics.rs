//! Automation's metrics. Labels are bounded: configured workspaces, and the words of decisions.

use helix_schemas::{decision::Decision, names::WorkspaceId};

/// A decision is in the log.
pub(crate) fn decided(workspace: &WorkspaceId, decision: Decision) {
    let labels = [("workspace", workspace.to_string()), ("decision", decision.as_str().to_owned())];
    metrics::counter!("helix_automation_decisions_total", &labels).increment(1);
}

/// An append failed; it is tried again.
pub(crate) fn append_failed() {
    metrics::counter!("helix_automation_append_failures_total").increment(1);
}

/// Decisions that are due and not made, and how long the first of them has been due, on the provider's clock.
pub(crate) fn due(count: usize, oldest_millis: i64) {
    metrics::gauge!("helix_automation_due").set(count as f64);
    metrics::gauge!("helix_automation_due_seconds").set(oldest_millis as f64 / 1000.0);
}

/// What is due cannot be known: nothing is held, or the end of the log is not known. What was last told may not stay.
pub(crate) fn due_unknown() {
    metrics::gauge!("helix_automation_due").set(f64::NAN);
    metrics::gauge!("helix_automation_due_seconds").set(f64::NAN);
}
