//! How a call's state is written: once for every batch that brings a fact of it, so it is kept short. What facts say of
//! the call itself is written once and referred to by its place.

use std::{borrow::Cow, sync::Arc};

use helix_schemas::{
    id::FactId,
    names::{AgentId, LegId},
    time::{OccurredAt, ReceivedAt},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::state::{CallState, Event, EventKind, Holding, Party, Said, Summary, Waive};

/// A fact's id without its hyphens.
struct ShortId(FactId);

impl Serialize for ShortId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.uuid().as_simple())
    }
}

impl<'de> Deserialize<'de> for ShortId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        FactId::deserialize(deserializer).map(Self)
    }
}

type Place = usize;
type StoredEvent<'a> =
    (ShortId, OccurredAt, EventKind, Option<Cow<'a, LegId>>, Option<Cow<'a, AgentId>>, Place, Option<Cow<'a, str>>);
type StoredSummary<'a> = (ShortId, ReceivedAt, OccurredAt, Place, Cow<'a, Said>);
/// A claim with its person; a release that names no claim without.
type StoredClaim<'a> = (OccurredAt, ShortId, Option<Cow<'a, str>>);
/// A release, and the claim it names. Apart from the others: states were written before releases named one.
type StoredRelease = (OccurredAt, ShortId, OccurredAt);

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Stored<'a> {
    #[serde(rename = "p", skip_serializing_if = "Vec::is_empty")]
    parties: Vec<Cow<'a, Party>>,
    #[serde(rename = "e", skip_serializing_if = "Vec::is_empty")]
    events: Vec<StoredEvent<'a>>,
    #[serde(rename = "s", skip_serializing_if = "Vec::is_empty")]
    summaries: Vec<StoredSummary<'a>>,
    #[serde(rename = "d", skip_serializing_if = "Option::is_none")]
    presumed_ended: Option<OccurredAt>,
    #[serde(rename = "c", skip_serializing_if = "Vec::is_empty")]
    claims: Vec<StoredClaim<'a>>,
    #[serde(rename = "r", skip_serializing_if = "Vec::is_empty")]
    releases: Vec<StoredRelease>,
    #[serde(rename = "w", skip_serializing_if = "Option::is_none")]
    waive: Option<Cow<'a, Waive>>,
}

impl<'a> Stored<'a> {
    fn of(state: &'a CallState) -> Self {
        let mut stored = Self {
            presumed_ended: state.presumed_ended,
            waive: state.waive.as_ref().map(Cow::Borrowed),
            ..Self::default()
        };
        for (id, event) in &state.events {
            let place = stored.place(&event.party);
            let leg = event.leg.as_ref().map(Cow::Borrowed);
            let agent = event.agent.as_ref().map(Cow::Borrowed);
            let hangup_by = event.hangup_by.as_deref().map(Cow::Borrowed);
            stored.events.push((ShortId(*id), event.at, event.kind, leg, agent, place, hangup_by));
        }
        for (id, summary) in &state.summaries {
            let place = stored.place(&summary.party);
            let said = Cow::Borrowed(&summary.said);
            stored.summaries.push((ShortId(*id), summary.received_at, summary.occurred_at, place, said));
        }
        for ((at, id), told) in &state.claims {
            match told {
                Holding::Claimed(by) => stored.claims.push((*at, ShortId(*id), Some(Cow::Borrowed(by)))),
                Holding::Released(None) => stored.claims.push((*at, ShortId(*id), None)),
                Holding::Released(Some(meant)) => stored.releases.push((*at, ShortId(*id), *meant)),
            }
        }
        stored
    }

    fn place(&mut self, party: &'a Party) -> Place {
        self.parties.iter().position(|known| **known == *party).unwrap_or_else(|| {
            self.parties.push(Cow::Borrowed(party));
            self.parties.len() - 1
        })
    }

    fn into_state(self) -> Option<CallState> {
        let parties: Vec<Arc<Party>> = self.parties.into_iter().map(|party| Arc::new(party.into_owned())).collect();
        let mut state = CallState {
            presumed_ended: self.presumed_ended,
            waive: self.waive.map(Cow::into_owned),
            ..CallState::default()
        };
        for (ShortId(id), at, kind, leg, agent, place, hangup_by) in self.events {
            let event = Event {
                at,
                kind,
                leg: leg.map(Cow::into_owned),
                agent: agent.map(Cow::into_owned),
                party: Arc::clone(parties.get(place)?),
                hangup_by: hangup_by.map(Cow::into_owned),
            };
            state.events.insert(id, event);
        }
        for (ShortId(id), received_at, occurred_at, place, said) in self.summaries {
            let party = Arc::clone(parties.get(place)?);
            state.summaries.insert(id, Summary { received_at, occurred_at, party, said: said.into_owned() });
        }
        for (at, ShortId(id), by) in self.claims {
            let told = by.map_or(Holding::Released(None), |by| Holding::Claimed(by.into_owned()));
            state.claims.insert((at, id), told);
        }
        for (at, ShortId(id), meant) in self.releases {
            state.claims.insert((at, id), Holding::Released(Some(meant)));
        }
        Some(state)
    }
}

impl Serialize for CallState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Stored::of(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for CallState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Stored::deserialize(deserializer)?.into_state().ok_or_else(|| D::Error::custom("a party that is not there"))
    }
}
