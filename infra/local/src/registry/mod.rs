//! A Confluent-compatible schema registry for the local stack; production uses Redpanda's.
//!
//! It keeps three promises that clients build on: an id once given never means another schema, not even after a
//! crash; the same schema gets the same id; and a schema that breaks the subject's compatibility is refused.
//!
//! Two texts are the same schema where their JSON is the same up to white space and the order of keys. Avro's own
//! canonical form would not do: it leaves out defaults, which are what compatibility stands on.

mod api;
mod compatibility;
mod fault;
mod store;

use std::{future::Future, path::PathBuf};

use tokio::net::TcpListener;

pub use compatibility::Level;
pub use store::{StoreError, Stored};

/// How to run it.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder of its file; created if absent.
    pub data: PathBuf,
}

/// Why it cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Its file cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The socket failed.
    #[error("the registry's socket failed: {0}")]
    Socket(#[from] std::io::Error),
}

/// Serves on `listener` until `shutdown`.
///
/// # Errors
/// [`RegistryError::Store`] before the first answer where its file cannot be read; [`RegistryError::Socket`].
pub async fn serve(
    listener: TcpListener,
    options: &Options,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RegistryError> {
    let store = store::Store::open(&options.data)?;
    tracing::info!(address = ?listener.local_addr().ok(), schemas = store.ids(), "the schema registry is ready");
    axum::serve(listener, api::router(store)).with_graceful_shutdown(shutdown).await?;
    Ok(())
}
