//! The directory's audit trail: a `DirectoryChanged` fact for each claim, release and refusal, in the log of the
//! workspace that asked. Never names the owner of what was refused.
//!
//! `telephony.directory` itself is the record of who owns what. These facts come after its records are acknowledged, and
//! one that cannot be appended fails no claim: it is logged and counted. A refusal that is repeated within ten minutes is
//! only counted, so that a sidecar that asks again and again does not fill the log.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use helix_schemas::{
    directory::EntryKind,
    fact::{Body, DirectoryChanged, Fact, NORMALISER_VERSION, OccurredAtFrom, Source},
    id::NaturalKey,
    names::{AgentId, WorkspaceId},
    time::ReceivedAt,
    topics,
};
use lru::LruCache;

use crate::{
    codecs::Codecs,
    metrics,
    publish::{Pending, Publisher},
};

/// The provider of facts that Helix itself makes.
pub const PROVIDER: &str = "helix";
/// How long an identical refusal is not appended again.
const REPEATED_WITHIN: Duration = Duration::from_secs(600);
/// Refusals remembered. (The `unwrap` is of a constant: it fails to compile, not to run.)
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// What happened to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// It was nobody's and is the workspace's now; offset of its directory record.
    Claimed(i64),
    /// It was the workspace's and is nobody's now; offset of its directory record.
    Released(i64),
    /// Another workspace owns it.
    Refused,
}

impl Change {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Claimed(_) => "claimed",
            Self::Released(_) => "released",
            Self::Refused => "refused",
        }
    }

    /// Tells two changes of one request id apart: a sidecar may send the same id for ever.
    fn offset(self) -> String {
        match self {
            Self::Claimed(offset) | Self::Released(offset) => offset.to_string(),
            Self::Refused => String::new(),
        }
    }
}

/// Who asked, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) workspace: &'a WorkspaceId,
    /// Path template.
    pub(crate) endpoint: &'static str,
    pub(crate) request_id: &'a str,
}

type Refusal = (WorkspaceId, &'static str, String);

/// Appends the trail.
pub(crate) struct Audit {
    publisher: Arc<Publisher>,
    refusals: Mutex<LruCache<Refusal, Instant>>,
}

impl std::fmt::Debug for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Audit")
    }
}

impl Audit {
    pub(crate) fn new(publisher: Arc<Publisher>) -> Self {
        Self { publisher, refusals: Mutex::new(LruCache::new(REMEMBERED)) }
    }

    /// Puts the facts of some changes on their way, in order.
    pub(crate) fn enqueue<'a>(
        &self,
        codecs: &Codecs,
        asked: Asked<'_>,
        changes: impl IntoIterator<Item = (Change, EntryKind, &'a str)>,
    ) -> Trail {
        let mut trail = Trail { pending: Vec::new(), failed: 0 };
        let at = ReceivedAt::now();
        for (change, entry, value) in changes {
            metrics::directory_change(change.as_str(), entry);
            if change == Change::Refused && self.told_lately(asked.workspace, entry, value) {
                continue;
            }
            let fact = fact(asked, change, entry, value, at);
            let enqueued = codecs
                .fact
                .encode(&fact)
                .ok()
                .and_then(|value| self.publisher.enqueue(topics::FACTS, &fact.key(), &value).ok());
            match enqueued {
                Some(pending) => trail.pending.push(pending),
                None => trail.failed += 1,
            }
        }
        trail
    }

    /// Waits for the acknowledgements, and tells what is missing.
    pub(crate) async fn finish(&self, asked: Asked<'_>, trail: Trail) {
        let Trail { pending, mut failed } = trail;
        for pending in pending {
            failed += usize::from(self.publisher.acknowledged_in_time(pending).await.is_err());
        }
        if failed > 0 {
            metrics::directory_audit_failed(failed);
            tracing::error!(
                workspace = %asked.workspace,
                count = failed,
                request_id = asked.request_id,
                "directory: changes without their audit facts; telephony.directory has the record"
            );
        }
    }

    fn told_lately(&self, workspace: &WorkspaceId, entry: EntryKind, value: &str) -> bool {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (workspace.clone(), entry.as_str(), value.to_owned());
        if refusals.get(&key).is_some_and(|told| told.elapsed() < REPEATED_WITHIN) {
            return true;
        }
        refusals.put(key, Instant::now());
        false
    }
}

/// Audit facts on their way.
#[must_use = "whether they arrive is told by Audit::finish"]
pub(crate) struct Trail {
    pending: Vec<Pending>,
    failed: usize,
}

fn fact(asked: Asked<'_>, change: Change, entry: EntryKind, value: &str, at: ReceivedAt) -> Fact {
    let body = Body::DirectoryChanged(DirectoryChanged {
        change: change.as_str().to_owned(),
        entry: entry.as_str().to_owned(),
        value: value.to_owned(),
    });
    let id = NaturalKey::new(PROVIDER, asked.workspace.as_str(), "directory")
        .field(change.as_str())
        .field(entry.as_str())
        .field(value)
        .field(asked.request_id)
        .field(&change.offset())
        .id();
    Fact {
        id,
        workspace: asked.workspace.clone(),
        // With it the fact is part of the agent's own story, under the agent's key.
        agent: (entry == EntryKind::Agent).then(|| AgentId::new(value).ok()).flatten(),
        call: None,
        leg: None,
        provider: PROVIDER.to_owned(),
        kind: body.kind(),
        occurred_at: at.as_occurred(),
        occurred_at_from: OccurredAtFrom::Received,
        received_at: at,
        raw: Vec::new(),
        raw_content_type: String::new(),
        source: Source {
            endpoint: asked.endpoint.to_owned(),
            account: String::new(),
            request_id: asked.request_id.to_owned(),
        },
        normaliser: NORMALISER_VERSION,
        body,
    }
}
