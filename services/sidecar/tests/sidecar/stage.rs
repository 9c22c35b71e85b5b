//! A stage for the sidecar: its own Redis, keys, configuration, an ingest that says yes, and people.

#![allow(dead_code)] // The tests and the development feeder take what they need.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use argon2::{Argon2, Params, password_hash::PasswordHasher};
use axum::{
    Json, Router,
    http::StatusCode,
    routing::{get, post},
};
use base64::{Engine, engine::general_purpose};
use chrono::Utc;
use ed25519_dalek::SigningKey;
use helix_kit::{
    auth::{Role, Signer, sidecar_kid},
    config::{Config, UserConfig, WorkspaceConfig},
    secret::Secret,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch};

pub const WORKSPACE: &str = "ramaiah";
pub const PASSWORD: &str = "a long enough password";
const OTHER: &str = "global";

/// Everything a sidecar needs around it.
pub struct Stage {
    pub config: Config,
    pub folder: tempfile::TempDir,
    pub ingest: Arc<Ingest>,
}

/// What the stand-in for the ingest was told.
#[derive(Default)]
pub struct Ingest {
    pub registrations: std::sync::Mutex<Vec<Value>>,
    pub ready: std::sync::atomic::AtomicBool,
    /// What it takes stays on its own disk.
    pub spools: std::sync::atomic::AtomicBool,
}

/// A sidecar that runs.
pub struct Running {
    pub url: String,
    pub address: SocketAddr,
    shutdown: watch::Sender<bool>,
    task: tokio::task::JoinHandle<Result<(), helix_sidecar::SidecarError>>,
}

impl Running {
    pub async fn stop(self) {
        self.shutdown.send(true).unwrap();
        tokio::time::timeout(Duration::from_secs(60), self.task).await.unwrap().unwrap().unwrap();
    }
}

impl Stage {
    pub async fn set(redis_url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys: Vec<Value> = [WORKSPACE, OTHER].into_iter().map(|slug| make_key(folder.path(), slug)).collect();
        let jwks = folder.path().join("jwks.json");
        std::fs::write(&jwks, json!({ "keys": keys }).to_string()).unwrap();
        let mut config = Config::load(None).unwrap();
        let ingest = Arc::<Ingest>::default();
        ingest.ready.store(true, std::sync::atomic::Ordering::Relaxed);
        config.ingest.url = format!("http://{}", serve_ingest(ingest.clone()).await);
        config.auth.jwks = jwks;
        config.workspaces.insert(WORKSPACE.to_owned(), workspace(folder.path(), redis_url));
        Self { config, folder, ingest }
    }

    pub fn token(&self, workspace: &str, role: Role, agent: Option<&str>) -> String {
        self.token_for(workspace, role, agent, Duration::from_secs(3600))
    }

    pub fn token_for(&self, workspace: &str, role: Role, agent: Option<&str>, lifetime: Duration) -> String {
        self.sign("someone@example.org", workspace, role, agent, lifetime)
    }

    /// A token of somebody in particular.
    pub fn token_of(&self, person: &str, role: Role) -> String {
        self.sign(person, WORKSPACE, role, None, Duration::from_secs(3600))
    }

    /// A token of an agent who is somebody in particular.
    pub fn token_of_agent(&self, agent: &str) -> String {
        let person = format!("{agent}@example.org");
        self.sign(&person, WORKSPACE, Role::Agent, Some(agent), Duration::from_secs(3600))
    }

    fn sign(&self, person: &str, workspace: &str, role: Role, agent: Option<&str>, lifetime: Duration) -> String {
        let key = self.folder.path().join(format!("{workspace}.pem"));
        let signer = Signer::from_file(&self.config.auth.issuer, &sidecar_kid(workspace), &key).unwrap();
        signer.sign(person, workspace, role, agent, Utc::now().timestamp(), lifetime).unwrap()
    }

    /// The workspace's part of the configuration.
    pub fn own(&mut self) -> &mut WorkspaceConfig {
        self.config.workspaces.get_mut(WORKSPACE).unwrap()
    }

    pub async fn start(&self, listen: SocketAddr, extensions: helix_sidecar::Extensions) -> Running {
        let listener = TcpListener::bind(listen).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, mut told) = watch::channel(false);
        let until = async move {
            let _gone = told.wait_for(|stop| *stop).await;
        };
        let mut config = self.config.clone();
        if config.audit.folder.as_os_str().is_empty() {
            // Two that run at the same time are two instances.
            config.audit.folder = self.folder.path().join(format!("audit-{}", uuid::Uuid::new_v4()));
        }
        let task = tokio::spawn(async move {
            helix_sidecar::run_with(config, WORKSPACE, listener, recorder(), until, extensions).await
        });
        Running { url: format!("http://{address}"), address, shutdown, task }
    }
}

pub fn recorder() -> PrometheusHandle {
    PrometheusBuilder::new().build_recorder().handle()
}

/// A key that differs from all others, and from run to run.
pub fn any_key() -> SigningKey {
    let mut seed = [0_u8; 32];
    seed[..16].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    seed[16..].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    SigningKey::from_bytes(&seed)
}

/// Its entry in a key set.
pub fn public_key(kid: &str, key: &SigningKey) -> Value {
    json!({
        "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": kid,
        "x": general_purpose::URL_SAFE_NO_PAD.encode(key.verifying_key().to_bytes()),
    })
}

fn make_key(folder: &Path, slug: &str) -> Value {
    let key = any_key();
    // PKCS#8 of an Ed25519 key: a fixed head, then the seed (RFC 8410).
    let mut der = vec![0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    der.extend_from_slice(&key.to_bytes());
    let body = general_purpose::STANDARD.encode(der);
    let (label, dashes) = ("PRIVATE KEY", "-----");
    let pem = format!("{dashes}BEGIN {label}{dashes}\n{body}\n{dashes}END {label}{dashes}\n");
    std::fs::write(folder.join(format!("{slug}.pem")), pem).unwrap();
    let mut entry = public_key(&sidecar_kid(slug), &key);
    entry["helix_workspace"] = json!(slug);
    entry
}

fn workspace(folder: &Path, redis_url: &str) -> WorkspaceConfig {
    // Cheap parameters: the tests check who gets in, not how long it takes.
    let params = Params::new(64, 1, 1, None).unwrap();
    let argon = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let hash = argon.hash_password(PASSWORD.as_bytes()).unwrap().to_string();
    let user = |email: &str, role: Role, agent: Option<&str>| UserConfig {
        email: email.to_owned(),
        password_hash: Secret::new(hash.clone()),
        role,
        agent: agent.map(str::to_owned),
    };
    let value = json!({
        "name": "Ramaiah Memorial Hospital",
        "zone": "Asia/Kolkata",
        "webhook_key": "w", "register_key": "r",
        "redis_url": redis_url,
        "sidecar_listen": "127.0.0.1:0",
        "sidecar_url": "http://127.0.0.1:4100",
        "signing_key": folder.join(format!("{WORKSPACE}.pem")),
        "agents": ["agent.one", "agent.two"],
        "dids": ["918041763400"],
    });
    let mut workspace: WorkspaceConfig = serde_json::from_value(value).unwrap();
    workspace.users = vec![
        user("supervisor@ramaiah.example", Role::Supervisor, None),
        user("agent@ramaiah.example", Role::Agent, Some("agent.one")),
    ];
    workspace
}

async fn serve_ingest(ingest: Arc<Ingest>) -> SocketAddr {
    use std::sync::atomic::Ordering;
    let told = ingest.clone();
    let router = Router::new()
        .route(
            "/readyz",
            get(move || async move {
                let is_ready = ingest.ready.load(Ordering::Relaxed);
                let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                let spools = ingest.spools.load(Ordering::Relaxed);
                (status, Json(json!({ "degraded": {}, "details": { "spool": { "inUse": spools } } })))
            }),
        )
        .route(
            "/api/supervisor/register",
            post(|Json(body): Json<Value>| async move {
                told.registrations.lock().unwrap().push(body);
                Json(json!({}))
            }),
        )
        .route("/api/supervisor/heartbeat", post(|| async { Json(json!({ "expiresInSeconds": 90 })) }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}
