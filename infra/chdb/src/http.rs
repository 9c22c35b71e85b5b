//! The HTTP surface: paths, methods, bodies, headers, errors, as ClickHouse has them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request as HttpRequest, State as FromState};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use axum::routing::{any, get};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{mpsc, oneshot};

use crate::Options;
use crate::access::Gate;
use crate::engine::About;
use crate::exception::{Exception, code};
use crate::execute::{Answer, DEFAULT_FORMAT, Job, Piece};
use crate::ffi::Statistics;
use crate::pool::{Handle, Pool};
use crate::request::Request;

/// What every request needs.
#[derive(Clone)]
pub(crate) struct State {
    shared: Arc<Shared>,
    pool: Handle,
}

struct Shared {
    engine: Arc<crate::engine::Engine>,
    gate: Gate,
    display_name: HeaderValue,
    max_body_bytes: usize,
    network_timeout: Duration,
}

impl State {
    pub(crate) fn new(options: &Options, pool: &Pool) -> Self {
        let shared = Shared {
            engine: Arc::clone(pool.engine()),
            gate: Gate::new(options.password.clone(), options.access.as_ref()),
            display_name: HeaderValue::from_static("helix-chdb"),
            max_body_bytes: options.max_body_bytes,
            network_timeout: options.network_timeout,
        };
        Self { shared: Arc::new(shared), pool: pool.handle() }
    }

    fn about(&self) -> &About {
        &self.shared.engine.about
    }
}

/// The paths that ClickHouse has and that make sense here.
pub(crate) fn router(state: State) -> Router {
    Router::new()
        .route("/ping", get(ok))
        .route("/replicas_status", get(ok))
        .route("/", any(query))
        .fallback(nothing_here)
        .with_state(state)
}

async fn ok() -> &'static str {
    "Ok.\n"
}

async fn nothing_here(request: HttpRequest) -> (StatusCode, String) {
    let path = request.uri().path().to_owned();
    (StatusCode::NOT_FOUND, format!("There is no handle {path}\n\nUse / or /ping for health checks.\n"))
}

async fn query(FromState(state): FromState<State>, http: HttpRequest) -> Response<Body> {
    let (parts, body) = http.into_parts();
    let reads_only = match parts.method {
        Method::GET | Method::HEAD => true,
        Method::POST | Method::PUT => false,
        Method::OPTIONS => return empty(StatusCode::NO_CONTENT),
        _ => return empty(StatusCode::METHOD_NOT_ALLOWED),
    };
    let query_string = parts.uri.query().unwrap_or_default();
    let fallback_id = || uuid::Uuid::new_v4().to_string();
    match Request::parse(query_string, &parts.headers) {
        Err(exception) => failed(&state, &fallback_id(), None, &exception),
        Ok(mut request) => {
            request.reads_only = reads_only;
            let query_id = request.query_id.clone().unwrap_or_else(fallback_id);
            if reads_only && request.query.as_deref().is_none_or(|query| query.trim().is_empty()) {
                return ok_text();
            }
            let format = request.default_format.clone();
            let started_at = Instant::now();
            match answer(&state, request, body, &query_id).await {
                Ok(answer) => succeeded(&state, &query_id, answer, started_at),
                Err(exception) => failed(&state, &query_id, format.as_deref(), &exception),
            }
        }
    }
}

async fn answer(state: &State, request: Request, body: Body, query_id: &str) -> Result<Answer, Exception> {
    let scope = state.shared.gate.admit(&request.credentials)?;
    let place = state.pool.enter()?;
    let body = collect(body, state.shared.max_body_bytes, state.shared.network_timeout).await?;
    let (sender, receiver) = oneshot::channel();
    let job = Job {
        query_id: query_id.to_owned(),
        request,
        scope,
        body,
        answer: sender,
        runtime: tokio::runtime::Handle::current(),
        network_timeout: state.shared.network_timeout,
    };
    state.pool.submit(job, place)?;
    receiver.await.map_err(|_| Exception::new(code::STD_EXCEPTION, "the query ended without an answer"))?
}

/// Reads a body to its end, in the pieces it comes in. A body that breaks off runs nothing.
async fn collect(body: Body, limit: usize, timeout: Duration) -> Result<Vec<Bytes>, Exception> {
    let mut pieces = Vec::new();
    let mut length = 0_usize;
    let mut stream = body.into_data_stream();
    let broken =
        |reason: String| Exception::new(code::NETWORK_ERROR, format!("the request's body broke off: {reason}"));
    loop {
        let next = tokio::time::timeout(timeout, stream.next()).await;
        let Some(piece) = next.map_err(|_| broken(format!("nothing came for {timeout:?}")))? else {
            break;
        };
        let piece = piece.map_err(|error| broken(error.to_string()))?;
        length = length.saturating_add(piece.len());
        if length > limit {
            let message = format!("the request's body is larger than {limit} bytes");
            return Err(Exception::new(code::QUERY_IS_TOO_LARGE, message));
        }
        pieces.push(piece);
    }
    Ok(pieces)
}

fn succeeded(state: &State, query_id: &str, answer: Answer, started_at: Instant) -> Response<Body> {
    let Answer { format, statistics, begin, rest } = answer;
    let tag = exception_tag();
    let version = state.about().version.clone();
    let body = match (begin.as_slice(), rest) {
        ([], None) => Body::empty(),
        // Of known length.
        ([only], None) => Body::from(only.clone()),
        (_, None) => Body::from_stream(sent_first(begin)),
        (_, Some(rest)) => Body::from_stream(sent_first(begin).chain(pieces(rest, tag.clone(), version))),
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    common_headers(state, query_id, Some(&format), headers);
    insert(headers, "x-clickhouse-exception-tag", &tag);
    insert(headers, "x-clickhouse-summary", &summary(statistics, started_at.elapsed()));
    response
}

fn failed(state: &State, query_id: &str, format: Option<&str>, exception: &Exception) -> Response<Body> {
    // Never the statement: it may hold personal data.
    tracing::debug!(query_id, code = exception.code(), "a query failed");
    let mut response = Response::new(Body::from(exception.body(&state.about().version)));
    *response.status_mut() = exception.status();
    let headers = response.headers_mut();
    common_headers(state, query_id, format, headers);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=UTF-8"));
    insert(headers, "x-clickhouse-exception-code", &exception.code().to_string());
    if exception.status() == StatusCode::UNAUTHORIZED {
        headers
            .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"ClickHouse server HTTP API\""));
    }
    if exception.status() == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// How long the rows of a failed result get to leave before its exception.
const BEFORE_EXCEPTION: Duration = Duration::from_millis(50);
/// How long the exception gets to leave before the connection is closed.
const BEFORE_BREAKING_OFF: Duration = Duration::from_millis(200);

/// The end of a response that cannot be completed: the connection is closed in the middle of the body.
#[derive(Debug, thiserror::Error)]
#[error("the result broke off")]
struct BrokenOff;

fn sent_first(begin: Vec<Bytes>) -> impl futures_util::Stream<Item = Result<Bytes, BrokenOff>> {
    futures_util::stream::iter(begin.into_iter().map(Ok))
}

/// The pieces of a streamed result. A failure is written behind the rows between its tags, and the response is then
/// broken off, so that a client that looks at neither the tag nor the text still sees that it is not whole.
fn pieces(
    rest: mpsc::Receiver<Piece>,
    tag: String,
    version: String,
) -> impl futures_util::Stream<Item = Result<Bytes, BrokenOff>> {
    enum Next {
        Read(mpsc::Receiver<Piece>),
        Say(Exception),
        BreakOff,
        Stop,
    }
    futures_util::stream::unfold(Next::Read(rest), move |next| {
        let (tag, version) = (tag.clone(), version.clone());
        async move {
            match next {
                Next::Read(mut rest) => match rest.recv().await {
                    Some(Piece::Rows(bytes)) => Some((Ok(bytes), Next::Read(rest))),
                    Some(Piece::Failed(exception)) => Some((Ok(Bytes::new()), Next::Say(exception))),
                    Some(Piece::End) => None,
                    None => Some((Err(BrokenOff), Next::Stop)),
                },
                Next::Say(exception) => {
                    // Client libraries look for the frame in one piece as it arrives: let the rows before it go first.
                    tokio::time::sleep(BEFORE_EXCEPTION).await;
                    Some((Ok(tagged(&exception.body(&version), &tag)), Next::BreakOff))
                }
                Next::BreakOff => {
                    // Breaking off discards what has not left yet.
                    tokio::time::sleep(BEFORE_BREAKING_OFF).await;
                    Some((Err(BrokenOff), Next::Stop))
                }
                Next::Stop => None,
            }
        }
    })
}

/// ClickHouse's frame around an exception inside a body, since 25.11.
fn tagged(message: &str, tag: &str) -> Bytes {
    let length = message.len();
    Bytes::from(format!("\r\n__exception__\r\n{tag}\r\n{message}{length} {tag}\r\n__exception__\r\n"))
}

/// Sixteen letters that no result can be made to hold by guessing.
fn exception_tag() -> String {
    uuid::Uuid::new_v4().as_bytes().iter().map(|byte| char::from(b'a' + byte % 26)).collect()
}

fn common_headers(state: &State, query_id: &str, format: Option<&str>, headers: &mut HeaderMap) {
    let format = format.unwrap_or(DEFAULT_FORMAT);
    let content_type = state.about().content_types.get(format).map_or("text/plain; charset=UTF-8", String::as_str);
    headers.insert(header::CONTENT_TYPE, value(content_type));
    insert(headers, "x-clickhouse-format", format);
    insert(headers, "x-clickhouse-query-id", query_id);
    insert(headers, "x-clickhouse-timezone", "UTC");
    headers.insert(HeaderName::from_static("x-clickhouse-server-display-name"), state.shared.display_name.clone());
}

fn insert(headers: &mut HeaderMap, name: &'static str, text: &str) {
    headers.insert(HeaderName::from_static(name), value(text));
}

/// What a client sent may hold bytes that no header may; such a value is left empty.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

/// ClickHouse writes the numbers as texts.
fn summary(statistics: Statistics, elapsed: Duration) -> String {
    let Statistics { result_rows, result_bytes, read_rows, read_bytes, written_rows, written_bytes } = statistics;
    let elapsed_ns = elapsed.as_nanos();
    serde_json::json!({
        "read_rows": read_rows.to_string(),
        "read_bytes": read_bytes.to_string(),
        "written_rows": written_rows.to_string(),
        "written_bytes": written_bytes.to_string(),
        "total_rows_to_read": "0",
        "result_rows": result_rows.to_string(),
        "result_bytes": result_bytes.to_string(),
        "elapsed_ns": elapsed_ns.to_string(),
    })
    .to_string()
}

fn ok_text() -> Response<Body> {
    let mut response = Response::new(Body::from("Ok.\n"));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=UTF-8"));
    response
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
