//! The faults.
//!
//! A case fills a topic, lets projectors meet their fault, waits until the store has passed the topic's end, and has the
//! store judged. Its seed decides the history and every draw.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use helix_history::Plan;
use helix_runtime::fault::Point;
use serde::Serialize;

use crate::{
    automation,
    child::Projector,
    dice::Dice,
    project::{Action, Options},
    subject::{Kind, Subject, Verdict},
    world::World,
};

const PARTITIONS: i32 = 4;
const FACTS: usize = 6_000;
/// What a projector may take to work the case off.
const PATIENCE: Duration = Duration::from_secs(120);
/// A frozen instance is frozen for longer than the group waits for it, so that others take its partitions.
const FROZEN: Duration = Duration::from_secs(14);

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Death at a point.
    Crash(Point),
    /// SIGSTOP with everything written and nothing committed; another takes over; then it wakes.
    Zombie,
    /// A commit whose answer is lost.
    LostAnswer,
    /// Instances that share many partitions, killed and frozen at random while facts keep coming.
    Storm(Storm),
}

/// How large a storm is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Storm {
    /// Instances.
    pub instances: usize,
    /// Partitions.
    pub partitions: i32,
    /// Facts.
    pub facts: usize,
}

/// One case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// The store.
    pub store: Kind,
    /// What happens to its projector.
    pub fault: Fault,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let store = self.store.as_str();
        match self.fault {
            Fault::Crash(point) => write!(f, "{store}-crash-{}", point.as_str()),
            Fault::Zombie => write!(f, "{store}-zombie"),
            Fault::LostAnswer => write!(f, "{store}-lost-answer"),
            Fault::Storm(_) => write!(f, "{store}-storm"),
        }
    }
}

/// What a case came to; a line of `target/faults/results.jsonl`.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// Its name.
    pub case: String,
    /// Its seed.
    pub seed: u64,
    /// Facts that the log acknowledged.
    pub acked: u64,
    /// As judged.
    #[serde(flatten)]
    pub judged: Verdict,
    /// `pass` or `fail`.
    pub verdict: &'static str,
    /// Seconds from the first fact to the judgement.
    pub seconds: f64,
    /// Faults that happened.
    pub faults: u32,
}

impl Case {
    /// The crash-point matrix, zombie and lost answer of every store, and a storm of those given.
    #[must_use]
    pub fn all(storm: Storm, storms: &[Kind]) -> Vec<Self> {
        let mut all = Vec::new();
        for store in Kind::ALL {
            let crash = |point| Self { store, fault: Fault::Crash(point) };
            // One instance takes every partition of a board, so that nothing is ever revoked from it.
            let points = Point::ALL.into_iter().filter(|point| store != Kind::Live || *point != Point::InDrain);
            all.extend(points.map(crash));
            all.push(Self { store, fault: Fault::Zombie });
            all.push(Self { store, fault: Fault::LostAnswer });
        }
        all.push(Self { store: Kind::Automation, fault: Fault::Zombie });
        all.extend(storms.iter().map(|store| Self { store: *store, fault: Fault::Storm(storm) }));
        all
    }

    /// Brings it about.
    ///
    /// # Errors
    /// Where it could not be brought about; what became of the facts is in the outcome.
    pub async fn run(self, world: &World, seed: u64) -> Result<Outcome> {
        let begun = Instant::now();
        let mut scene = Scene::new(world, self, seed).await?;
        let faults = match self.fault {
            Fault::Crash(Point::InDrain) => scene.crash_in_drain().await?,
            Fault::Crash(point) => scene.crash(point).await?,
            Fault::Zombie => scene.zombie().await?,
            Fault::LostAnswer => scene.lost_answer().await?,
            Fault::Storm(storm) => scene.storm(storm).await?,
        };
        scene.at_rest().await?;
        let log = world.read_back(&scene.topic)?;
        let sent = log.iter().filter(|placed| !automation::is_decision(&placed.fact)).count();
        ensure!(sent as u64 == scene.acked, "{sent} of {} acknowledged facts are in the log", scene.acked);
        let judged = scene.subject.judge(&scene.topic, &log).await?;
        let verdict = if judged.is_good() { "pass" } else { "fail" };
        let seconds = begun.elapsed().as_secs_f64();
        Ok(Outcome { case: self.to_string(), seed, acked: scene.acked, judged, verdict, seconds, faults })
    }
}

struct Scene<'a> {
    world: &'a World,
    subject: Subject,
    topic: String,
    history: helix_history::History,
    acked: u64,
    seed: u64,
    running: Vec<Projector>,
}

impl<'a> Scene<'a> {
    async fn new(world: &'a World, case: Case, seed: u64) -> Result<Self> {
        let topic = format!("{case}-{}", seed % 1_000_000);
        let subject = Subject::new(world, case.store, &topic).await?;
        let partitions = match case.fault {
            Fault::Storm(storm) => storm.partitions,
            Fault::Crash(_) | Fault::Zombie | Fault::LostAnswer => PARTITIONS,
        };
        world.topic(&topic, partitions).await?;
        let history = Plan::new(subject.workspace.as_str(), 60, seed).history();
        Ok(Self { world, subject, topic, history, acked: 0, seed, running: Vec::new() })
    }

    fn append(&mut self, facts: usize) -> Result<()> {
        self.acked += self.world.append(&self.topic, self.history.by_ref().take(facts))?;
        Ok(())
    }

    fn options(&self, instance: &str) -> Options {
        Options {
            store: self.subject.kind,
            place: self.subject.place.clone(),
            database: self.subject.database.clone(),
            workspace: self.subject.workspace.to_string(),
            topic: self.topic.clone(),
            brokers: self.world.config.log.brokers.clone(),
            registry: self.world.config.registry.url.clone(),
            instance: instance.to_owned(),
            batch: 150,
            point: None,
            nth: 3,
            action: Action::Die,
            forget: 0,
        }
    }

    fn start(&self, options: &Options) -> Result<Projector> {
        Projector::start(&self.world.projector, self.world.folder(), options)
    }

    /// Dies at the point, and is started again under its own name.
    async fn crash(&mut self, point: Point) -> Result<u32> {
        self.append(FACTS)?;
        let whole = self.options("one");
        let nth = match point {
            Point::AfterPoll => 1_000,
            Point::InRebalance | Point::InDrain => 1,
            Point::AfterDecode | Point::MidBatch | Point::AfterWrite | Point::AfterCommit => 3,
        };
        let mut doomed = self.start(&Options { point: Some(point.as_str().to_owned()), nth, ..whole.clone() })?;
        let ended = doomed.wait(PATIENCE).await?;
        ensure!(!ended.success(), "it ended well instead of dying");
        self.append(FACTS / 4)?;
        self.running.push(self.start(&whole)?);
        Ok(1)
    }

    /// Dies while it gives partitions to a second instance, with a backlog that is still being worked off.
    async fn crash_in_drain(&mut self) -> Result<u32> {
        self.append(FACTS * 4)?;
        let whole = self.options("one");
        let point = Some(Point::InDrain.as_str().to_owned());
        // In small batches, so that the second one has joined before the end.
        let mut doomed = self.start(&Options { point, nth: 1, batch: 8, ..whole.clone() })?;
        self.moved(1).await?;
        self.running.push(self.start(&self.options("two"))?);
        let ended = doomed.wait(PATIENCE).await?;
        ensure!(!ended.success(), "it ended well instead of dying");
        self.running.push(self.start(&whole)?);
        Ok(1)
    }

    async fn zombie(&mut self) -> Result<u32> {
        self.append(FACTS)?;
        let whole = self.options("one");
        let point = Some(Point::AfterWrite.as_str().to_owned());
        let zombie = self.start(&Options { point, action: Action::Freeze, ..whole })?;
        let begun = Instant::now();
        while !zombie.is_frozen() {
            ensure!(begun.elapsed() < PATIENCE, "it never froze");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.append(FACTS / 4)?;
        self.running.push(self.start(&self.options("two"))?);
        // The other one is at the end before the first wakes, with its transaction open.
        self.settled().await?;
        zombie.thaw()?;
        self.append(FACTS / 4)?;
        self.running.push(zombie);
        Ok(1)
    }

    async fn lost_answer(&mut self) -> Result<u32> {
        self.append(FACTS)?;
        self.running.push(self.start(&Options { forget: 5, ..self.options("one") })?);
        Ok(1)
    }

    async fn storm(&mut self, storm: Storm) -> Result<u32> {
        let mut dice = Dice::new(self.seed);
        let name = |number: usize| format!("storm-{number}");
        for number in 0..storm.instances {
            let instance = self.start(&self.options(&name(number)))?;
            self.running.push(instance);
        }
        let mut frozen: Vec<(Instant, usize)> = Vec::new();
        let (mut faults, mut sent) = (0, 0);
        while sent < storm.facts {
            let some = (storm.facts / 40).clamp(1, storm.facts - sent);
            self.append(some)?;
            sent += some;
            let victim = usize::try_from(dice.below(u32::try_from(storm.instances)?))?;
            let is_frozen = frozen.iter().any(|(_, number)| *number == victim);
            if !is_frozen {
                faults += 1;
                if dice.below(4) == 0 {
                    self.running.get(victim).map(Projector::freeze).transpose()?;
                    frozen.push((Instant::now() + FROZEN, victim));
                } else {
                    let again = self.options(&name(victim));
                    if let Some(instance) = self.running.get_mut(victim) {
                        instance.kill()?;
                    }
                    let started = self.start(&again)?;
                    if let Some(instance) = self.running.get_mut(victim) {
                        *instance = started;
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(u64::from(200 + dice.below(600)))).await;
            let (due, waiting): (Vec<_>, Vec<_>) = frozen.into_iter().partition(|(at, _)| *at <= Instant::now());
            for (_, number) in due {
                self.running.get(number).map(Projector::thaw).transpose()?;
            }
            frozen = waiting;
        }
        for (_, number) in frozen {
            self.running.get(number).map(Projector::thaw).transpose()?;
        }
        Ok(faults)
    }

    /// Waits until the store has come past this many facts.
    async fn moved(&self, facts: i64) -> Result<()> {
        let begun = Instant::now();
        while self.subject.progress(&self.topic).await.values().sum::<i64>() < facts {
            ensure!(begun.elapsed() < PATIENCE, "nothing moves");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Waits until nothing more is to come: what is decided moves the end of the topic.
    async fn at_rest(&mut self) -> Result<()> {
        let begun = Instant::now();
        loop {
            let ends = self.world.ends(&self.topic)?;
            self.settled().await?;
            if self.subject.owed().await? == 0 && self.world.ends(&self.topic)? == ends {
                return Ok(());
            }
            ensure!(begun.elapsed() < PATIENCE, "it does not come to rest");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the store has passed the end of the topic. An instance that ended by itself is started again, as
    /// whoever runs it would.
    async fn settled(&mut self) -> Result<()> {
        let ends = self.world.ends(&self.topic)?;
        let mut seen = (0, Instant::now());
        loop {
            let held = self.subject.progress(&self.topic).await;
            if ends.iter().all(|(partition, end)| *end == 0 || held.get(partition).is_some_and(|at| at >= end)) {
                return Ok(());
            }
            let sum = held.values().sum::<i64>();
            if sum != seen.0 {
                seen = (sum, Instant::now());
            }
            if seen.1.elapsed() > PATIENCE {
                bail!("nothing has moved for {} s: {held:?} of {ends:?}", PATIENCE.as_secs());
            }
            for index in 0..self.running.len() {
                let over = self.running.get_mut(index).map(Projector::ended).transpose()?.flatten().is_some();
                if over {
                    let again = self.start(&self.options(&format!("again-{index}")))?;
                    if let Some(instance) = self.running.get_mut(index) {
                        *instance = again;
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
