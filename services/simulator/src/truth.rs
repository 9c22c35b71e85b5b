//! What really happened, apart from how the provider told it.
//!
//! Words and boundaries are those of contract.md, so that a projection of a fault-free day must find exactly this.

use std::sync::Arc;

use crate::scenario::Second;

/// An agent's or a call's id; cheap to share.
pub type Id = Arc<str>;

/// Ended unanswered within this many seconds of ringing is a short abandon, at exactly this many too (metrics.md).
pub const SHORT_ABANDON_SECONDS: Second = 10;

/// The agent actions of ozonetel.md section 1.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AgentAction {
    /// Signed in, not ready yet.
    Login,
    /// Back to available.
    Release,
    /// Available; seen alone and beside `release` in the same second.
    Idle,
    /// A call rings at the agent, or the agent dials.
    Calling,
    /// In conversation.
    Incall,
    /// After-call work.
    Acw,
    /// A break.
    Pause,
    /// A break, the other word for it.
    Aux,
    /// Gone.
    Logout,
}

impl AgentAction {
    /// As the provider spells it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Release => "release",
            Self::Idle => "IDLE",
            Self::Calling => "calling",
            Self::Incall => "incall",
            Self::Acw => "ACW",
            Self::Pause => "pause",
            Self::Aux => "AUX",
            Self::Logout => "logout",
        }
    }
}

/// The three documented call actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallAction {
    /// Rings at an agent, or waits for one.
    Calling,
    /// An agent (inbound) or the customer (outbound) picked up.
    Answered,
    /// The call is over.
    Disconnect,
}

impl CallAction {
    /// As the provider spells it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Calling => "Calling",
            Self::Answered => "Answered",
            Self::Disconnect => "Disconnect",
        }
    }
}

/// `agentMode` of an agent event. Only `INBOUND` was ever observed; `MANUAL` for a dialled call is an inference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentMode {
    /// Takes calls.
    Inbound,
    /// Dials.
    Manual,
}

/// What kind of thing happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// An agent changed state.
    Agent {
        /// The change.
        action: AgentAction,
        /// Why, for a break.
        reason: Option<&'static str>,
        /// The agent's mode.
        mode: AgentMode,
    },
    /// A call changed state.
    Call {
        /// The change.
        action: CallAction,
        /// The leg (`ucid`) it concerns.
        leg: Id,
    },
    /// The campaign callback of a finished call was sent.
    Summary,
    /// Nothing truly happened: the provider sent an action that nobody documented.
    Noise {
        /// The action.
        word: &'static str,
    },
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrueEvent {
    /// Position in the day; also the true order within one second. Noise repeats the number of the event it precedes.
    pub seq: u64,
    /// When it happened.
    pub occurred_at: Second,
    /// The agent concerned, if any.
    pub agent: Option<Id>,
    /// The call concerned, if any; agent events of a call carry it here although the provider does not say it.
    pub call: Option<Id>,
    /// What happened.
    pub kind: EventKind,
    /// Index into [`Scenario::agents`](crate::Scenario).
    pub(crate) agent_index: Option<usize>,
    /// Index into [`Truth::calls`].
    pub(crate) call_index: Option<usize>,
}

impl TrueEvent {
    /// The entity whose order of telling matters: the agent, or the call when there is no agent.
    pub fn key(&self) -> Option<&Id> {
        self.agent.as_ref().or(self.call.as_ref())
    }
}

/// Who began the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// The caller.
    Inbound,
    /// An agent, by manual dial.
    Outbound,
}

/// How a call came out, in the words of contract.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Answered.
    Answered,
    /// Inbound, ended unanswered after [`SHORT_ABANDON_SECONDS`].
    Missed,
    /// Inbound, ended unanswered before.
    ShortAbandon,
    /// Outbound, not picked up.
    NoAnswer,
}

/// Who ended the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HangupBy {
    /// The caller or the called customer.
    User,
    /// The agent.
    Agent,
    /// The provider, e.g. after too long a wait.
    System,
}

/// One agent's part in a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrueLeg {
    /// The leg's `ucid`; equal to the call's id for a call's first leg.
    pub leg_id: Id,
    /// Who was rung or dialled.
    pub agent: Id,
    /// From when.
    pub rang_at: Second,
    /// When it was picked up.
    pub answered_at: Option<Second>,
    /// When the agent was out of it: the conversation passed on or over, or the ringing given up.
    pub left_at: Second,
    pub(crate) agent_index: usize,
}

/// A call as it really was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrueCall {
    /// `monitor_ucid`.
    pub call_id: Id,
    /// Who began it.
    pub direction: Direction,
    /// The customer's number, `91` and ten digits.
    pub caller: String,
    /// The hospital's number.
    pub did: String,
    /// Queue; empty if none.
    pub skill: String,
    /// Agents who spoke, in order; several after a transfer.
    pub agents: Vec<Id>,
    /// Every offer, in order, with those that were not taken.
    pub legs: Vec<TrueLeg>,
    /// First ringing, or first waiting.
    pub rang_at: Second,
    /// First answer.
    pub answered_at: Option<Second>,
    /// End of the conversation or of the waiting.
    pub ended_at: Second,
    /// Seconds on hold, part of the talk.
    pub hold: Second,
    /// The last agent's after-call work in seconds.
    pub wrap_up: Second,
    /// How it came out.
    pub outcome: Outcome,
    /// Who ended it.
    pub hangup_by: HangupBy,
    /// What the agent noted; empty when nobody did.
    pub disposition: &'static str,
    /// True after a transfer from one agent to another.
    pub transferred: bool,
    /// The missed call that this one follows: the caller rang again, or an agent called back.
    pub follows: Option<Id>,
}

/// State of an agent, in the words of contract.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AgentState {
    /// Not signed in.
    Offline,
    /// Signed in and not available: just signed in (reason `signed_in`) or on a break.
    Paused,
    /// Available.
    Ready,
    /// A call rings, or the agent dials.
    Ringing,
    /// In conversation.
    OnCall,
    /// After-call work.
    WrapUp,
}

/// An agent was in one state from one second to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentInterval {
    /// Who.
    pub agent: Id,
    /// In what state.
    pub state: AgentState,
    /// Why, when paused.
    pub reason: Option<&'static str>,
    /// First second.
    pub from: Second,
    /// The second in which the next state began; never equal to `from`.
    pub to: Second,
    /// The call concerned, when ringing, on a call or in wrap-up.
    pub call: Option<Id>,
}

/// Everything that really happened on one day.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Truth {
    /// Every event in the order it happened.
    pub events: Vec<TrueEvent>,
    /// Every call, by beginning.
    pub calls: Vec<TrueCall>,
    /// Every agent's states, by agent (in the scenario's order) and time; each agent's cover `0..ends_at` without gap.
    pub intervals: Vec<AgentInterval>,
    /// The second after the last event.
    pub ends_at: Second,
}

impl Truth {
    /// How many calls of a direction came out so.
    pub fn count(&self, direction: Direction, outcome: Outcome) -> u64 {
        self.calls.iter().filter(|call| call.direction == direction && call.outcome == outcome).count() as u64
    }

    /// How many inbound calls were offered.
    pub fn offered(&self) -> u64 {
        self.calls.iter().filter(|call| call.direction == Direction::Inbound).count() as u64
    }
}
