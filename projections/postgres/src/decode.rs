//! From records to facts.

use std::sync::Arc;

use helix_runtime::{Offset, Prepared, Preparer, Record, StoreError};
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

/// A record of a batch, with its partition, and its fact where that was read ahead.
pub(crate) struct Placed {
    partition: i32,
    record: Record,
    fact: Option<Arc<Fact>>,
}

impl Placed {
    pub(crate) const fn new(partition: i32, record: Record) -> Self {
        Self { partition, record, fact: None }
    }

    /// With what [`Decoder::preparer`] made of it.
    pub(crate) fn prepared(partition: i32, record: Record, prepared: Option<Prepared>) -> Self {
        Self { partition, record, fact: prepared.and_then(|prepared| prepared.downcast().ok()) }
    }
}

fn poison(partition: i32, offset: Offset, error: &dyn std::error::Error) -> StoreError {
    StoreError::Poison { partition, offset, reason: error.to_string() }
}

impl Decoder {
    pub(crate) const fn new(registry: Registry, codec: Arc<Codec<Fact>>) -> Self {
        Self { registry, codec }
    }

    /// Decodes records ahead of their batch, where it can be done without asking anybody.
    pub(crate) fn preparer(&self) -> Preparer {
        let codec = Arc::clone(&self.codec);
        Box::new(move |record| {
            let fact = codec.decode(&record.value).ok()?;
            Some(Arc::new(fact) as Prepared)
        })
    }

    /// Decodes all that is not yet, in order, or tells the first that cannot be.
    pub(crate) async fn decode(&self, records: Vec<Placed>) -> Result<Vec<Arrived>, StoreError> {
        self.learn(&records).await?;
        if records.iter().filter(|placed| placed.fact.is_none()).count() < WORTH_SHARING {
            return decode_all(&self.codec, records);
        }
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(4);
        let share = records.len().div_ceil(threads);
        let mut records = records;
        let mut running = Vec::with_capacity(threads);
        while !records.is_empty() {
            let rest = records.split_off(share.min(records.len()));
            let part = std::mem::replace(&mut records, rest);
            let codec = self.codec.clone();
            running.push(tokio::task::spawn_blocking(move || decode_all(&codec, part)));
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
        for Placed { partition, record, .. } in records.iter().filter(|placed| placed.fact.is_none()) {
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

fn decode_all(codec: &Codec<Fact>, records: Vec<Placed>) -> Result<Vec<Arrived>, StoreError> {
    let decode = |Placed { partition, record, fact }| {
        let fact = match fact {
            Some(fact) => fact,
            None => Arc::new(codec.decode(&record.value).map_err(|error| poison(partition, record.offset, &error))?),
        };
        Ok(Arrived { fact, partition, offset: record.offset })
    };
    records.into_iter().map(decode).collect()
}
