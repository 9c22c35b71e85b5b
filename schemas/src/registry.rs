//! Client of a Confluent-compatible schema registry (Redpanda's in production, `helix up`'s own locally).

use std::time::Duration;

use apache_avro::Schema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    codec::{Codec, CodecError},
    directory::DirectoryEntry,
    fact::Fact,
    rejected::RejectedBody,
    schema::{self, Subject},
    topics,
    unrouted::UnroutedEvent,
};

/// The content type of the registry's API.
const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// Why the registry could not serve.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// It cannot be reached, or broke off.
    #[error("the schema registry at {url} cannot be reached")]
    Unreachable {
        /// Its base URL.
        url: String,
        /// The client's words.
        #[source]
        source: reqwest::Error,
    },
    /// It refused, as for an incompatible schema.
    #[error("the schema registry refused {what}: {status} {message}")]
    Refused {
        /// What was asked.
        what: String,
        /// HTTP status.
        status: u16,
        /// Its words.
        message: String,
    },
    /// What it gave is not usable.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

impl RegistryError {
    /// Whether it is the record that cannot be read, whoever asks and whenever: its bytes are none of ours, or name a schema
    /// that the registry says does not exist. Else the registry cannot serve for the moment.
    #[must_use]
    pub const fn blames_the_record(&self) -> bool {
        match self {
            Self::Codec(_) | Self::Refused { status: 404, .. } => true,
            Self::Unreachable { .. } | Self::Refused { .. } => false,
        }
    }
}

/// A registry by its base URL.
#[derive(Debug, Clone)]
pub struct Registry {
    url: String,
    http: reqwest::Client,
}

#[derive(Serialize)]
struct SchemaText<'a> {
    schema: &'a str,
    #[serde(rename = "schemaType")]
    schema_type: &'static str,
}

#[derive(Deserialize)]
struct SchemaOf {
    schema: String,
}

#[derive(Deserialize)]
struct IdOf {
    id: u32,
}

#[derive(Deserialize, Default)]
struct Fault {
    #[serde(default)]
    message: String,
}

impl Registry {
    /// A client of the registry at `url`, without a connection yet.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self { url: url.trim_end_matches('/').to_owned(), http: reqwest::Client::new() }
    }

    async fn call<R: DeserializeOwned>(
        &self,
        what: &str,
        request: reqwest::RequestBuilder,
    ) -> Result<R, RegistryError> {
        let unreachable = |source| RegistryError::Unreachable { url: self.url.clone(), source };
        let response = request.timeout(Duration::from_secs(10)).send().await.map_err(unreachable)?;
        let status = response.status();
        if status.is_success() {
            return response.json().await.map_err(unreachable);
        }
        let fault: Fault = response.json().await.unwrap_or_default();
        Err(RegistryError::Refused { what: what.to_owned(), status: status.as_u16(), message: fault.message })
    }

    /// Registers one schema under a subject and tells its id; the id it has where it is registered already.
    ///
    /// # Errors
    /// [`RegistryError::Refused`] with 409 where it is incompatible with an earlier version.
    pub async fn register(&self, subject: &str, schema: &str) -> Result<u32, RegistryError> {
        let request = self
            .http
            .post(format!("{}/subjects/{subject}/versions", self.url))
            .json(&SchemaText { schema, schema_type: "AVRO" })
            .header("content-type", CONTENT_TYPE);
        let found: IdOf = self.call(subject, request).await?;
        Ok(found.id)
    }

    /// Registers every version of a subject, oldest first, under FULL_TRANSITIVE; ids in the same order.
    ///
    /// # Errors
    /// As [`Self::register`].
    pub async fn register_all(&self, subject: &Subject) -> Result<Vec<u32>, RegistryError> {
        let name = subject.name();
        let request = self
            .http
            .put(format!("{}/config/{name}", self.url))
            .body(r#"{"compatibility":"FULL_TRANSITIVE"}"#)
            .header("content-type", CONTENT_TYPE);
        let _: serde_json::Value = self.call(&name, request).await?;
        let mut ids = Vec::with_capacity(subject.versions.len());
        for version in subject.versions {
            ids.push(self.register(&name, version).await?);
        }
        Ok(ids)
    }

    /// Text of the schema with that id.
    ///
    /// # Errors
    /// [`RegistryError::Refused`] with 404 where the registry does not know it.
    pub async fn schema(&self, id: u32) -> Result<String, RegistryError> {
        let request = self.http.get(format!("{}/schemas/ids/{id}", self.url));
        let found: SchemaOf = self.call(&format!("schema {id}"), request).await?;
        Ok(found.schema)
    }

    async fn codec<T: Serialize + DeserializeOwned>(
        &self,
        topic: &str,
        newest: &'static Schema,
    ) -> Result<Codec<T>, RegistryError> {
        let subject = Subject::of_topic(topic).ok_or_else(|| RegistryError::Refused {
            what: topic.to_owned(),
            status: 404,
            message: "no such topic".to_owned(),
        })?;
        let ids = self.register_all(subject).await?;
        let newest_id = ids.last().copied().unwrap_or_default();
        let codec = Codec::new(newest_id, newest)?;
        for (id, text) in ids.iter().zip(subject.versions) {
            codec.learn(*id, text)?;
        }
        Ok(codec)
    }

    /// The codec of `telephony.facts`, its versions registered.
    ///
    /// # Errors
    /// As [`Self::register_all`].
    pub async fn fact_codec(&self) -> Result<Codec<Fact>, RegistryError> {
        self.codec(topics::FACTS, &schema::FACT).await
    }

    /// The codec of `telephony.unrouted`.
    ///
    /// # Errors
    /// As [`Self::register_all`].
    pub async fn unrouted_codec(&self) -> Result<Codec<UnroutedEvent>, RegistryError> {
        self.codec(topics::UNROUTED, &schema::UNROUTED).await
    }

    /// The codec of `telephony.rejected`.
    ///
    /// # Errors
    /// As [`Self::register_all`].
    pub async fn rejected_codec(&self) -> Result<Codec<RejectedBody>, RegistryError> {
        self.codec(topics::REJECTED, &schema::REJECTED).await
    }

    /// The codec of `telephony.directory`.
    ///
    /// # Errors
    /// As [`Self::register_all`].
    pub async fn directory_codec(&self) -> Result<Codec<DirectoryEntry>, RegistryError> {
        self.codec(topics::DIRECTORY, &schema::DIRECTORY).await
    }

    /// Decodes a value, asking the registry for a schema that is not known here yet.
    ///
    /// # Errors
    /// [`RegistryError`] where the registry cannot serve or the bytes are none of ours.
    pub async fn decode<T: Serialize + DeserializeOwned>(
        &self,
        codec: &Codec<T>,
        framed: &[u8],
    ) -> Result<T, RegistryError> {
        match codec.decode(framed) {
            Err(CodecError::UnknownSchema(id)) => {
                codec.learn(id, &self.schema(id).await?)?;
                Ok(codec.decode(framed)?)
            }
            decoded => Ok(decoded?),
        }
    }
}
