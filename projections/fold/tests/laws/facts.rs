//! Facts to fold: a small world of agents and calls in a few minutes, so that ties, repeats and disorder are common.

use std::collections::BTreeMap;

use helix_schemas::{
    decision::{Deciding, Decision, attribute},
    fact::{
        AgentState, AgentStateChanged, AgentStateWord, Body, CallAnswered, CallEnded, CallParty, CallRang,
        CallSummarised, ChainedAgent, Direction, Fact, OccurredAtFrom, Source, Unknown,
    },
    id::{FactId, NaturalKey},
    names::{AgentId, CallId, LegId, WorkspaceId},
    time::{OccurredAt, ReceivedAt},
};
use proptest::prelude::*;

pub const DAY: i64 = 1_774_310_400;

/// As many cases as are usual, or as `PROPTEST_CASES` asks for.
pub fn cases(usual: u32) -> ProptestConfig {
    let asked = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_some() { asked } else { ProptestConfig { cases: usual, ..asked } }
}

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

/// A decision that takes effect at that second and comes to us a second later.
pub fn decided(decision: Decision, by: Option<u8>, of: Option<u8>, second: i64, evidence: Option<FactId>) -> Fact {
    Deciding {
        workspace: workspace(),
        decision,
        agent: by.map(agent),
        call: of.map(call),
        effective_at: at(second),
        received_at: ReceivedAt::from_micros((DAY + second + 1) * 1_000_000),
        evidence: evidence.into_iter().collect(),
        attributes: BTreeMap::new(),
        request: None,
        source: Source::default(),
    }
    .into_fact()
}

/// What a person decides about a missed call.
pub fn wished(decision: Decision, of: u8, second: i64, by: &str) -> Fact {
    Deciding {
        workspace: workspace(),
        decision,
        agent: None,
        call: Some(call(of)),
        effective_at: at(second),
        received_at: ReceivedAt::from_micros((DAY + second) * 1_000_000),
        evidence: Vec::new(),
        attributes: BTreeMap::from([(attribute::BY.to_owned(), by.to_owned())]),
        request: Some(format!("{by}/{second}")),
        source: Source::default(),
    }
    .into_fact()
}

/// A release of the claim that holds since that second.
pub fn released(of: u8, second: i64, by: &str, claimed: i64) -> Fact {
    let mut fact = wished(Decision::MissedCallReleased, of, second, by);
    if let Body::Decided(decided) = &mut fact.body {
        decided.attributes.insert(attribute::CLAIMED_AT.to_owned(), at(claimed).millis().to_string());
    }
    fact.id = NaturalKey::new("helix", "demo_user", &format!("{:?}", fact.id)).field(&claimed.to_string()).id();
    fact
}

pub fn leg(number: u8) -> LegId {
    LegId::new(&format!("9062173300000{number:02}")).unwrap()
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
    let of_leg = prop::option::of(0..3_u8);
    let whose = (prop::option::of(0..2_u8), 0..4_u8, of_leg);
    (whose, 0..60_i64, party_words(), 0..3_u8).prop_map(|((by, of, of_leg), second, words, kind)| {
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
        fact.leg = of_leg.map(leg);
        fact.id = NaturalKey::new("ozonetel", "demo_user", &format!("{:?}{of_leg:?}", fact.id))
            .field(&serde_json::to_string(&fact.body).unwrap())
            .id();
        fact
    })
}

/// Late as callbacks are, and with all that a chain may say.
fn a_summary() -> impl Strategy<Value = Fact> {
    let dispositions = prop::sample::select(vec![None, Some("Interested"), Some("Wrong number")]);
    let answers = prop::sample::select(vec![None, Some(true), Some(false)]);
    let statuses = prop::sample::select(vec![None, Some("answered"), Some("not_answered"), Some("user_disconnected")]);
    let dials = prop::sample::select(vec![None, Some("answered"), Some("ring -> not_answered")]);
    let times = (prop::option::of(0..60_i64), prop::option::of(0..20_i64), prop::option::of(0..40_i32));
    let said = (answers, dispositions, dials, times);
    (0..4_u8, 0..60_i64, 0..5_000_i64, said, prop::collection::vec((0..3_u8, statuses), 0..4)).prop_map(
        |(of, second, late, (answered, disposition, dial, (started, lasted, seconds)), chain)| {
            let link = |(link, status): (u8, Option<&str>)| ChainedAgent {
                agent: Some(agent(link)),
                status: status.map(str::to_owned),
                ..ChainedAgent::default()
            };
            let summary = CallSummarised {
                answered,
                started_at: started.map(at),
                ended_at: lasted.map(|lasted| at(second + lasted - 3)),
                call_seconds: seconds,
                talk_seconds: seconds.map(|seconds| seconds / 2),
                dial_status: dial.map(str::to_owned),
                disposition: disposition.map(str::to_owned),
                agents: chain.into_iter().map(link).collect(),
                ..CallSummarised::default()
            };
            let mut fact = summarised(of, second, second + late, summary);
            fact.id = NaturalKey::new("ozonetel", "demo_user", &format!("{:?}{second}{late}", fact.id))
                .field(&serde_json::to_string(&fact.body).unwrap())
                .id();
            fact
        },
    )
}

fn a_wish() -> impl Strategy<Value = Fact> {
    let wishes = prop::sample::select(vec![
        Decision::MissedCallClaimed,
        Decision::MissedCallClaimed,
        Decision::MissedCallReleased,
        Decision::MissedCallWaived,
    ]);
    let named = prop::option::of(0..90_i64);
    (wishes, 0..4_u8, 0..90_i64, prop::sample::select(vec!["asha", "ravi"]), named).prop_map(
        |(wish, of, second, by, named)| match named.filter(|_| wish == Decision::MissedCallReleased) {
            Some(claimed) => released(of, second, by, claimed),
            None => wished(wish, of, second, by),
        },
    )
}

fn a_presumed_end() -> impl Strategy<Value = Fact> {
    (0..4_u8, 0..90_i64, prop::option::of(0..2_u8))
        .prop_map(|(of, second, by)| decided(Decision::CallPresumedEnded, by, Some(of), second, None))
}

#[derive(Debug, Clone)]
enum Told {
    Fact(Box<Fact>),
    /// On one of the history's states, so many seconds after it.
    OnState(Decision, prop::sample::Index, i64),
}

fn told(fact: Fact) -> Told {
    Told::Fact(Box::new(fact))
}

fn an_agents_decision() -> impl Strategy<Value = Told> {
    let decisions =
        prop::sample::select(vec![Decision::WrapUpExpired, Decision::AgentPresumedOffline, Decision::SessionClosed]);
    (decisions, any::<prop::sample::Index>(), 0..12_i64)
        .prop_map(|(decision, state, after)| Told::OnState(decision, state, after))
}

/// A history in order of arrival: occurrence is anything but sorted, some facts come twice, decisions come before and after
/// what they rest on.
pub fn a_history() -> impl Strategy<Value = Vec<Fact>> {
    let one = prop_oneof![
        8 => a_state().prop_map(told),
        2 => an_unknown().prop_map(told),
        8 => an_event().prop_map(told),
        2 => a_summary().prop_map(told),
        1 => a_wish().prop_map(told),
        1 => a_presumed_end().prop_map(told),
        3 => an_agents_decision(),
    ];
    let again = prop::option::weighted(0.1, -40_i64..4_000);
    prop::collection::vec((one, again), 1..60).prop_map(|told| {
        let is_state = |fact: &&Fact| matches!(fact.body, Body::AgentStateChanged(_) | Body::Unknown(_));
        let facts = told.iter().filter_map(|(told, _)| match told {
            Told::Fact(fact) => Some(fact.as_ref()),
            Told::OnState(..) => None,
        });
        let states: Vec<Fact> = facts.filter(is_state).cloned().collect();
        let mut history: Vec<Fact> = Vec::new();
        for (told, again) in told {
            let fact = match told {
                Told::Fact(fact) => *fact,
                Told::OnState(..) if states.is_empty() => continue,
                Told::OnState(decision, state, after) => on_state(decision, state.get(&states), after),
            };
            if let Some(seconds) = again {
                history.push(delivered_again(&fact, seconds));
            }
            history.push(fact);
        }
        if history.is_empty() {
            history.push(state(0, 0, AgentState::Ready, None));
        }
        history
    })
}

/// The same fact as it comes to us so many seconds later, or earlier.
pub fn delivered_again(fact: &Fact, seconds: i64) -> Fact {
    let received_at = ReceivedAt::from_micros(fact.received_at.micros() + seconds * 1_000_000);
    Fact { received_at, ..fact.clone() }
}

/// The same history at a slower pace: what lasted a minute lasts so many.
pub fn slowed(history: Vec<Fact>, factor: i64) -> Vec<Fact> {
    let slower = |at: OccurredAt| OccurredAt::from_millis((at.millis() - DAY * 1000) * factor + DAY * 1000);
    let slow = |mut fact: Fact| {
        fact.occurred_at = slower(fact.occurred_at);
        if let Body::CallSummarised(summary) = &mut fact.body {
            summary.started_at = summary.started_at.map(slower);
            summary.ended_at = summary.ended_at.map(slower);
        }
        fact
    };
    history.into_iter().map(slow).collect()
}

/// A decision on a state fact, so many seconds after it.
pub fn on_state(decision: Decision, state: &Fact, after: i64) -> Fact {
    let mut fact = decided(decision, None, None, state.occurred_at.millis() / 1000 - DAY + after, Some(state.id));
    fact.agent.clone_from(&state.agent);
    fact.id = NaturalKey::new("helix", "ramaiah", decision.as_str()).field(&format!("{:?}{after}", state.id)).id();
    fact
}
