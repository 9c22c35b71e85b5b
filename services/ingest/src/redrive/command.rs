//! What the verbs of the command line share: an installation, its directory as it is now, and whoever waits for it.

use helix_kit::config::{Config, LogConfig};
use helix_schemas::{codec::Codec, directory::Directory, registry::Registry, topics};
use rdkafka::Message;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    RedriveError,
    reading::{Fetch, Scan, decode},
};
use crate::{codecs::Codecs, directory::tombstone, publish::Publisher};

/// Most bytes of records held at once.
pub(crate) const HELD_BYTES: usize = 4 << 20;
/// Most records read again at once.
pub(crate) const HELD_RECORDS: usize = 500;

/// Whoever waits for long work.
pub trait Watcher {
    /// A stretch of work of `total` steps begins.
    fn begin(&self, what: &'static str, total: u64);
    /// A step is done.
    fn step(&self);
    /// The stretch has ended.
    fn end(&self);
    /// Whether to stop between two records.
    fn stopped(&self) -> bool;
}

/// The log of an installation, and what is needed to read and write it.
#[derive(Debug)]
pub struct Installation {
    log: LogConfig,
    registry: Registry,
    codecs: Codecs,
}

impl Installation {
    /// Asks the registry for the schemas.
    ///
    /// # Errors
    /// [`RedriveError::Unreachable`].
    pub async fn open(config: &Config) -> Result<Self, RedriveError> {
        let registry = Registry::new(&config.registry.url);
        let codecs = Codecs::register(&registry).await?;
        Ok(Self::with(config, registry, codecs))
    }

    /// One whose schemas are known already, for tests.
    #[must_use]
    pub fn with(config: &Config, registry: Registry, codecs: Codecs) -> Self {
        // Records are sent one after the other: waiting for more to share a batch would only slow them.
        let log = LogConfig { linger: std::time::Duration::ZERO, ..config.log.clone() };
        Self { log, registry, codecs }
    }

    pub(crate) const fn codecs(&self) -> &Codecs {
        &self.codecs
    }

    pub(crate) fn publisher(&self) -> Result<Publisher, RedriveError> {
        Ok(Publisher::new(&self.log, false)?)
    }

    pub(crate) fn fetch(&self, topic: &'static str) -> Result<Fetch, RedriveError> {
        Ok(Fetch::new(&self.log, topic)?)
    }

    pub(crate) async fn decode<T: Serialize + DeserializeOwned>(
        &self,
        codec: &Codec<T>,
        value: &[u8],
    ) -> Result<Option<T>, RedriveError> {
        decode(&self.registry, codec, value).await
    }

    /// Reads a topic to its end and gives each record with its partition and offset; how many were unreadable.
    pub(crate) async fn read<T: Serialize + DeserializeOwned>(
        &self,
        topic: &'static str,
        codec: &Codec<T>,
        watcher: &dyn Watcher,
        mut each: impl FnMut(i32, i64, T),
    ) -> Result<usize, RedriveError> {
        let mut scan = Scan::open(&self.log, topic).await?;
        watcher.begin(topic, scan.span());
        let mut unreadable = 0;
        while let Some(message) = scan.next().await? {
            if watcher.stopped() {
                return Err(RedriveError::Interrupted);
            }
            watcher.step();
            match self.decode(codec, message.payload().unwrap_or_default()).await? {
                Some(record) => each(message.partition(), message.offset(), record),
                None => unreadable += 1,
            }
        }
        watcher.end();
        Ok(unreadable)
    }

    /// The directory as it is now.
    ///
    /// # Errors
    /// [`RedriveError::Unreachable`]; [`RedriveError::Codec`] where a record of it cannot be read: half a directory
    /// attributes nothing.
    pub async fn directory(&self, watcher: &dyn Watcher) -> Result<Directory, RedriveError> {
        let mut scan = Scan::open(&self.log, topics::DIRECTORY).await?;
        let mut directory = Directory::default();
        watcher.begin(topics::DIRECTORY, scan.span());
        while let Some(message) = scan.next().await? {
            if watcher.stopped() {
                return Err(RedriveError::Interrupted);
            }
            watcher.step();
            let entry = match message.payload() {
                Some(value) => Some(self.registry.decode(&self.codecs.directory, value).await?),
                None => tombstone(&String::from_utf8_lossy(message.key().unwrap_or_default())),
            };
            if let Some(entry) = entry {
                directory.apply(&entry);
            }
        }
        watcher.end();
        Ok(directory)
    }
}
