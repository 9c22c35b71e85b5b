//! The public keys of the platform's issuer, fetched by URL and kept fresh.
//!
//! The set that was fetched last is trusted until the next one is there, through every failure, but no longer than [`HOLDS`]
//! after it should have been fetched again: whoever can keep us from the issuer must not keep a key alive that it took
//! back. Our own keys need none of this. A token that names a key nobody knows may be of one that the issuer made since: the set is then fetched at once,
//! at most every [`AT_MOST_EVERY`], once for all who wait. While the issuer cannot be asked, such a token is not called
//! invalid: nobody knows.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use helix_kit::{auth::Verifier, config::PlatformConfig, http::Readiness};
use reqwest::redirect::Policy;
use tokio::{sync::Mutex, time::sleep};

use crate::metrics;

/// Strangers may name keys as they like.
const AT_MOST_EVERY: Duration = Duration::from_secs(30);
/// After a failure.
const AGAIN_AFTER: Duration = Duration::from_secs(15);
/// Longer than a token lives and than an issuer is away.
const HOLDS: Duration = Duration::from_secs(24 * 3600);
const CONNECTED_WITHIN: Duration = Duration::from_secs(2);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Larger is no key set.
const MOST_BYTES: usize = 256 * 1024;
/// In `/readyz`, where no set was ever fetched, or the last one is too old.
const NONE_TRUSTED: &str = "none of its keys is trusted";
/// The name of it in `/readyz`.
const PART: &str = "platform keys";

/// Why no keys can be asked for.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// Whoever is on the way could put a key of their own in the place of the issuer's, and be anybody.
    #[error("auth.platform.url must be https, unless it is on this machine (127.0.0.1, ::1 or localhost)")]
    InTheClear,
    /// The client cannot be made.
    #[error("auth.platform.url cannot be asked")]
    Client(#[from] reqwest::Error),
}

/// Whether what is read there is what the issuer wrote: over TLS, or without leaving this machine.
fn is_trustworthy(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else { return false };
    let host = url.host_str().unwrap_or_default();
    match url.scheme() {
        "https" => true,
        "http" => {
            let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
            host == "localhost" || address.is_ok_and(|address| address.is_loopback())
        }
        _ => false,
    }
}

/// Why a set was not taken.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("it cannot be reached: {0}")]
    Unreachable(reqwest::Error),
    #[error("it answered {0}")]
    Refused(u16),
    #[error("its answer is larger than {MOST_BYTES} bytes")]
    TooLarge,
    #[error("its answer is no key set: {0}")]
    KeySet(String),
}

impl From<reqwest::Error> for FetchError {
    fn from(error: reqwest::Error) -> Self {
        Self::Unreachable(error.without_url())
    }
}

/// When the issuer was asked, and what came of it.
#[derive(Debug, Default)]
struct Asked {
    /// When the last answer came, or failed to.
    ended: Option<Instant>,
    /// When the set that is trusted came.
    trusted_at: Option<Instant>,
    /// When it was last asked because of a token.
    for_a_token: Option<Instant>,
    failed: bool,
}

/// Keeps the platform's keys.
#[derive(Debug)]
pub(crate) struct PlatformKeys {
    workspace: String,
    url: String,
    refresh: Duration,
    /// For how long after that the last set is trusted.
    holds: Duration,
    verifier: Arc<Verifier>,
    http: reqwest::Client,
    readiness: Readiness,
    /// Locked while it is asked: one request at a time.
    asked: Mutex<Asked>,
}

impl PlatformKeys {
    /// `None` where the configuration names no URL.
    pub(crate) fn new(
        config: &PlatformConfig,
        workspace: &str,
        verifier: Arc<Verifier>,
        readiness: Readiness,
    ) -> Result<Option<Arc<Self>>, PlatformError> {
        if config.url.is_empty() {
            return Ok(None);
        }
        if !is_trustworthy(&config.url) {
            return Err(PlatformError::InTheClear);
        }
        // Keys are where the configuration says, and nowhere that an answer points to.
        let http = reqwest::Client::builder().redirect(Policy::none());
        let http = http.connect_timeout(CONNECTED_WITHIN).timeout(ANSWER_WITHIN).build()?;
        Ok(Some(Arc::new(Self {
            workspace: workspace.to_owned(),
            url: config.url.clone(),
            refresh: config.refresh,
            holds: HOLDS,
            verifier,
            http,
            readiness,
            asked: Mutex::default(),
        })))
    }

    /// Fetches the set now and again, for as long as it is polled.
    pub(crate) async fn keep(&self) {
        loop {
            let fetched = self.fetch(&mut *self.asked.lock().await).await;
            sleep(if fetched { self.refresh } else { AGAIN_AFTER.min(self.refresh) }).await;
        }
    }

    /// A token that came at `asked_at` names a key that was not known then. Whether the set at hand is what the issuer says
    /// now, or said just now.
    pub(crate) async fn look_again(self: &Arc<Self>, asked_at: Instant) -> bool {
        let keys = self.clone();
        // A task of its own: a client that hangs up must not end what others wait for.
        let looked = tokio::spawn(async move {
            let mut asked = keys.asked.lock().await;
            let is_new = asked.ended.is_some_and(|ended| ended >= asked_at);
            let is_soon = asked.for_a_token.is_some_and(|at| at.elapsed() < AT_MOST_EVERY);
            if !is_new && !is_soon {
                asked.for_a_token = Some(Instant::now());
                keys.fetch(&mut asked).await;
            }
            !asked.failed
        });
        looked.await.unwrap_or(false)
    }

    /// Asks the issuer; whether its keys are trusted now.
    async fn fetch(&self, asked: &mut Asked) -> bool {
        let fetched = self.try_fetch().await;
        asked.ended = Some(Instant::now());
        asked.failed = fetched.is_err();
        metrics::platform_keys(&self.workspace, fetched.is_ok());
        match &fetched {
            Ok(count) => {
                tracing::debug!(workspace = self.workspace, count, "the platform's keys were fetched");
                asked.trusted_at = asked.ended;
                self.readiness.ready(PART);
            }
            Err(error) => {
                tracing::warn!(workspace = self.workspace, %error, "the platform's keys could not be fetched");
                let trusted = self.still_trusted(asked);
                self.readiness.degraded(PART, format!("the platform's key set: {error}; {trusted}"));
            }
        }
        fetched.is_ok()
    }

    /// What is trusted after a failure, in words.
    fn still_trusted(&self, asked: &mut Asked) -> &'static str {
        match asked.trusted_at {
            Some(at) if at.elapsed() < self.refresh + self.holds => "the last one holds",
            Some(_) => {
                tracing::error!(workspace = self.workspace, "the platform's keys are too old to be trusted");
                asked.trusted_at = None;
                self.verifier.distrust_platform();
                NONE_TRUSTED
            }
            None => NONE_TRUSTED,
        }
    }

    async fn try_fetch(&self) -> Result<usize, FetchError> {
        let mut response = self.http.get(&self.url).send().await?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(FetchError::Refused(response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await? {
            if body.len() + piece.len() > MOST_BYTES {
                return Err(FetchError::TooLarge);
            }
            body.extend_from_slice(&piece);
        }
        let text = String::from_utf8(body).map_err(|_| FetchError::KeySet("it is not UTF-8".to_owned()))?;
        self.verifier.trust_platform(&text).map_err(FetchError::KeySet)
    }
}

#[cfg(test)]
mod tests {
    use helix_kit::auth::AuthError;
    use serde_json::json;

    use super::*;

    /// Nobody listens there.
    const NOBODY: &str = "http://127.0.0.1:9/keys";

    fn keys(holds: Duration) -> PlatformKeys {
        let verifier = Arc::new(Verifier::from_json("helix", r#"{"keys": []}"#).unwrap());
        let point = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let key = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "p1", "x": point });
        verifier.trust_platform(&json!({ "keys": [key] }).to_string()).unwrap();
        let config = PlatformConfig {
            url: NOBODY.to_owned(),
            issuer: String::new(),
            audience: String::new(),
            refresh: Duration::ZERO,
        };
        let keys = PlatformKeys::new(&config, "ramaiah", verifier, Readiness::default()).unwrap().unwrap();
        PlatformKeys { holds, ..Arc::into_inner(keys).unwrap() }
    }

    /// What becomes of a token that names the key; nobody has signed it.
    async fn refused_after_a_failure(holds: Duration) -> AuthError {
        let keys = keys(holds);
        let mut asked = Asked { trusted_at: Some(Instant::now()), ..Asked::default() };
        assert!(!keys.fetch(&mut asked).await, "somebody listens on {NOBODY}");
        let head = "eyJhbGciOiJFZERTQSIsImtpZCI6InAxIn0";
        keys.verifier.verify(&format!("{head}.e30.AAAA")).unwrap_err()
    }

    #[test]
    fn keys_are_asked_for_over_tls_or_on_this_machine_alone() {
        for url in
            ["https://issuer.example/keys", "http://127.0.0.1:9/keys", "http://[::1]:9/keys", "http://localhost/keys"]
        {
            assert!(is_trustworthy(url), "{url}");
        }
        for url in [
            "http://issuer.example/keys",
            "http://10.0.0.5/keys",
            "http://localhost.issuer.example/keys",
            "http://127.0.0.1@issuer.example/keys",
            "ftp://127.0.0.1/keys",
            "https://",
            "keys",
        ] {
            assert!(!is_trustworthy(url), "{url}");
        }
    }

    #[tokio::test]
    async fn the_last_set_holds_through_failures_until_it_is_too_old() {
        let soon = refused_after_a_failure(Duration::from_secs(3600)).await;
        assert!(matches!(soon, AuthError::Token(_)), "the key is trusted, the signature is not: {soon}");
        let late = refused_after_a_failure(Duration::ZERO).await;
        assert!(matches!(late, AuthError::UnknownKey), "{late}");
    }
}
