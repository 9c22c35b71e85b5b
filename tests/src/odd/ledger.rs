//! The log's side of the account: where its topics end, and every record since, each against what was answered.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use helix_schemas::{
    codec::Codec,
    fact::Fact,
    registry::Registry,
    rejected::RejectedBody,
    topics::{self, FACTS, REJECTED, UNROUTED},
    unrouted::UnroutedEvent,
};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};
use serde::Serialize;
use uuid::Uuid;

use super::delivery::{Delivery, Mill};

/// The topics that a webhook's body can end in.
const TOPICS: [&str; 3] = [FACTS, UNROUTED, REJECTED];
const PATIENCE: Duration = Duration::from_secs(60);

/// A place in the log.
pub type Place = (&'static str, i32, i64);

/// What an answer said is kept.
#[derive(Debug, Clone, Copy)]
pub struct Promise {
    /// The delivery's number.
    pub number: u64,
    /// Of the fact, the unrouted event or the rejected body.
    pub id: Uuid,
    /// Where; `None` where the answer does not say.
    pub place: Option<Place>,
    /// Digest of the whole body: what is kept of a delivery that is one event.
    pub digest: u64,
    /// Nothing was appended for it: the record was there.
    pub duplicate: bool,
}

/// The end of every partition.
pub type Ends = BTreeMap<(&'static str, i32), i64>;

/// What the log holds of a run.
#[derive(Debug, Default, Serialize)]
pub struct Account {
    /// Records appended meanwhile, by topic.
    pub appended: BTreeMap<&'static str, u64>,
    /// Of those, what Helix itself decided or marked.
    pub own: u64,
    /// Records whose bytes are the body that was sent.
    pub whole: u64,
    /// Records whose bytes are a part of the batch that was sent.
    pub part: u64,
    /// Records of bodies that held a secret, which is gone.
    pub redacted: u64,
    /// Records whose bytes could not be compared: a part of a batch encoded in ways that are not undone here.
    pub not_compared: u64,
    /// What does not add up, the first few.
    pub faults: Vec<String>,
    /// The delivery at fault first.
    pub first: Option<u64>,
}

impl Account {
    fn fault(&mut self, number: Option<u64>, what: &str) {
        self.first = self.first.into_iter().chain(number).min();
        if self.faults.len() < 20 {
            self.faults.push(number.map_or_else(|| what.to_owned(), |number| format!("delivery {number}: {what}")));
        }
    }
}

/// A digest of bytes, the same in every run of this program.
#[must_use]
pub fn digest(bytes: &[u8]) -> u64 {
    use std::hash::Hasher as _;
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// Our name for a topic that an answer names.
#[must_use]
pub fn topic(name: &str) -> Option<&'static str> {
    TOPICS.into_iter().find(|topic| *topic == name)
}

fn consumer(brokers: &str) -> Result<BaseConsumer> {
    let mut settings = ClientConfig::new();
    settings
        .set("bootstrap.servers", brokers)
        .set("group.id", "helix-odd")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .set("allow.auto.create.topics", "false");
    settings.create().context("the log's client")
}

/// Where every partition ends now. Blocks.
///
/// # Errors
/// Where the log does not answer.
pub fn ends(brokers: &str) -> Result<Ends> {
    let consumer = consumer(brokers)?;
    let mut ends = Ends::new();
    for spec in topics::ALL.iter().filter(|spec| TOPICS.contains(&spec.name)) {
        for partition in 0..spec.partitions {
            let (_, end) = consumer.fetch_watermarks(spec.name, partition, PATIENCE).with_context(|| spec.name)?;
            ends.insert((spec.name, partition), end);
        }
    }
    Ok(ends)
}

/// Records between two ends, by topic.
#[must_use]
pub fn appended(before: &Ends, after: &Ends) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    for (at, end) in after {
        let grown = end - before.get(at).copied().unwrap_or_default();
        *counts.entry(at.0).or_insert(0) += u64::try_from(grown).unwrap_or_default();
    }
    counts
}

/// Reads what the topics hold.
pub struct Codecs {
    fact: Codec<Fact>,
    unrouted: Codec<UnroutedEvent>,
    rejected: Codec<RejectedBody>,
}

/// What a record is to the account.
struct Entered {
    id: Uuid,
    raw: Vec<u8>,
    /// Nobody sent it: Helix decided or marked something.
    own: bool,
}

impl Codecs {
    /// The codecs of a registry's schemas.
    ///
    /// # Errors
    /// Where it cannot be reached.
    pub async fn of(registry: &str) -> Result<Self> {
        let registry = Registry::new(registry);
        Ok(Self {
            fact: registry.fact_codec().await?,
            unrouted: registry.unrouted_codec().await?,
            rejected: registry.rejected_codec().await?,
        })
    }

    fn read(&self, topic: &str, value: &[u8]) -> Result<Entered> {
        Ok(match topic {
            FACTS => {
                let fact = self.fact.decode(value)?;
                Entered { id: fact.id.uuid(), raw: fact.raw, own: fact.provider != "ozonetel" }
            }
            UNROUTED => {
                let event = self.unrouted.decode(value)?;
                Entered { id: event.id.uuid(), raw: event.raw, own: event.redriven.is_some() }
            }
            REJECTED => {
                let body = self.rejected.decode(value)?;
                Entered { id: body.id.uuid(), raw: body.raw, own: body.redriven.is_some() }
            }
            other => bail!("no such topic: {other}"),
        })
    }
}

/// What was promised, by place where one was named and by id elsewhere.
struct Promises {
    by_place: HashMap<Place, Promise>,
    by_id: HashMap<Uuid, Vec<Promise>>,
    repeats: HashMap<Place, Promise>,
}

impl Promises {
    fn of(promises: &[Promise], before: &Ends, account: &mut Account) -> Self {
        let mut all = Self { by_place: HashMap::new(), by_id: HashMap::new(), repeats: HashMap::new() };
        for promise in promises {
            match promise.place {
                Some((topic, partition, offset)) if promise.duplicate => {
                    // What was there before the run is not read.
                    if before.get(&(topic, partition)).is_some_and(|begin| *begin <= offset) {
                        all.repeats.insert((topic, partition, offset), *promise);
                    }
                }
                Some(place) => match all.by_place.entry(place) {
                    Entry::Vacant(vacant) => {
                        vacant.insert(*promise);
                    }
                    Entry::Occupied(_) => {
                        account.fault(Some(promise.number), &format!("two events are said to be at {place:?}"));
                    }
                },
                None if promise.duplicate => {}
                None => all.by_id.entry(promise.id).or_default().push(*promise),
            }
        }
        all
    }

    fn take(&mut self, place: Place, id: Uuid) -> Option<Promise> {
        self.by_place.remove(&place).or_else(|| self.by_id.get_mut(&id)?.pop())
    }
}

/// Reads every record between two ends and holds it against the promises. Blocks.
///
/// # Errors
/// Where the log cannot be read to that end.
pub fn settle(
    brokers: &str,
    codecs: &Codecs,
    (before, after): (&Ends, &Ends),
    promises: &[Promise],
    mill: &Mill,
) -> Result<Account> {
    let mut account = Account { appended: appended(before, after), ..Account::default() };
    let mut open = Promises::of(promises, before, &mut account);
    let consumer = consumer(brokers)?;
    let mut assignment = TopicPartitionList::new();
    let mut left: u64 = 0;
    for ((topic, partition), end) in after {
        let begin = before.get(&(*topic, *partition)).copied().unwrap_or_default();
        ensure!(begin <= *end, "{topic}/{partition} became shorter");
        if begin < *end {
            assignment.add_partition_offset(topic, *partition, Offset::Offset(begin))?;
            left += u64::try_from(end - begin).unwrap_or_default();
        }
    }
    if left > 0 {
        consumer.assign(&assignment)?;
    }
    let mut heard = Instant::now();
    while left > 0 {
        let message = match consumer.poll(Duration::from_secs(1)) {
            Some(Ok(message)) => message,
            Some(Err(KafkaError::PartitionEOF(_))) | None => {
                ensure!(heard.elapsed() < PATIENCE, "{left} records cannot be read");
                continue;
            }
            Some(Err(error)) => return Err(error.into()),
        };
        heard = Instant::now();
        let topic = topic(message.topic()).context("a topic that was not asked for")?;
        let place = (topic, message.partition(), message.offset());
        if after.get(&(topic, place.1)).is_none_or(|end| *end <= place.2) {
            continue;
        }
        left -= 1;
        let entered =
            codecs.read(topic, message.payload().unwrap_or_default()).with_context(|| format!("{place:?}"))?;
        if let Some(repeat) = open.repeats.remove(&place)
            && repeat.id != entered.id
        {
            account.fault(Some(repeat.number), &format!("called a repeat of {place:?}, which is another event"));
        }
        match open.take(place, entered.id) {
            Some(promise) if promise.id == entered.id => compare(&mut account, &promise, &entered.raw, mill),
            Some(promise) => account.fault(Some(promise.number), &format!("{place:?} is another event")),
            None if entered.own => account.own += 1,
            None => account.fault(None, &format!("nobody was told of {place:?}")),
        }
    }
    let mut missing: Vec<&Promise> = open.by_place.values().chain(open.by_id.values().flatten()).collect();
    missing.sort_by_key(|promise| promise.number);
    for promise in missing {
        account.fault(Some(promise.number), &format!("{} is not in the log at {:?}", promise.id, promise.place));
    }
    for (place, promise) in &open.repeats {
        account.fault(Some(promise.number), &format!("called a repeat of {place:?}, which is not there"));
    }
    Ok(account)
}

/// Holds a record's bytes against the delivery's.
fn compare(account: &mut Account, promise: &Promise, raw: &[u8], mill: &Mill) {
    if memchr::memmem::find(raw, mill.secret().as_bytes()).is_some() {
        account.fault(Some(promise.number), "the account's secret is in the log");
    }
    if digest(raw) == promise.digest {
        account.whole += 1;
        return;
    }
    let delivery = mill.delivery(promise.number);
    if delivery.secret {
        account.redacted += 1;
    } else if holds(&delivery, raw) {
        account.part += 1;
    } else if delivery.oddities.contains(&"batch") || delivery.body.len() > raw.len() {
        account.not_compared += 1;
    } else {
        account.fault(Some(promise.number), "its bytes are not those that were sent");
    }
}

/// Whether the bytes stand in the delivery's, as sent or decoded in the usual ways.
fn holds(delivery: &Delivery, raw: &[u8]) -> bool {
    let mut views = vec![delivery.body.clone()];
    let mut at = 0;
    while let Some(view) = views.get(at).cloned() {
        at += 1;
        if memchr::memmem::find(&view, raw).is_some() {
            return true;
        }
        if views.len() > 24 {
            continue;
        }
        let text = String::from_utf8_lossy(&view).into_owned();
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{FEFF}');
        // A string of JSON, wherever in the text it begins.
        let strings = text.match_indices('"').take(4).filter_map(|(at, _)| {
            let rest = text.get(at..)?;
            serde_json::Deserializer::from_str(rest).into_iter::<String>().next()?.ok()
        });
        views.extend(strings.filter(|inner| inner.len() >= raw.len()).map(String::into_bytes));
        if text.contains('%') || text.contains('+') {
            let decoded = form_urlencoded::parse(format!("x={}", text.replace('&', "%26")).as_bytes())
                .next()
                .map(|(_, value)| value.into_owned().into_bytes());
            views.extend(decoded.filter(|decoded| decoded.len() >= raw.len()));
        }
    }
    false
}
