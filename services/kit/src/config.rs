//! Configuration: one value, read once, checked before anything starts.
//!
//! Layers, later over earlier: the embedded `default.toml` (which documents every key), the file given by `--config`
//! (`.helix/helix.toml` locally), the environment (`HELIX__INGEST__LISTEN=…`: two underscores between the parts).
//! Unknown keys are refused. Nothing inside the services reads the environment.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use figment::{
    Figment,
    error::{Actual, Kind},
    providers::{Env, Format, Toml},
};
use serde::{Deserialize, Serialize};

use crate::{http::Limits, secret::Secret};

mod check;

/// The documented defaults.
pub const DEFAULT_TOML: &str = include_str!("default.toml");

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A key is unknown, missing or of the wrong type.
    #[error("the configuration cannot be read: {0}")]
    Read(String),
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
    /// What ingest keeps on its own disk while the log does not acknowledge.
    pub spool: SpoolConfig,
    /// The projectors, by name: `postgres`, `clickhouse`, `live`.
    pub project: ProjectConfig,
    /// What presumes: wrap-ups that expired, calls that nobody ended, agents who went silent.
    pub automation: ProjectorConfig,
    /// Tokens.
    pub auth: AuthConfig,
    /// What people do and see, until the log has it.
    pub audit: AuditConfig,
    /// Logs.
    pub telemetry: TelemetryConfig,
    /// The provider's accounts whose webhooks are taken, by a name of our own.
    pub accounts: BTreeMap<String, AccountConfig>,
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
    /// Encryption of the connections to the brokers.
    pub tls: TlsConfig,
    /// Who we are to the brokers.
    pub sasl: SaslConfig,
}

/// `[log.tls]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// Whether the brokers are spoken to over TLS. Their certificates and names are always verified.
    pub enabled: bool,
    /// PEM of the authorities that are trusted; empty: those of the machine.
    pub ca: PathBuf,
    /// PEM of our own certificate, where brokers ask for one; empty: none.
    pub certificate: PathBuf,
    /// PEM of its private key.
    pub key: PathBuf,
    /// Password of that key, where it has one.
    pub key_password: Secret,
}

/// `[log.sasl]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaslConfig {
    /// `SCRAM-SHA-256`, `SCRAM-SHA-512` or `PLAIN`; empty: none.
    pub mechanism: String,
    /// User.
    pub username: String,
    /// Its password.
    pub password: Secret,
}

impl LogConfig {
    /// What every Kafka client of Helix is told about how to reach the brokers, as librdkafka's settings.
    #[must_use]
    pub fn connection(&self) -> Vec<(String, String)> {
        let mut settings = vec![("bootstrap.servers".to_owned(), self.brokers.clone())];
        let mut set = |name: &str, value: String| {
            if !value.is_empty() {
                settings.push((name.to_owned(), value));
            }
        };
        let protocol = match (self.tls.enabled, self.sasl.mechanism.is_empty()) {
            (false, true) => return settings,
            (true, true) => "ssl",
            (false, false) => "sasl_plaintext",
            (true, false) => "sasl_ssl",
        };
        set("security.protocol", protocol.to_owned());
        if self.tls.enabled {
            set("ssl.ca.location", self.tls.ca.display().to_string());
            set("ssl.certificate.location", self.tls.certificate.display().to_string());
            set("ssl.key.location", self.tls.key.display().to_string());
            set("ssl.key.password", self.tls.key_password.reveal().to_owned());
            set("enable.ssl.certificate.verification", "true".to_owned());
            set("ssl.endpoint.identification.algorithm", "https".to_owned());
        }
        set("sasl.mechanism", self.sasl.mechanism.clone());
        set("sasl.username", self.sasl.username.clone());
        set("sasl.password", self.sasl.password.reveal().to_owned());
        settings
    }
}

/// `[spool]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpoolConfig {
    /// Folder of its file, on a disk of this machine, this instance's alone. Empty: no spool, and an event that the
    /// log does not acknowledge is answered 503.
    pub folder: PathBuf,
    /// Bound, MiB of records.
    pub limit_mib: u64,
    /// A record that the log has not acknowledged after this time goes to the spool. Below `log.delivery_timeout`.
    #[serde(with = "humantime_serde")]
    pub after: Duration,
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
    /// Largest body, bytes.
    pub body_limit: usize,
    /// A request is answered within this time, with 503 if need be. Above `log.delivery_timeout`.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
    /// A client that has not sent its headers within this time is disconnected; so is one that sends nothing more.
    #[serde(with = "humantime_serde")]
    pub header_timeout: Duration,
    /// Most connections at once; more wait to be accepted.
    pub connections: usize,
    /// Addresses and networks of our own gateways: the last other address in their `X-Forwarded-For` is the source.
    pub trusted_proxies: Vec<String>,
}

impl IngestConfig {
    /// What its connections may cost.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits { header_timeout: self.header_timeout, connections: self.connections, ..Limits::default() }
    }
}

/// `[accounts.<name>]`: one account at the provider.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountConfig {
    /// The secret of its webhooks, and of its callbacks' `Apikey`.
    pub key: Secret,
    /// Its time zone (IANA), of every naive time it sends.
    pub zone: String,
    /// Addresses and networks it may post from; empty: any.
    #[serde(default)]
    pub allowed_sources: Vec<String>,
    /// Events a second that it may post without a known workspace, and of each burst.
    #[serde(default)]
    pub rate: RateConfig,
}

/// How many events are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateConfig {
    /// Events a second.
    pub per_second: u32,
    /// Events at once after a quiet time.
    pub burst: u32,
}

impl Default for RateConfig {
    /// More than any hospital has been seen to need, and less than would starve the others.
    fn default() -> Self {
        Self { per_second: 2_000, burst: 10_000 }
    }
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
    /// `project forward`
    pub forward: ProjectorConfig,
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
    /// The platform's issuer, where it publishes its keys.
    pub platform: PlatformConfig,
}

/// `[auth.platform]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlatformConfig {
    /// URL of its JSON Web Key Set; empty: none is fetched, and `auth.jwks` holds all keys there are.
    pub url: String,
    /// Expected `iss` of what those keys sign; empty: `auth.issuer`.
    pub issuer: String,
    /// Expected in `aud`; empty: not asked for.
    pub audience: String,
    /// How often the set is fetched again.
    #[serde(with = "humantime_serde")]
    pub refresh: Duration,
}

/// `[audit]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditConfig {
    /// Folder on a disk of this machine where sidecars keep audit facts until the log has them, each in a folder of its
    /// workspace's name, which no other instance uses.
    pub folder: PathBuf,
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
    /// What stands before its callers' national numbers, digits alone.
    #[serde(default = "india")]
    pub country_code: String,
    /// Which of `[accounts]` its callbacks come from; not needed where there is one.
    #[serde(default)]
    pub account: Option<String>,
    /// Addresses and networks its callbacks may come from; empty: any.
    #[serde(default)]
    pub allowed_sources: Vec<String>,
    /// Events it may have taken.
    #[serde(default)]
    pub rate: RateConfig,
    /// After how long automation presumes what nobody says.
    #[serde(default)]
    pub automation: AutomationConfig,
    /// A sidecar of its own that speaks the older contract, to which `project forward` delivers its facts.
    #[serde(default)]
    pub forward: Option<ForwardConfig>,
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
    /// How its missed calls are worked.
    #[serde(default)]
    pub rules: RulesConfig,
    /// What its monitor calls a person for.
    #[serde(default)]
    pub alerts: Vec<AlertConfig>,
    /// URL of the read models' database with the workspace's own role, for its sidecar; empty: `postgres.url`.
    #[serde(default)]
    pub postgres_url: Secret,
    /// The workspace's own user of ClickHouse, for its sidecar; empty: that of `[clickhouse]`.
    #[serde(default)]
    pub clickhouse_user: String,
    /// Its password.
    #[serde(default)]
    pub clickhouse_password: Secret,
    /// People who may sign in with a password.
    #[serde(default)]
    pub users: Vec<UserConfig>,
}

/// `[[workspaces.<slug>.alerts]]`: a bound, above or below which a person is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AlertConfig {
    /// What is read.
    pub metric: AlertMetric,
    /// Called while it is above this,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<i64>,
    /// or below this: one of the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<i64>,
}

/// What an alert can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AlertMetric {
    /// Seconds that the caller who waits longest has waited.
    LongestWait,
    /// Callers who wait while no agent is ready.
    NoneReady,
    /// Callers who wait.
    WaitingCallers,
    /// Percent of the day's calls that were answered in time.
    ServiceLevel,
    /// Open missed calls that are past their time.
    OverdueMissedCalls,
    /// Open missed calls.
    OpenMissedCalls,
}

/// `[workspaces.<slug>.automation]`: whole seconds; "0s" turns a rule off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AutomationConfig {
    /// A wrap-up that lasts longer has expired: the agent is ready.
    #[serde(with = "humantime_serde")]
    pub wrap_up: Duration,
    /// A call whose agent is ready or offline this long after its last sign of life has ended.
    #[serde(with = "humantime_serde")]
    pub call_grace: Duration,
    /// An answered call without a sign of life for longer has ended.
    #[serde(with = "humantime_serde")]
    pub call: Duration,
    /// A call that nobody answered, without a sign of life for longer, has ended.
    #[serde(with = "humantime_serde")]
    pub waiting: Duration,
    /// An agent who is signed in and silent for longer is offline.
    #[serde(with = "humantime_serde")]
    pub silence: Duration,
    /// Sessions of agents who have been silent since before midnight are closed this long after it.
    #[serde(with = "humantime_serde")]
    pub day_end: Duration,
}

impl Default for AutomationConfig {
    fn default() -> Self {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        Self {
            wrap_up: Duration::from_secs(30),
            call_grace: Duration::from_secs(10),
            call: hours(4),
            waiting: hours(1),
            silence: hours(4),
            day_end: hours(4),
        }
    }
}

impl AutomationConfig {
    /// Every bound with its key.
    #[must_use]
    pub const fn bounds(&self) -> [(&'static str, Duration); 6] {
        [
            ("wrap_up", self.wrap_up),
            ("call_grace", self.call_grace),
            ("call", self.call),
            ("waiting", self.waiting),
            ("silence", self.silence),
            ("day_end", self.day_end),
        ]
    }
}

/// `[workspaces.<slug>.rules]`: missed calls (docs/rules.md).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RulesConfig {
    /// A missed call should be called back within this many seconds.
    pub due_after_seconds: i64,
    /// So many unanswered attempts close it; 0: none does.
    pub attempts: i64,
    /// How urgent it is: the sum of what applies.
    pub priority: PriorityConfig,
    /// An earlier answered call of the caller with one of these dispositions makes its later ones spam.
    pub spam_dispositions: Vec<String>,
}

/// `[workspaces.<slug>.rules.priority]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PriorityConfig {
    /// Of a missed call.
    pub missed: i64,
    /// Of a short abandon.
    pub short_abandon: i64,
    /// For each other missed call of the caller within the window before,
    pub repeat: i64,
    /// but so much at most.
    pub repeat_most: i64,
    /// The window.
    pub repeat_window_seconds: i64,
    /// For each attempt made; usually negative.
    pub per_attempt: i64,
    /// For a caller who is known as spam; usually negative.
    pub spam: i64,
}

impl Default for RulesConfig {
    fn default() -> Self {
        Self { due_after_seconds: 600, attempts: 3, priority: PriorityConfig::default(), spam_dispositions: Vec::new() }
    }
}

impl Default for PriorityConfig {
    fn default() -> Self {
        Self {
            missed: 100,
            short_abandon: 50,
            repeat: 10,
            repeat_most: 50,
            repeat_window_seconds: 86_400,
            per_attempt: -10,
            spam: -80,
        }
    }
}

/// `[workspaces.<slug>.forward]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForwardConfig {
    /// Base URL of the receiver.
    pub url: String,
    /// Sent as `X-Helix-Key`, where the receiver asks for one.
    #[serde(default)]
    pub key: Secret,
    /// How long the receiver may take to answer one event.
    #[serde(with = "humantime_serde", default = "five_seconds")]
    pub timeout: Duration,
    /// Requests in flight at once, each of another agent.
    #[serde(default = "eight")]
    pub concurrency: usize,
}

const fn five_seconds() -> Duration {
    Duration::from_secs(5)
}

const fn eight() -> usize {
    8
}

fn india() -> String {
    "91".to_owned()
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
        let config: Self = figment.extract().map_err(|error| ConfigError::Read(told(&error)))?;
        config.check()?;
        Ok(config)
    }

    /// The account of a workspace's callbacks.
    #[must_use]
    pub fn account_of(&self, workspace: &WorkspaceConfig) -> Option<(&str, &AccountConfig)> {
        let found = match &workspace.account {
            Some(name) => self.accounts.get_key_value(name),
            None => self.accounts.first_key_value(),
        };
        found.map(|(name, account)| (name.as_str(), account))
    }
}

/// What is at fault and where, without the value: it may be a secret, or stand beside one.
fn told(error: &figment::Error) -> String {
    let told = |fault: figment::Error| {
        let mut text = match &fault.kind {
            Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => {
                format!("{} is not {expected}", kind_of(found))
            }
            Kind::UnknownVariant(_, known) => format!("it is none of {}", known.join(", ")),
            Kind::UnknownField(name, _) => format!("there is no key {name}"),
            Kind::MissingField(name) => format!("{name} is missing"),
            // A parser shows the line at fault: each line of such a picture has a bar.
            Kind::Message(message) => message.lines().filter(|line| !line.contains('|')).collect::<Vec<_>>().join(": "),
            Kind::DuplicateField(name) => format!("{name} is said twice"),
            Kind::InvalidLength(length, expected) => format!("{length} are not {expected}"),
            Kind::ISizeOutOfRange(_) | Kind::USizeOutOfRange(_) => "a number is out of range".to_owned(),
            Kind::Unsupported(found) | Kind::UnsupportedKey(found, _) => {
                format!("{} has no place here", kind_of(found))
            }
        };
        if !fault.path.is_empty() {
            text = format!("{}: {text}", fault.path.join("."));
        }
        match fault.metadata.as_ref().map(|metadata| (&metadata.name, &metadata.source)) {
            Some((_, Some(source))) => format!("{text} (in {source})"),
            Some((name, None)) => format!("{text} (in {name})"),
            None => text,
        }
    };
    error.clone().into_iter().map(told).collect::<Vec<_>>().join("; ")
}

fn kind_of(found: &Actual) -> &'static str {
    match found {
        Actual::Bool(_) => "true or false",
        Actual::Unsigned(_) | Actual::Signed(_) | Actual::Float(_) => "a number",
        Actual::Char(_) | Actual::Str(_) | Actual::Bytes(_) => "this text",
        Actual::Seq => "a list",
        Actual::Map
        | Actual::Enum
        | Actual::UnitVariant
        | Actual::NewtypeVariant
        | Actual::TupleVariant
        | Actual::StructVariant => "a table",
        Actual::Unit | Actual::Option | Actual::NewtypeStruct | Actual::Other(_) => "this",
    }
}

/// An address, or a network as `203.0.113.0/24`.
#[must_use]
pub fn network(text: &str) -> Option<ipnet::IpNet> {
    text.parse().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(ipnet::IpNet::from))
}
