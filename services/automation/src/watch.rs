//! What a cut of the log does to what is remembered: pure, so that any cut of the same facts gives the same timers.

use std::collections::{BTreeMap, BTreeSet};

use helix_schemas::{
    decision::Decision,
    fact::{Body, Fact},
    id::FactId,
    names::{AgentId, CallId, WorkspaceId},
};

use crate::{
    agent::{AgentWatch, Sign, Touch},
    bounds::Bounds,
    call::CallWatch,
    clock::Clock,
    timer::{Subject, Timer},
};

/// Bounds of every configured workspace. Of any other nothing is presumed.
#[derive(Debug, Clone, Default)]
pub struct AllBounds(pub BTreeMap<WorkspaceId, Bounds>);

impl AllBounds {
    /// Bounds of one workspace.
    #[must_use]
    pub fn of(&self, workspace: &WorkspaceId) -> Bounds {
        self.0.get(workspace).copied().unwrap_or(Bounds::OFF)
    }
}

/// An agent of a workspace.
pub type AgentKey = (WorkspaceId, AgentId);
/// A call of a workspace.
pub type CallKey = (WorkspaceId, CallId);

/// A fact with its coordinates.
#[derive(Debug, Clone)]
pub struct Arrived {
    /// The fact.
    pub fact: Fact,
    /// The partition it lies in.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
}

/// A timer as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetTimer {
    /// The hospital.
    pub workspace: WorkspaceId,
    /// Whoever holds this partition makes the decision.
    pub partition: i32,
    /// What its subject's next fact no longer changes.
    pub stands: bool,
    /// Whether the batch held anything about its subject but decisions: those are our own, and what they leave in place
    /// has waited its time already.
    pub touched: bool,
    /// The timer.
    pub timer: Timer,
}

/// A decision that is in the log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Made {
    /// The hospital.
    pub workspace: WorkspaceId,
    /// About whom.
    pub subject: Subject,
    /// What.
    pub decision: &'static str,
    /// The fact it rests on.
    pub rests_on: FactId,
}

impl Made {
    fn of(workspace: &WorkspaceId, timer: &Timer) -> Option<Self> {
        Some(Self {
            workspace: workspace.clone(),
            subject: timer.subject.clone(),
            decision: timer.decision.as_str(),
            rests_on: *timer.evidence.first()?,
        })
    }
}

/// The subjects that a batch concerns. Whoever applies facts first tells what is known of them: [`Self::agents_of`],
/// [`Self::calls_of`]; and afterwards keeps what has changed, for most of what an agent may concern has not.
#[derive(Debug, Clone, Default)]
pub struct Watched {
    /// What the batch says of clocks, by workspace and partition.
    pub clocks: BTreeMap<(WorkspaceId, i32), Clock>,
    /// The agents, each with the partition of all its facts.
    agents: BTreeMap<AgentKey, (i32, AgentWatch)>,
    calls: BTreeMap<CallKey, CallWatch>,
    /// As they were told.
    known_agents: BTreeMap<AgentKey, AgentWatch>,
    known_calls: BTreeMap<CallKey, CallWatch>,
    standing: Vec<SetTimer>,
    made: BTreeSet<Made>,
    touched_agents: BTreeSet<AgentKey>,
    touched_calls: BTreeSet<CallKey>,
}

impl Watched {
    /// Tells what is known of an agent, and the partition of all its facts.
    pub fn know_agent(&mut self, key: AgentKey, partition: i32, watch: AgentWatch) {
        self.known_agents.insert(key.clone(), watch.clone());
        self.agents.insert(key, (partition, watch));
    }

    /// Tells what is known of a call.
    pub fn know_call(&mut self, key: CallKey, watch: CallWatch) {
        self.known_calls.insert(key.clone(), watch.clone());
        self.calls.insert(key, watch);
    }

    /// Agents of whom more is known now, each with its partition.
    pub fn changed_agents(&self) -> impl Iterator<Item = (&AgentKey, i32, &AgentWatch)> {
        let changed = self.agents.iter().filter(|(key, (_, watch))| self.known_agents.get(*key) != Some(watch));
        changed.map(|(key, (partition, watch))| (key, *partition, watch))
    }

    /// Calls of which more is known now.
    pub fn changed_calls(&self) -> impl Iterator<Item = (&CallKey, &CallWatch)> {
        self.calls.iter().filter(|(key, watch)| self.known_calls.get(*key) != Some(*watch))
    }

    /// The agents that facts are of.
    #[must_use]
    pub fn agents_of(facts: &[Arrived]) -> BTreeSet<AgentKey> {
        let keys = facts.iter().map(|arrived| &arrived.fact);
        keys.filter_map(|fact| Some((fact.workspace.clone(), fact.agent.clone()?))).collect()
    }

    /// The calls that facts are of, and those that the agents among them may still have; the agents are known.
    #[must_use]
    pub fn calls_of(&self, facts: &[Arrived]) -> BTreeSet<CallKey> {
        let own = facts.iter().map(|arrived| &arrived.fact).filter(|fact| CallWatch::concerns(fact));
        let own = own.filter_map(|fact| Some((fact.workspace.clone(), fact.call.clone()?)));
        let of_agents = self
            .agents
            .iter()
            .flat_map(|((workspace, _), (_, agent))| agent.calls().map(move |call| (workspace.clone(), call.clone())));
        own.chain(of_agents).collect()
    }

    /// Applies facts in their order.
    pub fn apply(&mut self, bounds: &AllBounds, facts: &[Arrived]) {
        for arrived in facts {
            self.take(&bounds.of(&arrived.fact.workspace), arrived);
        }
    }

    fn take(&mut self, bounds: &Bounds, arrived: &Arrived) {
        let Arrived { fact, partition, offset: _ } = arrived;
        let workspace = &fact.workspace;
        if let Some(clock) = Clock::of(fact) {
            let held = self.clocks.entry((workspace.clone(), *partition)).or_insert(clock);
            *held = held.join(clock);
        }
        self.touch(fact);
        if let Some(call) = fact.call.as_ref().filter(|_| CallWatch::concerns(fact)) {
            self.calls.entry((workspace.clone(), call.clone())).or_default().take(fact, *partition);
        }
        self.take_sign(bounds, arrived);
        self.heard(fact);
    }

    /// Notes whom a fact that is no decision concerns: its agent and its call, and the calls that its agent may still have.
    fn touch(&mut self, fact: &Fact) {
        if matches!(fact.body, Body::Decided(_)) {
            return;
        }
        if let Some(call) = &fact.call {
            self.touched_calls.insert((fact.workspace.clone(), call.clone()));
        }
        if let Some(agent) = &fact.agent {
            let key = (fact.workspace.clone(), agent.clone());
            if let Some((_, watch)) = self.agents.get(&key) {
                self.touched_calls.extend(watch.calls().map(|call| (fact.workspace.clone(), call.clone())));
            }
            self.touched_agents.insert(key);
        }
    }

    /// What a fact says of its agent, and through it of the agent's calls.
    fn take_sign(&mut self, bounds: &Bounds, arrived: &Arrived) {
        let Arrived { fact, partition, offset } = arrived;
        let Some((id, sign)) = Sign::of(fact, *offset) else { return };
        let workspace = &fact.workspace;
        let fresh = || (*partition, AgentWatch::default());
        let (_, agent) = self.agents.entry((workspace.clone(), id.clone())).or_insert_with(fresh);
        let standing = agent.take(&id, bounds, sign);
        self.standing.extend(standing.into_iter().map(|timer| SetTimer {
            workspace: workspace.clone(),
            partition: *partition,
            stands: true,
            touched: true,
            timer,
        }));
        if let Some(call) = &fact.call {
            match &fact.body {
                Body::CallRang(_) | Body::CallAnswered(_) => {
                    agent.touch(call, Touch { at: fact.occurred_at, fact: fact.id });
                }
                Body::CallEnded(_) => agent.ended(call),
                Body::AgentStateChanged(_)
                | Body::CallSummarised(_)
                | Body::DirectoryChanged(_)
                | Body::Decided(_)
                | Body::Unknown(_) => {}
            }
        }
        for freeing in agent.freed(bounds) {
            if let Some(call) = self.calls.get_mut(&(workspace.clone(), freeing.call.clone())) {
                call.freed(&id, &freeing);
            }
        }
    }

    /// Strikes out what is decided.
    fn heard(&mut self, fact: &Fact) {
        let Some((decision, decided)) = Decision::of(fact) else { return };
        let Some(rests_on) = decided.rests_on() else { return };
        let subject = match (&fact.call, &fact.agent) {
            (Some(call), _) if decision.is_of_call() => Subject::Call(call.clone()),
            (_, Some(agent)) => {
                if let Some((_, watch)) = self.agents.get_mut(&(fact.workspace.clone(), agent.clone())) {
                    watch.decided(decision, rests_on);
                }
                Subject::Agent(agent.clone())
            }
            (_, None) => return,
        };
        let made = Made { workspace: fact.workspace.clone(), subject, decision: decision.as_str(), rests_on };
        self.standing.retain(|set| Made::of(&set.workspace, &set.timer).as_ref() != Some(&made));
        self.made.insert(made);
    }

    /// Decisions that the batch held: their timers are gone, those that stand too.
    #[must_use]
    pub const fn made(&self) -> &BTreeSet<Made> {
        &self.made
    }

    /// Whose timers are to be set anew: of whom the batch told anything.
    #[must_use]
    pub fn subjects(&self) -> BTreeSet<(WorkspaceId, Subject)> {
        let agent = |(workspace, id): &AgentKey| (workspace.clone(), Subject::Agent(id.clone()));
        let call = |(workspace, id): &CallKey| (workspace.clone(), Subject::Call(id.clone()));
        let changed_agents = self.changed_agents().map(|(key, _, _)| agent(key));
        let changed_calls = self.changed_calls().map(|(key, _)| call(key));
        let agents = self.touched_agents.iter().map(agent).chain(changed_agents);
        // One that is over and has not changed has no timer.
        let is_open = |key: &&CallKey| self.calls.get(*key).is_some_and(CallWatch::is_open);
        let calls = self.touched_calls.iter().filter(is_open).map(call).chain(changed_calls);
        let made = self.made.iter().map(|made| (made.workspace.clone(), made.subject.clone()));
        agents.chain(calls).chain(made).collect()
    }

    /// The timers of [`Self::subjects`], as they are now: they take the place of those that these had, except of those that
    /// stand.
    #[must_use]
    pub fn timers(&self, bounds: &AllBounds) -> Vec<SetTimer> {
        let of_subjects = self.subjects().into_iter().flat_map(|(workspace, subject)| match subject {
            Subject::Agent(id) => self.timers_of_agent(bounds, (workspace, id)),
            Subject::Call(id) => self.timer_of_call(bounds, (workspace, id)).into_iter().collect(),
        });
        of_subjects.chain(self.standing.iter().cloned()).collect()
    }

    fn timers_of_agent(&self, bounds: &AllBounds, key: AgentKey) -> Vec<SetTimer> {
        let Some((partition, agent)) = self.agents.get(&key) else { return Vec::new() };
        let touched = self.touched_agents.contains(&key);
        let (workspace, id) = key;
        let timers = agent.timers(&id, &bounds.of(&workspace)).into_iter();
        let set =
            |timer| SetTimer { workspace: workspace.clone(), partition: *partition, stands: false, touched, timer };
        timers.map(set).collect()
    }

    fn timer_of_call(&self, bounds: &AllBounds, key: CallKey) -> Option<SetTimer> {
        let touched = self.touched_calls.contains(&key);
        let (partition, timer) = self.calls.get(&key)?.timer(&key.1, &bounds.of(&key.0))?;
        Some(SetTimer { workspace: key.0, partition, stands: false, touched, timer })
    }
}
