//! Puts the parts together and serves them.

use std::{
    convert::Infallible,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, FromRef, Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::Response,
    routing::{get, post},
};
use chrono::{DateTime, Utc};
use helix_kit::{
    auth::{AuthError, Signer, Verifier, sidecar_kid},
    config::{AuthConfig, Config, PlatformConfig, WorkspaceConfig},
    http::{Limits, Readiness, finish, health_routes},
};
use helix_live::{BoardReader, Followed, Pulse, ReadError};
use helix_schemas::names::WorkspaceId;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet, time::sleep};
use tower_http::compression::CompressionLayer;

use crate::{
    access::{Access, Viewer},
    api::{self, Api},
    assets,
    audit::Audit,
    board,
    board::PastBoards,
    events::{self, CLIENTS_LIMIT, Clients},
    freshness::{Freshness, LOOK},
    hub::Hub,
    journal::{self, Clerk, Journal},
    login::{self, Login, LoginError},
    metrics,
    platform::{PlatformError, PlatformKeys},
    records,
    register::{Registration, RegistrationBody},
    silences,
};

const HEARTBEAT: Duration = Duration::from_secs(5);
/// Silence on the line is at most this long; a page that hears nothing for twice as long knows that it is cut off.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_millis(500);
/// At the end audit facts that still wait have this long to reach the log.
const AUDITS_WITHIN: Duration = Duration::from_secs(2);

/// Why a sidecar cannot run.
#[derive(Debug, thiserror::Error)]
pub enum SidecarError {
    /// The configuration has no such workspace.
    #[error("no workspace {0} is configured (`helix workspace list` shows those that are)")]
    NoSuchWorkspace(String),
    /// Nowhere to keep what must be written down.
    #[error(
        "audit.folder is not set: name a folder on a disk of this machine that outlives the process, for audit facts that the \
         log has not got yet"
    )]
    NoAuditFolder,
    /// The thread of the journal cannot be started.
    #[error("the audit journal cannot be opened")]
    Journal(#[source] std::io::Error),
    /// The platform's keys cannot be asked for, or not so that they can be trusted.
    #[error(transparent)]
    Platform(#[from] PlatformError),
    /// A key cannot be read.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// Sign-in cannot be offered.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// The workspace's Redis URL is none.
    #[error("the workspace's redis_url: {0}")]
    Redis(#[from] redis::RedisError),
    /// The URL of the read models is none.
    #[error("the workspace's postgres_url, or postgres.url: {0}")]
    Postgres(#[from] sqlx::Error),
    /// The URL of the analytics database is none.
    #[error("clickhouse.url is no URL")]
    ClickHouse,
    /// The workspace's zone is none.
    #[error("workspaces.{0}.zone is no IANA time zone")]
    Zone(String),
    /// The socket failed.
    #[error("the sidecar's socket: {0}")]
    Socket(#[from] std::io::Error),
}

/// What others bring into a sidecar.
#[derive(Default)]
pub struct Extensions {
    /// Boards of past moments; without it `asOf` is refused.
    pub past_boards: Option<Arc<dyn PastBoards>>,
    /// Further routes. Their handlers take [`Viewer`] as an argument to be behind a token.
    pub routes: Option<Router<Access>>,
}

impl std::fmt::Debug for Extensions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Extensions").field("past_boards", &self.past_boards.is_some()).finish_non_exhaustive()
    }
}

/// What handlers share.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) access: Access,
    pub(crate) hub: Arc<Hub>,
    pub(crate) clients: Arc<Clients>,
    pub(crate) login: Arc<Login>,
    pub(crate) api: Arc<Api>,
    pub(crate) audit: Arc<Audit>,
    pub(crate) past_boards: Option<Arc<dyn PastBoards>>,
    pub(crate) name: Arc<str>,
    pub(crate) zone: Arc<str>,
}

impl App {
    pub(crate) fn workspace(&self) -> &str {
        self.access.workspace.as_str()
    }

    /// Now, on the provider's clock.
    pub(crate) fn provider_now(&self) -> DateTime<Utc> {
        self.hub.provider_now(Utc::now())
    }
}

impl FromRef<App> for Access {
    fn from_ref(app: &App) -> Self {
        app.access.clone()
    }
}

/// Runs the sidecar of one workspace until `shutdown` resolves.
///
/// # Errors
/// [`SidecarError`] where it cannot start, or its socket fails.
pub async fn run(
    config: Config,
    workspace: &str,
    listener: TcpListener,
    metrics: PrometheusHandle,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), SidecarError> {
    run_with(config, workspace, listener, metrics, shutdown, Extensions::default()).await
}

/// As [`run`], with what others bring.
///
/// # Errors
/// As [`run`].
pub async fn run_with(
    config: Config,
    workspace: &str,
    listener: TcpListener,
    metrics: PrometheusHandle,
    shutdown: impl Future<Output = ()> + Send + 'static,
    extensions: Extensions,
) -> Result<(), SidecarError> {
    let settings = config.workspaces.get(workspace).filter(|_| !workspace.is_empty());
    let no_such = || SidecarError::NoSuchWorkspace(workspace.to_owned());
    let settings = settings.ok_or_else(no_such)?.clone();
    let id = WorkspaceId::new(workspace).map_err(|_| no_such())?;
    metrics::describe(workspace, CLIENTS_LIMIT, journal::WAITING);
    if config.audit.folder.as_os_str().is_empty() {
        return Err(SidecarError::NoAuditFolder);
    }

    let readiness = Readiness::default();
    let verifier = verifier(&config.auth)?;
    let platform = PlatformKeys::new(&config.auth.platform, workspace, verifier.clone(), readiness.clone())?;
    let signer = Signer::from_file(&config.auth.issuer, &sidecar_kid(workspace), &settings.signing_key)?;
    let login = Login::new(&settings.users, signer, config.auth.token_lifetime, &config.ingest.trusted_proxies)?;
    let api = Api::new(&config, &settings, workspace)?;
    let journal = Arc::new(Journal::open(id.clone(), &config.audit.folder).map_err(SidecarError::Journal)?);
    let clerk = Clerk::new(journal.clone(), api.log.clone(), readiness.clone());
    let audit = Arc::new(Audit::new(id.clone(), journal.clone()));
    let reader = BoardReader::new(settings.redis_url.reveal(), &id)?;
    let hub = Arc::new(Hub::new(id.clone()));
    let app = App {
        access: Access { workspace: id, verifier, platform: platform.clone() },
        hub: hub.clone(),
        clients: Arc::default(),
        login: Arc::new(login),
        api: Arc::new(api),
        audit: audit.clone(),
        past_boards: extensions.past_boards,
        name: settings.name.as_str().into(),
        zone: settings.zone.as_str().into(),
    };
    readiness.not_ready("board", "no board has been read from the workspace's Redis yet");
    // Until then events of its agents would be set aside as unrouted. Once known, the directory keeps it.
    readiness.not_ready("directory", "the workspace is not registered with the ingest yet");
    let freshness = Arc::new(Mutex::new(Freshness::new(Instant::now())));
    let mut tasks = JoinSet::new();
    tasks.spawn(follow(reader.clone(), hub.clone(), readiness.clone(), freshness.clone()));
    tasks.spawn(records::watch(reader.clone(), app.api.database.clone(), freshness.clone()));
    tasks.spawn(pulse(reader.clone(), freshness.clone()));
    tasks.spawn(silences::keep(reader, app.access.workspace.clone(), freshness.clone()));
    tasks.spawn(tell(hub.clone(), freshness.clone()));
    tasks.spawn(app.api.database.clone().watch(readiness.clone()));
    tasks.spawn(clerk.work());
    tasks.spawn({
        let audit = audit.clone();
        async move { audit.count_bursts().await }
    });
    if let Some(platform) = platform {
        tasks.spawn(async move { platform.keep().await });
    }
    let registration = Arc::new(registration(&config, workspace, &settings));
    let http = reqwest::Client::new();
    tasks.spawn({
        let (registration, http, readiness) = (registration.clone(), http.clone(), readiness.clone());
        async move { registration.keep(&http, &readiness).await }
    });
    tasks.spawn(async move { registration.watch(&http, &freshness).await });

    let router = router(app, extensions.routes, readiness.clone(), metrics);
    let leaving = {
        let hub = hub.clone();
        async move {
            shutdown.await;
            readiness.drain();
            hub.close();
        }
    };
    helix_kit::http::serve(listener, router, Limits::default(), leaving).await;
    audit.end_all_bursts();
    if tokio::time::timeout(AUDITS_WITHIN, journal.empty()).await.is_err() {
        tracing::warn!(workspace, left = journal.waiting(), "audit facts go to the log at the next start");
    }
    tasks.shutdown().await;
    journal.close().await;
    Ok(())
}

/// Our own keys, and whose tokens the platform's keys will verify.
fn verifier(auth: &AuthConfig) -> Result<Arc<Verifier>, AuthError> {
    let PlatformConfig { issuer, audience, .. } = &auth.platform;
    let issuer = if issuer.is_empty() { &auth.issuer } else { issuer };
    let audience = Some(audience.as_str()).filter(|audience| !audience.is_empty());
    Ok(Arc::new(Verifier::from_file(&auth.issuer, &auth.jwks)?.with_platform(issuer, audience)))
}

fn router(app: App, more: Option<Router<Access>>, readiness: Readiness, metrics: PrometheusHandle) -> Router {
    let api = Router::new()
        .route("/api/auth/login", post(login::login).layer(DefaultBodyLimit::max(login::LONGEST_BODY)))
        .route("/api/auth/renew", post(login::renew))
        .route("/api/session", get(session))
        .route("/api/supervisor/board", get(board::board))
        .route("/api/supervisor/events", get(events::events))
        .route("/", get(assets::asset))
        .route("/assets/{*path}", get(assets::asset))
        .route("/favicon.svg", get(assets::asset))
        .merge(api::routes());
    let access = app.access.clone();
    let mut router = api.with_state(app);
    if let Some(more) = more {
        router = router.merge(more.with_state(access));
    }
    let router = router.merge(health_routes(readiness, metrics));
    // Compression leaves event streams alone: they must not wait in a buffer.
    finish(router, "sidecar").layer(CompressionLayer::new()).layer(middleware::from_fn(secure))
}

/// How to be let in (RFC 9110, 11.6.1): no browser asks for a password because of this one.
const CHALLENGE: &str = "Bearer realm=\"helix\"";

/// Headers that keep the page to itself, and the challenge of a refusal.
async fn secure(request: Request, next: Next) -> Result<Response, Infallible> {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| headers.insert(name, HeaderValue::from_static(value));
    set(
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    );
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    set(HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), geolocation=()");
    if response.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
    }
    Ok(response)
}

/// Who is signed in, and where: what a page needs besides the board.
async fn session(State(app): State<App>, viewer: Viewer) -> Json<Value> {
    Json(json!({
        "workspace": app.workspace(),
        "workspaceName": &*app.name,
        "zone": &*app.zone,
        "subject": viewer.subject,
        "role": viewer.role,
        "agentId": viewer.agent,
        "seesCallers": viewer.role.sees_callers(),
        "expiresAt": viewer.expires_at,
    }))
}

fn registration(config: &Config, workspace: &str, settings: &WorkspaceConfig) -> Registration {
    Registration {
        ingest_url: config.ingest.url.clone(),
        key: settings.register_key.clone(),
        body: RegistrationBody {
            workspace: workspace.to_owned(),
            url: settings.sidecar_url.clone(),
            agents: settings.agents.clone(),
            dids: settings.dids.clone(),
        },
    }
}

/// Keeps the hub's copy in step with Redis.
async fn follow(reader: BoardReader, hub: Arc<Hub>, readiness: Readiness, freshness: Arc<Mutex<Freshness>>) {
    loop {
        if let Err(error) = follow_once(&reader, &hub, &readiness, &freshness).await {
            tracing::warn!(%error, "the board cannot be followed; trying again");
            sleep(RETRY).await;
        }
    }
}

/// Takes a snapshot and follows it until following breaks.
///
/// A board that is being made anew from the log is not shown while there is the one before: that stays, stale.
async fn follow_once(
    reader: &BoardReader,
    hub: &Hub,
    readiness: &Readiness,
    freshness: &Mutex<Freshness>,
) -> Result<(), ReadError> {
    let book = || freshness.lock().unwrap_or_else(PoisonError::into_inner);
    let (snapshot, mut follower) = reader.snapshot().await?;
    book().followed(Instant::now());
    let is_whole = book().life_read(&snapshot.generation, snapshot.pulse, Instant::now());
    if !is_whole && hub.shows_another(&snapshot.generation) {
        sleep(LOOK / 2).await;
        return Ok(());
    }
    hub.reset(snapshot);
    readiness.ready("board");
    loop {
        let followed = follower.next().await?;
        book().followed(Instant::now());
        match followed {
            Followed::Quiet => {}
            Followed::Broken => return Ok(()),
            Followed::Deltas(deltas) => {
                for delta in deltas {
                    hub.publish(&delta);
                    if !hub.agrees(delta.hash) {
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// Reads the projector's pulse once a second.
async fn pulse(reader: BoardReader, freshness: Arc<Mutex<Freshness>>) {
    loop {
        if let Ok(mut connection) = reader.connect().await {
            while let Ok(pulse) = reader.pulse(&mut connection).await {
                let now = Instant::now();
                heard(&freshness, pulse, now);
                sleep(LOOK).await;
            }
        }
        sleep(RETRY).await;
    }
}

fn heard(freshness: &Mutex<Freshness>, pulse: Pulse, now: Instant) {
    let mut book = freshness.lock().unwrap_or_else(PoisonError::into_inner);
    book.redis_answered(now);
    book.pulse_read(pulse, now);
}

/// Tells clients how fresh the board is, what all agents have in common, and that the line is alive.
async fn tell(hub: Arc<Hub>, freshness: Arc<Mutex<Freshness>>) {
    let mut ticks = tokio::time::interval(LOOK / 2);
    let (mut beat_at, mut kept_at, mut shared_at) = (Instant::now(), Instant::now(), Instant::now());
    loop {
        ticks.tick().await;
        let now = Instant::now();
        let fresh = {
            let mut book = freshness.lock().unwrap_or_else(PoisonError::into_inner);
            book.traffic_seen(hub.traffic(), now);
            book.look(now, Utc::now())
        };
        hub.freshness(fresh);
        if shared_at.elapsed() >= LOOK {
            hub.share();
            shared_at = now;
        }
        if beat_at.elapsed() >= HEARTBEAT {
            hub.heartbeat();
            (beat_at, kept_at) = (now, now);
        } else if kept_at.elapsed() >= KEEP_ALIVE {
            hub.keep_alive();
            kept_at = now;
        }
    }
}
