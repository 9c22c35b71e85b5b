//! Work on generations: a board is folded afresh beside the live one, compared with it, exchanged, brought back, dropped.
//!
//! The standby is a [`LiveStore`] over keys of its own: it is filled by batches with progress beside them, so that whoever is
//! interrupted, or dies, goes on from there, and parks what the projector would park. Two operators at once fence each other by
//! the same compares as two projectors do; no lock is needed.

use std::collections::BTreeMap;

use helix_fold::settings::Settings;
use helix_runtime::{
    StoreError,
    fill::{FillError, Filled, Filler, Gap, LogSource, Report, StandbyState, Stopped},
};
use helix_schemas::{names::WorkspaceId, scope::Scope};
use redis::{RedisError, Script, ScriptInvocation, aio::MultiplexedConnection};
use serde::Serialize;

use crate::{
    audit::{Stored, ask},
    diff::{Diff, changes},
    keys::{DELTA_BYTES_KEPT, DELTAS_KEPT, Keys},
    reader::{Delta, ReadError, connect},
    room::invoke,
    store::{CLAIM, Decoder, EXCHANGE, LiveStore, new_generation},
};

/// Offsets that are read and written at once.
const PORTION: i64 = 20_000;
/// How often the standby is brought up before the live board is held for the rest.
const ROUNDS: usize = 20;
/// How often the live board is held for the rest: its projector takes it back from one who takes too long.
const HOLDS: usize = 3;
/// What may be left when it is held: it is filled in a fraction of a second.
const REST: i64 = 5_000;

/// The standby of one workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standby {
    /// Whose board it is.
    pub scope: Scope,
    /// What it is.
    pub state: StandbyState,
    /// When it was begun, Unix milliseconds; not known of one that an earlier build began.
    pub made_at: Option<i64>,
    /// When it ceased to be live, Unix milliseconds.
    pub cut_over_at: Option<i64>,
}

impl Standby {
    fn of(workspace: &WorkspaceId, stored: &Stored) -> Self {
        let moment = |name: &str| stored.meta(name).parse().ok();
        let cut_over_at = moment("left");
        Self {
            scope: Scope::Workspace(workspace.clone()),
            state: if cut_over_at.is_some() { StandbyState::Previous } else { StandbyState::Filling },
            made_at: moment("made"),
            cut_over_at,
        }
    }
}

/// Why work on generations was not done. Nothing is half done.
#[derive(Debug, thiserror::Error)]
pub enum GenerationError {
    /// Somebody else is at it.
    #[error("somebody else rebuilds, compares or exchanges this board at the moment")]
    Busy,
    /// There is no standby.
    #[error("there is no standby: rebuild first")]
    NoStandby,
    /// There is one that was live before: discard it first.
    #[error("there is a standby already that is not the one asked for: discard it first")]
    AnotherStandby {
        /// That one.
        standby: Box<Standby>,
    },
    /// The projector is too fast to be caught up with.
    #[error("the standby cannot be brought to the live board's progress: fill it first")]
    Behind,
    /// The live board has been begun anew, or came back from the past.
    #[error("the live board is behind the standby: wait until its projector has caught up, or discard the standby")]
    Ahead,
    /// The projector would not take up what it did not write under its own build and settings, and begin anew.
    #[error("the live board is of another build or of other settings than the standby: start its projector anew first")]
    OtherSettings,
    /// Asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// A batch could not be applied, or the log not be read.
    #[error(transparent)]
    Store(StoreError),
    /// The Redis does not answer, or holds no board.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<FillError> for GenerationError {
    fn from(error: FillError) -> Self {
        match error {
            FillError::Interrupted => Self::Interrupted,
            FillError::NotHeld { .. } => Self::Behind,
            FillError::Store(StoreError::Fenced { .. }) => Self::Busy,
            FillError::Store(error) => Self::Store(error),
        }
    }
}

impl From<RedisError> for GenerationError {
    fn from(error: RedisError) -> Self {
        Self::Read(error.into())
    }
}

/// The generations of one workspace's board.
pub struct Generations {
    client: redis::Client,
    workspace: WorkspaceId,
    settings: Settings,
    decoder: Decoder,
    live: Keys,
    standby: Keys,
}

impl std::fmt::Debug for Generations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Generations").field("workspace", &self.workspace).finish_non_exhaustive()
    }
}

/// Both boards, read in one step.
struct Both {
    live: Stored,
    standby: Stored,
}

impl Both {
    /// What the standby lacks.
    fn gaps(&self) -> Result<Vec<Gap>, GenerationError> {
        gaps_between(&self.standby.board.progress, &self.live.board.progress)
    }
}

/// From where each partition stands (0 where it never was) up to where it is to stand.
fn gaps_between(from: &BTreeMap<i32, i64>, to: &BTreeMap<i32, i64>) -> Result<Vec<Gap>, GenerationError> {
    let at = |progress: &BTreeMap<i32, i64>, partition: i32| progress.get(&partition).copied().unwrap_or(0);
    if from.keys().any(|partition| at(from, *partition) > at(to, *partition)) {
        return Err(GenerationError::Ahead);
    }
    let gap = |(partition, to): (&i32, &i64)| Gap { partition: *partition, from: at(from, *partition), to: *to };
    Ok(to.iter().map(gap).filter(|gap| gap.width() > 0).collect())
}

impl Generations {
    /// Of the workspace's Redis at `url`, without a connection yet.
    ///
    /// # Errors
    /// Where `url` is no Redis URL.
    pub fn new(url: &str, workspace: WorkspaceId, settings: Settings, decoder: Decoder) -> Result<Self, RedisError> {
        let client = redis::Client::open(url)?;
        let (live, standby) = (Keys::of(&workspace), Keys::standby(&workspace));
        Ok(Self { client, workspace, settings, decoder, live, standby })
    }

    async fn connect(&self) -> Result<MultiplexedConnection, GenerationError> {
        Ok(connect(&self.client).await?)
    }

    async fn stored(&self, keys: &Keys, topic: &str) -> Result<Option<Stored>, GenerationError> {
        let mut pipe = redis::pipe();
        ask(pipe.atomic(), keys);
        Ok(Stored::of(pipe.query_async(&mut self.connect().await?).await?, topic)?)
    }

    async fn both(&self, topic: &str) -> Result<Both, GenerationError> {
        let mut pipe = redis::pipe();
        ask(pipe.atomic(), &self.live);
        ask(&mut pipe, &self.standby);
        let (meta, board, progress, meta_beside, board_beside, progress_beside) =
            pipe.query_async(&mut self.connect().await?).await?;
        let live = Stored::of((meta, board, progress), topic)?.ok_or(ReadError::NoBoard)?;
        let standby = Stored::of((meta_beside, board_beside, progress_beside), topic)?;
        Ok(Both { live, standby: standby.ok_or(GenerationError::NoStandby)? })
    }

    /// The standby, if there is one, and up to where it has read the log, by partition.
    ///
    /// # Errors
    /// Where the Redis does not answer.
    pub async fn standby(&self, topic: &str) -> Result<Option<(Standby, BTreeMap<i32, i64>)>, GenerationError> {
        let stored = self.stored(&self.standby, topic).await?;
        Ok(stored.map(|stored| (Standby::of(&self.workspace, &stored), stored.board.progress)))
    }

    /// Takes hold of the standby, which is begun where there is none, or where it is not what this build and these settings make
    /// of the log.
    async fn filler(&self, topic: &str, partitions: &[i32]) -> Result<Filler<LiveStore>, GenerationError> {
        let (client, workspace) = (self.client.clone(), self.workspace.clone());
        let store = LiveStore::standby(client, workspace, self.settings.clone(), self.decoder.clone());
        Ok(Filler::new(store, topic, PORTION, partitions).await?)
    }

    /// Refuses where a standby is kept that was live before. One is begun by filling it.
    ///
    /// # Errors
    /// [`GenerationError::AnotherStandby`], or where the Redis does not answer.
    pub async fn begin(&self, topic: &str) -> Result<(), GenerationError> {
        match self.standby(topic).await? {
            Some((standby, _)) if standby.state == StandbyState::Previous => {
                Err(GenerationError::AnotherStandby { standby: Box::new(standby) })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Fills a standby up to where the live board stands now, from where it was left; begins one where there is none. `report`
    /// is told offsets done and offsets to do; `stopped` is asked after each batch. What was filled stays filled.
    ///
    /// # Errors
    /// [`GenerationError`]; [`GenerationError::AnotherStandby`] where it was live before.
    pub async fn fill(
        &self,
        topic: &str,
        source: &mut dyn LogSource,
        report: Report<'_>,
        stopped: Stopped<'_>,
    ) -> Result<Filled, GenerationError> {
        self.begin(topic).await?;
        let live = self.stored(&self.live, topic).await?.ok_or(ReadError::NoBoard)?;
        let partitions: Vec<i32> = live.board.progress.keys().copied().collect();
        let mut filler = self.filler(topic, &partitions).await?;
        // Only now is it known where it begins.
        let Both { standby, .. } = self.both(topic).await?;
        let gaps = gaps_between(&standby.board.progress, &live.board.progress)?;
        Ok(filler.fill(source, gaps, report, stopped).await?)
    }

    /// Brings the standby to exactly where the live board stands and compares the two; the first `limit` values that differ are
    /// told. The live board is read in one step and goes on meanwhile.
    ///
    /// # Errors
    /// [`GenerationError`].
    pub async fn diff(&self, topic: &str, source: &mut dyn LogSource, limit: usize) -> Result<Diff, GenerationError> {
        let before = self.both(topic).await?;
        let label = Standby::of(&self.workspace, &before.standby);
        before.gaps()?;
        let live = before.live.board;
        let partitions: Vec<i32> = live.progress.keys().copied().collect();
        let mut filler = self.filler(topic, &partitions).await?;
        let now = self.both(topic).await?.standby;
        let gaps = gaps_between(&now.board.progress, &live.progress)?;
        filler.fill(source, gaps, &mut |_, _| (), &|| false).await?;
        let standby = self.stored(&self.standby, topic).await?.ok_or(GenerationError::NoStandby)?;
        if !gaps_between(&standby.board.progress, &live.progress)?.is_empty() {
            return Err(GenerationError::Busy);
        }
        Ok(Diff::of(&self.workspace, label, &live, &standby.board, limit))
    }

    /// Fills until little is left, while the projector runs on.
    async fn come_close(&self, topic: &str, source: &mut dyn LogSource) -> Result<Filler<LiveStore>, GenerationError> {
        let Both { live, .. } = self.both(topic).await?;
        let partitions: Vec<i32> = live.board.progress.keys().copied().collect();
        let mut filler = self.filler(topic, &partitions).await?;
        for _ in 0..ROUNDS {
            let both = self.both(topic).await?;
            let same = |name: &str| both.live.meta(name) == both.standby.meta(name);
            if !same("format") || !same("settings") {
                return Err(GenerationError::OtherSettings);
            }
            let gaps = both.gaps()?;
            if gaps.iter().map(Gap::width).sum::<i64>() <= REST {
                return Ok(filler);
            }
            filler.fill(source, gaps, &mut |_, _| (), &|| false).await?;
        }
        Err(GenerationError::Behind)
    }

    /// Exchanges the standby with the live board: values, memory, root and parked keys in one atomic step, at one progress. The
    /// one that was live becomes the standby: the same once more is the way back. Whoever follows the board is told a delta of
    /// what differs, if anything does.
    ///
    /// The live board is held for the last facts: its projector stands by, and takes up what it then finds. It takes the board
    /// back by itself from an operator who dies holding it.
    ///
    /// # Errors
    /// [`GenerationError`]; then nothing was exchanged, unless the Redis did not answer the exchange itself:
    /// [`Generations::standby`] tells.
    pub async fn cut_over(&self, topic: &str, source: &mut dyn LogSource) -> Result<Standby, GenerationError> {
        let mut filler = self.come_close(topic, source).await?;
        for _ in 0..HOLDS {
            let owner = self.hold().await?;
            let exchanged = self.exchange(&owner, &mut filler, topic, source).await;
            if matches!(exchanged, Ok(true)) {
                let (standby, _) = self.standby(topic).await?.ok_or(GenerationError::NoStandby)?;
                return Ok(standby);
            }
            let let_go = self.release(&owner).await;
            exchanged?;
            let_go?;
        }
        Err(GenerationError::Behind)
    }

    /// Becomes the owner of the live board: its projector writes nothing more.
    pub(crate) async fn hold(&self) -> Result<String, GenerationError> {
        let owner = format!("operator {}", new_generation());
        let claim = Script::new(CLAIM);
        let _: redis::Value = claim.key(&self.live.meta).arg(&owner).invoke_async(&mut self.connect().await?).await?;
        Ok(owner)
    }

    async fn release(&self, owner: &str) -> Result<(), GenerationError> {
        let release = Script::new(include_str!("lua/release.lua"));
        let _: redis::Value = release.key(&self.live.meta).arg(owner).invoke_async(&mut self.connect().await?).await?;
        Ok(())
    }

    /// Fills what is left and exchanges; false where the live board did not stay held for so long.
    async fn exchange(
        &self,
        owner: &str,
        filler: &mut Filler<LiveStore>,
        topic: &str,
        source: &mut dyn LogSource,
    ) -> Result<bool, GenerationError> {
        let gaps = self.both(topic).await?.gaps()?;
        filler.fill(source, gaps, &mut |_, _| (), &|| false).await?;
        let both = self.both(topic).await?;
        let (shown, version) = delta(&both)?;
        let script = Script::new(EXCHANGE);
        let mut call: ScriptInvocation<'_> = script.prepare_invoke();
        for key in self.live.of_state().into_iter().chain(self.standby.of_state()) {
            call.key(key);
        }
        call.key(format!("{}:exchanged", self.standby.meta));
        call.arg(owner).arg(both.live.meta("seq")).arg(both.standby.meta("owner")).arg(both.standby.meta("seq"));
        call.arg(version).arg(shown).arg(DELTAS_KEPT).arg(DELTA_BYTES_KEPT).arg(new_generation());
        let answer: String = invoke(&call, &self.live, &mut self.connect().await?).await?;
        Ok(answer == "ok")
    }

    /// Drops the standby.
    ///
    /// # Errors
    /// [`GenerationError::NoStandby`], or where the Redis does not answer.
    pub async fn discard(&self, topic: &str) -> Result<Standby, GenerationError> {
        let (standby, _) = self.standby(topic).await?.ok_or(GenerationError::NoStandby)?;
        let _: i64 = redis::cmd("DEL").arg(&self.standby.of_state()).query_async(&mut self.connect().await?).await?;
        Ok(standby)
    }
}

/// What those who follow the live board are told, empty where the two show the same, and the version after it.
fn delta(both: &Both) -> Result<(String, u64), GenerationError> {
    let malformed = |what: &str| ReadError::Malformed(what.to_owned());
    let version: u64 = both.live.meta("version").parse().map_err(|_| malformed("its version is no number"))?;
    let changes = changes(&both.live.board.visible, &both.standby.board.visible);
    if changes.is_empty() {
        return Ok((String::new(), version));
    }
    let delta = Delta { version: version + 1, changes, hash: both.standby.board.visible.root() };
    let text = serde_json::to_string(&delta).map_err(|_| malformed("a value is no JSON"))?;
    Ok((text, delta.version))
}
