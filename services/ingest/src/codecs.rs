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
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::outlet::Outlet;

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

    /// The ids of the four schemas, in the order of [`Codecs::with_ids`].
    fn ids(&self) -> [u32; 4] {
        [self.fact.schema_id(), self.unrouted.schema_id(), self.rejected.schema_id(), self.directory.schema_id()]
    }

    /// Notes the ids beside the spool, with the schemas they are of: a start while the registry is away needs both.
    pub async fn note(&self, outlet: &Outlet) {
        let Some(spool) = outlet.spool() else { return };
        let text = serde_json::json!({"of": fingerprint(), "ids": self.ids()}).to_string();
        if let Err(error) = spool.note(NOTE, text.into_bytes()).await {
            tracing::warn!(%error, "the schema ids could not be noted");
        }
    }

    /// Codecs by the ids that an earlier run of a build with the same schemas noted.
    pub async fn noted(outlet: &Outlet) -> Option<Self> {
        let bytes = outlet.spool()?.recall(NOTE).await.ok()??;
        let noted: Noted = serde_json::from_slice(&bytes).ok()?;
        let [fact, unrouted, rejected, directory] = noted.ids;
        if noted.of != fingerprint() {
            return None;
        }
        Self::with_ids(fact, unrouted, rejected, directory).ok()
    }
}

/// The name of the note.
const NOTE: &str = "schemas";

#[derive(Deserialize)]
struct Noted {
    of: String,
    ids: [u32; 4],
}

/// Of the newest schemas that this build carries.
fn fingerprint() -> String {
    let mut hasher = Sha256::new();
    for subject in &schema::SUBJECTS {
        hasher.update(subject.newest());
    }
    hex::encode(hasher.finalize())
}
