//! The projector's side: folds a batch and writes everything it means in one step.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use bytes::Bytes;
use helix_fold::{
    board::{
        Board, Heard,
        visible::{Op, merge},
    },
    settings::Settings,
};
use helix_runtime::{
    Batch, Epoch, Lag, NextOffset, Offset, Position, Record, Standing, Store, StoreError,
    fault::{self, Point},
};
use helix_schemas::{
    codec::Codec,
    fact::Fact,
    key::workspace_of_key,
    names::{AgentId, CallId, WorkspaceId},
    registry::Registry,
};
use redis::{RedisError, Script, aio::MultiplexedConnection};
use tokio::sync::Notify;

use crate::{
    keys::{DELTA_BYTES_KEPT, DELTAS_KEPT, FORMAT, Keys},
    parked::{self, Entry},
    pause::is_paused,
    reader::{Delta, connect},
    room::invoke,
};

/// The name of this projection in metrics; `helix projection list` has `live:<workspace>`.
pub(crate) const PROJECTION: &str = "live";
/// The name of what stands beside it.
pub(crate) const STANDBY_PROJECTION: &str = "live.standby";

/// Scripts that tell deltas.
pub(crate) const EXCHANGE: &str = concat!(include_str!("lua/deltas.lua"), include_str!("lua/exchange.lua"));
const APPLY: &str = concat!(include_str!("lua/deltas.lua"), include_str!("lua/apply.lua"));
pub(crate) const CLAIM: &str = include_str!("lua/claim.lua");

/// After the first, the state is ours while it is read: only others who acquire it at the same moment change it.
const ACQUIRE_TRIES: usize = 5;

/// Reads framed facts.
#[derive(Debug, Clone)]
pub struct Decoder {
    codec: Arc<Codec<Fact>>,
    registry: Option<Registry>,
}

impl Decoder {
    /// With a registry to ask for schemas that this process has not met.
    #[must_use]
    pub fn new(codec: Arc<Codec<Fact>>, registry: Option<Registry>) -> Self {
        Self { codec, registry }
    }

    async fn decode(&self, partition: i32, record: &Record) -> Result<Fact, StoreError> {
        let poison = |reason: String| StoreError::Poison { partition, offset: record.offset, reason };
        let Some(registry) = &self.registry else {
            return self.codec.decode(&record.value).map_err(|error| poison(error.to_string()));
        };
        let decoded = registry.decode(&self.codec, &record.value).await;
        decoded.map_err(|error| {
            if error.blames_the_record() { poison(error.to_string()) } else { StoreError::unavailable(error) }
        })
    }
}

/// Tells that what lies in the Redis is not what this instance wrote there, because it was lost or an operator exchanged it: the
/// engine must be started anew, and takes up what it finds.
#[derive(Debug, Clone, Default)]
pub struct Loss(Arc<LossInner>);

#[derive(Debug, Default)]
struct LossInner {
    happened: AtomicBool,
    notify: Notify,
}

impl Loss {
    fn tell(&self) {
        self.0.happened.store(true, Ordering::Release);
        self.0.notify.notify_waiters();
    }

    /// Whether it happened.
    #[must_use]
    pub fn happened(&self) -> bool {
        self.0.happened.load(Ordering::Acquire)
    }

    /// Resolves when it happens, or at once if it has.
    pub async fn wait(&self) {
        let told = self.0.notify.notified();
        tokio::pin!(told);
        told.as_mut().enable();
        if !self.happened() {
            told.await;
        }
    }
}

/// The board and where it stands, in step with Redis as of `seq`.
struct Loaded {
    board: Board,
    generation: String,
    seq: u64,
    version: u64,
    progress: BTreeMap<String, i64>,
    /// The first parked offset of each key, by slice, as of the acquisition.
    parked: BTreeMap<String, BTreeMap<Bytes, Offset>>,
    sizes: [usize; 3],
}

/// The store of the projection `live`: one workspace, its own Redis. See the crate's documentation.
pub struct LiveStore {
    /// Of what everybody reads, or of what stands beside it.
    projection: &'static str,
    client: redis::Client,
    connection: Option<MultiplexedConnection>,
    keys: Keys,
    workspace: WorkspaceId,
    settings: Settings,
    decoder: Decoder,
    owner: String,
    loaded: Option<Loaded>,
    /// The last write may or may not have happened: what Redis says it holds of a batch is then skipped, not applied twice.
    uncertain: bool,
    /// The `seq` that Redis is known to have had: a lower one is a state that came back from the past.
    reached: u64,
    delta_bytes_kept: usize,
    loss: Loss,
    apply: Script,
    acquire: Script,
    claim: Script,
    beat: Script,
}

impl std::fmt::Debug for LiveStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveStore").field("workspace", &self.workspace).finish_non_exhaustive()
    }
}

type Hash = BTreeMap<String, String>;

/// The state as read, before it was looked at.
struct Read {
    run: String,
    meta: BTreeMap<String, String>,
    progress: BTreeMap<String, i64>,
    board: BTreeMap<String, String>,
    agents: BTreeMap<String, String>,
    calls: BTreeMap<String, String>,
    parked: BTreeMap<String, String>,
}

impl LiveStore {
    /// A store without a connection yet.
    ///
    /// # Errors
    /// Where `url` is no Redis URL.
    pub fn new(url: &str, workspace: WorkspaceId, settings: Settings, decoder: Decoder) -> Result<Self, RedisError> {
        let (client, keys) = (redis::Client::open(url)?, Keys::of(&workspace));
        Ok(Self::over(client, keys, PROJECTION, workspace, settings, decoder))
    }

    /// The same over the keys of the standby. Nobody follows it: it writes no deltas.
    pub(crate) fn standby(client: redis::Client, workspace: WorkspaceId, settings: Settings, decoder: Decoder) -> Self {
        let keys = Keys::standby(&workspace);
        Self::over(client, keys, STANDBY_PROJECTION, workspace, settings, decoder)
    }

    fn over(
        client: redis::Client,
        keys: Keys,
        projection: &'static str,
        workspace: WorkspaceId,
        settings: Settings,
        decoder: Decoder,
    ) -> Self {
        Self {
            projection,
            client,
            connection: None,
            keys,
            workspace,
            settings,
            decoder,
            owner: uuid::Uuid::new_v4().to_string(),
            loaded: None,
            uncertain: false,
            reached: 0,
            delta_bytes_kept: DELTA_BYTES_KEPT,
            loss: Loss::default(),
            apply: Script::new(APPLY),
            acquire: Script::new(include_str!("lua/acquire.lua")),
            claim: Script::new(CLAIM),
            beat: Script::new(include_str!("lua/beat.lua")),
        }
    }

    /// Keeps no more than so many bytes of deltas: for tests of just that.
    #[doc(hidden)]
    #[must_use]
    pub const fn keeping(mut self, delta_bytes: usize) -> Self {
        self.delta_bytes_kept = delta_bytes;
        self
    }

    /// Tells whether the Redis lost its state while this store ran.
    #[must_use]
    pub fn loss(&self) -> Loss {
        self.loss.clone()
    }

    /// The board as folded up to the last batch that was applied; `None` before [`Store::acquire`].
    #[must_use]
    pub fn board(&self) -> Option<&Board> {
        self.loaded.as_ref().map(|loaded| &loaded.board)
    }

    /// Behaves from now on as after a write whose answer was lost: for tests of just that.
    #[doc(hidden)]
    pub fn forget_outcome(&mut self) {
        self.loaded = None;
        self.uncertain = true;
    }

    async fn connection(&mut self) -> Result<MultiplexedConnection, StoreError> {
        if let Some(connection) = &self.connection {
            return Ok(connection.clone());
        }
        let connection = connect(&self.client).await.map_err(StoreError::unavailable)?;
        self.connection = Some(connection.clone());
        Ok(connection)
    }

    /// Forgets a connection that failed, so that the next step makes a new one.
    fn failed(&mut self, error: RedisError) -> StoreError {
        self.connection = None;
        StoreError::unavailable(error)
    }

    async fn read(&mut self) -> Result<Read, StoreError> {
        let mut connection = self.connection().await?;
        let mut pipe = redis::pipe();
        pipe.atomic().cmd("INFO").arg("server");
        let keys = &self.keys;
        for key in [&keys.meta, &keys.progress, &keys.board, &keys.agents, &keys.calls, &keys.parked] {
            pipe.hgetall(key);
        }
        let answer = pipe.query_async(&mut connection).await;
        type Answer = (String, Hash, BTreeMap<String, i64>, Hash, Hash, Hash, Hash);
        let (info, meta, progress, board, agents, calls, parked): Answer =
            answer.map_err(|error| self.failed(error))?;
        let run = info.lines().find_map(|line| line.strip_prefix("run_id:")).unwrap_or_default().trim().to_owned();
        Ok(Read { run, meta, progress, board, agents, calls, parked })
    }

    /// The stored state, if it is whole and of this build and these settings; else why not.
    fn restore(&self, read: &Read) -> Result<Loaded, String> {
        let meta = |name: &str| read.meta.get(name).map(String::as_str).ok_or_else(|| format!("meta has no {name}"));
        let number = |name: &str| meta(name)?.parse::<u64>().map_err(|_| format!("meta's {name} is no number"));
        if meta("format")? != FORMAT || meta("settings")? != settings_text(&self.settings) {
            return Err("it was written by another build or under other settings".to_owned());
        }
        let heard: Heard = match read.meta.get("heard") {
            Some(text) => serde_json::from_str(text).map_err(|error| error.to_string())?,
            None => Heard::default(),
        };
        let agents = read.agents.iter().filter_map(|(id, memory)| Some((AgentId::new(id).ok()?, memory.as_str())));
        let calls = read.calls.iter().filter_map(|(id, memory)| Some((CallId::new(id).ok()?, memory.as_str())));
        let board = Board::restore(self.workspace.clone(), self.settings.clone(), heard, agents, calls)
            .map_err(|error| error.to_string())?;
        let stored = read.board.iter().map(|(path, json)| (path.as_str(), json.as_str()));
        if board.root().to_string() != meta("root")? || !stored.eq(board.visible().iter()) {
            return Err("the board is not the one its memory means".to_owned());
        }
        let parked = read.meta.get("parked").map_or(Ok(0), |text| text.parse::<usize>());
        if parked != Ok(read.parked.len()) {
            return Err("what is parked is not all there".to_owned());
        }
        Ok(Loaded {
            generation: meta("generation")?.to_owned(),
            parked: parked_keys(&read.parked)?,
            seq: number("seq")?,
            version: number("version")?,
            progress: next_offsets(&read.progress),
            sizes: [read.board.len(), read.agents.len(), read.calls.len()],
            board,
        })
    }

    /// Reads the state and takes hold of it; `None` where it changed in between.
    async fn try_acquire(&mut self, topic: &str, partitions: &[i32]) -> Result<Option<Vec<Position>>, StoreError> {
        let read = self.read().await?;
        let mut made_anew = false;
        let mut loaded = self.restore(&read).unwrap_or_else(|reason| {
            made_anew = true;
            tracing::info!(workspace = %self.workspace, reason, "the live state is made anew from the log");
            self.anew()
        });
        if !made_anew && read.meta.get("run") != Some(&read.run) {
            tracing::info!(workspace = %self.workspace, "the Redis was started anew; what follows is a new generation");
            loaded.generation = new_generation();
        }
        let mut connection = self.connection().await?;
        let mut call = self.acquire.prepare_invoke();
        for key in self.keys.of_state() {
            call.key(key);
        }
        let as_read = |name: &str| read.meta.get(name).map_or("", String::as_str);
        call.arg(&self.owner).arg(as_read("generation")).arg(as_read("seq")).arg(u8::from(made_anew));
        call.arg(&loaded.generation).arg(FORMAT).arg(settings_text(&self.settings));
        call.arg(loaded.board.root().to_string()).arg(&read.run);
        let visible = loaded.board.visible();
        call.arg(if made_anew { visible.len() } else { 0 });
        if made_anew {
            for (path, json) in visible.iter() {
                call.arg(path).arg(json);
            }
        }
        for partition in partitions {
            call.arg(slice_name(topic, *partition));
        }
        let answer: Result<redis::Value, RedisError> = invoke(&call, &self.keys, &mut connection).await;
        let answer = answer.map_err(|error| self.failed(error))?;
        // Anything but a list: the state changed since it was read.
        let Ok(numbers) = redis::from_redis_value::<Vec<i64>>(answer) else { return Ok(None) };
        let mut positions = Vec::with_capacity(partitions.len());
        for (partition, pair) in partitions.iter().zip(numbers.chunks_exact(2)) {
            let &[next, epoch] = pair else { continue };
            let name = slice_name(topic, *partition);
            let parked = loaded.parked.remove(&name).unwrap_or_default();
            loaded.progress.insert(name, next);
            let (partition, next_offset, epoch) = (*partition, NextOffset(next), Epoch(epoch));
            positions.push(Position { partition, next_offset, epoch, parked });
        }
        self.reached = loaded.seq;
        self.loaded = Some(loaded);
        Ok(Some(positions))
    }

    /// A state with nothing in it.
    fn anew(&self) -> Loaded {
        let board = Board::new(self.workspace.clone(), self.settings.clone());
        let sizes = [board.visible().len(), 0, 0];
        let generation = new_generation();
        let (progress, parked) = (BTreeMap::new(), BTreeMap::new());
        Loaded { board, generation, seq: 0, version: 0, progress, parked, sizes }
    }

    /// Becomes the owner ahead of the acquisition: whoever writes so fast that the state is never as it was read is fenced.
    async fn claim(&mut self) -> Result<(), StoreError> {
        let mut connection = self.connection().await?;
        let mut call = self.claim.prepare_invoke();
        call.key(&self.keys.meta).arg(&self.owner);
        let claimed: Result<(), RedisError> = call.invoke_async(&mut connection).await;
        claimed.map_err(|error| self.failed(error))
    }

    /// Reads the state again after a write whose outcome is not known.
    async fn reload(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let read = self.read().await?;
        let reached = read.meta.get("seq").and_then(|seq| seq.parse::<u64>().ok());
        match read.meta.get("owner") {
            None if read.meta.is_empty() => return Err(self.lost(batch)),
            None => return Err(self.free(batch)),
            Some(owner) if *owner != self.owner => return Err(fenced(batch, None)),
            // Whoever acquires it sees that this Redis was started anew.
            Some(_) if reached < Some(self.reached) => return Err(self.rewound(batch)),
            Some(_) => {}
        }
        match self.restore(&read) {
            Ok(loaded) => {
                self.loaded = Some(loaded);
                Ok(())
            }
            Err(reason) => {
                tracing::error!(workspace = %self.workspace, reason, "the live state broke while it was owned");
                Err(self.lost(batch))
            }
        }
    }

    fn lost(&mut self, batch: &Batch) -> StoreError {
        tracing::warn!(workspace = %self.workspace, "the live state is gone from Redis; it is rebuilt from the log");
        self.loaded = None;
        self.loss.tell();
        fenced(batch, None)
    }

    fn rewound(&mut self, batch: &Batch) -> StoreError {
        self.tell_rewound();
        self.loaded = None;
        fenced(batch, None)
    }

    fn free(&mut self, batch: &Batch) -> StoreError {
        self.tell_free();
        self.loaded = None;
        fenced(batch, None)
    }

    fn tell_free(&self) {
        tracing::warn!(workspace = %self.workspace, "an operator exchanged the live state, or let go of it; it is taken up anew");
        self.loss.tell();
    }

    fn tell_rewound(&self) {
        tracing::warn!(workspace = %self.workspace, "Redis came back with an older state; it goes on from there");
        self.loss.tell();
    }

    /// Our own records of the batch, decoded; nothing is changed where one cannot be.
    async fn decode(&self, batch: &Batch, skip_below: &BTreeMap<String, i64>) -> Result<Vec<Fact>, StoreError> {
        let mut facts = Vec::new();
        for slice in &batch.slices {
            let applied = skip_below.get(&slice_name(&batch.topic, slice.partition)).copied().unwrap_or(0);
            for record in &slice.records {
                if record.offset.0 >= applied && workspace_of_key(&record.key) == Some(self.workspace.as_str()) {
                    facts.push(self.decoder.decode(slice.partition, record).await?);
                }
            }
        }
        Ok(facts)
    }
}

#[async_trait]
impl Store for LiveStore {
    fn projection(&self) -> &str {
        self.projection
    }

    async fn acquire(&mut self, topic: &str, partitions: &[i32]) -> Result<Vec<Position>, StoreError> {
        self.loaded = None;
        self.uncertain = false;
        for _ in 0..ACQUIRE_TRIES {
            if let Some(positions) = self.try_acquire(topic, partitions).await? {
                return Ok(positions);
            }
            self.claim().await?;
        }
        Err(StoreError::unavailable("the live state changes faster than it can be read"))
    }

    async fn apply(&mut self, batch: &Batch) -> Result<(), StoreError> {
        if self.loaded.is_none() {
            self.reload(batch).await?;
        }
        let known = self.loaded.as_ref().map(|loaded| loaded.progress.clone()).unwrap_or_default();
        let skip_below = if self.uncertain { known.clone() } else { BTreeMap::new() };
        let facts = self.decode(batch, &skip_below).await?;
        fault::pass(Point::AfterDecode);
        let mut connection = self.connection().await?;
        // From here on the board is ahead of Redis until the write is known to have happened.
        let Some(mut loaded) = self.loaded.take() else {
            return Err(fenced(batch, None));
        };
        let steps: Vec<_> = facts.iter().flat_map(|fact| loaded.board.apply(fact)).collect();
        let changes = merge(steps);
        let touched = loaded.board.take_touched();
        let before = loaded.version;
        if !changes.is_empty() {
            loaded.version += 1;
        }

        let mut call = self.apply.prepare_invoke();
        for key in self.keys.of_state() {
            call.key(key);
        }
        call.arg(&self.owner).arg(&loaded.generation).arg(loaded.seq);
        for size in loaded.sizes {
            call.arg(size);
        }
        let root = loaded.board.root();
        let heard = serde_json::to_string(loaded.board.heard()).map_err(StoreError::unavailable)?;
        call.arg(uuid::Uuid::new_v4().simple().to_string()).arg(loaded.version).arg(root.to_string()).arg(heard);
        if loaded.version > before && self.projection == PROJECTION {
            let delta = Delta { version: loaded.version, changes: changes.clone(), hash: root };
            call.arg(serde_json::to_string(&delta).map_err(StoreError::unavailable)?);
        } else {
            call.arg("");
        }
        call.arg(DELTAS_KEPT).arg(self.delta_bytes_kept);
        call.arg(batch.slices.len());
        for slice in &batch.slices {
            let name = slice_name(&batch.topic, slice.partition);
            let from = skip_below.get(&name).map_or(slice.from.0, |applied| slice.from.0.max(*applied));
            let to = slice.to.0.max(from);
            call.arg(&name).arg(slice.epoch.0).arg(from).arg(to);
            loaded.progress.insert(name, to);
        }
        let sets: Vec<(&str, &str)> =
            changes.iter().filter_map(|change| Some((change.path.as_str(), change.json()?))).collect();
        call.arg(sets.len());
        for (path, json) in sets {
            call.arg(path).arg(json);
        }
        let removes: Vec<&str> =
            changes.iter().filter(|change| change.op == Op::Remove).map(|change| change.path.as_str()).collect();
        call.arg(removes.len());
        for path in removes {
            call.arg(path);
        }
        call.arg(touched.agents.len());
        for agent in &touched.agents {
            call.arg(agent.as_str()).arg(loaded.board.agent_memory(agent).unwrap_or_default());
        }
        call.arg(touched.calls.len());
        for id in &touched.calls {
            call.arg(id.as_str()).arg(loaded.board.call_memory(id).unwrap_or_default());
        }
        call.arg(touched.dropped.len());
        for id in &touched.dropped {
            call.arg(id.as_str());
        }
        let parked = parked_entries(batch)?;
        call.arg(parked.len());
        for (field, entry) in parked {
            call.arg(field).arg(entry);
        }
        // One step: there is nothing between its beginning and its end.
        fault::pass(Point::MidBatch);
        fault::pass(Point::AfterWrite);
        // Also where nobody waits for the answer any more: the engine's patience ends at some time.
        self.uncertain = true;
        let answer: Result<String, RedisError> = invoke(&call, &self.keys, &mut connection).await;
        match answer.as_deref() {
            Ok("ok") => {
                fault::pass(Point::AfterCommit);
                let (agents, calls) = loaded.board.remembered();
                loaded.sizes = [loaded.board.visible().len(), agents, calls];
                loaded.seq += 1;
                self.reached = loaded.seq;
                self.loaded = Some(loaded);
                self.uncertain = false;
                Ok(())
            }
            Ok("lost") => Err(self.lost(batch)),
            Ok("free") => Err(self.free(batch)),
            Ok("rewound") => Err(self.rewound(batch)),
            Ok(refusal) => Err(fenced(batch, refusal.strip_prefix("fenced:"))),
            Err(_) => {
                let Err(error) = answer else { return Ok(()) };
                Err(self.failed(error))
            }
        }
    }

    /// Only whether it is paused: another's hold is met by the next batch or beat.
    async fn standing(&mut self, _topic: &str, _partitions: &[i32]) -> Result<Option<Standing>, StoreError> {
        let mut connection = self.connection().await?;
        let paused = is_paused(&mut connection, &self.keys).await.map_err(|error| self.failed(error))?;
        Ok(Some(Standing { positions: Vec::new(), paused }))
    }

    async fn beat(&mut self, lag: Option<Lag>) -> Result<(), StoreError> {
        let Some((generation, seq)) = self.loaded.as_ref().map(|loaded| (loaded.generation.clone(), loaded.seq)) else {
            return Ok(());
        };
        let mut connection = self.connection().await?;
        let mut call = self.beat.prepare_invoke();
        call.key(&self.keys.meta).key(&self.keys.pulse);
        call.arg(&self.owner).arg(generation).arg(seq);
        match lag {
            Some(lag) => {
                call.arg(lag.facts).arg(lag.millis).arg(u64::try_from(lag.age.as_millis()).unwrap_or(u64::MAX))
            }
            None => call.arg("").arg("").arg(""),
        };
        let answer: Result<String, RedisError> = invoke(&call, &self.keys, &mut connection).await;
        let answer = answer.map_err(|error| self.failed(error))?;
        if answer == "lost" {
            tracing::warn!(workspace = %self.workspace, "the live state is gone from Redis; it is rebuilt from the log");
            self.loss.tell();
        } else if answer == "free" {
            self.tell_free();
        } else if answer == "rewound" {
            self.tell_rewound();
        }
        Ok(())
    }
}

fn slice_name(topic: &str, partition: i32) -> String {
    format!("{topic}/{partition}")
}

pub(crate) fn new_generation() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

fn next_offsets(progress: &BTreeMap<String, i64>) -> BTreeMap<String, i64> {
    progress.iter().filter_map(|(name, at)| Some((name.strip_suffix("/next")?.to_owned(), *at))).collect()
}

/// What of the settings the board rests on, to notice that it changed.
fn settings_text(settings: &Settings) -> String {
    let Settings { short_abandon_seconds, service_level_seconds, zone, country_code, rules } = settings;
    format!("{short_abandon_seconds} {service_level_seconds} {zone} {country_code} {}", rules.attempts)
}

/// What a batch parks, as fields and values of the hash.
fn parked_entries(batch: &Batch) -> Result<Vec<(String, String)>, StoreError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let parked_at = i64::try_from(now).unwrap_or(i64::MAX);
    let mut entries = Vec::with_capacity(batch.parked());
    for slice in &batch.slices {
        let name = slice_name(&batch.topic, slice.partition);
        for parked in &slice.parked {
            let entry = serde_json::to_string(&Entry::of(parked, parked_at)).map_err(StoreError::unavailable)?;
            entries.push((parked::field(&name, parked.offset), entry));
        }
    }
    Ok(entries)
}

/// The first parked offset of each key, by slice.
fn parked_keys(stored: &BTreeMap<String, String>) -> Result<BTreeMap<String, BTreeMap<Bytes, Offset>>, String> {
    let mut keys: BTreeMap<String, BTreeMap<Bytes, Offset>> = BTreeMap::new();
    for (field, json) in stored {
        let (slice, offset) = parked::place(field).ok_or("a parked entry has no place")?;
        let entry: Entry = serde_json::from_str(json).map_err(|_| "a parked entry cannot be read")?;
        let parked = entry.parked(offset);
        let first = keys.entry(slice.to_owned()).or_default().entry(parked.key).or_insert(parked.offset);
        *first = parked.offset.min(*first);
    }
    Ok(keys)
}

/// Fenced at the slice that was refused, or at the first where the whole state was.
fn fenced(batch: &Batch, name: Option<&str>) -> StoreError {
    let refused = batch.slices.iter().find(|slice| name == Some(slice_name(&batch.topic, slice.partition).as_str()));
    StoreError::Fenced { partition: refused.or(batch.slices.first()).map_or(0, |slice| slice.partition) }
}
