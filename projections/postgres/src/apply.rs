//! One transaction a batch: progress, agents, calls, missed calls, roots.

use std::collections::{BTreeMap, BTreeSet};

use helix_fold::call::CallState;
use helix_runtime::{Batch, StoreError};
use helix_schemas::{
    fact::Fact,
    names::{CallId, WorkspaceId},
};
use sqlx::{PgConnection, PgPool};

use crate::{
    AllSettings, PROJECTION, PostgresError, agents,
    batch::{Arrived, Changes},
    calls, missed, progress, roots,
};

pub(crate) async fn apply(
    pool: &PgPool,
    settings: &AllSettings,
    batch: &Batch,
    facts: &[Arrived],
) -> Result<(), StoreError> {
    let mut tx = pool.begin().await.map_err(StoreError::unavailable)?;
    progress::advance(&mut tx, PROJECTION, batch).await?;
    apply_facts(&mut tx, settings, facts).await?;
    tx.commit().await.map_err(StoreError::unavailable)
}

async fn apply_facts(tx: &mut PgConnection, settings: &AllSettings, facts: &[Arrived]) -> Result<(), PostgresError> {
    let mut changes = Changes::default();
    for arrived in facts {
        let writer = changes.writer.entry(arrived.fact.workspace.clone()).or_insert(arrived.partition);
        *writer = (*writer).min(arrived.partition);
    }
    lock(tx, changes.writer.keys()).await?;

    agents::apply(tx, facts, &mut changes).await?;

    let mut by_call: BTreeMap<(WorkspaceId, CallId), Vec<&Fact>> = BTreeMap::new();
    for Arrived { fact, .. } in facts {
        if let (true, Some(call)) = (CallState::concerns(fact), &fact.call) {
            by_call.entry((fact.workspace.clone(), call.clone())).or_default().push(fact);
        }
    }
    let touched = calls::apply(tx, settings, &by_call, &mut changes).await?;
    missed::apply(tx, &touched, &mut changes).await?;
    roots::store(tx, &changes.by_writer).await
}

/// Takes the workspaces one after the other, always in the same order: two instances that work facts of one hospital
/// wait for each other and never for good.
async fn lock(tx: &mut PgConnection, workspaces: impl Iterator<Item = &WorkspaceId>) -> Result<(), PostgresError> {
    let workspaces: BTreeSet<String> = workspaces.map(ToString::to_string).collect();
    for workspace in workspaces {
        sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 0))")
            .bind(format!("helix.workspace.{workspace}"))
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}
