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
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinError,
    time::timeout,
};

/// A request may read the log for this long; beyond it, `helix replay board` takes its time.
const PATIENCE: Duration = Duration::from_secs(20);
/// A request waits no longer for its turn.
const TURN_WITHIN: Duration = Duration::from_secs(10);
/// So many wait for it; who comes later is refused at once.
const WAITING: usize = 8;

/// Folds the log for one workspace; one request at a time, as each reads all of it.
pub(crate) struct FromLog {
    config: Config,
    workspace: WorkspaceId,
    settings: Settings,
    turns: Turns,
}

impl FromLog {
    pub(crate) fn new(config: Config, workspace: WorkspaceId, settings: Settings) -> Arc<Self> {
        Arc::new(Self { config, workspace, settings, turns: Turns::new(WAITING, TURN_WITHIN) })
    }
}

#[async_trait]
impl PastBoards for FromLog {
    async fn board(&self, as_of: DateTime<Utc>, clock: Clock) -> Result<PastBoard, PastBoardError> {
        let unavailable = |error: ReplayError| PastBoardError::Unavailable(Box::new(error));
        let turn = self.turns.take().await.ok_or(PastBoardError::Busy)?;
        let clock = match clock {
            Clock::Event => board::Clock::Event,
            Clock::Received => board::Clock::Received,
        };
        let moment = Moment { at: OccurredAt::from_millis(as_of.timestamp_millis()), clock };
        let (workspace, settings) = (self.workspace.clone(), self.settings.clone());
        let folding = async {
            let log = FactLog::open(&self.config).await.map_err(unavailable)?;
            let folded = turn.fold(move |stop| fold_board(&log, &workspace, settings, Some(moment), stop)).await;
            folded.map_err(|error| PastBoardError::Unavailable(Box::new(error)))?.map_err(unavailable)
        };
        let (board, version) = timeout(PATIENCE, folding).await.map_err(|_elapsed| PastBoardError::TooFar)??;
        Ok(PastBoard { visible: board.visible().clone(), version })
    }
}

/// Who may fold now, and who waits for it.
struct Turns {
    one_at_a_time: Arc<Semaphore>,
    waiting: Semaphore,
    within: Duration,
}

/// The right to fold.
struct Turn(OwnedSemaphorePermit);

impl Turns {
    fn new(waiting: usize, within: Duration) -> Self {
        Self { one_at_a_time: Arc::new(Semaphore::new(1)), waiting: Semaphore::new(waiting), within }
    }

    /// `None` where too many wait already, or it took too long.
    async fn take(&self) -> Option<Turn> {
        let _waiting = self.waiting.try_acquire().ok()?;
        let turn = timeout(self.within, self.one_at_a_time.clone().acquire_owned()).await;
        Some(Turn(turn.ok()?.ok()?))
    }
}

/// Stops a fold when nobody waits for it any more.
struct StopWhenDropped(Stop);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Turn {
    /// Folds on a thread of its own. Where the request goes away it is told to stop, and the turn lasts until it has.
    async fn fold<T: Send + 'static>(self, fold: impl FnOnce(&Stop) -> T + Send + 'static) -> Result<T, JoinError> {
        let stop = Stop::default();
        let _stopped_with_the_request = StopWhenDropped(stop.clone());
        let Self(until_it_ends) = self;
        let folding = move || {
            let folded = fold(&stop);
            drop(until_it_ends);
            folded
        };
        tokio::task::spawn_blocking(folding).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_request_that_goes_away_stops_its_fold_and_the_turn_lasts_until_it_has_stopped() {
        let turns = Turns::new(4, LONG);
        let turn = turns.take().await.unwrap();
        let (began, mut begun) = tokio::sync::mpsc::unbounded_channel();
        let (go_on, going_on) = mpsc::channel::<()>();
        let request = tokio::spawn(turn.fold(move |stop| {
            began.send(stop.clone()).unwrap();
            while !stop.stopped() {
                std::thread::yield_now();
            }
            // As a fold that is in the middle of a batch when it is told.
            going_on.recv().unwrap();
        }));
        let stop = begun.recv().await.unwrap();
        request.abort();
        assert!(request.await.unwrap_err().is_cancelled());
        assert!(stop.stopped());
        assert_eq!(turns.one_at_a_time.available_permits(), 0, "it still reads the log");
        go_on.send(()).unwrap();
        turns.take().await.unwrap();
    }

    #[tokio::test]
    async fn who_comes_while_enough_wait_is_refused_at_once_and_nobody_waits_for_ever() {
        let turns = Arc::new(Turns::new(1, LONG));
        let first = turns.take().await.unwrap();
        let waiting = tokio::spawn({
            let turns = turns.clone();
            async move { turns.take().await.is_some() }
        });
        while turns.waiting.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(turns.take().await.is_none());
        drop(first);
        assert!(waiting.await.unwrap());

        let impatient = Turns::new(1, Duration::from_millis(1));
        let _held = impatient.take().await.unwrap();
        assert!(impatient.take().await.is_none());
    }
}
