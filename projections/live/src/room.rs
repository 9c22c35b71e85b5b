//! Scripts on a Redis whose memory is full.

use redis::{FromRedisValue, RedisError, ScriptInvocation, aio::MultiplexedConnection};

use crate::keys::Keys;

/// Runs a script. A Redis whose memory is full refuses it before it has written anything: deltas then make room for the state,
/// as readers can do without them, down to none.
pub(crate) async fn invoke<T: FromRedisValue>(
    call: &ScriptInvocation<'_>,
    keys: &Keys,
    connection: &mut MultiplexedConnection,
) -> Result<T, RedisError> {
    loop {
        let answer = call.invoke_async(connection).await;
        let is_full = answer.as_ref().is_err_and(|error| error.code() == Some("OOM"));
        if !is_full || !make_room(keys, connection).await? {
            return answer;
        }
    }
}

/// Halves the deltas; false where there are none.
async fn make_room(keys: &Keys, connection: &mut MultiplexedConnection) -> Result<bool, RedisError> {
    let held: usize = redis::cmd("XLEN").arg(&keys.deltas).query_async(connection).await?;
    if held == 0 {
        return Ok(false);
    }
    let mut trim = redis::cmd("XTRIM");
    let trimmed: usize = trim.arg(&keys.deltas).arg("MAXLEN").arg("=").arg(held / 2).query_async(connection).await?;
    tracing::warn!(trimmed, "the workspace's Redis is full: older deltas made room");
    Ok(true)
}
