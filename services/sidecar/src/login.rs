//! `POST /api/auth/login`: an e-mail and a password for a token.
//!
//! Every attempt costs one Argon2id computation, known e-mail or not, so that time tells nothing about who has an account;
//! at most [`AT_ONCE`] run at a time, off the event loop. Guessing is bounded per e-mail and per address (the client's own, where
//! a gateway of ours stands between): each has a bucket of failures that empties slowly.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use axum::{
    Json,
    extract::{ConnectInfo, State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode},
};
use chrono::Utc;
use helix_kit::{
    auth::Signer,
    config::{UserConfig, network},
    http::source_address,
    problem::Problem,
};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::{metrics, serve::App};

/// Computations at a time: each takes 19 MiB and a core.
const AT_ONCE: usize = 2;
/// Failures an e-mail may have in a row, and in how long one is forgiven.
const PER_EMAIL: Bound = Bound { burst: 5, forgiven_in: Duration::from_secs(30) };
/// The same for an address, behind which may be a whole hospital.
const PER_ADDRESS: Bound = Bound { burst: 30, forgiven_in: Duration::from_secs(5) };
/// Longer than any password that is meant as one.
const LONGEST: usize = 1024;

/// Everything a sign-in needs.
pub(crate) struct Login {
    users: BTreeMap<String, UserConfig>,
    /// Verified where the e-mail is not known.
    nobody: String,
    signer: Signer,
    lifetime: Duration,
    emails: Failures,
    addresses: Failures,
    permits: Semaphore,
    trusted_proxies: Vec<IpNet>,
}

/// Why sign-in cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// A configured hash is none.
    #[error("user {index} of the workspace has a password_hash that is no Argon2id hash in PHC form")]
    Hash {
        /// Which, counted from 1; the e-mail is not told.
        index: usize,
    },
    /// The system has no randomness, or no memory for a hash.
    #[error("no password hash can be computed: {0}")]
    Hasher(String),
}

impl Login {
    /// `trusted_proxies` are our own gateways, whose word on where a request comes from is believed.
    pub(crate) fn new(
        users: &[UserConfig],
        signer: Signer,
        lifetime: Duration,
        trusted_proxies: &[String],
    ) -> Result<Self, LoginError> {
        let mut by_email = BTreeMap::new();
        for (index, user) in users.iter().enumerate() {
            let parsed = PasswordHash::new(user.password_hash.reveal());
            if parsed.map(|hash| hash.algorithm.as_str() != "argon2id").unwrap_or(true) {
                return Err(LoginError::Hash { index: index + 1 });
            }
            by_email.insert(user.email.to_lowercase(), user.clone());
        }
        let nobody = Argon2::default()
            .hash_password(b"nobody signs in with this")
            .map_err(|error| LoginError::Hasher(error.to_string()))?
            .to_string();
        Ok(Self {
            users: by_email,
            nobody,
            signer,
            lifetime,
            emails: Failures::new(PER_EMAIL),
            addresses: Failures::new(PER_ADDRESS),
            permits: Semaphore::new(AT_ONCE),
            // The configuration was checked: each is a network.
            trusted_proxies: trusted_proxies.iter().filter_map(|text| network(text)).collect(),
        })
    }
}

#[derive(Deserialize)]
pub(crate) struct Credentials {
    email: String,
    password: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Session {
    token: String,
    role: helix_kit::auth::Role,
    workspace: String,
    agent_id: Option<String>,
    expires_in_seconds: u64,
}

pub(crate) async fn login(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Result<Json<Credentials>, JsonRejection>,
) -> Result<Json<Session>, Problem> {
    let workspace = app.workspace().to_owned();
    let malformed = |_| {
        let detail = r#"send {"email": "…", "password": "…"} as application/json"#;
        Problem::new(StatusCode::BAD_REQUEST, "login_malformed", "The body is no sign-in", detail)
    };
    let Json(Credentials { email, password }) = body.map_err(malformed)?;
    let email = email.trim().to_lowercase();
    let login = &app.login;
    let address = source_address(peer.ip(), &headers, &login.trusted_proxies).to_string();
    let now = Instant::now();
    let wait = login.emails.wait(&email, now).max(login.addresses.wait(&address, now));
    if let Some(wait) = wait {
        metrics::login(&workspace, "held_off");
        let seconds = u32::try_from(wait.as_secs() + 1).unwrap_or(u32::MAX);
        let detail = "wait, then try again; an administrator can reset the password";
        return Err(Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_sign_ins",
            "Too many sign-ins failed",
            detail,
        )
        .retry_after(seconds));
    }
    let user = login.users.get(&email);
    let hash = user.map_or_else(|| login.nobody.clone(), |user| user.password_hash.reveal().to_owned());
    let right = verify(&login.permits, hash, password).await;
    let Some(user) = user.filter(|_| right) else {
        login.emails.failed(&email, now);
        login.addresses.failed(&address, now);
        metrics::login(&workspace, "refused");
        let detail = "the e-mail or the password is not right";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "sign_in_refused", "Sign-in was refused", detail));
    };
    let now = Utc::now().timestamp();
    let token = login
        .signer
        .sign(&user.email, &workspace, user.role, user.agent.as_deref(), now, login.lifetime)
        .map_err(|error| {
            tracing::error!(%error, "a token could not be signed");
            Problem::component_down("the signing key")
        })?;
    metrics::login(&workspace, "signed_in");
    Ok(Json(Session {
        token,
        role: user.role,
        workspace,
        agent_id: user.agent.clone(),
        expires_in_seconds: login.lifetime.as_secs(),
    }))
}

async fn verify(permits: &Semaphore, hash: String, password: String) -> bool {
    let Ok(_permit) = permits.acquire().await else {
        return false;
    };
    let password = Arc::new(password);
    let work = tokio::task::spawn_blocking(move || {
        let Ok(hash) = PasswordHash::new(&hash) else {
            return false;
        };
        password.len() <= LONGEST && Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
    });
    work.await.unwrap_or(false)
}

#[derive(Debug, Clone, Copy)]
struct Bound {
    burst: u32,
    forgiven_in: Duration,
}

/// Failures by name. Each is a moment: the one up to which failures are booked; it moves on with every failure and is
/// passed by time.
struct Failures {
    bound: Bound,
    booked: Mutex<BTreeMap<String, Instant>>,
}

/// Names kept at most; those whose failures are forgiven go first.
const NAMES_KEPT: usize = 10_000;

impl Failures {
    fn new(bound: Bound) -> Self {
        Self { bound, booked: Mutex::default() }
    }

    /// How long this name must wait, if it must.
    fn wait(&self, name: &str, now: Instant) -> Option<Duration> {
        let booked = self.booked.lock().unwrap_or_else(PoisonError::into_inner);
        let ahead = booked.get(name)?.saturating_duration_since(now);
        let allowed = self.bound.forgiven_in * (self.bound.burst - 1);
        (ahead > allowed).then(|| ahead - allowed)
    }

    fn failed(&self, name: &str, now: Instant) {
        let mut booked = self.booked.lock().unwrap_or_else(PoisonError::into_inner);
        if booked.len() >= NAMES_KEPT {
            booked.retain(|_, until| *until > now);
        }
        if booked.len() >= NAMES_KEPT {
            // A flood of names: per-address bounds still hold.
            booked.clear();
        }
        let until = booked.entry(name.to_owned()).or_insert(now);
        *until = (*until).max(now) + self.bound.forgiven_in;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_failures_is_held_off_and_forgiven_with_time() {
        let failures = Failures::new(PER_EMAIL);
        let start = Instant::now();
        for _ in 0..5 {
            assert_eq!(failures.wait("a@b", start), None);
            failures.failed("a@b", start);
        }
        assert_eq!(failures.wait("a@b", start), Some(Duration::from_secs(30)));
        assert_eq!(failures.wait("c@d", start), None);
        assert_eq!(failures.wait("a@b", start + Duration::from_secs(31)), None);
    }
}
