//! Names of things. Each is a text newtype, so that an agent cannot be passed where a call is meant.
//!
//! Ids are text even where the provider writes digits: UCIDs pass 2^53 and `043` is not `43` (ozonetel.md 0.6).
//!
//! Whoever reads one (a record of the log, a token, a stored state) gets what [`new`](AgentId::new) takes, or an error: a name
//! that no constructor makes could be stored, and not be read back.

use std::{
    borrow::{Borrow, Cow},
    fmt,
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

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
    /// White space around it, where a name is read and not made.
    #[error("{what} has white space around it")]
    Untrimmed {
        /// Which name.
        what: &'static str,
    },
    /// A character that this name does not allow.
    #[error("{what} has a character that is not allowed")]
    Character {
        /// Which name.
        what: &'static str,
    },
}

macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $limit:literal, $check:expr, $shape:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Checks and takes a text. Surrounding white space is not part of a name.
            ///
            /// # Errors
            /// [`NameError`] where the text is empty, too long or has a character that is not allowed.
            pub fn new(text: &str) -> Result<Self, NameError> {
                let text = text.trim();
                Self::check(text)?;
                let shape: fn(&str) -> Cow<'_, str> = $shape;
                Ok(Self(shape(text).into_owned()))
            }

            fn check(text: &str) -> Result<(), NameError> {
                if text.is_empty() {
                    return Err(NameError::Empty { what: $what });
                }
                if text.len() > $limit {
                    return Err(NameError::TooLong { what: $what, limit: $limit });
                }
                let allowed: fn(char) -> bool = $check;
                match text.chars().all(allowed) {
                    true => Ok(()),
                    false => Err(NameError::Character { what: $what }),
                }
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

        impl TryFrom<String> for $name {
            type Error = NameError;

            /// Takes a text as it is written.
            fn try_from(text: String) -> Result<Self, NameError> {
                if text.trim().len() != text.len() {
                    return Err(NameError::Untrimmed { what: $what });
                }
                Self::check(&text)?;
                Ok(Self(text))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::try_from(String::deserialize(deserializer)?).map_err(D::Error::custom)
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

fn as_written(text: &str) -> Cow<'_, str> {
    Cow::Borrowed(text)
}

/// Digits of a number with its country's code (E.164), without the shortest that could be an extension.
const INTERNATIONAL: std::ops::RangeInclusive<usize> = 8..=15;

/// One spelling for a DID's many: without `+`, spaces, `-`, `(`, `)`, and without the prefix `00` of an international
/// number. Lexical alone: a single leading `0` is national and stays, since the country is not to be guessed; a text
/// that is no number stays as it is.
#[must_use]
pub fn canonical_did(text: &str) -> Cow<'_, str> {
    let text = text.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with("00") {
        return Cow::Borrowed(text);
    }
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    let separates = |c: char| c.is_whitespace() || matches!(c, '-' | '(' | ')');
    let digits: String = unsigned.chars().filter(|c| !separates(*c)).collect();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Cow::Borrowed(text);
    }
    let international = |rest: &&str| INTERNATIONAL.contains(&rest.len()) && !rest.starts_with('0');
    match digits.strip_prefix("00").filter(international) {
        Some(rest) => Cow::Owned(rest.to_owned()),
        None => Cow::Owned(digits),
    }
}

text_name!(
    /// One hospital: a slug of `[a-z0-9-]`, 1 to 63 characters (design.md section 2).
    WorkspaceId,
    "workspace",
    63,
    |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-',
    as_written
);
text_name!(
    /// An agent's login id, as the provider writes it: a name, an e-mail or digits.
    AgentId,
    "agent id",
    255,
    printable,
    as_written
);
text_name!(
    /// One call: the provider's `monitor_ucid`.
    CallId,
    "call id",
    255,
    printable,
    as_written
);
text_name!(
    /// One leg of a call: the provider's `ucid`.
    LegId,
    "leg id",
    255,
    printable,
    as_written
);
text_name!(
    /// A dialled-in number that belongs to a workspace, in its canonical spelling ([`canonical_did`]). One that is read keeps
    /// the spelling it was written with: older records have others, and their keys are made of them.
    Did,
    "did",
    64,
    printable,
    canonical_did
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
    fn a_did_has_one_spelling() {
        for spelling in [
            "918040000001",
            "+918040000001",
            "+91 80 4000 0001",
            "+91-80-4000-0001",
            "+91 (80) 40000001",
            "00918040000001",
            "0091 80 4000-0001",
            " 91 8040000001 ",
        ] {
            assert_eq!(Did::new(spelling).unwrap().as_str(), "918040000001", "{spelling}");
        }
    }

    #[test]
    fn what_a_did_s_country_is_and_what_is_no_number_is_not_guessed() {
        for (text, kept) in [
            ("08040000001", "08040000001"),
            ("080 4000 0001", "08040000001"),
            ("8040000001", "8040000001"),
            ("0012", "0012"),
            ("000918040000001", "000918040000001"),
            ("00", "00"),
            ("9180+40000001", "9180+40000001"),
            ("sip:+91-80@example", "sip:+91-80@example"),
            ("General-1", "General-1"),
            ("+", "+"),
            ("- -", "- -"),
        ] {
            let did = Did::new(text).unwrap();
            assert_eq!(did.as_str(), kept, "{text}");
            assert_eq!(Did::new(did.as_str()).unwrap(), did, "{text}");
        }
    }

    #[test]
    fn an_agent_id_is_trimmed_text_and_keeps_leading_zeros() {
        assert_eq!(AgentId::new(" 043 ").unwrap().as_str(), "043");
        assert_eq!(AgentId::new("आशा_वर्मा").unwrap().as_str(), "आशा_वर्मा");
        assert!(AgentId::new("a\nb").is_err());
    }

    fn read<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
        serde_json::from_value(serde_json::Value::String(text.to_owned())).map_err(|error| error.to_string())
    }

    #[test]
    fn a_name_is_read_as_its_constructor_takes_it_or_not_at_all() {
        for text in ["agent.one", "043", "आशा_वर्मा", "a b"] {
            assert_eq!(read::<AgentId>(text).unwrap(), AgentId::new(text).unwrap());
        }
        let long = "x".repeat(256);
        for (text, why) in [
            ("", "call id is empty"),
            (" ", "call id has white space around it"),
            ("c1 ", "call id has white space around it"),
            ("\u{a0}c1", "call id has white space around it"),
            ("c\u{1}1", "call id has a character that is not allowed"),
            ("c\0", "call id has a character that is not allowed"),
            (&long, "call id is longer than 255 bytes"),
        ] {
            assert_eq!(read::<CallId>(text).unwrap_err(), why);
            assert_eq!(read::<LegId>(text).unwrap_err(), why.replace("call id", "leg id"));
            assert_eq!(read::<AgentId>(text).unwrap_err(), why.replace("call id", "agent id"));
        }
        for text in ["Ramaiah", "a_b", "ramaiah ", "a/b"] {
            assert!(read::<WorkspaceId>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_did_that_is_read_keeps_its_spelling() {
        assert_eq!(read::<Did>("+91 80 4000 0001").unwrap().as_str(), "+91 80 4000 0001");
        assert!(read::<Did>(" 918040000001").is_err() && read::<Did>("9180\0").is_err());
    }

    #[test]
    fn a_name_is_the_key_of_a_map_in_json() {
        let told = r#"{"agent.one":1}"#;
        let map: std::collections::BTreeMap<AgentId, i32> = serde_json::from_str(told).unwrap();
        assert_eq!(serde_json::to_string(&map).unwrap(), told);
        assert!(serde_json::from_str::<std::collections::BTreeMap<AgentId, i32>>(r#"{" ":1}"#).is_err());
    }
}
