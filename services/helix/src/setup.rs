//! What every verb begins with: the configuration, the metrics, the settings of the workspaces.

use std::{collections::BTreeMap, path::Path};

use helix_fold::settings::Settings;
use helix_kit::{config::Config, telemetry};
use helix_schemas::names::WorkspaceId;

use crate::failure::Failure;

/// Configuration of the local stack, where none is named and there is one.
const LOCAL: &str = ".helix/helix.toml";

pub(crate) fn load(config: Option<&Path>) -> Result<Config, Failure> {
    let local = Path::new(LOCAL);
    Ok(Config::load(config.or_else(|| local.is_file().then_some(local)))?)
}

pub(crate) fn metrics(service: &'static str) -> Result<telemetry::MetricsHandle, Failure> {
    telemetry::start_metrics(service).map_err(|error| Failure::of(1, &error))
}

/// Settings of every configured workspace.
pub(crate) fn settings(config: &Config) -> Result<BTreeMap<WorkspaceId, Settings>, Failure> {
    let mut all = BTreeMap::new();
    for (slug, workspace) in &config.workspaces {
        let slug = WorkspaceId::new(slug).map_err(|error| Failure::of(2, &error))?;
        let zone = workspace
            .zone
            .parse()
            .map_err(|_| Failure::usage(format!("workspaces.{slug}.zone is no IANA time zone: {}", workspace.zone)))?;
        let own = Settings {
            short_abandon_seconds: workspace.short_abandon_seconds,
            service_level_seconds: workspace.service_level_seconds,
            zone,
        };
        all.insert(slug, own);
    }
    Ok(all)
}
