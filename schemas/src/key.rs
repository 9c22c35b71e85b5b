//! Record keys: they decide the partition, and with it what keeps its order (design.md section 5).

use crate::{
    fact::Fact,
    names::{AgentId, CallId, Did, WorkspaceId},
};

/// Key of a fact: `{workspace}/{agent}`, or `{workspace}/call:{call}` where no agent is named.
///
/// A fact with neither (an unknown event type without both) is keyed `{workspace}/-`.
#[must_use]
pub fn fact_key(workspace: &WorkspaceId, agent: Option<&AgentId>, call: Option<&CallId>) -> String {
    match (agent, call) {
        (Some(agent), _) => format!("{workspace}/{agent}"),
        (None, Some(call)) => format!("{workspace}/call:{call}"),
        (None, None) => format!("{workspace}/-"),
    }
}

impl Fact {
    /// This fact's record key.
    #[must_use]
    pub fn key(&self) -> String {
        fact_key(&self.workspace, self.agent.as_ref(), self.call.as_ref())
    }
}

/// Key of an unrouted event: `agent:{agent}`, else `did:{did}`, else `none`.
#[must_use]
pub fn unrouted_key(agent: Option<&AgentId>, did: Option<&Did>) -> String {
    match (agent, did) {
        (Some(agent), _) => format!("agent:{agent}"),
        (None, Some(did)) => format!("did:{did}"),
        (None, None) => "none".to_owned(),
    }
}

/// The workspace of a fact's record key, without decoding the value; `None` where that part of the key is no workspace's
/// name, as in a key that none of us wrote: such bytes go into no text column.
#[must_use]
pub fn workspace_of_key(key: &[u8]) -> Option<&str> {
    let slash = key.iter().position(|byte| *byte == b'/')?;
    let slug = std::str::from_utf8(key.get(..slash)?).ok()?;
    WorkspaceId::new(slug).is_ok_and(|workspace| workspace.as_str() == slug).then_some(slug)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_workspaces_name_is_the_workspace_of_a_key() {
        assert_eq!(workspace_of_key(b"ramaiah/agent.one"), Some("ramaiah"));
        assert_eq!(workspace_of_key(b"ramaiah/agent\0\xff"), Some("ramaiah"), "the rest of the key is any bytes");
        for key in [b"".as_slice(), b"ramaiah", b"/a", b"ram\0aiah/a", b" ramaiah/a", b"ram\xffaiah/a", b"ram aiah/a"] {
            assert_eq!(workspace_of_key(key), None, "{}", key.escape_ascii());
        }
        let long = [[b'a'; 300].as_slice(), b"/a"].concat();
        assert_eq!(workspace_of_key(&long), None);
    }
}
