//! Serving connections: how many at once, how long one may be silent, and how all of them end.
//!
//! Decides what a connection may cost: a client that sends its head slowly, sends nothing, or stops reading is
//! disconnected, and beyond the bound of connections further ones wait in the system's accept queue. It does not bound
//! how long an answer takes (that is the handler's), so a stream of events lives for as long as it is read.

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
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{net::TcpListener, sync::Semaphore};
use tower::ServiceExt;

use super::stall::Stall;

/// Most bytes of a request's head, and of what a connection holds unread or unwritten.
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
}

impl Default for Limits {
    fn default() -> Self {
        Self { header_timeout: Duration::from_secs(10), connections: 8192, stall: Duration::from_secs(10) }
    }
}

/// Serves until `shutdown`, then stops accepting, closes what is idle and lets requests that run finish. Each request
/// has the peer's address as [`ConnectInfo<SocketAddr>`].
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
        // An answer is one small write: it must not wait for the acknowledgement of the one before.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection was lost as it was accepted");
        }
        let service = router.clone().map_request(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo::<SocketAddr>(peer));
            request
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_buf_size(BUFFER)
            .serve_connection(TokioIo::new(Stall::new(stream, limits.stall)), TowerToHyperService::new(service));
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(slot);
        });
    }
    drop(listener);
    connections.shutdown().await;
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
