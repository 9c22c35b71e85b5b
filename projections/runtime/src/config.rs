//! How to run an engine.

use std::time::Duration;

/// How this instance shares the topic with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// Partitions are shared out among the instances of the group.
    Group,
    /// This instance takes every partition; an older one is fenced by the epoch.
    All,
}

/// So many keys may be parked on one instance where nothing else is configured.
pub const PARK_LIMIT: usize = 1000;

/// How long the watchdog lets things be before it says that they are wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch {
    /// The log's end is measured and everything looked at this often.
    pub every: Duration,
    /// A measurement or a turn of the loop may be this old.
    pub late: Duration,
    /// Facts may wait this long without any progress.
    pub stalled: Duration,
}

impl Default for Watch {
    fn default() -> Self {
        Self { every: Duration::from_secs(1), late: Duration::from_secs(30), stalled: Duration::from_secs(60) }
    }
}

/// How to run.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// How to reach the brokers: librdkafka's settings, `bootstrap.servers` among them.
    pub connection: Vec<(String, String)>,
    /// The topic.
    pub topic: String,
    /// Consumer group; its offsets are never committed, it only shares out partitions.
    pub group: String,
    /// A name for this instance that survives restarts (static membership); a new member at each start where absent.
    pub instance: Option<String>,
    /// How partitions are shared.
    pub membership: Membership,
    /// A batch is cut at this many records,
    pub batch_records: usize,
    /// or this many bytes,
    pub batch_bytes: usize,
    /// or this long after its first record.
    pub batch_time: Duration,
    /// At most this many keys are parked on this instance; one more stops it with an alarm: so many poison facts are no
    /// poison facts but a broken projector.
    pub park_limit: usize,
    /// What the watchdog finds wrong.
    pub watch: Watch,
}
