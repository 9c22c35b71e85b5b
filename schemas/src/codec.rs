//! Confluent wire framing around Avro: magic byte 0, the schema's registry id (big endian, 4 bytes), the datum.
//!
//! A [`Codec`] is made once a process by [`Registry::codec`](crate::registry::Registry::codec): schemas are parsed and
//! resolved once, readers kept by id. Decoding uses the *writer's* schema; fields that a later version added have serde
//! defaults, so every stored version decodes with the newest types.

use std::{
    collections::BTreeMap,
    io::Cursor,
    marker::PhantomData,
    sync::{PoisonError, RwLock},
};

use apache_avro::{Schema, reader::datum::GenericDatumReader, writer::datum::GenericDatumWriter};
use serde::{Serialize, de::DeserializeOwned};

/// Bytes in front of the datum.
pub const HEADER_BYTES: usize = 5;

/// Why a record's value could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Too short, or the first byte is not the magic 0.
    #[error("the value is not Confluent framed")]
    NotFramed,
    /// The schema id is not known here yet: ask the registry.
    #[error("schema id {0} is not known")]
    UnknownSchema(u32),
    /// The schema's text is not Avro.
    #[error("schema {id} cannot be parsed: {reason}")]
    Schema {
        /// Registry id.
        id: u32,
        /// The parser's words.
        reason: String,
    },
    /// The datum does not fit its schema or our type.
    #[error("the datum cannot be read by schema {id}: {reason}")]
    Datum {
        /// Registry id.
        id: u32,
        /// The reader's words. They name fields and types, never values.
        reason: String,
    },
    /// The value cannot be written by the newest schema: a defect of this build.
    #[error("the value cannot be written: {0}")]
    Write(String),
}

/// Writes and reads the values of one topic.
pub struct Codec<T> {
    id: u32,
    writer: GenericDatumWriter<'static>,
    readers: RwLock<BTreeMap<u32, &'static GenericDatumReader<'static>>>,
    of: PhantomData<fn() -> T>,
}

impl<T> std::fmt::Debug for Codec<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Codec").field("id", &self.id).finish_non_exhaustive()
    }
}

impl<T: Serialize + DeserializeOwned> Codec<T> {
    /// A codec that writes with `schema` under the registry id `id`.
    ///
    /// # Errors
    /// [`CodecError::Schema`] where the schema's names do not resolve.
    pub fn new(id: u32, schema: &'static Schema) -> Result<Self, CodecError> {
        let fault = |error: apache_avro::Error| CodecError::Schema { id, reason: error.to_string() };
        let writer = GenericDatumWriter::builder(schema).human_readable(true).build().map_err(fault)?;
        let codec = Self { id, writer, readers: RwLock::default(), of: PhantomData };
        codec.learn_schema(id, schema)?;
        Ok(codec)
    }

    /// The registry id this codec writes with.
    pub fn schema_id(&self) -> u32 {
        self.id
    }

    /// Whether values written under `id` can be decoded.
    pub fn knows(&self, id: u32) -> bool {
        self.readers.read().unwrap_or_else(PoisonError::into_inner).contains_key(&id)
    }

    /// Teaches the codec another writer's schema. Memory for it is kept until the process ends: there are as many as
    /// released versions.
    ///
    /// # Errors
    /// [`CodecError::Schema`] where the text is not Avro.
    pub fn learn(&self, id: u32, text: &str) -> Result<(), CodecError> {
        if self.knows(id) {
            return Ok(());
        }
        let schema = Schema::parse_str(text).map_err(|error| CodecError::Schema { id, reason: error.to_string() })?;
        self.learn_schema(id, Box::leak(Box::new(schema)))
    }

    fn learn_schema(&self, id: u32, schema: &'static Schema) -> Result<(), CodecError> {
        let reader = GenericDatumReader::builder(schema)
            .human_readable(true)
            .build()
            .map_err(|error| CodecError::Schema { id, reason: error.to_string() })?;
        let mut readers = self.readers.write().unwrap_or_else(PoisonError::into_inner);
        readers.entry(id).or_insert_with(|| Box::leak(Box::new(reader)));
        Ok(())
    }

    /// The framed value, appended to `out`.
    ///
    /// # Errors
    /// [`CodecError::Write`] where the value does not fit the schema.
    pub fn encode_into(&self, value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.push(0);
        out.extend_from_slice(&self.id.to_be_bytes());
        self.writer.write_ser(out, value).map_err(|error| CodecError::Write(error.to_string()))?;
        Ok(())
    }

    /// The framed value.
    ///
    /// # Errors
    /// As [`Self::encode_into`].
    pub fn encode(&self, value: &T) -> Result<Vec<u8>, CodecError> {
        let mut out = Vec::with_capacity(1024);
        self.encode_into(value, &mut out)?;
        Ok(out)
    }

    /// Reads a framed value.
    ///
    /// # Errors
    /// [`CodecError::UnknownSchema`] where the id must be asked of the registry first; [`CodecError::NotFramed`] and
    /// [`CodecError::Datum`] where the bytes are none of ours.
    pub fn decode(&self, framed: &[u8]) -> Result<T, CodecError> {
        let id = schema_id_of(framed)?;
        let reader = {
            let readers = self.readers.read().unwrap_or_else(PoisonError::into_inner);
            *readers.get(&id).ok_or(CodecError::UnknownSchema(id))?
        };
        let mut datum = Cursor::new(framed.get(HEADER_BYTES..).unwrap_or_default());
        reader.read_deser(&mut datum).map_err(|error| CodecError::Datum { id, reason: error.to_string() })
    }
}

/// The schema id in a framed value's header.
///
/// # Errors
/// [`CodecError::NotFramed`].
pub fn schema_id_of(framed: &[u8]) -> Result<u32, CodecError> {
    match framed {
        [0, a, b, c, d, ..] => Ok(u32::from_be_bytes([*a, *b, *c, *d])),
        _ => Err(CodecError::NotFramed),
    }
}
