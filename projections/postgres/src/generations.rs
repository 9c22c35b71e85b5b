//! Work on generations: begin, fill, exchange, discard. Comparing is in [`crate::diff`].

use std::sync::Arc;

// Also for `diff`.
pub(crate) use helix_runtime::fill::LogSource;
use helix_runtime::{
    fault::{self, Point},
    fill::{Filled, Filler, Gap, StandbyState},
};
use helix_schemas::{codec::Codec, fact::Fact, names::WorkspaceId, registry::Registry, scope::Scope};
use sqlx::{Connection as _, Executor as _, PgConnection, PgPool};

use crate::{
    AllSettings, PostgresError, connect,
    decode::Decoder,
    generation::{self, Generation, GenerationError, Operator, Standby},
    memory::Memory,
    progress::progress_of,
    row_settings,
    store::{Grown, PostgresStore},
};

/// Offsets that are read and applied at once.
const ROUND: i64 = 10_000;
/// How often the standby is brought up before the live projector is held for the rest.
const ROUNDS: usize = 20;
/// What the live projector may be held for.
const REST: i64 = ROUND / 2;

/// The generations of one database.
#[derive(Clone)]
pub struct Generations {
    live: PgPool,
    standby: PgPool,
    decoder: Decoder,
    settings: AllSettings,
}

impl std::fmt::Debug for Generations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Generations").finish_non_exhaustive()
    }
}

impl Generations {
    /// Of the database behind `live`, which comes from [`crate::connect`] and is migrated. It takes up to three of its
    /// connections and opens up to two of its own.
    #[must_use]
    pub fn new(live: PgPool, registry: Registry, codec: Arc<Codec<Fact>>, settings: AllSettings) -> Self {
        let standby = connect::beside(&live);
        Self { live, standby, decoder: Decoder::new(registry, codec), settings }
    }

    pub(crate) const fn live(&self) -> &PgPool {
        &self.live
    }

    /// The standby, if there is one.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn standby(&self) -> Result<Option<Standby>, GenerationError> {
        Ok(generation::standby(&self.live).await?)
    }

    /// Makes an empty standby; goes on with the one that is there where it is of that scope and still being filled. One that
    /// was begun under other settings is thrown away: it would not be what is asked for now.
    ///
    /// # Errors
    /// [`GenerationError::AnotherStandby`], [`GenerationError::Busy`], or where the database does not answer.
    pub async fn begin(&self, scope: &Scope) -> Result<Standby, GenerationError> {
        let mut operator = Operator::take(&self.live).await?;
        let made = begin(&mut operator.connection, scope, &self.settings).await;
        operator.leave().await?;
        made
    }

    /// The standby as a store. It takes the facts of its scope alone, by their keys, and never passes the live generation:
    /// what lies beyond is [`helix_runtime::StoreError::Unavailable`] for the time being.
    ///
    /// # Errors
    /// [`GenerationError::NoStandby`], or where the database does not answer.
    pub async fn store(&self) -> Result<PostgresStore, GenerationError> {
        let standby = self.standby().await?.ok_or(GenerationError::NoStandby)?;
        Ok(PostgresStore {
            pool: self.standby.clone(),
            decoder: self.decoder.clone(),
            settings: Arc::new(self.settings.clone()),
            generation: Generation::Standby,
            only: standby.scope.only().cloned(),
            grown: Grown::new(),
            memory: Memory::default(),
        })
    }

    /// What the standby lacks, by partition.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn gaps(&self, topic: &str) -> Result<Vec<Gap>, GenerationError> {
        gaps(&self.live, topic).await
    }

    /// Fills the standby up to where the live generation stands now. `report` is told offsets done and offsets to do;
    /// `stopped` is asked after each batch. What was filled stays filled.
    ///
    /// # Errors
    /// [`GenerationError`]; [`GenerationError::Interrupted`] where it was stopped.
    pub async fn fill(
        &self,
        topic: &str,
        source: &mut dyn LogSource,
        report: &mut (dyn FnMut(u64, u64) + Send),
        stopped: &(dyn Fn() -> bool + Send + Sync),
    ) -> Result<Filled, GenerationError> {
        let operator = Operator::take(&self.live).await?;
        let filled = async {
            let targets = self.gaps(topic).await?;
            let mut filler = self.filler(topic, &targets).await?;
            Ok(filler.fill(source, targets, report, stopped).await?)
        };
        let filled = filled.await;
        operator.leave().await?;
        filled
    }

    /// Exchanges the standby with the live generation (of one workspace: its rows), in one transaction, at one progress.
    /// The one that was live becomes the standby: the same once more is the way back. The running projector is held for the
    /// last facts, then fenced; it comes back by itself and goes on with the new tables.
    ///
    /// # Errors
    /// [`GenerationError`]; then nothing was exchanged.
    pub async fn cut_over(&self, topic: &str, source: &mut dyn LogSource) -> Result<Standby, GenerationError> {
        let mut operator = Operator::take(&self.live).await?;
        let done = self.cut_over_as(&mut operator, topic, source).await;
        operator.leave().await?;
        done
    }

    async fn cut_over_as(
        &self,
        operator: &mut Operator,
        topic: &str,
        source: &mut dyn LogSource,
    ) -> Result<Standby, GenerationError> {
        let standby = self.standby().await?.ok_or(GenerationError::NoStandby)?;
        let mut filler = self.come_close(topic, source).await?;
        let mut tx = operator.connection.begin().await?;
        tx.execute(connect::WHOLE_TABLES).await?;
        // Before the projector is held: they may take minutes.
        generation::keep_readers_out(&mut tx).await?;
        hold(&mut tx, Generation::Live, topic).await?;
        self.fill_the_rest(&mut filler, topic, source).await?;
        hold(&mut tx, Generation::Standby, topic).await?;
        match &standby.scope {
            Scope::All => exchange_all(&mut tx).await?,
            Scope::Workspace(workspace) => exchange_one(&mut tx, workspace.as_str()).await?,
        }
        sqlx::query(
            "update helix.projection_progress set epoch = epoch + 1, updated_at = now() where projection = any($1)",
        )
        .bind([Generation::Live.projection(), Generation::Standby.projection()].as_slice())
        .execute(&mut *tx)
        .await?;
        tx.execute("update helix.standby set state = 'previous', cut_over_at = now()").await?;
        let exchanged = generation::standby(&mut *tx).await?.ok_or(GenerationError::NoStandby)?;
        fault::pass(Point::AfterWrite);
        tx.commit().await?;
        fault::pass(Point::AfterCommit);
        Ok(exchanged)
    }

    async fn filler(&self, topic: &str, gaps: &[Gap]) -> Result<Filler<PostgresStore>, GenerationError> {
        let partitions: Vec<i32> = gaps.iter().map(|gap| gap.partition).collect();
        Ok(Filler::new(self.store().await?, topic, ROUND, &partitions).await?)
    }

    /// Fills until little is left, while the projector runs on.
    pub(crate) async fn come_close(
        &self,
        topic: &str,
        source: &mut dyn LogSource,
    ) -> Result<Filler<PostgresStore>, GenerationError> {
        let mut filler = self.filler(topic, &self.gaps(topic).await?).await?;
        for _ in 0..ROUNDS {
            let gaps = self.gaps(topic).await?;
            if gaps.iter().map(Gap::width).sum::<i64>() <= REST {
                return Ok(filler);
            }
            filler.fill(source, gaps, &mut |_, _| (), &|| false).await?;
        }
        Err(GenerationError::Behind)
    }

    /// Fills what is left while the caller holds the live progress.
    pub(crate) async fn fill_the_rest(
        &self,
        filler: &mut Filler<PostgresStore>,
        topic: &str,
        source: &mut dyn LogSource,
    ) -> Result<(), GenerationError> {
        filler.fill(source, self.gaps(topic).await?, &mut |_, _| (), &|| false).await?;
        match self.gaps(topic).await?.is_empty() {
            true => Ok(()),
            false => Err(GenerationError::Behind),
        }
    }

    /// Drops the standby.
    ///
    /// # Errors
    /// [`GenerationError::NoStandby`], [`GenerationError::Busy`], or where the database does not answer.
    pub async fn discard(&self) -> Result<Standby, GenerationError> {
        let mut operator = Operator::take(&self.live).await?;
        let gone = discard(&mut operator.connection).await;
        operator.leave().await?;
        gone
    }
}

async fn begin(
    connection: &mut PgConnection,
    scope: &Scope,
    settings: &AllSettings,
) -> Result<Standby, GenerationError> {
    let mut tx = connection.begin().await?;
    if let Some(standby) = generation::standby(&mut *tx).await? {
        if standby.scope != *scope || standby.state != StandbyState::Filling {
            return Err(GenerationError::AnotherStandby { standby: Box::new(standby) });
        }
        let made_with = row_settings::stored(&mut tx, Generation::Standby).await?;
        let others = row_settings::others(&made_with, settings)?;
        if others.is_empty() {
            return Ok(standby);
        }
        let workspaces: Vec<&str> = others.keys().map(WorkspaceId::as_str).collect();
        tracing::warn!(?workspaces, "the rebuild was begun under other settings; it begins anew");
        tx.execute(connect::WHOLE_TABLES).await?;
        generation::remove(&mut tx).await?;
    }
    generation::make(&mut tx, scope).await?;
    let made = generation::standby(&mut *tx).await?.ok_or(GenerationError::NoStandby)?;
    tx.commit().await?;
    Ok(made)
}

async fn discard(connection: &mut PgConnection) -> Result<Standby, GenerationError> {
    let standby = generation::standby(&mut *connection).await?.ok_or(GenerationError::NoStandby)?;
    let mut tx = connection.begin().await?;
    tx.execute(connect::WHOLE_TABLES).await?;
    generation::remove(&mut tx).await?;
    tx.commit().await?;
    Ok(standby)
}

async fn gaps(pool: &PgPool, topic: &str) -> Result<Vec<Gap>, GenerationError> {
    let live = progress_of(pool, Generation::Live.projection(), topic).await?;
    let standby = progress_of(pool, Generation::Standby.projection(), topic).await?;
    let from = |partition| standby.iter().find(|at| at.partition == partition).map_or(0, |at| at.next_offset);
    let gap = |at: &crate::Progress| Gap { partition: at.partition, from: from(at.partition), to: at.next_offset };
    Ok(live.iter().map(gap).filter(|gap| gap.width() > 0).collect())
}

/// Holds a generation's progress: whoever projects it waits.
pub(crate) async fn hold(tx: &mut PgConnection, generation: Generation, topic: &str) -> Result<(), PostgresError> {
    sqlx::query(
        "select from helix.projection_progress where projection = $1 and topic = $2 order by partition for update",
    )
    .bind(generation.projection())
    .bind(topic)
    .execute(tx)
    .await?;
    Ok(())
}

/// Schemas change their names, and what both generations keep in one table changes hands.
async fn exchange_all(tx: &mut PgConnection) -> Result<(), PostgresError> {
    for (live, standby) in [
        (Generation::Live.read_schema(), Generation::Standby.read_schema()),
        (Generation::Live.state_schema(), Generation::Standby.state_schema()),
    ] {
        let renames = format!(
            "alter schema {live} rename to {live}_exchanged; alter schema {standby} rename to {live};
             alter schema {live}_exchanged rename to {standby}"
        );
        tx.execute(sqlx::AssertSqlSafe(renames)).await?;
    }
    exchange_names(tx, None).await
}

/// Rows change tables.
async fn exchange_one(tx: &mut PgConnection, workspace: &str) -> Result<(), PostgresError> {
    for (number, (live, standby)) in Generation::Live.tables().into_iter().zip(Generation::Standby.tables()).enumerate()
    {
        let aside = format!("pg_temp.aside_{number}");
        let make = format!("create temporary table aside_{number} (like {live}) on commit drop");
        tx.execute(sqlx::AssertSqlSafe(make)).await?;
        for (from, to) in [(&live, &aside), (&standby, &live), (&aside, &standby)] {
            let moving = format!(
                "with moved as (delete from {from} where workspace_id = $1 returning *) insert into {to} select * from moved"
            );
            sqlx::query(sqlx::AssertSqlSafe(moving)).bind(workspace).execute(&mut *tx).await?;
        }
    }
    exchange_names(tx, Some(workspace)).await
}

/// Roots, parked facts, and the settings that rows were made with change their projection.
async fn exchange_names(tx: &mut PgConnection, workspace: Option<&str>) -> Result<(), PostgresError> {
    let (live, standby) = (Generation::Live.projection(), Generation::Standby.projection());
    const ASIDE: &str = "postgres.exchanged";
    for table in ["helix.projection_roots", "helix.parked_facts", "helix.row_settings"] {
        let rename = format!(
            "update {table} set projection = $2 where projection = $1 and ($3::text is null or workspace_id = $3)"
        );
        for (from, to) in [(live, ASIDE), (standby, live), (ASIDE, standby)] {
            sqlx::query(sqlx::AssertSqlSafe(rename.clone()))
                .bind(from)
                .bind(to)
                .bind(workspace)
                .execute(&mut *tx)
                .await?;
        }
    }
    Ok(())
}
