//! Serving HTTP: request ids, problems written out, health, metrics, bounded connections and a drain that loses nothing.

mod body;
mod readiness;
mod serve;
mod source;
mod stall;

use std::{net::SocketAddr, sync::Arc, time::Instant};

use axum::{
    Json, Router,
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, Method, header},
    middleware::{self, Next},
    response::Response,
    routing::get,
};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use tokio::net::TcpListener;

pub use self::{
    readiness::Readiness,
    serve::{Limits, serve},
    source::source_address,
};
use crate::problem::Problem;

/// Header that carries the request's id both ways.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of the request at hand, as an extension.
#[derive(Debug, Clone)]
pub struct RequestId(pub Arc<str>);

/// Binds before anything else is done, so that a busy port is told at once and tests can pass port 0.
///
/// # Errors
/// With a sentence that names the remedy.
pub async fn bind(listen: SocketAddr, what: &str) -> Result<TcpListener, BindError> {
    TcpListener::bind(listen).await.map_err(|source| BindError { what: what.to_owned(), listen, source })
}

/// A port that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "{what} cannot listen on {listen}: end what listens there (`ss -ltnp` shows it) or move the port in the configuration"
)]
pub struct BindError {
    what: String,
    listen: SocketAddr,
    #[source]
    source: std::io::Error,
}

/// `/livez`, `/readyz` and `/metrics`.
pub fn health_routes(readiness: Readiness, metrics: PrometheusHandle) -> Router {
    let measured = readiness.clone();
    Router::new()
        .route("/livez", get(|| async { Json(json!({"alive": true})) }))
        .route("/readyz", get(move || async move { readiness.answer() }))
        .route(
            "/metrics",
            get(move || async move {
                measured.measure();
                ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render())
            }),
        )
}

/// Wraps a service's routes: request ids, problems for unknown paths and methods, a duration metric a route. No answer is
/// kept by a browser or a proxy unless its handler has set `Cache-Control`.
pub fn finish(router: Router, service: &'static str) -> Router {
    router
        .fallback(|| async { Problem::no_such_path() })
        .method_not_allowed_fallback(|| async { Problem::no_such_method() })
        .layer(middleware::from_fn_with_state(service, around))
}

async fn around(State(service): State<&'static str>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let given = request.headers().get(&REQUEST_ID).and_then(|value| value.to_str().ok()).filter(|id| acceptable(id));
    let id: Arc<str> = given.map_or_else(|| uuid::Uuid::new_v4().to_string().into(), Arc::from);
    let route =
        request.extensions().get::<MatchedPath>().map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let method = method_label(request.method());
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = next.run(request).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let beside = std::mem::take(response.headers_mut());
        response = problem.render(&id);
        // What a handler or the router set beside the problem stays: `WWW-Authenticate`, `Allow`.
        for name in [header::WWW_AUTHENTICATE, header::ALLOW] {
            if let Some(value) = beside.get(&name) {
                response.headers_mut().insert(name, value.clone());
            }
        }
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    let status = response.status().as_u16().to_string();
    metrics::histogram!("helix_http_request_seconds", "service" => service, "route" => route, "method" => method, "status" => status)
        .record(begun.elapsed().as_secs_f64());
    response
}

/// A method by its name where HTTP has it. Any token is a method, and each label is kept for ever: what a stranger makes
/// up is `other`.
fn method_label(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

/// A request id we are willing to repeat in logs and headers.
fn acceptable(id: &str) -> bool {
    !id.is_empty() && id.len() <= 128 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
}

/// Resolves at SIGTERM or Ctrl-C.
pub async fn shutdown_signal() {
    let interrupt = async {
        // Where the handler cannot be set there is nothing to wait for: the process then ends by SIGTERM alone.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending::<()>().await,
        }
    };
    tokio::select! {
        () = interrupt => {}
        () = terminate => {}
    }
}
