//! What is remembered of an agent: the last signs of life, and the calls that the agent may still have.
//!
//! Two rules look at it. A wrap-up that no other state ended within its bound has expired. A silence of an agent who is
//! signed in, beyond its bound or over the day's end, means offline; it is decided once for each state that the agent was
//! silent in. Both are read off gaps between signs, and a gap that is long over counts like one that lasts: what is decided
//! does not depend on when it is looked at.
//!
//! Only the newest signs are kept, with the state before them. What could still be decided of those that are forgotten
//! is handed out as timers that stand.

use std::collections::BTreeMap;

use helix_schemas::{
    decision::{Decision, attribute},
    fact::{AgentState, Body, Fact},
    id::FactId,
    names::{AgentId, CallId},
    time::OccurredAt,
};
use serde::{Deserialize, Serialize};

use crate::{
    bounds::{Bounds, Silence, later, positive},
    call::Freed,
    clock::is_too_far_ahead,
    timer::{Subject, Timer},
};

/// Signs this much older than the newest are forgotten: what comes later than that corrects history, but nothing is
/// presumed of it any more.
pub const REMEMBERED_MILLIS: i64 = 15 * 60 * 1000;
/// Not more than this many are kept, whatever storm there is; nor more calls.
pub const REMEMBERED: usize = 64;
/// A call that an agent touched is forgotten when all that is remembered of the agent is later than its first free moment,
/// when [`REMEMBERED`] calls were touched later, or after this.
const CALL_REMEMBERED_MILLIS: i64 = 2 * 24 * 3600 * 1000;

/// A sign of life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sign {
    at: OccurredAt,
    arrival: i64,
    fact: FactId,
    /// The state, where it says one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<AgentState>,
    /// The wrap-up that began here was decided to have expired.
    #[serde(default, skip_serializing_if = "is_false")]
    expired: bool,
    /// The silence in this state was decided.
    #[serde(default, skip_serializing_if = "is_false")]
    closed: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde hands it over so.
const fn is_false(value: &bool) -> bool {
    !*value
}

impl Sign {
    /// The sign of life that a fact is to its agent, if it is one. A summary is none: the provider writes it, at its leisure.
    /// Neither is one of a time too far ahead: all that is true would be older than what is remembered.
    #[must_use]
    pub fn of(fact: &Fact, arrival: i64) -> Option<(AgentId, Self)> {
        let agent = fact.agent.clone().filter(|_| !is_too_far_ahead(fact))?;
        let state = match &fact.body {
            Body::AgentStateChanged(changed) => Some(changed.state.0),
            Body::Unknown(unknown) if unknown.event == "agent" => Some(AgentState::Unknown),
            Body::CallRang(_) | Body::CallAnswered(_) | Body::CallEnded(_) => None,
            Body::CallSummarised(_) | Body::DirectoryChanged(_) | Body::Decided(_) | Body::Unknown(_) => return None,
        };
        let sign = Self { at: fact.occurred_at, arrival, fact: fact.id, state, expired: false, closed: false };
        Some((agent, sign))
    }

    const fn order(&self) -> (OccurredAt, i64) {
        (self.at, self.arrival)
    }

    /// The agent has no call in this state.
    fn is_free(&self) -> bool {
        matches!(self.state, Some(AgentState::Ready | AgentState::Offline))
    }
}

/// When an agent last had a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Touch {
    /// When.
    pub at: OccurredAt,
    /// By which fact.
    pub fact: FactId,
}

/// One agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentWatch {
    /// In order.
    signs: Vec<Sign>,
    /// What is older was forgotten.
    #[serde(default)]
    horizon: Option<OccurredAt>,
    /// Silences that began before were looked at when what followed them was forgotten.
    #[serde(default)]
    examined: Option<OccurredAt>,
    /// Calls that the agent touched and has not been free since, or only a moment ago.
    #[serde(default)]
    calls: BTreeMap<CallId, Part>,
}

/// An agent's part in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    touch: Touch,
    /// The first free moment after it: what comes late may yet make it another.
    #[serde(default)]
    freed: Option<Freed>,
}

/// From when on an agent cannot have a call any more: what was thought, and what is known now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freeing {
    /// The call.
    pub call: CallId,
    /// The agent's last sign of it.
    pub touched: Touch,
    /// As it was told last.
    pub before: Option<Freed>,
    /// As it is.
    pub now: Option<Freed>,
}

/// A timer of an agent, and what it hangs on.
struct Candidate {
    timer: Timer,
    /// When that was after which nothing came in time.
    since: OccurredAt,
    /// Nothing that comes in order can change it any more.
    over: bool,
}

impl AgentWatch {
    /// Takes a sign of life; what is known already, or older than what is remembered, changes nothing. Gives back the
    /// timers of what is forgotten by it: they stand.
    pub fn take(&mut self, agent: &AgentId, bounds: &Bounds, sign: Sign) -> Vec<Timer> {
        let too_old = self.horizon.is_some_and(|horizon| sign.at < horizon);
        if too_old || self.signs.iter().any(|known| known.fact == sign.fact) {
            return Vec::new();
        }
        let place = self.signs.partition_point(|known| known.order() < sign.order());
        self.signs.insert(place, sign);
        self.forget(agent, bounds)
    }

    /// The agent had a call.
    pub fn touch(&mut self, call: &CallId, touch: Touch) {
        let part = self.calls.entry(call.clone()).or_insert(Part { touch, freed: None });
        if part.touch < touch {
            *part = Part { touch, freed: None };
        }
        let oldest = part.touch.at.millis().saturating_sub(CALL_REMEMBERED_MILLIS);
        self.calls.retain(|_, part| part.touch.at.millis() >= oldest);
        // Of an agent of whom no states come nothing says that it is free: the calls would be two days' worth.
        while self.calls.len() > REMEMBERED {
            let Some(first) = self.calls.iter().min_by_key(|(call, part)| (part.touch, *call)) else { return };
            let first = first.0.clone();
            self.calls.remove(&first);
        }
    }

    /// The call is over.
    pub fn ended(&mut self, call: &CallId) {
        self.calls.remove(call);
    }

    /// Calls that the agent may still have.
    pub fn calls(&self) -> impl Iterator<Item = &CallId> {
        self.calls.keys()
    }

    /// From when on the agent cannot have its calls any more, as far as that is news.
    pub fn freed(&mut self, bounds: &Bounds) -> Vec<Freeing> {
        // What is older than all that is remembered does not change any more, and is not to be judged by what is left.
        let first = self.signs.first().map(|sign| sign.at);
        self.calls.retain(|_, part| part.freed.is_none_or(|freed| first.is_none_or(|first| freed.at > first)));
        let mut news = Vec::new();
        for (call, part) in &mut self.calls {
            let now = free_after(&self.signs, part.touch.at, bounds.call_grace_seconds);
            let before = std::mem::replace(&mut part.freed, now);
            if now != before {
                news.push(Freeing { call: call.clone(), touched: part.touch, before, now });
            }
        }
        news
    }

    /// A decision about this agent is in the log.
    pub fn decided(&mut self, decision: Decision, rests_on: FactId) {
        let Some(sign) = self.signs.iter_mut().find(|sign| sign.fact == rests_on) else { return };
        match decision {
            Decision::WrapUpExpired => sign.expired = true,
            Decision::AgentPresumedOffline | Decision::SessionClosed => sign.closed = true,
            Decision::CallPresumedEnded
            | Decision::MissedCallClaimed
            | Decision::MissedCallReleased
            | Decision::MissedCallWaived => {}
        }
    }

    /// What is to be decided of this agent, and when, as far as is known now.
    #[must_use]
    pub fn timers(&self, agent: &AgentId, bounds: &Bounds) -> Vec<Timer> {
        self.candidates(agent, bounds).into_iter().map(|candidate| candidate.timer).collect()
    }

    fn candidates(&self, agent: &AgentId, bounds: &Bounds) -> Vec<Candidate> {
        let mut found = Vec::new();
        for (place, sign) in self.signs.iter().enumerate() {
            let Some(state) = sign.state else { continue };
            let after = self.signs.get(place + 1..).unwrap_or_default();
            let lasting = after.iter().position(|next| next.state.is_some());
            if state == AgentState::WrapUp && !sign.expired {
                let next = lasting.and_then(|next| after.get(next));
                found.extend(wrap_up(agent, bounds, sign, next));
            }
            if state != AgentState::Offline && !sign.closed {
                // Up to the next state, which is a sign of life too.
                let signs = self.signs.get(place..=lasting.map_or(self.signs.len() - 1, |next| place + 1 + next));
                found.extend(self.silence(agent, bounds, signs.unwrap_or_default()));
            }
        }
        found
    }

    /// Forgets what is old, except the state and the sign that what is remembered follows upon.
    fn forget(&mut self, agent: &AgentId, bounds: &Bounds) -> Vec<Timer> {
        let Some(newest) = self.signs.last() else { return Vec::new() };
        let by_age = OccurredAt::from_millis(newest.at.millis().saturating_sub(REMEMBERED_MILLIS));
        let by_number = self.signs.len().checked_sub(REMEMBERED).and_then(|place| self.signs.get(place));
        let start = by_number.map_or(by_age, |sign| by_age.max(sign.at));
        let old = self.signs.partition_point(|sign| sign.at < start);
        let last_state = self.signs.get(..old).unwrap_or_default().iter().rposition(|sign| sign.state.is_some());
        let kept = |place: usize| Some(place) == last_state || place + 1 == old || place >= old;
        if (0..old).all(kept) {
            return Vec::new();
        }
        let candidates = self.candidates(agent, bounds);
        let all = std::mem::take(&mut self.signs);
        let followed = old.checked_sub(1).and_then(|place| all.get(place)).map(|sign| sign.at);
        self.signs = all.into_iter().enumerate().filter(|(place, _)| kept(*place)).map(|(_, sign)| sign).collect();
        self.horizon = self.signs.first().map(|sign| sign.at);
        self.examined = self.examined.max(followed);
        let mut standing = Vec::new();
        for Candidate { timer, since, over } in candidates {
            let Some(rests_on) = timer.evidence.first().copied() else { continue };
            let forgotten = !self.signs.iter().any(|sign| sign.fact == rests_on);
            let passed = timer.decision != Decision::WrapUpExpired && Some(since) < self.examined;
            if over && (forgotten || passed) {
                self.decided(timer.decision, rests_on);
                standing.push(timer);
            }
        }
        standing
    }

    /// The first silence that is too long among signs, the first of which is the state that the agent was in and the last
    /// perhaps the next state.
    fn silence(&self, agent: &AgentId, bounds: &Bounds, signs: &[Sign]) -> Option<Candidate> {
        let state = signs.first()?;
        let gaps = signs.iter().enumerate().map(|(place, sign)| (sign, signs.get(place + 1)));
        // The next state ends the gap before it and begins none here.
        let gaps = gaps.filter(|(sign, _)| sign.fact == state.fact || sign.state.is_none());
        let mut gaps = gaps.filter(|(sign, _)| self.examined.is_none_or(|examined| sign.at >= examined));
        gaps.find_map(|(since, next)| {
            let silence: Silence = bounds.silence(since.at)?;
            if next.is_some_and(|next| next.at <= silence.due_at) {
                return None;
            }
            let attribute = match silence.day {
                Some(day) => (attribute::DAY.to_owned(), day.to_string()),
                None => (attribute::BOUND_SECONDS.to_owned(), bounds.silence_seconds.to_string()),
            };
            let mut evidence = vec![state.fact];
            evidence.extend((since.fact != state.fact).then_some(since.fact));
            let timer = Timer {
                decision: silence.decision(),
                subject: Subject::Agent(agent.clone()),
                agent: None,
                effective_at: silence.effective_at,
                due_at: silence.due_at,
                evidence,
                attributes: BTreeMap::from([attribute]),
            };
            Some(Candidate { timer, since: since.at, over: next.is_some() })
        })
    }
}

/// The first free moment by the grace after a call's last sign of life: a state soon after that may be one of before it. One
/// that lasts until then is not.
fn free_after(signs: &[Sign], touched_at: OccurredAt, grace_seconds: i64) -> Option<Freed> {
    let from = later(touched_at, grace_seconds);
    let before = signs.iter().rfind(|sign| sign.state.is_some() && sign.at < from);
    let lasting = before.filter(|sign| sign.is_free() && sign.at > touched_at);
    let first = lasting.or_else(|| signs.iter().find(|sign| sign.is_free() && sign.at >= from))?;
    Some(Freed { at: first.at.max(from), fact: first.fact, offline: first.state == Some(AgentState::Offline) })
}

/// The wrap-up that begins with `sign` and ends with `next`.
fn wrap_up(agent: &AgentId, bounds: &Bounds, sign: &Sign, next: Option<&Sign>) -> Option<Candidate> {
    let bound = positive(bounds.wrap_up_seconds)?;
    let expires_at = later(sign.at, bound);
    if next.is_some_and(|next| next.at <= expires_at) {
        return None;
    }
    let timer = Timer {
        decision: Decision::WrapUpExpired,
        subject: Subject::Agent(agent.clone()),
        agent: None,
        effective_at: expires_at,
        due_at: expires_at,
        evidence: vec![sign.fact],
        attributes: BTreeMap::from([(attribute::BOUND_SECONDS.to_owned(), bound.to_string())]),
    };
    Some(Candidate { timer, since: sign.at, over: next.is_some() })
}
