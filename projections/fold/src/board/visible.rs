//! What is shown: values by path, the changes between two states, and the root that proves a copy.
//!
//! # Paths
//! `agents/{agentId}`, `calls/{callId}`, `waiting/{callId}`, `today`, `openMissedCalls`, `watermark/occurredAt`,
//! `watermark/receivedAt`, `producers/{agent-event|call-event|missed-call}`. The id is everything after the first slash, as it is.
//!
//! # Root
//! For each path: SHA-256 over the path's UTF-8, one byte `0x0A`, and the value's JSON; its 32 bytes read as eight
//! big-endian 32-bit words. The root is the sum of these word by word modulo 2^32, written as 64 hex digits; with no path it is
//! all zeros. Order does not matter, so a change costs two hashes.
//!
//! The JSON is the value exactly as sent: no white space, members in the order of the contract, whole numbers only,
//! strings escaped as ECMAScript's `JSON.stringify` does (serde_json does the same). A browser therefore hashes
//! `JSON.stringify(value)` of the value it parsed.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

const WORDS: usize = 8;

/// The root of a board as one viewer sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BoardRoot([u32; WORDS]);

impl BoardRoot {
    fn add(&mut self, path: &str, json: &str) {
        for (word, other) in self.0.iter_mut().zip(words(path, json)) {
            *word = word.wrapping_add(other);
        }
    }

    fn subtract(&mut self, path: &str, json: &str) {
        for (word, other) in self.0.iter_mut().zip(words(path, json)) {
            *word = word.wrapping_sub(other);
        }
    }
}

fn words(path: &str, json: &str) -> [u32; WORDS] {
    let mut hasher = Sha256::new();
    hasher.update(path.as_bytes());
    hasher.update(b"\n");
    hasher.update(json.as_bytes());
    let digest = hasher.finalize();
    let mut words = [0; WORDS];
    for (word, bytes) in words.iter_mut().zip(digest.chunks_exact(4)) {
        *word = bytes.iter().fold(0, |sum, byte| (sum << 8) | u32::from(*byte));
    }
    words
}

impl fmt::Display for BoardRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for word in self.0 {
            write!(f, "{word:08x}")?;
        }
        Ok(())
    }
}

impl Serialize for BoardRoot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BoardRoot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.len() != WORDS * 8 || !text.is_ascii() {
            return Err(serde::de::Error::custom("a board's root is 64 hex digits"));
        }
        let mut root = Self::default();
        for (index, word) in root.0.iter_mut().enumerate() {
            let digits = text.get(index * 8..index * 8 + 8).unwrap_or_default();
            *word = u32::from_str_radix(digits, 16).map_err(serde::de::Error::custom)?;
        }
        Ok(root)
    }
}

/// What a change does to its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// The path has this whole value now.
    Set,
    /// The path is no more.
    Remove,
}

/// One change of a board. Applying it twice is harmless.
#[derive(Clone, Serialize, Deserialize)]
pub struct Change {
    /// What to do.
    pub op: Op,
    /// Where.
    pub path: String,
    /// The whole value; present with [`Op::Set`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Box<RawValue>>,
}

impl Change {
    /// The path has this value now.
    #[must_use]
    pub fn set(path: &str, value: Box<RawValue>) -> Self {
        Self { op: Op::Set, path: path.to_owned(), value: Some(value) }
    }

    /// The path is no more.
    #[must_use]
    pub fn remove(path: &str) -> Self {
        Self { op: Op::Remove, path: path.to_owned(), value: None }
    }

    /// The JSON of the value.
    #[must_use]
    pub fn json(&self) -> Option<&str> {
        self.value.as_deref().map(RawValue::get)
    }
}

impl PartialEq for Change {
    fn eq(&self, other: &Self) -> bool {
        self.op == other.op && self.path == other.path && self.json() == other.json()
    }
}

impl Eq for Change {}

impl fmt::Debug for Change {
    /// Without the value, which may carry a caller's number; of the path only its collection.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let collection = self.path.split('/').next().unwrap_or_default();
        f.debug_struct("Change").field("op", &self.op).field("in", &collection).finish_non_exhaustive()
    }
}

/// A board's values by path, with their root: the fold's, a reader's copy of it, or what one viewer may see of it.
#[derive(Clone, Default)]
pub struct Visible {
    values: BTreeMap<String, Box<RawValue>>,
    root: BoardRoot,
}

impl fmt::Debug for Visible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visible").field("values", &self.values.len()).field("root", &self.root).finish()
    }
}

impl PartialEq for Visible {
    fn eq(&self, other: &Self) -> bool {
        self.root == other.root
            && self.values.len() == other.values.len()
            && self.iter().zip(other.iter()).all(|(one, another)| one == another)
    }
}

impl Eq for Visible {}

impl Visible {
    /// Sets a value; tells the change, unless it is none.
    pub fn set<V: Serialize>(&mut self, path: &str, value: &V) -> Option<Change> {
        // The values of a board are structs of texts and whole numbers: they always serialise.
        let raw = serde_json::value::to_raw_value(value).ok()?;
        self.set_raw(path, raw)
    }

    /// Sets a value that is JSON already; tells the change, unless it is none.
    pub fn set_raw(&mut self, path: &str, raw: Box<RawValue>) -> Option<Change> {
        match self.values.get_mut(path) {
            Some(known) if known.get() == raw.get() => return None,
            Some(known) => {
                self.root.subtract(path, known.get());
                *known = raw.clone();
            }
            None => {
                self.values.insert(path.to_owned(), raw.clone());
            }
        }
        self.root.add(path, raw.get());
        Some(Change::set(path, raw))
    }

    /// Removes a value; tells the change, unless it is none.
    pub fn remove(&mut self, path: &str) -> Option<Change> {
        let known = self.values.remove(path)?;
        self.root.subtract(path, known.get());
        Some(Change::remove(path))
    }

    /// Applies a change that another copy told; tells it again, unless it changes nothing here.
    pub fn apply(&mut self, change: &Change) -> Option<Change> {
        match (change.op, &change.value) {
            (Op::Set, Some(value)) => self.set_raw(&change.path, value.clone()),
            (Op::Remove, _) => self.remove(&change.path),
            // A set without a value is none of ours.
            (Op::Set, None) => None,
        }
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> BoardRoot {
        self.root
    }

    /// The JSON at a path.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&str> {
        self.values.get(path).map(|value| value.get())
    }

    /// The value at a path.
    #[must_use]
    pub fn raw(&self, path: &str) -> Option<&RawValue> {
        self.values.get(path).map(|value| &**value)
    }

    /// Every path and its JSON, sorted by path.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(path, value)| (path.as_str(), value.get()))
    }

    /// The values of a collection (`agents/`), sorted by id.
    #[must_use]
    pub fn collection(&self, prefix: &str) -> Vec<&RawValue> {
        self.values
            .range(prefix.to_owned()..)
            .take_while(|(path, _)| path.starts_with(prefix))
            .map(|(_, value)| &**value)
            .collect()
    }

    /// How many values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// The changes of several steps as one: of each path only the last one.
#[must_use]
pub fn merge(steps: impl IntoIterator<Item = Change>) -> Vec<Change> {
    let mut last: BTreeMap<String, Change> = BTreeMap::new();
    for change in steps {
        last.insert(change.path.clone(), change);
    }
    last.into_values().collect()
}
