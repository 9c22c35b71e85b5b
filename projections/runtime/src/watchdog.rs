//! The watchdog: a thread beside the loop, with a client of its own, that measures the log's end and looks at the loop.
//!
//! It asks the broker itself, so that the lag does not rest on the fetching it is to judge: a consumer that fetches nothing
//! sees no end either, and one whose broker is gone repeats the last it saw. That the watchdog still measures is seen in turn by
//! [`Status::meter_age`].

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    time::Duration,
};

use rdkafka::{
    ClientConfig, ClientContext, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, KafkaResult},
};

use crate::{
    config::{EngineConfig, Membership},
    engine::EngineError,
    metrics::Meter,
    orphans::GroupWatch,
    status::{Status, Trouble},
};

/// Where an end is not known at all, it is asked for this soon.
const SOON: Duration = Duration::from_millis(200);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Ends its threads when it is dropped.
pub(crate) struct Watchdog {
    _stop: Vec<Sender<()>>,
}

/// The loop's client says already what goes wrong with the broker.
struct Quiet;

impl ClientContext for Quiet {
    fn error(&self, error: KafkaError, _reason: &str) {
        tracing::debug!(%error, "kafka client of the watchdog");
    }

    fn log(&self, _level: rdkafka::config::RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, "{message}");
    }
}

impl ConsumerContext for Quiet {}

struct Watching {
    consumer: Arc<BaseConsumer<Quiet>>,
    config: EngineConfig,
    projection: String,
    status: Status,
    meter: Meter,
    told: bool,
}

impl Watchdog {
    /// Begins to watch.
    pub(crate) fn start(
        config: &EngineConfig,
        projection: &str,
        status: &Status,
        meter: &Meter,
    ) -> Result<Self, EngineError> {
        let mut client = ClientConfig::new();
        client.extend(config.connection.iter().cloned());
        // It asks and never fetches.
        client.set("allow.auto.create.topics", "false");
        let consumer: Arc<BaseConsumer<Quiet>> = Arc::new(client.create_with_context(Quiet)?);
        let mut threads = Vec::new();
        if config.membership == Membership::Group {
            let orphans = GroupWatch {
                consumer: consumer.clone(),
                config: config.clone(),
                projection: projection.to_owned(),
                status: status.clone(),
            };
            // Beside the measuring: the group is slow to answer, and to pass by takes a while.
            threads.push(beside(format!("group-{projection}"), move |stopped| orphans.run(stopped))?);
        }
        let watching = Watching {
            consumer,
            config: config.clone(),
            projection: projection.to_owned(),
            status: status.clone(),
            meter: meter.clone(),
            told: false,
        };
        threads.push(beside(format!("watch-{projection}"), move |stopped| watching.run(stopped))?);
        Ok(Self { _stop: threads })
    }
}

/// Begins a thread that ends when what is given back is dropped. Nobody waits for it: a question that the broker does not
/// answer must not hold up leaving.
fn beside(name: String, run: impl FnOnce(&Receiver<()>) + Send + 'static) -> Result<Sender<()>, EngineError> {
    let (stop, stopped) = channel();
    let thread = std::thread::Builder::new().name(name).spawn(move || run(&stopped));
    thread.map_err(|_| EngineError::Thread)?;
    Ok(stop)
}

impl Watching {
    fn run(mut self, stopped: &Receiver<()>) {
        loop {
            let unknown = self.status.partitions().values().any(|at| at.high_water.is_none());
            let pause = if unknown { SOON.min(self.config.watch.every) } else { self.config.watch.every };
            match stopped.recv_timeout(pause) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
            if let Err(error) = self.measure() {
                tracing::debug!(projection = self.projection, %error, "the log's end could not be measured");
            }
            self.meter.engine(&self.status);
            self.tell();
        }
    }

    /// Asks for the end of every partition that is held, in one request a broker.
    fn measure(&self) -> KafkaResult<()> {
        let topic = &self.config.topic;
        let mut asked = TopicPartitionList::new();
        for partition in self.status.partitions().into_keys() {
            asked.add_partition_offset(topic, partition, Offset::End)?;
        }
        if asked.count() == 0 {
            return Ok(());
        }
        for answer in self.consumer.offsets_for_times(asked, ANSWER_WITHIN)?.elements() {
            if let (Ok(()), Offset::Offset(end)) = (answer.error(), answer.offset()) {
                self.status.measured(answer.partition(), end);
            }
        }
        Ok(())
    }

    /// Says once what is wrong, and once that it is well again.
    fn tell(&mut self) {
        let trouble = self.status.trouble();
        match (&trouble, self.told) {
            (Some(trouble), false) => {
                let (projection, group) = (&self.projection, &self.config.group);
                tracing::warn!(projection, group, cause = cause(trouble), "{trouble}");
            }
            (None, true) => {
                tracing::info!(projection = self.projection, group = self.config.group, "the projector is well again");
            }
            (Some(_), true) | (None, false) => {}
        }
        self.told = trouble.is_some();
    }
}

const fn cause(trouble: &Trouble) -> &'static str {
    match trouble {
        Trouble::Loop(_) => "loop",
        Trouble::Meter(_) => "meter",
        Trouble::Stalled(_) => "stalled",
    }
}
