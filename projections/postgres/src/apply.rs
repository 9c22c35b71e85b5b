//! One transaction a batch: progress, what is parked, agents, calls, missed calls, books, roots.

use std::collections::{BTreeMap, BTreeSet};

use helix_fold::call::CallState;
use helix_runtime::{
    Batch, StoreError,
    fault::{self, Point},
};
use helix_schemas::{
    fact::Fact,
    names::{CallId, WorkspaceId},
};
use sqlx::PgConnection;

use crate::{
    AllSettings, PostgresError, agents,
    batch::{Arrived, Changes},
    books, calls,
    generation::Generation,
    missed, parked, progress, roots,
    store::PostgresStore,
};

pub(crate) async fn apply(store: &PostgresStore, batch: &Batch, facts: &[Arrived]) -> Result<(), StoreError> {
    let mut tx = store.pool.begin().await.map_err(StoreError::unavailable)?;
    progress::advance(&mut tx, store.generation.projection(), batch).await?;
    if store.generation == Generation::Standby {
        not_past_the_live_one(&mut tx, batch).await?;
    }
    parked::store(&mut tx, store.generation.projection(), batch, store.only.as_ref()).await?;
    apply_facts(&mut tx, store.generation, &store.settings, facts, &mut Changes::default()).await?;
    fault::pass(Point::AfterWrite);
    tx.commit().await.map_err(StoreError::unavailable)?;
    fault::pass(Point::AfterCommit);
    Ok(())
}

/// The standby stays behind the live generation, so that the two can be compared at one progress.
async fn not_past_the_live_one(tx: &mut PgConnection, batch: &Batch) -> Result<(), StoreError> {
    let live = progress::progress_of(&mut *tx, Generation::Live.projection(), &batch.topic).await?;
    let of = |partition| live.iter().find(|at| at.partition == partition).map_or(0, |at| at.next_offset);
    match batch.slices.iter().find(|slice| slice.to.0 > of(slice.partition)) {
        Some(slice) => Err(StoreError::unavailable(AheadOfLive { partition: slice.partition })),
        None => Ok(()),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the standby would pass the live projection in partition {partition}")]
struct AheadOfLive {
    partition: i32,
}

pub(crate) async fn apply_facts(
    tx: &mut PgConnection,
    generation: Generation,
    settings: &AllSettings,
    facts: &[Arrived],
    changes: &mut Changes,
) -> Result<(), PostgresError> {
    if facts.is_empty() {
        return Ok(());
    }
    changes.written_by(facts);
    lock(tx, generation, changes.writer.keys()).await?;
    agents::apply(tx, facts, changes).await?;
    fault::pass(Point::MidBatch);
    let mut by_call: BTreeMap<(&WorkspaceId, &CallId), Vec<&Fact>> = BTreeMap::new();
    for Arrived { fact, .. } in facts {
        if let (true, Some(call)) = (CallState::concerns(fact), &fact.call) {
            by_call.entry((&fact.workspace, call)).or_default().push(fact);
        }
    }
    let touched = calls::apply(tx, settings, &by_call, changes).await?;
    missed::apply(tx, settings, &touched, changes).await?;
    books::apply(tx, settings, &touched, changes).await?;
    roots::store(tx, generation, &changes.by_writer).await
}

/// Takes the workspaces one after the other, always in the same order: two instances that work facts of one hospital
/// wait for each other and never for good.
async fn lock(
    tx: &mut PgConnection,
    generation: Generation,
    workspaces: impl Iterator<Item = &WorkspaceId>,
) -> Result<(), PostgresError> {
    let projection = generation.projection();
    let names: BTreeSet<String> = workspaces.map(|workspace| format!("{projection}/{workspace}")).collect();
    let names: Vec<String> = names.into_iter().collect();
    sqlx::query(
        "select pg_advisory_xact_lock(hashtextextended(taken.name, 0))
         from unnest($1::text[]) with ordinality as taken (name, place) order by taken.place",
    )
    .bind(&names)
    .execute(tx)
    .await?;
    Ok(())
}
