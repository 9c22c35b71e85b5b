//! Sessions: from signing in to signing out (docs/rules.md, "Sessions"). The view `read.agent_sessions` says the same.
//!
//! A session is a maximal run of intervals in which the agent is not offline. Intervals leave no gap, and their seconds are
//! differences of moments cut to whole seconds, so the seconds by state add up to the signed-in time exactly.

use helix_schemas::{fact::AgentState, time::OccurredAt};

use crate::agent::Interval;

/// What ended a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedBy {
    /// The agent signed out.
    Logout,
    /// The agent is presumed to have gone.
    Presumed,
    /// The day ended.
    DayEnd,
}

impl EndedBy {
    /// The word in SQL and HTTP.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::Presumed => "presumed",
            Self::DayEnd => "day_end",
        }
    }

    fn of(offline: &Interval) -> Self {
        match (offline.presumed, offline.reason.as_deref()) {
            (false, _) => Self::Logout,
            (true, Some("day_end")) => Self::DayEnd,
            (true, _) => Self::Presumed,
        }
    }
}

/// One session of an agent. Seconds count what has ended; an open interval counts nothing yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Signed in.
    pub started_at: OccurredAt,
    /// Signed out; null while signed in.
    pub ended_at: Option<OccurredAt>,
    /// What ended it.
    pub ended_by: Option<EndedBy>,
    /// All of it.
    pub signed_in_seconds: i64,
    /// Of it, in state `ready`.
    pub ready_seconds: i64,
    /// In state `ringing`.
    pub ringing_seconds: i64,
    /// In state `on_call`.
    pub on_call_seconds: i64,
    /// In state `wrap_up`.
    pub wrap_up_seconds: i64,
    /// In state `paused`.
    pub paused_seconds: i64,
    /// In state `unknown`.
    pub unknown_seconds: i64,
}

impl Session {
    const fn begun(at: OccurredAt) -> Self {
        Self {
            started_at: at,
            ended_at: None,
            ended_by: None,
            signed_in_seconds: 0,
            ready_seconds: 0,
            ringing_seconds: 0,
            on_call_seconds: 0,
            wrap_up_seconds: 0,
            paused_seconds: 0,
            unknown_seconds: 0,
        }
    }

    fn count(&mut self, interval: &Interval) {
        let Some(ended_at) = interval.ended_at else { return };
        let seconds = whole_seconds(ended_at) - whole_seconds(interval.started_at);
        self.signed_in_seconds = whole_seconds(ended_at) - whole_seconds(self.started_at);
        match interval.state {
            AgentState::Ready => self.ready_seconds += seconds,
            AgentState::Ringing => self.ringing_seconds += seconds,
            AgentState::OnCall => self.on_call_seconds += seconds,
            AgentState::WrapUp => self.wrap_up_seconds += seconds,
            AgentState::Paused => self.paused_seconds += seconds,
            AgentState::Unknown => self.unknown_seconds += seconds,
            // No part of a session.
            AgentState::Offline => {}
        }
    }
}

const fn whole_seconds(at: OccurredAt) -> i64 {
    at.millis().div_euclid(1000)
}

/// The sessions in an agent's intervals, which are given in order and all of them.
#[must_use]
pub fn sessions(intervals: &[Interval]) -> Vec<Session> {
    let mut found: Vec<Session> = Vec::new();
    let mut signed_in = false;
    for interval in intervals {
        if interval.state == AgentState::Offline {
            if let Some(session) = found.last_mut().filter(|_| signed_in) {
                session.ended_at = Some(interval.started_at);
                session.ended_by = Some(EndedBy::of(interval));
            }
            signed_in = false;
            continue;
        }
        if !signed_in {
            found.push(Session::begun(interval.started_at));
            signed_in = true;
        }
        if let Some(session) = found.last_mut() {
            session.count(interval);
        }
    }
    found
}
