//! `helix projection unpark postgres`: in pieces, each a transaction, so that a key with very many facts holds nobody up for long
//! and Ctrl-C loses nothing: what is done stays done, what is left stays parked, in its order.

use std::{process::ExitCode, sync::Arc};

use helix_kit::config::Config;
use helix_postgres::{
    AllSettings, ChangedRow, PROJECTION, ParkedFilter, PostgresStore, UNPARK_PIECE, Unparked, parked,
};
use helix_replay::{
    ReplayError,
    log::{FactLog, RangeReader, Stop},
};
use helix_runtime::{ParkedEntry, Record};
use helix_schemas::{codec::Codec, fact::Fact, registry::Registry, topics};
use serde_json::{Value, json};

use crate::{
    failure::Failure,
    projection::postgres_fault,
    replay::{blocking, pool, tell},
    setup::settings,
};

/// Facts of one key lie among those of others: so many offsets are read at once at most.
const SPAN: i64 = 10_000;

/// What was unparked so far.
#[derive(Default)]
struct Sum {
    facts: usize,
    rows: usize,
    /// Kept where they are told at the end.
    changes: Vec<ChangedRow>,
}

/// Applies all that is parked of a key, also what is parked of it meanwhile; a dry run does all of it at once and undoes it.
pub(super) async fn unpark(config: &Config, key: &str, dry_run: bool, as_json: bool) -> Result<ExitCode, Failure> {
    let registry = Registry::new(&config.registry.url);
    let codec: Codec<Fact> =
        registry.fact_codec().await.map_err(|error| Failure::unreachable("the schema registry", &error))?;
    let pool = pool(config).await?;
    let store = PostgresStore::new(pool.clone(), registry, codec.into(), AllSettings(settings(config)?));
    let reader = Arc::new(FactLog::open(config).await?.ranges()?);
    let filter = ParkedFilter {
        projection: Some(PROJECTION.to_owned()),
        workspace: None,
        key: Some(key.as_bytes().to_vec().into()),
    };
    let stop = Stop::on_ctrl_c();
    let mut sum = Sum::default();
    loop {
        let entries = parked(&pool, &filter).await.map_err(postgres_fault)?;
        let size = if dry_run { entries.len() } else { UNPARK_PIECE };
        let mut left = 0;
        for piece in entries.chunks(size.max(1)) {
            if stop.stopped() {
                eprintln!("{} facts applied, the others are parked still: unpark goes on with them", sum.facts);
                return Err(ReplayError::Interrupted.into());
            }
            let records = read(&reader, piece.to_vec()).await?;
            let done = store.unpark(topics::FACTS, key.as_bytes(), records, dry_run).await;
            let done = done.map_err(|error| Failure::of(1, &error))?;
            left = done.left;
            sum.add(done, as_json);
            if entries.len() > size {
                eprintln!("{} facts applied, {left} left", sum.facts);
            }
        }
        if dry_run || left == 0 {
            break;
        }
    }
    sum.tell(key, dry_run, as_json)
}

impl Sum {
    fn add(&mut self, done: Unparked, as_json: bool) {
        self.facts += done.facts;
        self.rows += done.changes.len();
        if as_json {
            self.changes.extend(done.changes);
        } else {
            done.changes.iter().for_each(show);
        }
    }

    fn tell(self, key: &str, dry_run: bool, as_json: bool) -> Result<ExitCode, Failure> {
        if self.facts == 0 {
            return Err(Failure::usage(format!("nothing is parked of the key {key}: `helix projection parked` lists")));
        }
        if as_json {
            tell(&json!({"facts": self.facts, "changes": self.changes, "done": !dry_run}))?;
        } else {
            let verb = if dry_run { "would be applied" } else { "applied" };
            println!("{} facts {verb}, {} rows change", self.facts, self.rows);
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn show(row: &ChangedRow) {
    let shown = |value: &Option<Value>| value.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
    println!("{} {}\n  before: {}\n  after:  {}", row.table, row.key, shown(&row.before), shown(&row.after));
}

/// The records of parked facts, which are in the order of the log.
async fn read(reader: &Arc<RangeReader>, entries: Vec<ParkedEntry>) -> Result<Vec<(i32, Record)>, Failure> {
    let reader = Arc::clone(reader);
    blocking(move || {
        let mut records = Vec::with_capacity(entries.len());
        let near = |one: &ParkedEntry, other: &ParkedEntry| {
            one.partition == other.partition
                && one.parked.offset.0.div_euclid(SPAN) == other.parked.offset.0.div_euclid(SPAN)
        };
        for span in entries.chunk_by(near) {
            let (Some(first), Some(last)) = (span.first(), span.last()) else { continue };
            let found = reader.read(first.partition, first.parked.offset.0, last.parked.offset.0 + 1)?;
            let asked =
                |record: &Record| span.binary_search_by_key(&record.offset, |entry| entry.parked.offset).is_ok();
            records.extend(found.into_iter().filter(asked).map(|record| (first.partition, record)));
        }
        Ok(records)
    })
    .await
}
