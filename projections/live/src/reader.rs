//! The sidecar's side: a snapshot of the board, then its deltas without a gap, or the word that a new snapshot is needed.

use std::{collections::BTreeMap, time::Duration};

use helix_fold::board::visible::{BoardRoot, Change, Visible};
use helix_schemas::names::WorkspaceId;
use redis::{AsyncConnectionConfig, FromRedisValue, aio::MultiplexedConnection, streams::StreamReadReply};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::keys::Keys;

/// How long one wait for deltas lasts before the state is looked at again.
const WAIT: Duration = Duration::from_millis(1000);
/// How many deltas one wait gives at most.
const AT_ONCE: usize = 256;
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// A clock that is kept in step may go back by as much.
const CLOCK_STEP_MILLIS: i64 = 1000;

/// Why the board could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The Redis cannot be reached.
    #[error("the workspace's Redis does not answer: {0}")]
    Redis(#[from] redis::RedisError),
    /// No projector has written a board there yet.
    #[error("there is no board in the workspace's Redis yet")]
    NoBoard,
    /// What lies there is none of ours.
    #[error("the board in Redis cannot be read: {0}")]
    Malformed(String),
}

/// What changed between two versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// The version after it.
    pub version: u64,
    /// Its changes, one a path.
    pub changes: Vec<Change>,
    /// The root after it.
    pub hash: BoardRoot,
}

/// How fresh the projector says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pulse {
    /// How long ago it was so, by Redis's clock; `None` if it never said, or that clock went back since.
    pub age: Option<Duration>,
    /// Facts it had not applied.
    pub lag_facts: i64,
    /// For how long, at most.
    pub lag: Duration,
}

/// The board at one version.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The life of the state: versions of another life mean nothing here.
    pub generation: String,
    /// The version.
    pub version: u64,
    /// What is shown.
    pub visible: Visible,
    /// The projector's freshness.
    pub pulse: Pulse,
}

/// Who holds a board.
pub(crate) enum Holder {
    /// Nobody: an operator let go of it.
    Nobody,
    /// Somebody, who said so last that long ago, by Redis's clock; `None` if nobody ever did.
    Spoke(Option<Duration>),
}

/// Reads one workspace's board.
#[derive(Debug, Clone)]
pub struct BoardReader {
    client: redis::Client,
    keys: Keys,
}

pub(crate) async fn connect(client: &redis::Client) -> Result<MultiplexedConnection, redis::RedisError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(ANSWER_WITHIN))
        .set_response_timeout(Some(ANSWER_WITHIN));
    client.get_multiplexed_async_connection_with_config(&config).await
}

impl BoardReader {
    /// A reader without a connection yet.
    ///
    /// # Errors
    /// Where `url` is no Redis URL.
    pub fn new(url: &str, workspace: &WorkspaceId) -> Result<Self, redis::RedisError> {
        Ok(Self { client: redis::Client::open(url)?, keys: Keys::of(workspace) })
    }

    /// Reads the board and its version in one step, and a follower that goes on from there.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn snapshot(&self) -> Result<(Snapshot, Follower), ReadError> {
        let mut connection = connect(&self.client).await?;
        type Answer = (Vec<Option<String>>, BTreeMap<String, String>, BTreeMap<String, String>, Vec<String>);
        let (meta, board, pulse, time): Answer = redis::pipe()
            .atomic()
            .cmd("HMGET")
            .arg(&self.keys.meta)
            .arg(&["generation", "version", "root"])
            .hgetall(&self.keys.board)
            .hgetall(&self.keys.pulse)
            .cmd("TIME")
            .query_async(&mut connection)
            .await?;
        let [Some(generation), Some(version), Some(root)] = meta.as_slice() else {
            return Err(ReadError::NoBoard);
        };
        let malformed = |what: &str| ReadError::Malformed(what.to_owned());
        let version = version.parse().map_err(|_| malformed("its version is no number"))?;
        let mut visible = Visible::default();
        for (path, json) in board {
            // The parser's words could quote the value.
            let raw = RawValue::from_string(json).map_err(|_| malformed("a value is no JSON"))?;
            visible.set_raw(&path, raw);
        }
        if visible.root().to_string() != *root {
            return Err(malformed("its root is not that of its values"));
        }
        let snapshot = Snapshot { generation: generation.clone(), version, visible, pulse: pulse_of(&pulse, &time) };
        let follower = Follower { connection, keys: self.keys.clone(), generation: generation.clone(), version };
        Ok((snapshot, follower))
    }

    /// Reads the projector's freshness alone.
    ///
    /// # Errors
    /// [`ReadError::Redis`].
    pub async fn pulse(&self, connection: &mut MultiplexedConnection) -> Result<Pulse, ReadError> {
        let (pulse, time): (BTreeMap<String, String>, Vec<String>) =
            redis::pipe().atomic().hgetall(&self.keys.pulse).cmd("TIME").query_async(connection).await?;
        Ok(pulse_of(&pulse, &time))
    }

    /// Who holds the board, as far as can be told.
    ///
    /// # Errors
    /// [`ReadError::Redis`].
    pub(crate) async fn holder(&self, connection: &mut MultiplexedConnection) -> Result<Holder, ReadError> {
        type Answer = (bool, bool, BTreeMap<String, String>, Vec<String>);
        let (is_there, is_owned, pulse, time): Answer = redis::pipe()
            .atomic()
            .exists(&self.keys.meta)
            .hexists(&self.keys.meta, "owner")
            .hgetall(&self.keys.pulse)
            .cmd("TIME")
            .query_async(connection)
            .await?;
        Ok(if is_there && !is_owned { Holder::Nobody } else { Holder::Spoke(age_of(&pulse, "held", &time)) })
    }

    /// Up to where the board has read the log: the next offset of each topic and partition.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn progress(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> Result<BTreeMap<(String, i32), i64>, ReadError> {
        let stored: BTreeMap<String, i64> =
            redis::cmd("HGETALL").arg(&self.keys.progress).query_async(connection).await?;
        let next_of = |(name, next): (&String, &i64)| {
            let (topic, partition) = name.strip_suffix("/next")?.rsplit_once('/')?;
            Some(((topic.to_owned(), partition.parse().ok()?), *next))
        };
        Ok(stored.iter().filter_map(next_of).collect())
    }

    /// A connection for [`Self::pulse`] and [`Self::progress`].
    ///
    /// # Errors
    /// [`ReadError::Redis`].
    pub async fn connect(&self) -> Result<MultiplexedConnection, ReadError> {
        Ok(connect(&self.client).await?)
    }
}

fn millis(value: i64) -> Duration {
    Duration::from_millis(u64::try_from(value).unwrap_or(0))
}

/// How old a moment of the pulse is, by Redis's clock. One that lies ahead was written before that clock was set back: its age
/// is not known, and whoever wrote it may be long dead.
fn age_of(pulse: &BTreeMap<String, String>, name: &str, time: &[String]) -> Option<Duration> {
    let part = |index: usize| time.get(index)?.parse::<i64>().ok();
    let now = part(0)? * 1000 + part(1)? / 1000;
    let age = now - pulse.get(name)?.parse::<i64>().ok()?;
    (age >= -CLOCK_STEP_MILLIS).then(|| millis(age))
}

fn pulse_of(pulse: &BTreeMap<String, String>, time: &[String]) -> Pulse {
    let number = |name: &str| pulse.get(name).and_then(|text| text.parse::<i64>().ok());
    Pulse {
        age: age_of(pulse, "at", time),
        lag_facts: number("lagFacts").unwrap_or(0),
        lag: millis(number("lagMillis").unwrap_or(0)),
    }
}

/// What following gave.
#[derive(Debug)]
pub enum Followed {
    /// The next deltas, without a gap, oldest first.
    Deltas(Vec<Delta>),
    /// Nothing for a while.
    Quiet,
    /// The state began a new life, or deltas were trimmed before they were read: take a snapshot.
    Broken,
}

/// Follows the deltas from one version on, over a connection of its own.
pub struct Follower {
    connection: MultiplexedConnection,
    keys: Keys,
    generation: String,
    version: u64,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("version", &self.version).finish_non_exhaustive()
    }
}

impl Follower {
    /// Waits for what comes next, about a second at most.
    ///
    /// # Errors
    /// [`ReadError`]; take a snapshot then.
    pub async fn next(&mut self) -> Result<Followed, ReadError> {
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(AT_ONCE).arg("BLOCK").arg(WAIT.as_millis() as u64);
        read.arg("STREAMS").arg(&self.keys.deltas).arg(format!("{}-0", self.version));
        let reply: Option<StreamReadReply> = read.query_async(&mut self.connection).await?;
        let entries = reply.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids);
        let mut deltas = Vec::new();
        for entry in entries {
            let field = |name: &str| entry.map.get(name).and_then(|value| String::from_redis_value_ref(value).ok());
            if field("g").as_deref() != Some(self.generation.as_str()) {
                return Ok(Followed::Broken);
            }
            let text = field("d").ok_or_else(|| ReadError::Malformed("a delta has no text".to_owned()))?;
            let delta: Delta =
                serde_json::from_str(&text).map_err(|_| ReadError::Malformed("a delta is no JSON".to_owned()))?;
            if delta.version != self.version + 1 {
                return Ok(Followed::Broken);
            }
            self.version = delta.version;
            deltas.push(delta);
        }
        if !deltas.is_empty() {
            return Ok(Followed::Deltas(deltas));
        }
        if self.still_ours().await? { Ok(Followed::Quiet) } else { Ok(Followed::Broken) }
    }

    /// Whether the state is still of the life that is followed. A new life would start below our version, and waiting
    /// for a version above it would wait for ever.
    async fn still_ours(&mut self) -> Result<bool, ReadError> {
        let meta: Vec<Option<String>> = redis::cmd("HMGET")
            .arg(&self.keys.meta)
            .arg(&["generation", "version"])
            .query_async(&mut self.connection)
            .await?;
        let [Some(generation), Some(version)] = meta.as_slice() else {
            return Ok(false);
        };
        Ok(*generation == self.generation && version.parse().is_ok_and(|version: u64| version >= self.version))
    }
}
