//! Brings a database to head: the files of `ddl/`, in order, one statement each, each recorded with its checksum.
//!
//! Every statement may be repeated (`IF NOT EXISTS`, `OR REPLACE`), so a crash between a statement and its record, or
//! two migrators at once, do no harm. A file that was applied is never changed: append another.

use clickhouse::Row;
use serde::{Deserialize, Serialize};

use crate::client::{ClickHouseError, Database, Options};

/// One file of `ddl/`.
struct Migration {
    name: &'static str,
    statement: &'static str,
}

macro_rules! migrations {
    ($($name:literal),+ $(,)?) => {
        &[$(Migration { name: $name, statement: include_str!(concat!("../ddl/", $name, ".sql")) }),+]
    };
}

const MIGRATIONS: &[Migration] = migrations![
    "001_facts",
    "002_projection_progress",
    "003_workspace_settings",
    "004_calls",
    "005_agent_intervals",
    "006_agents",
    "007_missed_calls",
    "008_facts_once",
    "009_fact_conflicts",
    "010_parked_facts",
    "011_workspace_rules",
    "012_calls",
    "013_agent_intervals",
    "014_agents",
    "015_missed_calls",
    "016_agent_sessions",
    "017_projection_pauses",
];

const RECORD_TABLE: &str = "
CREATE TABLE IF NOT EXISTS {database}.schema_migrations
(
    name String,
    checksum String,
    applied_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree
ORDER BY (name, checksum)
COMMENT 'Which files of ddl/ were applied, with the BLAKE3 of their text'";

#[derive(Row, Serialize, Deserialize)]
struct Applied {
    name: String,
    checksum: String,
}

impl Migration {
    fn checksum(&self) -> String {
        blake3::hash(self.statement.as_bytes()).to_hex().to_string()
    }
}

/// Applies what is missing and tells which files that were. Creates the database if need be.
///
/// # Errors
/// [`ClickHouseError::MigrationChanged`] where a file was applied with another text; else what ClickHouse says.
pub async fn migrate(options: &Options) -> Result<Vec<&'static str>, ClickHouseError> {
    let database = Database::new(options)?;
    database.execute("the database", database.query("CREATE DATABASE IF NOT EXISTS {database}")).await?;
    database.execute("the record of migrations", database.query(RECORD_TABLE)).await?;
    let missing = missing(&database).await?;
    for migration in &missing {
        database.execute(migration.name, database.query(migration.statement)).await?;
        let mut insert = database.insert::<Applied>(migration.name, "schema_migrations").await?;
        insert.write(&Applied { name: migration.name.to_owned(), checksum: migration.checksum() }).await?;
        insert.end().await?;
        tracing::info!(migration = migration.name, "clickhouse migration applied");
    }
    Ok(missing.iter().map(|migration| migration.name).collect())
}

/// Which files are not applied yet: readiness waits until there are none.
///
/// # Errors
/// As [`migrate`]; a database without a record of migrations refuses the question.
pub async fn pending(options: &Options) -> Result<Vec<&'static str>, ClickHouseError> {
    let missing = missing(&Database::new(options)?).await?;
    Ok(missing.iter().map(|migration| migration.name).collect())
}

async fn missing(database: &Database) -> Result<Vec<&'static Migration>, ClickHouseError> {
    let query = database.query("SELECT DISTINCT name, checksum FROM {database}.schema_migrations");
    let applied: Vec<Applied> = database.fetch("the record of migrations", query).await?;
    let mut missing = Vec::new();
    for migration in MIGRATIONS {
        let mut recorded = applied.iter().filter(|applied| applied.name == migration.name).peekable();
        if recorded.peek().is_none() {
            missing.push(migration);
        } else if recorded.any(|applied| applied.checksum != migration.checksum()) {
            return Err(ClickHouseError::MigrationChanged { name: migration.name.to_owned() });
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_listed_in_order_and_begins_with_a_comment() {
        let mut files: Vec<String> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/ddl"))
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        files.sort();
        assert_eq!(files, MIGRATIONS.iter().map(|migration| migration.name).collect::<Vec<_>>());
        for migration in MIGRATIONS {
            assert!(migration.statement.starts_with("-- "), "{}", migration.name);
            assert!(migration.statement.contains("{database}."), "{}", migration.name);
        }
    }
}
