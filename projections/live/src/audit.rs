//! What an audit reads: a workspace's board as it lies in Redis, with the progress it belongs to, in one step.

use std::collections::BTreeMap;

use helix_fold::board::visible::Visible;
use helix_schemas::names::WorkspaceId;
use serde_json::value::RawValue;

use crate::{
    keys::Keys,
    reader::{ReadError, connect},
};

/// A board and how far into the log it reaches.
#[derive(Debug)]
pub struct StoredBoard {
    /// Read up to here, by partition of the topic.
    pub progress: BTreeMap<i32, i64>,
    /// What is shown.
    pub visible: Visible,
    /// The root that is stored beside it, hex.
    pub root: String,
}

/// Reads the board as it is stored, without judging it.
///
/// # Errors
/// [`ReadError`].
pub async fn stored_board(url: &str, workspace: &WorkspaceId, topic: &str) -> Result<StoredBoard, ReadError> {
    let keys = Keys::of(workspace);
    let client = redis::Client::open(url)?;
    let mut connection = connect(&client).await?;
    type Answer = (Option<String>, BTreeMap<String, String>, BTreeMap<String, i64>);
    let (root, board, progress): Answer = redis::pipe()
        .atomic()
        .cmd("HGET")
        .arg(&keys.meta)
        .arg("root")
        .hgetall(&keys.board)
        .hgetall(&keys.progress)
        .query_async(&mut connection)
        .await?;
    let root = root.ok_or(ReadError::NoBoard)?;
    let mut visible = Visible::default();
    for (path, json) in board {
        // The parser's words could quote the value.
        let raw = RawValue::from_string(json).map_err(|_| ReadError::Malformed("a value is no JSON".to_owned()))?;
        visible.set_raw(&path, raw);
    }
    let prefix = format!("{topic}/");
    let next_of = |name: &str| name.strip_prefix(&prefix)?.strip_suffix("/next")?.parse().ok();
    let progress = progress.iter().filter_map(|(name, at)| Some((next_of(name)?, *at))).collect();
    Ok(StoredBoard { progress, visible, root })
}
