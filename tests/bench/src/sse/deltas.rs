//! Deltas at a fixed rate: a board that this process itself keeps in a workspace's Redis, as the live projector does, so
//! that the moment of each delta is known and neither ingest nor log share the machine with the sidecar.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use helix_fold::{
    board::{Board, visible::merge},
    settings::Settings,
};
use helix_history::{History, Plan};
use helix_kit::config::Config;
use helix_live::{Decoder, LiveStore};
use helix_runtime::{Batch, Epoch, Lag, NextOffset, Offset, Record, Slice, Store};
use helix_schemas::{codec::Codec, fact::Fact, names::WorkspaceId, registry::Registry, topics};
use tokio::runtime::Handle;

use crate::{
    pace::{Pace, Schedule, sleep_until},
    sample::{Latencies, Sample},
};

/// Agents on the board.
const AGENTS: u32 = 200;
/// Facts before the first delta: by then everybody has signed in.
const FIRST: usize = 5_000;
const FIRST_AT_ONCE: usize = 500;

/// A board and the facts that move it on.
pub(super) struct Deltas {
    store: LiveStore,
    /// The same board once more, to know beforehand which facts change it.
    board: Board,
    history: History,
    codec: Arc<Codec<Fact>>,
    epoch: Epoch,
    next: i64,
}

impl Deltas {
    /// Takes a workspace's board, which nobody else holds, and fills it.
    pub(super) async fn begin(config: &Config, slug: &str) -> Result<Self> {
        let workspace = WorkspaceId::new(slug)?;
        let redis = config.workspaces.get(slug).context("the workspace")?.redis_url.reveal();
        let codec = Arc::new(Registry::new(&config.registry.url).fact_codec().await?);
        let settings = Settings::default();
        let decoder = Decoder::new(codec.clone(), None);
        let mut store = LiveStore::new(redis, workspace.clone(), settings.clone(), decoder)?;
        let held = store.acquire(topics::FACTS, &[0]).await?;
        let held = held.first().context("a partition")?;
        let (epoch, next) = (held.epoch, held.next_offset.0);
        let board = Board::new(workspace, settings);
        let mut deltas = Self { store, board, history: Plan::new(slug, AGENTS, 1).history(), codec, epoch, next };
        for _ in 0..FIRST / FIRST_AT_ONCE {
            let (batch, _) = deltas.batch(FIRST_AT_ONCE)?;
            deltas.store.apply(&batch).await?;
        }
        Ok(deltas)
    }

    /// So many facts as a batch, and whether it changes the board.
    fn batch(&mut self, facts: usize) -> Result<(Batch, bool)> {
        let from = NextOffset(self.next);
        let (mut records, mut steps) = (Vec::with_capacity(facts), Vec::new());
        for fact in self.history.by_ref().take(facts) {
            let (key, value) = (fact.key().into(), self.codec.encode(&fact)?.into());
            records.push(Record { offset: Offset(self.next), key, value });
            steps.extend(self.board.apply(&fact));
            self.next += 1;
        }
        let to = NextOffset(self.next);
        let slice = Slice { partition: 0, epoch: self.epoch, from, to, records, parked: Vec::new() };
        Ok((Batch { topic: topics::FACTS.to_owned(), slices: vec![slice] }, !merge(steps).is_empty()))
    }

    /// What the next deltas take: for each the facts before it that change nothing, then one that changes the board.
    fn take(&mut self, count: u64) -> Result<Vec<Vec<Batch>>> {
        let mut deltas = Vec::new();
        for _ in 0..count {
            let mut batches = Vec::new();
            loop {
                let (batch, changes) = self.batch(1)?;
                batches.push(batch);
                if changes {
                    break;
                }
            }
            deltas.push(batches);
        }
        Ok(deltas)
    }

    /// Makes the deltas of a run, one when it is due, and tells how long after that Redis had each. Blocks.
    ///
    /// `begin` is asked for the schedule once everything is prepared.
    pub(super) fn run(
        &mut self,
        pace: Pace,
        runtime: &Handle,
        begin: impl FnOnce() -> Result<Schedule>,
    ) -> Result<Sample> {
        let deltas = self.take(pace.count())?;
        let schedule = begin()?;
        let mut latencies = Latencies::new()?;
        for (index, batches) in (0..).zip(&deltas) {
            let due = schedule.due(index);
            sleep_until(due);
            let delay = due.elapsed();
            for batch in batches {
                runtime.block_on(self.store.apply(batch))?;
            }
            if index >= pace.unmeasured() {
                latencies.record(delay, due.elapsed());
            }
            if index % pace.rate == 0 {
                runtime.block_on(self.store.beat(Some(Lag::default())))?;
            }
        }
        Ok(latencies.sample(Duration::ZERO))
    }
}
