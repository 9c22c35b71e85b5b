//! An operator's word that the projection is to rest. It is kept where the projection's progress is, so that a projector needs
//! no other store to hear it.

use crate::{
    client::{ClickHouseError, Database, Options},
    generation::PROJECTION,
};

const WHAT: &str = "pauses";

/// Tells the projection to rest, or to go on. It is heard within about a second, by every instance.
///
/// # Errors
/// What ClickHouse says.
pub async fn pause(options: &Options, paused: bool) -> Result<(), ClickHouseError> {
    let database = Database::new(options)?;
    // Later than what was told before, whatever the server's clock did: the latest word counts.
    const TELL: &str = "
INSERT INTO {database}.projection_pauses (`projection`, paused, told_at)
SELECT ?, ?, greatest(now64(6), max(pauses.told_at) + toIntervalMicrosecond(1))
FROM {database}.projection_pauses AS pauses WHERE pauses.`projection` = ?";
    let told = database.query_of(TELL).bind(PROJECTION).bind(paused).bind(PROJECTION);
    database.execute(WHAT, told).await
}

/// Whether it is told to rest.
///
/// # Errors
/// What ClickHouse says.
pub async fn paused(options: &Options) -> Result<bool, ClickHouseError> {
    is_paused(&Database::new(options)?).await
}

pub(crate) async fn is_paused(database: &Database) -> Result<bool, ClickHouseError> {
    const READ: &str = "
SELECT argMax(paused, told_at) AS paused FROM {database}.projection_pauses AS pauses WHERE pauses.`projection` = ?";
    let said: Vec<bool> = database.fetch(WHAT, database.query_of(READ).bind(PROJECTION)).await?;
    Ok(said.first().copied().unwrap_or_default())
}
