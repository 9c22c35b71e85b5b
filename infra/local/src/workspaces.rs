//! The workspaces of a local stack: the two of contract.md unless told otherwise.

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// One hospital, as the local stack sets it up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workspace {
    /// `[a-z0-9-]{1,63}`.
    pub slug: String,
    /// As people say it.
    pub name: String,
    /// IANA zone of its days.
    pub zone: String,
    /// Agents its sidecar registers. The first one is who the demo user of role `agent` is.
    pub agents: Vec<String>,
    /// DIDs its sidecar registers.
    pub dids: Vec<String>,
}

impl Workspace {
    /// The demo directory of contract.md.
    #[must_use]
    pub fn demo() -> Vec<Self> {
        let workspace = |slug: &str, name: &str, agents: [&str; 3], did: &str| Self {
            slug: slug.to_owned(),
            name: name.to_owned(),
            zone: "Asia/Kolkata".to_owned(),
            agents: agents.map(str::to_owned).to_vec(),
            dids: vec![did.to_owned()],
        };
        vec![
            workspace("ramaiah", "Ramaiah", ["ramaiahadmin", "agent.one", "agent.two"], "918041763400"),
            workspace("global", "Global", ["globaladmin", "rekha.cc", "ganesh.cc"], "918041763265"),
        ]
    }

    /// The slug as part of a variable's name: upper case, `_` for `-`.
    #[must_use]
    pub fn variable(&self) -> String {
        self.slug.to_ascii_uppercase().replace('-', "_")
    }

    /// Refuses a set of workspaces that cannot run side by side.
    ///
    /// # Errors
    /// [`Error::Usage`] with the slug at fault.
    pub fn check(all: &[Self]) -> Result<(), Error> {
        for (place, workspace) in all.iter().enumerate() {
            let slug = &workspace.slug;
            let well_formed = (1..=63).contains(&slug.len())
                && slug.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
            if !well_formed {
                return Err(Error::Usage(format!("{slug:?} is no workspace: a slug is 1 to 63 of a-z, 0-9 and -")));
            }
            if all[..place].iter().any(|earlier| earlier.slug == *slug) {
                return Err(Error::Usage(format!("workspace {slug} is named twice")));
            }
            if workspace.agents.is_empty() {
                return Err(Error::Usage(format!("workspace {slug} has no agents: name at least one")));
            }
        }
        Ok(())
    }
}
