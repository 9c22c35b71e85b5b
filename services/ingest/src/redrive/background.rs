//! The task in every ingest instance that redrives unrouted events by itself, as soon as the directory can attribute
//! them.
//!
//! The instances share the partitions of `telephony.unrouted` by a consumer group, so that one acts per partition. Each
//! folds its partitions into an [`Index`] and looks again when the directory changes or a record comes. Nothing is
//! redriven before the partition has been read to its end (a mark may lie ahead) and the directory too (half a directory
//! sees no conflict). Where two instances act on a partition after all, around a rebalance, facts are repeated under
//! their ids.
//!
//! The group's committed offset is where a newcomer begins to read: the first event that waits, never past it. It only
//! saves reading. Events that arrived behind the back of the directory, attributed just before it learnt, are due as soon
//! as they are read.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use helix_kit::config::LogConfig;
use helix_schemas::{
    directory::Directory, names::WorkspaceId, registry::Registry, time::ReceivedAt, topics, unrouted::UnroutedEvent,
};
use rdkafka::{
    ClientConfig, ClientContext, Message, Offset, TopicPartitionList,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance, StreamConsumer},
    error::KafkaError,
    message::OwnedMessage,
    topic_partition_list::TopicPartitionListElem,
    types::RDKafkaErrorCode,
};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::{
    RedriveError,
    append::{Attributed, append},
    index::Index,
    reading::{Fetch, decode},
};
use crate::{
    codecs::Codecs,
    directory::View,
    metrics,
    outlet::{Mode, Outlet},
    publish::{Publisher, client_log},
    route::{CONFLICT, Destination, UNKNOWN},
};

/// The consumer group whose members share the partitions.
pub const GROUP: &str = "helix-redrive";
/// Most events of a pass, and most bytes of them held at once.
const PASS_EVENTS: usize = 500;
const PASS_BYTES: usize = 4 << 20;
/// Pause after a pass that broke off.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// Pause after an error of the client, which retries by itself.
const AFTER_ERROR: Duration = Duration::from_millis(200);
/// How often the gauges are set and the group's offsets committed.
const REPORT: Duration = Duration::from_secs(2);

/// What the group decided.
#[derive(Debug)]
enum Moved {
    Assigned(Vec<i32>),
    Revoked(Vec<i32>),
}

/// Turns librdkafka's callbacks into logs, and rebalances into events of the task.
#[derive(Debug)]
struct GroupContext {
    moved: mpsc::UnboundedSender<Moved>,
}

impl ClientContext for GroupContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client_log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::PartitionEOF) {
            tracing::warn!(%error, reason, "the redrive's consumer reports an error");
        }
    }
}

impl ConsumerContext for GroupContext {
    fn pre_rebalance(&self, _consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let partitions =
            |list: &TopicPartitionList| list.elements().iter().map(TopicPartitionListElem::partition).collect();
        let moved = match rebalance {
            Rebalance::Assign(list) => Moved::Assigned(partitions(list)),
            Rebalance::Revoke(list) => Moved::Revoked(partitions(list)),
            Rebalance::Error(_) => return,
        };
        // The task is gone only while the consumer is being dropped.
        let _gone = self.moved.send(moved);
    }
}

/// One partition of `telephony.unrouted` that this instance acts for.
#[derive(Debug, Default)]
struct Partition {
    index: Index,
    due: BTreeMap<i64, WorkspaceId>,
    /// Where it has been read to; `None` before the first record or the end was seen.
    next_offset: Option<i64>,
    /// Whether it has been read to its end once: before that, a mark may lie ahead.
    caught_up: bool,
    committed: Option<i64>,
}

impl Partition {
    fn apply(&mut self, offset: i64, record: &UnroutedEvent, directory: &Directory) {
        if let Some(redriven) = &record.redriven {
            self.due.remove(&redriven.offset);
        }
        if let Some(names) = self.index.apply(offset, record)
            && let Destination::Workspace(workspace) = names.destination(directory)
        {
            self.due.insert(offset, workspace);
        }
    }

    fn done(&mut self, offset: i64) {
        self.index.done(offset);
        self.due.remove(&offset);
    }

    /// What may be committed: the first event that waits, else where reading stands.
    fn resume_at(&self) -> Option<i64> {
        self.index.first().map(|(offset, _)| offset).or(self.next_offset)
    }
}

/// The task.
pub struct Redriver {
    consumer: StreamConsumer<GroupContext>,
    moved: mpsc::UnboundedReceiver<Moved>,
    work: Work,
}

impl std::fmt::Debug for Redriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redriver")
    }
}

/// Everything but the consumer, which is polled while this is changed.
struct Work {
    fetch: Fetch,
    registry: Registry,
    codecs: Arc<OnceLock<Codecs>>,
    publisher: Arc<Publisher>,
    outlet: Arc<Outlet>,
    view: Arc<View>,
    partitions: BTreeMap<i32, Partition>,
    /// After a failure: not before this.
    not_before: Option<Instant>,
    told: bool,
}

impl Redriver {
    /// A member of the group, once it runs. Does not wait for a broker.
    ///
    /// # Errors
    /// Where librdkafka refuses a setting.
    pub fn new(
        log: &LogConfig,
        registry: Registry,
        codecs: Arc<OnceLock<Codecs>>,
        publisher: Arc<Publisher>,
        outlet: Arc<Outlet>,
        view: Arc<View>,
    ) -> Result<Self, KafkaError> {
        let (sender, moved) = mpsc::unbounded_channel();
        let mut settings = ClientConfig::new();
        settings.extend(log.connection());
        settings
            .set("client.id", "helix-ingest-redrive")
            .set("group.id", GROUP)
            .set("partition.assignment.strategy", "cooperative-sticky")
            // An instance that was killed is replaced after this.
            .set("session.timeout.ms", "10000")
            .set("heartbeat.interval.ms", "2000")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            // The topic is kept for ever: without a committed offset all of it is read, and nothing is passed over.
            .set("auto.offset.reset", "earliest")
            .set("allow.auto.create.topics", "false")
            // A topic that is made after us is found within this.
            .set("topic.metadata.refresh.interval.ms", "10000")
            .set("queued.max.messages.kbytes", "8192")
            .set("fetch.wait.max.ms", "100")
            .set("reconnect.backoff.max.ms", "1000");
        let consumer = StreamConsumer::from_config_and_context(&settings, GroupContext { moved: sender })?;
        let fetch = Fetch::new(log, topics::UNROUTED)?;
        let partitions = BTreeMap::new();
        let work = Work { fetch, registry, codecs, publisher, outlet, view, partitions, not_before: None, told: false };
        Ok(Self { consumer, moved, work })
    }

    /// Redrives until it is dropped.
    pub async fn run(self) {
        let Self { consumer, mut moved, mut work } = self;
        let mut changes = work.view.changes();
        // The directory's reader has the schemas; without them nothing can be read here either.
        while !work.view.caught_up() {
            changes.next().await;
        }
        let codecs = work.codecs.clone();
        let Some(codecs) = codecs.get() else {
            tracing::error!("the directory was read without schemas; nothing is redriven");
            return;
        };
        while let Err(error) = consumer.subscribe(&[topics::UNROUTED]) {
            tracing::warn!(%error, topic = topics::UNROUTED, "the redrive cannot join its group yet");
            tokio::time::sleep(AFTER_FAILURE).await;
        }
        let mut report = interval(REPORT);
        report.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // Rebalances first: a record belongs to the assignment that was told before it.
                biased;
                Some(moved) = moved.recv() => work.moved(moved),
                received = consumer.recv() => match received.map(|message| message.detach()) {
                    Ok(message) => work.apply(codecs, &message).await,
                    Err(KafkaError::PartitionEOF(partition)) => work.caught_up(partition),
                    Err(error) => {
                        tracing::warn!(%error, topic = topics::UNROUTED, "unrouted events cannot be read just now");
                        tokio::time::sleep(AFTER_ERROR).await;
                    }
                },
                () = changes.next() => work.look_again(),
                () = until(work.not_before) => work.not_before = None,
                _ = report.tick() => work.report(&consumer),
            }
            if work.not_before.is_none() {
                work.pass(codecs).await;
            }
        }
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

impl Work {
    fn moved(&mut self, moved: Moved) {
        match moved {
            Moved::Assigned(partitions) => {
                for partition in partitions {
                    self.partitions.insert(partition, Partition::default());
                }
            }
            Moved::Revoked(partitions) => self.partitions.retain(|partition, _| !partitions.contains(partition)),
        }
    }

    async fn apply(&mut self, codecs: &Codecs, message: &OwnedMessage) {
        let (number, offset) = (message.partition(), message.offset());
        if !self.partitions.contains_key(&number) {
            return;
        }
        let record = self.decode(codecs, message).await;
        let directory = self.view.snapshot();
        let Some(partition) = self.partitions.get_mut(&number) else { return };
        partition.next_offset = Some(offset + 1);
        if let Some(record) = record {
            partition.apply(offset, &record, &directory);
        }
    }

    /// Decodes, as long as it takes the registry to answer: to pass an event over would be to forget it.
    async fn decode(&self, codecs: &Codecs, message: &OwnedMessage) -> Option<UnroutedEvent> {
        let value = message.payload().unwrap_or_default();
        loop {
            match decode(&self.registry, &codecs.unrouted, value).await {
                Ok(Some(record)) => return Some(record),
                Ok(None) => {
                    metrics::redrive_unreadable();
                    tracing::error!(
                        topic = topics::UNROUTED,
                        partition = message.partition(),
                        offset = message.offset(),
                        "an unrouted record cannot be read"
                    );
                    return None;
                }
                Err(error) => {
                    tracing::warn!(%error, topic = topics::UNROUTED, "the registry is needed to read on");
                    tokio::time::sleep(AFTER_FAILURE).await;
                }
            }
        }
    }

    fn caught_up(&mut self, partition: i32) {
        if let Some(partition) = self.partitions.get_mut(&partition) {
            partition.caught_up = true;
        }
    }

    /// The directory has changed: which events are due now?
    fn look_again(&mut self) {
        let directory = self.view.snapshot();
        for partition in self.partitions.values_mut() {
            partition.due = partition.index.due(&directory);
        }
    }

    /// Redrives the first due events of one partition. Not while records go to the spool: the log would not take these
    /// either, and each attempt might be a second copy.
    async fn pass(&mut self, codecs: &Codecs) {
        if self.outlet.mode() != Mode::Direct {
            self.not_before = Some(Instant::now() + AFTER_FAILURE);
            return;
        }
        let due = self.partitions.iter().find(|(_, partition)| partition.caught_up && !partition.due.is_empty());
        let Some((number, partition)) = due else { return };
        let number = *number;
        let begun = Instant::now();
        let due: BTreeMap<i64, WorkspaceId> =
            partition.due.iter().take(PASS_EVENTS).map(|(offset, owner)| (*offset, owner.clone())).collect();
        match self.redrive(codecs, number, &due).await {
            Ok((events, workspaces)) => {
                self.told = false;
                let left = self.partitions.get(&number).map_or(0, |partition| partition.due.len());
                tracing::info!(
                    topic = topics::UNROUTED,
                    partition = number,
                    events,
                    workspaces,
                    left,
                    duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
                    "unrouted events became facts"
                );
            }
            Err(error) => {
                metrics::redrive_failed(if matches!(error, RedriveError::Append(_)) { "append" } else { "read" });
                if !self.told {
                    tracing::warn!(
                        %error,
                        topic = topics::UNROUTED,
                        partition = number,
                        "a redrive broke off; it is tried again and nothing is lost"
                    );
                    self.told = true;
                }
                if self.publisher.is_beyond_repair() {
                    self.outlet.producer_is_beyond_repair();
                }
                self.not_before = Some(Instant::now() + AFTER_FAILURE);
            }
        }
    }

    /// How many events became facts, of how many workspaces.
    async fn redrive(
        &mut self,
        codecs: &Codecs,
        number: i32,
        due: &BTreeMap<i64, WorkspaceId>,
    ) -> Result<(usize, usize), RedriveError> {
        let offsets: Vec<i64> = due.keys().copied().collect();
        let fetched = self.fetch.read(number, &offsets, PASS_BYTES).await?;
        let mut events = Vec::with_capacity(fetched.records.len());
        let mut lost = fetched.gone;
        for (offset, value) in fetched.records {
            match (decode(&self.registry, &codecs.unrouted, &value).await?, due.get(&offset)) {
                (Some(event), Some(workspace)) => {
                    events.push(Attributed { offset, workspace: workspace.clone(), event });
                }
                (None, _) | (_, None) => lost.push(offset),
            }
        }
        let outcome = append(&self.publisher, codecs, events).await;
        let Some(partition) = self.partitions.get_mut(&number) else { return Ok((0, 0)) };
        for offset in lost {
            metrics::redrive_unreadable();
            tracing::error!(
                topic = topics::UNROUTED,
                partition = number,
                offset,
                "an unrouted event is gone from the log"
            );
            partition.done(offset);
        }
        let mut workspaces: BTreeMap<WorkspaceId, usize> = BTreeMap::new();
        for (offset, workspace) in outcome.done {
            partition.done(offset);
            *workspaces.entry(workspace).or_default() += 1;
        }
        for (workspace, count) in &workspaces {
            metrics::redriven(workspace, *count);
        }
        match outcome.failed {
            Some(error) => Err(error),
            None => Ok((workspaces.values().sum(), workspaces.len())),
        }
    }

    /// Sets the gauges and commits where a newcomer should begin.
    fn report(&mut self, consumer: &StreamConsumer<GroupContext>) {
        let directory = self.view.snapshot();
        let (mut unknown, mut conflict, mut due) = (0, 0, 0);
        let mut oldest: Option<ReceivedAt> = None;
        let mut offsets = TopicPartitionList::new();
        for (number, partition) in &mut self.partitions {
            let reasons = partition.index.reasons(&directory);
            unknown += reasons.get(UNKNOWN).copied().unwrap_or_default();
            conflict += reasons.get(CONFLICT).copied().unwrap_or_default();
            due += partition.due.len();
            if let Some((_, received_at)) = partition.index.first() {
                oldest = Some(oldest.map_or(received_at, |known| known.min(received_at)));
            }
            let resume_at = partition.resume_at().filter(|_| partition.caught_up);
            if let Some(offset) = resume_at.filter(|offset| partition.committed != Some(*offset))
                && offsets.add_partition_offset(topics::UNROUTED, *number, Offset::Offset(offset)).is_ok()
            {
                partition.committed = Some(offset);
            }
        }
        let age = oldest.map_or(0, |oldest| (ReceivedAt::now().micros() - oldest.micros()).max(0) / 1_000_000);
        metrics::unrouted_pending(&[(UNKNOWN, unknown), (CONFLICT, conflict), ("due", due)], age);
        if offsets.count() > 0
            && let Err(error) = consumer.commit(&offsets, CommitMode::Async)
        {
            // It only saves reading, and the next one makes up for it.
            tracing::debug!(%error, "the redrive's place could not be noted");
        }
    }
}
