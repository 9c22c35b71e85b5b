//! Hand-made facts of one workspace, and records of them.

use std::sync::Arc;

use bytes::Bytes;
use helix_automation::Bounds;
use helix_runtime::{Offset, Record};
use helix_schemas::{
    codec::Codec,
    fact::{
        AgentState, AgentStateChanged, AgentStateWord, Body, CallAnswered, CallEnded, CallParty, CallRang, Direction,
        Fact, OccurredAtFrom, Source,
    },
    id::NaturalKey,
    names::{AgentId, CallId, WorkspaceId},
    schema,
    time::{OccurredAt, ReceivedAt},
};

/// 2026-03-02 09:00 in Kolkata, milliseconds.
pub const START: i64 = 1_772_422_200_000;

pub fn bounds() -> Bounds {
    Bounds::in_zone(chrono_tz::Tz::Asia__Kolkata)
}

pub fn codec() -> Arc<Codec<Fact>> {
    Arc::new(Codec::new(1, &schema::FACT).unwrap())
}

pub fn at(second: i64) -> OccurredAt {
    OccurredAt::from_millis(START + second * 1000)
}

/// Our clock, which runs two seconds ahead of the provider's.
pub fn ours(second: i64) -> ReceivedAt {
    ReceivedAt::from_micros((START + second * 1000 + 2_000) * 1000)
}

/// Makes facts; times are seconds after [`START`], received a moment later.
#[derive(Clone)]
pub struct Story {
    pub workspace: WorkspaceId,
}

impl Story {
    pub fn of(workspace: &str) -> Self {
        Self { workspace: WorkspaceId::new(workspace).unwrap() }
    }

    fn fact(&self, agent: Option<&str>, call: Option<&str>, second: i64, body: Body) -> Fact {
        let key = NaturalKey::new("ozonetel", self.workspace.as_str(), body.kind().as_str())
            .field(agent.unwrap_or_default())
            .field(call.unwrap_or_default())
            .field(&second.to_string());
        let word = if let Body::AgentStateChanged(changed) = &body { changed.state.0.as_str() } else { "" };
        let key = key.field(word);
        Fact {
            id: key.id(),
            workspace: self.workspace.clone(),
            agent: agent.map(|name| AgentId::new(name).unwrap()),
            call: call.map(|name| CallId::new(name).unwrap()),
            leg: None,
            provider: "ozonetel".to_owned(),
            kind: body.kind(),
            occurred_at: at(second),
            occurred_at_from: OccurredAtFrom::Event,
            received_at: ours(second),
            raw: Vec::new(),
            raw_content_type: String::new(),
            source: Source::default(),
            normaliser: 2,
            body,
        }
    }

    pub fn state(&self, agent: &str, second: i64, state: AgentState) -> Fact {
        let body = AgentStateChanged {
            action: state.as_str().to_owned(),
            state: AgentStateWord(state),
            reason: None,
            mode: None,
            agent_name: None,
            agent_unique_id: None,
        };
        self.fact(Some(agent), None, second, Body::AgentStateChanged(body))
    }

    pub fn rang(&self, call: &str, agent: Option<&str>, second: i64) -> Fact {
        let party = CallParty { direction: Some(Direction::Inbound), ..CallParty::default() };
        self.fact(agent, Some(call), second, Body::CallRang(CallRang { party }))
    }

    pub fn dialled(&self, call: &str, agent: Option<&str>, second: i64) -> Fact {
        let party = CallParty { direction: Some(Direction::Outbound), ..CallParty::default() };
        self.fact(agent, Some(call), second, Body::CallRang(CallRang { party }))
    }

    pub fn answered(&self, call: &str, agent: &str, second: i64) -> Fact {
        self.fact(Some(agent), Some(call), second, Body::CallAnswered(CallAnswered { party: CallParty::default() }))
    }

    pub fn ended(&self, call: &str, agent: Option<&str>, second: i64) -> Fact {
        let body = CallEnded { party: CallParty::default(), hangup_by: None };
        self.fact(agent, Some(call), second, Body::CallEnded(body))
    }

    pub fn summarised(&self, call: &str, second: i64) -> Fact {
        self.fact(None, Some(call), second, Body::CallSummarised(Box::default()))
    }
}

/// A record of a fact.
pub fn record(fact: &Fact, offset: i64) -> Record {
    Record { offset: Offset(offset), key: Bytes::from(fact.key()), value: Bytes::from(codec().encode(fact).unwrap()) }
}
