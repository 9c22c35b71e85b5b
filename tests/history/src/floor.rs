//! The floor: every agent has a next moment; whose it is acts, and the calls of that act happen.

use std::{cmp::Reverse, collections::BinaryHeap};

use helix_schemas::{
    fact::{AgentState, CallEnded, Direction, Fact},
    names::{AgentId, CallId},
};

use crate::{Plan, dice::Dice, make::Maker};

/// A callback comes this long after its call, milliseconds; some come an hour later.
const CALLBACK: (u32, u32) = (5_000, 40_000);
const LATE_CALLBACK: i64 = 3_600_000;

/// Facts with how long each is on its way beyond the usual, milliseconds.
pub(crate) type Sent = Vec<(Fact, i64)>;

pub(crate) struct Floor {
    make: Maker,
    agents: u32,
    /// Who acts next: Unix seconds, agent.
    next: BinaryHeap<Reverse<(i64, u32)>>,
    /// Who has signed in already.
    signed_in: Vec<bool>,
    calls: u64,
}

impl Floor {
    pub(crate) fn new(plan: &Plan) -> Self {
        let next = (0..plan.agents).map(|agent| Reverse((plan.start + i64::from(agent % 600), agent))).collect();
        Self {
            make: Maker::new(plan.workspace.clone()),
            agents: plan.agents,
            next,
            signed_in: vec![false; usize::try_from(plan.agents).unwrap_or(0)],
            calls: 0,
        }
    }

    /// When the next act begins, Unix seconds.
    pub(crate) fn next_at(&self) -> i64 {
        self.next.peek().map_or(0, |Reverse((at, _))| *at)
    }

    pub(crate) fn step(&mut self, dice: &mut Dice) -> Sent {
        let Some(Reverse((at, agent))) = self.next.pop() else { return Vec::new() };
        let mut sent = Vec::new();
        let until = self.act(dice, agent, at, &mut sent);
        self.next.push(Reverse((until, agent)));
        sent
    }

    /// What an agent does from `at` on; gives when it is free again.
    fn act(&mut self, dice: &mut Dice, number: u32, at: i64, sent: &mut Sent) -> i64 {
        let agent = self.make.agent(number);
        let signed_in = self.signed_in.get_mut(usize::try_from(number).unwrap_or(0));
        if let Some(signed_in) = signed_in.filter(|signed_in| !**signed_in) {
            *signed_in = true;
            self.state(sent, &agent, at, AgentState::Paused, Some("signed_in"));
            self.state(sent, &agent, at + 5, AgentState::Ready, None);
            return at + dice.between(10, 120);
        }
        match dice.below(100) {
            0..5 => self.queued(dice, at, sent),
            5..10 => {
                self.state(sent, &agent, at, AgentState::Paused, Some("Tea"));
                let back = at + dice.between(120, 900);
                self.state(sent, &agent, back, AgentState::Ready, None);
                back + dice.between(5, 60)
            }
            10..12 => {
                self.state(sent, &agent, at, AgentState::Offline, None);
                let back = at + dice.between(900, 4_000);
                self.state(sent, &agent, back, AgentState::Paused, Some("signed_in"));
                self.state(sent, &agent, back + 4, AgentState::Ready, None);
                back + dice.between(10, 60)
            }
            _ => self.call(dice, &agent, number, at, sent),
        }
    }

    fn state(&self, sent: &mut Sent, agent: &AgentId, at: i64, state: AgentState, reason: Option<&str>) {
        sent.push((self.make.state(agent, at, state, reason), 0));
    }

    fn number(&mut self, dice: &mut Dice) -> (CallId, String) {
        self.calls += 1;
        // A caller calls about twice, and soon again: a history of any length has no caller of endless calls.
        let caller = self.calls / 10 * 5 + u64::from(dice.below(5));
        (self.make.call(self.calls), format!("9190{:08}", caller % 100_000_000))
    }

    /// A caller who hangs up before any agent rings.
    fn queued(&mut self, dice: &mut Dice, at: i64, sent: &mut Sent) -> i64 {
        let (call, caller) = self.number(dice);
        let party = self.make.party(Direction::Inbound, &caller, dice);
        let gone = at + dice.between(2, 60);
        sent.push((self.make.rang(None, &call, at, party.clone()), 0));
        sent.push((self.make.ended(None, &call, gone, CallEnded { party, hangup_by: None }), 0));
        at + dice.between(1, 10)
    }

    fn call(&mut self, dice: &mut Dice, agent: &AgentId, number: u32, at: i64, sent: &mut Sent) -> i64 {
        let (call, caller) = self.number(dice);
        let direction = if dice.below(5) == 0 { Direction::Outbound } else { Direction::Inbound };
        let party = self.make.party(direction, &caller, dice);
        let rings = dice.between(2, 30);
        let ended = |at| (at, CallEnded { party: party.clone(), hangup_by: Some("UserHangup".to_owned()) });
        self.state(sent, agent, at, AgentState::Ringing, None);
        sent.push((self.make.rang(Some(agent), &call, at, party.clone()), 0));
        if dice.below(8) == 0 {
            let (gone, end) = ended(at + rings);
            sent.push((self.make.ended(Some(agent), &call, gone, end), 0));
            self.state(sent, agent, gone, AgentState::Ready, None);
            self.summary(dice, &call, std::slice::from_ref(agent), (at, None, gone), &party, sent);
            return gone + dice.between(5, 60);
        }
        let answered = at + rings;
        self.state(sent, agent, answered, AgentState::OnCall, None);
        sent.push((self.make.answered(Some(agent), &call, answered, party.clone()), 0));
        let mut end_at = answered + dice.between(20, 420);
        let mut chain = vec![agent.clone()];
        if dice.below(16) == 0 {
            // To a colleague, who may be busy with another act of their own: real floors have such overlaps too.
            let other = self.make.agent((number + 1 + dice.below(self.agents - 1)) % self.agents);
            sent.push((self.make.rang(Some(&other), &call, end_at, party.clone()), 0));
            sent.push((self.make.answered(Some(&other), &call, end_at + 5, party.clone()), 0));
            end_at += dice.between(20, 300);
            chain.push(other);
        }
        let (gone, end) = ended(end_at);
        let last = chain.last().cloned();
        sent.push((self.make.ended(last.as_ref(), &call, gone, end), 0));
        self.state(sent, agent, gone, AgentState::WrapUp, None);
        let free = gone + dice.between(3, 45);
        self.state(sent, agent, free, AgentState::Ready, None);
        self.summary(dice, &call, &chain, (at, Some(answered), gone), &party, sent);
        free + dice.between(5, 90)
    }

    fn summary(
        &self,
        dice: &mut Dice,
        call: &CallId,
        chain: &[AgentId],
        times: (i64, Option<i64>, i64),
        party: &helix_schemas::fact::CallParty,
        sent: &mut Sent,
    ) {
        let hour = if dice.below(50) == 0 { LATE_CALLBACK } else { 0 };
        let delay = dice.between(CALLBACK.0, CALLBACK.1) + hour;
        sent.push((self.make.summarised(chain, call, times, party.clone(), dice), delay));
    }
}
