//! The metrics of forwarding. Labels are bounded: workspace, status of an answer, cause of a failure.

use std::time::Duration;

use helix_runtime::Lag;

use crate::receiver::Cause;

/// Whose metrics they are.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    workspace: String,
}

impl Meter {
    pub(crate) fn new(workspace: &str) -> Self {
        let meter = Self { workspace: workspace.to_owned() };
        meter.circuit(false);
        meter
    }

    fn workspace(&self) -> (&'static str, String) {
        ("workspace", self.workspace.clone())
    }

    /// How long one request took, whatever became of it.
    pub(crate) fn request(&self, took: Duration) {
        metrics::histogram!("helix_forward_request_seconds", &[self.workspace()]).record(took.as_secs_f64());
    }

    /// The receiver took an event.
    pub(crate) fn delivered(&self) {
        metrics::counter!("helix_forward_delivered_total", &[self.workspace()]).increment(1);
    }

    /// The receiver refused an event for good.
    pub(crate) fn refused(&self, status: u16) {
        let labels = [self.workspace(), ("status", status.to_string())];
        metrics::counter!("helix_forward_refused_total", &labels).increment(1);
    }

    /// An attempt failed; the event is tried again.
    pub(crate) fn failed(&self, cause: Cause) {
        let labels = [self.workspace(), ("cause", cause.label())];
        metrics::counter!("helix_forward_failed_total", &labels).increment(1);
    }

    /// 1 while the receiver is only probed.
    pub(crate) fn circuit(&self, open: bool) {
        metrics::gauge!("helix_forward_circuit_open", &[self.workspace()]).set(if open { 1.0 } else { 0.0 });
    }

    /// How far this instance is behind the log, over its partitions; facts of all workspaces count. A lag that is not
    /// known is no number.
    pub(crate) fn lag(&self, lag: Option<Lag>) {
        let (facts, seconds) = lag.map_or((f64::NAN, f64::NAN), |lag| (lag.facts as f64, lag.millis as f64 / 1000.0));
        metrics::gauge!("helix_forward_lag_facts", &[self.workspace()]).set(facts);
        metrics::gauge!("helix_forward_lag_seconds", &[self.workspace()]).set(seconds);
    }
}
