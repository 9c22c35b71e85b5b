//! The floor: demand and roster played against each other, second by second, into what really happened.
//!
//! A discrete-event simulation. Each step happens at a whole second; steps of one second happen in the order they were
//! planned, so the outcome depends on nothing but the scenario. `staff` holds what agents do by themselves, `calls` what
//! calls do to them. Nothing here knows how the provider spells or garbles the telling.
//!
//! Invariants that `tests/` checks on the outcome: an agent is in one state at a time and in at most one call; every
//! call ends; offered = answered + missed + short abandons.

mod calls;
mod staff;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::demand::{self, Arrival};
use crate::dice::{Dice, fixed_number};
use crate::roster::{self, Shift};
use crate::scenario::{Scenario, Second};
use crate::truth::{
    AgentAction, AgentInterval, AgentMode, CallAction, Direction, EventKind, Id, TrueCall, TrueEvent, Truth,
};

use calls::{FollowUp, Phase};
use staff::Staff;

/// Something that is planned to happen. Plans that reality has overtaken are recognised by `Phase` or by the agent's
/// `turn` and do nothing.
#[derive(Debug)]
enum Step {
    SignIn { agent: usize },
    GoReady { agent: usize, turn: u64 },
    BreakDue { agent: usize, pause: usize },
    StartBreak { agent: usize, turn: u64, pause: usize },
    BreakOver { agent: usize, turn: u64 },
    Rested { agent: usize, turn: u64 },
    WrapUpOver { agent: usize, turn: u64 },
    ShiftOver { agent: usize },
    Arrive(Arrival),
    RingAgain { missed: usize },
    GiveUp { call: usize, patient: bool },
    PickUp { call: usize, leg: usize },
    NotTaken { call: usize, leg: usize },
    Transfer { call: usize },
    HandOver { call: usize, to: usize },
    HangUp { call: usize },
    CallBackDue(FollowUp),
    Summarise { call: usize },
}

/// Plays the scenario's day.
pub(crate) fn play(scenario: &Scenario) -> Truth {
    let mut floor = Floor::new(scenario);
    floor.open();
    while let Some(((at, _), step)) = floor.steps.pop_first() {
        floor.now = at;
        floor.happen(step);
        floor.dispatch();
    }
    floor.close()
}

struct Floor<'a> {
    scenario: &'a Scenario,
    dice: Dice,
    now: Second,
    planned: u64,
    steps: BTreeMap<(Second, u64), Step>,
    shifts: Vec<Shift>,
    staff: Vec<Staff>,
    /// Agents who can be offered a call, longest idle first.
    available: BTreeSet<(Second, usize)>,
    calls: Vec<TrueCall>,
    phases: Vec<Phase>,
    /// Calls without an agent, next first: urgent ones, then by the time they joined the line.
    waiting: BTreeMap<(bool, u64), usize>,
    follow_ups: VecDeque<FollowUp>,
    events: Vec<TrueEvent>,
    ucids: Ucids,
}

impl<'a> Floor<'a> {
    fn new(scenario: &'a Scenario) -> Self {
        Self {
            scenario,
            dice: Dice::new(scenario.seed, &scenario.workspace, "floor"),
            now: 0,
            planned: 0,
            steps: BTreeMap::new(),
            shifts: roster::shifts(scenario),
            staff: scenario.agents.iter().map(|agent| Staff::new(Id::from(agent.id.as_str()))).collect(),
            available: BTreeSet::new(),
            calls: Vec::new(),
            phases: Vec::new(),
            waiting: BTreeMap::new(),
            follow_ups: VecDeque::new(),
            events: Vec::new(),
            ucids: Ucids::new(scenario),
        }
    }

    fn open(&mut self) {
        for agent in 0..self.shifts.len() {
            let shift = self.shifts[agent].clone();
            self.plan(shift.from, Step::SignIn { agent });
            for (pause, planned) in shift.breaks.iter().enumerate() {
                self.plan(planned.at, Step::BreakDue { agent, pause });
            }
            self.plan(shift.until, Step::ShiftOver { agent });
        }
        for arrival in demand::arrivals(self.scenario) {
            self.plan(arrival.at, Step::Arrive(arrival));
        }
    }

    fn plan(&mut self, at: Second, step: Step) {
        self.planned += 1;
        self.steps.insert((at, self.planned), step);
    }

    fn plan_in(&mut self, seconds: Second, step: Step) {
        self.plan(self.now + seconds, step);
    }

    fn happen(&mut self, step: Step) {
        match step {
            Step::SignIn { agent } => self.sign_in(agent),
            Step::GoReady { agent, turn } | Step::BreakOver { agent, turn } | Step::WrapUpOver { agent, turn } => {
                if self.staff[agent].turn == turn {
                    self.come_free(agent, 0);
                }
            }
            Step::BreakDue { agent, pause } => self.break_due(agent, pause),
            Step::StartBreak { agent, turn, pause } => {
                if self.staff[agent].turn == turn {
                    self.begin_break(agent, pause);
                }
            }
            Step::Rested { agent, turn } => {
                if self.staff[agent].turn == turn {
                    self.stand_in_line(agent);
                }
            }
            Step::ShiftOver { agent } => self.shift_over(agent),
            Step::Arrive(arrival) => self.arrive(arrival, None),
            Step::RingAgain { missed } => self.ring_again(missed),
            Step::GiveUp { call, patient } => self.give_up(call, patient),
            Step::PickUp { call, leg } => self.pick_up(call, leg),
            Step::NotTaken { call, leg } => self.not_taken(call, leg),
            Step::Transfer { call } => self.transfer(call),
            Step::HandOver { call, to } => self.hand_over(call, to),
            Step::HangUp { call } => self.hang_up(call),
            Step::CallBackDue(follow_up) => self.follow_ups.push_back(follow_up),
            Step::Summarise { call } => self.emit(None, Some(call), EventKind::Summary),
        }
    }

    fn emit(&mut self, agent: Option<usize>, call: Option<usize>, kind: EventKind) {
        self.events.push(TrueEvent {
            seq: self.events.len() as u64,
            occurred_at: self.now,
            agent: agent.map(|index| self.staff[index].id.clone()),
            call: call.map(|index| self.calls[index].call_id.clone()),
            kind,
            agent_index: agent,
            call_index: call,
        });
    }

    fn emit_agent(&mut self, agent: usize, action: AgentAction) {
        self.emit(Some(agent), None, EventKind::Agent { action, reason: None, mode: AgentMode::Inbound });
    }

    /// A call's change and its agent's, in one second; which of the two is told first varies.
    fn emit_both(&mut self, call: usize, leg: usize, call_action: CallAction, agent_action: AgentAction) {
        let (agent, leg) = {
            let leg = &self.calls[call].legs[leg];
            (leg.agent_index, leg.leg_id.clone())
        };
        let mode = match self.calls[call].direction {
            Direction::Inbound => AgentMode::Inbound,
            Direction::Outbound => AgentMode::Manual,
        };
        let told = [
            EventKind::Call { action: call_action, leg },
            EventKind::Agent { action: agent_action, reason: None, mode },
        ];
        let agent_first = self.dice.chance(200);
        let [first, second] = if agent_first { [1, 0] } else { [0, 1] };
        self.emit(Some(agent), Some(call), told[first].clone());
        self.emit(Some(agent), Some(call), told[second].clone());
    }

    fn close(mut self) -> Truth {
        self.now = (self.now + 1).max(self.scenario.closes_at());
        let mut intervals: Vec<AgentInterval> = Vec::new();
        for staff in &mut self.staff {
            staff.close_interval(self.now);
            intervals.append(&mut staff.intervals);
        }
        Truth { events: self.events, calls: self.calls, intervals, ends_at: self.now }
    }
}

/// Gives out call and leg ids that embed the Unix second, as recent ones do: a prefix of 3 or 4 digits that belongs to
/// seed and workspace, the second, and 3 digits that count within the second from a start of their own. Unique within a
/// day by construction; between workspaces and seeds by prefix and start.
struct Ucids {
    prefix: u64,
    first: u64,
    unix_start: i64,
    second: Second,
    used: u64,
}

impl Ucids {
    fn new(scenario: &Scenario) -> Self {
        let number = fixed_number(scenario.seed, &scenario.workspace, "ucid");
        Self {
            prefix: 100 + number % 9_000,
            first: (number >> 32) % 1_000,
            unix_start: scenario.unix_second(0),
            second: 0,
            used: 0,
        }
    }

    fn next(&mut self, now: Second) -> Id {
        if now != self.second {
            (self.second, self.used) = (now, 0);
        }
        // More than a thousand in one second move on to the next prefix instead of meeting the first.
        let prefix = self.prefix + self.used / 1_000;
        let last = (self.first + self.used) % 1_000;
        self.used += 1;
        Id::from(format!("{prefix}{:010}{last:03}", self.unix_start + i64::from(now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stay_unique_when_thousands_begin_in_one_second() {
        let mut ucids = Ucids::new(&Scenario::sample(1, "ramaiah"));
        let ids: BTreeSet<Id> = (0..7_000).map(|n| ucids.next(n / 3_500)).collect();
        assert_eq!(ids.len(), 7_000);
    }
}
