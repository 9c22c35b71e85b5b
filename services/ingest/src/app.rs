//! The service put together: every part is named here, so that one that is missing does not compile.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use chrono_tz::Tz;
use helix_kit::{config::Config, http::Readiness, secret::Secret};
use helix_schemas::names::WorkspaceId;
use metrics_exporter_prometheus::PrometheusHandle;

use crate::{
    IngestError, bucket::Bucket, codecs::Codecs, directory::View, liveness::Liveness, publish::Publisher,
    recent::Recent, redact::Redactor, registrar::Registrar,
};

/// Refused bodies kept a second, and at once.
const KEPT_PER_SECOND: u32 = 20;
const KEPT_BURST: u32 = 100;

/// What the service is made of.
#[derive(Debug)]
pub struct Parts {
    /// The configuration.
    pub config: Config,
    /// The producer.
    pub publisher: Arc<Publisher>,
    /// The codecs, once the registry has answered.
    pub codecs: Arc<OnceLock<Codecs>>,
    /// The directory, as its reader sees it.
    pub directory: Arc<View>,
    /// The heartbeats.
    pub liveness: Liveness,
    /// The ids acknowledged lately.
    pub recent: Arc<Recent>,
    /// What `/readyz` says.
    pub readiness: Readiness,
}

/// One account at the provider, as configured.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) key: Secret,
    pub(crate) zone: Tz,
}

/// The doors of one workspace.
#[derive(Debug)]
pub(crate) struct Doors {
    /// Of its callbacks.
    pub(crate) webhook: Secret,
    /// Of its sidecar.
    pub(crate) register: Secret,
    /// Whose key its callbacks may carry, and in whose zone they tell the time.
    pub(crate) account: Arc<Account>,
}

/// The service, without its sockets and tasks.
#[derive(Debug)]
pub struct App {
    pub(crate) config: Config,
    pub(crate) accounts: Vec<Arc<Account>>,
    pub(crate) workspaces: BTreeMap<WorkspaceId, Doors>,
    pub(crate) redactor: Redactor,
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) codecs: Arc<OnceLock<Codecs>>,
    pub(crate) directory: Arc<View>,
    pub(crate) registrar: Registrar,
    pub(crate) liveness: Liveness,
    pub(crate) recent: Arc<Recent>,
    pub(crate) readiness: Readiness,
    pub(crate) refused_kept: Bucket,
}

/// Every secret that could stand in a body.
fn secrets(config: &Config) -> Vec<&str> {
    let urls = config.workspaces.values().map(|workspace| &workspace.redis_url);
    let urls = urls.chain([&config.postgres.url, &config.telephony_redis.url]);
    let mut all: Vec<&str> = urls.filter_map(|url| password(url.reveal())).collect();
    all.extend([config.clickhouse.password.reveal(), config.log.sasl.password.reveal()]);
    all.extend(config.accounts.values().map(|account| account.key.reveal()));
    for workspace in config.workspaces.values() {
        all.push(workspace.webhook_key.reveal());
        all.push(workspace.register_key.reveal());
        all.extend(workspace.forward.iter().map(|forward| forward.key.reveal()));
    }
    all
}

/// The password in a URL, as `redis://:password@host`.
fn password(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let (sign_in, _) = rest.rsplit_once('@')?;
    sign_in.split_once(':').map(|(_, password)| password)
}

impl App {
    /// Puts the parts together.
    ///
    /// # Errors
    /// [`IngestError::Config`] where a zone, an account or a workspace's name is none.
    pub fn new(parts: Parts) -> Result<Arc<Self>, IngestError> {
        let Parts { config, publisher, codecs, directory, liveness, recent, readiness } = parts;
        let fault = |text: &str| IngestError::Config(text.to_owned());
        let mut accounts = BTreeMap::new();
        for (name, account) in &config.accounts {
            let zone = account.zone.parse().map_err(|_| fault("the zone of an account is none"))?;
            accounts.insert(name.as_str(), Arc::new(Account { key: account.key.clone(), zone }));
        }
        if accounts.is_empty() {
            return Err(fault("there are no [accounts]: without one no webhook could be taken"));
        }
        let mut workspaces = BTreeMap::new();
        for (slug, workspace) in &config.workspaces {
            let account = config.account_of(workspace).and_then(|(name, _)| accounts.get(name));
            let doors = Doors {
                webhook: workspace.webhook_key.clone(),
                register: workspace.register_key.clone(),
                account: account.cloned().ok_or_else(|| fault("the account of a workspace is none of [accounts]"))?,
            };
            let slug = WorkspaceId::new(slug).map_err(|error| IngestError::Config(format!("workspaces: {error}")))?;
            workspaces.insert(slug, doors);
        }
        let accounts = accounts.into_values().collect();
        let registrar =
            Registrar::new(directory.clone(), publisher.clone(), codecs.clone(), config.log.delivery_timeout);
        Ok(Arc::new(Self {
            accounts,
            workspaces,
            redactor: Redactor::new(secrets(&config)),
            publisher,
            codecs,
            directory,
            registrar,
            liveness,
            recent,
            readiness,
            refused_kept: Bucket::new(KEPT_PER_SECOND, KEPT_BURST),
            config,
        }))
    }

    /// The routes, with health and metrics.
    pub fn router(self: &Arc<Self>, metrics: PrometheusHandle) -> axum::Router {
        crate::http::router(self, metrics)
    }
}
