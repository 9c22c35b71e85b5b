//! `POST /api/auth/login`: an e-mail and a password for a token.
//!
//! Every attempt costs one Argon2id computation, known e-mail or not, so that time tells nothing about who has an account;
//! at most [`AT_ONCE`] run at a time, off the event loop, and at most [`QUEUE`] wait. Guessing is bounded per e-mail and per
//! address (the client's own, where a gateway of ours stands between): each has a bucket of attempts that empties slowly. An
//! attempt is booked before it is looked at and given back when it was right, so that many at once, or one that hangs up,
//! gain nothing.
//!
//! `POST /api/auth/renew`: a token of ours for a new one, for a page that stays open, until [`LONGEST_SESSION`] after the
//! sign-in. The person must still be configured, in the same role.
//!
//! Every attempt is written down (`audit`): a person gets the token only then; what is refused is answered without that wait,
//! for the same reason.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use axum::{
    Extension, Json,
    extract::{ConnectInfo, State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode},
};
use bytes::Bytes;
use chrono::Utc;
use helix_kit::{
    auth::{AuthError, Person, Signer},
    config::{UserConfig, network},
    http::{RequestId, source_address},
    problem::Problem,
};
use helix_schemas::names::AgentId;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{access::Viewer, audit::Failed, metrics, serve::App};

/// Computations at a time: each takes 19 MiB and a core.
const AT_ONCE: usize = 2;
/// Attempts that wait for a computation, about three seconds' worth; more are told to come back.
const QUEUE: usize = 64;
/// Failures an e-mail may have in a row, and in how long one is forgiven.
const PER_EMAIL: Bound = Bound { burst: 5, forgiven_in: Duration::from_secs(30) };
/// The same for an address, behind which may be a whole hospital that comes on duty.
const PER_ADDRESS: Bound = Bound { burst: 60, forgiven_in: Duration::from_secs(5) };
/// Bytes of the longest e-mail there is (RFC 5321).
const LONGEST_EMAIL: usize = 254;
/// Longer than any password that is meant as one.
const LONGEST_PASSWORD: usize = 1024;
/// Bytes of a body that is a sign-in.
pub(crate) const LONGEST_BODY: usize = 8 * 1024;
/// A page that is never left signs in again after this: a wall display once a week.
const LONGEST_SESSION: Duration = Duration::from_secs(7 * 24 * 3600);

/// Everything a sign-in needs.
pub(crate) struct Login {
    users: BTreeMap<String, UserConfig>,
    /// Verified where the e-mail is not known.
    nobody: String,
    signer: Signer,
    lifetime: Duration,
    emails: Attempts,
    addresses: Attempts,
    permits: Arc<Semaphore>,
    queue: Arc<Semaphore>,
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
            emails: Attempts::new(PER_EMAIL),
            addresses: Attempts::new(PER_ADDRESS),
            permits: Arc::new(Semaphore::new(AT_ONCE)),
            queue: Arc::new(Semaphore::new(QUEUE)),
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
    Extension(request): Extension<RequestId>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Session>, Problem> {
    let workspace = app.workspace().to_owned();
    let malformed = || {
        let detail = r#"send {"email": "…", "password": "…"}"#;
        Problem::new(StatusCode::BAD_REQUEST, "login_malformed", "The body is no sign-in", detail)
    };
    // By what it is, whatever its content type says, as the ingest reads.
    let said = body.ok().and_then(|body| serde_json::from_slice(&body).ok());
    let Credentials { email, password } = said.ok_or_else(malformed)?;
    let email = email.trim().to_lowercase();
    if email.len() > LONGEST_EMAIL || password.len() > LONGEST_PASSWORD {
        return Err(malformed());
    }
    let login = &app.login;
    let address = network_of(source_address(peer.ip(), &headers, &login.trusted_proxies));
    let user = login.users.get(&email);
    let attempt = login.attempt(&email, &address, Instant::now()).map_err(|wait| {
        metrics::login(&workspace, "held_off");
        app.audit.sign_in_failed(Failed::HeldOff, user, &request);
        held_off(wait, "wait, then try again; an administrator can reset the password")
    })?;
    let place = login.queue.clone().try_acquire_owned().map_err(|_| {
        metrics::login(&workspace, "busy");
        attempt.give_back();
        held_off(Duration::from_secs(2), "too many sign in at this moment; try again")
    })?;
    let hash = user.map_or_else(|| login.nobody.clone(), |user| user.password_hash.reveal().to_owned());
    let right = verify(login.permits.clone(), place, hash, password).await;
    let Some(user) = user.filter(|_| right) else {
        app.audit.sign_in_failed(Failed::Refused, user, &request);
        metrics::login(&workspace, "refused");
        let detail = "the e-mail or the password is not right";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "sign_in_refused", "Sign-in was refused", detail));
    };
    attempt.give_back();
    let now = Utc::now().timestamp();
    let token = login
        .signer
        .sign(&user.email, &workspace, user.role, user.agent.as_deref(), now, login.lifetime)
        .map_err(cannot_sign)?;
    app.audit.sign_in(user, &request).await?;
    metrics::login(&workspace, "signed_in");
    Ok(Json(Session {
        token,
        role: user.role,
        workspace,
        agent_id: user.agent.clone(),
        expires_in_seconds: login.lifetime.as_secs(),
    }))
}

/// Gives a token of ours anew. The page asks by itself; nobody did anything that would have to be written down.
pub(crate) async fn renew(State(app): State<App>, viewer: Viewer) -> Result<Json<Session>, Problem> {
    let login = &app.login;
    let now = Utc::now().timestamp();
    let began_at = viewer
        .signed_in_at
        .filter(|began| now.saturating_sub(*began) < i64::try_from(LONGEST_SESSION.as_secs()).unwrap_or(i64::MAX));
    let user = login
        .users
        .get(&viewer.subject.to_lowercase())
        .filter(|user| user.role == viewer.role && user.agent.as_deref() == viewer.agent.as_ref().map(AgentId::as_str));
    let (Some(user), Some(began_at)) = (user, began_at) else {
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "token_not_renewed",
            "The token cannot be renewed",
            "sign in again: it is not of a sign-in here, the sign-in was long ago, or the person or role has changed",
        ));
    };
    let signed = login.signer.sign_since(
        Person { sub: &user.email, workspace: app.workspace(), role: user.role, agent_id: user.agent.as_deref() },
        began_at,
        now,
        login.lifetime,
    );
    let token = signed.map_err(cannot_sign)?;
    metrics::login(app.workspace(), "renewed");
    Ok(Json(Session {
        token,
        role: user.role,
        workspace: app.workspace().to_owned(),
        agent_id: user.agent.clone(),
        expires_in_seconds: login.lifetime.as_secs(),
    }))
}

#[allow(clippy::needless_pass_by_value)] // As `map_err` gives it.
fn cannot_sign(error: AuthError) -> Problem {
    tracing::error!(%error, "a token could not be signed");
    Problem::component_down("the signing key")
}

fn held_off(wait: Duration, detail: &str) -> Problem {
    let seconds = u32::try_from(wait.as_secs() + 1).unwrap_or(u32::MAX);
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_sign_ins", "Too many sign-ins", detail).retry_after(seconds)
}

/// The address as far as one client has it: of IPv6 the first 64 bits, the rest of which anybody makes up.
fn network_of(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => address.to_string(),
            None => address.segments()[..4].iter().map(|part| format!("{part:x}:")).collect(),
        },
    }
}

/// Both permits go with the computation: it runs to its end, also where whoever asked has gone.
async fn verify(permits: Arc<Semaphore>, place: OwnedSemaphorePermit, hash: String, password: String) -> bool {
    let Ok(permit) = permits.acquire_owned().await else {
        return false;
    };
    let work = tokio::task::spawn_blocking(move || {
        let _held = (permit, place);
        let Ok(hash) = PasswordHash::new(&hash) else {
            return false;
        };
        Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
    });
    work.await.unwrap_or(false)
}

impl Login {
    /// Books an attempt; or tells how long to wait.
    fn attempt<'a>(&'a self, email: &'a str, address: &'a str, now: Instant) -> Result<Attempt<'a>, Duration> {
        self.emails.book(email, now)?;
        if let Err(wait) = self.addresses.book(address, now) {
            self.emails.give_back(email);
            return Err(wait);
        }
        Ok(Attempt { login: self, email, address })
    }
}

/// An attempt that is booked as if it failed.
struct Attempt<'a> {
    login: &'a Login,
    email: &'a str,
    address: &'a str,
}

impl Attempt<'_> {
    /// It was none, or right.
    fn give_back(&self) {
        self.login.emails.give_back(self.email);
        self.login.addresses.give_back(self.address);
    }
}

#[derive(Debug, Clone, Copy)]
struct Bound {
    burst: u32,
    forgiven_in: Duration,
}

/// Attempts by name. Each is a moment: the one up to which attempts are booked; it moves on with every attempt and is
/// passed by time. It never lies further ahead than a burst.
struct Attempts {
    bound: Bound,
    booked: Mutex<BTreeMap<String, Instant>>,
}

/// Names kept at most; those whose attempts are forgiven go first.
const NAMES_KEPT: usize = 10_000;

impl Attempts {
    fn new(bound: Bound) -> Self {
        Self { bound, booked: Mutex::default() }
    }

    /// Books one, or tells how long this name must wait.
    fn book(&self, name: &str, now: Instant) -> Result<(), Duration> {
        let mut booked = self.booked.lock().unwrap_or_else(PoisonError::into_inner);
        if booked.len() >= NAMES_KEPT {
            booked.retain(|_, until| *until > now);
        }
        if booked.len() >= NAMES_KEPT {
            // A flood of names: per-address bounds still hold.
            booked.clear();
        }
        let until = booked.entry(name.to_owned()).or_insert(now);
        let ahead = until.saturating_duration_since(now);
        let allowed = self.bound.forgiven_in * (self.bound.burst - 1);
        if ahead > allowed {
            return Err(ahead - allowed);
        }
        *until = (*until).max(now) + self.bound.forgiven_in;
        Ok(())
    }

    fn give_back(&self, name: &str) {
        let mut booked = self.booked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = booked.get_mut(name)
            && let Some(earlier) = until.checked_sub(self.bound.forgiven_in)
        {
            *until = earlier;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_attempts_is_held_off_and_forgiven_with_time() {
        let attempts = Attempts::new(PER_EMAIL);
        let start = Instant::now();
        for _ in 0..5 {
            assert_eq!(attempts.book("a@b", start), Ok(()));
        }
        for _ in 0..100 {
            assert_eq!(attempts.book("a@b", start), Err(Duration::from_secs(30)), "being held off costs nothing");
        }
        assert_eq!(attempts.book("c@d", start), Ok(()));
        assert_eq!(attempts.book("a@b", start + Duration::from_secs(31)), Ok(()));
    }

    #[test]
    fn who_gets_it_right_is_never_held_off() {
        let attempts = Attempts::new(PER_EMAIL);
        let start = Instant::now();
        for _ in 0..100 {
            assert_eq!(attempts.book("a@b", start), Ok(()));
            attempts.give_back("a@b");
        }
    }

    #[test]
    fn an_address_is_as_much_as_one_client_has_of_it() {
        let network = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), network("2001:db8:1:2:ffff::1"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!(network("::ffff:192.0.2.7"), network("192.0.2.7"));
    }
}
