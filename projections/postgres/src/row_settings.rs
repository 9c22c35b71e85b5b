//! The settings that rows were made with, stored beside them (docs/decisions/0025).
//!
//! Rows follow from facts and settings. Were a batch folded under other settings than those before it, calls of one caller
//! would no longer be linked, and no fold of the log would give these rows. So the first batch of a workspace stores the
//! settings that it is folded under, in its own transaction, and every later one is folded under these, whatever is
//! configured by then. A generation that is filled anew begins with what is configured then; what a cut-over exchanges,
//! these go with.

use std::{collections::BTreeMap, sync::Arc};

use helix_fold::settings::{Rules, Settings};
use helix_schemas::names::WorkspaceId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::{PgConnection, PgPool, Row as _};

use crate::{
    AllSettings, PostgresError,
    generation::Generation,
    rows::{self, bad},
};

const TABLE: &str = "helix.row_settings";

/// A setting that is configured otherwise than it was when the rows were made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OtherSetting {
    /// Which, as below `[workspaces.<slug>]` in the configuration: `zone`, `rules.attempts`.
    pub name: String,
    /// What the rows were made with.
    pub made_with: Value,
    /// What is configured.
    pub configured: Value,
}

/// What of a workspace's settings its rows rest on, as it is stored. All but the threshold of the service level, which
/// whoever reads the rows applies.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfRows {
    zone: String,
    country_code: String,
    short_abandon_seconds: i64,
    rules: Rules,
}

impl OfRows {
    fn of(settings: &Settings) -> Self {
        let Settings { short_abandon_seconds, service_level_seconds: _, zone, country_code, rules } = settings;
        Self {
            zone: zone.name().to_owned(),
            country_code: country_code.clone(),
            short_abandon_seconds: *short_abandon_seconds,
            rules: rules.clone(),
        }
    }

    fn read(text: &str) -> Result<Settings, PostgresError> {
        let Self { zone, country_code, short_abandon_seconds, rules } =
            serde_json::from_str(text).map_err(|error| bad(TABLE, error))?;
        let zone = zone.parse().map_err(|_| bad(TABLE, "a zone that is none"))?;
        Ok(Settings { short_abandon_seconds, zone, country_code, rules, ..Settings::default() })
    }

    fn to_json(&self) -> Result<Value, PostgresError> {
        serde_json::to_value(self).map_err(|error| bad(TABLE, error))
    }
}

/// Every value by its name, with those it lies in before it.
fn by_name(name: &str, value: Value, into: &mut Map<String, Value>) {
    match value {
        Value::Object(parts) => {
            for (part, value) in parts {
                let name = if name.is_empty() { part } else { format!("{name}.{part}") };
                by_name(&name, value, into);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            into.insert(name.to_owned(), value);
        }
    }
}

/// What is configured otherwise than the rows were made with, by name.
fn differences(made_with: &Settings, configured: &Settings) -> Result<Vec<OtherSetting>, PostgresError> {
    let (mut made, mut wanted) = (Map::new(), Map::new());
    by_name("", OfRows::of(made_with).to_json()?, &mut made);
    by_name("", OfRows::of(configured).to_json()?, &mut wanted);
    // Both were written by this build, so they have the same names.
    let pairs = made.into_iter().zip(wanted).filter(|((_, made), (_, wanted))| made != wanted);
    Ok(pairs.map(|((name, made_with), (_, configured))| OtherSetting { name, made_with, configured }).collect())
}

/// What each configured workspace has configured otherwise; without those where nothing is.
pub(crate) fn others(
    made_with: &AllSettings,
    configured: &AllSettings,
) -> Result<BTreeMap<WorkspaceId, Vec<OtherSetting>>, PostgresError> {
    let mut others = BTreeMap::new();
    for (workspace, configured) in &configured.0 {
        let Some(made_with) = made_with.0.get(workspace) else { continue };
        let differences = differences(made_with, configured)?;
        if !differences.is_empty() {
            others.insert(workspace.clone(), differences);
        }
    }
    Ok(others)
}

/// The configured workspaces whose rows were made with other settings than are configured now, and which these are. A
/// rebuild and a cut-over make rows with those that are configured.
///
/// # Errors
/// Where the database does not answer or holds what no build of ours writes.
pub async fn other_settings(
    pool: &PgPool,
    generation: Generation,
    configured: &AllSettings,
) -> Result<BTreeMap<WorkspaceId, Vec<OtherSetting>>, PostgresError> {
    let mut connection = pool.acquire().await?;
    others(&stored(&mut connection, generation).await?, configured)
}

/// What the rows of each workspace were made with; the threshold of the service level, which is none of theirs, is the default.
pub(crate) async fn stored(tx: &mut PgConnection, generation: Generation) -> Result<AllSettings, PostgresError> {
    let found =
        sqlx::query("select workspace_id, settings::text as settings from helix.row_settings where projection = $1")
            .bind(generation.projection())
            .fetch_all(tx)
            .await?;
    let mut all = AllSettings::default();
    for row in &found {
        all.0.insert(rows::workspace(TABLE, row)?, OfRows::read(row.try_get("settings")?)?);
    }
    Ok(all)
}

impl AllSettings {
    /// Those that rows were made with, and of workspaces without rows these here.
    pub(crate) fn under(&self, made_with: &Self) -> Self {
        let mut all = self.clone();
        for (workspace, made_with) in &made_with.0 {
            let service_level_seconds = self.get(workspace).service_level_seconds;
            all.0.insert(workspace.clone(), Settings { service_level_seconds, ..made_with.clone() });
        }
        all
    }
}

/// The settings that a batch is to be folded under, of its workspaces, which are locked. `known` are those that were asked for
/// before, and are added to. What is stored of none yet is stored now.
pub(crate) async fn of_batch<'a>(
    tx: &mut PgConnection,
    generation: Generation,
    configured: &AllSettings,
    workspaces: impl Iterator<Item = &'a WorkspaceId>,
    known: &mut Arc<AllSettings>,
) -> Result<Arc<AllSettings>, PostgresError> {
    let unknown: Vec<&WorkspaceId> = workspaces.filter(|workspace| !known.0.contains_key(*workspace)).collect();
    if unknown.is_empty() {
        return Ok(Arc::clone(known));
    }
    let held = configured.under(&stored(tx, generation).await?);
    let all = Arc::make_mut(known);
    for workspace in &unknown {
        all.0.insert((*workspace).clone(), held.of(workspace));
    }
    store(tx, generation, &unknown, all).await?;
    Ok(Arc::clone(known))
}

/// Stores settings of workspaces of which none are.
async fn store(
    tx: &mut PgConnection,
    generation: Generation,
    workspaces: &[&WorkspaceId],
    settings: &AllSettings,
) -> Result<(), PostgresError> {
    let names: Vec<&str> = workspaces.iter().map(|workspace| workspace.as_str()).collect();
    let of = |workspace: &&WorkspaceId| Ok(OfRows::of(settings.get(workspace)).to_json()?.to_string());
    let texts: Vec<String> = workspaces.iter().map(of).collect::<Result<_, PostgresError>>()?;
    sqlx::query(
        "insert into helix.row_settings (projection, workspace_id, settings)
         select $1, given.workspace_id, given.settings::jsonb
         from unnest($2::text[], $3::text[]) as given (workspace_id, settings)
         on conflict (projection, workspace_id) do nothing",
    )
    .bind(generation.projection())
    .bind(&names)
    .bind(&texts)
    .execute(tx)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(change: impl FnOnce(&mut Settings)) -> Settings {
        let mut settings = Settings::default();
        change(&mut settings);
        settings
    }

    fn names(made_with: &Settings, configured: &Settings) -> Vec<String> {
        differences(made_with, configured).unwrap().into_iter().map(|other| other.name).collect()
    }

    #[test]
    fn each_setting_that_rows_rest_on_is_named_where_it_changed_and_no_other() {
        let before = Settings::default();
        assert_eq!(names(&before, &before), Vec::<String>::new());
        assert_eq!(names(&before, &settings(|to| to.service_level_seconds += 1)), Vec::<String>::new());
        let all = settings(|to| {
            (to.short_abandon_seconds, to.zone) = (11, helix_fold::settings::Tz::UTC);
            to.country_code = "1".to_owned();
            to.rules.attempts += 1;
            to.rules.priority.spam += 1;
            to.rules.spam_dispositions.insert("Spam".to_owned());
        });
        let changed = [
            "country_code",
            "rules.attempts",
            "rules.priority.spam",
            "rules.spam_dispositions",
            "short_abandon_seconds",
            "zone",
        ];
        assert_eq!(names(&before, &all), changed);
    }

    #[test]
    fn what_is_stored_is_read_as_it_was() {
        let written = settings(|to| {
            (to.zone, to.country_code) = (helix_fold::settings::Tz::UTC, "1".to_owned());
            to.rules.spam_dispositions.insert("Spam".to_owned());
        });
        let text = OfRows::of(&written).to_json().unwrap().to_string();
        assert_eq!(OfRows::read(&text).unwrap(), written);
        assert!(OfRows::read(&text.replace("UTC", "Nowhere")).is_err());
    }

    #[test]
    fn a_rule_that_an_older_build_did_not_know_is_the_default() {
        let text = r#"{"zone":"UTC","country_code":"91","short_abandon_seconds":10,"rules":{"attempts":5}}"#;
        let read = OfRows::read(text).unwrap();
        assert_eq!((read.rules.attempts, read.rules.due_after_seconds), (5, Rules::default().due_after_seconds));
    }
}
