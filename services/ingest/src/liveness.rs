//! Which sidecars are alive: one Redis key a workspace, kept by heartbeats, gone after 90 s without.
//!
//! Liveness is not membership (design.md section 7): nothing here decides where a fact goes, and Redis may be down
//! without a single event being refused.

use std::{collections::BTreeMap, time::Duration};

use helix_kit::config::RedisConfig;
use helix_schemas::names::WorkspaceId;
use redis::{
    AsyncCommands, RedisError,
    aio::{ConnectionManager, ConnectionManagerConfig},
};

/// How long a heartbeat holds.
pub const EXPIRES: Duration = Duration::from_secs(90);
/// How long Redis may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// The store of heartbeats.
#[derive(Clone)]
pub struct Liveness {
    redis: ConnectionManager,
}

impl std::fmt::Debug for Liveness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Liveness")
    }
}

fn key(workspace: &WorkspaceId) -> String {
    format!("helix:live:{workspace}")
}

impl Liveness {
    /// A store that connects when it is first asked.
    ///
    /// # Errors
    /// Where the URL is none of Redis.
    pub fn new(config: &RedisConfig) -> Result<Self, RedisError> {
        let client = redis::Client::open(config.url.reveal())?;
        let settings = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE))
            .set_number_of_retries(1)
            .set_max_delay(PATIENCE);
        Ok(Self { redis: ConnectionManager::new_lazy_with_config(client, settings)? })
    }

    /// Notes that a workspace's sidecar lives.
    ///
    /// # Errors
    /// Where Redis does not answer.
    pub async fn beat(&self, workspace: &WorkspaceId) -> Result<(), RedisError> {
        self.redis.clone().set_ex::<_, _, ()>(key(workspace), "1", EXPIRES.as_secs()).await
    }

    /// Which of the workspaces live.
    ///
    /// # Errors
    /// Where Redis does not answer.
    pub async fn living(&self, workspaces: &[WorkspaceId]) -> Result<BTreeMap<WorkspaceId, bool>, RedisError> {
        if workspaces.is_empty() {
            return Ok(BTreeMap::new());
        }
        let keys: Vec<String> = workspaces.iter().map(key).collect();
        let found: Vec<Option<String>> = self.redis.clone().mget(keys).await?;
        Ok(workspaces.iter().cloned().zip(found.into_iter().map(|value| value.is_some())).collect())
    }
}
