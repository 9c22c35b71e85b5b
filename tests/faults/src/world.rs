//! What a case happens in: one stack for all, and for each case a topic that it fills and reads back by itself.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use helix_kit::config::Config;
use helix_schemas::{codec::Codec, fact::Fact, registry::Registry};
use helix_tests::cli;
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseRecord, Producer, ThreadedProducer},
};

const COMPONENTS: &str = "kafka,registry,postgres,clickhouse,redis-ramaiah";
const PATIENCE: Duration = Duration::from_secs(30);

/// The stack.
#[derive(Debug)]
pub struct World {
    home: PathBuf,
    /// What the services would read.
    pub config: Config,
    /// The administrator's URL of Postgres.
    pub postgres_admin: String,
    /// The program with the verb `project`.
    pub projector: PathBuf,
    codec: Codec<Fact>,
}

/// A fact as it lies in a topic.
#[derive(Debug, Clone)]
pub struct Placed {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// The fact.
    pub fact: Fact,
}

impl World {
    /// Starts the stores and the log on free ports in a new home under the target folder.
    ///
    /// # Errors
    /// With what `helix up` said.
    pub async fn start(projector: PathBuf) -> Result<Self> {
        let helix = cli::binary()?;
        let folder = helix.parent().context("the target folder")?.join("faults");
        let home = folder.join(format!("home-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let mut command = Command::new(&helix);
        command.args(["up", "--detach", "--ports", "auto", "--only", COMPONENTS, "--home"]).arg(&home);
        let output = command.stdin(Stdio::null()).output()?;
        if !output.status.success() {
            let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
            bail!("helix up failed: {}", said.concat());
        }
        let config = Config::load(Some(&home.join("helix.toml")))?;
        let env = std::fs::read_to_string(home.join("dev.env"))?;
        let postgres_admin = env
            .lines()
            .find_map(|line| line.strip_prefix("HELIX_POSTGRES_URL="))
            .context("HELIX_POSTGRES_URL")?
            .trim_matches(['"', '\''])
            .to_owned();
        let registry = Registry::new(&config.registry.url);
        let codec = registry.fact_codec().await?;
        Ok(Self { home, config, postgres_admin, projector, codec })
    }

    /// Where logs go.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.home
    }

    /// Ends the stack; its home is removed where `clean`.
    pub fn end(&self, clean: bool) {
        let verb = if clean { "clean" } else { "down" };
        let Ok(helix) = cli::binary() else { return };
        let ended = Command::new(helix).arg(verb).arg("--home").arg(&self.home).output();
        if let Err(error) = ended {
            eprintln!("the stack in {} could not be ended: {error}", self.home.display());
        }
    }

    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.extend(self.config.log.connection());
        client
    }

    /// Makes a topic.
    ///
    /// # Errors
    /// Where the broker refuses.
    pub async fn topic(&self, name: &str, partitions: i32) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        for made in admin.create_topics([&topic], &AdminOptions::new()).await? {
            made.map_err(|(name, code)| anyhow::anyhow!("topic {name}: {code}"))?;
        }
        Ok(())
    }

    /// Appends facts in order, and returns when all are acknowledged. Blocking.
    ///
    /// # Errors
    /// Where the broker does not acknowledge.
    pub fn append(&self, topic: &str, facts: impl Iterator<Item = Fact>) -> Result<u64> {
        let producer: ThreadedProducer<_> = self
            .client()
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set("linger.ms", "2")
            .create()?;
        let mut appended = 0;
        for fact in facts {
            let value = self.codec.encode(&fact)?;
            let key = fact.key();
            let mut record = BaseRecord::to(topic).key(&key).payload(&value);
            loop {
                match producer.send(record) {
                    Ok(()) => break,
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                        record = again;
                        producer.flush(Duration::from_secs(5))?;
                    }
                    Err((error, _)) => return Err(error.into()),
                }
            }
            appended += 1;
        }
        producer.flush(PATIENCE)?;
        Ok(appended)
    }

    /// The end of every partition.
    ///
    /// # Errors
    /// Where the broker does not answer.
    pub fn ends(&self, topic: &str) -> Result<BTreeMap<i32, i64>> {
        let consumer: BaseConsumer = self.client().set("group.id", "faults-oracle").create()?;
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE)?;
        let found = metadata.topics().first().context("the topic")?;
        let end = |id| Ok((id, consumer.fetch_watermarks(topic, id, PATIENCE)?.1));
        found.partitions().iter().map(|partition| end(partition.id())).collect()
    }

    /// Every fact of a topic, as it lies there. Blocking.
    ///
    /// # Errors
    /// Where the broker does not answer, or a record is none of ours.
    pub fn read_back(&self, topic: &str) -> Result<Vec<Placed>> {
        let ends = self.ends(topic)?;
        let consumer: BaseConsumer =
            self.client().set("group.id", "faults-oracle").set("enable.auto.commit", "false").create()?;
        let mut list = TopicPartitionList::new();
        for partition in ends.keys() {
            list.add_partition_offset(topic, *partition, Offset::Beginning)?;
        }
        consumer.assign(&list)?;
        let total = usize::try_from(ends.values().sum::<i64>())?;
        let mut placed = Vec::with_capacity(total);
        let mut heard = Instant::now();
        while placed.len() < total {
            match consumer.poll(Duration::from_millis(200)) {
                Some(message) => {
                    let message = message?;
                    let fact = self.codec.decode(message.payload().unwrap_or_default())?;
                    placed.push(Placed { partition: message.partition(), offset: message.offset(), fact });
                    heard = Instant::now();
                }
                None => ensure!(heard.elapsed() < PATIENCE, "{} of {total} records could be read", placed.len()),
            }
        }
        placed.sort_by_key(|placed| (placed.partition, placed.offset));
        Ok(placed)
    }
}
