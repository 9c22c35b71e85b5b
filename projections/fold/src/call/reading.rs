//! A call's row, read off its state column by column (docs/rules.md, "Calls").

use helix_schemas::{
    fact::Direction,
    names::{AgentId, CallId, WorkspaceId},
    time::OccurredAt,
};

use super::{
    CallRow, Conflict, Outcome,
    state::{CallState, Event, EventKind, Link, Party, Summary},
};
use crate::settings::Settings;

/// A sent duration may differ by so much from the derived one: both are cut to whole seconds.
const TOLERANCE_SECONDS: i64 = 1;

/// A state in the orders in which its facts rank.
pub(super) struct Reading<'a> {
    state: &'a CallState,
    /// By `(occurred_at, id)`.
    events: Vec<&'a Event>,
    /// By `(received_at, id)`.
    summaries: Vec<&'a Summary>,
}

impl<'a> Reading<'a> {
    pub(super) fn of(state: &'a CallState) -> Self {
        // The maps are sorted by id, and the sorts are stable.
        let mut events: Vec<&Event> = state.events.values().collect();
        events.sort_by_key(|event| event.at);
        let mut summaries: Vec<&Summary> = state.summaries.values().collect();
        summaries.sort_by_key(|summary| summary.received_at);
        Self { state, events, summaries }
    }

    pub(super) fn row(&self, workspace: &WorkspaceId, call: &CallId, settings: &Settings) -> Option<CallRow> {
        let summarised_at = self.says(|summary| Some(summary.occurred_at));
        let summary_started_at = self.says(|summary| summary.said.started_at);
        let rang_first = self.first(EventKind::Rang);
        let events_begin = self.events.first().map(|event| event.at);
        let started_at = summary_started_at.or(rang_first).or(events_begin).or(summarised_at)?;
        let answered_at = self.answered_at(started_at);
        let ended = self.says(|summary| summary.said.ended_at).or_else(|| self.last_end()).or(summarised_at);
        let ended_at = ended.or_else(|| self.presumed_end());
        let direction = self.of_party(|party| party.direction);
        let ringing_known = rang_first.is_some() || summary_started_at.is_some();
        let mut row = CallRow {
            workspace: workspace.clone(),
            call: call.clone(),
            direction,
            outcome: outcome(direction, started_at, answered_at, ended_at, ringing_known, settings),
            caller: self.of_party(|party| party.caller.clone()),
            did: self.of_party(|party| party.did.clone()),
            campaign: self.of_party(|party| party.campaign.clone()),
            skill: self.of_party(|party| party.skill.clone()),
            agent: self.agent(),
            agents: self.agents(),
            started_at,
            answered_at,
            ended_at,
            wait_seconds: answered_at.or(ended_at).map(|end| end.seconds_since(started_at)),
            talk_seconds: answered_at.zip(ended_at).map(|(answered, ended)| ended.seconds_since(answered)),
            hold_seconds: self.says(|summary| summary.said.hold_seconds).map(i64::from),
            wrap_up_seconds: self.says(|summary| summary.said.wrap_up_seconds).map(i64::from),
            disposition: self.says(|summary| summary.said.disposition.clone()),
            hangup_by: self.hangup_by(),
            recording_url: self.says(|summary| summary.said.recording_url.clone()),
            presumed: ended.is_none() && ended_at.is_some(),
            conflicts: Vec::new(),
            call_seconds_sent: self.says(|summary| summary.said.call_seconds).map(i64::from),
            talk_seconds_sent: self.says(|summary| summary.said.talk_seconds).map(i64::from),
        };
        row.conflicts = self.conflicts(&row);
        Some(row)
    }

    pub(super) fn events(&self) -> impl Iterator<Item = &'a Event> {
        self.events.iter().copied()
    }

    /// The summaries' chain of agents; empty where none names any.
    pub(super) fn chain(&self) -> &'a [Link] {
        let named = self.summaries.iter().rev().map(|summary| summary.said.chain.as_slice());
        named.into_iter().find(|chain| !chain.is_empty()).unwrap_or_default()
    }

    /// What `Status` says.
    pub(super) fn status_answered(&self) -> Option<bool> {
        self.says(|summary| summary.said.answered)
    }

    /// The latest summary that says something.
    fn says<T>(&self, what: impl Fn(&'a Summary) -> Option<T>) -> Option<T> {
        self.summaries.iter().rev().find_map(|summary| what(summary))
    }

    /// What the summaries say of the call itself, else the latest event that says it.
    fn of_party<T>(&self, what: impl Fn(&'a Party) -> Option<T>) -> Option<T> {
        self.says(|summary| what(&summary.party))
            .or_else(|| self.events.iter().rev().find_map(|event| what(&event.party)))
    }

    fn of_kind(&self, kind: EventKind) -> impl DoubleEndedIterator<Item = &'a Event> {
        self.events.iter().copied().filter(move |event| event.kind == kind)
    }

    fn first(&self, kind: EventKind) -> Option<OccurredAt> {
        self.of_kind(kind).next().map(|event| event.at)
    }

    /// Whether the call rang or was answered later than this: then it went on.
    fn goes_on(&self, after: OccurredAt) -> bool {
        self.events.iter().any(|event| event.kind != EventKind::Ended && event.at > after)
    }

    /// The latest end of a leg, where nothing of the call is heard later: a call that hunts ends one leg and rings the next.
    fn last_end(&self) -> Option<OccurredAt> {
        self.of_kind(EventKind::Ended).next_back().map(|event| event.at).filter(|at| !self.goes_on(*at))
    }

    /// The end by decision, under the same condition. That nothing real ends the call is for the reader to know.
    fn presumed_end(&self) -> Option<OccurredAt> {
        self.state.presumed_ended.filter(|at| !self.goes_on(*at))
    }

    fn answered_at(&self, started_at: OccurredAt) -> Option<OccurredAt> {
        match self.status_answered() {
            Some(true) => self
                .says(|summary| summary.said.answered_at)
                .or_else(|| self.first(EventKind::Answered))
                .or(Some(started_at)),
            Some(false) => None,
            None => self.first(EventKind::Answered),
        }
    }

    fn hangup_by(&self) -> Option<String> {
        self.says(|summary| summary.said.hangup_by.clone())
            .or_else(|| self.of_kind(EventKind::Ended).rev().find_map(|event| event.hangup_by.clone()))
    }

    /// The final handler.
    fn agent(&self) -> Option<AgentId> {
        let last_of = |kind| self.of_kind(kind).rev().find_map(|event| event.agent.as_ref());
        let kinds = [EventKind::Answered, EventKind::Rang, EventKind::Ended];
        self.chain().last().map(|link| &link.agent).or_else(|| kinds.into_iter().find_map(last_of)).cloned()
    }

    /// Every agent the call came to: the summary's chain, then the others by their earliest event.
    fn agents(&self) -> Vec<AgentId> {
        let of_chain = self.chain().iter().map(|link| &link.agent);
        let of_events = self.events.iter().filter_map(|event| event.agent.as_ref());
        let mut agents: Vec<AgentId> = Vec::new();
        for agent in of_chain.chain(of_events) {
            if !agents.contains(agent) {
                agents.push(agent.clone());
            }
        }
        agents
    }

    fn conflicts(&self, row: &CallRow) -> Vec<Conflict> {
        let differs = |sent: Option<i64>, derived: Option<i64>| {
            sent.zip(derived).is_some_and(|(sent, derived)| (sent - derived).abs() > TOLERANCE_SECONDS)
        };
        let ended_before_start = row.ended_at.is_some_and(|ended| ended < row.started_at);
        let status = match self.status_answered() {
            Some(true) => self.says(|summary| summary.said.dial_answered) == Some(false),
            Some(false) => self.first(EventKind::Answered).is_some(),
            None => false,
        };
        let lasted = row.ended_at.map(|ended| ended.seconds_since(row.started_at));
        let found = [
            (Conflict::CallSeconds, differs(row.call_seconds_sent, lasted)),
            (Conflict::EndedBeforeStart, ended_before_start),
            (Conflict::Status, status),
            (Conflict::TalkSeconds, differs(row.talk_seconds_sent, row.talk_seconds)),
        ];
        found.into_iter().filter_map(|(conflict, is)| is.then_some(conflict)).collect()
    }
}

fn outcome(
    direction: Option<Direction>,
    started_at: OccurredAt,
    answered_at: Option<OccurredAt>,
    ended_at: Option<OccurredAt>,
    ringing_known: bool,
    settings: &Settings,
) -> Outcome {
    let Some(ended_at) = ended_at else {
        return Outcome::InProgress;
    };
    match (direction, answered_at) {
        (_, Some(_)) => Outcome::Answered,
        (Some(Direction::Outbound), None) => Outcome::NoAnswer,
        (Some(Direction::Inbound) | None, None) => {
            let short = ringing_known && ended_at.seconds_since(started_at) <= settings.short_abandon_seconds;
            if short { Outcome::ShortAbandon } else { Outcome::Missed }
        }
    }
}
