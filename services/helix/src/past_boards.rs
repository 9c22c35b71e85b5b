//! Boards of past moments for a sidecar: the log folded on request, within what a request may cost.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use helix_fold::settings::Settings;
use helix_kit::config::Config;
use helix_replay::{
    ReplayError,
    board::{self, Moment, fold_board},
    log::{FactLog, Stop},
};
use helix_schemas::{names::WorkspaceId, time::OccurredAt};
use helix_sidecar::{Clock, PastBoard, PastBoardError, PastBoards};
use tokio::sync::Semaphore;

/// A request may read the log for this long; beyond it, `helix replay board` takes its time.
const PATIENCE: Duration = Duration::from_secs(20);

/// Folds the log for one workspace; one request at a time, as each reads all of it.
pub(crate) struct FromLog {
    config: Config,
    workspace: WorkspaceId,
    settings: Settings,
    one_at_a_time: Semaphore,
}

impl FromLog {
    pub(crate) fn new(config: Config, workspace: WorkspaceId, settings: Settings) -> Arc<Self> {
        Arc::new(Self { config, workspace, settings, one_at_a_time: Semaphore::new(1) })
    }
}

#[async_trait]
impl PastBoards for FromLog {
    async fn board(&self, as_of: DateTime<Utc>, clock: Clock) -> Result<PastBoard, PastBoardError> {
        let unavailable = |error: ReplayError| PastBoardError::Unavailable(Box::new(error));
        let _turn = self.one_at_a_time.acquire().await.map_err(|error| PastBoardError::Unavailable(Box::new(error)))?;
        let log = FactLog::open(&self.config).await.map_err(unavailable)?;
        let clock = match clock {
            Clock::Event => board::Clock::Event,
            Clock::Received => board::Clock::Received,
        };
        let moment = Moment { at: OccurredAt::from_millis(as_of.timestamp_millis()), clock };
        let stop = Stop::default();
        let (workspace, settings, asked) = (self.workspace.clone(), self.settings.clone(), stop.clone());
        let folding = tokio::task::spawn_blocking(move || fold_board(&log, &workspace, settings, Some(moment), &asked));
        let folded = tokio::time::timeout(PATIENCE, folding).await;
        stop.stop();
        let (board, version) = folded
            .map_err(|_elapsed| PastBoardError::TooFar)?
            .map_err(|error| PastBoardError::Unavailable(Box::new(error)))?
            .map_err(unavailable)?;
        Ok(PastBoard { visible: board.visible().clone(), version })
    }
}
