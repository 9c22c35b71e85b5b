//! FULL_TRANSITIVE in both directions, over any value: what the newest version writes, a reader of any older version
//! reads by Avro's resolution, and what that version writes, the newest reads. Nothing but the fields that came later
//! is lost on the way.

use std::collections::BTreeMap;

use apache_avro::{Schema, reader::datum::GenericDatumReader, types::Value, writer::datum::GenericDatumWriter};
use helix_schemas::{
    codec::HEADER_BYTES,
    directory::{DirectoryEntry, EntryKind},
    fact::{
        AgentState, AgentStateChanged, AgentStateWord, Body, CallAnswered, CallEnded, CallParty, CallRang,
        CallSummarised, ChainedAgent, Decided, Direction, DirectoryChanged, Fact, OccurredAtFrom, Source, Unknown,
    },
    id::FactId,
    names::{AgentId, CallId, Did, LegId, WorkspaceId},
    rejected::{RedrivenBody, RejectedBody},
    resolve::resolved,
    schema::{self, Subject},
    time::{MOMENTS, OccurredAt, ReceivedAt},
    topics,
    unrouted::{Redriven, UnroutedEvent},
};
use proptest::{collection::vec, option, prelude::*};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use crate::samples;

/// What a version's reader can know of a value.
trait KnownTo {
    fn known_to(self, version: usize) -> Self;
}

impl KnownTo for Body {
    fn known_to(mut self, version: usize) -> Self {
        if let Self::Unknown(unknown) = &mut self
            && version < 2
        {
            unknown.party = None;
        }
        self
    }
}

impl KnownTo for Fact {
    fn known_to(self, version: usize) -> Self {
        Self { body: self.body.known_to(version), ..self }
    }
}

impl KnownTo for UnroutedEvent {
    fn known_to(self, version: usize) -> Self {
        let redriven = self.redriven.filter(|_| version >= 2);
        Self { body: self.body.known_to(version), redriven, ..self }
    }
}

impl KnownTo for RejectedBody {
    fn known_to(self, version: usize) -> Self {
        Self { redriven: self.redriven.filter(|_| version >= 2), ..self }
    }
}

impl KnownTo for DirectoryEntry {
    fn known_to(self, _version: usize) -> Self {
        self
    }
}

/// The types themselves show nothing of a body (law 9); a failed test must.
struct Shown<T>(T);

impl<T: Serialize> std::fmt::Debug for Shown<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&serde_json::to_string(&self.0).map_err(|_| std::fmt::Error)?)
    }
}

/// One datum, read by `reader` as a program of that version would, and written again by it.
fn through(datum: &[u8], writer: &Schema, reader: &Schema) -> Vec<u8> {
    let value = GenericDatumReader::builder(writer).build().unwrap().read_value(&mut &*datum).unwrap();
    let again = GenericDatumWriter::builder(reader).build().unwrap();
    again.write_value_to_vec(resolved(value, writer, reader).unwrap()).unwrap()
}

fn survives_every_version<T>(topic: &str, newest: &'static Schema, value: &T) -> Result<(), TestCaseError>
where
    T: KnownTo + Clone + PartialEq + Serialize + DeserializeOwned,
{
    let codec = samples::codec::<T>(topic, newest);
    let framed = codec.encode(value).unwrap();
    prop_assert!(codec.decode(&framed).unwrap() == *value, "{topic}");
    let versions = Subject::of_topic(topic).unwrap().versions;
    for (index, text) in versions.iter().enumerate() {
        let version = index + 1;
        let older = Schema::parse_str(text).unwrap();
        let known = value.clone().known_to(version);
        // Forward: the older reader. Then backward twice: by the newest types, and by resolution.
        let datum = through(&framed[HEADER_BYTES..], newest, &older);
        prop_assert!(codec.decode(&samples::framed(version, &datum)).unwrap() == known, "{topic}.v{version}");
        let datum = through(&datum, &older, newest);
        prop_assert!(codec.decode(&samples::framed(versions.len(), &datum)).unwrap() == known, "{topic}.v{version}");
    }
    Ok(())
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9 ]{0,8}", ".{0,8}", "(आशा|🙂|\u{0}){0,3}"]
}

fn some() -> impl Strategy<Value = Option<String>> {
    option::of(text())
}

fn a_name<T: std::fmt::Debug>(
    make: fn(&str) -> Result<T, helix_schemas::names::NameError>,
) -> impl Strategy<Value = T> {
    "[a-z0-9@.आ]{1,12}".prop_map(move |text| make(&text).unwrap())
}

fn a_workspace() -> impl Strategy<Value = WorkspaceId> {
    "[a-z0-9-]{1,63}".prop_map(|slug| WorkspaceId::new(&slug).unwrap())
}

fn an_occurred_at() -> impl Strategy<Value = OccurredAt> {
    MOMENTS.prop_map(OccurredAt::from_millis)
}

fn a_received_at() -> impl Strategy<Value = ReceivedAt> {
    (MOMENTS.start * 1000..MOMENTS.end * 1000).prop_map(ReceivedAt::from_micros)
}

fn a_party() -> impl Strategy<Value = Shown<CallParty>> {
    let direction = option::of(prop_oneof![Just(Direction::Inbound), Just(Direction::Outbound)]);
    (direction, some(), some(), some(), some(), some(), some()).prop_map(
        |(direction, call_type, caller, did, skill, campaign, agent_phone)| {
            Shown(CallParty { direction, call_type, caller, did, skill, campaign, agent_phone })
        },
    )
}

fn a_link() -> impl Strategy<Value = Shown<ChainedAgent>> {
    (option::of(a_name(AgentId::new)), some(), some(), some(), some()).prop_map(
        |(agent, name, phone, unique_id, status)| Shown(ChainedAgent { agent, name, phone, unique_id, status }),
    )
}

fn a_summary() -> impl Strategy<Value = Shown<CallSummarised>> {
    let at = || option::of(an_occurred_at());
    let seconds = || option::of(any::<i32>());
    let said = (a_party(), any::<Option<bool>>(), some(), some(), some(), some());
    let times = (at(), at(), at(), seconds(), seconds(), seconds(), seconds());
    let rest = (vec(a_link(), 0..3), some(), some(), some(), some(), some(), some(), some());
    (said, times, rest).prop_map(|(said, times, rest)| {
        let (Shown(party), answered, status, disposition, comments, uui) = said;
        let (started_at, answered_at, ended_at, call_seconds, talk_seconds, hold_seconds, wrap_up_seconds) = times;
        let (agents, hangup_by, recording_url, transfer_type, transferred_to, dial_status, customer_status, location) =
            rest;
        Shown(CallSummarised {
            party,
            answered,
            status,
            started_at,
            answered_at,
            ended_at,
            call_seconds,
            talk_seconds,
            hold_seconds,
            wrap_up_seconds,
            agents: agents.into_iter().map(|Shown(link)| link).collect(),
            disposition,
            comments,
            hangup_by,
            recording_url,
            transfer_type,
            transferred_to,
            dial_status,
            customer_status,
            location,
            uui,
        })
    })
}

fn a_body() -> impl Strategy<Value = Shown<Body>> {
    let state = proptest::sample::select(AgentState::ALL.to_vec());
    let attributes = prop::collection::btree_map(text(), text(), 0..3);
    prop_oneof![
        (text(), state, some(), some(), some(), some()).prop_map(
            |(action, state, reason, mode, agent_name, agent_unique_id)| {
                let state = AgentStateWord(state);
                let changed = AgentStateChanged { action, state, reason, mode, agent_name, agent_unique_id };
                Shown(Body::AgentStateChanged(changed))
            }
        ),
        a_party().prop_map(|Shown(party)| Shown(Body::CallRang(CallRang { party }))),
        a_party().prop_map(|Shown(party)| Shown(Body::CallAnswered(CallAnswered { party }))),
        (a_party(), some())
            .prop_map(|(Shown(party), hangup_by)| Shown(Body::CallEnded(CallEnded { party, hangup_by }))),
        a_summary().prop_map(|Shown(summary)| Shown(Body::CallSummarised(Box::new(summary)))),
        (text(), text(), text()).prop_map(|(change, entry, value)| Shown(Body::DirectoryChanged(DirectoryChanged {
            change,
            entry,
            value
        }))),
        (text(), option::of(an_occurred_at()), vec(text(), 0..3), attributes).prop_map(
            |(decision, effective_at, evidence, attributes)| {
                Shown(Body::Decided(Decided { decision, effective_at, evidence, attributes }))
            }
        ),
        (text(), text(), some(), some(), option::of(a_party())).prop_map(|(event, word, mode, agent_name, party)| {
            let party = party.map(|Shown(party)| party);
            Shown(Body::Unknown(Unknown { event, word, mode, agent_name, party }))
        }),
    ]
}

fn an_id() -> impl Strategy<Value = FactId> {
    any::<u128>().prop_map(|bits| FactId::from_uuid(uuid::Uuid::from_u128(bits)))
}

fn a_fact() -> impl Strategy<Value = Shown<Fact>> {
    let from = prop_oneof![Just(OccurredAtFrom::Event), Just(OccurredAtFrom::Envelope), Just(OccurredAtFrom::Received)];
    let names = (
        an_id(),
        a_workspace(),
        option::of(a_name(AgentId::new)),
        option::of(a_name(CallId::new)),
        option::of(a_name(LegId::new)),
    );
    let times = (an_occurred_at(), from, a_received_at());
    let source =
        (text(), text(), text()).prop_map(|(endpoint, account, request_id)| Source { endpoint, account, request_id });
    let raw = (vec(any::<u8>(), 0..40), text(), text());
    (names, times, source, raw, any::<i32>(), a_body()).prop_map(
        |(names, times, source, raw, normaliser, Shown(body))| {
            let (id, workspace, agent, call, leg) = names;
            let (occurred_at, occurred_at_from, received_at) = times;
            let (raw, raw_content_type, provider) = raw;
            Shown(Fact {
                id,
                workspace,
                agent,
                call,
                leg,
                provider,
                kind: body.kind(),
                occurred_at,
                occurred_at_from,
                received_at,
                raw,
                raw_content_type,
                source,
                normaliser,
                body,
            })
        },
    )
}

fn an_unrouted() -> impl Strategy<Value = Shown<UnroutedEvent>> {
    let redriven = (a_workspace(), any::<i64>(), a_received_at()).prop_map(|(workspace, offset, at)| Redriven {
        workspace,
        offset,
        at,
    });
    let did = option::of("[0-9]{10,12}".prop_map(|did| Did::new(&did).unwrap()));
    (a_fact(), did, text(), option::of(redriven)).prop_map(|(Shown(fact), did, reason, redriven)| {
        Shown(UnroutedEvent {
            id: fact.id,
            agent: fact.agent,
            call: fact.call,
            leg: fact.leg,
            provider: fact.provider,
            kind: fact.kind,
            occurred_at: fact.occurred_at,
            occurred_at_from: fact.occurred_at_from,
            received_at: fact.received_at,
            raw: fact.raw,
            raw_content_type: fact.raw_content_type,
            source: fact.source,
            normaliser: fact.normaliser,
            body: fact.body,
            did,
            reason,
            redriven,
        })
    })
}

fn a_rejected() -> impl Strategy<Value = Shown<RejectedBody>> {
    let redriven = (any::<i64>(), a_received_at(), any::<i32>(), any::<i32>())
        .prop_map(|(offset, at, stored, unrouted)| RedrivenBody { offset, at, stored, unrouted });
    let texts = (text(), text(), text(), text(), text(), text());
    let headers = prop::collection::btree_map(text(), text(), 0..3);
    let rest = (an_id(), a_received_at(), option::of(a_workspace()), vec(any::<u8>(), 0..40), option::of(redriven));
    (texts, headers, rest).prop_map(|(texts, headers, rest): (_, BTreeMap<String, String>, _)| {
        let (code, reason, method, endpoint, content_type, request_id) = texts;
        let (id, received_at, workspace, raw, redriven) = rest;
        Shown(RejectedBody {
            id,
            code,
            reason,
            received_at,
            method,
            endpoint,
            workspace,
            headers,
            content_type,
            raw,
            request_id,
            redriven,
        })
    })
}

fn an_entry() -> impl Strategy<Value = DirectoryEntry> {
    let kind = prop_oneof![Just(EntryKind::Workspace), Just(EntryKind::Agent), Just(EntryKind::Did)];
    (kind, text(), option::of(a_workspace()), some(), a_received_at(), text()).prop_map(
        |(entry, value, workspace, url, recorded_at, request_id)| DirectoryEntry {
            entry,
            value,
            workspace,
            url,
            recorded_at,
            request_id,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_fact_survives_readers_and_writers_of_every_version(Shown(fact) in a_fact()) {
        survives_every_version(topics::FACTS, &schema::FACT, &fact)?;
    }

    #[test]
    fn any_unrouted_event_survives_readers_and_writers_of_every_version(Shown(event) in an_unrouted()) {
        survives_every_version(topics::UNROUTED, &schema::UNROUTED, &event)?;
    }

    #[test]
    fn any_rejected_body_survives_readers_and_writers_of_every_version(Shown(body) in a_rejected()) {
        survives_every_version(topics::REJECTED, &schema::REJECTED, &body)?;
    }

    #[test]
    fn any_directory_entry_survives_readers_and_writers_of_every_version(entry in an_entry()) {
        survives_every_version(topics::DIRECTORY, &schema::DIRECTORY, &entry)?;
    }
}

#[test]
fn a_mark_lies_where_its_event_lies_and_holds_nothing_of_it() {
    for (_, event) in crate::records::unrouted_events() {
        let redriven =
            Redriven { workspace: WorkspaceId::new("ramaiah").unwrap(), offset: 41, at: ReceivedAt::from_micros(1) };
        let mark = event.mark(redriven.clone());
        let key = |event: &UnroutedEvent| helix_schemas::key::unrouted_key(event.agent.as_ref(), event.did.as_ref());
        assert_eq!((key(&mark), mark.id, mark.redriven), (key(&event), event.id, Some(redriven)));
        assert!(mark.raw.is_empty() && mark.kind == mark.body.kind());
        assert!(mark.body == Body::Unknown(Unknown::default()));
    }
    for (_, body) in crate::records::rejected_bodies() {
        let mark = body.mark(RedrivenBody { offset: 7, at: ReceivedAt::from_micros(1), stored: 1, unrouted: 0 });
        assert_eq!(mark.id, body.id);
        assert!(mark.raw.is_empty() && mark.headers.is_empty() && mark.redriven.is_some());
    }
}

/// The newest schema of facts with what a next version might add: a record of its own, a field of an older record.
fn successor() -> Schema {
    let mut schema: serde_json::Value =
        serde_json::from_str(Subject::of_topic(topics::FACTS).unwrap().newest()).unwrap();
    let later = json!({"name": "later", "default": null, "type": ["null", {"type": "record", "name": "Later", "fields": [
        {"name": "words", "type": {"type": "array", "items": "string"}}, {"name": "word", "type": "string"},
    ]}]});
    let fields = schema["fields"].as_array_mut().unwrap();
    let body = fields.iter_mut().find(|field| field["name"] == "body").unwrap();
    for branch in body["type"].as_array_mut().unwrap() {
        let again = json!({"name": "later", "default": null, "type": ["null", "Later"]});
        branch["fields"].as_array_mut().unwrap().push(again);
    }
    fields.insert(0, later);
    Schema::parse_str(&schema.to_string()).unwrap()
}

#[test]
fn a_build_reads_what_its_successor_writes() {
    let schema = successor();
    let codec = samples::codec::<Fact>(topics::FACTS, &schema::FACT);
    codec.learn(9, &serde_json::to_string(&schema).unwrap()).unwrap();
    let later = || {
        let words = Value::Array(vec![Value::String("b".into())]);
        let record = Value::Record(vec![("words".into(), words), ("word".into(), Value::String("a".into()))]);
        Value::Union(1, Box::new(record))
    };
    let set = |value: &mut Value| {
        let Value::Record(fields) = value else { panic!("no record") };
        fields.iter_mut().find(|(name, _)| name == "later").unwrap().1 = later();
    };
    for (name, fact) in crate::records::facts() {
        let framed = codec.encode(&fact).unwrap();
        let newest = GenericDatumReader::builder(&schema::FACT).build().unwrap();
        let value = newest.read_value(&mut &framed[HEADER_BYTES..]).unwrap();
        let mut value = resolved(value, &schema::FACT, &schema).unwrap();
        set(&mut value);
        let Value::Record(fields) = &mut value else { panic!("no record") };
        let Value::Union(_, body) = &mut fields.iter_mut().find(|(name, _)| name == "body").unwrap().1 else {
            panic!("no union")
        };
        set(body);
        let datum = GenericDatumWriter::builder(&schema).build().unwrap().write_value_to_vec(value).unwrap();
        let read = codec.decode(&samples::framed(9, &datum)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(read == fact, "{name}");
        for cut in 0..datum.len() {
            assert!(codec.decode(&samples::framed(9, &datum[..cut])).is_err(), "{name} cut at {cut}");
        }
    }
}
