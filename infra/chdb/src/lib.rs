//! The embedded ClickHouse engine behind ClickHouse's own HTTP interface.
//!
//! The local stack has no ClickHouse server; it has `libchdb.so`, the same engine as a library. This crate loads it
//! and speaks ClickHouse's HTTP interface, so that the projector, `curl` and every client library use plain HTTP
//! and a ClickHouse server can take its place without a change on their side.
//!
//! It decides how requests become statements and sessions of the engine and how results become responses. It knows
//! nothing of telephony, creates no tables, and keeps no state beside the engine's data folder.
//!
//! What it keeps true:
//! - Settings, parameters, current database and roles of one query never reach another: each has its own session.
//! - An INSERT's rows reach the engine byte for byte and all or none of a request's rows are handed over: the body
//!   is read to its end first.
//! - A 200 to an INSERT means that the engine has committed the part. A part survives the death of the process;
//!   `fsync` is the engine's own choice, so a loss of power may cost the last parts, and the projector's progress
//!   with them.
//! - The number of queries at work and waiting is bounded, and so is a body's size and a result held in memory.
//!
//! One engine per process, and one process per data folder.

mod access;
mod engine;
mod exception;
mod execute;
mod ffi;
mod format;
mod guard;
mod http;
mod lexer;
mod pool;
mod request;
mod statement;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::TcpListener;

pub use access::{Access, RowPolicy};

/// How to run the server.
#[derive(Debug, Clone)]
pub struct Options {
    /// `libchdb.so`.
    pub library: PathBuf,
    /// The data folder; created if absent.
    pub data: PathBuf,
    /// Where to listen. Port 0 takes a free one, see [`Server::local_addr`].
    pub listen: SocketAddr,
    /// The password of the administrator `default`; none lets everybody in as administrator.
    pub password: Option<String>,
    /// Users who see one workspace only; none lets only the administrator in.
    pub access: Option<Access>,
    /// Queries that run at the same time.
    pub workers: usize,
    /// Queries that may wait for a worker; one more is answered 503 (code 202).
    pub queue: usize,
    /// The largest request body, in bytes as sent.
    pub max_body_bytes: usize,
    /// The largest result, in the engine's own bytes, of a format that cannot be streamed.
    pub max_result_bytes: u64,
    /// The engine's memory for all queries together.
    pub max_memory_bytes: u64,
    /// How long a client may neither send the next piece of its body nor read the next piece of its result.
    pub network_timeout: Duration,
    /// How long running queries may take to end when the server is told to stop.
    pub drain_timeout: Duration,
}

impl Options {
    /// Options with the defaults of the local stack: 4 workers, 64 waiting, 256 MiB bodies and results, 2 GiB memory.
    pub fn new(library: impl Into<PathBuf>, data: impl Into<PathBuf>, listen: SocketAddr) -> Self {
        Self {
            library: library.into(),
            data: data.into(),
            listen,
            password: None,
            access: None,
            workers: 4,
            queue: 64,
            max_body_bytes: 256 << 20,
            max_result_bytes: 256 << 20,
            max_memory_bytes: 2 << 30,
            network_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// Why the server cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The library is not there.
    #[error("{} is missing: `make up` installs it, or run `npm ci` in infra/clickhouse", path.display())]
    LibraryMissing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The library is there and cannot be loaded.
    #[error("{} cannot be loaded: run `npm ci` in infra/clickhouse to install it again", path.display())]
    LibraryUnusable {
        /// What was loaded.
        path: PathBuf,
        /// The loader's own words.
        source: libloading::Error,
    },
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: is another server using the port?")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The data folder cannot be used.
    #[error("cannot use {}", path.display())]
    Data {
        /// The folder or file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Another process runs an engine over the data folder.
    #[error("another process is using {}: stop it first", path.display())]
    InUse {
        /// The data folder.
        path: PathBuf,
    },
    /// The engine did not start; it has written its reason to standard error.
    #[error("the engine refused to start over {}: its reason stands above, on standard error", path.display())]
    EngineRefused {
        /// The data folder.
        path: PathBuf,
    },
    /// The engine started and cannot answer about itself.
    #[error("the engine cannot be asked about itself: {message}")]
    Engine {
        /// The engine's own words.
        message: String,
    },
    /// Times would be read and written in another zone than everywhere else.
    #[error("the engine's time zone is {zone}: start this process with TZ=UTC in its environment")]
    TimeZone {
        /// The zone it took from its environment.
        zone: String,
    },
    /// A name in [`Access`] is not a plain identifier.
    #[error("names of tables, columns and views in the access options must be plain identifiers: {access:?}")]
    Names {
        /// The options.
        access: Box<Access>,
    },
    /// The server stopped by itself.
    #[error("the server failed")]
    Serve {
        /// The system's reason.
        source: io::Error,
    },
}

/// A server with its port taken and its engine running, ready to answer.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    pool: pool::Pool,
    state: http::State,
    drain_timeout: Duration,
}

impl Server {
    /// Takes the port, then starts the engine: a busy port is said before any data is touched.
    pub async fn bind(options: Options) -> Result<Self, Error> {
        let listening = |source| Error::Listen { address: options.listen, source };
        let listener = TcpListener::bind(options.listen).await.map_err(listening)?;
        let address = listener.local_addr().map_err(listening)?;
        let (pool, options) =
            tokio::task::spawn_blocking(move || pool::Pool::start(&options).map(|pool| (pool, options)))
                .await
                .map_err(|source| Error::Serve { source: io::Error::other(source) })??;
        tracing::info!(%address, version = pool.engine().about.version, data = %options.data.display(), "the ClickHouse engine is ready");
        let state = http::State::new(&options, &pool);
        Ok(Self { listener, address, pool, state, drain_timeout: options.drain_timeout })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown` resolves, lets running queries end, and closes the engine.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), Error> {
        let Self { listener, pool, state, drain_timeout, .. } = self;
        let (told, mut stopping) = tokio::sync::watch::channel(());
        let told_to_stop = async move {
            shutdown.await;
            drop(told);
        };
        let serving = axum::serve(listener, http::router(state)).with_graceful_shutdown(told_to_stop);
        let deadline = async move {
            // Ends when `told` is dropped.
            while stopping.changed().await.is_ok() {}
            tokio::time::sleep(drain_timeout).await;
        };
        let served = tokio::select! {
            served = serving => served.map_err(|source| Error::Serve { source }),
            () = deadline => {
                tracing::warn!(timeout_ms = drain_timeout.as_millis(), "queries did not end in time");
                Ok(())
            }
        };
        // Closing waits for workers, which may be deep in the engine: not on a thread of the runtime, and not for ever.
        let closing = tokio::task::spawn_blocking(move || pool.stop());
        if !matches!(tokio::time::timeout(drain_timeout, closing).await, Ok(Ok(true))) {
            tracing::warn!("the engine did not close in time; committed parts are safe, the next start takes them up");
        }
        served
    }
}

/// Runs until `shutdown` resolves, then closes the engine cleanly.
///
/// One call per process: the engine cannot be started again once closed. Give the process `TZ=UTC`.
pub async fn serve(options: Options, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), Error> {
    Server::bind(options).await?.run(shutdown).await
}
