//! Names of things. Each is a text newtype, so that an agent cannot be passed where a call is meant.
//!
//! Ids are text even where the provider writes digits: UCIDs pass 2^53 and `043` is not `43` (ozonetel.md 0.6).

use std::{borrow::Borrow, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text has none of the characters a name needs.
    #[error("{what} is empty")]
    Empty {
        /// Which name.
        what: &'static str,
    },
    /// Longer than any name may be.
    #[error("{what} is longer than {limit} bytes")]
    TooLong {
        /// Which name.
        what: &'static str,
        /// The bound, in bytes.
        limit: usize,
    },
    /// A character that this name does not allow.
    #[error("{what} has a character that is not allowed")]
    Character {
        /// Which name.
        what: &'static str,
    },
}

macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $limit:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Checks and takes a text. Surrounding white space is not part of a name.
            ///
            /// # Errors
            /// [`NameError`] where the text is empty, too long or has a character that is not allowed.
            pub fn new(text: &str) -> Result<Self, NameError> {
                let text = text.trim();
                if text.is_empty() {
                    return Err(NameError::Empty { what: $what });
                }
                if text.len() > $limit {
                    return Err(NameError::TooLong { what: $what, limit: $limit });
                }
                let allowed: fn(char) -> bool = $check;
                if !text.chars().all(allowed) {
                    return Err(NameError::Character { what: $what });
                }
                Ok(Self(text.to_owned()))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

fn printable(c: char) -> bool {
    !c.is_control()
}

text_name!(
    /// One hospital: a slug of `[a-z0-9-]`, 1 to 63 characters (design.md section 2).
    WorkspaceId,
    "workspace",
    63,
    |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
);
text_name!(
    /// An agent's login id, as the provider writes it: a name, an e-mail or digits.
    AgentId,
    "agent id",
    255,
    printable
);
text_name!(
    /// One call: the provider's `monitor_ucid`.
    CallId,
    "call id",
    255,
    printable
);
text_name!(
    /// One leg of a call: the provider's `ucid`.
    LegId,
    "leg id",
    255,
    printable
);
text_name!(
    /// A dialled-in number that belongs to a workspace.
    Did,
    "did",
    64,
    printable
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workspace_is_a_slug() {
        assert_eq!(WorkspaceId::new("ramaiah-2").unwrap().as_str(), "ramaiah-2");
        for bad in ["", "  ", "Ramaiah", "a/b", "a_b", &"x".repeat(64)] {
            assert!(WorkspaceId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_agent_id_is_trimmed_text_and_keeps_leading_zeros() {
        assert_eq!(AgentId::new(" 043 ").unwrap().as_str(), "043");
        assert_eq!(AgentId::new("आशा_वर्मा").unwrap().as_str(), "आशा_वर्मा");
        assert!(AgentId::new("a\nb").is_err());
    }
}
