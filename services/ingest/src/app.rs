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

/// The secrets of one workspace.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    pub(crate) webhook: Secret,
    pub(crate) register: Secret,
}

/// The service, without its sockets and tasks.
#[derive(Debug)]
pub struct App {
    pub(crate) config: Config,
    pub(crate) zone: Tz,
    pub(crate) workspaces: BTreeMap<WorkspaceId, Keys>,
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
    let mut all = vec![config.ingest.key.reveal(), config.clickhouse.password.reveal()];
    for workspace in config.workspaces.values() {
        all.push(workspace.webhook_key.reveal());
        all.push(workspace.register_key.reveal());
    }
    all
}

impl App {
    /// Puts the parts together.
    ///
    /// # Errors
    /// [`IngestError::Config`] where the zone or a workspace's name is none, or the account has no key.
    pub fn new(parts: Parts) -> Result<Arc<Self>, IngestError> {
        let Parts { config, publisher, codecs, directory, liveness, recent, readiness } = parts;
        let zone: Tz =
            config.ingest.zone.parse().map_err(|_| {
                IngestError::Config(format!("ingest.zone {:?} is no IANA time zone", config.ingest.zone))
            })?;
        if config.ingest.key.is_empty() {
            return Err(IngestError::Config("ingest.key must be set: without it no webhook could be taken".to_owned()));
        }
        let mut workspaces = BTreeMap::new();
        for (slug, workspace) in &config.workspaces {
            let slug = WorkspaceId::new(slug).map_err(|error| IngestError::Config(format!("workspaces: {error}")))?;
            let keys = Keys { webhook: workspace.webhook_key.clone(), register: workspace.register_key.clone() };
            workspaces.insert(slug, keys);
        }
        let registrar =
            Registrar::new(directory.clone(), publisher.clone(), codecs.clone(), config.log.delivery_timeout);
        Ok(Arc::new(Self {
            zone,
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
