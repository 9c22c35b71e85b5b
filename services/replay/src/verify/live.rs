//! The live boards: each workspace's board in its Redis against the fold of the log up to the board's progress.

use std::collections::{BTreeMap, BTreeSet};

use helix_fold::{
    board::{Board, visible::Visible},
    settings::Settings,
};
use helix_live::audit::{StoredBoard, stored_board};
use helix_schemas::{key::workspace_of_key, names::WorkspaceId, topics};
use serde_json::Value;

use crate::{
    ReplayError,
    board::fold_in,
    export::progress_bar,
    log::{FactLog, Place, Stop},
    verify::{Difference, Report, WorkspaceReport, up_to},
};

/// A workspace whose board is to be proved.
#[derive(Debug, Clone)]
pub struct BoardToVerify {
    /// The hospital.
    pub workspace: WorkspaceId,
    /// Its settings.
    pub settings: Settings,
    /// URL of its Redis.
    pub redis_url: String,
    /// What its projector has set aside.
    pub parked: BTreeSet<Place>,
}

/// Folds each workspace's board and compares.
///
/// # Errors
/// [`ReplayError`] where log or Redis cannot be read; a difference is no error but part of the report.
pub async fn verify_live(log: FactLog, boards: Vec<BoardToVerify>, stop: Stop) -> Result<Report, ReplayError> {
    let mut stored = Vec::new();
    for board in boards {
        let held = stored_board(&board.redis_url, &board.workspace, topics::FACTS).await;
        let held = held.map_err(|error| ReplayError::unreachable("the workspace's Redis", error))?;
        stored.push((board, held));
    }
    let parked = stored.iter().map(|(board, _)| board.parked.len()).sum();
    let folding = tokio::task::spawn_blocking(move || {
        let mut facts = 0;
        let mut workspaces = Vec::new();
        for (board, held) in stored {
            let folded = fold(&log, &board, &held.progress, &stop, &mut facts)?;
            workspaces.push(report(&board.workspace, &held, &folded));
        }
        Ok::<_, ReplayError>((facts, workspaces))
    });
    let (facts, workspaces) = folding.await.map_err(|error| ReplayError::unreachable("the fold", error))??;
    Ok(Report { projection: "live".to_owned(), facts, parked, workspaces })
}

fn fold(
    log: &FactLog,
    asked: &BoardToVerify,
    progress: &BTreeMap<i32, i64>,
    stop: &Stop,
    facts: &mut u64,
) -> Result<Board, ReplayError> {
    let cut = up_to(progress, log.whole()?);
    let bar = progress_bar(cut.span(), "folding the board");
    let mut board = Board::new(asked.workspace.clone(), asked.settings.clone());
    log.read_records(&cut, stop, |record| {
        bar.inc(1);
        let place: Place = record.place;
        if workspace_of_key(record.key) == Some(asked.workspace.as_str()) && !asked.parked.contains(&place) {
            *facts += 1;
            fold_in(&mut board, &log.decode(place, record.value)?);
        }
        Ok(())
    })?;
    bar.finish_and_clear();
    Ok(board)
}

fn report(workspace: &WorkspaceId, held: &StoredBoard, folded: &Board) -> WorkspaceReport {
    let root = folded.root().to_string();
    let difference = first_difference(&held.visible, folded.visible()).or_else(|| {
        (held.root != root).then(|| Difference {
            table: "meta".to_owned(),
            key: "root".to_owned(),
            column: Some("root".to_owned()),
            stored: held.root.clone().into(),
            folded: root.clone().into(),
        })
    });
    WorkspaceReport { workspace: workspace.to_string(), rows: held.visible.len(), root, difference }
}

fn first_difference(stored: &Visible, folded: &Visible) -> Option<Difference> {
    let paths: BTreeSet<&str> = stored.iter().chain(folded.iter()).map(|(path, _)| path).collect();
    let value = |text: Option<&str>| text.and_then(|json| serde_json::from_str(json).ok()).unwrap_or(Value::Null);
    paths.into_iter().find(|path| stored.get(path) != folded.get(path)).map(|path| Difference {
        table: "board".to_owned(),
        key: path.to_owned(),
        column: None,
        stored: value(stored.get(path)),
        folded: value(folded.get(path)),
    })
}
