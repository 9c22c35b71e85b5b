//! The store behind the engine: applying a batch is remembering it; the beat makes what is due.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures_util::future::join_all;
use helix_runtime::{
    Batch, Epoch, Lag, Position, Standing, Store, StoreError,
    fault::{Point, pass},
};
use helix_schemas::{
    codec::Codec,
    fact::Fact,
    id::FactId,
    names::WorkspaceId,
    registry::{Registry, RegistryError},
    time::{OccurredAt, ReceivedAt},
};
use sqlx::PgPool;

use crate::{
    PROJECTION,
    append::Append,
    database::{self, AutomationError},
    metrics, progress,
    timers::{self, Asking, Due},
    watch::{AllBounds, Arrived},
};

/// Most decisions of one beat.
const AT_ONCE: usize = 1000;
/// Appends in flight at once: a log that does not answer holds up one such lot, not all.
const IN_FLIGHT: usize = 100;
/// A decision that was acknowledged and has not been read back after this is appended again: its id absorbs it.
const READ_BACK: Duration = Duration::from_secs(60);
/// What was found to be due is appended within this time, or looked up again: it may not be true any more.
const STILL_TRUE: Duration = Duration::from_secs(5);
/// Who has not beaten for this long was frozen, asleep or held up: what it knows of the log is from before.
const AWAY: Duration = Duration::from_secs(10);
/// Old rows are looked for this often.
const TIDY: Duration = Duration::from_secs(60);

/// Our clock.
type Now = Arc<dyn Fn() -> ReceivedAt + Send + Sync>;

/// A moment by both of this machine's clocks. The one may be set, the other stands still while the machine sleeps: what has
/// passed is what either says.
#[derive(Debug, Clone, Copy)]
struct Moment {
    ours: ReceivedAt,
    steady: Instant,
}

impl Moment {
    fn passed(&self, ours: ReceivedAt) -> Duration {
        let by_ours = ours.micros().saturating_sub(self.ours.micros());
        self.steady.elapsed().max(Duration::from_micros(u64::try_from(by_ours).unwrap_or_default()))
    }
}

/// The store behind `helix automation`.
pub struct AutomationStore {
    pool: PgPool,
    registry: Option<Registry>,
    codec: Arc<Codec<Fact>>,
    bounds: AllBounds,
    log: Arc<dyn Append>,
    now: Now,
    settle: Duration,
    topic: String,
    /// What this instance holds, under which epoch.
    held: BTreeMap<i32, Epoch>,
    /// Decisions that were acknowledged, and perhaps not read back yet.
    appended: BTreeMap<FactId, Instant>,
    beaten: Option<Moment>,
    /// Since when it has beaten without a long pause.
    awake: Instant,
    tidied: Option<Instant>,
}

impl std::fmt::Debug for AutomationStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AutomationStore").finish_non_exhaustive()
    }
}

impl AutomationStore {
    /// A store on a migrated database, that appends to `log`. Without a registry it reads what `codec` knows.
    pub fn new(
        pool: PgPool,
        (registry, codec): (Option<Registry>, Arc<Codec<Fact>>),
        bounds: AllBounds,
        log: Arc<dyn Append>,
    ) -> Self {
        Self {
            pool,
            registry,
            codec,
            bounds,
            log,
            now: Arc::new(ReceivedAt::now),
            settle: Duration::ZERO,
            topic: String::new(),
            held: BTreeMap::new(),
            appended: BTreeMap::new(),
            beaten: None,
            awake: Instant::now(),
            tidied: None,
        }
    }

    /// Presumes nothing of whom it has heard within this time, by our own clock: what comes in a burst comes to its end first.
    #[must_use]
    pub const fn settling(mut self, settle: Duration) -> Self {
        self.settle = settle;
        self
    }

    /// With another clock than this machine's.
    #[must_use]
    pub fn with_clock(mut self, now: impl Fn() -> ReceivedAt + Send + Sync + 'static) -> Self {
        self.now = Arc::new(now);
        self
    }

    /// Reads a batch's values; a schema that is new to this process is asked of the registry.
    async fn decode(&self, batch: &Batch) -> Result<Vec<Arrived>, StoreError> {
        let mut facts = Vec::with_capacity(batch.len());
        for slice in &batch.slices {
            for record in &slice.records {
                let decoded = match &self.registry {
                    Some(registry) => registry.decode(&self.codec, &record.value).await,
                    None => self.codec.decode(&record.value).map_err(RegistryError::Codec),
                };
                let fact = decoded.map_err(|error| {
                    if error.blames_the_record() {
                        let (partition, offset) = (slice.partition, record.offset);
                        StoreError::Poison { partition, offset, reason: error.to_string() }
                    } else {
                        StoreError::unavailable(error)
                    }
                })?;
                facts.push(Arrived { fact, partition: slice.partition, offset: record.offset.0 });
            }
        }
        Ok(facts)
    }

    fn moment(&self) -> Moment {
        Moment { ours: (self.now)(), steady: Instant::now() }
    }

    /// Whether what is known of the log's end was asked after the last long pause: a machine that wakes finds its clocks hours
    /// on, and the end of the log as it was.
    fn knows_the_log(&mut self, lag: &Lag) -> bool {
        let now = self.moment();
        if self.beaten.replace(now).is_some_and(|before| before.passed(now.ours) > AWAY) {
            self.awake = now.steady;
        }
        lag.facts == 0 && self.awake.elapsed() >= lag.age
    }

    /// Makes what is due. Whoever has not read everything must not call it.
    async fn decide(&mut self) -> Result<(), AutomationError> {
        let asked = self.moment();
        let nows = timers::nows(&self.pool, asked.ours).await?;
        let due = self.due(&nows, asked.ours).await?;
        let open: Vec<(&Due, &Fact)> = due.iter().map(|(due, fact)| (due, fact)).collect();
        let mut made = BTreeSet::new();
        for lot in open.chunks(IN_FLIGHT) {
            let before = made.len();
            if asked.passed((self.now)()) > STILL_TRUE {
                break;
            }
            self.append(lot, &mut made).await;
            if made.len() < before + lot.len() {
                break;
            }
        }
        let left = open.iter().filter(|(_, fact)| !made.contains(&fact.id));
        let waiting = |due: &Due| -> i64 {
            let now = nows.get(&due.workspace).copied().unwrap_or(due.timer.due_at);
            OccurredAt::millis(now).saturating_sub(due.timer.due_at.millis())
        };
        let oldest = left.clone().map(|(due, _)| waiting(due)).max().unwrap_or_default();
        metrics::due(left.count(), oldest);
        let acknowledged = Instant::now();
        self.appended.extend(made.into_iter().map(|id| (id, acknowledged)));
        self.tidy(&nows).await
    }

    /// What is due and was not appended lately, with the facts to append: most that one beat makes. Those that wait to be read
    /// back are passed by, however many they are.
    async fn due(
        &mut self,
        nows: &BTreeMap<WorkspaceId, OccurredAt>,
        ours: ReceivedAt,
    ) -> Result<Vec<(Due, Fact)>, AutomationError> {
        self.appended.retain(|_, at| at.elapsed() < READ_BACK);
        let asking = Asking { topic: &self.topic, held: &self.held, nows, settle: self.settle };
        let limit = i64::try_from(AT_ONCE).unwrap_or(i64::MAX);
        let mut open = Vec::new();
        let mut last: Option<Due> = None;
        loop {
            let page = timers::due(&self.pool, &asking, last.as_ref(), limit).await?;
            let is_last = page.len() < AT_ONCE;
            last = page.last().cloned();
            for due in page {
                let fact = due.timer.deciding(&due.workspace, ours).into_fact();
                if !self.appended.contains_key(&fact.id) {
                    open.push((due, fact));
                }
            }
            if is_last || open.len() >= AT_ONCE {
                open.truncate(AT_ONCE);
                return Ok(open);
            }
        }
    }

    /// Appends some decisions at once, and notes those that are in the log.
    async fn append(&self, lot: &[(&Due, &Fact)], made: &mut BTreeSet<FactId>) {
        let outcomes = join_all(lot.iter().map(|(_, fact)| self.log.append(fact))).await;
        for ((Due { workspace, timer, .. }, fact), outcome) in lot.iter().zip(outcomes) {
            match outcome {
                Ok(()) => {
                    made.insert(fact.id);
                    metrics::decided(workspace, timer.decision);
                    tracing::info!(%workspace, decision = timer.decision.as_str(), fact = %fact.id, "decided");
                }
                Err(error) => {
                    metrics::append_failed();
                    tracing::warn!(%workspace, decision = timer.decision.as_str(), %error, "a decision waits for the log");
                }
            }
        }
    }

    async fn tidy(&mut self, nows: &BTreeMap<WorkspaceId, OccurredAt>) -> Result<(), AutomationError> {
        if self.tidied.is_some_and(|at| at.elapsed() < TIDY) {
            return Ok(());
        }
        self.tidied = Some(Instant::now());
        timers::forget_old(&self.pool, nows).await
    }
}

#[async_trait]
impl Store for AutomationStore {
    fn projection(&self) -> &str {
        PROJECTION
    }

    async fn acquire(&mut self, topic: &str, partitions: &[i32]) -> Result<Vec<Position>, StoreError> {
        topic.clone_into(&mut self.topic);
        let positions = progress::acquire(&self.pool, topic, partitions).await?;
        timers::drop_off(&self.pool, partitions, &self.bounds).await?;
        for position in &positions {
            self.held.insert(position.partition, position.epoch);
        }
        Ok(positions)
    }

    async fn apply(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let facts = self.decode(batch).await?;
        pass(Point::AfterDecode);
        let mut tx = self.pool.begin().await.map_err(AutomationError::from)?;
        progress::advance(&mut tx, batch).await?;
        database::lock(&mut tx, &facts).await?;
        let mut watched = database::load(&mut tx, &facts).await?;
        watched.apply(&self.bounds, &facts);
        database::store(&mut tx, &watched).await?;
        pass(Point::MidBatch);
        timers::store(&mut tx, &watched, &self.bounds).await?;
        pass(Point::AfterWrite);
        tx.commit().await.map_err(AutomationError::from)?;
        pass(Point::AfterCommit);
        Ok(())
    }

    async fn standing(&mut self, topic: &str, partitions: &[i32]) -> Result<Option<Standing>, StoreError> {
        // What was given back is another's to decide, also before that one has come.
        self.held.retain(|partition, _| partitions.contains(partition));
        let positions = progress::standing(&self.pool, topic, partitions).await?;
        Ok(Some(Standing { positions, paused: false }))
    }

    async fn beat(&mut self, lag: Option<Lag>) -> Result<(), StoreError> {
        // What waits in the log may be the very thing that a timer waits for.
        let Some(lag) = lag else {
            metrics::due_unknown();
            return Ok(());
        };
        if !self.knows_the_log(&lag) {
            return Ok(());
        }
        let decided = async {
            progress::read_all(&self.pool, &self.topic, &self.held).await?;
            self.decide().await
        };
        decided.await.map_err(|error: AutomationError| {
            tracing::warn!(%error, "what is due cannot be looked up");
            error.into()
        })
    }
}
