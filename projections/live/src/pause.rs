//! An operator's word that a board is to rest. It lies in the workspace's own Redis, beside the state and outlives it: a board that
//! is made anew rests too.

use helix_schemas::names::WorkspaceId;
use redis::aio::MultiplexedConnection;

use crate::{
    keys::Keys,
    reader::{ReadError, connect},
};

/// Tells a workspace's board to rest, or to go on. Its projector hears it within about a second.
///
/// # Errors
/// [`ReadError::Redis`].
pub async fn pause(url: &str, workspace: &WorkspaceId, paused: bool) -> Result<(), ReadError> {
    let mut connection = connect(&redis::Client::open(url)?).await?;
    let key = Keys::of(workspace).paused;
    let mut told = redis::cmd(if paused { "SET" } else { "DEL" });
    told.arg(key);
    if paused {
        told.arg(1);
    }
    Ok(told.query_async::<redis::Value>(&mut connection).await.map(drop)?)
}

/// Whether it is told to rest.
///
/// # Errors
/// [`ReadError::Redis`].
pub async fn paused(url: &str, workspace: &WorkspaceId) -> Result<bool, ReadError> {
    let mut connection = connect(&redis::Client::open(url)?).await?;
    Ok(is_paused(&mut connection, &Keys::of(workspace)).await?)
}

pub(crate) async fn is_paused(connection: &mut MultiplexedConnection, keys: &Keys) -> redis::RedisResult<bool> {
    redis::cmd("EXISTS").arg(&keys.paused).query_async(connection).await
}
