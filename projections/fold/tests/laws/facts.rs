//! Facts to fold: a small world of agents and calls in a few minutes, so that ties, repeats and disorder are common.

use helix_schemas::{
    fact::{
        AgentState, AgentStateChanged, AgentStateWord, Body, CallAnswered, CallEnded, CallParty, CallRang,
        CallSummarised, ChainedAgent, Direction, Fact, OccurredAtFrom, Source, Unknown,
    },
    id::NaturalKey,
    names::{AgentId, CallId, WorkspaceId},
    time::{OccurredAt, ReceivedAt},
};
use proptest::prelude::*;

pub const DAY: i64 = 1_774_310_400;

pub fn workspace() -> WorkspaceId {
    WorkspaceId::new("ramaiah").unwrap()
}

pub fn agent(number: u8) -> AgentId {
    AgentId::new(&format!("agent.{number}")).unwrap()
}

pub fn call(number: u8) -> CallId {
    CallId::new(&format!("90621740000000{number:02}")).unwrap()
}

pub fn at(second: i64) -> OccurredAt {
    OccurredAt::from_millis((DAY + second) * 1000)
}

/// A fact whose id is made of everything it says, as the ingest's are.
pub fn fact(by: Option<u8>, of: Option<u8>, second: i64, received: i64, body: Body, salt: &str) -> Fact {
    let id = NaturalKey::new("ozonetel", "demo_user", body.kind().as_str())
        .field(&format!("{by:?}"))
        .field(&format!("{of:?}"))
        .field(&second.to_string())
        .field(salt)
        .id();
    Fact {
        id,
        workspace: workspace(),
        agent: by.map(agent),
        call: of.map(call),
        leg: None,
        provider: "ozonetel".into(),
        kind: body.kind(),
        occurred_at: at(second),
        occurred_at_from: OccurredAtFrom::Event,
        received_at: ReceivedAt::from_micros((DAY + received) * 1_000_000),
        raw: Vec::new(),
        raw_content_type: String::new(),
        source: Source::default(),
        normaliser: 1,
        body,
    }
}

pub fn state(by: u8, second: i64, state: AgentState, reason: Option<&str>) -> Fact {
    let body = Body::AgentStateChanged(AgentStateChanged {
        action: state.as_str().into(),
        state: AgentStateWord(state),
        reason: reason.map(str::to_owned),
        mode: None,
        agent_name: None,
        agent_unique_id: None,
    });
    let salt = format!("{}{reason:?}", state.as_str());
    fact(Some(by), None, second, second, body, &salt)
}

pub fn party(direction: Direction, caller: &str) -> CallParty {
    CallParty {
        direction: Some(direction),
        caller: Some(caller.into()),
        did: Some("918040000001".into()),
        ..CallParty::default()
    }
}

pub fn rang(by: Option<u8>, of: u8, second: i64, party: CallParty) -> Fact {
    fact(by, Some(of), second, second, Body::CallRang(CallRang { party }), "")
}

pub fn answered(by: Option<u8>, of: u8, second: i64, party: CallParty) -> Fact {
    fact(by, Some(of), second, second, Body::CallAnswered(CallAnswered { party }), "")
}

pub fn ended(by: Option<u8>, of: u8, second: i64, party: CallParty) -> Fact {
    fact(by, Some(of), second, second, Body::CallEnded(CallEnded { party, hangup_by: None }), "")
}

pub fn summarised(of: u8, second: i64, received: i64, summary: CallSummarised) -> Fact {
    let salt = format!(
        "{:?}{:?}{:?}{:?}{:?}",
        summary.answered,
        summary.started_at,
        summary.ended_at,
        summary.disposition,
        summary.agents.iter().map(|link| link.agent.clone()).collect::<Vec<_>>()
    );
    let by = summary.agents.last().and_then(|link| link.agent.clone());
    let mut fact = fact(None, Some(of), second, received, Body::CallSummarised(Box::new(summary)), &salt);
    fact.agent = by;
    fact
}

fn a_state() -> impl Strategy<Value = Fact> {
    let states = prop::sample::select(vec![
        (AgentState::Offline, None),
        (AgentState::Ready, None),
        (AgentState::Ringing, None),
        (AgentState::OnCall, None),
        (AgentState::WrapUp, None),
        (AgentState::Paused, Some("Lunch")),
        (AgentState::Paused, Some("signed_in")),
    ]);
    (0..2_u8, 0..60_i64, states).prop_map(|(by, second, (word, reason))| state(by, second, word, reason))
}

fn an_unknown() -> impl Strategy<Value = Fact> {
    (0..2_u8, 0..60_i64).prop_map(|(by, second)| {
        let body = Body::Unknown(Unknown { event: "agent".into(), word: "changeMode".into(), ..Unknown::default() });
        fact(Some(by), None, second, second, body, "")
    })
}

type PartyWords = (Option<Direction>, Option<&'static str>, Option<&'static str>);

fn party_words() -> impl Strategy<Value = PartyWords> {
    let directions = prop::sample::select(vec![None, Some(Direction::Inbound), Some(Direction::Outbound)]);
    let texts = prop::sample::select(vec![None, Some("919000000001"), Some("919000000002")]);
    (directions, texts.clone(), texts)
}

fn an_event() -> impl Strategy<Value = Fact> {
    (prop::option::of(0..2_u8), 0..4_u8, 0..60_i64, party_words(), 0..3_u8).prop_map(|(by, of, second, words, kind)| {
        let (direction, caller, skill) = words;
        let party = CallParty {
            direction,
            caller: caller.map(str::to_owned),
            skill: skill.map(str::to_owned),
            ..CallParty::default()
        };
        // The id is the natural key: two events that differ in anything else are one event of the provider's, so what
        // they say must follow from it.
        let mut fact = match kind {
            0 => rang(by, of, second, party),
            1 => answered(by, of, second, party),
            _ => ended(by, of, second, party),
        };
        fact.id = NaturalKey::new("ozonetel", "demo_user", &format!("{:?}", fact.id))
            .field(&serde_json::to_string(&fact.body).unwrap())
            .id();
        fact
    })
}

fn a_summary() -> impl Strategy<Value = Fact> {
    let dispositions = prop::sample::select(vec![None, Some("Interested"), Some("Wrap up time exceeded :120")]);
    let answers = prop::sample::select(vec![None, Some(true), Some(false)]);
    (
        0..4_u8,
        0..60_i64,
        0..90_i64,
        answers,
        dispositions,
        prop::option::of(0..60_i64),
        prop::collection::vec(0..3_u8, 0..3),
    )
        .prop_map(|(of, second, received, answered, disposition, started, chain)| {
            let summary = CallSummarised {
                answered,
                started_at: started.map(at),
                disposition: disposition.map(str::to_owned),
                agents: chain
                    .into_iter()
                    .map(|link| ChainedAgent { agent: Some(agent(link)), ..ChainedAgent::default() })
                    .collect(),
                ..CallSummarised::default()
            };
            let mut fact = summarised(of, second, received, summary);
            fact.id = NaturalKey::new("ozonetel", "demo_user", &format!("{:?}{second}{received}", fact.id)).id();
            fact
        })
}

/// A history in order of arrival: occurrence is anything but sorted, some facts come twice.
pub fn a_history() -> impl Strategy<Value = Vec<Fact>> {
    let one = prop_oneof![4 => a_state(), 1 => an_unknown(), 4 => an_event(), 1 => a_summary()];
    prop::collection::vec((one, 0..10_u8), 1..60).prop_map(|facts| {
        let mut history: Vec<Fact> = Vec::new();
        for (fact, again) in facts {
            if again == 0 {
                history.push(fact.clone());
            }
            history.push(fact);
        }
        history
    })
}
