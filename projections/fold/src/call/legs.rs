//! The legs of a call (docs/rules.md, "Legs"): what the events say of one leg at one agent, in the order of the chain.

use std::collections::{BTreeMap, BTreeSet};

use helix_schemas::{
    names::{AgentId, LegId},
    time::OccurredAt,
};

use super::{
    CallLegRow, CallRow, LegOutcome,
    reading::Reading,
    state::{EventKind, Link},
    status,
};

/// What the events say of one leg.
struct EventLeg<'a> {
    leg: Option<&'a LegId>,
    agent: Option<&'a AgentId>,
    first: OccurredAt,
    rang: Option<OccurredAt>,
    answered: Option<OccurredAt>,
    ended: Option<OccurredAt>,
}

/// One leg in its place, before it is read.
struct Placed<'a> {
    event: Option<EventLeg<'a>>,
    link: Option<&'a Link>,
}

pub(super) fn legs(reading: &Reading<'_>, row: &CallRow) -> Vec<CallLegRow> {
    let mut legs: Vec<CallLegRow> = placed(reading).iter().map(|placed| placed.row(reading, row)).collect();
    let mut position = 0;
    for leg in &mut legs {
        position += 1;
        leg.position = position;
    }
    let links = reading.chain().len();
    for index in 0..legs.len() {
        let transferred = legs.get(index).is_some_and(|leg| is_transferred(leg, &legs, index, links));
        if let Some(leg) = legs.get_mut(index) {
            leg.transferred = transferred;
        }
    }
    legs
}

/// Whether another agent's leg is later than this one: a link by its place in the chain; a leg that no link took, which
/// stands behind the chain whenever it was, only if it began when this one had been answered.
fn is_transferred(leg: &CallLegRow, legs: &[CallLegRow], index: usize, links: usize) -> bool {
    let is_later = |(place, later): (usize, &CallLegRow)| {
        let in_time =
            place < links || leg.answered_at.is_some_and(|at| later.started_at.is_some_and(|from| from >= at));
        in_time && later.agent.is_some() && later.agent != leg.agent
    };
    leg.outcome == LegOutcome::Answered && legs.iter().enumerate().skip(index + 1).any(is_later)
}

/// The chain's links in order, the last of an agent with that agent's last leg, and so on backwards; then the legs that no
/// link took. Backwards, because what the events miss is the earlier tries: the one that was answered is the last.
fn placed<'a>(reading: &Reading<'a>) -> Vec<Placed<'a>> {
    let mut unnamed: Vec<Option<EventLeg<'a>>> = event_legs(reading).into_iter().map(Some).collect();
    let mut of_agent: BTreeMap<&AgentId, Vec<usize>> = BTreeMap::new();
    for (index, leg) in unnamed.iter().enumerate() {
        if let Some(agent) = leg.as_ref().and_then(|leg| leg.agent) {
            of_agent.entry(agent).or_default().push(index);
        }
    }
    let mut placed: Vec<Placed<'a>> = Vec::with_capacity(unnamed.len());
    for link in reading.chain().iter().rev() {
        let index = of_agent.get_mut(&link.agent).and_then(Vec::pop);
        let event = index.and_then(|index| unnamed.get_mut(index)).and_then(Option::take);
        placed.push(Placed { event, link: Some(link) });
    }
    placed.reverse();
    placed.extend(unnamed.into_iter().flatten().map(|event| Placed { event: Some(event), link: None }));
    placed
}

/// The one agent that a leg's events name. A leg that several are named on belongs to none of them.
fn named_agents<'a>(reading: &Reading<'a>) -> BTreeMap<&'a LegId, &'a AgentId> {
    let mut named: BTreeMap<&LegId, BTreeSet<&AgentId>> = BTreeMap::new();
    for event in reading.events() {
        if let (Some(leg), Some(agent)) = (&event.leg, &event.agent) {
            named.entry(leg).or_default().insert(agent);
        }
    }
    named.retain(|_, agents| agents.len() == 1);
    named.into_iter().filter_map(|(leg, mut agents)| Some((leg, agents.pop_first()?))).collect()
}

/// By their earliest event.
fn event_legs<'a>(reading: &Reading<'a>) -> Vec<EventLeg<'a>> {
    let named = named_agents(reading);
    let mut legs: Vec<EventLeg<'a>> = Vec::new();
    let mut places: BTreeMap<(Option<&LegId>, Option<&AgentId>), usize> = BTreeMap::new();
    for event in reading.events() {
        let leg = event.leg.as_ref();
        let agent = event.agent.as_ref().or_else(|| named.get(leg?).copied());
        let place = *places.entry((leg, agent)).or_insert_with(|| {
            legs.push(EventLeg { leg, agent, first: event.at, rang: None, answered: None, ended: None });
            legs.len() - 1
        });
        let Some(held) = legs.get_mut(place) else { continue };
        // Events come in order: the first ringing and answer, the last end.
        match event.kind {
            EventKind::Rang => held.rang = held.rang.or(Some(event.at)),
            EventKind::Answered => held.answered = held.answered.or(Some(event.at)),
            EventKind::Ended => held.ended = Some(event.at),
        }
    }
    legs
}

impl Placed<'_> {
    fn row(&self, reading: &Reading<'_>, call: &CallRow) -> CallLegRow {
        let event = self.event.as_ref();
        let status = self.link.and_then(|link| link.status.clone());
        let answer = event.and_then(|event| event.answered);
        let answered = match (reading.status_answered(), status.as_deref().and_then(status::answered)) {
            (Some(false), _) => false,
            (_, Some(said)) => said,
            (_, None) => answer.is_some(),
        };
        let started_at = event.map(|event| event.rang.unwrap_or(event.first));
        let answered_at = answer.filter(|_| answered);
        let ended_at = event.and_then(|event| event.ended);
        let outcome = match (answered, ended_at.or(call.ended_at)) {
            (true, _) => LegOutcome::Answered,
            (false, Some(_)) => LegOutcome::Unanswered,
            (false, None) => LegOutcome::InProgress,
        };
        let until = answered_at.or(ended_at);
        CallLegRow {
            workspace: call.workspace.clone(),
            call: call.call.clone(),
            position: 0,
            leg: event.and_then(|event| event.leg.cloned()),
            agent: self.link.map(|link| &link.agent).or_else(|| event.and_then(|event| event.agent)).cloned(),
            status,
            outcome,
            started_at,
            answered_at,
            ended_at,
            wait_seconds: until.zip(started_at).map(|(until, started)| until.seconds_since(started)),
            talk_seconds: ended_at.zip(answered_at).map(|(ended, answered)| ended.seconds_since(answered)),
            transferred: false,
        }
    }
}
