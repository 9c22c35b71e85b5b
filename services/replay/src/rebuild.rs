//! `helix projection rebuild`: a generation of rows beside the live one, filled from the log (law 6).
//!
//! What a generation is, how two are compared and swapped, is `helix_postgres`, `helix_clickhouse` and `helix_live`; here the log is
//! read for them, with a progress bar. An interrupted rebuild is taken up again where it was left.

use std::{sync::Arc, time::Instant};

use async_trait::async_trait;
use helix_postgres::{GenerationError, Generations};
use helix_runtime::{
    NextOffset, Record, StoreError,
    fill::{Filled, LogSource, Report, Stopped},
};
use helix_schemas::{names::WorkspaceId, scope::Scope, topics};
use serde::Serialize;

use crate::{
    ReplayError,
    export::progress_bar,
    log::{FactLog, RangeReader, Stop},
};

/// What a rebuild did.
#[derive(Debug, Serialize)]
pub struct Rebuilt {
    /// `all`, or the workspace.
    pub scope: String,
    /// Facts applied.
    pub facts: u64,
    /// Facts set aside.
    pub parked: u64,
    /// How long it took, seconds.
    pub seconds: f64,
    /// Facts a second.
    pub facts_per_second: f64,
}

/// The log, as generations are filled from it.
pub struct Source(Arc<RangeReader>);

impl Source {
    /// Reads the facts topic of an installation.
    ///
    /// # Errors
    /// [`ReplayError::Unreachable`].
    pub fn new(log: &FactLog) -> Result<Self, ReplayError> {
        Ok(Self(Arc::new(log.ranges()?)))
    }
}

#[async_trait]
impl LogSource for Source {
    async fn records(
        &mut self,
        _topic: &str,
        partition: i32,
        from: NextOffset,
        to: NextOffset,
    ) -> Result<Vec<Record>, StoreError> {
        let reader = self.0.clone();
        tokio::task::spawn_blocking(move || reader.read(partition, from.0, to.0))
            .await
            .map_err(StoreError::unavailable)?
            .map_err(StoreError::unavailable)
    }
}

/// Fills the standby of a scope until it has reached the live rows of Postgres.
///
/// # Errors
/// [`ReplayError::Interrupted`] after Ctrl-C: asked again, the rebuild goes on from there.
pub async fn rebuild(
    generations: &Generations,
    source: &mut Source,
    scope: &Scope,
    stop: &Stop,
) -> Result<Rebuilt, ReplayError> {
    with_a_bar(scope.to_string(), stop, async |report, stopped| {
        generations.begin(scope).await.map_err(fault)?;
        generations.fill(topics::FACTS, source, report, stopped).await.map_err(fault)
    })
    .await
}

/// The same of ClickHouse's facts.
///
/// # Errors
/// As [`rebuild`].
pub async fn rebuild_clickhouse(
    generations: &helix_clickhouse::Generations,
    source: &mut Source,
    scope: &Scope,
    stop: &Stop,
) -> Result<Rebuilt, ReplayError> {
    with_a_bar(scope.to_string(), stop, async |report, stopped| {
        generations.begin(topics::FACTS, scope).await.map_err(clickhouse_fault)?;
        generations.fill(topics::FACTS, source, report, stopped).await.map_err(clickhouse_fault)
    })
    .await
}

/// The same of one workspace's board.
///
/// # Errors
/// As [`rebuild`].
pub async fn rebuild_live(
    workspace: &WorkspaceId,
    generations: &helix_live::Generations,
    source: &mut Source,
    stop: &Stop,
) -> Result<Rebuilt, ReplayError> {
    with_a_bar(workspace.to_string(), stop, async |report, stopped| {
        let filled = generations.fill(topics::FACTS, source, report, stopped).await;
        filled.map_err(|error| live_fault(workspace, error))
    })
    .await
}

async fn with_a_bar(
    scope: String,
    stop: &Stop,
    fill: impl AsyncFnOnce(Report<'_>, Stopped<'_>) -> Result<Filled, ReplayError>,
) -> Result<Rebuilt, ReplayError> {
    let begun = Instant::now();
    let bar = progress_bar(0, "rebuilding");
    let mut report = |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let filled = fill(&mut report, &|| stop.stopped()).await?;
    bar.finish_and_clear();
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Rebuilt {
        scope,
        facts: filled.records,
        parked: filled.parked,
        seconds,
        facts_per_second: filled.records as f64 / seconds.max(f64::EPSILON),
    })
}

/// A generation's refusal as what it means to whoever asked.
pub fn fault(error: GenerationError) -> ReplayError {
    match error {
        GenerationError::Store(_) | GenerationError::Postgres(_) => ReplayError::unreachable("postgres", error),
        GenerationError::Interrupted => ReplayError::Interrupted,
        GenerationError::Busy
        | GenerationError::NoStandby
        | GenerationError::AnotherStandby { .. }
        | GenerationError::LogTooShort { .. }
        | GenerationError::Behind => ReplayError::Usage(error.to_string()),
    }
}

/// The same of a generation of ClickHouse.
pub fn clickhouse_fault(error: helix_clickhouse::GenerationError) -> ReplayError {
    use helix_clickhouse::GenerationError as Refusal;
    match error {
        Refusal::Store(_) | Refusal::ClickHouse(_) => ReplayError::unreachable("clickhouse", error),
        Refusal::Interrupted => ReplayError::Interrupted,
        Refusal::NoStandby | Refusal::AnotherStandby { .. } | Refusal::Behind => ReplayError::Usage(error.to_string()),
    }
}

/// The same of a generation of a workspace's board.
pub fn live_fault(workspace: &WorkspaceId, error: helix_live::GenerationError) -> ReplayError {
    use helix_live::{GenerationError as Refusal, ReadError};
    match error {
        Refusal::Interrupted => ReplayError::Interrupted,
        Refusal::Busy
        | Refusal::NoStandby
        | Refusal::AnotherStandby { .. }
        | Refusal::Behind
        | Refusal::Ahead
        | Refusal::OtherSettings
        | Refusal::Read(ReadError::NoBoard) => ReplayError::Usage(format!("the board of {workspace}: {error}")),
        Refusal::Store(_) | Refusal::Read(ReadError::Redis(_) | ReadError::Malformed(_)) => {
            ReplayError::unreachable("the workspace's Redis", error)
        }
    }
}
