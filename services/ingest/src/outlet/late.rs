//! Events that were taken while the directory could not be read: the spool keeps them in their place in the order, and
//! they are attributed when that place comes up.
//!
//! To set them aside instead would be to let the events of the same agent that come after them overtake them.

use std::sync::{Arc, OnceLock};

use helix_schemas::{
    codec::CodecError,
    key::unrouted_key,
    registry::{Registry, RegistryError},
    topics,
    unrouted::UnroutedEvent,
};

use super::Entry;
use crate::{
    codecs::Codecs,
    directory::View,
    route::{Destination, attribute_names},
};

/// Stands for a topic in [`super::Record`]: which one it is to be, the directory decides later. The value is a framed
/// [`UnroutedEvent`].
pub const ATTRIBUTE_LATER: &str = "attribute-later";

/// What attributes late events.
#[derive(Debug)]
pub struct Late {
    /// The directory.
    pub directory: Arc<View>,
    /// Where a schema is asked for that is new to this build.
    pub registry: Registry,
    /// The codecs.
    pub codecs: Arc<OnceLock<Codecs>>,
}

/// Why an event cannot be attributed yet.
#[derive(Debug, thiserror::Error)]
pub enum NotYet {
    /// Its time has not come.
    #[error("the directory cannot be read yet")]
    DirectoryUnread,
    /// A defect of this build: it stays in the spool.
    #[error("a late event cannot be written: {0}")]
    Codec(#[from] CodecError),
    /// Its schema cannot be had, or it cannot be read: it stays in the spool.
    #[error("a late event cannot be read: {0}")]
    Registry(#[from] RegistryError),
}

impl Late {
    /// The entry as it goes to the log: attributed, where it still had to be.
    ///
    /// # Errors
    /// [`NotYet`].
    pub async fn settle(&self, entry: Entry) -> Result<Entry, NotYet> {
        if entry.topic != ATTRIBUTE_LATER {
            return Ok(entry);
        }
        let codecs = self.codecs.get().filter(|_| self.directory.caught_up()).ok_or(NotYet::DirectoryUnread)?;
        let event: UnroutedEvent = self.registry.decode(&codecs.unrouted, &entry.value).await?;
        let destination = attribute_names(event.agent.as_ref(), event.did.as_ref(), &self.directory.snapshot());
        let (topic, key, value) = match destination {
            Destination::Workspace(workspace) => {
                let fact = event.into_fact(workspace);
                (topics::FACTS, fact.key(), codecs.fact.encode(&fact)?)
            }
            Destination::Unrouted(reason) => {
                let event = UnroutedEvent { reason: reason.to_owned(), ..event };
                let key = unrouted_key(event.agent.as_ref(), event.did.as_ref());
                (topics::UNROUTED, key, codecs.unrouted.encode(&event)?)
            }
        };
        Ok(Entry { topic: topic.to_owned(), key, value, at: entry.at })
    }
}
