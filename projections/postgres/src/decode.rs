//! From records to facts.

use std::sync::Arc;

use helix_runtime::{Offset, Record, StoreError};
use helix_schemas::{
    codec::{Codec, schema_id_of},
    fact::Fact,
    registry::Registry,
};

use crate::batch::Arrived;

/// Batches of at least this many records are decoded and folded on more than one thread.
pub(crate) const WORTH_SHARING: usize = 256;

/// Reads values by the schemas they were written with.
#[derive(Clone)]
pub(crate) struct Decoder {
    registry: Registry,
    codec: Arc<Codec<Fact>>,
}

/// A record of a batch, with its partition.
pub(crate) type Placed = (i32, Record);

fn poison(partition: i32, offset: Offset, error: &dyn std::error::Error) -> StoreError {
    StoreError::Poison { partition, offset, reason: error.to_string() }
}

impl Decoder {
    pub(crate) const fn new(registry: Registry, codec: Arc<Codec<Fact>>) -> Self {
        Self { registry, codec }
    }

    /// Decodes all, in order, or tells the first that cannot be.
    pub(crate) async fn decode(&self, records: Vec<Placed>) -> Result<Vec<Arrived>, StoreError> {
        self.learn(&records).await?;
        if records.len() < WORTH_SHARING {
            return decode_all(&self.codec, &records);
        }
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(4);
        let share = records.len().div_ceil(threads);
        let mut records = records;
        let mut running = Vec::with_capacity(threads);
        while !records.is_empty() {
            let rest = records.split_off(share.min(records.len()));
            let part = std::mem::replace(&mut records, rest);
            let codec = self.codec.clone();
            running.push(tokio::task::spawn_blocking(move || decode_all(&codec, &part)));
        }
        let mut facts = Vec::with_capacity(share * threads);
        for part in running {
            facts.extend(part.await.map_err(StoreError::unavailable)??);
        }
        Ok(facts)
    }

    /// Asks the registry for schemas that are new to this process.
    async fn learn(&self, records: &[Placed]) -> Result<(), StoreError> {
        let mut known = None;
        for (partition, record) in records {
            // What is not framed is told when it is decoded.
            let Ok(id) = schema_id_of(&record.value) else { continue };
            if known == Some(id) {
                continue;
            }
            if !self.codec.knows(id) {
                let text = self.registry.schema(id).await.map_err(|error| {
                    if error.blames_the_record() {
                        poison(*partition, record.offset, &error)
                    } else {
                        StoreError::unavailable(error)
                    }
                })?;
                self.codec.learn(id, &text).map_err(|error| poison(*partition, record.offset, &error))?;
            }
            known = Some(id);
        }
        Ok(())
    }
}

fn decode_all(codec: &Codec<Fact>, records: &[Placed]) -> Result<Vec<Arrived>, StoreError> {
    let decode = |(partition, record): &Placed| {
        let fact = codec.decode(&record.value).map_err(|error| poison(*partition, record.offset, &error))?;
        Ok(Arrived { fact, partition: *partition, offset: record.offset })
    };
    records.iter().map(decode).collect()
}
