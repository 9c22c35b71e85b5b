//! What every POST has in common: the body within its bound, the keys it presents, its bytes kept where it is refused.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use axum::{
    body::Body,
    extract::{ConnectInfo, Request},
    http::{HeaderMap, HeaderName, header},
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use helix_kit::{
    http::{RequestId, source_address},
    problem::Problem,
    secret::Secret,
};
use helix_schemas::{id::FactId, names::WorkspaceId, rejected::RejectedBody, time::ReceivedAt, topics};

use super::problems;
use crate::{
    app::App,
    metrics,
    outlet::{Mode, Placed, Record, Unplaced},
    redact::Found,
};

/// Header of a key.
const KEY: HeaderName = HeaderName::from_static("x-helix-key");
/// Headers kept with a refused body: no secret, no address, no cookie.
const KEPT_HEADERS: [HeaderName; 4] = [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::USER_AGENT, header::HOST];
/// Longest text kept of a header or path.
const TEXT_LIMIT: usize = 512;
/// Most bytes kept of a body whose sender is not known.
const STRANGER_LIMIT: usize = 64 * 1024;
/// A refused body is read on this many times its limit, so that the sender gets to read the answer.
const DRAIN_TIMES: usize = 64;

/// One POST, its body read.
pub(super) struct Arrival {
    /// Path template, without a key.
    pub(super) endpoint: &'static str,
    pub(super) content_type: String,
    pub(super) request_id: String,
    pub(super) received_at: ReceivedAt,
    pub(super) body: Bytes,
    /// Where it came from, by our gateways' word where it came through them.
    pub(super) source: Option<IpAddr>,
    /// Keys presented by header, query or path.
    keys: Vec<String>,
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
}

fn shortened(text: &str) -> &str {
    let end = text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= TEXT_LIMIT).last();
    text.get(..end.unwrap_or_default()).unwrap_or_default()
}

/// The request's id, as kit made or took it.
pub(super) fn request_id(request: &Request) -> String {
    request.extensions().get::<RequestId>().map(|id| id.0.to_string()).unwrap_or_default()
}

/// Every key a request presents.
pub(super) fn keys(request: &Request, path_key: Option<&str>) -> Vec<String> {
    let mut keys: Vec<String> = path_key.map(str::to_owned).into_iter().collect();
    keys.extend(request.headers().get_all(KEY).iter().filter_map(|value| value.to_str().ok()).map(str::to_owned));
    let query = request.uri().query().unwrap_or_default();
    let named = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "key");
    keys.extend(named.map(|(_, value)| value.into_owned()));
    keys
}

/// Whether one of the keys is the secret. Every key is compared, each in constant time.
pub(super) fn presents(keys: &[String], secret: &Secret) -> bool {
    keys.iter().fold(false, |found, key| secret.matches(key) | found)
}

impl Arrival {
    /// Reads a request.
    pub(super) async fn read(
        app: &App,
        request: Request,
        endpoint: &'static str,
        path_key: Option<&str>,
    ) -> Result<Self, Problem> {
        let received_at = ReceivedAt::now();
        let keys = keys(&request, path_key);
        let request_id = request_id(&request);
        let text = |headers: &HeaderMap, name: &HeaderName| {
            let value = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
            app.redactor.text(shortened(value))
        };
        let headers = request.headers();
        let kept = KEPT_HEADERS.iter().filter(|name| headers.contains_key(*name));
        let kept = kept.map(|name| (name.as_str().to_owned(), text(headers, name))).collect();
        let content_type = text(headers, &header::CONTENT_TYPE);
        let path = request.uri().path();
        let path = path.split_once("/k/").map_or(path, |(before, _key)| before);
        let path = app.redactor.text(shortened(path));
        let method = request.method().as_str().to_owned();
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
        let source = peer.map(|peer| source_address(peer, headers, &app.trusted_proxies));
        let body = read_body(request.into_body(), app.config.ingest.body_limit).await?;
        Ok(Self { endpoint, content_type, request_id, received_at, body, source, keys, method, path, headers: kept })
    }

    /// Whether a secret was presented by header, query or path.
    pub(super) fn presents(&self, secret: &Secret) -> bool {
        presents(&self.keys, secret)
    }

    /// The record that keeps bytes in `telephony.rejected`. `raw` has its secrets removed already.
    pub(super) fn reject(
        &self,
        app: &App,
        code: &'static str,
        reason: String,
        workspace: Option<&WorkspaceId>,
        raw: Vec<u8>,
    ) -> Result<(FactId, Record), Problem> {
        let codecs = app.codecs.get().ok_or_else(|| Problem::component_down("the schema registry"))?;
        let id = FactId::from_uuid(uuid::Uuid::new_v4());
        let record = RejectedBody {
            id,
            code: code.to_owned(),
            reason,
            received_at: self.received_at,
            method: self.method.clone(),
            endpoint: self.path.clone(),
            workspace: workspace.cloned(),
            headers: self.headers.clone(),
            content_type: self.content_type.clone(),
            raw,
            request_id: self.request_id.clone(),
            redriven: None,
        };
        let value = codecs.rejected.encode(&record).map_err(|error| {
            tracing::error!(%error, request_id = self.request_id, "a rejected body cannot be written");
            Problem::component_down("the codec")
        })?;
        Ok((id, Record { topic: topics::REJECTED, key: self.endpoint.to_owned(), value }))
    }

    /// Keeps the whole body, and says under which id once that is acknowledged.
    pub(super) async fn keep(
        &self,
        app: &App,
        code: &'static str,
        reason: String,
        workspace: Option<&WorkspaceId>,
    ) -> Result<FactId, Problem> {
        let raw = app.redactor.redact(&self.body, &Found::default()).bytes.into_owned();
        let (id, record) = self.reject(app, code, reason, workspace, raw)?;
        self.place(app, record).await?;
        metrics::rejected(workspace, code);
        Ok(id)
    }

    /// Keeps the body of a sender we do not know, as far as the bucket allows: a key set wrong must not lose a
    /// hospital's events, and a stranger must not fill the log. Never in the way of the refusal itself.
    pub(super) async fn keep_refused(&self, app: &App, code: &'static str) -> Option<FactId> {
        // Not while the log is away: strangers must not take the spool's room from hospitals.
        let kept = !self.body.is_empty() && app.outlet.mode() == Mode::Direct;
        let id = if !kept || !app.refused_kept.take_one(Instant::now()) {
            None
        } else {
            // Redacted whole before it is cut: a cut through a secret would hide it from the redactor.
            let mut raw = app.redactor.redact(&self.body, &Found::default()).bytes.into_owned();
            let reason = if raw.len() > STRANGER_LIMIT { "refused; cut to 64 KiB" } else { "refused" };
            raw.truncate(STRANGER_LIMIT);
            match self.reject(app, code, reason.to_owned(), None, raw) {
                Ok((id, record)) => self.place(app, record).await.is_ok().then_some(id),
                Err(_) => None,
            }
        };
        metrics::refused(code, id.is_some());
        id
    }

    async fn place(&self, app: &App, record: Record) -> Result<Placed, Problem> {
        let submitted = app.outlet.submit(record).await;
        app.outlet.placed(submitted).await.map_err(|error| self.not_kept(&error))
    }

    /// Logs a record that nothing took, once, here at the boundary, and gives its problem.
    pub(super) fn not_kept(&self, error: &Unplaced) -> Problem {
        tracing::warn!(%error, endpoint = self.endpoint, request_id = self.request_id, "not kept; answered 503");
        problems::unplaced(error)
    }
}

/// The body, at most `limit` bytes of it.
async fn read_body(body: Body, limit: usize) -> Result<Bytes, Problem> {
    let mut stream = body.into_data_stream();
    let Some(first) = stream.next().await else {
        return Ok(Bytes::new());
    };
    let first = first.map_err(|_| broke_off())?;
    let mut whole = BytesMut::new();
    let mut length = first.len();
    let mut single = Some(first);
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| broke_off())?;
        length += chunk.len();
        if length <= limit {
            whole.extend_from_slice(&single.take().unwrap_or_default());
            whole.extend_from_slice(&chunk);
        } else if length > limit.saturating_mul(DRAIN_TIMES) {
            break;
        }
    }
    if length > limit {
        metrics::refused("body_too_large", false);
        return Err(problems::body_too_large(limit));
    }
    Ok(single.unwrap_or_else(|| whole.freeze()))
}

fn broke_off() -> Problem {
    metrics::refused("body_incomplete", false);
    problems::body_incomplete()
}

/// The app as a handler's state.
pub(super) type Shared = Arc<App>;
