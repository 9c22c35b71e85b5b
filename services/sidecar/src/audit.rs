//! Leaves a fact for every action of a person and every answer that shows callers' numbers (`helix_schemas::decision::Auditing`).
//!
//! A page asks for the same list every few seconds: looks of one person at the same list within [`SAME_LOOK`] are one fact,
//! the first of them. Another page of a list, or another filter, is another list.
//!
//! Facts wait in a bounded queue for the log and are appended in order, each until it is acknowledged: a log that is away for
//! some minutes keeps nobody from working. Once the queue is full, what would have to be written down is refused
//! instead of shown unseen. The queue is in memory: what is in it when the process is killed is lost.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use helix_kit::{http::RequestId, problem::Problem};
use helix_schemas::{
    decision::Auditing,
    fact::{Fact, Source},
    names::{CallId, WorkspaceId},
    time::ReceivedAt,
};
use tokio::{sync::mpsc, time::sleep};
use uuid::Uuid;

use crate::{
    access::Viewer,
    log::{Log, LogError},
    metrics,
};

/// Looks at the same list within this time are one.
const SAME_LOOK: Duration = Duration::from_secs(60);
/// Most facts that wait for the log.
pub(crate) const WAITING: usize = 4096;
/// Most looks that are remembered; beyond it the same look may be written down again.
const REMEMBERED: usize = 10_000;
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// How often the end of the queue is looked for, at the end of the process.
const LOOK: Duration = Duration::from_millis(20);

/// What a person did or saw.
#[derive(Debug, Clone)]
pub(crate) struct Deed {
    /// As `calls.list`.
    pub(crate) action: &'static str,
    /// The call, where it was about one.
    pub(crate) about: Option<CallId>,
    /// How many records were shown.
    pub(crate) count: usize,
}

/// Writes down.
#[derive(Debug)]
pub(crate) struct Audit {
    workspace: WorkspaceId,
    seen: Mutex<BTreeMap<(String, String), Instant>>,
    queue: mpsc::Sender<Fact>,
    waiting: Arc<AtomicUsize>,
}

/// Takes the queue's facts to the log.
pub(crate) struct Clerk {
    workspace: WorkspaceId,
    log: Arc<Log>,
    queue: mpsc::Receiver<Fact>,
    waiting: Arc<AtomicUsize>,
}

impl Audit {
    pub(crate) fn new(workspace: WorkspaceId, log: Arc<Log>) -> (Self, Clerk) {
        let (queue, facts) = mpsc::channel(WAITING);
        let waiting = Arc::<AtomicUsize>::default();
        let clerk = Clerk { workspace: workspace.clone(), log, queue: facts, waiting: waiting.clone() };
        (Self { workspace, seen: Mutex::default(), queue, waiting }, clerk)
    }

    /// An answer is about to show callers' numbers; `list` tells one list from another.
    ///
    /// # Errors
    /// Where it could not be written down: the answer must not be given.
    pub(crate) fn look(&self, viewer: &Viewer, request: &RequestId, list: &str, deed: Deed) -> Result<(), Problem> {
        if !viewer.role.sees_callers() || deed.count == 0 {
            return Ok(());
        }
        let now = Instant::now();
        let key = (viewer.subject.clone(), list.to_owned());
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.get(&key).is_some_and(|at| now.saturating_duration_since(*at) < SAME_LOOK) {
            return Ok(());
        }
        self.write(viewer, request, deed)?;
        if seen.len() >= REMEMBERED {
            seen.retain(|_, at| now.saturating_duration_since(*at) < SAME_LOOK);
        }
        if seen.len() >= REMEMBERED {
            seen.clear();
        }
        seen.insert(key, now);
        Ok(())
    }

    /// A person did something.
    ///
    /// # Errors
    /// As [`Self::look`].
    pub(crate) fn act(&self, viewer: &Viewer, request: &RequestId, deed: Deed) -> Result<(), Problem> {
        self.write(viewer, request, deed)
    }

    fn write(&self, viewer: &Viewer, request: &RequestId, deed: Deed) -> Result<(), Problem> {
        let fact = Auditing {
            workspace: self.workspace.clone(),
            by: viewer.subject.clone(),
            role: viewer.role.as_str(),
            action: deed.action,
            about: deed.about,
            count: deed.count,
            received_at: ReceivedAt::now(),
            request: Uuid::new_v4().to_string(),
            source: Source {
                endpoint: "sidecar".to_owned(),
                account: String::new(),
                request_id: request.0.to_string(),
            },
        }
        .into_fact();
        self.waiting.fetch_add(1, Ordering::AcqRel);
        if self.queue.try_send(fact).is_err() {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            metrics::audited(self.workspace.as_str(), "refused");
            return Err(Problem::component_down("the log"));
        }
        metrics::audits_waiting(self.workspace.as_str(), self.waiting.load(Ordering::Acquire));
        Ok(())
    }

    /// Waits until nothing waits any more.
    pub(crate) async fn written(&self) {
        while self.waiting.load(Ordering::Acquire) > 0 {
            sleep(LOOK).await;
        }
    }
}

impl Clerk {
    /// Works for as long as it is polled.
    pub(crate) async fn work(mut self) {
        while let Some(fact) = self.queue.recv().await {
            let outcome = self.append(&fact).await;
            metrics::audited(self.workspace.as_str(), outcome);
            let waiting = self.waiting.fetch_sub(1, Ordering::AcqRel) - 1;
            metrics::audits_waiting(self.workspace.as_str(), waiting);
        }
    }

    async fn append(&self, fact: &Fact) -> &'static str {
        loop {
            match self.log.append(fact).await {
                Ok(()) => return "written",
                Err(error @ LogError::Encode(_)) => {
                    // It will never fit: going on with the next is all that is left.
                    tracing::error!(%error, workspace = %self.workspace, "an audit fact is lost");
                    return "lost";
                }
                Err(error) => {
                    tracing::warn!(%error, workspace = %self.workspace, "an audit fact waits for the log");
                    sleep(AGAIN_AFTER).await;
                }
            }
        }
    }
}
