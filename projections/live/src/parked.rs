//! Records that are set aside: a hash beside the board, written by the same script, lost with the cache, and parked again by
//! the replay that makes the board anew.

use std::collections::BTreeMap;

use bytes::Bytes;
use helix_runtime::{Cause, Offset, Parked, ParkedEntry};
use helix_schemas::names::WorkspaceId;
use serde::{Deserialize, Serialize};

use crate::{
    keys::Keys,
    reader::{ReadError, connect},
    store::{PROJECTION, STANDBY_PROJECTION},
};

/// A parked record as it lies in the hash, under `{topic}/{partition}/{offset}`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    /// Of the record.
    key: Key,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    behind: Option<i64>,
    parked_at: i64,
}

/// A record's key, exactly: text, or a list of bytes where it is none.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Key {
    Text(String),
    Bytes(Vec<u8>),
}

impl Key {
    fn of(key: &[u8]) -> Self {
        std::str::from_utf8(key).map_or_else(|_| Self::Bytes(key.to_vec()), |text| Self::Text(text.to_owned()))
    }

    fn bytes(self) -> Bytes {
        match self {
            Self::Text(text) => text.into(),
            Self::Bytes(bytes) => bytes.into(),
        }
    }
}

impl Entry {
    pub(crate) fn of(parked: &Parked, parked_at: i64) -> Self {
        let (cause, behind) = match &parked.cause {
            Cause::Poison(reason) => (Some(reason.clone()), None),
            Cause::Behind(first) => (None, Some(first.0)),
        };
        Self { key: Key::of(&parked.key), cause, behind, parked_at }
    }

    pub(crate) fn parked(self, offset: i64) -> Parked {
        let cause = self
            .behind
            .map_or_else(|| Cause::Poison(self.cause.unwrap_or_default()), |first| Cause::Behind(Offset(first)));
        Parked { offset: Offset(offset), key: self.key.bytes(), cause }
    }
}

pub(crate) fn field(slice: &str, offset: Offset) -> String {
    format!("{slice}/{}", offset.0)
}

/// Slice and offset of a field's name.
pub(crate) fn place(field: &str) -> Option<(&str, i64)> {
    let (slice, offset) = field.rsplit_once('/')?;
    Some((slice, offset.parse().ok()?))
}

/// Everything that is parked for a workspace's board, in the order of the log.
///
/// # Errors
/// [`ReadError`]; a board that was never made has nothing parked.
pub async fn parked(url: &str, workspace: &WorkspaceId) -> Result<Vec<ParkedEntry>, ReadError> {
    below(url, Keys::of(workspace), PROJECTION).await
}

/// The same of what stands beside it.
///
/// # Errors
/// [`ReadError`].
pub async fn parked_standby(url: &str, workspace: &WorkspaceId) -> Result<Vec<ParkedEntry>, ReadError> {
    below(url, Keys::standby(workspace), STANDBY_PROJECTION).await
}

async fn below(url: &str, keys: Keys, projection: &str) -> Result<Vec<ParkedEntry>, ReadError> {
    let mut connection = connect(&redis::Client::open(url)?).await?;
    let stored: BTreeMap<String, String> = redis::cmd("HGETALL").arg(keys.parked).query_async(&mut connection).await?;
    let mut entries = Vec::with_capacity(stored.len());
    for (name, json) in stored {
        let malformed = || ReadError::Malformed("a parked entry is none of ours".to_owned());
        let (slice, offset) = place(&name).ok_or_else(malformed)?;
        let (topic, partition) = slice.rsplit_once('/').ok_or_else(malformed)?;
        let entry: Entry = serde_json::from_str(&json).map_err(|_| malformed())?;
        entries.push(ParkedEntry {
            projection: projection.to_owned(),
            topic: topic.to_owned(),
            partition: partition.parse().map_err(|_| malformed())?,
            parked_at: entry.parked_at,
            parked: entry.parked(offset),
        });
    }
    entries.sort_by(|one, other| {
        (&one.topic, one.partition, one.parked.offset).cmp(&(&other.topic, other.partition, other.parked.offset))
    });
    Ok(entries)
}
