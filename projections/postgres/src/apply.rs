//! One transaction a batch: progress, what is parked, agents, calls, missed calls, books, roots.

use std::{collections::BTreeSet, sync::Arc};

use helix_runtime::{
    Batch, StoreError,
    fault::{self, Point},
};
use helix_schemas::names::WorkspaceId;
use sqlx::PgConnection;

use crate::{
    AllSettings, PostgresError, agents,
    batch::{Arrived, Changes},
    books, calls,
    decode::WORTH_SHARING,
    generation::Generation,
    memory::Memory,
    missed, parked, progress, roots, row_settings,
    store::PostgresStore,
};

pub(crate) async fn apply(
    store: &mut PostgresStore,
    batch: &Batch,
    facts: Arc<Vec<Arrived>>,
) -> Result<(), StoreError> {
    // Lost, unless the batch is committed.
    let mut memory = std::mem::take(&mut store.memory);
    let projection = store.generation.projection();
    let mut tx = store.pool.begin().await.map_err(StoreError::unavailable)?;
    progress::advance(&mut tx, projection, batch).await?;
    if store.generation == Generation::Standby {
        not_past_the_live_one(&mut tx, batch).await?;
    }
    parked::store(&mut tx, projection, batch, store.only.as_ref()).await?;
    let mut changes = Changes::default();
    begin(&mut tx, store.generation, &facts, &mut changes).await?;
    memory.check(&mut tx, projection, batch).await?;
    apply_facts(&mut tx, store, facts, &mut memory, &mut changes).await?;
    fault::pass(Point::AfterWrite);
    tx.commit().await.map_err(StoreError::unavailable)?;
    store.memory = memory;
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

/// Locks the workspaces of facts that are to be applied.
pub(crate) async fn begin(
    tx: &mut PgConnection,
    generation: Generation,
    facts: &[Arrived],
    changes: &mut Changes,
) -> Result<(), PostgresError> {
    changes.written_by(facts);
    lock(tx, generation, changes.writer.keys()).await
}

/// Applies facts whose workspaces are locked.
///
/// Folding and the database go on at once: while the agents are folded, the calls are read, and while the calls are folded,
/// the agents are written.
pub(crate) async fn apply_facts(
    tx: &mut PgConnection,
    store: &PostgresStore,
    facts: Arc<Vec<Arrived>>,
    memory: &mut Memory,
    changes: &mut Changes,
) -> Result<(), PostgresError> {
    if facts.is_empty() {
        return Ok(());
    }
    let workspaces = changes.writer.keys();
    let settings =
        &row_settings::of_batch(tx, store.generation, &store.settings, workspaces, &mut memory.settings).await?;
    let of_agents = agents::load(tx, &facts, memory).await?;
    let fold = folding(&facts, settings, changes, move |facts, settings, changes| {
        agents::fold(facts, of_agents, settings, changes)
    });
    let (of_calls, (of_agents, changed)) = tokio::try_join!(calls::load(tx, &facts), fold)?;
    changes.join(changed);
    let fold = folding(&facts, settings, changes, move |facts, settings, changes| {
        calls::fold(facts, of_calls, settings, changes)
    });
    let (tails, (of_calls, changed)) = tokio::try_join!(of_agents.write(tx), fold)?;
    changes.join(changed);
    for (agent, tail) in tails {
        memory.agents.put(agent, tail);
    }
    fault::pass(Point::MidBatch);
    let touched = of_calls.write(tx).await?;
    missed::apply(tx, settings, &touched, changes).await?;
    books::apply(tx, settings, &touched, changes).await?;
    roots::store(tx, store.generation, &std::mem::take(&mut changes.by_writer)).await
}

/// Folds on a thread of its own, where that is worth it; gives what it changed beside what it made.
async fn folding<T: Send + 'static>(
    facts: &Arc<Vec<Arrived>>,
    settings: &Arc<AllSettings>,
    changes: &Changes,
    fold: impl FnOnce(&[Arrived], &AllSettings, &mut Changes) -> Result<T, PostgresError> + Send + 'static,
) -> Result<(T, Changes), PostgresError> {
    let (facts, settings, mut changes) = (Arc::clone(facts), Arc::clone(settings), changes.apart());
    let worth_it = facts.len() >= WORTH_SHARING;
    let work = move || fold(&facts, &settings, &mut changes).map(|folded| (folded, changes));
    if worth_it { tokio::task::spawn_blocking(work).await? } else { work() }
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
