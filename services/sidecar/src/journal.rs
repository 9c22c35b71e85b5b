//! Keeps audit facts on this machine's own disk until the log has them.
//!
//! A fact is kept once the disk has it: requests that wait at the same time share one fsync (`helix_kit::spool`), on a
//! thread of its own. The clerk appends what is kept to the log, in order, and removes it when it is acknowledged. A fact
//! carries its id from the beginning, so that one that is appended again, as after a kill between the two, is the same
//! fact. What an earlier process left is appended first. Kept as JSON: the schema registry may be away.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use helix_kit::{
    http::Readiness,
    problem::Problem,
    spool::{Entry, Fill, Put, Spool, SpoolError},
};
use helix_schemas::{fact::Fact, names::WorkspaceId, time::ReceivedAt, topics};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use crate::{
    log::{Handed as OnItsWay, Log, LogError},
    metrics,
};

/// Most facts that wait for the log.
pub(crate) const WAITING: usize = 4096;
/// And their bytes, whoever is named how in them.
const LIMIT_BYTES: u64 = 64 * 1024 * 1024;
/// Facts that are read, appended and removed together.
const BATCH: usize = 64;
const BATCH_BYTES: usize = 1024 * 1024;
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(5);
/// How often the disk is looked at while nothing is kept.
const IDLE: Duration = Duration::from_secs(5);
/// How often the end of the journal is looked for, at the end of the process.
const LOOK: Duration = Duration::from_millis(20);
/// The name of it in `/readyz`.
const PART: &str = "audit";

/// Why a fact was not kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    /// The log has been away for long.
    #[error("{WAITING} audit facts wait for the log")]
    Full,
    /// The disk does not do what it should.
    #[error(transparent)]
    Disk(#[from] SpoolError),
    /// It cannot be written as JSON: a defect of this build.
    #[error("an audit fact cannot be written: {0}")]
    Fact(#[from] serde_json::Error),
}

impl From<JournalError> for Problem {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Full => Self::component_down("the log"),
            JournalError::Disk(_) | JournalError::Fact(_) => Self::component_down("the audit journal"),
        }
    }
}

/// The facts that the log has not acknowledged.
#[derive(Debug)]
pub(crate) struct Journal {
    workspace: WorkspaceId,
    spool: Spool,
    /// The next sequence number. Held while a fact is handed over: the order of the numbers is the order of the hand-overs.
    next: Mutex<u64>,
    arrived: Notify,
}

/// A fact on its way to the disk.
#[derive(Debug)]
pub(crate) struct Handed {
    workspace: WorkspaceId,
    put: Put,
}

impl Handed {
    /// Waits until the disk has it.
    pub(crate) async fn kept(self) -> Result<(), JournalError> {
        self.put.kept().await.map_err(|error| refused(&self.workspace, error.into()))
    }
}

fn refused(workspace: &WorkspaceId, error: JournalError) -> JournalError {
    metrics::audited(workspace.as_str(), "refused");
    tracing::warn!(%error, %workspace, "an audit fact was not kept");
    error
}

impl Journal {
    /// Opens the journal of a workspace below `folder`, which is made where it is missing. One that cannot be used does not
    /// keep the sidecar from starting: the board goes on.
    pub(crate) fn open(workspace: WorkspaceId, folder: &Path) -> std::io::Result<Self> {
        let (spool, highest) = Spool::open(&folder.join(workspace.as_str()), LIMIT_BYTES)?;
        let left = spool.fill().records;
        if left > 0 {
            tracing::warn!(%workspace, left, "audit facts of an earlier run go to the log first");
        }
        // Above whatever a file that can only be opened later may hold.
        let now = u64::try_from(ReceivedAt::now().micros()).unwrap_or_default();
        Ok(Self { workspace, spool, next: Mutex::new(now.max(highest + 1)), arrived: Notify::new() })
    }

    /// Hands a fact over, behind all that were handed over before.
    pub(crate) fn hand_over(&self, fact: &Fact) -> Result<Handed, JournalError> {
        self.try_hand_over(fact).map_err(|error| refused(&self.workspace, error))
    }

    fn try_hand_over(&self, fact: &Fact) -> Result<Handed, JournalError> {
        let entry = Entry {
            topic: topics::FACTS.to_owned(),
            key: fact.key(),
            value: serde_json::to_vec(fact)?,
            at: fact.received_at.micros(),
        };
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if self.waiting() >= WAITING {
            return Err(JournalError::Full);
        }
        let put = self.spool.put(*next, entry)?;
        *next += 1;
        drop(next);
        metrics::audits_waiting(self.workspace.as_str(), self.waiting());
        self.arrived.notify_one();
        Ok(Handed { workspace: self.workspace.clone(), put })
    }

    /// How many facts the log has not got, on the disk and on their way to it.
    pub(crate) fn waiting(&self) -> usize {
        let fill = self.spool.fill();
        usize::try_from(fill.records + fill.arriving).unwrap_or(usize::MAX)
    }

    /// Waits until nothing waits any more.
    pub(crate) async fn empty(&self) {
        while self.waiting() > 0 {
            sleep(LOOK).await;
        }
    }

    /// Closes the file; what is in it goes to the log at the next start.
    pub(crate) async fn close(&self) {
        if let Err(error) = self.spool.close().await {
            tracing::warn!(%error, workspace = %self.workspace, "the audit journal was closed already");
        }
    }

    fn report(&self) -> Fill {
        self.spool.look_at_the_disk();
        let fill = self.spool.fill();
        let workspace = self.workspace.as_str();
        metrics::audits_waiting(workspace, self.waiting());
        metrics::audit_journal(workspace, fill.fault.is_none(), fill.repairs);
        fill
    }
}

/// Takes what is kept to the log.
pub(crate) struct Clerk {
    journal: Arc<Journal>,
    log: Arc<Log>,
    readiness: Readiness,
}

impl Clerk {
    pub(crate) fn new(journal: Arc<Journal>, log: Arc<Log>, readiness: Readiness) -> Self {
        Self { journal, log, readiness }
    }

    /// Works for as long as it is polled.
    pub(crate) async fn work(self) {
        let mut retry = FIRST_RETRY;
        loop {
            if self.round().await {
                retry = FIRST_RETRY;
            } else {
                sleep(retry).await;
                retry = (retry * 2).min(LAST_RETRY);
            }
        }
    }

    /// Appends a few, or waits for one; whether all went well.
    async fn round(&self) -> bool {
        let entries = match self.journal.spool.read(BATCH, BATCH_BYTES).await {
            Ok(entries) => entries,
            Err(error) => {
                self.journal.report();
                self.readiness.degraded(PART, format!("the audit journal: {error}"));
                return false;
            }
        };
        if !entries.is_empty() {
            return self.append_all(entries).await;
        }
        match self.journal.report().fault {
            Some(fault) => self.readiness.degraded(PART, format!("the audit journal: {fault}")),
            None => self.readiness.ready(PART),
        }
        // Nothing came for a while: that is no news.
        let _elapsed = timeout(IDLE, self.journal.arrived.notified()).await;
        true
    }

    /// Hands all of them to the log, in order, and waits for each. What comes after one that was not acknowledged is appended
    /// again behind it: the order is kept.
    async fn append_all(&self, entries: Vec<(u64, Entry)>) -> bool {
        let workspace = &self.journal.workspace;
        let (mut handed, mut done) = (Vec::with_capacity(entries.len()), Vec::with_capacity(entries.len()));
        let mut waits = None;
        for (sequence, entry) in entries {
            match self.hand_over(&entry).await {
                Ok(on_its_way) => handed.push((sequence, on_its_way)),
                Err(error) => {
                    waits = Some(error);
                    break;
                }
            }
        }
        for (sequence, on_its_way) in handed {
            let acknowledged = match on_its_way {
                Some(on_its_way) => on_its_way.acknowledged().await.map(|_| "written"),
                None => Ok("lost"),
            };
            match acknowledged {
                Ok(word) => metrics::audited(workspace.as_str(), word),
                Err(error) => {
                    waits = Some(error);
                    break;
                }
            }
            done.push(sequence);
        }
        // Where this fails they are appended again: the same facts.
        let removed = if done.is_empty() { Ok(()) } else { self.journal.spool.remove(done).await };
        if let Err(error) = &removed {
            tracing::warn!(%error, %workspace, "audit facts in the log are still in the journal");
        }
        let left = self.journal.report().records;
        if let Some(error) = &waits {
            tracing::warn!(%error, %workspace, left, "audit facts wait for the log");
            self.readiness.degraded(PART, format!("the log does not take audit facts; {left} wait on this disk"));
        }
        waits.is_none() && removed.is_ok()
    }

    /// `None`: it is lost, and going on with the next is all that is left.
    async fn hand_over(&self, entry: &Entry) -> Result<Option<OnItsWay<'_>>, LogError> {
        let workspace = &self.journal.workspace;
        let fact: Fact = match serde_json::from_slice(&entry.value) {
            Ok(fact) => fact,
            Err(error) => {
                // Where and what was expected; the reader's own words may hold a value.
                tracing::error!(column = error.column(), %workspace, "an audit fact is lost: it cannot be read");
                return Ok(None);
            }
        };
        match self.log.open().await?.hand_over(&fact) {
            Ok(on_its_way) => Ok(Some(on_its_way)),
            Err(error @ LogError::Encode(_)) => {
                tracing::error!(%error, %workspace, "an audit fact is lost");
                Ok(None)
            }
            Err(error @ (LogError::Registry(_) | LogError::RegistryLate | LogError::Log(_) | LogError::Ended)) => {
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use helix_schemas::decision::Auditing;

    use super::*;

    fn workspace() -> WorkspaceId {
        WorkspaceId::new("ramaiah").unwrap()
    }

    fn fact(number: usize) -> Fact {
        Auditing {
            workspace: workspace(),
            by: "asha@ramaiah.example".to_owned(),
            role: "supervisor",
            action: "calls.list",
            about: None,
            count: number,
            received_at: ReceivedAt::from_micros(1_774_310_431_000_000),
            request: number.to_string(),
            source: helix_schemas::fact::Source::default(),
        }
        .into_fact()
    }

    impl Journal {
        /// What is in it, in order, once all that was handed over before is.
        pub(crate) async fn kept(&self) -> Vec<Fact> {
            let entries = self.spool.read(usize::MAX, usize::MAX).await.unwrap();
            entries.iter().map(|(_, entry)| serde_json::from_slice(&entry.value).unwrap()).collect()
        }
    }

    #[tokio::test]
    async fn as_many_wait_as_may_and_after_a_restart_they_are_there_in_order_under_their_ids() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(workspace(), folder.path()).unwrap();
        let facts: Vec<Fact> = (0..WAITING).map(fact).collect();
        let handed: Vec<Handed> = facts.iter().map(|fact| journal.hand_over(fact).unwrap()).collect();
        assert!(matches!(journal.hand_over(&fact(0)), Err(JournalError::Full)), "those on their way count");
        for one in handed {
            one.kept().await.unwrap();
        }
        assert!(matches!(journal.hand_over(&fact(0)), Err(JournalError::Full)));
        assert_eq!(Problem::from(JournalError::Full).retry_after, Some(2));
        journal.close().await;

        let next = Journal::open(workspace(), folder.path()).unwrap();
        assert_eq!(next.waiting(), WAITING);
        let entries = next.spool.read(WAITING, usize::MAX).await.unwrap();
        assert!(next.kept().await == facts, "other facts, or another order");
        next.spool.remove(vec![entries[0].0]).await.unwrap();
        next.hand_over(&fact(0)).unwrap().kept().await.unwrap();
        let last = next.spool.read(WAITING, usize::MAX).await.unwrap().pop().unwrap();
        assert!(last.0 > entries[WAITING - 1].0, "what comes after a restart stands behind what was left");
    }
}
