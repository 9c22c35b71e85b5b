//! Compatibility levels, checked by the Avro library itself.

use apache_avro::{
    Schema,
    schema_compatibility::{Compatibility, SchemaCompatibility},
};
use serde::{Deserialize, Serialize};

/// What a new version of a subject must be able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Level {
    /// Anything goes.
    None,
    /// Reads what the last version wrote.
    Backward,
    /// Reads what any version wrote.
    BackwardTransitive,
    /// The last version reads what it writes.
    Forward,
    /// Every version reads what it writes.
    ForwardTransitive,
    /// Both with the last version.
    Full,
    /// Both with every version. The level of every subject of Helix, and the default here.
    FullTransitive,
}

impl Level {
    const fn reads_earlier(self) -> bool {
        matches!(self, Self::Backward | Self::BackwardTransitive | Self::Full | Self::FullTransitive)
    }

    const fn is_read_by_earlier(self) -> bool {
        matches!(self, Self::Forward | Self::ForwardTransitive | Self::Full | Self::FullTransitive)
    }

    const fn is_transitive(self) -> bool {
        matches!(self, Self::BackwardTransitive | Self::ForwardTransitive | Self::FullTransitive)
    }

    /// Every way in which `new` breaks the level against the earlier versions, oldest first; none where it is
    /// compatible.
    pub(super) fn violations(self, new: &Schema, earlier: &[(u32, &Schema)]) -> Vec<String> {
        let relevant = if self.is_transitive() { earlier } else { &earlier[earlier.len().saturating_sub(1)..] };
        let mut violations = Vec::new();
        for (version, old) in relevant {
            if self.reads_earlier()
                && let Err(reason) = can_read(old, new)
            {
                violations.push(format!("the new schema cannot read what version {version} wrote: {reason}"));
            }
            if self.is_read_by_earlier()
                && let Err(reason) = can_read(new, old)
            {
                violations.push(format!("version {version} cannot read what the new schema writes: {reason}"));
            }
        }
        violations
    }
}

/// A reader that can read only some of what the writer may write is not compatible.
fn can_read(writer: &Schema, reader: &Schema) -> Result<(), String> {
    match SchemaCompatibility::can_read(writer, reader) {
        Ok(Compatibility::Full) => Ok(()),
        Ok(Compatibility::Partial) => {
            Err("a branch of a union or a symbol of an enum is unknown to the reader".to_owned())
        }
        Err(error) => {
            // Some of the library's messages carry a whole schema.
            let text = error.to_string();
            let short: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(400).collect();
            Err(short)
        }
    }
}
