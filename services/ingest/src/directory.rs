//! The directory in memory: who owns which agent and DID, as of the end of `telephony.directory`.
//!
//! [`Reader`] follows the topic from its start and is its only writer here; everything else looks at a [`View`].
//! Invariant: a view says that it has caught up only once everything has been applied that was in the topic when the
//! reader began, so that no event is attributed by half a directory. There is no database on the hot path.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use helix_kit::{config::LogConfig, http::Readiness};
use helix_schemas::{
    codec::CodecError,
    directory::{Applied, Directory, DirectoryEntry, EntryKind},
    registry::{Registry, RegistryError},
    time::ReceivedAt,
    topics,
};
use rdkafka::{
    ClientConfig, ClientContext, Message, Offset, TopicPartitionList,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    consumer::{Consumer, ConsumerContext, StreamConsumer},
    error::KafkaError,
    message::BorrowedMessage,
};
use tokio::sync::watch;

use crate::{
    codecs::Codecs,
    metrics,
    publish::{Publisher, client_log},
};

/// The name of this part in `/readyz`.
pub const PART: &str = "directory";
/// The directory has one partition, so that all instances agree by its one order.
const PARTITION: i32 = 0;
/// While records keep coming, the view follows once none came for this long.
const SETTLE: Duration = Duration::from_millis(2);
/// Pause after an error of the client, which retries by itself.
const AFTER_ERROR: Duration = Duration::from_millis(200);

#[derive(Debug, Clone, Copy)]
struct Progress {
    next_offset: i64,
    caught_up: bool,
}

/// What the rest of ingest sees of the directory.
#[derive(Debug)]
pub struct View {
    current: ArcSwap<Directory>,
    progress: watch::Sender<Progress>,
}

impl Default for View {
    /// Nothing known yet.
    fn default() -> Self {
        let progress = watch::Sender::new(Progress { next_offset: 0, caught_up: false });
        Self { current: ArcSwap::default(), progress }
    }
}

impl View {
    /// A view of a directory that never changes, for tests.
    #[must_use]
    pub fn fixed(directory: &Directory) -> Self {
        let view = Self::default();
        view.publish(directory, 0, true);
        view
    }

    /// The directory as of now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Directory> {
        self.current.load_full()
    }

    /// Whether it may be used to attribute events.
    #[must_use]
    pub fn caught_up(&self) -> bool {
        self.progress.borrow().caught_up
    }

    /// Waits until the record at `offset` has been applied.
    pub async fn applied(&self, offset: i64) {
        let mut progress = self.progress.subscribe();
        // The sender is `self`: it cannot be gone.
        let _until = progress.wait_for(|progress| progress.next_offset > offset).await;
    }

    /// Tells of every change from now on, and of the present as the first one.
    #[must_use]
    pub fn changes(&self) -> Changes {
        let mut progress = self.progress.subscribe();
        progress.mark_changed();
        Changes(progress)
    }

    fn publish(&self, directory: &Directory, next_offset: i64, caught_up: bool) {
        let (workspaces, agents, dids) = directory.counts();
        metrics::directory(workspaces, agents, dids, next_offset);
        self.current.store(Arc::new(directory.clone()));
        self.progress.send_replace(Progress { next_offset, caught_up });
    }
}

/// Tells when a [`View`] has changed.
#[derive(Debug)]
pub struct Changes(watch::Receiver<Progress>);

impl Changes {
    /// Waits for a change since the last one that was told. Several at once are told as one.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // The view is gone: it changes no more.
            std::future::pending::<()>().await;
        }
    }
}

/// Turns librdkafka's callbacks into logs.
#[derive(Debug)]
struct ReaderContext;

impl ClientContext for ReaderContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client_log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // Asked for, to know when the directory has been read to its end.
        if error.rdkafka_error_code() == Some(rdkafka::types::RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        tracing::warn!(%error, reason, "the directory's consumer reports an error");
    }
}

impl ConsumerContext for ReaderContext {}

/// Follows the topic.
pub struct Reader {
    consumer: StreamConsumer<ReaderContext>,
    registry: Registry,
    publisher: Arc<Publisher>,
    view: Arc<View>,
    readiness: Readiness,
    directory: Directory,
    next_offset: i64,
    caught_up: bool,
    /// Keys whose newest record is a claim that was refused: compaction would keep the wrong owner.
    to_repair: BTreeMap<String, DirectoryEntry>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("next_offset", &self.next_offset).finish_non_exhaustive()
    }
}

impl Reader {
    /// A reader at the topic's start.
    ///
    /// # Errors
    /// Where librdkafka refuses a setting.
    pub fn new(
        log: &LogConfig,
        registry: Registry,
        publisher: Arc<Publisher>,
        view: Arc<View>,
        readiness: Readiness,
    ) -> Result<Self, KafkaError> {
        let mut settings = ClientConfig::new();
        settings.extend(log.connection());
        settings
            .set("client.id", "helix-ingest-directory")
            // Assigned by hand: no group is ever joined and nothing is committed, but the client wants a name.
            .set("group.id", "helix-ingest-directory")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .set("allow.auto.create.topics", "false")
            .set("fetch.wait.max.ms", "100")
            // A broker that comes back is found within this.
            .set("reconnect.backoff.max.ms", "1000");
        let consumer = StreamConsumer::from_config_and_context(&settings, ReaderContext)?;
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset(topics::DIRECTORY, PARTITION, Offset::Beginning)?;
        consumer.assign(&assignment)?;
        readiness.not_ready(PART, "the directory has not been read to its end yet");
        Ok(Self {
            consumer,
            registry,
            publisher,
            view,
            readiness,
            directory: Directory::default(),
            next_offset: 0,
            caught_up: false,
            to_repair: BTreeMap::new(),
        })
    }

    /// Follows the topic until it is dropped.
    pub async fn run(mut self, codecs: &Codecs) {
        let mut unpublished = false;
        loop {
            let received = if unpublished {
                match tokio::time::timeout(SETTLE, self.consumer.recv()).await {
                    Ok(received) => received.map(|message| message.detach()),
                    Err(_settled) => {
                        self.view.publish(&self.directory, self.next_offset, self.caught_up);
                        unpublished = false;
                        continue;
                    }
                }
            } else {
                self.consumer.recv().await.map(|message: BorrowedMessage<'_>| message.detach())
            };
            match received {
                Ok(message) => {
                    self.apply(codecs, message.key(), message.payload(), message.offset()).await;
                    self.next_offset = message.offset() + 1;
                    unpublished = true;
                }
                Err(KafkaError::PartitionEOF(_)) if !self.caught_up => {
                    self.caught_up = true;
                    self.view.publish(&self.directory, self.next_offset, true);
                    unpublished = false;
                    self.readiness.ready(PART);
                    tracing::info!(
                        topic = topics::DIRECTORY,
                        next_offset = self.next_offset,
                        workspaces = self.directory.workspaces().count(),
                        "the directory is read"
                    );
                    self.repair(codecs).await;
                }
                Err(KafkaError::PartitionEOF(_)) => {}
                Err(error) => {
                    tracing::warn!(%error, topic = topics::DIRECTORY, "the directory cannot be read further just now");
                    tokio::time::sleep(AFTER_ERROR).await;
                }
            }
        }
    }

    async fn apply(&mut self, codecs: &Codecs, key: Option<&[u8]>, value: Option<&[u8]>, offset: i64) {
        let key = String::from_utf8_lossy(key.unwrap_or_default()).into_owned();
        let entry = match value {
            Some(value) => self.decode(codecs, value, offset).await,
            None => tombstone(&key),
        };
        let Some(entry) = entry else {
            metrics::directory_unreadable();
            tracing::error!(
                topic = topics::DIRECTORY,
                partition = PARTITION,
                offset,
                "a directory record cannot be read"
            );
            return;
        };
        match self.directory.apply(&entry) {
            Applied::Refused { owner } => {
                let kept = DirectoryEntry { workspace: Some(owner), ..entry };
                self.to_repair.insert(key, kept);
            }
            Applied::Changed | Applied::Unchanged => {
                self.to_repair.remove(&key);
            }
        }
    }

    /// Decodes, as long as it takes the registry to answer where the record's schema is new to this build: to pass
    /// the record over would be to forget an owner.
    async fn decode(&self, codecs: &Codecs, value: &[u8], offset: i64) -> Option<DirectoryEntry> {
        loop {
            match self.registry.decode(&codecs.directory, value).await {
                Ok(entry) => return Some(entry),
                Err(RegistryError::Unreachable { .. }) => {
                    tracing::warn!(
                        topic = topics::DIRECTORY,
                        offset,
                        "the registry is needed to read on and cannot be reached"
                    );
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Err(RegistryError::Codec(CodecError::UnknownSchema(_) | CodecError::Schema { .. }))
                | Err(RegistryError::Codec(CodecError::NotFramed | CodecError::Datum { .. } | CodecError::Write(_)))
                | Err(RegistryError::Refused { .. }) => return None,
            }
        }
    }

    /// Writes the owner again over refused claims whose instance ended before it could.
    async fn repair(&mut self, codecs: &Codecs) {
        for (key, entry) in std::mem::take(&mut self.to_repair) {
            let written = match codecs.directory.encode(&entry) {
                Ok(value) => self.publisher.publish(topics::DIRECTORY, &key, &value).await.is_ok(),
                Err(_) => false,
            };
            tracing::info!(topic = topics::DIRECTORY, written, "the owner is written again over a refused claim");
        }
    }
}

/// A record without a value: released, as far as its key tells of what.
pub(crate) fn tombstone(key: &str) -> Option<DirectoryEntry> {
    let (entry, value) = key.split_once('/')?;
    let entry = EntryKind::try_from(entry.to_owned()).ok().filter(|kind| *kind != EntryKind::Workspace)?;
    let recorded_at = ReceivedAt::from_micros(0);
    Some(DirectoryEntry {
        entry,
        value: value.to_owned(),
        workspace: None,
        url: None,
        recorded_at,
        request_id: String::new(),
    })
}
