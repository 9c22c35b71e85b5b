//! What no build of ours writes is refused where it is read, and the record is blamed: no fold and no store meets it.

use apache_avro::{reader::datum::GenericDatumReader, types::Value, writer::datum::GenericDatumWriter};
use helix_schemas::{
    codec::{Codec, CodecError, HEADER_BYTES},
    fact::{Body, CallParty, CallRang, CallSummarised, ChainedAgent, Decided, Fact},
    names::{AgentId, LegId, WorkspaceId},
    registry::RegistryError,
    schema,
    time::{MOMENTS, OccurredAt, ReceivedAt},
};

const ID: u32 = 7;

/// Puts `text` where the fact says `said`, by the schema alone, and reads it with our types.
fn with_text(fact: &Fact, said: &str, text: &str) -> Result<Fact, CodecError> {
    let codec: Codec<Fact> = Codec::new(ID, &schema::FACT).unwrap();
    let framed = codec.encode(fact).unwrap();
    let reader = GenericDatumReader::builder(&schema::FACT).build().unwrap();
    let mut value = reader.read_value(&mut &framed[HEADER_BYTES..]).unwrap();
    assert_eq!(replace(&mut value, said, text), 1, "{said} is said once");
    let writer = GenericDatumWriter::builder(&schema::FACT).build().unwrap();
    let mut again = framed[..HEADER_BYTES].to_vec();
    again.extend(writer.write_value_to_vec(value).unwrap());
    codec.decode(&again)
}

fn replace(value: &mut Value, said: &str, text: &str) -> usize {
    if let Value::String(found) = value
        && found == said
    {
        text.clone_into(found);
        return 1;
    }
    if let Value::Union(_, inner) = value {
        replace(inner, said, text)
    } else if let Value::Record(fields) = value {
        fields.iter_mut().map(|(_, field)| replace(field, said, text)).sum()
    } else if let Value::Array(items) = value {
        items.iter_mut().map(|item| replace(item, said, text)).sum()
    } else {
        0
    }
}

fn blames_the_record(read: Result<Fact, CodecError>) -> bool {
    let Err(error) = read else { return false };
    matches!(error, CodecError::Datum { id: ID, .. }) && RegistryError::from(error).blames_the_record()
}

fn summarised() -> Fact {
    let link = ChainedAgent { agent: AgentId::new("link").ok(), ..ChainedAgent::default() };
    let body = CallSummarised { agents: vec![link], ..CallSummarised::default() };
    let mut fact = crate::fact(Body::CallSummarised(Box::new(body)));
    fact.workspace = WorkspaceId::new("hospital").unwrap();
    fact.leg = LegId::new("the-leg").ok();
    fact
}

#[test]
fn a_record_with_a_name_that_cannot_be_is_to_blame() {
    let fact = summarised();
    for said in ["hospital", "agent.one", "9062174000000001", "the-leg", "link"] {
        assert!(with_text(&fact, said, &format!("{said}2")).is_ok(), "{said}");
        let long = "x".repeat(256);
        for text in ["", " ", &format!("{said} "), &format!("\u{feff}\n{said}"), "c\u{1}1", "c\0", &long] {
            let read = with_text(&fact, said, text);
            assert!(blames_the_record(read), "{said} as {text:?}");
        }
        // The words of an error reach logs and stores: they hold no value.
        let words = with_text(&fact, said, &format!("{said}\u{1}")).err().unwrap().to_string();
        assert!(words.contains("not allowed") && !words.contains(said), "{words}");
    }
}

/// A fact that tells this moment in one of its places.
fn telling(place: usize, millis: i64) -> Fact {
    let at = OccurredAt::from_millis(millis);
    let mut summary = CallSummarised::default();
    match place {
        1 => summary.started_at = Some(at),
        2 => summary.answered_at = Some(at),
        3 => summary.ended_at = Some(at),
        _ => {}
    }
    let body = match place {
        0 | 5 => Body::CallRang(CallRang { party: CallParty::default() }),
        1..=3 => Body::CallSummarised(Box::new(summary)),
        _ => Body::Decided(Decided {
            decision: "CallPresumedEnded".into(),
            effective_at: Some(at),
            evidence: Vec::new(),
            attributes: std::collections::BTreeMap::new(),
        }),
    };
    let mut fact = crate::fact(body);
    match place {
        0 => fact.occurred_at = at,
        5 => fact.received_at = ReceivedAt::from_micros(millis.saturating_mul(1000)),
        _ => {}
    }
    fact
}

#[test]
fn a_record_with_a_moment_that_cannot_be_is_to_blame() {
    let codec: Codec<Fact> = Codec::new(ID, &schema::FACT).unwrap();
    let read = |fact: &Fact| codec.decode(&codec.encode(fact).unwrap());
    for place in 0..6 {
        for millis in [MOMENTS.start, -1, 0, 1, 946_684_800_000, 4_133_980_799_999, MOMENTS.end - 1] {
            let fact = telling(place, millis);
            assert!(read(&fact).unwrap() == fact, "{millis} in place {place}");
        }
        for millis in [i64::MIN, -62_135_596_800_000, MOMENTS.start - 1, MOMENTS.end, 8_210_266_876_799_999, i64::MAX] {
            assert!(blames_the_record(read(&telling(place, millis))), "{millis} in place {place}");
        }
    }
}

#[test]
fn an_unrouted_event_is_read_as_the_fact_that_it_will_be() {
    let codec = Codec::new(ID, &schema::UNROUTED).unwrap();
    for (_, event) in crate::records::unrouted_events() {
        let mut late = event.clone();
        late.occurred_at = OccurredAt::from_millis(MOMENTS.end);
        assert!(codec.decode(&codec.encode(&late).unwrap()).is_err());
        late.occurred_at = event.occurred_at;
        late.received_at = ReceivedAt::from_micros(MOMENTS.start * 1000 - 1);
        assert!(codec.decode(&codec.encode(&late).unwrap()).is_err());
        assert!(codec.decode(&codec.encode(&event).unwrap()).unwrap() == event);
    }
}
