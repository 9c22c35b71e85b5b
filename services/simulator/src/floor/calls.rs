//! What calls do: arrive, wait, ring here and there, get answered or given up, are passed on, end, and lead to others.

use super::{Floor, Step};
use crate::demand::Arrival;
use crate::scenario::Second;
use crate::truth::{
    AgentAction, AgentMode, AgentState, CallAction, Direction, EventKind, HangupBy, Id, Outcome, SHORT_ABANDON_SECONDS,
    TrueCall, TrueLeg,
};

/// After this long without an agent the provider ends the call.
const LONGEST_WAIT: Second = 180;
/// Wrap-up that nobody ends is ended by the provider, which also writes the disposition.
const WRAP_UP_LIMIT: Second = 120;
const WRAP_UP_EXCEEDED: &str = "Wrap up time exceeded :120";
/// How often a missed caller is tried.
const ATTEMPTS: u32 = 3;

const DISPOSITIONS: [&str; 7] = [
    "Appointment booked",
    "Enquiry answered",
    "Report ready",
    "Billing query",
    "Follow up required",
    "Doctor to call back",
    "Wrong number",
];

/// Where a call stands. Legs are indexes into the call's legs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Begun this second, not told yet.
    New,
    /// No agent yet; with the key in the line, whose first part is true for those who are not urgent.
    Waiting((bool, u64)),
    Ringing(usize),
    Talking(usize),
    /// Still talking on one leg while another rings for the transfer.
    Transferring(usize),
    Over,
}

/// A missed caller to be called back.
#[derive(Debug)]
pub(super) struct FollowUp {
    missed: usize,
    attempt: u32,
}

impl Floor<'_> {
    pub(super) fn arrive(&mut self, arrival: Arrival, follows: Option<Id>) {
        let skill = arrival.skill.map_or_else(String::new, |index| self.scenario.skills[index].name.clone());
        let call = self.begin(Direction::Inbound, arrival.caller, arrival.did, skill, follows);
        let patience = match self.dice.weighted(&[13, 52, 35]) {
            0 => self.dice.between(3, SHORT_ABANDON_SECONDS),
            1 => self.dice.between(12, 90),
            _ => self.dice.between(60, 300),
        };
        let patient = patience >= LONGEST_WAIT;
        self.plan_in(patience.min(LONGEST_WAIT), Step::GiveUp { call, patient });
        self.find_agent(call);
    }

    fn begin(
        &mut self,
        direction: Direction,
        caller: String,
        did: String,
        skill: String,
        follows: Option<Id>,
    ) -> usize {
        self.calls.push(TrueCall {
            call_id: self.ucids.next(self.now),
            direction,
            caller,
            did,
            skill,
            agents: Vec::new(),
            legs: Vec::new(),
            rang_at: self.now,
            answered_at: None,
            ended_at: self.now,
            hold: 0,
            wrap_up: 0,
            outcome: Outcome::Missed,
            hangup_by: HangupBy::System,
            disposition: "",
            transferred: false,
            follows,
        });
        self.phases.push(Phase::New);
        self.calls.len() - 1
    }

    /// Rings at the agent who has been idle longest, or puts the caller in the line and says so.
    fn find_agent(&mut self, call: usize) {
        if let Some((_, agent)) = self.available.pop_first() {
            self.offer(call, agent);
            return;
        }
        self.planned += 1;
        let place = (!self.is_urgent(call), self.planned);
        self.phases[call] = Phase::Waiting(place);
        self.waiting.insert(place, call);
        let leg = self.calls[call].call_id.clone();
        self.emit(None, Some(call), EventKind::Call { action: CallAction::Calling, leg });
    }

    fn is_urgent(&self, call: usize) -> bool {
        let name = &self.calls[call].skill;
        self.scenario.skills.iter().any(|skill| skill.urgent && skill.name == *name)
    }

    /// Matches those who wait with those who are free; whoever is left over calls missed callers back.
    pub(super) fn dispatch(&mut self) {
        while !self.waiting.is_empty() {
            let Some((_, agent)) = self.available.pop_first() else {
                return;
            };
            if let Some((_, call)) = self.waiting.pop_first() {
                self.offer(call, agent);
            }
        }
        let reserve = self.staff.len() / 6;
        while self.available.len() > reserve && !self.follow_ups.is_empty() {
            if let (Some((_, agent)), Some(follow_up)) = (self.available.pop_first(), self.follow_ups.pop_front()) {
                self.dial(agent, &follow_up);
            }
        }
    }

    fn offer(&mut self, call: usize, agent: usize) {
        let leg = self.ring_at(call, agent);
        self.phases[call] = Phase::Ringing(leg);
        if self.dice.chance(900) {
            let delay = self.dice.between(2, 12);
            self.plan_in(delay, Step::PickUp { call, leg });
        } else {
            let delay = self.dice.between(15, 20);
            self.plan_in(delay, Step::NotTaken { call, leg });
        }
    }

    /// A new leg at an agent; the call's very first event gives its own id to the leg.
    fn ring_at(&mut self, call: usize, agent: usize) -> usize {
        let first = self.calls[call].legs.is_empty() && self.calls[call].rang_at == self.now;
        let leg_id = if first { self.calls[call].call_id.clone() } else { self.ucids.next(self.now) };
        let leg = self.calls[call].legs.len();
        self.calls[call].legs.push(TrueLeg {
            leg_id,
            agent: self.staff[agent].id.clone(),
            rang_at: self.now,
            answered_at: None,
            left_at: self.now,
            agent_index: agent,
        });
        self.emit_both(call, leg, CallAction::Calling, AgentAction::Calling);
        self.set_state(agent, AgentState::Ringing, None, Some(call));
        leg
    }

    fn agent_of(&self, call: usize, leg: usize) -> usize {
        self.calls[call].legs[leg].agent_index
    }

    fn leave(&mut self, call: usize, leg: usize) {
        self.calls[call].legs[leg].left_at = self.now;
    }

    pub(super) fn pick_up(&mut self, call: usize, leg: usize) {
        if self.phases[call] != Phase::Ringing(leg) {
            return;
        }
        self.answered(call, leg);
        let talk = match self.dice.weighted(&[25, 58, 17]) {
            0 => self.dice.between(12, 60),
            1 => self.dice.between(60, 210),
            _ => self.dice.between(210, 540),
        };
        let inbound = self.calls[call].direction == Direction::Inbound;
        if inbound && self.dice.chance(80) {
            self.plan_in(talk / 3 + 5, Step::Transfer { call });
        } else {
            self.plan_in(talk, Step::HangUp { call });
        }
    }

    fn answered(&mut self, call: usize, leg: usize) {
        let agent = self.agent_of(call, leg);
        let id = self.staff[agent].id.clone();
        let whole = &mut self.calls[call];
        whole.legs[leg].answered_at = Some(self.now);
        whole.answered_at.get_or_insert(self.now);
        whole.outcome = Outcome::Answered;
        whole.agents.push(id);
        self.phases[call] = Phase::Talking(leg);
        self.emit_both(call, leg, CallAction::Answered, AgentAction::Incall);
        self.set_state(agent, AgentState::OnCall, None, Some(call));
    }

    pub(super) fn not_taken(&mut self, call: usize, leg: usize) {
        if self.phases[call] != Phase::Ringing(leg) {
            return;
        }
        self.leave(call, leg);
        let agent = self.agent_of(call, leg);
        match self.calls[call].direction {
            Direction::Inbound => {
                let rest = self.dice.between(4, 15);
                self.come_free(agent, rest);
                self.find_agent(call);
            }
            Direction::Outbound => self.not_reached(call, leg),
        }
    }

    pub(super) fn give_up(&mut self, call: usize, patient: bool) {
        match self.phases[call] {
            Phase::Waiting(place) => {
                self.waiting.remove(&place);
                let leg = self.calls[call].call_id.clone();
                self.emit(None, Some(call), EventKind::Call { action: CallAction::Disconnect, leg });
            }
            Phase::Ringing(leg) => {
                self.leave(call, leg);
                let agent = self.agent_of(call, leg);
                let leg_id = self.calls[call].legs[leg].leg_id.clone();
                let kind = EventKind::Call { action: CallAction::Disconnect, leg: leg_id };
                self.emit(Some(agent), Some(call), kind);
                self.come_free(agent, 0);
            }
            Phase::New | Phase::Talking(_) | Phase::Transferring(_) | Phase::Over => return,
        }
        self.phases[call] = Phase::Over;
        let whole = &mut self.calls[call];
        whole.ended_at = self.now;
        whole.hangup_by = if patient { HangupBy::System } else { HangupBy::User };
        let short = self.now - whole.rang_at <= SHORT_ABANDON_SECONDS;
        whole.outcome = if short { Outcome::ShortAbandon } else { Outcome::Missed };
        let delay = self.dice.between(2, 40);
        self.plan_in(delay, Step::Summarise { call });
        match self.dice.weighted(&[30, 45, 25]) {
            0 => {
                let delay = self.dice.between(45, 480);
                self.plan_in(delay, Step::RingAgain { missed: call });
            }
            1 => {
                let delay = self.dice.between(120, 1_200);
                self.plan_in(delay, Step::CallBackDue(FollowUp { missed: call, attempt: 1 }));
            }
            _ => {}
        }
    }

    pub(super) fn ring_again(&mut self, missed: usize) {
        if self.now >= self.scenario.closes_at() {
            return;
        }
        let before = &self.calls[missed];
        let skill = self.scenario.skills.iter().position(|skill| skill.name == before.skill);
        let follows = Some(before.call_id.clone());
        let arrival = Arrival { at: self.now, caller: before.caller.clone(), did: before.did.clone(), skill };
        self.arrive(arrival, follows);
    }

    pub(super) fn transfer(&mut self, call: usize) {
        let Phase::Talking(leg) = self.phases[call] else { return };
        // Nobody free to take it: the agent finishes alone.
        let Some((_, colleague)) = self.available.pop_first() else {
            let rest = self.dice.between(20, 150);
            self.plan_in(rest, Step::HangUp { call });
            return;
        };
        let to = self.ring_at(call, colleague);
        self.phases[call] = Phase::Transferring(leg);
        let delay = self.dice.between(2, 8);
        self.plan_in(delay, Step::HandOver { call, to });
    }

    pub(super) fn hand_over(&mut self, call: usize, to: usize) {
        let Phase::Transferring(from) = self.phases[call] else {
            return;
        };
        self.calls[call].transferred = true;
        self.answered(call, to);
        self.leave(call, from);
        let agent = self.agent_of(call, from);
        let kind = EventKind::Agent { action: AgentAction::Acw, reason: None, mode: AgentMode::Inbound };
        self.emit(Some(agent), Some(call), kind);
        self.wrap_up(agent, call);
        let rest = self.dice.between(30, 240);
        self.plan_in(rest, Step::HangUp { call });
    }

    pub(super) fn hang_up(&mut self, call: usize) {
        let Phase::Talking(leg) = self.phases[call] else { return };
        self.phases[call] = Phase::Over;
        self.leave(call, leg);
        self.emit_both(call, leg, CallAction::Disconnect, AgentAction::Acw);
        let agent = self.agent_of(call, leg);
        let wrap_up = self.wrap_up(agent, call);
        let by_agent = self.dice.chance(300);
        let disposition = if wrap_up == WRAP_UP_LIMIT { WRAP_UP_EXCEEDED } else { self.dice.pick(&DISPOSITIONS) };
        let talk = self.now - self.calls[call].answered_at.unwrap_or(self.now);
        let hold = if talk >= 60 && self.dice.chance(200) { self.dice.between(10, (talk / 3).min(90)) } else { 0 };
        let whole = &mut self.calls[call];
        whole.ended_at = self.now;
        whole.hangup_by = if by_agent { HangupBy::Agent } else { HangupBy::User };
        (whole.wrap_up, whole.disposition, whole.hold) = (wrap_up, disposition, hold);
        // Mostly soon after the wrap-up, at times so late that the agent's next call has begun or ended.
        let delay = if self.dice.chance(800) { self.dice.between(1, 20) } else { self.dice.between(60, 300) };
        self.plan_in(wrap_up + delay, Step::Summarise { call });
    }

    /// The agent's after-call work begins (its event is already told); gives its length.
    fn wrap_up(&mut self, agent: usize, call: usize) -> Second {
        let lasts = match self.dice.weighted(&[62, 26, 9, 3]) {
            0 => self.dice.between(4, 22),
            1 => self.dice.between(22, 55),
            2 => self.dice.between(55, WRAP_UP_LIMIT - 5),
            _ => WRAP_UP_LIMIT,
        };
        self.set_state(agent, AgentState::WrapUp, None, Some(call));
        let turn = self.staff[agent].turn;
        self.plan_in(lasts, Step::WrapUpOver { agent, turn });
        lasts
    }

    fn dial(&mut self, agent: usize, follow_up: &FollowUp) {
        let missed = &self.calls[follow_up.missed];
        let (caller, did, follows) = (missed.caller.clone(), missed.did.clone(), missed.call_id.clone());
        // A dialled call went through no queue.
        let call = self.begin(Direction::Outbound, caller, did, String::new(), Some(follows));
        self.calls[call].outcome = Outcome::NoAnswer;
        let leg = self.ring_at(call, agent);
        self.phases[call] = Phase::Ringing(leg);
        if self.dice.chance(650) {
            let delay = self.dice.between(4, 22);
            self.plan_in(delay, Step::PickUp { call, leg });
            return;
        }
        let delay = self.dice.between(20, 35);
        self.plan_in(delay, Step::NotTaken { call, leg });
        if follow_up.attempt < ATTEMPTS {
            let again = FollowUp { missed: follow_up.missed, attempt: follow_up.attempt + 1 };
            let pause = self.dice.between(600, 1_800);
            self.plan_in(pause, Step::CallBackDue(again));
        }
    }

    fn not_reached(&mut self, call: usize, leg: usize) {
        let agent = self.agent_of(call, leg);
        self.phases[call] = Phase::Over;
        let whole = &mut self.calls[call];
        (whole.ended_at, whole.hangup_by) = (self.now, HangupBy::System);
        let leg_id = whole.legs[leg].leg_id.clone();
        self.emit(Some(agent), Some(call), EventKind::Call { action: CallAction::Disconnect, leg: leg_id });
        self.come_free(agent, 0);
        let delay = self.dice.between(2, 30);
        self.plan_in(delay, Step::Summarise { call });
    }
}
