//! The root: an order-free hash over a set of rows (design.md section 8).
//!
//! Each row's canonical bytes are hashed by BLAKE3 to 1,024 bits, read as sixteen 64-bit words and added word by word.
//! Adding a row and subtracting it again leaves the root as it was, so a projector keeps it up to date in the same
//! transaction as the rows, and roots of partitions add up to that of the workspace.
//!
//! It finds every accident and every careless change. It is no signature: who may write both rows and root can make them
//! meet; `helix audit verify` therefore folds the log itself.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::row::Row;

const WORDS: usize = 16;

/// An order-free hash over rows.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Root([u64; WORDS]);

impl Root {
    /// Bytes of a stored root.
    pub const BYTES: usize = WORDS * 8;

    /// Adds a row.
    pub fn add<R: Row>(&mut self, row: &R) {
        self.add_bytes(&row.canonical());
    }

    /// Takes a row away.
    pub fn subtract<R: Row>(&mut self, row: &R) {
        for (word, other) in self.0.iter_mut().zip(words(&row.canonical())) {
            *word = word.wrapping_sub(other);
        }
    }

    /// Adds a row by its canonical bytes.
    pub fn add_bytes(&mut self, canonical: &[u8]) {
        for (word, other) in self.0.iter_mut().zip(words(canonical)) {
            *word = word.wrapping_add(other);
        }
    }

    /// Adds another root: that of another partition, or a batch's difference.
    pub fn merge(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word = word.wrapping_add(other);
        }
    }

    /// Whether no row is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// As stored: big-endian words.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        for (chunk, word) in out.chunks_exact_mut(8).zip(self.0) {
            chunk.copy_from_slice(&word.to_be_bytes());
        }
        out
    }

    /// From its stored form; `None` where the length is wrong.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != Self::BYTES {
            return None;
        }
        let mut root = Self::default();
        for (word, chunk) in root.0.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_be_bytes(chunk.try_into().ok()?);
        }
        Some(root)
    }

    /// The first 128 bits in hex, for people. Comparisons use all of it.
    #[must_use]
    pub fn short(&self) -> String {
        let mut out = String::with_capacity(32);
        for word in self.0.iter().take(2) {
            out.push_str(&format!("{word:016x}"));
        }
        out
    }
}

fn words(canonical: &[u8]) -> [u64; WORDS] {
    let mut bytes = [0; WORDS * 8];
    let mut hasher = blake3::Hasher::new();
    hasher.update(canonical);
    hasher.finalize_xof().fill(&mut bytes);
    let mut out = [0; WORDS];
    for (word, chunk) in out.iter_mut().zip(bytes.chunks_exact(8)) {
        let mut eight = [0; 8];
        eight.copy_from_slice(chunk);
        *word = u64::from_be_bytes(eight);
    }
    out
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Root({})", self.short())
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for word in self.0 {
            write!(f, "{word:016x}")?;
        }
        Ok(())
    }
}

impl Serialize for Root {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Root {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut root = Self::default();
        if text.len() != Self::BYTES * 2 || !text.is_ascii() {
            return Err(serde::de::Error::custom("a root is 256 hex digits"));
        }
        for (index, word) in root.0.iter_mut().enumerate() {
            let digits = text.get(index * 16..index * 16 + 16).unwrap_or_default();
            *word = u64::from_str_radix(digits, 16).map_err(serde::de::Error::custom)?;
        }
        Ok(root)
    }
}
