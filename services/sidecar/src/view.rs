//! What each kind of viewer sees of the board, and the root of just that.
//!
//! Three kinds: everything; everything with callers' numbers masked; an agent's own. Each has its own root, so that a page
//! can prove its copy whatever it may see. Full and masked views are kept once for all viewers; an own view is small.

use helix_fold::board::{
    document::{AGENTS, CALLS, CallCard, OPEN_MISSED_CALLS, TODAY, WAITING, WaitingCard},
    visible::{BoardRoot, Change, Op, Visible},
};
use helix_schemas::names::AgentId;
use serde_json::value::RawValue;

/// A kind of viewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Sees everything.
    Full,
    /// Sees everything, callers' numbers masked.
    Masked,
    /// Sees what is this agent's own, callers' numbers masked; nothing where the token names no agent.
    Own(Option<AgentId>),
}

/// A board as one kind of viewer sees it.
#[derive(Debug, Clone)]
pub(crate) struct View {
    audience: Audience,
    visible: Visible,
}

impl View {
    /// The view of an audience on a whole board.
    pub(crate) fn of(audience: Audience, whole: &Visible) -> Self {
        let mut view = Self { audience, visible: Visible::default() };
        for (path, _) in whole.iter() {
            if let Some(raw) = whole.raw(path) {
                view.apply(&Change::set(path, raw.to_owned()));
            }
        }
        view
    }

    pub(crate) fn visible(&self) -> &Visible {
        &self.visible
    }

    pub(crate) fn root(&self) -> BoardRoot {
        self.visible.root()
    }

    /// Applies a change of the whole board; tells what it means for this audience, if anything.
    pub(crate) fn apply(&mut self, change: &Change) -> Option<Change> {
        if change.op == Op::Remove {
            return self.visible.apply(change);
        }
        match &self.audience {
            Audience::Full => self.visible.apply(change),
            Audience::Masked => self.visible.apply(&masked(change)?),
            Audience::Own(agent) => {
                if is_own(agent.as_ref()?, change) {
                    self.visible.apply(&masked(change)?)
                } else {
                    // A call that went to somebody else is no longer this agent's.
                    self.visible.remove(&change.path)
                }
            }
        }
    }
}

fn is_own(agent: &AgentId, change: &Change) -> bool {
    if let Some(id) = change.path.strip_prefix(AGENTS) {
        return id == agent.as_str();
    }
    if change.path.starts_with(CALLS) {
        return owner(change.value.as_deref()).is_some_and(|owner| owner == *agent);
    }
    is_common(&change.path)
}

/// Whether a path is shown to every agent.
pub(crate) fn is_common(path: &str) -> bool {
    let is_ones = path.starts_with(AGENTS) || path.starts_with(CALLS);
    !is_ones && !path.starts_with(WAITING) && path != TODAY && path != OPEN_MISSED_CALLS
}

/// Whose own a change is, or takes away from, on a board that is as `before` without it.
pub(crate) fn agents_of(change: &Change, before: &Visible) -> [Option<AgentId>; 2] {
    if let Some(id) = change.path.strip_prefix(AGENTS) {
        return [AgentId::new(id).ok(), None];
    }
    if change.path.starts_with(CALLS) {
        let (was, is) = (owner(before.raw(&change.path)), owner(change.value.as_deref()));
        return if was == is { [is, None] } else { [was, is] };
    }
    [None, None]
}

/// Who has a call.
fn owner(card: Option<&RawValue>) -> Option<AgentId> {
    serde_json::from_str::<CallCard>(card?.get()).ok()?.agent_id
}

/// The change with the caller's number masked. `None` where the value is none of ours: better nothing than a number.
fn masked(change: &Change) -> Option<Change> {
    let json = change.json()?;
    let value = if change.path.starts_with(CALLS) {
        let mut card: CallCard = serde_json::from_str(json).ok()?;
        card.caller = card.caller.as_deref().map(mask);
        serde_json::value::to_raw_value(&card).ok()?
    } else if change.path.starts_with(WAITING) {
        let mut card: WaitingCard = serde_json::from_str(json).ok()?;
        card.caller = card.caller.as_deref().map(mask);
        serde_json::value::to_raw_value(&card).ok()?
    } else {
        return Some(change.clone());
    };
    Some(Change::set(&change.path, value))
}

/// How many calls with a caller's number a board shows.
pub(crate) fn callers(board: &Visible) -> usize {
    board.iter().filter(|(path, _)| path.starts_with(CALLS) || path.starts_with(WAITING)).count()
}

/// Six dots and the last four digits; of numbers too short to hide anything, the dots alone.
pub(crate) fn mask(number: &str) -> String {
    const DOTS: &str = "••••••";
    let count = number.chars().count();
    if count < 8 {
        return DOTS.to_owned();
    }
    let last: String = number.chars().skip(count - 4).collect();
    format!("{DOTS}{last}")
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[test]
    fn a_mask_keeps_the_last_four_digits_of_a_long_number_only() {
        assert_eq!(mask("919845012345"), "••••••2345");
        assert_eq!(mask("1234567"), "••••••");
        assert_eq!(mask(""), "••••••");
    }
}
