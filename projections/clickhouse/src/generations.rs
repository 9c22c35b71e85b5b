//! Work on generations: begin, fill, exchange, discard. Comparing is in [`crate::diff`].
//!
//! Nothing here keeps two people apart: whoever calls holds a lock of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use helix_runtime::{
    Epoch, NextOffset, Position,
    fault::{self, Point},
    fill::{Filled, Filler, Gap, LogSource, Report, Stopped},
};
use helix_schemas::{codec::Codec, fact::Fact, names::WorkspaceId, registry::Registry, scope::Scope};

use crate::{
    client::{ClickHouseError, Database, Options},
    generation::{FACTS, FACTS_STANDBY, GenerationError, Label, Labels, PROJECTION, Standby},
    parked::ParkedTable,
    progress::ProgressTable,
    store::{ClickHouseStore, Work},
};

/// Offsets that are read and written at once: one block.
const PORTION: i64 = 20_000;
/// How often the standby is brought up before the live projector is held for the rest.
const ROUNDS: usize = 20;
/// How often the live projector is sent away for the rest: it comes back by itself.
const FENCES: usize = 5;
/// What may be left when the projector is held, or at worst is written anew by it after the exchange.
const REST: i64 = 5_000;

/// Where each partition stands.
pub(crate) type Positions = BTreeMap<i32, Position>;

/// The generations of one database.
#[derive(Clone)]
pub struct Generations {
    pub(crate) database: Database,
    registry: Registry,
    codec: Arc<Codec<Fact>>,
}

impl std::fmt::Debug for Generations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Generations").finish_non_exhaustive()
    }
}

/// What a standby lacks.
struct Gaps {
    /// Of its one workspace, up to where the others' rows were copied.
    refill: Vec<Gap>,
    /// Of everybody, from there or from the beginning on, up to where the live generation stands.
    rest: Vec<Gap>,
}

fn width(gaps: &[Gap]) -> i64 {
    gaps.iter().map(Gap::width).sum()
}

/// From where each partition stands (0 where it never was) up to those offsets.
fn gaps_between(from: &Positions, to: &BTreeMap<i32, i64>) -> Vec<Gap> {
    let from = |partition: &i32| from.get(partition).map_or(0, |at| at.next_offset.0);
    let gap = |(partition, to): (&i32, &i64)| Gap { partition: *partition, from: from(partition), to: *to };
    to.iter().map(gap).filter(|gap| gap.width() > 0).collect()
}

pub(crate) fn offsets(positions: &Positions) -> BTreeMap<i32, i64> {
    positions.iter().map(|(partition, at)| (*partition, at.next_offset.0)).collect()
}

fn now_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl Generations {
    /// Of a database at head.
    ///
    /// # Errors
    /// [`ClickHouseError::DatabaseName`].
    pub fn new(options: &Options, registry: Registry, codec: Arc<Codec<Fact>>) -> Result<Self, ClickHouseError> {
        Ok(Self { database: Database::new(options)?, registry, codec })
    }

    /// The standby, if there is one.
    ///
    /// # Errors
    /// Where ClickHouse does not answer.
    pub async fn standby(&self) -> Result<Option<Standby>, GenerationError> {
        Ok(Labels::read(&self.database).await?.standby.map(|label| label.standby()))
    }

    /// The labels of both; there is a standby.
    pub(crate) async fn both(&self) -> Result<(Label, Label), GenerationError> {
        let Labels { live, standby } = Labels::read(&self.database).await?;
        Ok((live, standby.ok_or(GenerationError::NoStandby)?))
    }

    pub(crate) async fn positions(
        &self,
        table: &str,
        projection: &str,
        topic: &str,
    ) -> Result<Positions, ClickHouseError> {
        let progress = ProgressTable { database: &self.database, table, projection, topic };
        Ok(progress.read().await?.positions)
    }

    async fn write(&self, projection: &str, topic: &str, at: &BTreeMap<i32, i64>) -> Result<(), ClickHouseError> {
        let position = |(partition, next): (&i32, &i64)| Position {
            partition: *partition,
            next_offset: NextOffset(*next),
            epoch: Epoch(0),
            parked: BTreeMap::new(),
        };
        let positions: Vec<Position> = at.iter().map(position).collect();
        let progress = ProgressTable { database: &self.database, table: FACTS_STANDBY, projection, topic };
        progress.write(&positions).await
    }

    /// Makes a standby: empty, or, of one workspace, with the live rows of all others. Goes on with the one that is there where
    /// it is of that scope and was never live.
    ///
    /// # Errors
    /// [`GenerationError::AnotherStandby`], or where ClickHouse does not answer.
    pub async fn begin(&self, topic: &str, scope: &Scope) -> Result<Standby, GenerationError> {
        let Labels { live, standby } = Labels::read(&self.database).await?;
        if let Some(label) = standby {
            let standby = label.standby();
            let same = standby.scope == *scope && label.left_at.is_none();
            return if same {
                Ok(standby)
            } else {
                Err(GenerationError::AnotherStandby { standby: Box::new(standby) })
            };
        }
        // What somebody did not finish, with all that nobody can read any more.
        self.drop_standby().await?;
        self.execute("CREATE TABLE {database}.facts_standby AS {database}.facts").await?;
        // Before the copy: what the live progress has passed is in it, or among the parked that are read before it too.
        let reached = offsets(&self.positions(FACTS, &live.generation, topic).await?);
        let none: BTreeMap<i32, i64> = reached.keys().map(|partition| (*partition, 0)).collect();
        let label = match scope {
            Scope::All => {
                let label = Label::new(scope, BTreeMap::new(), &live, now_millis());
                self.write(&label.generation, topic, &none).await?;
                label
            }
            Scope::Workspace(workspace) => {
                let label = Label::new(scope, reached, &live, now_millis());
                self.copy_others(&live, &label, topic, workspace).await?;
                self.write(&label.generation, topic, &label.copied_below).await?;
                self.write(&label.refill(), topic, &none).await?;
                label
            }
        };
        label.write(&self.database, FACTS_STANDBY).await?;
        Ok(label.standby())
    }

    /// Gives the empty standby the live rows of all workspaces but one, and their parked records.
    async fn copy_others(
        &self,
        live: &Label,
        label: &Label,
        topic: &str,
        workspace: &WorkspaceId,
    ) -> Result<(), ClickHouseError> {
        let parked = ParkedTable { database: &self.database, generation: &live.generation, only: None };
        parked.copy_others(&label.generation, topic, (&label.copied_below, workspace)).await?;
        // Links to the same files: a matter of moments, and no room is taken until one of the two merges them.
        self.execute("ALTER TABLE {database}.facts_standby ATTACH PARTITION tuple() FROM {database}.facts").await?;
        const OWN: &str = "DELETE FROM {database}.facts_standby WHERE workspace_id = ?";
        let own = self.database.query_of(OWN).bind(workspace.as_str());
        self.database.execute("the standby", own).await
    }

    async fn execute(&self, statement: &str) -> Result<(), ClickHouseError> {
        self.database.execute("the standby", self.database.query(statement)).await
    }

    fn store(&self, work: Work) -> ClickHouseStore {
        let (database, registry, codec) = (self.database.clone(), self.registry.clone(), self.codec.clone());
        ClickHouseStore { database, registry, codec, work, held: None }
    }

    async fn lacking(&self, topic: &str) -> Result<Gaps, GenerationError> {
        let (live, standby) = self.both().await?;
        let reached = offsets(&self.positions(FACTS, &live.generation, topic).await?);
        let refilled = match &standby.workspace {
            Some(_) => self.positions(FACTS_STANDBY, &standby.refill(), topic).await?,
            None => Positions::new(),
        };
        let filled = self.positions(FACTS_STANDBY, &standby.generation, topic).await?;
        Ok(Gaps { refill: gaps_between(&refilled, &standby.copied_below), rest: gaps_between(&filled, &reached) })
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
        report: Report<'_>,
        stopped: Stopped<'_>,
    ) -> Result<Filled, GenerationError> {
        let Gaps { refill, rest } = self.lacking(topic).await?;
        let [own, everybodys] = [&refill, &rest].map(|gaps| width(gaps).unsigned_abs());
        let mut of_own = |done, _| report(done, own + everybodys);
        let refilled = self.refill(topic, source, refill, &mut of_own, stopped).await?;
        let mut filler = self.filler(topic).await?;
        let mut of_rest = |done, _| report(own + done, own + everybodys);
        Ok(refilled + filler.fill(source, rest, &mut of_rest, stopped).await?)
    }

    /// The one workspace's facts of before the others' rows were copied. First, so that what is parked of it is known to
    /// whoever fills the rest.
    async fn refill(
        &self,
        topic: &str,
        source: &mut dyn LogSource,
        gaps: Vec<Gap>,
        report: Report<'_>,
        stopped: Stopped<'_>,
    ) -> Result<Filled, GenerationError> {
        let (_, standby) = self.both().await?;
        let Some(workspace) = standby.workspace.filter(|_| !gaps.is_empty()) else { return Ok(Filled::default()) };
        let mut filler = Filler::new(self.store(Work::Refill(workspace)), topic, PORTION, &[]).await?;
        Ok(filler.fill(source, gaps, report, stopped).await?)
    }

    /// Takes hold of every partition of the standby, also of those without a gap: a projector that held them while this
    /// generation was live finds another epoch, should it become live again before it looks.
    async fn filler(&self, topic: &str) -> Result<Filler<ClickHouseStore>, GenerationError> {
        let (live, standby) = self.both().await?;
        let mut partitions: BTreeSet<i32> = BTreeSet::new();
        for (table, label) in [(FACTS, &live), (FACTS_STANDBY, &standby)] {
            partitions.extend(self.positions(table, &label.generation, topic).await?.into_keys());
        }
        let partitions: Vec<i32> = partitions.into_iter().collect();
        Ok(Filler::new(self.store(Work::Standby), topic, PORTION, &partitions).await?)
    }

    /// Fills until little is left, while the projector runs on.
    pub(crate) async fn come_close(
        &self,
        topic: &str,
        source: &mut dyn LogSource,
    ) -> Result<Filler<ClickHouseStore>, GenerationError> {
        let refill = self.lacking(topic).await?.refill;
        self.refill(topic, source, refill, &mut |_, _| (), &|| false).await?;
        let mut filler = self.filler(topic).await?;
        for _ in 0..ROUNDS {
            let rest = self.lacking(topic).await?.rest;
            if width(&rest) <= REST {
                return Ok(filler);
            }
            filler.fill(source, rest, &mut |_, _| (), &|| false).await?;
        }
        Err(GenerationError::Behind)
    }

    /// Fills what is left; tells what came meanwhile.
    pub(crate) async fn fill_the_rest(
        &self,
        filler: &mut Filler<ClickHouseStore>,
        topic: &str,
        source: &mut dyn LogSource,
    ) -> Result<i64, GenerationError> {
        let rest = self.lacking(topic).await?.rest;
        filler.fill(source, rest, &mut |_, _| (), &|| false).await?;
        Ok(width(&self.lacking(topic).await?.rest))
    }

    /// Exchanges the standby with the live generation: rows, progress and parked keys in one atomic step. The one that was live
    /// becomes the standby: the same once more is the way back.
    ///
    /// The running projector is fenced first, so that the standby can reach its progress before it is back. Where it comes
    /// back sooner every time, it writes again after the exchange what it wrote last: until then readers lack those facts,
    /// at most [`REST`] of them.
    ///
    /// # Errors
    /// [`GenerationError`]; then nothing was exchanged, unless ClickHouse did not answer the exchange itself:
    /// [`Generations::standby`] tells.
    pub async fn cut_over(&self, topic: &str, source: &mut dyn LogSource) -> Result<Standby, GenerationError> {
        let (live, _) = self.both().await?;
        let mut filler = self.come_close(topic, source).await?;
        let mut rest = i64::MAX;
        for _ in 0..FENCES {
            self.fence(topic, &live).await?;
            rest = self.fill_the_rest(&mut filler, topic, source).await?;
            if rest == 0 {
                break;
            }
        }
        if rest > REST {
            return Err(GenerationError::Behind);
        }
        self.still(&live.generation).await?;
        let left = live.leave(&self.database, topic, now_millis()).await?;
        fault::pass(Point::AfterWrite);
        self.execute("EXCHANGE TABLES {database}.facts AND {database}.facts_standby").await?;
        fault::pass(Point::AfterCommit);
        Ok(left.standby())
    }

    /// Refuses where this is not the live generation any more: nobody exchanges while another works, unless he lost the lock
    /// that keeps them apart.
    pub(crate) async fn still(&self, generation: &str) -> Result<(), ClickHouseError> {
        let live = Labels::read(&self.database).await?.live;
        if live.generation == generation { Ok(()) } else { Err(ClickHouseError::Exchanged) }
    }

    /// Raises the live epochs: whoever projects is sent away, and what it writes late counts for nothing.
    async fn fence(&self, topic: &str, live: &Label) -> Result<(), ClickHouseError> {
        let projection = &live.generation;
        let progress = ProgressTable { database: &self.database, table: FACTS, projection, topic };
        let held = progress.read().await?.positions;
        let raised: Vec<Position> = held.into_values().map(ProgressTable::raised).collect();
        progress.write(&raised).await
    }

    /// Drops the standby.
    ///
    /// # Errors
    /// [`GenerationError::NoStandby`], or where ClickHouse does not answer.
    pub async fn discard(&self) -> Result<Standby, GenerationError> {
        let (_, standby) = self.both().await?;
        self.drop_standby().await?;
        Ok(standby.standby())
    }

    /// The table first: progress of rows that are gone is of no generation, and is removed whenever.
    async fn drop_standby(&self) -> Result<(), ClickHouseError> {
        // A large table is dropped too: it was asked for by name.
        self.execute("DROP TABLE IF EXISTS {database}.facts_standby SYNC SETTINGS max_table_size_to_drop = 0").await?;
        // Which one is live is asked now: nobody can exchange it any more.
        let live = Labels::read(&self.database).await?.live;
        for table in ["projection_progress", "parked_facts"] {
            let others = format!(
                "DELETE FROM {{database}}.{table}
                 WHERE (`projection` = ? OR startsWith(toString(`projection`), ?)) AND `projection` NOT IN (?, ?)"
            );
            let others = self.database.query_of(&others).bind(PROJECTION).bind(format!("{PROJECTION}."));
            let others = others.bind(&live.generation).bind(live.refill());
            self.database.execute("the standby", others).await?;
        }
        Ok(())
    }
}
