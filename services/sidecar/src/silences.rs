//! Keeps what was learned of the provider's silences (`freshness`) in the workspace's Redis, so that a restart does not tell
//! the first usual one as quiet (docs/decisions/0018).
//!
//! One key, one small value, replaced as a whole: milliseconds, newest first. It ends by itself [`HOLDS`] after a sidecar was
//! last there: what was usual then says little of now. Nothing depends on it: without it everything is learned anew.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use helix_live::{BoardReader, ReadError};
use helix_schemas::names::WorkspaceId;
use tokio::time::sleep;

use crate::freshness::{Freshness, LOOK};

/// For how long it is of use to another process.
const HOLDS: Duration = Duration::from_secs(3600);
/// It is written no more often than this,
const AT_MOST_EVERY: Duration = Duration::from_secs(10);
/// and no less often, so that it does not end while a sidecar is there.
const AT_LEAST_EVERY: Duration = Duration::from_secs(900);
/// After a failure.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Recalls what an earlier process learned, and keeps what this one learns, for as long as it is polled.
pub(crate) async fn keep(reader: BoardReader, workspace: WorkspaceId, freshness: Arc<Mutex<Freshness>>) {
    let key = format!("helix:{workspace}:sidecar:silences");
    loop {
        if let Err(error) = keep_at(&reader, &key, &freshness).await {
            // That the Redis is away is told by others.
            tracing::debug!(%error, "what was learned of the provider's silences is not kept");
        }
        sleep(AGAIN_AFTER).await;
    }
}

fn book(freshness: &Mutex<Freshness>) -> MutexGuard<'_, Freshness> {
    freshness.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does so over one connection, until that fails.
async fn keep_at(reader: &BoardReader, key: &str, freshness: &Mutex<Freshness>) -> Result<(), ReadError> {
    let mut connection = reader.connect().await?;
    if !book(freshness).has_recalled() {
        let kept: Option<Vec<u8>> = redis::cmd("GET").arg(key).query_async(&mut connection).await?;
        book(freshness).recall(kept.as_deref().and_then(read).unwrap_or_default());
    }
    let mut written: Option<(Vec<Duration>, Instant)> = None;
    loop {
        let learned = book(freshness).learned();
        let is_due = written
            .as_ref()
            .is_none_or(|(last, at)| at.elapsed() >= if *last == learned { AT_LEAST_EVERY } else { AT_MOST_EVERY });
        if is_due && !learned.is_empty() {
            let mut command = redis::cmd("SET");
            command.arg(key).arg(write(&learned)).arg("EX").arg(HOLDS.as_secs());
            command.query_async::<()>(&mut connection).await?;
            written = Some((learned, Instant::now()));
        }
        sleep(LOOK).await;
    }
}

fn write(silences: &[Duration]) -> String {
    let millis: Vec<String> = silences.iter().map(|silence| silence.as_millis().to_string()).collect();
    millis.join(" ")
}

/// `None` where it is nothing of ours.
fn read(text: &[u8]) -> Option<Vec<Duration>> {
    let words = std::str::from_utf8(text).ok()?.split_ascii_whitespace();
    words.map(|word| word.parse().map(Duration::from_millis).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_not_ours_is_nothing() {
        let silences = [0, 450, 20_000, 600_000].map(Duration::from_millis).to_vec();
        assert_eq!(read(write(&silences).as_bytes()), Some(silences));
        assert_eq!(read(b""), Some(Vec::new()));
        for other in ["{}", "1 -2", "1.5", "99999999999999999999999", "\u{fc}"] {
            assert_eq!(read(other.as_bytes()), None, "{other}");
        }
        assert_eq!(read(&[0xff]), None);
    }
}
