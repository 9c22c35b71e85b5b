//! What every verb begins with: the configuration, the metrics, the settings of the workspaces.

use std::{collections::BTreeMap, path::Path};

use helix_fold::settings::{Priority, Rules, Settings};
use helix_kit::{
    config::{Config, RulesConfig},
    telemetry,
};
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
            country_code: workspace.country_code.clone(),
            rules: rules(&workspace.rules),
        };
        all.insert(slug, own);
    }
    Ok(all)
}

fn rules(config: &RulesConfig) -> Rules {
    let priority = &config.priority;
    Rules {
        due_after_seconds: config.due_after_seconds,
        attempts: config.attempts,
        priority: Priority {
            missed: priority.missed,
            short_abandon: priority.short_abandon,
            repeat: priority.repeat,
            repeat_most: priority.repeat_most,
            repeat_window_seconds: priority.repeat_window_seconds,
            per_attempt: priority.per_attempt,
            spam: priority.spam,
        },
        spam_dispositions: config.spam_dispositions.iter().cloned().collect(),
    }
}

/// Where ClickHouse is.
pub(crate) fn clickhouse_options(config: &Config) -> helix_clickhouse::Options {
    helix_clickhouse::Options {
        url: config.clickhouse.url.clone(),
        database: config.clickhouse.database.clone(),
        user: config.clickhouse.user.clone(),
        password: config.clickhouse.password.reveal().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_are_left_out_are_those_of_the_fold() {
        assert_eq!(rules(&RulesConfig::default()), Rules::default());
    }
}
