//! One value of every shape that this version of the code writes, by the name of its sample.

use helix_schemas::{
    directory::{DirectoryEntry, EntryKind},
    fact::{
        AgentState, AgentStateChanged, AgentStateWord, Body, CallAnswered, CallEnded, CallParty, CallRang,
        CallSummarised, ChainedAgent, Decided, Direction, DirectoryChanged, Fact, NORMALISER_VERSION, OccurredAtFrom,
        Source, Unknown,
    },
    id::NaturalKey,
    names::{AgentId, CallId, Did, LegId, WorkspaceId},
    rejected::{RedrivenBody, RejectedBody},
    time::{OccurredAt, ReceivedAt},
    unrouted::{Redriven, UnroutedEvent},
};

pub type Named<T> = (&'static str, T);

const NOON: i64 = 1_774_343_392_000;

fn at(seconds: i64) -> OccurredAt {
    OccurredAt::from_millis(NOON + seconds * 1000)
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn party() -> CallParty {
    CallParty {
        direction: Some(Direction::Inbound),
        call_type: some("Inbound"),
        caller: some("919000000001"),
        did: some("918040000001"),
        skill: some("हृदय रोग 🫀"),
        campaign: some("Inbound_918040000001"),
        agent_phone: some("500501"),
    }
}

fn summary() -> CallSummarised {
    let link = |agent: Option<&str>, status: &str| ChainedAgent {
        agent: agent.map(|agent| AgentId::new(agent).unwrap()),
        name: some("आशा वर्मा"),
        phone: some("500501"),
        unique_id: None,
        status: some(status),
    };
    CallSummarised {
        party: party(),
        answered: Some(true),
        status: some("Answered"),
        started_at: Some(at(0)),
        answered_at: Some(at(9)),
        ended_at: Some(at(83)),
        call_seconds: Some(83),
        talk_seconds: Some(74),
        hold_seconds: Some(5),
        wrap_up_seconds: Some(30),
        agents: vec![
            link(Some("agent.two"), "NotDialed"),
            ChainedAgent::default(),
            link(Some("agent.one"), "answered"),
        ],
        disposition: some("Wrap up time exceeded :120"),
        comments: some("रोगी ने फिर फोन किया 🙂"),
        hangup_by: some("UserHangup"),
        recording_url: some("https://recordings.example.invalid/demo/demo_9062174000000001_20260324143952.mp3"),
        transfer_type: some("No Transfers"),
        transferred_to: None,
        dial_status: some("answered"),
        customer_status: some("answered"),
        location: None,
        uui: some("{\"id\":1}"),
    }
}

fn bodies() -> Vec<Named<Body>> {
    let state = AgentStateChanged {
        action: "AUX".to_owned(),
        state: AgentStateWord(AgentState::Paused),
        reason: some("Lunch"),
        mode: some("INBOUND"),
        agent_name: some("आशा वर्मा 🙂"),
        agent_unique_id: some("100001"),
    };
    let unknown = Unknown { event: "agent".to_owned(), word: "changeMode".to_owned(), ..Unknown::default() };
    let decided = Decided {
        decision: "WrapUpExpired".to_owned(),
        effective_at: Some(at(30)),
        evidence: vec!["3d5e4de8-3386-5941-bce6-442010d45889".to_owned()],
        attributes: [("bound".to_owned(), "30".to_owned()), ("by".to_owned(), "automation".to_owned())].into(),
    };
    let directory =
        DirectoryChanged { change: "claimed".to_owned(), entry: "agent".to_owned(), value: "agent.one".to_owned() };
    vec![
        ("agent_state_changed", Body::AgentStateChanged(state)),
        ("call_rang", Body::CallRang(CallRang { party: party() })),
        ("call_answered", Body::CallAnswered(CallAnswered { party: party() })),
        ("call_ended", Body::CallEnded(CallEnded { party: party(), hangup_by: some("AgentHangup") })),
        ("call_summarised", Body::CallSummarised(Box::new(summary()))),
        ("call_summarised_empty", Body::CallSummarised(Box::default())),
        ("directory_changed", Body::DirectoryChanged(directory)),
        ("decided", Body::Decided(decided)),
        ("unknown_agent_event", Body::Unknown(Unknown { mode: some("PREDICTIVE_V2"), ..unknown })),
        (
            "unknown_call_event",
            Body::Unknown(Unknown {
                event: "call".to_owned(),
                word: "Hold".to_owned(),
                // since 2
                party: Some(party()), // since 2
                ..Unknown::default()
            }),
        ),
    ]
}

fn fact(body: Body) -> Fact {
    let of_a_call = matches!(
        body,
        Body::CallRang(_) | Body::CallAnswered(_) | Body::CallEnded(_) | Body::CallSummarised(_) | Body::Unknown(_)
    );
    Fact {
        id: NaturalKey::new("ozonetel", "demo_user", body.kind().as_str()).field("sample").id(),
        workspace: WorkspaceId::new("ramaiah").unwrap(),
        agent: matches!(body, Body::AgentStateChanged(_) | Body::CallAnswered(_))
            .then(|| AgentId::new("आशा_वर्मा").unwrap()),
        call: of_a_call.then(|| CallId::new("31733467784618213").unwrap()),
        leg: of_a_call.then(|| LegId::new("9062173329753891").unwrap()),
        provider: if matches!(body, Body::Decided(_)) { "helix" } else { "ozonetel" }.to_owned(),
        kind: body.kind(),
        occurred_at: at(0),
        occurred_at_from: OccurredAtFrom::Event,
        received_at: ReceivedAt::from_micros(NOON * 1000 + 1),
        raw: vec![b'{', 0, 159, 146, 150, 255, b'}'],
        raw_content_type: "application/json; charset=utf-8".to_owned(),
        source: Source {
            endpoint: "/api/supervisor/call-event".to_owned(),
            account: "demo_user".to_owned(),
            request_id: "01JQ0000000000000000000000".to_owned(),
        },
        normaliser: NORMALISER_VERSION,
        body,
    }
}

fn unrouted(body: Body) -> UnroutedEvent {
    let Fact {
        id,
        workspace: _,
        agent,
        call,
        leg,
        provider,
        kind,
        occurred_at,
        occurred_at_from,
        received_at,
        raw,
        raw_content_type,
        source,
        normaliser,
        body,
    } = fact(body);
    UnroutedEvent {
        id,
        agent,
        call,
        leg,
        provider,
        kind,
        occurred_at,
        occurred_at_from,
        received_at,
        raw,
        raw_content_type,
        source,
        normaliser,
        body,
        did: Some(Did::new("918040000001").unwrap()),
        reason: "agent_and_did_unknown".to_owned(),
        redriven: None, // since 2
    }
}

fn rejected() -> RejectedBody {
    RejectedBody {
        id: NaturalKey::new("ozonetel", "demo_user", "rejected").id(),
        code: "body_unreadable".to_owned(),
        reason: "the body is not JSON from byte 6".to_owned(),
        received_at: ReceivedAt::from_micros(NOON * 1000 + 1),
        method: "POST".to_owned(),
        endpoint: "/webhooks/ozonetel/missed-call".to_owned(),
        workspace: Some(WorkspaceId::new("ramaiah").unwrap()),
        headers: [("user-agent".to_owned(), "provider/1".to_owned())].into(),
        content_type: "application/x-www-form-urlencoded".to_owned(),
        raw: vec![b'd', b'a', b't', b'a', b'=', 255, 0],
        request_id: "01JQ0000000000000000000001".to_owned(),
        redriven: None, // since 2
    }
}

/// Of `telephony.facts`.
pub fn facts() -> Vec<Named<Fact>> {
    bodies().into_iter().map(|(name, body)| (name, fact(body))).collect()
}

/// Of `telephony.unrouted`.
pub fn unrouted_events() -> Vec<Named<UnroutedEvent>> {
    let mut events: Vec<_> = bodies()
        .into_iter()
        .filter(|(_, body)| !matches!(body, Body::Decided(_) | Body::DirectoryChanged(_)))
        .map(|(name, body)| (name, unrouted(body)))
        .collect();
    let redriven = Redriven {
        workspace: WorkspaceId::new("ramaiah").unwrap(),
        offset: 41,
        at: ReceivedAt::from_micros(NOON * 1000 + 5_000_000),
    };
    let mark = events[1].1.mark(redriven);
    events.push(("mark", mark));
    events
}

/// Of `telephony.rejected`.
pub fn rejected_bodies() -> Vec<Named<RejectedBody>> {
    let body = rejected();
    let stranger = RejectedBody {
        code: "unauthorised".to_owned(),
        workspace: None,
        headers: std::collections::BTreeMap::new(),
        content_type: String::new(),
        ..rejected()
    };
    let redriven =
        RedrivenBody { offset: 7, at: ReceivedAt::from_micros(NOON * 1000 + 5_000_000), stored: 2, unrouted: 1 };
    let mark = body.mark(redriven);
    vec![("body", body), ("stranger", stranger), ("mark", mark)]
}

/// Of `telephony.directory`.
pub fn directory_entries() -> Vec<Named<DirectoryEntry>> {
    let entry = |entry, value: &str, workspace: Option<&str>, url: Option<&str>| DirectoryEntry {
        entry,
        value: value.to_owned(),
        workspace: workspace.map(|slug| WorkspaceId::new(slug).unwrap()),
        url: url.map(str::to_owned),
        recorded_at: ReceivedAt::from_micros(NOON * 1000),
        request_id: "01JQ0000000000000000000002".to_owned(),
    };
    vec![
        ("workspace", entry(EntryKind::Workspace, "ramaiah", Some("ramaiah"), Some("http://127.0.0.1:4100"))),
        ("agent", entry(EntryKind::Agent, "आशा_वर्मा", Some("ramaiah"), None)),
        ("released_did", entry(EntryKind::Did, "918040000001", None, None)),
    ]
}
