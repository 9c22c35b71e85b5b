//! Configuration: one value, read once, checked before anything starts.
//!
//! Layers, later over earlier: the embedded `default.toml` (which documents every key), the file given by `--config`
//! (`.helix/helix.toml` locally), the environment (`HELIX__INGEST__LISTEN=…`: two underscores between the parts).
//! Unknown keys are refused. Nothing inside the services reads the environment.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use figment::{
    Figment,
    providers::{Env, Format, Toml},
};
use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// The documented defaults.
pub const DEFAULT_TOML: &str = include_str!("default.toml");

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A key is unknown, missing or of the wrong type.
    #[error("the configuration cannot be read: {0}")]
    Read(Box<figment::Error>),
    /// The values do not fit together.
    #[error("the configuration is wrong: {0}")]
    Check(String),
}

/// Everything.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The Kafka-compatible log.
    pub log: LogConfig,
    /// The schema registry.
    pub registry: RegistryConfig,
    /// The read models' database.
    pub postgres: PostgresConfig,
    /// The analytics database.
    pub clickhouse: ClickHouseConfig,
    /// Redis of the telephony core (liveness of sidecars).
    pub telephony_redis: RedisConfig,
    /// The HTTP edge.
    pub ingest: IngestConfig,
    /// The projectors, by name: `postgres`, `clickhouse`, `live`.
    pub project: ProjectConfig,
    /// Tokens.
    pub auth: AuthConfig,
    /// Logs.
    pub telemetry: TelemetryConfig,
    /// Every hospital of this installation, by slug.
    pub workspaces: BTreeMap<String, WorkspaceConfig>,
}

/// `[log]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// Bootstrap brokers, `host:port` separated by commas.
    pub brokers: String,
    /// Replicas of each topic.
    pub replicas: i32,
    /// How long a produce may take before it counts as "perhaps written".
    #[serde(with = "humantime_serde")]
    pub delivery_timeout: Duration,
    /// How long the producer waits to fill a batch.
    #[serde(with = "humantime_serde")]
    pub linger: Duration,
    /// Bound of the producer's queue, KiB.
    pub queue_kib: u32,
}

/// `[registry]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistryConfig {
    /// Base URL.
    pub url: String,
}

/// `[postgres]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresConfig {
    /// URL of the database, with the role that migrates and projects.
    pub url: Secret,
    /// Connections a process may hold.
    pub connections: u32,
}

/// `[clickhouse]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClickHouseConfig {
    /// Base URL of the HTTP interface.
    pub url: String,
    /// Database.
    pub database: String,
    /// User; empty where the server asks for none.
    pub user: String,
    /// Its password.
    pub password: Secret,
}

/// A Redis.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedisConfig {
    /// `redis://…`
    pub url: Secret,
}

/// `[ingest]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IngestConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Under which URL sidecars reach it: for the directory, and to know whether it is there.
    pub url: String,
    /// The provider account's secret.
    pub key: Secret,
    /// Largest body, bytes.
    pub body_limit: usize,
    /// A request is answered within this time, with 503 if need be. Above `log.delivery_timeout`.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
    /// The account's time zone (IANA), of every naive time the provider sends.
    pub zone: String,
}

/// `[project]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectConfig {
    /// `project postgres`
    pub postgres: ProjectorConfig,
    /// `project clickhouse`
    pub clickhouse: ProjectorConfig,
    /// `project live`
    pub live: ProjectorConfig,
}

/// `[project.<name>]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectorConfig {
    /// Where its health and metrics listen.
    pub listen: SocketAddr,
    /// A name for this instance that survives its restarts, unlike any other instance's of the projector: a restarted
    /// instance then has its partitions back at once. Empty: a new member of the group at each start.
    pub instance: String,
    /// A batch is cut at this many facts.
    pub batch_facts: usize,
    /// Or at this many KiB.
    pub batch_kib: usize,
    /// Or after this time since its first fact, where more facts are waiting.
    #[serde(with = "humantime_serde")]
    pub batch_time: Duration,
}

/// `[auth]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthConfig {
    /// Expected `iss`.
    pub issuer: String,
    /// JSON Web Key Set with every public key that may sign a token.
    pub jwks: PathBuf,
    /// How long a token from `/api/auth/login` holds.
    #[serde(with = "humantime_serde")]
    pub token_lifetime: Duration,
}

/// `[telemetry]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TelemetryConfig {
    /// A tracing filter, as `info` or `helix_ingest=debug,info`.
    pub log: String,
    /// `text` or `json`.
    pub format: String,
}

/// `[workspaces.<slug>]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkspaceConfig {
    /// The hospital's name, as people say it.
    pub name: String,
    /// IANA zone of its days.
    pub zone: String,
    /// Secret of its callbacks.
    pub webhook_key: Secret,
    /// Secret of its sidecar for the directory.
    pub register_key: Secret,
    /// Its own Redis.
    pub redis_url: Secret,
    /// Where its sidecar listens.
    pub sidecar_listen: SocketAddr,
    /// Under which URL others reach its sidecar.
    pub sidecar_url: String,
    /// PKCS#8 PEM of the Ed25519 key that signs its sidecar's tokens.
    pub signing_key: PathBuf,
    /// Agents the sidecar registers at boot.
    pub agents: Vec<String>,
    /// DIDs the sidecar registers at boot.
    pub dids: Vec<String>,
    /// An unanswered call that ends within this many seconds of ringing is a short abandon.
    #[serde(default = "ten")]
    pub short_abandon_seconds: i64,
    /// An answer within this many seconds meets the service level.
    #[serde(default = "twenty")]
    pub service_level_seconds: i64,
    /// People who may sign in with a password.
    #[serde(default)]
    pub users: Vec<UserConfig>,
}

const fn ten() -> i64 {
    10
}

const fn twenty() -> i64 {
    20
}

/// `[[workspaces.<slug>.users]]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserConfig {
    /// Sign-in name.
    pub email: String,
    /// Argon2id hash in PHC form.
    pub password_hash: Secret,
    /// `admin`, `supervisor`, `analyst`, `auditor` or `agent`.
    pub role: crate::auth::Role,
    /// The agent this person is, for role `agent`.
    #[serde(default)]
    pub agent: Option<String>,
}

impl Config {
    /// Reads and checks: defaults < `file` < environment.
    ///
    /// # Errors
    /// [`ConfigError`] with the key at fault.
    pub fn load(file: Option<&std::path::Path>) -> Result<Self, ConfigError> {
        let mut figment = Figment::from(Toml::string(DEFAULT_TOML));
        if let Some(file) = file {
            if !file.is_file() {
                return Err(ConfigError::Check(format!(
                    "there is no file {} (start the local stack with `make up`, or name another with --config)",
                    file.display()
                )));
            }
            figment = figment.merge(Toml::file(file));
        }
        let figment = figment.merge(Env::prefixed("HELIX__").split("__"));
        let config: Self = figment.extract().map_err(|error| ConfigError::Read(Box::new(error)))?;
        config.check()?;
        Ok(config)
    }

    /// Checks what no single field can: refuse to boot wrong.
    ///
    /// # Errors
    /// [`ConfigError::Check`].
    pub fn check(&self) -> Result<(), ConfigError> {
        let fail = |message: String| Err(ConfigError::Check(message));
        if self.log.delivery_timeout >= self.ingest.deadline {
            return fail("log.delivery_timeout must be below ingest.deadline".to_owned());
        }
        if self.log.replicas < 1 {
            return fail("log.replicas must be at least 1".to_owned());
        }
        let mut redis: BTreeMap<&str, &str> = BTreeMap::new();
        for (slug, workspace) in &self.workspaces {
            let good = !slug.is_empty()
                && slug.len() <= 63
                && slug.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
            if !good {
                return fail(format!("workspaces.{slug}: a slug is 1 to 63 of a-z, 0-9 and -"));
            }
            if workspace.webhook_key.is_empty() || workspace.register_key.is_empty() {
                return fail(format!("workspaces.{slug}: webhook_key and register_key must be set"));
            }
            if let Some(other) = redis.insert(workspace.redis_url.reveal(), slug) {
                return fail(format!("workspaces.{slug}.redis_url is also that of {other}: each has its own"));
            }
        }
        Ok(())
    }
}
