//! A spool: records that the log has not acknowledged, on this machine's own disk, in the order they were taken. Ingest keeps
//! events in one, each sidecar its audit facts.
//!
//! Knows neither Kafka nor HTTP. One thread owns the file: it writes, and removes, whatever is waiting in one transaction, which
//! is one fsync, and answers each who asked only after that. Bounded by the bytes it holds and by the space the disk has left.
//! A fault of the disk closes the file; the next use opens it again, which undoes what was half written. A file that
//! cannot be opened is never removed: it may hold what somebody was told is kept. One that its process did not close is told
//! when it is opened: what was half written is undone then, and nobody was told that it is kept.

use std::{
    fmt,
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use tokio::sync::{mpsc, oneshot};

/// Sequence number to [`Entry`], as [`Entry::to_bytes`] writes it.
const RECORDS: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("records");
/// Small things that must survive with the records.
const NOTES: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("notes");
const FILE: &str = "spool.redb";
/// Most writes of one transaction.
const GROUP: usize = 4096;
/// Writes stop while the disk has no more than this left, before it is full for everybody.
const RESERVE: u64 = 64 * 1024 * 1024;
/// The file is opened again no sooner than this after it failed.
const REOPEN: Duration = Duration::from_secs(1);
const CACHE: usize = 8 * 1024 * 1024;
/// What an entry costs beside its key and value, for the bound.
const OVERHEAD: u64 = 64;

/// One record as it waits.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its topic.
    pub topic: String,
    /// Its record key.
    pub key: String,
    /// Its framed value.
    pub value: Vec<u8>,
    /// When it was put here, UTC microseconds.
    pub at: i64,
}

impl fmt::Debug for Entry {
    /// Neither key nor value: they name people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("topic", &self.topic).field("at", &self.at).finish_non_exhaustive()
    }
}

impl Entry {
    fn weight(&self) -> u64 {
        u64::try_from(self.topic.len() + self.key.len() + self.value.len()).unwrap_or(u64::MAX) + OVERHEAD
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.topic.len() + self.key.len() + self.value.len() + 16);
        bytes.extend_from_slice(&self.at.to_be_bytes());
        for text in [&self.topic, &self.key] {
            bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes.extend_from_slice(&self.value);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (at, rest) = bytes.split_first_chunk::<8>()?;
        let (topic, rest) = text(rest)?;
        let (key, rest) = text(rest)?;
        Some(Self { topic, key, value: rest.to_vec(), at: i64::from_be_bytes(*at) })
    }
}

fn text(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (text, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    Some((String::from_utf8(text.to_vec()).ok()?, rest))
}

/// Why the spool did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SpoolError {
    /// It holds as much as it may, or the disk has no more to give.
    #[error("the spool is full")]
    Full,
    /// Its file cannot be written, read or opened.
    #[error("the spool's file cannot be used: {0}")]
    Broken(String),
    /// Its thread has ended.
    #[error("the spool is closed")]
    Closed,
}

type Answer<T> = oneshot::Sender<Result<T, SpoolError>>;

enum Command {
    Put { sequence: u64, entry: Entry, answer: Answer<()> },
    Read { most: usize, most_bytes: usize, answer: Answer<Vec<(u64, Entry)>> },
    Remove { sequences: Vec<u64>, answer: Answer<()> },
    Note { name: &'static str, value: Vec<u8>, answer: Answer<()> },
    Recall { name: &'static str, answer: Answer<Option<Vec<u8>>> },
    Close { answer: Answer<()> },
}

/// How full it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fill {
    /// Records.
    pub records: u64,
    /// Records on their way to the disk.
    pub arriving: u64,
    /// The bytes of both.
    pub bytes: u64,
    /// Most bytes.
    pub limit: u64,
    /// When the oldest was put there, UTC microseconds.
    pub oldest: Option<i64>,
    /// How often this process has opened a file that had not been closed in order.
    pub repairs: u64,
    /// Why it cannot be used, where it cannot.
    pub fault: Option<String>,
}

impl Fill {
    /// Whether a record would be taken.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.fault.is_none() && self.bytes < self.limit
    }
}

/// Moved together, so that a record that gets there is never counted twice, or not at all.
#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    /// In the file.
    records: u64,
    /// On their way to it.
    arriving: u64,
}

#[derive(Debug, Default)]
struct Gauge {
    counts: Mutex<Counts>,
    /// Of what is in the file.
    held: AtomicU64,
    /// Of what is on its way to it.
    reserved: AtomicU64,
    /// Whether the disk has no more than [`RESERVE`] left.
    low: AtomicBool,
    /// 0: none.
    oldest: AtomicI64,
    repairs: AtomicU64,
    fault: RwLock<Option<String>>,
}

impl Gauge {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A handle; clones share the file.
#[derive(Clone)]
pub struct Spool {
    commands: mpsc::UnboundedSender<Command>,
    folder: Arc<Path>,
    gauge: Arc<Gauge>,
    limit: u64,
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spool").field("fill", &self.fill()).finish_non_exhaustive()
    }
}

/// A put on its way to the disk.
#[derive(Debug)]
pub struct Put(oneshot::Receiver<Result<(), SpoolError>>);

impl Put {
    /// Waits until the disk has it.
    ///
    /// # Errors
    /// [`SpoolError`]; it is not kept.
    pub async fn kept(self) -> Result<(), SpoolError> {
        self.0.await.unwrap_or(Err(SpoolError::Closed))
    }
}

impl Spool {
    /// Opens the spool of a folder, which is made where it is missing, and tells the highest sequence number it holds.
    ///
    /// A file that cannot be opened does not keep anybody from starting: every use is then refused, and
    /// [`Fill::fault`] says why.
    ///
    /// # Errors
    /// Where the thread cannot be started.
    pub fn open(folder: &Path, limit: u64) -> std::io::Result<(Self, u64)> {
        let gauge = Arc::new(Gauge::default());
        let (commands, inbox) = mpsc::unbounded_channel();
        let mut keeper = Keeper { folder: folder.to_path_buf(), file: None, tried: None, gauge: gauge.clone() };
        let highest = match keeper.open() {
            Ok(highest) => highest,
            Err(error) => {
                tracing::error!(%error, folder = %folder.display(), "the spool cannot be used");
                0
            }
        };
        std::thread::Builder::new().name("spool".to_owned()).spawn(move || keeper.run(inbox))?;
        Ok((Self { commands, folder: folder.into(), gauge, limit }, highest))
    }

    /// Puts one record, at once in the order of the calls. Sequence numbers decide the order in which they are read.
    ///
    /// # Errors
    /// [`SpoolError::Full`] at once.
    pub fn put(&self, sequence: u64, entry: Entry) -> Result<Put, SpoolError> {
        let weight = entry.weight();
        let reserved = self.gauge.reserved.fetch_add(weight, Ordering::Relaxed) + weight;
        if self.gauge.held.load(Ordering::Relaxed) + reserved > self.limit {
            self.gauge.reserved.fetch_sub(weight, Ordering::Relaxed);
            return Err(SpoolError::Full);
        }
        let (answer, told) = oneshot::channel();
        self.gauge.counts().arriving += 1;
        if self.commands.send(Command::Put { sequence, entry, answer }).is_err() {
            self.gauge.reserved.fetch_sub(weight, Ordering::Relaxed);
            self.gauge.counts().arriving -= 1;
            return Err(SpoolError::Closed);
        }
        Ok(Put(told))
    }

    async fn ask<T>(&self, command: impl FnOnce(Answer<T>) -> Command) -> Result<T, SpoolError> {
        let (answer, told) = oneshot::channel();
        self.commands.send(command(answer)).map_err(|_| SpoolError::Closed)?;
        told.await.unwrap_or(Err(SpoolError::Closed))
    }

    /// The first records, in order: at most so many, and at least one of at most so many bytes.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub async fn read(&self, most: usize, most_bytes: usize) -> Result<Vec<(u64, Entry)>, SpoolError> {
        self.ask(|answer| Command::Read { most, most_bytes, answer }).await
    }

    /// Removes records.
    ///
    /// # Errors
    /// [`SpoolError`]; they are then read again.
    pub async fn remove(&self, sequences: Vec<u64>) -> Result<(), SpoolError> {
        self.ask(|answer| Command::Remove { sequences, answer }).await
    }

    /// Writes what was put and closes the file, for an orderly end: after it every use is refused.
    ///
    /// # Errors
    /// [`SpoolError::Closed`] where it was closed before.
    pub async fn close(&self) -> Result<(), SpoolError> {
        self.ask(|answer| Command::Close { answer }).await
    }

    /// Asks the disk how much it has left.
    pub fn look_at_the_disk(&self) {
        self.gauge.low.store(!has_space(&self.folder, 0), Ordering::Relaxed);
    }

    /// Keeps a small thing beside the records.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub async fn note(&self, name: &'static str, value: Vec<u8>) -> Result<(), SpoolError> {
        self.ask(|answer| Command::Note { name, value, answer }).await
    }

    /// What was noted under a name.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub async fn recall(&self, name: &'static str) -> Result<Option<Vec<u8>>, SpoolError> {
        self.ask(|answer| Command::Recall { name, answer }).await
    }

    /// How full it is, without asking the disk.
    #[must_use]
    pub fn fill(&self) -> Fill {
        let oldest = self.gauge.oldest.load(Ordering::Relaxed);
        let fault = self.gauge.fault.read().unwrap_or_else(PoisonError::into_inner).clone();
        let low = self.gauge.low.load(Ordering::Relaxed);
        let Counts { records, arriving } = *self.gauge.counts();
        Fill {
            records,
            arriving,
            bytes: self.gauge.held.load(Ordering::Relaxed) + self.gauge.reserved.load(Ordering::Relaxed),
            limit: self.limit,
            oldest: (oldest != 0).then_some(oldest),
            repairs: self.gauge.repairs.load(Ordering::Relaxed),
            fault: fault.or_else(|| low.then(|| "its disk is full".to_owned())),
        }
    }
}

/// What waits for the next transaction.
#[derive(Default)]
struct Group {
    puts: Vec<(u64, Entry, Answer<()>)>,
    removals: Vec<(Vec<u64>, Answer<()>)>,
}

/// What a transaction has removed, and what it leaves.
#[derive(Clone, Copy, Default)]
struct Removed {
    records: u64,
    bytes: u64,
    /// When the oldest that is left was put there; 0: none is.
    oldest: i64,
}

impl Group {
    fn is_empty(&self) -> bool {
        self.puts.is_empty() && self.removals.is_empty()
    }

    fn arriving(&self) -> u64 {
        self.puts.iter().map(|(_, entry, _)| entry.weight()).sum()
    }
}

/// Owns the file.
struct Keeper {
    folder: PathBuf,
    file: Option<Database>,
    tried: Option<Instant>,
    gauge: Arc<Gauge>,
}

/// Whether a disk has room for so many bytes beside the reserve. One that does not say is believed to have.
fn has_space(folder: &Path, bytes: u64) -> bool {
    rustix::fs::statvfs(folder).map_or(true, |disk| disk.f_bavail.saturating_mul(disk.f_frsize) >= RESERVE + bytes)
}

fn broken(error: impl fmt::Display) -> SpoolError {
    SpoolError::Broken(error.to_string())
}

impl Keeper {
    fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Command>) {
        let mut group = Group::default();
        while let Some(command) = inbox.blocking_recv() {
            let mut next = Some(command);
            while let Some(command) = next.take() {
                match command {
                    Command::Put { sequence, entry, answer } => group.puts.push((sequence, entry, answer)),
                    Command::Remove { sequences, answer } => group.removals.push((sequences, answer)),
                    Command::Read { most, most_bytes, answer } => {
                        self.write(&mut group);
                        self.tell(answer, |keeper| keeper.read(most, most_bytes));
                    }
                    Command::Note { name, value, answer } => {
                        self.write(&mut group);
                        self.tell(answer, |keeper| keeper.note(name, &value));
                    }
                    Command::Recall { name, answer } => {
                        self.write(&mut group);
                        self.tell(answer, |keeper| keeper.recall(name));
                    }
                    Command::Close { answer } => {
                        self.write(&mut group);
                        drop(self.file.take());
                        inbox.close();
                        let _told = answer.send(Ok(()));
                        return;
                    }
                }
                if group.puts.len() < GROUP {
                    next = inbox.try_recv().ok();
                }
            }
            self.write(&mut group);
        }
    }

    /// Opens the file and counts what is in it; the highest sequence number.
    fn open(&mut self) -> Result<u64, SpoolError> {
        self.tried = Some(Instant::now());
        let opened = self.guarded(Self::try_open);
        let mut fault = self.gauge.fault.write().unwrap_or_else(PoisonError::into_inner);
        *fault = opened.as_ref().err().map(ToString::to_string);
        opened
    }

    fn try_open(&mut self) -> Result<u64, SpoolError> {
        // What is in it names people: nobody else may enter.
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(broken)?;
        let file = self.database()?;
        let transaction = file.begin_write().map_err(broken)?;
        let (mut records, mut bytes, mut oldest, mut highest) = (0_u64, 0_u64, None, 0_u64);
        {
            let table = transaction.open_table(RECORDS).map_err(broken)?;
            transaction.open_table(NOTES).map_err(broken)?;
            for row in table.iter().map_err(broken)? {
                let (sequence, value) = row.map_err(broken)?;
                let entry = Entry::from_bytes(value.value()).ok_or_else(|| broken("a record in it cannot be read"))?;
                records += 1;
                bytes += entry.weight();
                oldest.get_or_insert(entry.at);
                highest = highest.max(sequence.value());
            }
        }
        transaction.commit().map_err(broken)?;
        self.gauge.counts().records = records;
        self.gauge.held.store(bytes, Ordering::Relaxed);
        self.gauge.oldest.store(oldest.unwrap_or(0), Ordering::Relaxed);
        self.file = Some(file);
        Ok(highest)
    }

    /// Opens the store, which undoes what was half written where nobody closed it.
    fn database(&self) -> Result<Database, SpoolError> {
        let repaired = Arc::new(AtomicBool::new(false));
        let noticed = repaired.clone();
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE).set_repair_callback(move |_| noticed.store(true, Ordering::Relaxed));
        let file = builder.create(self.folder.join(FILE)).map_err(broken)?;
        if repaired.load(Ordering::Relaxed) {
            self.gauge.repairs.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(folder = %self.folder.display(), "the spool was not closed; what was half written is undone");
        }
        Ok(file)
    }

    /// The file, opened again where it was closed after a fault.
    fn opened(&mut self) -> Result<&Database, SpoolError> {
        if self.file.is_none() {
            if self.tried.is_some_and(|tried| tried.elapsed() < REOPEN) {
                let fault = self.gauge.fault.read().unwrap_or_else(PoisonError::into_inner).clone();
                return Err(SpoolError::Broken(fault.unwrap_or_else(|| "it failed just now".to_owned())));
            }
            self.open()?;
            tracing::info!(folder = %self.folder.display(), "the spool can be used again");
        }
        self.file.as_ref().ok_or(SpoolError::Closed)
    }

    /// After a fault nothing may be written behind what is perhaps half written.
    fn close(&mut self, error: &SpoolError) {
        if self.file.take().is_some() {
            tracing::error!(%error, folder = %self.folder.display(), "the spool failed; it is opened again");
            *self.gauge.fault.write().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
        }
    }

    fn write(&mut self, group: &mut Group) {
        if !group.puts.is_empty() && !has_space(&self.folder, group.arriving()) {
            self.gauge.low.store(true, Ordering::Relaxed);
            self.answer_puts(group, &Err(SpoolError::Full));
        }
        if group.is_empty() {
            return;
        }
        let outcome = self.guarded(|keeper| keeper.try_write(group));
        if let Err(error @ SpoolError::Broken(_)) = &outcome {
            self.close(error);
        }
        let removed = outcome.as_ref().copied().unwrap_or_default();
        let outcome = outcome.map(drop);
        self.answer_puts(group, &outcome);
        // After what was put: it may be removed in the same transaction.
        self.gauge.counts().records -= removed.records;
        self.gauge.held.fetch_sub(removed.bytes, Ordering::Relaxed);
        for (_, answer) in group.removals.drain(..) {
            let _told = answer.send(outcome.clone());
        }
    }

    fn answer_puts(&self, group: &mut Group, outcome: &Result<(), SpoolError>) {
        let count = u64::try_from(group.puts.len()).unwrap_or(0);
        {
            let mut counts = self.gauge.counts();
            counts.arriving -= count;
            counts.records += if outcome.is_ok() { count } else { 0 };
        }
        for (_, entry, answer) in group.puts.drain(..) {
            self.gauge.reserved.fetch_sub(entry.weight(), Ordering::Relaxed);
            // Whoever asked may have gone; the record is kept all the same.
            let _told = answer.send(outcome.clone());
        }
    }

    /// Runs work on the store, which may panic over a damaged file: that ends this attempt, not the thread.
    fn guarded<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, SpoolError>) -> Result<T, SpoolError> {
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(self)));
        done.unwrap_or_else(|_| Err(SpoolError::Broken("the store panicked".to_owned())))
    }

    fn try_write(&mut self, group: &Group) -> Result<Removed, SpoolError> {
        let file = self.opened()?;
        let transaction = file.begin_write().map_err(broken)?;
        let removed = {
            let mut table = transaction.open_table(RECORDS).map_err(broken)?;
            for (sequence, entry, _) in &group.puts {
                // One that is there already is a record that somebody was told is kept.
                if table.insert(sequence, entry.to_bytes().as_slice()).map_err(broken)?.is_some() {
                    return Err(broken("a sequence number is taken"));
                }
            }
            let mut removed = Removed::default();
            for sequence in group.removals.iter().flat_map(|(sequences, _)| sequences) {
                if let Some(value) = table.remove(sequence).map_err(broken)? {
                    removed.records += 1;
                    removed.bytes += Entry::from_bytes(value.value()).map_or(0, |entry| entry.weight());
                }
            }
            let first = table.first().map_err(broken)?;
            removed.oldest = first.and_then(|(_, value)| Entry::from_bytes(value.value())).map_or(0, |entry| entry.at);
            removed
        };
        transaction.commit().map_err(broken)?;
        self.gauge.held.fetch_add(group.arriving(), Ordering::Relaxed);
        self.gauge.oldest.store(removed.oldest, Ordering::Relaxed);
        Ok(removed)
    }

    fn tell<T>(&mut self, answer: Answer<T>, work: impl FnOnce(&mut Self) -> Result<T, SpoolError>) {
        let outcome = self.guarded(work);
        if let Err(error @ SpoolError::Broken(_)) = &outcome {
            self.close(error);
        }
        let _told = answer.send(outcome);
    }

    fn read(&mut self, most: usize, most_bytes: usize) -> Result<Vec<(u64, Entry)>, SpoolError> {
        let transaction = self.opened()?.begin_read().map_err(broken)?;
        let table = transaction.open_table(RECORDS).map_err(broken)?;
        let (mut found, mut bytes) = (Vec::new(), 0);
        for row in table.iter().map_err(broken)? {
            let (sequence, value) = row.map_err(broken)?;
            bytes += value.value().len();
            if found.len() == most || (bytes > most_bytes && !found.is_empty()) {
                break;
            }
            let entry = Entry::from_bytes(value.value()).ok_or_else(|| broken("a record in it cannot be read"))?;
            found.push((sequence.value(), entry));
        }
        Ok(found)
    }

    fn note(&mut self, name: &str, value: &[u8]) -> Result<(), SpoolError> {
        let transaction = self.opened()?.begin_write().map_err(broken)?;
        transaction.open_table(NOTES).map_err(broken)?.insert(name, value).map_err(broken)?;
        transaction.commit().map_err(broken)
    }

    fn recall(&mut self, name: &str) -> Result<Option<Vec<u8>>, SpoolError> {
        let transaction = self.opened()?.begin_read().map_err(broken)?;
        let table = transaction.open_table(NOTES).map_err(broken)?;
        Ok(table.get(name).map_err(broken)?.map(|value| value.value().to_vec()))
    }
}
