//! Serving connections: how many at once, how long one may be silent, and how all of them end.
//!
//! Decides what a connection may cost: a client that sends its head or its body slowly, sends nothing, or stops reading
//! is disconnected, and beyond the bound of connections further ones wait in the system's accept queue. It does not bound
//! how long an answer takes (that is the handler's), so a stream of events lives for as long as it is read; only once
//! the process is told to end, what still runs after a while is cut, so that what comes after serving is always done.

use std::{future::Future, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request},
    serve::Listener,
};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulConnection, GracefulShutdown},
    service::TowerToHyperService,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};
use tower::ServiceExt;

use super::{body::Patient, stall::Stall};

/// Bytes of a request's head, and of what a connection holds unread or unwritten, beyond which no more is read. A head
/// has at most 100 fields, which is hyper's own bound. Beyond either: 431.
const BUFFER: usize = 64 * 1024;

/// Descriptors besides those of connections: files, the stores, the brokers.
const OTHER_DESCRIPTORS: u64 = 256;

/// What connections may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A client that has not sent a whole head within this time is disconnected: of its first request since it
    /// connected, of a further one since the last answer.
    pub header_timeout: Duration,
    /// Most connections at once. Further ones are not accepted until one ends.
    pub connections: usize,
    /// A client that has read nothing of what is sent for this time is disconnected.
    pub stall: Duration,
    /// A client that lets its request's body be waited for so long, beyond what 1,000 bytes a second take, is answered
    /// as one that broke off, and disconnected.
    pub body_timeout: Duration,
    /// What runs this long after shutdown is cut. With what a service does after serving it must stay below the time
    /// between SIGTERM and SIGKILL: 15 s locally, 30 s in containers.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let patience = Duration::from_secs(10);
        Self { header_timeout: patience, connections: 8192, stall: patience, body_timeout: patience, drain: patience }
    }
}

/// Serves until `shutdown`, then stops accepting, closes what is idle and lets requests that run finish, for as long as
/// [`Limits::drain`]; what then still runs is dropped. Each request has the peer's address as
/// [`ConnectInfo<SocketAddr>`].
pub async fn serve(
    mut listener: TcpListener,
    router: Router,
    limits: Limits,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    make_room(limits.connections);
    // With its state set, a router is cheap to clone.
    let router: Router = router.with_state(());
    let slots = Arc::new(Semaphore::new(limits.connections));
    let connections = GracefulShutdown::new();
    let (cut, uncut) = watch::channel(false);
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = async {
            let slot = slots.clone().acquire_owned().await;
            // Errors of a single connection are passed over; where descriptors are short it waits a second, and goes on.
            let (stream, peer) = Listener::accept(&mut listener).await;
            (slot, stream, peer)
        };
        let (slot, stream, peer) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut shutdown => break,
        };
        let connection = connections.watch(connection(stream, peer, router.clone(), limits));
        let mut cut = uncut.clone();
        tokio::spawn(async move {
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended early");
                },
                // Where nobody is left to say it, none is cut.
                Ok(_) = cut.wait_for(|cut| *cut) => {}
            }
            drop(slot);
        });
    }
    drop(listener);
    let left = connections.count();
    let mut ended = pin!(connections.shutdown());
    if tokio::time::timeout(limits.drain, &mut ended).await.is_err() {
        tracing::warn!(drain = ?limits.drain, of = left, "connections that were still busy are cut");
        cut.send_replace(true);
        ended.await;
    }
}

/// Serves one connection to its end.
fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    limits: Limits,
) -> impl GracefulConnection<Error = hyper::Error> + Send + 'static {
    // An answer is one small write: it must not wait for the acknowledgement of the one before.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection was lost as it was accepted");
    }
    let service = router.map_request(move |request: Request<Incoming>| {
        let mut request = request.map(|body| Body::new(Patient::new(body, limits.body_timeout)));
        request.extensions_mut().insert(ConnectInfo::<SocketAddr>(peer));
        request
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(Stall::new(stream, limits.stall)), TowerToHyperService::new(service))
}

/// Systems give a process few descriptors (often 1,024) until it asks for those that it may have.
fn make_room(connections: usize) {
    let wanted = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(OTHER_DESCRIPTORS);
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|current| current >= wanted) {
        return;
    }
    let most = now.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let outcome = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: now.maximum });
    if outcome.is_err() || most < wanted {
        tracing::warn!(
            wanted,
            had = now.current.unwrap_or_default(),
            may_have = most,
            "this process may not open as many files as it is to hold connections; raise its limit (ulimit -n)"
        );
    }
}
