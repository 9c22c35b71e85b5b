//! Remembers which ids were acknowledged lately, so that a repeat is answered without being appended again.
//!
//! A convenience, never a promise: it is bounded, forgets at restart, and knows one instance. Projections absorb
//! whatever repeats get through. Only what is in the log or in the spool is remembered (law 1).

use std::{
    hash::{BuildHasher, RandomState},
    num::NonZeroUsize,
    sync::{Mutex, PoisonError},
};

use helix_schemas::{
    id::FactId,
    names::{CallId, WorkspaceId},
};
use lru::LruCache;

use crate::{metrics, outlet::Placed};

/// Ids remembered: at 100 events a second, ten minutes. (The `unwrap` is of a constant: it fails to compile, not to run.)
const CAPACITY: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();

/// Calls whose summary is remembered: at 10 calls a minute, a day.
const CALLS: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// What an id was when it was acknowledged.
struct Seen {
    content: u64,
    /// `None` for an event that could not be routed: once it can, it is no repeat.
    workspace: Option<WorkspaceId>,
    placed: Placed,
}

/// What is known of an id.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    New,
    /// The same content is kept already.
    Duplicate(Placed),
    /// Another content is kept under this id: append this one too, and count it.
    Conflict,
}

/// The recently acknowledged ids.
pub struct Recent {
    ids: Mutex<LruCache<FactId, Seen>>,
    summaries: Mutex<LruCache<CallId, u64>>,
    hasher: RandomState,
}

impl Default for Recent {
    fn default() -> Self {
        Self {
            ids: Mutex::new(LruCache::new(CAPACITY)),
            summaries: Mutex::new(LruCache::new(CALLS)),
            hasher: RandomState::new(),
        }
    }
}

impl std::fmt::Debug for Recent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Recent")
    }
}

impl Recent {
    /// A digest of an event's content, for [`Self::check`] and [`Self::remember`].
    #[must_use]
    pub fn digest(&self, content: &str) -> u64 {
        self.hasher.hash_one(content)
    }

    /// Whether an id was acknowledged for this destination lately.
    #[must_use]
    pub fn check(&self, id: FactId, workspace: Option<&WorkspaceId>, content: u64) -> Verdict {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        match ids.get(&id) {
            Some(seen) if seen.workspace.as_ref() != workspace => Verdict::New,
            Some(seen) if seen.content == content => Verdict::Duplicate(seen.placed),
            Some(_) => Verdict::Conflict,
            None => Verdict::New,
        }
    }

    /// Remembers a record that is kept.
    pub fn remember(&self, id: FactId, workspace: Option<WorkspaceId>, content: u64, placed: Placed) {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.put(id, Seen { content, workspace, placed });
    }

    /// Notes a call's summary; whether another one of other content came lately. Nobody knows whether the provider sends
    /// one again when its disposition or recording comes later (ozonetel.md 8): so it is counted.
    #[must_use]
    pub fn is_another_summary(&self, call: &CallId, content: u64) -> bool {
        let mut summaries = self.summaries.lock().unwrap_or_else(PoisonError::into_inner);
        summaries.put(call.clone(), content).is_some_and(|before| before != content)
    }

    /// Exports how full the memory is.
    pub fn report(&self) {
        let held = self.ids.lock().unwrap_or_else(PoisonError::into_inner).len();
        metrics::recent(held, CAPACITY.get());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_content_for_the_same_workspace_is_a_duplicate() {
        let recent = Recent::default();
        let id = helix_schemas::id::NaturalKey::new("p", "a", "agent").id();
        let (one, other) = (WorkspaceId::new("one").unwrap(), WorkspaceId::new("other").unwrap());
        let (content, changed) = (recent.digest("x"), recent.digest("y"));
        let placed = Placed::Log(crate::publish::Coordinates { topic: "t", partition: 1, offset: 2 });
        assert_eq!(recent.check(id, Some(&one), content), Verdict::New);
        recent.remember(id, Some(one.clone()), content, placed);
        assert_eq!(recent.check(id, Some(&one), content), Verdict::Duplicate(placed));
        assert_eq!(recent.check(id, Some(&one), changed), Verdict::Conflict);
        assert_eq!(recent.check(id, Some(&other), content), Verdict::New);
        assert_eq!(recent.check(id, None, content), Verdict::New);
    }

    #[test]
    fn a_second_summary_of_a_call_is_another_one_only_where_it_says_something_else() {
        let recent = Recent::default();
        let call = CallId::new("9062174000000001").unwrap();
        let (content, changed) = (recent.digest("x"), recent.digest("y"));
        assert!(!recent.is_another_summary(&call, content));
        assert!(!recent.is_another_summary(&call, content));
        assert!(recent.is_another_summary(&call, changed));
    }
}
