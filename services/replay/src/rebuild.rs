//! `helix projection rebuild postgres`: the projection thrown away and built again from the log (law 6).
//!
//! Tables are emptied and progress set to 0 in one transaction, which fences whoever projects at the moment; then an engine
//! joins the projection's own group, so that the rebuild goes on whether or not a projector is running, until every
//! partition has passed the log's end as it was when the rebuild began.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use helix_postgres::PostgresStore;
use helix_runtime::{Engine, EngineConfig};
use helix_schemas::topics;
use serde::Serialize;
use sqlx::PgPool;
use tokio::sync::Notify;

use crate::{
    ReplayError,
    export::progress_bar,
    log::{FactLog, Stop},
};

/// What a rebuild did.
#[derive(Debug, Serialize)]
pub struct Rebuilt {
    /// Offsets worked off.
    pub facts: u64,
    /// How long it took, seconds.
    pub seconds: f64,
}

/// Rebuilds, and returns when the projection has caught up with the log as it was at the start.
///
/// # Errors
/// [`ReplayError::Interrupted`] after Ctrl-C: the tables are then partly filled, and whoever projects next goes on.
pub async fn rebuild(
    log: FactLog,
    pool: &PgPool,
    store: PostgresStore,
    engine: EngineConfig,
    stop: Stop,
) -> Result<Rebuilt, ReplayError> {
    let fault = |error| ReplayError::unreachable("postgres", error);
    let begun = std::time::Instant::now();
    let target = tokio::task::spawn_blocking(move || log.whole())
        .await
        .map_err(|error| ReplayError::unreachable("the log", error))??;
    let held = helix_postgres::progress(pool, topics::FACTS).await.map_err(fault)?;
    if held.iter().any(|at| target.0.get(&at.partition).is_none_or(|(_, high)| at.next_offset > *high)) {
        // The rows may be all that is left of what the log has lost.
        return Err(ReplayError::Usage(
            "the log is shorter than what was projected from it: nothing was touched".to_owned(),
        ));
    }
    helix_postgres::reset(pool).await.map_err(fault)?;
    let bar = progress_bar(target.0.values().map(|(_, high)| u64::try_from(*high).unwrap_or(0)).sum(), "rebuilding");
    let enough = Arc::new(Notify::new());
    let asked = enough.clone();
    let running = tokio::spawn(Engine::new(engine, store).run(async move { asked.notified().await }));
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    let outcome = loop {
        ticks.tick().await;
        if stop.stopped() {
            break Err(ReplayError::Interrupted);
        }
        if running.is_finished() {
            // Its own reason is told below.
            break Ok(());
        }
        let held: BTreeMap<i32, i64> = match helix_postgres::progress(pool, topics::FACTS).await {
            Ok(progress) => progress.into_iter().map(|at| (at.partition, at.next_offset)).collect(),
            Err(error) => break Err(fault(error)),
        };
        let done = |partition: &i32, high: i64| held.get(partition).copied().unwrap_or(0).min(high);
        bar.set_position(target.0.iter().map(|(id, (_, high))| u64::try_from(done(id, *high)).unwrap_or(0)).sum());
        if target.0.iter().all(|(id, (_, high))| done(id, *high) >= *high) {
            break Ok(());
        }
    };
    enough.notify_one();
    let ended = running.await.map_err(|error| ReplayError::unreachable("the projector", error))?;
    ended.map_err(|error| ReplayError::unreachable("the projector", error))?;
    outcome?;
    bar.finish_and_clear();
    let facts = target.0.values().map(|(_, high)| u64::try_from(*high).unwrap_or(0)).sum();
    Ok(Rebuilt { facts, seconds: begun.elapsed().as_secs_f64() })
}
