//! Partitions that nobody holds although the group is at rest.
//!
//! A cooperative rebalance has two steps: a member gives partitions back and asks for the second step, in which they go to
//! another. A member that dies in between and comes back under its own name (static membership) is handed its part of
//! the first step and asks for nothing: the partitions it gave back belong to nobody, and no time-out ever notices. So a thread
//! beside the watchdog looks at the group, and where partitions stay without an owner a passing member makes it share out anew.
//!
//! Between the two steps a group at rest with free partitions is as it should be, and the step lasts as long as its slowest
//! member gives back: a batch that is on its way and one that is drained, each for as long as a store is waited for. The group
//! cannot be asked whether such a member is at work. Hence two bounds:
//! - Whoever returned itself passes by after two looks, once in its life: it is the one that forgot. A member that is new gets
//!   nothing in the first step, since all is still another's, so that one whose first share had partitions has returned. The
//!   common crash is mended some ten seconds after the restart.
//! - All others wait longer than the slowest member can take ([`SLOWEST`]), and as long again before they pass another time.
//!
//! Nobody looks further while somebody passes: a passing member is known by its client's name.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::KafkaResult,
    metadata::{MetadataPartition, MetadataTopic},
};

use crate::{client::client_config, config::EngineConfig, event_loop::STORE_PATIENCE, status::Status};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// A member may take so long to give partitions back: a batch on its way, a batch that is drained, and a little more.
const SLOWEST: Duration = STORE_PATIENCE.saturating_mul(2).saturating_add(Duration::from_secs(5));
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// A passing member stays at most this long.
const PASSING: Duration = Duration::from_secs(15);
/// The client's name of a passing member.
const PASSING_NAME: &str = "helix-passing";
const POLL: Duration = Duration::from_millis(100);

/// Looks at the group now and then, until whoever holds the other end of `stopped` is gone.
pub(crate) struct GroupWatch<C: ConsumerContext> {
    pub(crate) consumer: Arc<BaseConsumer<C>>,
    pub(crate) config: EngineConfig,
    pub(crate) projection: String,
    pub(crate) status: Status,
}

impl<C: ConsumerContext> GroupWatch<C> {
    pub(crate) fn run(self, stopped: &Receiver<()>) {
        let (projection, group) = (&self.projection, &self.config.group);
        let mut orphans = Orphans::default();
        while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
            let looked = without_owner(&self.consumer, &self.config).and_then(|free| {
                let returned = self.config.instance.is_some() && self.status.returned();
                let partitions = orphans.seen(free, Instant::now(), returned);
                if partitions.is_empty() {
                    return Ok(());
                }
                tracing::warn!(
                    projection,
                    group,
                    ?partitions,
                    "partitions have no owner though the group is at rest: making it share them out anew"
                );
                pass_by(&self.config)
            });
            if let Err(error) = looked {
                tracing::debug!(projection, group, %error, "the group could not be looked at");
            }
        }
    }
}

/// Since when which partitions have had no owner at any look.
#[derive(Default)]
struct Orphans {
    since: BTreeMap<i32, Instant>,
    /// What this instance forgot when it died is mended once.
    mended: bool,
}

impl Orphans {
    /// Notes what is free at this look; gives what has been for too long.
    fn seen(&mut self, free: BTreeSet<i32>, now: Instant, returned: bool) -> BTreeSet<i32> {
        let before = std::mem::take(&mut self.since);
        let since = |partition: i32| (partition, before.get(&partition).copied().unwrap_or(now));
        self.since = free.into_iter().map(since).collect();
        let mine = returned && !self.mended;
        // Anything of an earlier look, where it is this instance that returned.
        let bound = if mine { Duration::ZERO } else { SLOWEST };
        let for_too_long = self.since.iter().filter(|(_, since)| now.saturating_duration_since(**since) > bound);
        let orphans: BTreeSet<i32> = for_too_long.map(|(partition, _)| *partition).collect();
        if !orphans.is_empty() {
            self.since.clear();
            self.mended |= mine;
        }
        orphans
    }
}

fn without_owner<C: ConsumerContext>(consumer: &BaseConsumer<C>, config: &EngineConfig) -> KafkaResult<BTreeSet<i32>> {
    let list = consumer.fetch_group_list(Some(&config.group), ANSWER_WITHIN)?;
    let at_rest = list.groups().iter().find(|group| group.name() == config.group && group.state() == "Stable");
    let Some(group) = at_rest else { return Ok(BTreeSet::new()) };
    let metadata = consumer.fetch_metadata(Some(&config.topic), ANSWER_WITHIN)?;
    let topic = metadata.topics().iter().find(|topic| topic.name() == config.topic);
    let all = topic.into_iter().flat_map(MetadataTopic::partitions).map(MetadataPartition::id).collect();
    let members = group.members().iter().map(|member| (member.client_id(), member.assignment().unwrap_or_default()));
    Ok(free(all, members, &config.topic))
}

/// What no member has; nothing while somebody passes, who is about to share it out.
fn free<'a>(mut all: BTreeSet<i32>, members: impl Iterator<Item = (&'a str, &'a [u8])>, topic: &str) -> BTreeSet<i32> {
    for (client, assignment) in members {
        if client == PASSING_NAME {
            return BTreeSet::new();
        }
        for partition in assigned(assignment, topic) {
            all.remove(&partition);
        }
    }
    all
}

/// The partitions of a topic in a member's assignment, as the consumer protocol writes it: version, then a list of topics
/// with their partitions, big-endian. Nothing of what cannot be read.
fn assigned(bytes: &[u8], topic: &str) -> BTreeSet<i32> {
    fn read(bytes: &[u8], topic: &str) -> Option<BTreeSet<i32>> {
        let mut rest = bytes.get(2..)?;
        let mut found = BTreeSet::new();
        for _ in 0..number(&mut rest)? {
            let length = usize::from(u16::from_be_bytes(rest.get(..2)?.try_into().ok()?));
            let name = rest.get(2..2 + length)?;
            rest = rest.get(2 + length..)?;
            for _ in 0..number(&mut rest)? {
                let partition = number(&mut rest)?;
                if name == topic.as_bytes() {
                    found.insert(partition);
                }
            }
        }
        Some(found)
    }
    fn number(rest: &mut &[u8]) -> Option<i32> {
        let value = i32::from_be_bytes(rest.get(..4)?.try_into().ok()?);
        *rest = rest.get(4..)?;
        Some(value)
    }
    read(bytes, topic).unwrap_or_default()
}

/// Joins the group without a name and leaves it again: both make it share out all partitions anew.
fn pass_by(config: &EngineConfig) -> KafkaResult<()> {
    let passing = EngineConfig { instance: None, ..config.clone() };
    let mut client = client_config(&passing);
    let consumer: BaseConsumer<Passing> = client.set("client.id", PASSING_NAME).create_with_context(Passing)?;
    consumer.subscribe(&[&config.topic])?;
    let begun = Instant::now();
    while consumer.assignment()?.count() == 0 && begun.elapsed() < PASSING {
        // It reads nothing: whatever comes before it leaves is the owners' to apply.
        drop(consumer.poll(POLL));
    }
    consumer.unsubscribe();
    Ok(())
}

/// Takes what it is given and says nothing.
struct Passing;

impl ClientContext for Passing {
    fn log(&self, _level: rdkafka::config::RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, "{message}");
    }
}

impl ConsumerContext for Passing {}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the consumer protocol writes it.
    fn assignment(topics: &[(&str, &[i32])]) -> Vec<u8> {
        let mut bytes = vec![0, 1];
        bytes.extend(i32::try_from(topics.len()).unwrap_or(0).to_be_bytes());
        for (topic, partitions) in topics {
            bytes.extend(u16::try_from(topic.len()).unwrap_or(0).to_be_bytes());
            bytes.extend(topic.as_bytes());
            bytes.extend(i32::try_from(partitions.len()).unwrap_or(0).to_be_bytes());
            partitions.iter().for_each(|partition| bytes.extend(partition.to_be_bytes()));
        }
        bytes.extend((-1_i32).to_be_bytes());
        bytes
    }

    #[test]
    fn an_assignment_is_read_and_what_is_none_is_empty() {
        let bytes = assignment(&[("other", &[9]), ("facts", &[3, 7])]);
        assert_eq!(assigned(&bytes, "facts"), BTreeSet::from([3, 7]));
        assert_eq!(assigned(&bytes, "nothing"), BTreeSet::new());
        for cut in 0..bytes.len() - 4 {
            assert!(assigned(&bytes[..cut], "facts").is_empty(), "{cut}");
        }
        assert!(assigned(&[], "facts").is_empty());
    }

    #[test]
    fn nothing_is_free_while_somebody_passes() {
        let (all, one) = (BTreeSet::from([0, 1, 2]), assignment(&[("facts", &[1])]));
        let member = ("rdkafka", one.as_slice());
        assert_eq!(free(all.clone(), [member].into_iter(), "facts"), BTreeSet::from([0, 2]));
        let passing = (PASSING_NAME, [].as_slice());
        assert_eq!(free(all, [member, passing].into_iter(), "facts"), BTreeSet::new());
    }

    /// When partitions are found, in seconds, of looks that see these free ones every five.
    fn found(returned: bool, looks: &[&[i32]]) -> Vec<(u64, BTreeSet<i32>)> {
        let (mut orphans, begun) = (Orphans::default(), Instant::now());
        let looks = (0..).step_by(5).zip(looks).map(|(second, free)| {
            let free = free.iter().copied().collect();
            (second, orphans.seen(free, begun + Duration::from_secs(second), returned))
        });
        looks.filter(|(_, found)| !found.is_empty()).collect()
    }

    #[test]
    fn a_member_that_gives_back_slowly_is_not_disturbed() {
        // As slow as a store may be, and then given to another.
        let mut looks = vec![[1, 2].as_slice(); 13];
        looks.push(&[]);
        looks.extend(vec![[1].as_slice(); 13]);
        assert_eq!(found(false, &looks), []);
    }

    #[test]
    fn partitions_that_stay_without_an_owner_are_found_and_no_storm_comes_of_it() {
        let found = found(false, &vec![[1, 2].as_slice(); 40]);
        assert_eq!(found, [(70, BTreeSet::from([1, 2])), (145, BTreeSet::from([1, 2]))]);
    }

    #[test]
    fn whoever_returned_mends_what_it_forgot_soon_and_once() {
        let found = found(true, &vec![[1].as_slice(); 20]);
        assert_eq!(found, [(5, BTreeSet::from([1])), (80, BTreeSet::from([1]))]);
    }
}
