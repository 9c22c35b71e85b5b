//! Which facts.

use helix_schemas::{
    fact::{Fact, Kind},
    time::OccurredAt,
};

/// A choice of facts; what is `None` does not choose.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this workspace.
    pub workspace: Option<String>,
    /// Of this agent.
    pub agent: Option<String>,
    /// Of this call.
    pub call: Option<String>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// That occurred at or after.
    pub since: Option<OccurredAt>,
    /// That occurred before.
    pub until: Option<OccurredAt>,
}

impl Filter {
    /// Whether it takes this fact.
    #[must_use]
    pub fn takes(&self, fact: &Fact) -> bool {
        fn same(asked: Option<&String>, is: Option<&str>) -> bool {
            asked.is_none_or(|asked| is == Some(asked.as_str()))
        }
        same(self.workspace.as_ref(), Some(fact.workspace.as_str()))
            && same(self.agent.as_ref(), fact.agent.as_ref().map(AsRef::as_ref))
            && same(self.call.as_ref(), fact.call.as_ref().map(AsRef::as_ref))
            && self.kind.is_none_or(|kind| kind == fact.kind)
            && self.since.is_none_or(|since| fact.occurred_at >= since)
            && self.until.is_none_or(|until| fact.occurred_at < until)
    }
}
