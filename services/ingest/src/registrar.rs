//! Claims and releases: the only writer of `telephony.directory`.
//!
//! The directory is what its topic says in the topic's order, so a claim is written first and judged by what the own
//! reader then made of it (read your writes). What another workspace owns is refused before anything is written.
//! Two instances may still race: then the first record wins, the loser takes back what else it had added, and writes
//! the winner's name over its own refused record, because compaction keeps a key's last record.
//! Each change and each refusal leaves a fact in the log of who asked ([`crate::audit`]).
//!
//! Agent ids may be e-mail addresses: they are counted in logs, never named.

use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
    time::Duration,
};

use helix_schemas::{
    codec::CodecError,
    directory::{Directory, DirectoryEntry, EntryKind},
    names::{AgentId, Did, WorkspaceId},
    time::ReceivedAt,
    topics,
};
use tokio::sync::Mutex;

use crate::{
    audit::{Asked, Audit, Change, Trail},
    codecs::Codecs,
    directory::View,
    publish::{PublishError, Publisher},
};

/// What a sidecar says is its workspace's.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Its sidecar's base URL; unchanged where none is given.
    pub url: Option<String>,
    /// Its agents.
    pub agents: BTreeSet<AgentId>,
    /// Its DIDs.
    pub dids: BTreeSet<Did>,
}

/// An entry that a claim added.
struct Fresh {
    kind: EntryKind,
    value: String,
    offset: i64,
}

/// How much a claim added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Added {
    /// Agents that were nobody's before.
    pub agents: usize,
    /// DIDs that were nobody's before.
    pub dids: usize,
}

/// Why a claim or release did not happen.
#[derive(Debug, thiserror::Error)]
pub enum RegistrarError {
    /// Another workspace owns these.
    #[error("{} agents and {} dids belong to another workspace", agents.len(), dids.len())]
    Conflict {
        /// Agent ids.
        agents: Vec<String>,
        /// DIDs.
        dids: Vec<String>,
    },
    /// The registry has not answered since this process began.
    #[error("the schemas are not registered yet")]
    NotStarted,
    /// The directory is not read to its end, or its reader does not follow.
    #[error("the directory does not follow its topic")]
    Behind,
    /// The log did not take a record.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// A record does not fit its schema: a defect of this build.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// Writes the directory.
#[derive(Debug)]
pub struct Registrar {
    view: Arc<View>,
    publisher: Arc<Publisher>,
    codecs: Arc<OnceLock<Codecs>>,
    /// How long the own reader may take to follow.
    patience: Duration,
    audit: Audit,
    one_at_a_time: Mutex<()>,
}

/// Where claims and releases come in, for the audit.
const REGISTER: &str = "/api/supervisor/register";
const RELEASE_AGENT: &str = "/api/supervisor/register/{workspace}/agents/{agentId}";
const RELEASE_DID: &str = "/api/supervisor/register/{workspace}/dids/{did}";

type Owner = fn(&Directory, &str) -> Option<WorkspaceId>;

fn owner_of(kind: EntryKind) -> Owner {
    match kind {
        EntryKind::Agent => {
            |directory, value| AgentId::new(value).ok().and_then(|id| directory.owner_of_agent(&id).cloned())
        }
        EntryKind::Did => |directory, value| Did::new(value).ok().and_then(|did| directory.owner_of_did(&did).cloned()),
        EntryKind::Workspace => |_, _| None,
    }
}

impl Registrar {
    /// A registrar that judges by `view`.
    #[must_use]
    pub fn new(view: Arc<View>, publisher: Arc<Publisher>, codecs: Arc<OnceLock<Codecs>>, patience: Duration) -> Self {
        let audit = Audit::new(publisher.clone());
        Self { view, publisher, codecs, patience, audit, one_at_a_time: Mutex::new(()) }
    }

    /// Adds to what a workspace has. What it has already is no change.
    ///
    /// # Errors
    /// [`RegistrarError::Conflict`] where another workspace owns any of it, and then nothing is added.
    pub async fn claim(&self, claim: &Claim, request_id: &str) -> Result<Added, RegistrarError> {
        let asked = Asked { workspace: &claim.workspace, endpoint: REGISTER, request_id };
        let turn = self.one_at_a_time.lock().await;
        let outcome = self.claim_in_turn(claim, request_id).await;
        let trail = match &outcome {
            Ok(fresh) => {
                let claimed = |fresh: &Fresh| (Change::Claimed(fresh.offset), fresh.kind);
                self.trail(asked, fresh.iter().map(|fresh| (claimed(fresh), fresh.value.as_str())))
            }
            Err(error) => self.refusals(asked, error),
        };
        drop(turn);
        self.finish(asked, trail).await;
        let fresh = outcome?;
        let count = |of: EntryKind| fresh.iter().filter(|fresh| fresh.kind == of).count();
        let added = Added { agents: count(EntryKind::Agent), dids: count(EntryKind::Did) };
        tracing::info!(workspace = %claim.workspace, agents = added.agents, dids = added.dids, request_id, "directory: claimed");
        Ok(added)
    }

    async fn claim_in_turn(&self, claim: &Claim, request_id: &str) -> Result<Vec<Fresh>, RegistrarError> {
        let before = self.snapshot()?;
        let wanted = || {
            let agents = claim.agents.iter().map(|agent| (EntryKind::Agent, agent.as_str()));
            agents.chain(claim.dids.iter().map(|did| (EntryKind::Did, did.as_str())))
        };
        self.refuse_conflicts(&before, &claim.workspace, wanted())?;
        let mut entries = Vec::new();
        let known = before.workspaces().find(|(slug, _)| **slug == claim.workspace).map(|(_, url)| url);
        if known.is_none() || claim.url.as_deref().is_some_and(|url| known.flatten() != Some(url)) {
            let url = claim.url.clone().or_else(|| known.flatten().map(str::to_owned));
            let mut entry =
                self.entry(EntryKind::Workspace, claim.workspace.as_str(), Some(&claim.workspace), request_id);
            entry.url = url;
            entries.push(entry);
        }
        let fresh: Vec<_> = wanted().filter(|(kind, value)| owner_of(*kind)(&before, value).is_none()).collect();
        entries.extend(fresh.iter().map(|(kind, value)| self.entry(*kind, value, Some(&claim.workspace), request_id)));
        let offsets = self.write(&entries).await?;
        let after = self.view.snapshot();
        if let Err(lost) = self.refuse_conflicts(&after, &claim.workspace, fresh.iter().copied()) {
            self.take_back(&after, &claim.workspace, &fresh, request_id).await?;
            return Err(lost);
        }
        let written = fresh.iter().zip(offsets.iter().skip(entries.len() - fresh.len()));
        Ok(written.map(|((kind, value), at)| Fresh { kind: *kind, value: (*value).to_owned(), offset: *at }).collect())
    }

    /// Releases one agent or DID. One that nobody owns is no change.
    ///
    /// # Errors
    /// [`RegistrarError::Conflict`] where another workspace owns it.
    pub async fn release(
        &self,
        workspace: &WorkspaceId,
        kind: EntryKind,
        value: &str,
        request_id: &str,
    ) -> Result<(), RegistrarError> {
        let value = &*kind.canonical(value);
        let endpoint = if kind == EntryKind::Agent { RELEASE_AGENT } else { RELEASE_DID };
        let asked = Asked { workspace, endpoint, request_id };
        let turn = self.one_at_a_time.lock().await;
        let outcome = self.release_in_turn(asked, kind, value).await;
        let trail = match &outcome {
            Ok(offset) => self.trail(asked, offset.iter().map(|at| ((Change::Released(*at), kind), value))),
            Err(error) => self.refusals(asked, error),
        };
        drop(turn);
        self.finish(asked, trail).await;
        outcome.map(|_released| ())
    }

    /// The offset of the release, where there was something to release.
    async fn release_in_turn(
        &self,
        asked: Asked<'_>,
        kind: EntryKind,
        value: &str,
    ) -> Result<Option<i64>, RegistrarError> {
        let Asked { workspace, request_id, .. } = asked;
        let before = self.snapshot()?;
        self.refuse_conflicts(&before, workspace, [(kind, value)].into_iter())?;
        if owner_of(kind)(&before, value).is_none() {
            return Ok(None);
        }
        let offsets = self.write(&[self.entry(kind, value, None, request_id)]).await?;
        tracing::info!(%workspace, entry = kind.as_str(), count = 1, request_id, "directory: released");
        Ok(offsets.first().copied())
    }

    /// Puts the audit of some changes on its way: in turn, so that an entry's changes are told in their order.
    fn trail<'a>(
        &self,
        asked: Asked<'_>,
        changes: impl IntoIterator<Item = ((Change, EntryKind), &'a str)>,
    ) -> Option<Trail> {
        let codecs = self.codecs.get()?;
        let changes = changes.into_iter().map(|((change, kind), value)| (change, kind, value));
        Some(self.audit.enqueue(codecs, asked, changes))
    }

    fn refusals(&self, asked: Asked<'_>, error: &RegistrarError) -> Option<Trail> {
        let RegistrarError::Conflict { agents, dids } = error else { return None };
        let agents = agents.iter().map(|agent| ((Change::Refused, EntryKind::Agent), agent.as_str()));
        let dids = dids.iter().map(|did| ((Change::Refused, EntryKind::Did), did.as_str()));
        self.trail(asked, agents.chain(dids))
    }

    async fn finish(&self, asked: Asked<'_>, trail: Option<Trail>) {
        if let Some(trail) = trail {
            self.audit.finish(asked, trail).await;
        }
    }

    fn snapshot(&self) -> Result<Arc<Directory>, RegistrarError> {
        if self.view.caught_up() { Ok(self.view.snapshot()) } else { Err(RegistrarError::Behind) }
    }

    fn refuse_conflicts<'a>(
        &self,
        directory: &Directory,
        workspace: &WorkspaceId,
        wanted: impl Iterator<Item = (EntryKind, &'a str)>,
    ) -> Result<(), RegistrarError> {
        let (mut agents, mut dids) = (Vec::new(), Vec::new());
        for (kind, value) in wanted {
            if owner_of(kind)(directory, value).is_some_and(|owner| owner != *workspace) {
                let list = if kind == EntryKind::Agent { &mut agents } else { &mut dids };
                list.push(value.to_owned());
            }
        }
        if agents.is_empty() && dids.is_empty() {
            return Ok(());
        }
        tracing::info!(%workspace, agents = agents.len(), dids = dids.len(), "directory: refused, another workspace owns them");
        Err(RegistrarError::Conflict { agents, dids })
    }

    /// After a lost race: releases what this claim added, and writes the owner over what it was refused.
    async fn take_back(
        &self,
        after: &Directory,
        workspace: &WorkspaceId,
        fresh: &[(EntryKind, &str)],
        request_id: &str,
    ) -> Result<(), RegistrarError> {
        let entries: Vec<_> = fresh
            .iter()
            .map(|(kind, value)| {
                let owner = owner_of(*kind)(after, value).filter(|owner| owner != workspace);
                self.entry(*kind, value, owner.as_ref(), request_id)
            })
            .collect();
        self.write(&entries).await.map(|_offsets| ())
    }

    fn entry(
        &self,
        entry: EntryKind,
        value: &str,
        workspace: Option<&WorkspaceId>,
        request_id: &str,
    ) -> DirectoryEntry {
        DirectoryEntry {
            entry,
            value: value.to_owned(),
            workspace: workspace.cloned(),
            url: None,
            recorded_at: ReceivedAt::now(),
            request_id: request_id.to_owned(),
        }
    }

    /// Writes records in order and waits until the own reader has applied the last. Their offsets, in order.
    async fn write(&self, entries: &[DirectoryEntry]) -> Result<Vec<i64>, RegistrarError> {
        let codecs = self.codecs.get().ok_or(RegistrarError::NotStarted)?;
        let mut pending = Vec::with_capacity(entries.len());
        for entry in entries {
            let value = codecs.directory.encode(entry)?;
            pending.push(self.publisher.enqueue(topics::DIRECTORY, &entry.key(), &value)?);
        }
        let mut offsets = Vec::with_capacity(pending.len());
        for delivery in pending {
            offsets.push(self.publisher.acknowledged_in_time(delivery).await?.offset);
        }
        let Some(last) = offsets.iter().max().copied() else { return Ok(offsets) };
        let applied = tokio::time::timeout(self.patience, self.view.applied(last)).await;
        applied.map(|()| offsets).map_err(|_| RegistrarError::Behind)
    }
}
