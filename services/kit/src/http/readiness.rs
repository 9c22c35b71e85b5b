//! What `/readyz` says: whether work may come, and what is amiss, part by part.
//!
//! Each part speaks for itself, by a short name; a part of which nothing is said is ready. It decides nothing: whether a
//! spool that fills is a matter of degree or the end is its owner's word.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use metrics::gauge;
use serde_json::{Value, json};

/// 1 for a part that is not ready, as `/readyz` says.
const NOT_READY: &str = "helix_not_ready";

/// 1 for a part that is degraded, as `/readyz` says.
const DEGRADED: &str = "helix_degraded";

/// Whether this process may be sent work, and if not, why. Shared by whoever knows.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    said: Arc<RwLock<Said>>,
    draining: Arc<AtomicBool>,
}

/// What each part last said.
#[derive(Debug, Default)]
struct Said {
    parts: BTreeMap<String, State>,
    details: BTreeMap<String, Value>,
}

#[derive(Debug)]
enum State {
    Ready,
    Degraded(String),
    NotReady(String),
}

impl State {
    fn why_degraded(&self) -> Option<&str> {
        match self {
            Self::Degraded(why) => Some(why),
            Self::Ready | Self::NotReady(_) => None,
        }
    }

    fn why_not_ready(&self) -> Option<&str> {
        match self {
            Self::NotReady(why) => Some(why),
            Self::Ready | Self::Degraded(_) => None,
        }
    }
}

impl Readiness {
    /// Says that `part` is not ready, and why: no work may come.
    pub fn not_ready(&self, part: &str, why: impl Into<String>) {
        self.say(part, State::NotReady(why.into()));
    }

    /// Says that `part` does its work, but not as it should, and why: work may come, a person should look.
    pub fn degraded(&self, part: &str, why: impl Into<String>) {
        self.say(part, State::Degraded(why.into()));
    }

    /// Says that `part` is ready.
    pub fn ready(&self, part: &str) {
        self.say(part, State::Ready);
    }

    /// What an operator may want to know of `part` besides, whatever its state; takes the place of what was said before.
    pub fn detail(&self, part: &str, value: Value) {
        self.write().details.insert(part.to_owned(), value);
    }

    /// From now on: not ready, going away.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    fn say(&self, part: &str, state: State) {
        self.write().parts.insert(part.to_owned(), state);
    }

    fn write(&self) -> RwLockWriteGuard<'_, Said> {
        self.said.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, Said> {
        self.said.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings the metrics up to date. Done where they are read: parts may speak before there is a recorder.
    pub(super) fn measure(&self) {
        for (part, state) in &self.read().parts {
            let (not_ready, degraded) = (state.why_not_ready().is_some(), state.why_degraded().is_some());
            gauge!(NOT_READY, "part" => part.clone()).set(f64::from(u8::from(not_ready)));
            gauge!(DEGRADED, "part" => part.clone()).set(f64::from(u8::from(degraded)));
        }
    }

    pub(super) fn answer(&self) -> Response {
        let draining = self.draining.load(Ordering::Relaxed);
        let said = self.read();
        let whys = |why: fn(&State) -> Option<&str>| -> BTreeMap<&str, &str> {
            said.parts.iter().filter_map(|(part, state)| Some((part.as_str(), why(state)?))).collect()
        };
        let not_ready = whys(State::why_not_ready);
        let ready = not_ready.is_empty() && !draining;
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let body = json!({
            "ready": ready,
            "draining": draining,
            "notReady": not_ready,
            "degraded": whys(State::why_degraded),
            "details": said.details,
        });
        (status, Json(body)).into_response()
    }
}
