//! `GET /api/supervisor/events`: the board as server-sent events.
//!
//! A stream begins with what the client missed since its `Last-Event-ID` (see `hub::event_id`), or a `snapshot`; then a
//! `delta` for each version and a `heartbeat` every 5 s, with comments in between so that a page notices a dead line
//! sooner. It ends, for the client to come back, when the client is too slow, its token has run out, or the sidecar goes
//! away. `EventSource` cannot send an Authorization header and tokens do not belong in URLs: the page reads the stream by
//! `fetch`.

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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
    hub::{Frame, Hub},
    metrics,
    serve::App,
    view::Audience,
};

/// How many clients one sidecar takes.
pub(crate) const CLIENTS_LIMIT: usize = 5000;
/// How many of them may be one person's.
const PERSON_LIMIT: usize = 50;
/// How soon a client that lost its stream should come back; it backs off further by itself.
/// Without a blank line: it is part of the first event's block, so that every block has an id.
const RETRY: &[u8] = b"retry: 1000\n";

/// Counts the clients that are connected.
#[derive(Debug, Default)]
pub(crate) struct Clients(Mutex<Taken>);

/// Places that are taken.
#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// By person; who has none is not in it.
    of: BTreeMap<String, usize>,
}

/// One place among the clients, given back when dropped.
#[derive(Debug)]
struct Place {
    clients: Arc<Clients>,
    workspace: String,
    person: String,
    reason: &'static str,
}

impl Clients {
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(self: &Arc<Self>, workspace: &str, person: &str) -> Result<Place, Problem> {
        let mut taken = self.lock();
        if taken.all >= CLIENTS_LIMIT {
            let detail = "the sidecar has as many clients as it takes; try again later";
            return Err(too_many(StatusCode::SERVICE_UNAVAILABLE, detail));
        }
        if taken.of.get(person).is_some_and(|own| *own >= PERSON_LIMIT) {
            let detail = "you have as many streams as one person may; close some";
            return Err(too_many(StatusCode::TOO_MANY_REQUESTS, detail));
        }
        taken.all += 1;
        *taken.of.entry(person.to_owned()).or_default() += 1;
        metrics::clients(workspace, taken.all);
        drop(taken);
        let (workspace, person) = (workspace.to_owned(), person.to_owned());
        Ok(Place { clients: self.clone(), workspace, person, reason: "client_left" })
    }
}

fn too_many(status: StatusCode, detail: &str) -> Problem {
    Problem::new(status, "too_many_clients", "Too many clients are on the event stream", detail).retry_after(10)
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.clients.lock();
        taken.all -= 1;
        if let Some(own) = taken.of.get_mut(&self.person) {
            *own -= 1;
            if *own == 0 {
                taken.of.remove(&self.person);
            }
        }
        metrics::clients(&self.workspace, taken.all);
        metrics::ended(&self.workspace, self.reason);
    }
}

/// One client's stream.
struct Client {
    hub: Arc<Hub>,
    audience: Audience,
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
    let place = app.clients.enter(app.workspace(), &viewer.subject)?;
    let audience = viewer.audience();
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let joined = app.hub.join(&audience, last).ok_or_else(|| Problem::component_down("the board"))?;
    // A board that shows nobody yet will.
    let deed = Deed { action: "board.watch", about: None, count: app.hub.numbers().max(1) };
    app.audit.look(&viewer, &request, "board as events", deed).await?;
    let left = u64::try_from(viewer.expires_at.saturating_sub(Utc::now().timestamp())).unwrap_or(0);
    let mut first = VecDeque::from(joined.first);
    first.push_front(Bytes::from_static(RETRY));
    let client = Client {
        hub: app.hub.clone(),
        audience,
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
        let frame = tokio::select! {
            frame = self.frames.recv() => frame,
            () = sleep_until(self.until) => return self.end("token_ended"),
        };
        match frame {
            Ok(frame) => match &*frame {
                Frame::Same(bytes) => Some(bytes.clone()),
                Frame::Delta { full, masked, .. } => match self.audience {
                    Audience::Full => Some(full.clone()),
                    Audience::Masked | Audience::Own(_) => Some(masked.clone()),
                },
                Frame::Anew => self.anew(),
                Frame::End => self.end("going_away"),
            },
            // Frames were lost to this client: it must come back and ask for what it missed.
            Err(broadcast::error::RecvError::Lagged(_)) => self.end("too_slow"),
            Err(broadcast::error::RecvError::Closed) => self.end("going_away"),
        }
    }

    /// Starts over with a snapshot, and with the frames after it.
    fn anew(&mut self) -> Option<Bytes> {
        let Some(joined) = self.hub.join(&self.audience, None) else { return self.end("going_away") };
        self.frames = joined.frames;
        self.first = joined.first.into();
        self.first.pop_front()
    }

    fn end(&mut self, reason: &'static str) -> Option<Bytes> {
        self.place.reason = reason;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_of_all_and_of_each_person_and_given_back() {
        let clients = Arc::<Clients>::default();
        let enter = |person: &str| clients.enter("ramaiah", person);
        let mut asha: Vec<Place> = (0..PERSON_LIMIT).map(|_| enter("asha").unwrap()).collect();
        let refused = enter("asha").unwrap_err();
        assert_eq!((refused.status.as_u16(), refused.code), (429, "too_many_clients"));
        let ravi = enter("ravi").unwrap();
        asha.pop();
        asha.push(enter("asha").unwrap());
        let others: Vec<Place> =
            (0..CLIENTS_LIMIT - PERSON_LIMIT - 1).map(|number| enter(&format!("p{}", number / 2)).unwrap()).collect();
        let refused = enter("ravi").unwrap_err();
        assert_eq!((refused.status.as_u16(), refused.code), (503, "too_many_clients"));
        drop((asha, ravi, others));
        let taken = clients.lock();
        assert_eq!((taken.all, taken.of.len()), (0, 0));
    }
}
