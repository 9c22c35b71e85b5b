//! The service put together: every part is named here, so that one that is missing does not compile.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use chrono_tz::Tz;
use helix_kit::{
    config::{Config, RateConfig, network},
    http::Readiness,
    secret::Secret,
};
use helix_schemas::names::WorkspaceId;
use ipnet::IpNet;
use metrics_exporter_prometheus::PrometheusHandle;

use crate::{
    IngestError, bucket::Bucket, codecs::Codecs, directory::View, liveness::Liveness, outlet::Outlet,
    publish::Publisher, recent::Recent, redact::Redactor, registrar::Registrar,
};

/// How many bodies of senders that are not let in are kept.
const REFUSED_KEPT: RateConfig = RateConfig { per_second: 20, burst: 100 };

/// What the service is made of.
#[derive(Debug)]
pub struct Parts {
    /// The configuration.
    pub config: Config,
    /// The producer, for the directory.
    pub publisher: Arc<Publisher>,
    /// The way of events into the log.
    pub outlet: Arc<Outlet>,
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
    /// Empty: any.
    pub(crate) sources: Vec<IpNet>,
    /// Of events whose workspace is not known.
    pub(crate) rate: Bucket,
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
    /// Of its callbacks; empty: any.
    pub(crate) sources: Vec<IpNet>,
    /// Of all its events.
    pub(crate) rate: Bucket,
}

fn networks(texts: &[String]) -> Vec<IpNet> {
    texts.iter().filter_map(|text| network(text)).collect()
}

/// The service, without its sockets and tasks.
#[derive(Debug)]
pub struct App {
    pub(crate) config: Config,
    pub(crate) accounts: Vec<Arc<Account>>,
    pub(crate) workspaces: BTreeMap<WorkspaceId, Doors>,
    pub(crate) redactor: Redactor,
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) outlet: Arc<Outlet>,
    pub(crate) codecs: Arc<OnceLock<Codecs>>,
    pub(crate) directory: Arc<View>,
    pub(crate) registrar: Registrar,
    pub(crate) liveness: Liveness,
    pub(crate) recent: Arc<Recent>,
    pub(crate) readiness: Readiness,
    pub(crate) refused_kept: Bucket,
}

/// Every secret that could stand in a body.
pub(crate) fn secrets(config: &Config) -> Vec<&str> {
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
        let Parts { config, publisher, outlet, codecs, directory, liveness, recent, readiness } = parts;
        let fault = |text: &str| IngestError::Config(text.to_owned());
        let mut accounts = BTreeMap::new();
        for (name, account) in &config.accounts {
            let zone = account.zone.parse().map_err(|_| fault("the zone of an account is none"))?;
            let (sources, rate) = (networks(&account.allowed_sources), Bucket::new(account.rate));
            let account = Account { key: account.key.clone(), zone, sources, rate };
            accounts.insert(name.as_str(), Arc::new(account));
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
                sources: networks(&workspace.allowed_sources),
                rate: Bucket::new(workspace.rate),
            };
            let slug = WorkspaceId::new(slug).map_err(|error| IngestError::Config(format!("workspaces: {error}")))?;
            workspaces.insert(slug, doors);
        }
        let accounts = accounts.into_values().collect();
        let registrar = Registrar::new(directory.clone(), publisher, codecs.clone(), config.log.delivery_timeout);
        Ok(Arc::new(Self {
            accounts,
            workspaces,
            redactor: Redactor::new(secrets(&config)),
            trusted_proxies: networks(&config.ingest.trusted_proxies),
            outlet,
            codecs,
            directory,
            registrar,
            liveness,
            recent,
            readiness,
            refused_kept: Bucket::new(REFUSED_KEPT),
            config,
        }))
    }

    /// The routes, with health and metrics.
    pub fn router(self: &Arc<Self>, metrics: PrometheusHandle) -> axum::Router {
        crate::http::router(self, metrics)
    }
}
