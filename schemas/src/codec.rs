//! Confluent wire framing around Avro: magic byte 0, the schema's registry id (big endian, 4 bytes), the datum.
//!
//! A [`Codec`] is made once a process by [`Registry::codec`](crate::registry::Registry::codec): schemas are parsed and
//! resolved once, readers kept by id. Decoding uses the *writer's* schema; fields that a later version added have serde
//! defaults, so every stored version decodes with the newest types. What a version newer than this build wrote is
//! resolved to the newest that it knows, so that an old reader outlives an upgrade of the writers.

use std::{
    collections::BTreeMap,
    io::{Cursor, Read},
    marker::PhantomData,
    sync::{PoisonError, RwLock},
};

use apache_avro::{Schema, reader::datum::GenericDatumReader, writer::datum::GenericDatumWriter};
use serde::{Serialize, de::DeserializeOwned};

use crate::resolve::{is_known, resolved};

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
    schema: &'static Schema,
    writer: GenericDatumWriter<'static>,
    readers: RwLock<BTreeMap<u32, Reader>>,
    of: PhantomData<fn() -> T>,
}

/// What reads the values of one writer's schema.
#[derive(Clone, Copy)]
struct Reader {
    datum: &'static GenericDatumReader<'static>,
    /// The writer's schema, where it has fields that this build does not know.
    newer: Option<&'static Schema>,
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
        let codec = Self { id, schema, writer, readers: RwLock::default(), of: PhantomData };
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
        let newer = (!is_known(schema, self.schema)).then_some(schema);
        readers.entry(id).or_insert_with(|| Reader { datum: Box::leak(Box::new(reader)), newer });
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
        let datum = framed.get(HEADER_BYTES..).unwrap_or_default();
        let read = match reader.newer {
            None => reader.datum.read_deser(&mut Cursor::new(datum)).map_err(|error| error.to_string()),
            Some(newer) => self.read_newer(reader.datum, newer, datum),
        };
        read.map_err(|reason| CodecError::Datum { id, reason })
    }

    /// Reads what a version newer than this build wrote, as the newest version that this build knows has it.
    fn read_newer(&self, reader: &GenericDatumReader<'_>, newer: &Schema, datum: &[u8]) -> Result<T, String> {
        let mut whole = Whole { rest: datum, short: false };
        let value = reader.read_value(&mut whole).map_err(|error| error.to_string())?;
        if whole.short {
            return Err("the datum is cut short".to_owned());
        }
        let value = resolved(value, newer, self.schema)?;
        let datum =
            self.writer.write_value_to_vec(value).map_err(|_| "a resolved value cannot be written".to_owned())?;
        let own = self.readers.read().unwrap_or_else(PoisonError::into_inner).get(&self.id).copied();
        let own = own.ok_or_else(|| "the codec does not know its own schema".to_owned())?;
        own.datum.read_deser(&mut Cursor::new(datum)).map_err(|error| error.to_string())
    }
}

/// Bytes that notice when more is asked of them than they have: the library takes a missing end for nulls.
struct Whole<'a> {
    rest: &'a [u8],
    short: bool,
}

impl Read for Whole<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.rest.read(buffer)?;
        self.short |= read < buffer.len();
        Ok(read)
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
