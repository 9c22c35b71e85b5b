//! Logs and metrics of a process. A log line never carries a body, a number, a name or a secret (law 9).
//!
//! A metric is kept until the process ends, read or not: labels are of closed lists, so there is nothing to forget, and a
//! counter that vanished in a quiet hour would begin again at 0.

use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// What renders a process's metrics.
pub use metrics_exporter_prometheus::PrometheusHandle as MetricsHandle;
use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::TelemetryConfig;

/// Seconds, for every histogram named `*_seconds`.
const SECONDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Between two times that what histograms were told is added up.
const UPKEEP: Duration = Duration::from_secs(5);
/// The thread that does it.
const UPKEEP_THREAD: &str = "helix-upkeep";

/// Starts logging to stderr. A second call changes nothing.
pub fn start_logs(config: &TelemetryConfig) {
    let filter = EnvFilter::try_new(&config.log).unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(true);
    // Only the first subscriber of a process can be set; in tests others may have been before us.
    let _first = if config.format == "json" {
        registry.with(layer.json().flatten_event(true)).try_init()
    } else {
        registry.with(layer.with_ansi(false)).try_init()
    };
}

/// Installs the process's metrics recorder and returns what renders it.
///
/// # Errors
/// Where a recorder is installed already.
pub fn start_metrics(service: &'static str) -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .install_recorder()?;
    keep_up(handle.clone());
    metrics::gauge!("helix_build_info", "service" => service, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(handle)
}

/// Adds up what histograms are told, which is otherwise done where metrics are read alone: without a reader every request
/// would leave its figure in memory. On a thread of its own: a recorder may be there before a runtime.
fn keep_up(handle: PrometheusHandle) {
    let upkeep = move || {
        loop {
            std::thread::sleep(UPKEEP);
            handle.run_upkeep();
        }
    };
    if let Err(error) = std::thread::Builder::new().name(UPKEEP_THREAD.to_owned()).spawn(upkeep) {
        tracing::warn!(%error, "no thread to add up metrics; they must be read from time to time");
    }
}
