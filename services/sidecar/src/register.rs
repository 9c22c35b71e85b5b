//! Makes the workspace known to the ingest, keeps saying that it lives, and notices when the ingest does not.
//!
//! Membership (agents, DIDs) is durable at the ingest; liveness is not: a heartbeat every 30 s. A 404 means that the
//! ingest does not know us (any more): register again.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use helix_kit::{http::Readiness, secret::Secret};
use serde::Serialize;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::freshness::{Freshness, LOOK};

const HEARTBEAT: Duration = Duration::from_secs(30);
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(15);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Who registers what, where.
pub(crate) struct Registration {
    pub(crate) ingest_url: String,
    pub(crate) key: Secret,
    pub(crate) body: RegistrationBody,
}

/// As in the contract.
#[derive(Serialize)]
pub(crate) struct RegistrationBody {
    pub(crate) workspace: String,
    pub(crate) url: String,
    pub(crate) agents: Vec<String>,
    pub(crate) dids: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
enum RegisterError {
    #[error("the ingest cannot be reached: {0}")]
    Unreachable(#[from] reqwest::Error),
    #[error("the ingest answered {0}")]
    Refused(u16),
    #[error("the ingest does not know this workspace yet")]
    Unknown,
}

impl Registration {
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.ingest_url.trim_end_matches('/'))
    }

    async fn post<B: Serialize + Sync>(
        &self,
        http: &reqwest::Client,
        path: &str,
        body: &B,
    ) -> Result<(), RegisterError> {
        let request = http.post(self.url(path)).header("x-helix-key", self.key.reveal()).json(body);
        let status = request.timeout(ANSWER_WITHIN).send().await?.status();
        match status.as_u16() {
            200..=299 => Ok(()),
            404 => Err(RegisterError::Unknown),
            other => Err(RegisterError::Refused(other)),
        }
    }

    /// Registers and goes on saying that we live, for as long as it is polled.
    pub(crate) async fn keep(&self, http: &reqwest::Client, readiness: &Readiness) {
        let workspace = &self.body.workspace;
        let mut wait = FIRST_RETRY;
        loop {
            match self.post(http, "/api/supervisor/register", &self.body).await {
                Ok(()) => {
                    readiness.ready("directory");
                    tracing::info!(workspace, "registered with the ingest");
                    if self.live(http).await {
                        wait = FIRST_RETRY;
                    }
                }
                Err(error @ RegisterError::Refused(_)) => {
                    // 409: an agent or DID is another hospital's. A person must decide; we keep asking, slowly.
                    tracing::error!(workspace, %error, "the workspace could not be registered");
                    wait = LAST_RETRY;
                }
                Err(error @ (RegisterError::Unreachable(_) | RegisterError::Unknown)) => {
                    tracing::warn!(workspace, %error, "the workspace is not registered yet; trying again");
                }
            }
            sleep(wait).await;
            wait = (wait * 2).min(LAST_RETRY);
        }
    }

    /// Says that we live, at once and every [`HEARTBEAT`], until the ingest does not know us; tells whether it ever did.
    async fn live(&self, http: &reqwest::Client) -> bool {
        let workspace = &self.body.workspace;
        let heartbeat = serde_json::json!({ "workspace": workspace });
        let mut was_known = false;
        loop {
            match self.post(http, "/api/supervisor/heartbeat", &heartbeat).await {
                Ok(()) => was_known = true,
                Err(RegisterError::Unknown) => return was_known,
                Err(error @ (RegisterError::Unreachable(_) | RegisterError::Refused(_))) => {
                    tracing::warn!(workspace, %error, "the ingest did not take the heartbeat");
                }
            }
            sleep(HEARTBEAT).await;
        }
    }

    /// Asks the ingest once a second whether it is ready and what it takes goes to the log, for as long as it is polled.
    pub(crate) async fn watch(&self, http: &reqwest::Client, freshness: &Arc<Mutex<Freshness>>) {
        let url = self.url("/readyz");
        loop {
            if matches!(timeout(LOOK, flows(http, &url)).await, Ok(Ok(true))) {
                freshness.lock().unwrap_or_else(PoisonError::into_inner).ingest_answered(Instant::now());
            }
            sleep(LOOK).await;
        }
    }
}

/// Whether what the ingest takes goes to the log. One that keeps events on its own disk for a log that is away says so, and is
/// ready all the same.
async fn flows(http: &reqwest::Client, url: &str) -> Result<bool, reqwest::Error> {
    let response = http.get(url).send().await?;
    if !response.status().is_success() {
        return Ok(false);
    }
    let said: Value = response.json().await?;
    Ok(said["degraded"].get("log").is_none() && said["details"]["spool"]["inUse"] != Value::Bool(true))
}

#[cfg(test)]
mod tests {
    use axum::{Router, http::StatusCode, routing::post};
    use tokio::{net::TcpListener, sync::mpsc};

    use super::*;

    /// An ingest that tells what it is asked; it knows those who registered as often as it says.
    async fn ingest(known_after: usize) -> (String, mpsc::UnboundedReceiver<&'static str>) {
        let (told, asked) = mpsc::unbounded_channel();
        let (registers, beats) = (told.clone(), told);
        let registered = Arc::new(Mutex::new(0));
        let count = registered.clone();
        let register = move || async move {
            registers.send("register").unwrap();
            *count.lock().unwrap() += 1;
        };
        let beat = move || async move {
            beats.send("heartbeat").unwrap();
            if *registered.lock().unwrap() < known_after { StatusCode::NOT_FOUND } else { StatusCode::OK }
        };
        let router = Router::new()
            .route("/api/supervisor/register", post(register))
            .route("/api/supervisor/heartbeat", post(beat));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (url, asked)
    }

    #[tokio::test]
    async fn a_workspace_is_said_to_live_as_soon_as_it_is_registered_and_again_once_it_is_not_known() {
        for known_after in [1, 2] {
            let (ingest_url, mut asked) = ingest(known_after).await;
            let body = RegistrationBody {
                workspace: "ramaiah".to_owned(),
                url: "http://127.0.0.1:1".to_owned(),
                agents: Vec::new(),
                dids: Vec::new(),
            };
            let registration = Registration { ingest_url, key: Secret::new("register"), body };
            let kept = tokio::spawn(async move {
                registration.keep(&reqwest::Client::new(), &Readiness::default()).await;
            });
            for _ in 0..known_after {
                for expected in ["register", "heartbeat"] {
                    let next = timeout(HEARTBEAT / 2, asked.recv()).await;
                    assert_eq!(next.expect("long before the second heartbeat"), Some(expected));
                }
            }
            kept.abort();
        }
    }
}
