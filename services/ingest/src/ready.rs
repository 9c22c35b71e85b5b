//! Refuses readiness while the log is not as it must be: reachable, every topic there, with its partitions.

use std::{sync::Arc, time::Duration};

use helix_kit::http::Readiness;
use helix_schemas::topics;

use crate::{publish::Publisher, recent::Recent};

/// The name of this part in `/readyz`.
pub const PART: &str = "log";
/// How long a broker may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often the log is asked once it was in order, and while it is not.
const EVERY: Duration = Duration::from_secs(5);
const UNTIL_READY: Duration = Duration::from_millis(250);

/// Asks once; the reason why not where it is not in order. Blocks.
///
/// # Errors
/// The sentence for `/readyz`.
pub fn check_log(publisher: &Publisher) -> Result<(), String> {
    let metadata = publisher
        .with_client(|client| client.fetch_metadata(None, PATIENCE))
        .map_err(|_| "the log does not answer".to_owned())?;
    for spec in topics::ALL {
        let found = metadata.topics().iter().find(|topic| topic.name() == spec.name);
        let partitions = found.filter(|topic| topic.error().is_none()).map_or(0, |topic| topic.partitions().len());
        let wanted = usize::try_from(spec.partitions).unwrap_or_default();
        if partitions != wanted {
            return Err(format!("topic {} has {partitions} partitions, {wanted} are expected", spec.name));
        }
    }
    Ok(())
}

/// Keeps asking, and keeps `/readyz` true to the answer.
pub async fn watch(publisher: Arc<Publisher>, recent: Arc<Recent>, readiness: Readiness) {
    let mut was_ready = None;
    loop {
        let asked = publisher.clone();
        let answer = tokio::task::spawn_blocking(move || check_log(&asked)).await;
        let ready = match answer {
            Ok(Ok(())) => {
                readiness.ready(PART);
                true
            }
            Ok(Err(reason)) => {
                if was_ready != Some(false) {
                    tracing::warn!(reason, "the log is not in order");
                }
                readiness.not_ready(PART, reason);
                false
            }
            // The runtime is shutting down.
            Err(_) => return,
        };
        was_ready = Some(ready);
        recent.report();
        tokio::time::sleep(if ready { EVERY } else { UNTIL_READY }).await;
    }
}
