//! Keeps `/readyz` true to the log and the spool.
//!
//! While the log is not as it must be (reachable, every topic there, with its partitions) ingest is ready only as far as
//! the spool could keep what comes: a gateway that sent nothing more would lose it. That it is so is shown as degraded.

use std::{sync::Arc, time::Duration};

use helix_kit::http::Readiness;
use helix_schemas::{time::ReceivedAt, topics};
use serde_json::json;

use crate::{
    directory::{self, View},
    outlet::{Mode, Outlet},
    publish::Publisher,
    recent::Recent,
};

/// The names of the two parts in `/readyz`.
pub const LOG: &str = "log";
/// See [`LOG`].
pub const SPOOL: &str = "spool";
/// How long a broker may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Why the directory is not ready.
const UNREAD: &str = "the directory has not been read to its end yet";
/// How often the log is asked once it was in order, and while it is not.
const EVERY: Duration = Duration::from_secs(5);
const UNTIL_READY: Duration = Duration::from_millis(250);
/// How often the spool's fill is shown.
const SHOWN: Duration = Duration::from_secs(1);

/// How the log is not in order; the sentence for `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogFault {
    /// Nobody answers.
    #[error("the log does not answer")]
    Silent,
    /// It answers, and is not as it must be.
    #[error("{0}")]
    Wrong(String),
}

/// Asks once whether the log is in order. Blocks.
///
/// # Errors
/// [`LogFault`].
pub fn check_log(publisher: &Publisher) -> Result<(), LogFault> {
    let metadata =
        publisher.with_client(|client| client.fetch_metadata(None, PATIENCE)).map_err(|_| LogFault::Silent)?;
    for spec in topics::ALL {
        let found = metadata.topics().iter().find(|topic| topic.name() == spec.name);
        let partitions = found.filter(|topic| topic.error().is_none()).map_or(0, |topic| topic.partitions().len());
        let wanted = usize::try_from(spec.partitions).unwrap_or_default();
        if partitions != wanted {
            let name = spec.name;
            return Err(LogFault::Wrong(format!("topic {name} has {partitions} partitions, {wanted} are expected")));
        }
    }
    Ok(())
}

/// Keeps asking the log, and keeps `/readyz` true to the answer. Ends never.
pub async fn watch_log(
    publisher: Arc<Publisher>,
    outlet: Arc<Outlet>,
    directory: Arc<View>,
    recent: Arc<Recent>,
    readiness: Readiness,
) {
    let mut was_ready = None;
    loop {
        let asked = publisher.clone();
        let answer = tokio::task::spawn_blocking(move || check_log(&asked)).await;
        let ready = match answer {
            Ok(Ok(())) => {
                readiness.ready(LOG);
                true
            }
            Ok(Err(fault)) => {
                let reason = fault.to_string();
                if was_ready != Some(false) {
                    tracing::warn!(reason, "the log is not in order");
                }
                if fault == LogFault::Silent {
                    outlet.log_is_down(&reason);
                }
                if outlet.could_spool() {
                    readiness.degraded(LOG, reason);
                } else {
                    readiness.not_ready(LOG, reason);
                }
                false
            }
            // The runtime is shutting down.
            Err(_) => return,
        };
        // What the directory would attribute is kept all the same, as long as the spool takes it.
        match (directory.caught_up(), ready || !outlet.could_spool()) {
            (true, _) => readiness.ready(directory::PART),
            (false, true) => readiness.not_ready(directory::PART, UNREAD),
            (false, false) => readiness.degraded(directory::PART, UNREAD),
        }
        if publisher.is_beyond_repair() {
            outlet.producer_is_beyond_repair();
        }
        was_ready = Some(ready);
        recent.report();
        tokio::time::sleep(if ready { EVERY } else { UNTIL_READY }).await;
    }
}

/// Shows the spool in `/readyz` and `/metrics`. Ends never.
pub async fn watch_spool(outlet: Arc<Outlet>, readiness: Readiness) {
    loop {
        outlet.look_at_the_spool();
        outlet.report();
        if let Some(spool) = outlet.spool() {
            let fill = spool.fill();
            let now = ReceivedAt::now().micros();
            readiness.detail(
                SPOOL,
                json!({
                    "inUse": outlet.mode() != Mode::Direct,
                    "records": fill.records,
                    "bytes": fill.bytes,
                    "limitBytes": fill.limit,
                    "oldestSeconds": fill.oldest.map(|oldest| (now - oldest).max(0) / 1_000_000),
                }),
            );
            match fill.fault {
                Some(fault) => readiness.degraded(SPOOL, fault),
                None if !fill.has_room() => readiness.degraded(SPOOL, "it is full"),
                None => readiness.ready(SPOOL),
            }
        }
        tokio::time::sleep(SHOWN).await;
    }
}
