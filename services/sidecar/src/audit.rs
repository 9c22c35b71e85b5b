//! Leaves a fact for every action of a person, every answer that shows callers' numbers and every sign-in
//! (`helix_schemas::decision::Auditing`).
//!
//! A page asks for the same list every few seconds: looks of one person at the same list within [`SAME_LOOK`] are one fact,
//! the first of them. Another page of a list, or another filter, is another list.
//!
//! What is written down is on this machine's disk before the answer is given (`journal`), so that a log that is away keeps
//! nobody from working, and a process that is killed loses nothing. What cannot be written down is refused.
//!
//! Sign-ins that are refused or held off are answered without that wait: whether an e-mail is known must not show in how
//! long an answer takes. The first of a burst is written down at once; those that follow it within [`BURST`] become one fact
//! more, with their count, when the burst is over. Whoever is not known is [`UNKNOWN`]: people type passwords there.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use helix_kit::{config::UserConfig, http::RequestId, problem::Problem};
use helix_schemas::{
    decision::Auditing,
    fact::{Fact, Source},
    names::{CallId, WorkspaceId},
    time::ReceivedAt,
};
use uuid::Uuid;

use crate::{access::Viewer, journal::Journal};

/// Looks at the same list within this time are one.
const SAME_LOOK: Duration = Duration::from_secs(60);
/// Most looks that are remembered; beyond it the same look may be written down again.
const REMEMBERED: usize = 10_000;
/// Sign-ins of one person that fail within this time are a burst.
const BURST: Duration = Duration::from_secs(60);
/// How often bursts that are over are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// Who tried to sign in, and in which role, where the e-mail is nobody's.
const UNKNOWN: &str = "unknown";

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

/// How a sign-in failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Failed {
    /// The e-mail or the password is not right.
    Refused,
    /// Too many failed before it.
    HeldOff,
}

impl Failed {
    const fn action(self) -> &'static str {
        match self {
            Self::Refused => "sign_in.refused",
            Self::HeldOff => "sign_in.held_off",
        }
    }
}

/// When somebody last looked at a list. Locked while a look is being written down: who asks at the same time waits for it.
type LastLook = tokio::sync::Mutex<Option<Instant>>;

/// Sign-ins that failed one after the other: a minute of them.
#[derive(Debug)]
struct Burst {
    began: Instant,
    /// Those that are not written down yet.
    more: usize,
    role: &'static str,
    request: RequestId,
}

/// Who did something, in which role, by which request.
#[derive(Clone, Copy)]
struct Who<'a> {
    by: &'a str,
    role: &'static str,
    request: &'a RequestId,
}

/// Writes down.
#[derive(Debug)]
pub(crate) struct Audit {
    workspace: WorkspaceId,
    journal: Arc<Journal>,
    seen: Mutex<BTreeMap<(String, String), Arc<LastLook>>>,
    /// By whose they are. Bounded: the configuration says whom there is.
    bursts: Mutex<BTreeMap<(String, Failed), Burst>>,
}

impl Audit {
    pub(crate) fn new(workspace: WorkspaceId, journal: Arc<Journal>) -> Self {
        Self { workspace, journal, seen: Mutex::default(), bursts: Mutex::default() }
    }

    /// An answer is about to show callers' numbers; `list` tells one list from another.
    ///
    /// # Errors
    /// Where it could not be written down: the answer must not be given.
    pub(crate) async fn look(
        &self,
        viewer: &Viewer,
        request: &RequestId,
        list: &str,
        deed: Deed,
    ) -> Result<(), Problem> {
        if !viewer.role.sees_callers() || deed.count == 0 {
            return Ok(());
        }
        let last_look = self.last_look(&viewer.subject, list);
        let mut last = last_look.lock().await;
        let now = Instant::now();
        if last.is_some_and(|at| now.saturating_duration_since(at) < SAME_LOOK) {
            return Ok(());
        }
        self.act(viewer, request, deed).await?;
        *last = Some(now);
        Ok(())
    }

    fn last_look(&self, subject: &str, list: &str) -> Arc<LastLook> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= REMEMBERED {
            let now = Instant::now();
            seen.retain(|_, last| match last.try_lock() {
                Ok(last) => last.is_some_and(|at| now.saturating_duration_since(at) < SAME_LOOK),
                Err(_being_written) => true,
            });
        }
        if seen.len() >= REMEMBERED {
            seen.clear();
        }
        seen.entry((subject.to_owned(), list.to_owned())).or_default().clone()
    }

    /// A person did something.
    ///
    /// # Errors
    /// As [`Self::look`].
    pub(crate) async fn act(&self, viewer: &Viewer, request: &RequestId, deed: Deed) -> Result<(), Problem> {
        self.write(Who { by: &viewer.subject, role: viewer.role.as_str(), request }, deed).await
    }

    /// A person is about to be signed in.
    ///
    /// # Errors
    /// As [`Self::look`].
    pub(crate) async fn sign_in(&self, user: &UserConfig, request: &RequestId) -> Result<(), Problem> {
        let deed = Deed { action: "sign_in", about: None, count: 1 };
        self.write(Who { by: &user.email, role: user.role.as_str(), request }, deed).await
    }

    /// A sign-in failed; `user`: whose it would have been, where the e-mail is known.
    pub(crate) fn sign_in_failed(&self, how: Failed, user: Option<&UserConfig>, request: &RequestId) {
        self.failed_at(Instant::now(), how, user, request);
    }

    fn failed_at(&self, now: Instant, how: Failed, user: Option<&UserConfig>, request: &RequestId) {
        let (by, role) = user.map_or((UNKNOWN, UNKNOWN), |user| (user.email.as_str(), user.role.as_str()));
        let mut bursts = self.bursts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(burst) = bursts.get_mut(&(by.to_owned(), how)) {
            burst.more += 1;
            return;
        }
        let written = self.detached(Who { by, role, request }, how, 1);
        // What could not be written down now is counted with those that follow.
        let burst = Burst { began: now, more: usize::from(!written), role, request: request.clone() };
        bursts.insert((by.to_owned(), how), burst);
    }

    /// Ends bursts as they get over, for as long as it is polled.
    pub(crate) async fn count_bursts(&self) {
        let mut ticks = tokio::time::interval(LOOK);
        loop {
            ticks.tick().await;
            self.end_bursts(Instant::now(), BURST);
        }
    }

    /// Writes down what is left of bursts, for an orderly end.
    pub(crate) fn end_all_bursts(&self) {
        self.end_bursts(Instant::now(), Duration::ZERO);
    }

    /// Ends the bursts that are as old.
    fn end_bursts(&self, now: Instant, age: Duration) {
        let mut bursts = self.bursts.lock().unwrap_or_else(PoisonError::into_inner);
        bursts.retain(|(by, how), burst| {
            let is_over = now.saturating_duration_since(burst.began) >= age;
            let who = Who { by, role: burst.role, request: &burst.request };
            // One that cannot be written down now is tried again.
            !is_over || (burst.more > 0 && !self.detached(who, *how, burst.more))
        });
    }

    /// Hands over without waiting for the disk.
    fn detached(&self, who: Who<'_>, how: Failed, count: usize) -> bool {
        let deed = Deed { action: how.action(), about: None, count };
        match self.journal.hand_over(&self.fact(who, deed)) {
            Ok(handed) => {
                // A fault of the disk is told where it is noticed; nobody waits for it here.
                tokio::spawn(handed.kept());
                true
            }
            Err(_told) => false,
        }
    }

    async fn write(&self, who: Who<'_>, deed: Deed) -> Result<(), Problem> {
        Ok(self.journal.hand_over(&self.fact(who, deed))?.kept().await?)
    }

    fn fact(&self, who: Who<'_>, deed: Deed) -> Fact {
        Auditing {
            workspace: self.workspace.clone(),
            by: who.by.to_owned(),
            role: who.role,
            action: deed.action,
            about: deed.about,
            count: deed.count,
            received_at: ReceivedAt::now(),
            request: Uuid::new_v4().to_string(),
            source: Source {
                endpoint: "sidecar".to_owned(),
                account: String::new(),
                request_id: who.request.0.to_string(),
            },
        }
        .into_fact()
    }
}

#[cfg(test)]
mod tests {
    use helix_kit::{auth::Role, secret::Secret};
    use helix_schemas::{
        decision::attribute,
        fact::{Body, Decided},
    };

    use super::*;

    fn decided(fact: &Fact) -> &Decided {
        match &fact.body {
            Body::Decided(decided) => decided,
            Body::AgentStateChanged(_)
            | Body::CallRang(_)
            | Body::CallAnswered(_)
            | Body::CallEnded(_)
            | Body::CallSummarised(_)
            | Body::DirectoryChanged(_)
            | Body::Unknown(_) => panic!("no decision"),
        }
    }

    /// Who, and how many, in the order in which it was written down.
    async fn kept(journal: &Journal) -> Vec<(String, String)> {
        let facts = journal.kept().await;
        let of = |fact: &Fact, name: &str| decided(fact).attributes[name].clone();
        facts.iter().map(|fact| (of(fact, attribute::BY), of(fact, attribute::COUNT))).collect()
    }

    #[tokio::test]
    async fn failed_sign_ins_of_a_minute_are_the_first_one_and_a_count_of_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = WorkspaceId::new("ramaiah").unwrap();
        let journal = Arc::new(Journal::open(workspace.clone(), folder.path()).unwrap());
        let audit = Audit::new(workspace, journal.clone());
        let user = |email: &str| UserConfig {
            email: email.to_owned(),
            password_hash: Secret::new("x"),
            role: Role::Admin,
            agent: None,
        };
        let (asha, ravi, request) = (user("asha"), user("ravi"), RequestId("r".into()));
        let began = Instant::now();
        let after = |seconds| began + Duration::from_secs(seconds);
        let fail = |seconds, user| audit.failed_at(after(seconds), Failed::Refused, user, &request);
        fail(0, Some(&asha));
        fail(1, None);
        fail(20, Some(&asha));
        fail(30, Some(&ravi));
        fail(59, Some(&asha));
        audit.end_bursts(after(59), BURST);
        let told =
            |rows: &[(&str, &str)]| rows.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>();
        let first = [("asha", "1"), ("unknown", "1"), ("ravi", "1")];
        assert_eq!(kept(&journal).await, told(&first), "no burst is over");
        audit.end_bursts(after(60), BURST);
        assert_eq!(kept(&journal).await, told(&[first.as_slice(), &[("asha", "2")]].concat()));
        // A burst that is over is forgotten: the next one begins anew.
        fail(61, Some(&asha));
        fail(62, None);
        audit.end_all_bursts();
        let rest = [("asha", "2"), ("asha", "1"), ("unknown", "1")];
        assert_eq!(kept(&journal).await, told(&[first.as_slice(), &rest].concat()));
        assert!(audit.bursts.lock().unwrap().is_empty());
    }
}
