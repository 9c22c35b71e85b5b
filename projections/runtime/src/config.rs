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
}
