//! What agents do by themselves: sign in, become free, take breaks, go home.

use super::{Floor, Step};
use crate::scenario::Second;
use crate::truth::{AgentAction, AgentInterval, AgentMode, AgentState, EventKind, Id};

/// One agent's present and past.
pub(super) struct Staff {
    pub(super) id: Id,
    pub(super) state: AgentState,
    /// Counts changes of state, so that a plan made in an earlier state is recognised.
    pub(super) turn: u64,
    since: Second,
    reason: Option<&'static str>,
    call: Option<Id>,
    /// A break that came due while the agent was busy.
    break_owed: Option<usize>,
    /// The agent's key in the line of those who can be offered a call.
    in_line_since: Option<Second>,
    pub(super) intervals: Vec<AgentInterval>,
}

impl Staff {
    pub(super) fn new(id: Id) -> Self {
        Self {
            id,
            state: AgentState::Offline,
            turn: 0,
            since: 0,
            reason: None,
            call: None,
            break_owed: None,
            in_line_since: None,
            intervals: Vec::new(),
        }
    }

    /// Ends the present state. A state that lasted less than a second leaves no interval.
    pub(super) fn close_interval(&mut self, now: Second) {
        if now > self.since {
            self.intervals.push(AgentInterval {
                agent: self.id.clone(),
                state: self.state,
                reason: self.reason,
                from: self.since,
                to: now,
                call: self.call.clone(),
            });
        }
        self.since = now;
    }
}

impl Floor<'_> {
    /// Moves an agent to a state and out of the line of those who can be offered a call.
    pub(super) fn set_state(
        &mut self,
        agent: usize,
        state: AgentState,
        reason: Option<&'static str>,
        call: Option<usize>,
    ) {
        let call = call.map(|index| self.calls[index].call_id.clone());
        let staff = &mut self.staff[agent];
        // Whoever was picked has left the line already; then there is nothing to remove.
        if let Some(since) = staff.in_line_since.take() {
            self.available.remove(&(since, agent));
        }
        staff.close_interval(self.now);
        (staff.state, staff.reason, staff.call) = (state, reason, call);
        staff.turn += 1;
    }

    pub(super) fn sign_in(&mut self, agent: usize) {
        self.emit_agent(agent, AgentAction::Login);
        self.set_state(agent, AgentState::Paused, Some("signed_in"), None);
        let turn = self.staff[agent].turn;
        let delay = self.dice.between(2, 20);
        self.plan_in(delay, Step::GoReady { agent, turn });
    }

    /// The agent has nothing in hand: home, to an owed break, or available, the latter after `rest` seconds.
    pub(super) fn come_free(&mut self, agent: usize, rest: Second) {
        if self.now >= self.shifts[agent].until {
            self.log_out(agent);
            return;
        }
        match self.dice.weighted(&[80, 12, 8]) {
            0 => self.emit_agent(agent, AgentAction::Release),
            1 => {
                self.emit_agent(agent, AgentAction::Release);
                self.emit_agent(agent, AgentAction::Idle);
            }
            _ => self.emit_agent(agent, AgentAction::Idle),
        }
        self.set_state(agent, AgentState::Ready, None, None);
        let turn = self.staff[agent].turn;
        if let Some(pause) = self.staff[agent].break_owed.take() {
            // The provider refuses a pause out of wrap-up, hence ready for a moment.
            let moment = self.dice.between(1, 4);
            self.plan_in(moment, Step::StartBreak { agent, turn, pause });
        } else if rest > 0 {
            self.plan_in(rest, Step::Rested { agent, turn });
        } else {
            self.stand_in_line(agent);
        }
    }

    /// The agent can be offered a call from now on.
    pub(super) fn stand_in_line(&mut self, agent: usize) {
        self.staff[agent].in_line_since = Some(self.now);
        self.available.insert((self.now, agent));
    }

    pub(super) fn break_due(&mut self, agent: usize, pause: usize) {
        match self.staff[agent].state {
            AgentState::Offline | AgentState::Paused => {}
            AgentState::Ready => self.begin_break(agent, pause),
            AgentState::Ringing | AgentState::OnCall | AgentState::WrapUp => self.staff[agent].break_owed = Some(pause),
        }
    }

    pub(super) fn begin_break(&mut self, agent: usize, pause: usize) {
        let planned = self.shifts[agent].breaks[pause].clone();
        let reason = Some(planned.reason);
        self.emit(Some(agent), None, EventKind::Agent { action: planned.action, reason, mode: AgentMode::Inbound });
        self.set_state(agent, AgentState::Paused, reason, None);
        let turn = self.staff[agent].turn;
        self.plan_in(planned.lasts, Step::BreakOver { agent, turn });
    }

    /// Who is busy at the end of the shift goes home when free.
    pub(super) fn shift_over(&mut self, agent: usize) {
        match self.staff[agent].state {
            AgentState::Ready | AgentState::Paused => self.log_out(agent),
            AgentState::Offline | AgentState::Ringing | AgentState::OnCall | AgentState::WrapUp => {}
        }
    }

    fn log_out(&mut self, agent: usize) {
        self.emit_agent(agent, AgentAction::Logout);
        self.set_state(agent, AgentState::Offline, None, None);
    }
}
