//! The codecs of the four topics.

use helix_schemas::{
    codec::{Codec, CodecError},
    directory::DirectoryEntry,
    fact::Fact,
    registry::{Registry, RegistryError},
    rejected::RejectedBody,
    schema,
    unrouted::UnroutedEvent,
};

/// One codec a topic.
#[derive(Debug)]
pub struct Codecs {
    /// `telephony.facts`
    pub fact: Codec<Fact>,
    /// `telephony.unrouted`
    pub unrouted: Codec<UnroutedEvent>,
    /// `telephony.rejected`
    pub rejected: Codec<RejectedBody>,
    /// `telephony.directory`
    pub directory: Codec<DirectoryEntry>,
}

impl Codecs {
    /// Registers every schema and learns its id.
    ///
    /// # Errors
    /// Where the registry cannot be reached or refuses a schema.
    pub async fn register(registry: &Registry) -> Result<Self, RegistryError> {
        Ok(Self {
            fact: registry.fact_codec().await?,
            unrouted: registry.unrouted_codec().await?,
            rejected: registry.rejected_codec().await?,
            directory: registry.directory_codec().await?,
        })
    }

    /// Codecs under ids that are known without asking a registry: for tests.
    ///
    /// # Errors
    /// Where an embedded schema is broken.
    pub fn with_ids(fact: u32, unrouted: u32, rejected: u32, directory: u32) -> Result<Self, CodecError> {
        Ok(Self {
            fact: Codec::new(fact, &schema::FACT)?,
            unrouted: Codec::new(unrouted, &schema::UNROUTED)?,
            rejected: Codec::new(rejected, &schema::REJECTED)?,
            directory: Codec::new(directory, &schema::DIRECTORY)?,
        })
    }
}
