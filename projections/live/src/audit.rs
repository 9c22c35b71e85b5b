//! What an audit reads: a workspace's board as it lies in Redis, with the progress it belongs to, in one step.

use std::collections::BTreeMap;

use helix_fold::board::visible::Visible;
use helix_schemas::names::WorkspaceId;
use redis::Pipeline;
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
    let mut connection = connect(&redis::Client::open(url)?).await?;
    let mut pipe = redis::pipe();
    ask(pipe.atomic(), &Keys::of(workspace));
    let raw: Raw = pipe.query_async(&mut connection).await?;
    Ok(Stored::of(raw, topic)?.ok_or(ReadError::NoBoard)?.board)
}

/// Up to where a workspace's standby has read the log, by partition; `None` where there is none.
///
/// # Errors
/// [`ReadError`].
pub async fn standby_progress(
    url: &str,
    workspace: &WorkspaceId,
    topic: &str,
) -> Result<Option<BTreeMap<i32, i64>>, ReadError> {
    let mut connection = connect(&redis::Client::open(url)?).await?;
    let mut pipe = redis::pipe();
    ask(pipe.atomic(), &Keys::standby(workspace));
    let raw: Raw = pipe.query_async(&mut connection).await?;
    Ok(Stored::of(raw, topic)?.map(|stored| stored.board.progress))
}

/// A board with all that is told of it.
pub(crate) struct Stored {
    pub(crate) meta: BTreeMap<String, String>,
    pub(crate) board: StoredBoard,
}

/// What [`ask`] is answered.
pub(crate) type Raw = (BTreeMap<String, String>, BTreeMap<String, String>, BTreeMap<String, i64>);

/// Asks for a board, in as many steps as [`Raw`] has parts.
pub(crate) fn ask(pipe: &mut Pipeline, keys: &Keys) {
    pipe.hgetall(&keys.meta).hgetall(&keys.board).hgetall(&keys.progress);
}

impl Stored {
    /// What was read; `None` where there is no board.
    pub(crate) fn of((meta, board, progress): Raw, topic: &str) -> Result<Option<Self>, ReadError> {
        let Some(root) = meta.get("root").cloned() else { return Ok(None) };
        let mut visible = Visible::default();
        for (path, json) in board {
            // The parser's words could quote the value.
            let raw = RawValue::from_string(json).map_err(|_| ReadError::Malformed("a value is no JSON".to_owned()))?;
            visible.set_raw(&path, raw);
        }
        let prefix = format!("{topic}/");
        let next_of = |name: &str| name.strip_prefix(&prefix)?.strip_suffix("/next")?.parse().ok();
        let progress = progress.iter().filter_map(|(name, at)| Some((next_of(name)?, *at))).collect();
        Ok(Some(Self { meta, board: StoredBoard { progress, visible, root } }))
    }

    /// A field of `meta`; empty where there is none.
    pub(crate) fn meta(&self, name: &str) -> &str {
        self.meta.get(name).map_or("", String::as_str)
    }
}
