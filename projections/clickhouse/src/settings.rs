//! What is configured of each workspace, as the views read it.

use std::collections::BTreeMap;

use clickhouse::Row;
use helix_fold::settings::Settings;
use helix_schemas::names::WorkspaceId;
use serde::{Deserialize, Serialize};

use crate::client::{ClickHouseError, Database};

#[derive(Row, Serialize, Deserialize, PartialEq, Eq)]
struct SettingsRow {
    workspace_id: String,
    short_abandon_seconds: i64,
    service_level_seconds: i64,
    zone: String,
    country_code: String,
    due_after_seconds: i64,
    attempts: i64,
    priority_missed: i64,
    priority_short_abandon: i64,
    priority_repeat: i64,
    priority_repeat_most: i64,
    priority_repeat_window_seconds: i64,
    priority_per_attempt: i64,
    priority_spam: i64,
    spam_dispositions: Vec<String>,
}

impl SettingsRow {
    fn of(workspace: &WorkspaceId, settings: &Settings) -> Self {
        let Settings { short_abandon_seconds, service_level_seconds, zone, country_code, rules } = settings;
        Self {
            workspace_id: workspace.to_string(),
            short_abandon_seconds: *short_abandon_seconds,
            service_level_seconds: *service_level_seconds,
            zone: zone.name().to_owned(),
            country_code: country_code.clone(),
            due_after_seconds: rules.due_after_seconds,
            attempts: rules.attempts,
            priority_missed: rules.priority.missed,
            priority_short_abandon: rules.priority.short_abandon,
            priority_repeat: rules.priority.repeat,
            priority_repeat_most: rules.priority.repeat_most,
            priority_repeat_window_seconds: rules.priority.repeat_window_seconds,
            priority_per_attempt: rules.priority.per_attempt,
            priority_spam: rules.priority.spam,
            spam_dispositions: rules.spam_dispositions.iter().cloned().collect(),
        }
    }
}

/// Writes the settings that differ from what is stored. Workspaces that are not configured keep what they have.
pub(crate) async fn write_settings(
    database: &Database,
    workspaces: &BTreeMap<WorkspaceId, Settings>,
) -> Result<(), ClickHouseError> {
    const WHAT: &str = "workspace settings";
    let query = database.query(
        "SELECT toString(workspace_id) AS workspace_id, short_abandon_seconds, service_level_seconds, toString(zone) AS zone,
             toString(country_code) AS country_code, due_after_seconds, attempts, priority_missed, priority_short_abandon, priority_repeat, priority_repeat_most,
             priority_repeat_window_seconds, priority_per_attempt, priority_spam, spam_dispositions
         FROM {database}.workspace_settings FINAL",
    );
    let stored: Vec<SettingsRow> = database.fetch(WHAT, query).await?;
    let changed: Vec<SettingsRow> = workspaces
        .iter()
        .map(|(workspace, settings)| SettingsRow::of(workspace, settings))
        .filter(|row| !stored.contains(row))
        .collect();
    if changed.is_empty() {
        return Ok(());
    }
    let mut insert = database.insert::<SettingsRow>(WHAT, "workspace_settings").await?;
    for row in &changed {
        insert.write(row).await?;
    }
    insert.end().await
}
