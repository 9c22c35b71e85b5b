//! Fact ids: UUIDv5 of a canonical natural key.
//!
//! The provider sends no event id (ozonetel.md section 6), so an event's own fields are its identity. The envelope's
//! send time is no part of it: a repeat with another send time has the same id. Fields are length-prefixed, so that
//! no two different field lists run together into the same text.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The namespace of all fact ids: UUIDv5 of the DNS name `helix.telephony`, fixed for ever.
pub const NAMESPACE: Uuid = Uuid::from_u128(0x6d0f_6a7e_9e54_5b0c_8a55_3c1f_2b7d_91e4);

/// A fact's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct FactId(Uuid);

impl FactId {
    /// Wraps a UUID that was made elsewhere (read from a store, or random for a rejected body).
    #[must_use]
    pub const fn from_uuid(id: Uuid) -> Self {
        Self(id)
    }

    /// The UUID.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for FactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl From<FactId> for String {
    fn from(id: FactId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for FactId {
    type Error = uuid::Error;
    fn try_from(text: String) -> Result<Self, uuid::Error> {
        Uuid::try_parse(&text).map(Self)
    }
}

/// The natural key of an event, built field by field.
///
/// ```
/// use helix_schemas::id::NaturalKey;
/// let one = NaturalKey::new("ozonetel", "demo_user", "agent").field("agent.one").field("login").id();
/// let two = NaturalKey::new("ozonetel", "demo_user", "agent").field("agent.on").field("elogin").id();
/// assert_ne!(one, two);
/// ```
#[derive(Clone)]
pub struct NaturalKey(String);

impl NaturalKey {
    /// Starts a key with the provider, the provider's account and the kind of event.
    #[must_use]
    pub fn new(provider: &str, account: &str, event: &str) -> Self {
        Self(String::with_capacity(160)).field(provider).field(account).field(event)
    }

    /// Adds one field. An absent field is an empty one.
    #[must_use]
    pub fn field(mut self, value: &str) -> Self {
        self.0.push_str(&value.len().to_string());
        self.0.push(':');
        self.0.push_str(value);
        self.0.push(',');
        self
    }

    /// The id of this key.
    #[must_use]
    pub fn id(&self) -> FactId {
        FactId(Uuid::new_v5(&NAMESPACE, self.0.as_bytes()))
    }
}
