//! `helix replay board --as-of`: the board of one workspace as of any past moment, by either clock.
//!
//! The same fold as the live projector's, over the facts that had happened (`event`), or that had reached us
//! (`received`), by then.

use helix_fold::{
    board::{
        Board,
        document::{BoardDocument, Head},
    },
    settings::Settings,
};
use helix_schemas::{
    fact::Fact,
    names::WorkspaceId,
    time::{OccurredAt, ReceivedAt},
};
use serde_json::Value;

use crate::{
    ReplayError,
    log::{FactLog, Stop},
};

/// By which clock a moment is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// What had happened by then, as we know it today.
    Event,
    /// What we knew then.
    Received,
}

/// A past moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// UTC milliseconds.
    pub at: OccurredAt,
    /// By which clock.
    pub clock: Clock,
}

impl Moment {
    fn takes(self, occurred_at: OccurredAt, received_at: ReceivedAt) -> bool {
        match self.clock {
            Clock::Event => occurred_at <= self.at,
            Clock::Received => received_at.as_occurred() <= self.at,
        }
    }
}

/// Folds the workspace's board; without a moment, as of the log's end. Gives it with its version. Blocking.
///
/// # Errors
/// Where the log cannot be read.
pub fn fold_board(
    log: &FactLog,
    workspace: &WorkspaceId,
    settings: Settings,
    moment: Option<Moment>,
    stop: &Stop,
) -> Result<(Board, u64), ReplayError> {
    let cut = log.whole()?;
    let mut board = Board::new(workspace.clone(), settings);
    let mut version: u64 = 0;
    // What cannot be read is in no live board either.
    let _set_aside = log.read(&cut, stop, |_, fact| {
        let takes = moment.is_none_or(|moment| moment.takes(fact.occurred_at, fact.received_at));
        if takes && fold_in(&mut board, &fact) {
            version += 1;
        }
        Ok(())
    })?;
    Ok((board, version))
}

/// Folds the next fact of a board that nobody stores; tells whether it changed what is shown.
pub(crate) fn fold_in(board: &mut Board, fact: &Fact) -> bool {
    let changes = board.apply(fact);
    // For whoever stores the memory. Kept, it would grow with every call of the log.
    drop(board.take_touched());
    !changes.is_empty()
}

/// The same as the contract's JSON.
///
/// # Errors
/// As [`fold_board`].
pub fn board_as_of(
    log: &FactLog,
    workspace: &WorkspaceId,
    settings: Settings,
    moment: Option<Moment>,
    stop: &Stop,
) -> Result<Value, ReplayError> {
    let (board, version) = fold_board(log, workspace, settings, moment, stop)?;
    let as_of = match (moment, board.watermark()) {
        (Some(moment), _) => moment.at.to_rfc3339(),
        (None, Some(watermark)) => watermark.occurred_at.to_rfc3339(),
        (None, None) => OccurredAt::from_millis(0).to_rfc3339(),
    };
    let head = Head {
        workspace: workspace.as_str(),
        as_of,
        version,
        stale_reasons: Vec::new(),
        stale_since: None,
        lag_facts: 0,
        lag_seconds: 0,
    };
    let document = BoardDocument::new(head, board.visible());
    serde_json::to_value(&document).map_err(|error| ReplayError::unreachable("the board", error))
}

#[cfg(test)]
mod tests {
    use helix_fold::board::Touched;
    use helix_schemas::{
        fact::{Body, CallParty, CallRang, OccurredAtFrom, Source},
        id::NaturalKey,
        names::CallId,
    };

    use super::*;

    fn rang(workspace: &WorkspaceId, second: i64) -> Fact {
        let body = Body::CallRang(CallRang { party: CallParty::default() });
        Fact {
            id: NaturalKey::new("ozonetel", "test", "rang").field(&second.to_string()).id(),
            workspace: workspace.clone(),
            agent: None,
            call: CallId::new(&format!("c{second}")).ok(),
            leg: None,
            provider: "ozonetel".to_owned(),
            kind: body.kind(),
            occurred_at: OccurredAt::from_millis(second * 1000),
            occurred_at_from: OccurredAtFrom::Event,
            received_at: ReceivedAt::from_micros(second * 1_000_000),
            raw: Vec::new(),
            raw_content_type: String::new(),
            source: Source::default(),
            normaliser: 1,
            body,
        }
    }

    #[test]
    fn a_long_fold_keeps_no_list_of_what_it_touched() {
        let workspace = WorkspaceId::new("ramaiah").expect("a slug");
        let mut board = Board::new(workspace.clone(), Settings::default());
        for second in 0..100 {
            assert!(fold_in(&mut board, &rang(&workspace, second)));
        }
        assert!(!fold_in(&mut board, &rang(&workspace, 0)), "a repeat of long ago");
        assert_eq!(board.take_touched(), Touched::default());
    }
}
