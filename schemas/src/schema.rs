//! The Avro schemas that this build carries, every released version of each.

use std::sync::LazyLock;

use apache_avro::Schema;

use crate::topics;

/// One subject of the registry with all its released versions, oldest first.
#[derive(Debug, Clone, Copy)]
pub struct Subject {
    /// The topic whose values it describes.
    pub topic: &'static str,
    /// Avro JSON of each version, oldest first.
    pub versions: &'static [&'static str],
}

/// Every subject.
pub const SUBJECTS: [Subject; 4] = [
    Subject {
        topic: topics::FACTS,
        versions: &[include_str!("../avro/telephony.facts.v1.avsc"), include_str!("../avro/telephony.facts.v2.avsc")],
    },
    Subject {
        topic: topics::UNROUTED,
        versions: &[
            include_str!("../avro/telephony.unrouted.v1.avsc"),
            include_str!("../avro/telephony.unrouted.v2.avsc"),
        ],
    },
    Subject {
        topic: topics::REJECTED,
        versions: &[
            include_str!("../avro/telephony.rejected.v1.avsc"),
            include_str!("../avro/telephony.rejected.v2.avsc"),
        ],
    },
    Subject { topic: topics::DIRECTORY, versions: &[include_str!("../avro/telephony.directory.v1.avsc")] },
];

impl Subject {
    /// The subject of a topic's values; `None` for a topic that is none of ours.
    #[must_use]
    pub fn of_topic(topic: &str) -> Option<&'static Self> {
        SUBJECTS.iter().find(|subject| subject.topic == topic)
    }

    /// The registry's name for it.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}-value", self.topic)
    }

    /// Avro JSON of the newest version.
    #[must_use]
    pub fn newest(&self) -> &'static str {
        self.versions.last().copied().unwrap_or_default()
    }
}

fn parse(topic: &str) -> Schema {
    let text = Subject::of_topic(topic).map(Subject::newest).unwrap_or_default();
    // The files are part of the build and parsed by this crate's tests: a failure here is a broken build.
    #[allow(clippy::expect_used)]
    Schema::parse_str(text).expect("an embedded schema is valid Avro")
}

/// Newest schema of `telephony.facts`.
pub static FACT: LazyLock<Schema> = LazyLock::new(|| parse(topics::FACTS));
/// Newest schema of `telephony.unrouted`.
pub static UNROUTED: LazyLock<Schema> = LazyLock::new(|| parse(topics::UNROUTED));
/// Newest schema of `telephony.rejected`.
pub static REJECTED: LazyLock<Schema> = LazyLock::new(|| parse(topics::REJECTED));
/// Newest schema of `telephony.directory`.
pub static DIRECTORY: LazyLock<Schema> = LazyLock::new(|| parse(topics::DIRECTORY));
