//! `GET /api/supervisor/events`: the board as server-sent events.
//!
//! A stream begins with what the client missed since its `Last-Event-ID` (`{generation}-{version}`), or a `snapshot`; then a
//! `delta` for each version and a `heartbeat` every 5 s, with comments in between so that a page notices a dead line
//! sooner. It ends, for the client to come back, when the client is too slow, its token has run out, or the sidecar goes
//! away. `EventSource` cannot send an Authorization header and tokens do not belong in URLs: the page reads the stream by
//! `fetch`.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Extension,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use chrono::Utc;
use futures_util::stream;
use helix_kit::{http::RequestId, problem::Problem};
use tokio::{
    sync::broadcast,
    time::{Instant, sleep_until},
};

use crate::{
    access::Viewer,
    audit::Deed,
    hub::{Frame, Hub, own_delta},
    metrics,
    serve::App,
    view::{Audience, View},
};

/// How many clients one sidecar takes.
pub(crate) const CLIENTS_LIMIT: usize = 5000;
/// How soon a client that lost its stream should come back; it backs off further by itself.
/// Without a blank line: it is part of the first event's block, so that every block has an id.
const RETRY: &[u8] = b"retry: 1000\n";

/// Counts the clients that are connected.
#[derive(Debug, Default)]
pub(crate) struct Clients(AtomicUsize);

/// One place among the clients, given back when dropped.
struct Place {
    clients: Arc<Clients>,
    workspace: String,
    reason: &'static str,
}

impl Clients {
    fn enter(self: &Arc<Self>, workspace: &str) -> Option<Place> {
        let count = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        let place = Place { clients: self.clone(), workspace: workspace.to_owned(), reason: "client_left" };
        metrics::clients(workspace, count);
        (count <= CLIENTS_LIMIT).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let count = self.clients.0.fetch_sub(1, Ordering::Relaxed) - 1;
        metrics::clients(&self.workspace, count);
        metrics::ended(&self.workspace, self.reason);
    }
}

/// One client's stream.
struct Client {
    hub: Arc<Hub>,
    audience: Audience,
    own: Option<View>,
    first: VecDeque<Bytes>,
    frames: broadcast::Receiver<Arc<Frame>>,
    until: Instant,
    place: Place,
}

pub(crate) async fn events(
    State(app): State<App>,
    viewer: Viewer,
    Extension(request): Extension<RequestId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let busy = || {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_clients",
            "The sidecar has as many clients as it takes",
            "try again later",
        )
        .retry_after(10)
    };
    let place = app.clients.enter(app.workspace()).ok_or_else(busy)?;
    let audience = viewer.audience();
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let joined = app.hub.join(&audience, last).ok_or_else(|| Problem::component_down("the board"))?;
    // A board that shows nobody yet will.
    let deed = Deed { action: "board.watch", about: None, count: app.hub.numbers().max(1) };
    app.audit.look(&viewer, &request, "board as events", deed)?;
    let left = u64::try_from(viewer.expires_at.saturating_sub(Utc::now().timestamp())).unwrap_or(0);
    let mut first = VecDeque::from(joined.first);
    first.push_front(Bytes::from_static(RETRY));
    let client = Client {
        hub: app.hub.clone(),
        audience,
        own: joined.own,
        first,
        frames: joined.frames,
        // A bound, so that a token that ends in a thousand years does not overflow the clock.
        until: Instant::now() + Duration::from_secs(left.min(30 * 24 * 3600)),
        place,
    };
    let body = stream::unfold(client, |mut client| async move {
        let bytes = client.next().await?;
        Some((Ok::<Bytes, Infallible>(bytes), client))
    });
    let mut response = Body::from_stream(body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies that buffer would hold every frame back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

impl Client {
    /// The next bytes; `None` ends the stream.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(bytes) = self.first.pop_front() {
            return Some(bytes);
        }
        loop {
            let frame = tokio::select! {
                frame = self.frames.recv() => frame,
                () = sleep_until(self.until) => return self.end("token_ended"),
            };
            let bytes = match frame {
                Ok(frame) => match &*frame {
                    Frame::Same(bytes) => Some(bytes.clone()),
                    Frame::Delta { delta, id, full, masked } => match (&mut self.own, &self.audience) {
                        (Some(own), _) => own_delta(own, delta, id),
                        (None, Audience::Full) => Some(full.clone()),
                        (None, Audience::Masked | Audience::Own(_)) => Some(masked.clone()),
                    },
                    Frame::Anew => return self.anew(),
                    Frame::End => return self.end("going_away"),
                },
                // Frames were lost to this client: it must come back and ask for what it missed.
                Err(broadcast::error::RecvError::Lagged(_)) => return self.end("too_slow"),
                Err(broadcast::error::RecvError::Closed) => return self.end("going_away"),
            };
            if bytes.is_some() {
                return bytes;
            }
        }
    }

    /// Starts over with a snapshot, and with the frames after it.
    fn anew(&mut self) -> Option<Bytes> {
        let joined = self.hub.join(&self.audience, None)?;
        self.own = joined.own;
        self.frames = joined.frames;
        self.first = joined.first.into();
        self.first.pop_front()
    }

    fn end(&mut self, reason: &'static str) -> Option<Bytes> {
        self.place.reason = reason;
        None
    }
}
