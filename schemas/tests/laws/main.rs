//! Laws of the written fact: what is encoded is decoded, ids ignore what a repeat may change, keys decide order.

// What a helper of a test cannot make is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod evolution;
mod records;
mod refused;
mod samples;

use helix_schemas::{
    codec::{Codec, CodecError},
    directory::{Applied, Directory, DirectoryEntry, EntryKind},
    fact::{
        AgentState, AgentStateChanged, AgentStateWord, Body, CallEnded, CallParty, CallRang, CallSummarised,
        ChainedAgent, Decided, Direction, DirectoryChanged, Fact, Kind, OccurredAtFrom, Source, Unknown,
    },
    id::NaturalKey,
    names::{AgentId, CallId, Did, WorkspaceId},
    rejected::RejectedBody,
    schema,
    time::{OccurredAt, ReceivedAt},
    unrouted::UnroutedEvent,
};

fn party() -> CallParty {
    CallParty {
        direction: Some(Direction::Inbound),
        call_type: Some("Inbound".into()),
        caller: Some("919000000001".into()),
        did: Some("918040000001".into()),
        ..CallParty::default()
    }
}

fn bodies() -> Vec<Body> {
    vec![
        Body::AgentStateChanged(AgentStateChanged {
            action: "AUX".into(),
            state: AgentStateWord(AgentState::Paused),
            reason: Some("Lunch".into()),
            mode: None,
            agent_name: Some("आशा वर्मा 🙂".into()),
            agent_unique_id: Some("100001".into()),
        }),
        Body::CallRang(CallRang { party: party() }),
        Body::CallAnswered(helix_schemas::fact::CallAnswered { party: party() }),
        Body::CallEnded(CallEnded { party: party(), hangup_by: None }),
        Body::CallSummarised(Box::new(CallSummarised {
            party: party(),
            answered: Some(true),
            started_at: Some(OccurredAt::from_millis(1)),
            hold_seconds: Some(3),
            agents: vec![ChainedAgent { agent: Some(AgentId::new("a").unwrap()), ..ChainedAgent::default() }],
            ..CallSummarised::default()
        })),
        Body::DirectoryChanged(DirectoryChanged { change: "claimed".into(), entry: "agent".into(), value: "a".into() }),
        Body::Decided(Decided {
            decision: "WrapUpExpired".into(),
            effective_at: Some(OccurredAt::from_millis(7)),
            evidence: vec!["x".into()],
            attributes: [("k".to_owned(), "v".to_owned())].into(),
        }),
        Body::Unknown(Unknown {
            event: "agent".into(),
            word: "Hold".into(),
            party: Some(party()),
            ..Unknown::default()
        }),
    ]
}

fn fact(body: Body) -> Fact {
    Fact {
        id: NaturalKey::new("ozonetel", "demo_user", "agent").field("x").id(),
        workspace: WorkspaceId::new("ramaiah").unwrap(),
        agent: Some(AgentId::new("agent.one").unwrap()),
        call: Some(CallId::new("9062174000000001").unwrap()),
        leg: None,
        provider: "ozonetel".into(),
        kind: body.kind(),
        occurred_at: OccurredAt::from_millis(1_774_343_392_000),
        occurred_at_from: OccurredAtFrom::Event,
        received_at: ReceivedAt::from_micros(1_774_343_392_000_001),
        raw: vec![0, 159, 146, 150, 255],
        raw_content_type: "application/json".into(),
        source: Source {
            endpoint: "/api/supervisor/agent-event".into(),
            account: "demo_user".into(),
            request_id: "r".into(),
        },
        normaliser: 1,
        body,
    }
}

#[test]
fn every_kind_of_fact_survives_the_wire() {
    let codec: Codec<Fact> = Codec::new(7, &schema::FACT).unwrap();
    let all = bodies();
    assert_eq!(all.iter().map(Body::kind).collect::<Vec<_>>(), Kind::ALL.to_vec());
    for body in all {
        let fact = fact(body);
        let framed = codec.encode(&fact).unwrap();
        assert_eq!(framed[..5], [0, 0, 0, 0, 7]);
        assert!(codec.decode(&framed).unwrap() == fact, "{fact:?}");
    }
}

#[test]
fn a_generic_avro_reader_sees_the_same_values() {
    // What any Confluent-compatible consumer does: decode by the schema alone, without our types.
    let codec: Codec<Fact> = Codec::new(7, &schema::FACT).unwrap();
    let framed = codec.encode(&fact(bodies().remove(0))).unwrap();
    let reader = apache_avro::reader::datum::GenericDatumReader::builder(&schema::FACT).build().unwrap();
    let value = reader.read_value(&mut &framed[5..]).unwrap();
    let text = format!("{value:?}");
    assert!(text.contains("TimestampMillis(1774343392000)") && text.contains("\"AUX\""), "{text}");
}

#[test]
fn the_other_records_survive_the_wire() {
    let fact = fact(bodies().remove(1));
    let event = UnroutedEvent {
        id: fact.id,
        agent: fact.agent.clone(),
        call: fact.call.clone(),
        leg: fact.leg.clone(),
        provider: fact.provider.clone(),
        kind: fact.kind,
        occurred_at: fact.occurred_at,
        occurred_at_from: fact.occurred_at_from,
        received_at: fact.received_at,
        raw: fact.raw.clone(),
        raw_content_type: fact.raw_content_type.clone(),
        source: fact.source.clone(),
        normaliser: fact.normaliser,
        body: fact.body.clone(),
        did: Some(Did::new("918040000001").unwrap()),
        reason: "agent_and_did_unknown".into(),
        redriven: None,
    };
    let codec: Codec<UnroutedEvent> = Codec::new(1, &schema::UNROUTED).unwrap();
    let back = codec.decode(&codec.encode(&event).unwrap()).unwrap();
    assert!(back == event);
    assert!(back.into_fact(fact.workspace.clone()) == fact, "routing adds the workspace and nothing else");

    let rejected = RejectedBody {
        id: fact.id,
        code: "body_unreadable".into(),
        reason: "not JSON".into(),
        received_at: fact.received_at,
        method: "POST".into(),
        endpoint: "/x".into(),
        workspace: None,
        headers: [("user-agent".to_owned(), "curl".to_owned())].into(),
        content_type: String::new(),
        raw: vec![255, 0],
        request_id: "r".into(),
        redriven: None,
    };
    let codec: Codec<RejectedBody> = Codec::new(2, &schema::REJECTED).unwrap();
    assert!(codec.decode(&codec.encode(&rejected).unwrap()).unwrap() == rejected);
}

#[test]
fn bytes_that_are_not_ours_are_refused_and_never_panic() {
    let codec: Codec<Fact> = Codec::new(7, &schema::FACT).unwrap();
    assert!(matches!(codec.decode(b""), Err(CodecError::NotFramed)));
    assert!(matches!(codec.decode(b"{\"json\":1}"), Err(CodecError::NotFramed)));
    assert!(matches!(codec.decode(&[0, 0, 0, 0, 9, 1]), Err(CodecError::UnknownSchema(9))));
    let framed = codec.encode(&fact(bodies().remove(4))).unwrap();
    for cut in 5..framed.len() {
        assert!(matches!(codec.decode(&framed[..cut]), Err(CodecError::Datum { id: 7, .. })), "cut at {cut}");
    }
}

#[test]
fn keys_keep_an_agents_story_together() {
    let mut fact = fact(bodies().remove(1));
    assert_eq!(fact.key(), "ramaiah/agent.one");
    fact.agent = None;
    assert_eq!(fact.key(), "ramaiah/call:9062174000000001");
    assert_eq!(helix_schemas::key::workspace_of_key(fact.key().as_bytes()), Some("ramaiah"));
    assert_eq!(helix_schemas::key::workspace_of_key(b"nothing"), None);
}

fn claim(agent: &str, workspace: Option<&str>) -> DirectoryEntry {
    DirectoryEntry {
        entry: EntryKind::Agent,
        value: agent.into(),
        workspace: workspace.map(|slug| WorkspaceId::new(slug).unwrap()),
        url: None,
        recorded_at: ReceivedAt::from_micros(0),
        request_id: String::new(),
    }
}

#[test]
fn the_first_claim_of_an_agent_stands_until_it_is_released() {
    let mut directory = Directory::default();
    let ramaiah = WorkspaceId::new("ramaiah").unwrap();
    assert_eq!(directory.apply(&claim("a", Some("ramaiah"))), Applied::Changed);
    assert_eq!(directory.apply(&claim("a", Some("ramaiah"))), Applied::Unchanged);
    assert_eq!(directory.apply(&claim("a", Some("global"))), Applied::Refused { owner: ramaiah.clone() });
    assert_eq!(directory.owner_of_agent(&AgentId::new("a").unwrap()), Some(&ramaiah));
    assert_eq!(directory.apply(&claim("a", None)), Applied::Changed);
    assert_eq!(directory.apply(&claim("a", Some("global"))), Applied::Changed);
}

#[test]
fn a_did_is_one_did_in_every_spelling() {
    let entry = |value: &str, workspace: Option<&str>| DirectoryEntry {
        entry: EntryKind::Did,
        value: value.into(),
        ..claim("a", workspace)
    };
    let mut directory = Directory::default();
    let (ramaiah, global) = (WorkspaceId::new("ramaiah").unwrap(), WorkspaceId::new("global").unwrap());
    assert_eq!(directory.apply(&entry("+91 80 4000 0001", Some("ramaiah"))), Applied::Changed);
    assert_eq!(directory.apply(&entry("918040000001", Some("ramaiah"))), Applied::Unchanged);
    assert_eq!(
        directory.apply(&entry("0091-80-40000001", Some("global"))),
        Applied::Refused { owner: ramaiah.clone() }
    );
    assert_eq!(directory.owner_of_did(&Did::new("(91)8040000001").unwrap()), Some(&ramaiah));
    assert_eq!(directory.dids_of(&ramaiah), ["918040000001"].into());
    // What was decoded from the log keeps the spelling it was stored with.
    let stored: Did = serde_json::from_str(r#""+91-8040000001""#).unwrap();
    assert_eq!((stored.as_str(), directory.owner_of_did(&stored)), ("+91-8040000001", Some(&ramaiah)));
    assert_eq!(entry("+91 80 4000 0001", None).key(), "did/918040000001");
    assert_eq!(directory.apply(&entry("+918040000001", None)), Applied::Changed);
    assert_eq!(directory.apply(&entry("918040000001", Some("global"))), Applied::Changed);
    // National: another number, as far as anybody can tell.
    assert_eq!(directory.owner_of_did(&Did::new("08040000001").unwrap()), None);
    assert_eq!(directory.owner_of_did(&Did::new("918040000001").unwrap()), Some(&global));
}
