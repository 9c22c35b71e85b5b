//! The four topics and their explicit settings (design.md section 5). Nothing is ever auto-created.

/// Every fact, all kinds in one topic, so that an agent's story has one order.
pub const FACTS: &str = "telephony.facts";
/// Well-formed events whose workspace is not known yet.
pub const UNROUTED: &str = "telephony.unrouted";
/// Bodies that could not be read.
pub const REJECTED: &str = "telephony.rejected";
/// Who belongs to whom; compacted.
pub const DIRECTORY: &str = "telephony.directory";

/// How one topic must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: &'static str,
    /// How many partitions. Never changed once facts are stored: the key decides the partition.
    pub partitions: i32,
    /// Kept compacted rather than for ever.
    pub compacted: bool,
}

/// All topics, as they must exist before any service says it is ready.
pub const ALL: [TopicSpec; 4] = [
    TopicSpec { name: FACTS, partitions: 12, compacted: false },
    TopicSpec { name: UNROUTED, partitions: 3, compacted: false },
    TopicSpec { name: REJECTED, partitions: 3, compacted: false },
    TopicSpec { name: DIRECTORY, partitions: 1, compacted: true },
];

impl TopicSpec {
    /// Topic settings, given how many replicas the installation keeps.
    #[must_use]
    pub fn settings(&self, replicas: i32) -> Vec<(&'static str, String)> {
        let in_sync = if replicas >= 3 { replicas - 1 } else { 1 };
        let mut settings = vec![
            ("min.insync.replicas", in_sync.to_string()),
            ("compression.type", "producer".to_owned()),
            ("max.message.bytes", (1024 * 1024).to_string()),
            ("message.timestamp.type", "CreateTime".to_owned()),
        ];
        if self.compacted {
            settings.push(("cleanup.policy", "compact".to_owned()));
            settings.push(("min.cleanable.dirty.ratio", "0.1".to_owned()));
        } else {
            settings.push(("cleanup.policy", "delete".to_owned()));
            settings.push(("retention.ms", "-1".to_owned()));
            settings.push(("retention.bytes", "-1".to_owned()));
        }
        settings
    }

    /// The registry's subject of this topic's values.
    #[must_use]
    pub fn subject(&self) -> String {
        format!("{}-value", self.name)
    }
}
