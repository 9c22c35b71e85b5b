//! The process manager without a database: what the store does with the pure part, in memory. Its log takes back what it
//! decides, as the real one does.

use std::collections::BTreeMap;

use helix_automation::{
    AllBounds, Bounds,
    clock::Clock,
    watch::{AgentKey, Arrived, CallKey, SetTimer, Watched},
};
use helix_schemas::{
    decision::Decision,
    fact::Fact,
    id::FactId,
    names::WorkspaceId,
    time::{OccurredAt, ReceivedAt},
};

pub const PARTITIONS: i32 = 3;

type TimerKey = (WorkspaceId, (&'static str, String), Decision, FactId);

fn timer_key(set: &SetTimer) -> TimerKey {
    let (subject, id) = set.timer.subject.columns();
    (set.workspace.clone(), (subject, id.to_owned()), set.timer.decision, set.timer.evidence[0])
}

/// A decision, and the provider's now when it was made.
#[derive(Debug, Clone)]
pub struct Made {
    pub fact: Fact,
    pub now: OccurredAt,
    pub due_at: OccurredAt,
}

pub struct Machine {
    bounds: AllBounds,
    agents: BTreeMap<AgentKey, (i32, helix_automation::agent::AgentWatch)>,
    calls: BTreeMap<CallKey, helix_automation::call::CallWatch>,
    timers: BTreeMap<TimerKey, SetTimer>,
    clocks: BTreeMap<(WorkspaceId, i32), Clock>,
    waiting: Vec<Arrived>,
    offsets: BTreeMap<i32, i64>,
    pub made: Vec<Made>,
}

pub fn partition_of(fact: &Fact) -> i32 {
    fact.key().bytes().fold(0_i32, |sum, byte| (sum * 31 + i32::from(byte)) % 65_521) % PARTITIONS
}

impl Machine {
    pub fn new(workspace: &WorkspaceId, bounds: Bounds) -> Self {
        Self {
            bounds: AllBounds(BTreeMap::from([(workspace.clone(), bounds)])),
            agents: BTreeMap::new(),
            calls: BTreeMap::new(),
            timers: BTreeMap::new(),
            clocks: BTreeMap::new(),
            waiting: Vec::new(),
            offsets: BTreeMap::new(),
            made: Vec::new(),
        }
    }

    /// Appends to the log.
    pub fn append(&mut self, fact: Fact) {
        let partition = partition_of(&fact);
        let offset = self.offsets.entry(partition).or_default();
        self.waiting.push(Arrived { fact, partition, offset: *offset });
        *offset += 1;
    }

    pub fn append_all(&mut self, facts: impl IntoIterator<Item = Fact>) {
        facts.into_iter().for_each(|fact| self.append(fact));
    }

    /// Applies some of what waits: `choose` picks a number below its argument.
    pub fn apply_some(&mut self, mut choose: impl FnMut(usize) -> usize) {
        // Partitions are read at their own pace, each in its order.
        let mut batch = Vec::new();
        for partition in 0..PARTITIONS {
            let of = self.waiting.iter().filter(|arrived| arrived.partition == partition).count();
            let taken = choose(of + 1);
            let mut left = taken;
            self.waiting.retain(|arrived| {
                let take = arrived.partition == partition && left > 0;
                if take {
                    left -= 1;
                    batch.push(arrived.clone());
                }
                !take
            });
        }
        self.apply(&batch);
    }

    /// Applies all that waits.
    pub fn catch_up(&mut self) {
        let batch = std::mem::take(&mut self.waiting);
        self.apply(&batch);
    }

    fn apply(&mut self, facts: &[Arrived]) {
        let mut watched = Watched::default();
        for key in Watched::agents_of(facts) {
            if let Some(held) = self.agents.get(&key) {
                let (partition, watch) = through_json(held);
                watched.know_agent(key, partition, watch);
            }
        }
        for key in watched.calls_of(facts) {
            if let Some(held) = self.calls.get(&key) {
                watched.know_call(key, through_json(held));
            }
        }
        watched.apply(&self.bounds, facts);
        let subjects = watched.subjects();
        self.timers
            .retain(|_, set| set.stands || !subjects.contains(&(set.workspace.clone(), set.timer.subject.clone())));
        for made in watched.made() {
            let (subject, id) = made.subject.columns();
            let decision = Decision::from_word(made.decision).unwrap();
            self.timers.remove(&(made.workspace.clone(), (subject, id.to_owned()), decision, made.rests_on));
        }
        for set in watched.timers(&self.bounds) {
            self.timers.entry(timer_key(&set)).or_insert(set);
        }
        // As the store: only what has changed.
        let agents = watched.changed_agents();
        self.agents.extend(agents.map(|(key, partition, watch)| (key.clone(), (partition, watch.clone()))));
        self.calls.extend(watched.changed_calls().map(|(key, watch)| (key.clone(), watch.clone())));
        for (key, clock) in watched.clocks {
            let held = self.clocks.entry(key).or_insert(clock);
            *held = held.join(clock);
        }
    }

    /// Reads all there is, makes what is due when it is `ours` here, and appends it to the log.
    pub fn look(&mut self, ours: ReceivedAt) {
        self.catch_up();
        let clock = self.clocks.values().copied().reduce(Clock::join);
        let Some(now) = clock.map(|clock| clock.now(ours)) else { return };
        let due: Vec<SetTimer> = self.timers.values().filter(|set| set.timer.due_at <= now).cloned().collect();
        for set in due {
            let fact = set.timer.deciding(&set.workspace, ours).into_fact();
            self.made.push(Made { fact: fact.clone(), now, due_at: set.timer.due_at });
            self.append(fact);
        }
    }

    pub fn timers(&self) -> impl Iterator<Item = &SetTimer> {
        self.timers.values()
    }
}

/// As a database keeps it.
fn through_json<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
    serde_json::from_value(serde_json::to_value(value).unwrap()).unwrap()
}
