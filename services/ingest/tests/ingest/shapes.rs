//! Every shape of ozonetel.md, table by table: wrappings, spellings of fields, absences, chains, ids, times, scripts,
//! and what is noticed of each.

use helix_ingest::{
    body::{self, Unreadable},
    normalise::{
        Normalised, Rejection,
        noticed::{Noticed, Place},
    },
    route::{self, Destination},
};
use helix_schemas::{
    fact::{Body, CallSummarised, OccurredAtFrom},
    names::{AgentId, WorkspaceId},
    topics,
};
use serde_json::{Map, Value, json};

use super::{
    laws::wrappings,
    log::{AGENT_EVENT, deliver},
    support::{Stage, cluster, config, context, directory, stored, the_one, understood},
};

/// ozonetel.md 1.3, as observed.
fn agent_event() -> Value {
    json!({"eventType": "Agent", "eventTime": "2025-10-18 17:07:43", "username": "demo_user", "data": {
        "action": "incall", "agentUniqeId": 100_001, "agentId": "agent.one", "agentMode": "INBOUND",
        "eventTime": "2025-10-18 17:07:43"}})
}

/// ozonetel.md 2.
fn call_event() -> Value {
    json!({"eventType": "Call", "eventTime": "2023-12-03 10:35:55", "username": "demo_user", "data": {
        "action": "Calling", "call_type": "Inbound", "ucid": "9062174000000001", "monitor_ucid": "9062174000000001",
        "agent_id": "agent.one", "skill": "General", "caller_id": "9000000001", "did": "918040000001",
        "agent_number": "9000000002", "event_time": "2023-12-03 10:35:55"}})
}

/// ozonetel.md 3.3, as observed, with the DID of the tests' directory.
fn callback() -> Value {
    json!({"monitorUCID": "9049750000000000", "UUI": "New_order", "Did": "918040000001",
        "CampaignName": "Inbound_914400000001", "Location": "Chennai", "CallerID": "919000000001",
        "PhoneName": "agentone", "Skill": "New_order", "StartTime": "2018-08-06 16:59:33",
        "EndTime": "2018-08-06 17:00:03", "TimeToAnswer": "00:00:07", "CallDuration": "00:00:30",
        "Duration": "00:00:23", "FallBackRule": "AgentDial", "DialedNumber": "9000000002", "Type": "inbound",
        "AgentID": "agent.one", "AgentPhoneNumber": "9000000002", "AgentUniqueID": "100001", "AgentName": "Agentone",
        "Disposition": "Wrap up time exceeded :120", "HangupBy": "UserHangup", "Status": "Answered",
        "AudioFile": "http://recordings.example.invalid/demo/demo_9049750000000000_20180806165933.mp3",
        "TransferType": "No Transfers", "TransferredTo": "", "Comments": "", "DialStatus": "answered",
        "AgentStatus": "answered", "CustomerStatus": "answered", "UserName": "demo", "CallerConfAudioFile": "",
        "ConfDuration": "00:00:00", "CampaignStatus": "ONLINE"})
}

fn read(event: &Value) -> Normalised {
    the_one(event.to_string().as_bytes(), &context(Some(AGENT_EVENT)))
}

fn refused(event: &Value) -> Rejection {
    let path = event.get("eventType").map(|_| AGENT_EVENT);
    let mut all = understood(event.to_string().as_bytes(), &context(path)).unwrap();
    all.remove(0).err().unwrap()
}

/// A change of one of an event's own fields.
fn with(mut event: Value, field: &str, value: impl Into<Value>) -> Value {
    let data = if event.get("data").is_some() { &mut event["data"] } else { &mut event };
    data.as_object_mut().unwrap().insert(field.to_owned(), value.into());
    event
}

fn without(mut event: Value, field: &str) -> Value {
    let data = if event.get("data").is_some() { &mut event["data"] } else { &mut event };
    data.as_object_mut().unwrap().remove(field).unwrap();
    event
}

fn summary(event: &Value) -> CallSummarised {
    let Body::CallSummarised(summary) = read(event).body else { panic!("no summary") };
    *summary
}

/// Every member of an object and of its `data` under another name.
fn renamed(event: &Value, rename: fn(&str) -> String) -> Value {
    let rename_member = |(name, value): (&String, &Value)| {
        (rename(name), if name == "data" { renamed(value, rename) } else { value.clone() })
    };
    Value::Object(event.as_object().unwrap().iter().map(rename_member).collect())
}

/// The event's own fields and the envelope's as one form.
fn flat_form(event: &Value) -> String {
    let mut fields: Map<String, Value> = event.as_object().unwrap().clone();
    if let Some(Value::Object(data)) = fields.remove("data") {
        fields.extend(data);
    }
    let mut form = form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields {
        form.append_pair(&name, &value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
    form.finish()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_wrapping_under_every_content_type_is_the_same_fact() {
    let cluster = cluster();
    let stage = Stage::new(config(&cluster.bootstrap_servers()));
    let content_types = [
        "application/json",
        "application/x-www-form-urlencoded",
        "text/plain; charset=iso-8859-1",
        "application/xml",
        "multipart/form-data; boundary=x",
        "nonsense",
        "",
    ];
    let path = format!("{AGENT_EVENT}/k/{}", super::support::ACCOUNT_KEY);
    for event in [agent_event(), call_event(), callback()] {
        let id = read(&event).id.to_string();
        let wrapped = wrappings(&event.to_string());
        for (body, content_type) in wrapped.into_iter().zip(content_types.into_iter().cycle()) {
            let answer = stage.send("POST", &path, &[("content-type", content_type)], body.clone()).await;
            assert_eq!(answer.status, 202, "{content_type}: {body}: {}", answer.json);
            assert_eq!(answer.json["results"][0]["id"], json!(id), "{content_type}: {body}");
        }
    }
    // A repeat is known by its id, so each is stored once.
    stored(&cluster.bootstrap_servers(), topics::FACTS, 3);
    assert_eq!(deliver(&stage, AGENT_EVENT, flat_form(&agent_event())).await.status, 202);
}

#[test]
fn a_flat_form_says_what_its_envelope_says() {
    for event in [agent_event(), call_event(), callback()] {
        let (nested, flat) = (read(&event), the_one(flat_form(&event).as_bytes(), &context(Some(AGENT_EVENT))));
        assert!(nested.body == flat.body && nested.occurred_at == flat.occurred_at && nested.agent == flat.agent);
        assert!(nested.call == flat.call && nested.account == flat.account && nested.noticed == flat.noticed);
    }
    // Subscription events are known by their own fields, which are the same.
    for event in [agent_event(), call_event()] {
        let flat = the_one(flat_form(&event).as_bytes(), &context(None));
        assert_eq!(read(&event).id, flat.id);
        let later = event.to_string().replacen(
            "\"eventTime\":\"2023-12-03 10:35:55\"",
            "\"eventTime\":\"2023-12-03 10:40:00\"",
            1,
        );
        let later: Value = serde_json::from_str(&later).unwrap();
        assert_eq!(the_one(flat_form(&later).as_bytes(), &context(None)).id, flat.id, "sent again later");
    }
}

#[test]
fn data_of_an_envelope_may_be_text_or_an_array_of_one() {
    for event in [agent_event(), call_event()] {
        let plain = read(&event);
        let data = event["data"].clone();
        let text = Value::String(data.to_string());
        for wrapped in [
            text.clone(),
            Value::String(text.to_string()),
            json!([data]),
            Value::String(json!([data]).to_string()),
            json!([data.to_string()]),
        ] {
            let mut other = event.clone();
            other["data"] = wrapped;
            assert!(read(&other) == plain, "{other}");
        }
    }
}

#[test]
fn a_field_is_known_in_every_spelling() {
    fn snake(name: &str) -> String {
        let mut out = String::new();
        for (place, c) in name.char_indices() {
            if c.is_ascii_uppercase() && place > 0 && !out.ends_with('_') {
                out.push('_');
            }
            out.push(c.to_ascii_lowercase());
        }
        out
    }
    let spellings: [fn(&str) -> String; 5] = [
        str::to_ascii_lowercase,
        str::to_ascii_uppercase,
        |name| name.replace('_', ""),
        |name| name.replace('_', "-"),
        |name| format!("{}{}", name[..1].to_ascii_uppercase(), &name[1..]),
    ];
    for event in [agent_event(), call_event(), callback()] {
        let plain = read(&event);
        for spelling in spellings {
            let other = read(&renamed(&event, spelling));
            assert!(plain.body == other.body && plain.agent == other.agent && plain.call == other.call);
            assert!(plain.did == other.did && plain.occurred_at == other.occurred_at);
        }
    }
    // `monitorUCID` has no boundary before its `CID`s; the others are read as snake case too.
    let event = agent_event();
    assert!(read(&renamed(&event, snake)).body == read(&event).body);
    for name in ["Did", "dId", "DId", "DID", "did", "d_id"] {
        let event = with(without(callback(), "Did"), name, "918040000009");
        assert_eq!(read(&event).did.unwrap().as_str(), "918040000009", "{name}");
    }
}

#[test]
fn what_says_nothing_is_as_if_it_were_not_there() {
    let nothings = [json!(""), json!("  "), json!("None"), json!("none"), json!("null"), json!("NULL"), Value::Null];
    for event in [agent_event(), call_event(), callback()] {
        let data = event.get("data").unwrap_or(&event).as_object().unwrap().clone();
        for field in data.keys().filter(|field| !["agentId", "monitorUCID"].contains(&field.as_str())) {
            let absent = read(&without(event.clone(), field));
            for nothing in &nothings {
                let empty = read(&with(event.clone(), field, nothing.clone()));
                assert!(empty.body == absent.body && empty.agent == absent.agent, "{field}: {nothing}");
                assert!(empty.call == absent.call && empty.did == absent.did, "{field}: {nothing}");
                assert!(empty.occurred_at == absent.occurred_at, "{field}: {nothing}");
            }
        }
    }
    // The one thing an agent event, and a call, cannot do without.
    for nothing in nothings.iter().chain([&json!("0"), &json!(0)]) {
        assert_eq!(refused(&with(agent_event(), "agentId", nothing.clone())), Rejection::AgentIdMissing, "{nothing}");
        assert_eq!(refused(&with(callback(), "monitorUCID", nothing.clone())), Rejection::CallIdMissing, "{nothing}");
        let call = with(call_event(), "monitor_ucid", nothing.clone());
        assert_eq!(read(&call).call.unwrap().as_str(), "9062174000000001", "the leg stands in: {nothing}");
        assert_eq!(refused(&with(call, "ucid", nothing.clone())), Rejection::CallIdMissing, "{nothing}");
        assert_eq!(read(&with(call_event(), "agent_id", nothing.clone())).agent, None, "{nothing}");
        assert_eq!(read(&with(callback(), "AgentID", nothing.clone())).agent, None, "{nothing}");
    }
    // Said, and kept.
    for word in ["NA", "-", "0", "N/A"] {
        assert_eq!(summary(&with(callback(), "Skill", word)).party.skill.as_deref(), Some(word));
    }
}

#[test]
fn a_chain_may_be_ragged() {
    type Link<'a> = (Option<&'a str>, Option<&'a str>, Option<&'a str>);
    type Case<'a> = (&'a str, &'a str, &'a str, Option<&'a str>, &'a [Link<'a>]);
    let cases: [Case<'_>; 8] = [
        ("a", "A", "answered", Some("a"), &[(Some("a"), Some("A"), Some("answered"))]),
        ("a -> b", "A", "x -> y", Some("b"), &[(Some("a"), Some("A"), Some("x")), (Some("b"), None, Some("y"))]),
        (
            "a->b->a",
            "A ->B",
            "",
            Some("a"),
            &[(Some("a"), Some("A"), None), (Some("b"), Some("B"), None), (Some("a"), None, None)],
        ),
        ("a -> None", "A -> None", "x -> y", Some("a"), &[(Some("a"), Some("A"), Some("x"))]),
        ("0 -> b", " -> B", "x -> y", Some("b"), &[(Some("b"), Some("B"), Some("y"))]),
        ("", "A", "x", None, &[(None, Some("A"), Some("x"))]),
        ("", "", "NormalUnspecified -> answered", None, &[]),
        (" -> -> ", "None", "", None, &[]),
    ];
    for (ids, names, statuses, handler, expected) in cases {
        let mut event = callback();
        for (field, value) in [("AgentID", ids), ("AgentName", names), ("AgentStatus", statuses)] {
            event = with(event, field, value);
        }
        event = without(without(event, "AgentPhoneNumber"), "AgentUniqueID");
        assert_eq!(read(&event).agent.as_ref().map(AgentId::as_str), handler, "{ids}");
        let said = summary(&event);
        let links: Vec<_> = said
            .agents
            .iter()
            .map(|link| (link.agent.as_ref().map(AgentId::as_str), link.name.as_deref(), link.status.as_deref()))
            .collect();
        assert_eq!(links, expected, "{ids} / {names} / {statuses}");
    }
    // A call event's agent may be a chain too.
    assert_eq!(read(&with(call_event(), "agent_id", "a -> b -> 0")).agent.unwrap().as_str(), "b");
}

#[test]
fn ids_and_numbers_keep_every_digit() {
    let big = "31733467784618213";
    let number: Value = serde_json::from_str(big).unwrap();
    for value in [json!(big), number] {
        let call = read(&with(with(call_event(), "monitor_ucid", value.clone()), "ucid", value.clone()));
        assert_eq!((call.call.unwrap().as_str(), call.leg.unwrap().as_str()), (big, big));
        assert_eq!(read(&with(callback(), "monitorUCID", value.clone())).call.unwrap().as_str(), big);
        assert_eq!(read(&with(agent_event(), "agentId", value.clone())).agent.unwrap().as_str(), big);
        assert_eq!(summary(&with(callback(), "CallerID", value.clone())).party.caller.as_deref(), Some(big));
        let Body::AgentStateChanged(changed) = read(&with(agent_event(), "agentUniqeId", value)).body else {
            panic!("no state")
        };
        assert_eq!(changed.agent_unique_id.as_deref(), Some(big));
    }
    assert_eq!(read(&with(agent_event(), "agentId", "043")).agent.unwrap().as_str(), "043");
    // As text or as a number, it is the same event.
    let (text, number) = (with(call_event(), "ucid", big), with(call_event(), "ucid", 31_733_467_784_618_213_u64));
    assert_eq!(read(&text).id, read(&number).id);
}

#[test]
fn a_time_that_cannot_be_read_is_none_and_tells_no_events_apart() {
    for zero in ["0000-00-00 00:00:00", "0000-00-00", "00:00:00", "1970-01-01 05:30:00", "24-03-2026 10:00:00", "soon"]
    {
        let read_without = |event: &Value, field| {
            let event = read(&with(event.clone(), field, zero));
            assert!(event.noticed.iter().any(|notice| notice.place == Place::Time), "{zero}");
            event
        };
        let agent = read_without(&agent_event(), "eventTime");
        assert_eq!(agent.occurred_at_from, OccurredAtFrom::Envelope, "{zero}");
        assert_eq!(agent.occurred_at.to_rfc3339(), "2025-10-18T11:37:43.000Z");
        assert_eq!(read_without(&call_event(), "event_time").occurred_at_from, OccurredAtFrom::Envelope);
        // Two pauses at no time are two events where they say two things.
        let pause = |reason: &str| {
            let pause = with(with(agent_event(), "action", "pause"), "pauseReason", reason);
            read(&with(pause, "eventTime", zero))
        };
        assert_ne!(pause("Lunch").id, pause("Tea").id, "{zero}");
        assert_eq!(pause("Lunch").id, pause("Lunch").id);
        let ended = read_without(&callback(), "EndTime");
        let Body::CallSummarised(ended) = ended.body else { panic!("no summary") };
        assert!(ended.ended_at.is_none() && ended.started_at.is_some() && ended.answered_at.is_some(), "{zero}");
        assert_eq!(summary(&with(callback(), "StartTime", zero)).started_at, None);
    }
    let neither = with(with(callback(), "StartTime", "0000-00-00 00:00:00"), "EndTime", "0000-00-00 00:00:00");
    assert_eq!(read(&neither).occurred_at_from, OccurredAtFrom::Received);
    for garbage in ["-00:00:01", "1h", "00:00:xx", "99:99:99:99"] {
        let said = summary(&with(callback(), "Duration", garbage));
        assert_eq!((said.talk_seconds, said.call_seconds), (None, Some(30)), "{garbage}");
    }
}

/// ozonetel.md 3.4. One of the two is wrong: who believed the start would be a day ahead, who believed the end perhaps years behind.
#[test]
fn a_summary_that_ends_before_it_starts_does_not_say_when_it_happened() {
    let plain = read(&callback());
    assert_eq!(
        (plain.occurred_at_from, plain.occurred_at),
        (OccurredAtFrom::Event, summary(&callback()).ended_at.unwrap())
    );
    let reversed = with(callback(), "StartTime", "2018-08-07 16:59:33");
    let event = read(&reversed);
    assert_eq!(
        (event.occurred_at_from, event.occurred_at),
        (OccurredAtFrom::Received, context(None).received_at.as_occurred())
    );
    let said = summary(&reversed);
    let start = said.started_at.unwrap();
    assert_eq!(said.ended_at.unwrap().millis(), start.millis() + 30_000, "what else it says stands");
    let enveloped = json!({ "eventTime": "2018-08-06 17:00:04", "data": reversed });
    assert_eq!(read(&enveloped).occurred_at_from, OccurredAtFrom::Envelope);
}

#[test]
fn letter_case_changes_no_meaning() {
    for change in [str::to_ascii_lowercase, str::to_ascii_uppercase] {
        let mut event = with(call_event(), "action", change("Calling"));
        event["eventType"] = json!(change("Call"));
        let plain = read(&call_event());
        let other = read(&with(event, "call_type", change("Inbound")));
        assert_eq!((other.id, other.body.kind()), (plain.id, plain.body.kind()));
        let said = summary(&with(with(callback(), "Status", change("Answered")), "Type", change("inbound")));
        let plain = summary(&callback());
        assert!(said.answered == plain.answered && said.party.direction == plain.party.direction);
    }
}

#[test]
fn a_call_event_of_an_unknown_word_still_says_whose_call_it_is() {
    for word in ["Hold", "Ringing", "transfer", "कॉल", "🙂"] {
        let event = read(&with(call_event(), "action", word));
        let Body::Unknown(unknown) = event.body else { panic!("{word} is known") };
        assert_eq!((unknown.event.as_str(), unknown.word.as_str()), ("call", word));
        let party = unknown.party.unwrap();
        assert_eq!((party.caller.as_deref(), party.did.as_deref()), (Some("9000000001"), Some("918040000001")));
        assert_eq!((party.skill.as_deref(), party.agent_phone.as_deref()), (Some("General"), Some("9000000002")));
        assert!(party.direction.is_some() && event.agent.is_some() && event.call.is_some());
    }
    let Body::Unknown(unknown) = read(&with(agent_event(), "action", "changeMode")).body else { panic!("known") };
    assert!(unknown.party.is_none() && unknown.event == "agent");
}

#[test]
fn every_script_survives_and_control_characters_do_no_harm() {
    for text in ["आशा वर्मा", "அன்பு", "ಆಶಾ", "🙂👩🏽‍⚕️", "naïve", "\u{200f}עברית", "tab\tand\nline"]
    {
        assert_eq!(summary(&with(callback(), "Comments", text)).comments.as_deref(), Some(text));
        assert_eq!(summary(&with(callback(), "AgentName", text)).agents[0].name.as_deref(), Some(text));
        let form = flat_form(&with(callback(), "Disposition", text));
        let Body::CallSummarised(said) = the_one(form.as_bytes(), &context(None)).body else { panic!("no summary") };
        assert_eq!(said.disposition.as_deref(), Some(text));
    }
    assert_eq!(read(&with(agent_event(), "agentId", "आशा.वर्मा")).agent.unwrap().as_str(), "आशा.वर्मा");
    assert_eq!(summary(&with(callback(), "Comments", "a\u{0}b")).comments.as_deref(), Some("ab"));
    for bad in ["a\u{7}b", "a\nb", "\u{85}x\u{85}y"] {
        assert_eq!(refused(&with(agent_event(), "agentId", bad)), Rejection::AgentIdInvalid);
        assert_eq!(refused(&with(call_event(), "monitor_ucid", bad)), Rejection::CallIdInvalid);
        assert!(read(&with(call_event(), "did", bad)).did.is_none(), "no DID, but a call");
    }
}

#[test]
fn no_part_of_a_delivery_is_taken_for_the_whole() {
    for event in [agent_event(), call_event(), callback()] {
        let whole = event.to_string();
        let percent: String = form_urlencoded::byte_serialize(whole.as_bytes()).collect();
        for (body, last) in [(whole.clone(), whole.len()), (format!("data={percent}"), 5 + percent.len())] {
            for cut in (0..last).filter(|cut| body.is_char_boundary(*cut)) {
                assert!(body::read(&body.as_bytes()[..cut]).is_err(), "{}", &body[..cut]);
            }
        }
        // Bytes that are no UTF-8, wherever they stand.
        for at in [0, whole.len() / 2, whole.len()] {
            let (before, after) = whole.as_bytes().split_at(at);
            for bad in [&b"\xff"[..], b"\xc3\x28", b"\xed\xa0\x80", b"\xe0\xa4"] {
                let body = [before, bad, after].concat();
                assert_eq!(body::read(&body).unwrap_err(), Unreadable::NotUtf8);
            }
        }
    }
    for broken in [
        r#"{"eventType":"Agent","data":{"action":"login",}}"#,
        r#"{'eventType':'Agent'}"#,
        r#"{"Duration":00:00:23}"#,
        r#"{"a":1}{"b":2}"#,
        r#"{"a":NaN}"#,
        "data={\"monitorUCID\":",
        "<xml><monitorUCID>1</monitorUCID></xml>",
    ] {
        assert!(body::read(broken.as_bytes()).is_err(), "{broken}");
    }
}

#[test]
fn a_did_finds_its_workspace_in_any_spelling_and_the_fact_keeps_the_text() {
    let ramaiah = Destination::Workspace(WorkspaceId::new("ramaiah").unwrap());
    let unknown = Destination::Unrouted(route::UNKNOWN);
    for (sent, destination, noticed) in [
        ("918040000001", &ramaiah, vec![]),
        ("+918040000001", &ramaiah, vec!["plus"]),
        ("+91 80 4000-0001", &ramaiah, vec!["plus", "separators"]),
        ("(91) 8040000001", &ramaiah, vec!["separators"]),
        ("00918040000001", &ramaiah, vec!["double_zero"]),
        ("08040000001", &unknown, vec!["national_zero"]),
        ("8040000001", &unknown, vec![]),
        ("sip:918040000001", &unknown, vec!["not_digits"]),
    ] {
        let event = read(&with(with(call_event(), "did", sent), "agent_id", "0"));
        assert_eq!(route::attribute(&event, &directory()), *destination, "{sent}");
        let spelled = event.noticed.iter().filter(|notice| notice.place == Place::DidSpelling);
        assert_eq!(spelled.map(|notice| notice.word.as_str()).collect::<Vec<_>>(), noticed, "{sent}");
        let Body::CallRang(rang) = event.body else { panic!("not ringing") };
        assert_eq!(rang.party.did.as_deref(), Some(sent));
    }
}

fn shown(noticed: &[Noticed]) -> Vec<(Place, &str)> {
    noticed.iter().map(|notice| (notice.place, notice.word.as_str())).collect()
}

#[test]
fn what_the_guide_shows_has_nothing_to_notice() {
    for event in [agent_event(), call_event(), callback()] {
        assert_eq!(shown(&read(&event).noticed), [], "{event}");
    }
    for action in ["login", "AUX", "release", "IDLE", "calling", "ACW", "pause", "logout"] {
        assert_eq!(shown(&read(&with(agent_event(), "action", action)).noticed), []);
    }
    let chain =
        with(with(callback(), "AgentStatus", "NormalUnspecified -> answered"), "DialStatus", "not_answered -> ");
    assert_eq!(shown(&read(&chain).noticed), []);
}

#[test]
fn what_the_guide_does_not_know_is_noticed_by_place_and_word() {
    let envelope = |field: &str, value: &str| {
        let mut event = agent_event();
        event[field] = json!(value);
        event
    };
    let none: Vec<(Place, &str)> = Vec::new();
    for (event, expected) in [
        (with(agent_event(), "action", "READY"), vec![(Place::AgentAction, "READY")]),
        (with(agent_event(), "action", "Login"), vec![(Place::AgentAction, "Login")]),
        (with(agent_event(), "action", ""), vec![(Place::AgentAction, "absent")]),
        (with(agent_event(), "agentMode", "Manual"), vec![(Place::AgentMode, "Manual")]),
        (with(agent_event(), "pauseReason", "Lunch"), vec![(Place::AgentField, "pauseReason")]),
        (with(agent_event(), "AgentName", "A"), vec![(Place::AgentField, "AgentName")]),
        (with(agent_event(), "monitor_ucid", "1"), vec![(Place::AgentCallId, "monitor_ucid")]),
        (with(agent_event(), "eventTime", "now"), vec![(Place::Time, "event_time")]),
        (envelope("sequence", "7"), vec![(Place::EnvelopeField, "sequence")]),
        (envelope("eventType", "AGENT"), vec![(Place::EventType, "AGENT")]),
        (envelope("eventType", "Chat"), vec![(Place::EventType, "Chat")]),
        (with(call_event(), "action", "Hold"), vec![(Place::CallAction, "Hold")]),
        (with(call_event(), "action", "calling"), vec![(Place::CallAction, "calling")]),
        (with(call_event(), "call_type", "inbound"), vec![(Place::CallType, "inbound")]),
        (with(call_event(), "hangup_by", "x"), vec![(Place::CallField, "hangup_by")]),
        (with(call_event(), "ucid", "2"), vec![(Place::CallLeg, "other_leg")]),
        (with(with(call_event(), "ucid", "2"), "action", "Answered"), none.clone()),
        (without(call_event(), "event_time"), vec![(Place::Time, "absent")]),
        (
            with(call_event(), "ucid", 31_733_467_784_618_213_u64),
            vec![(Place::InexactNumber, "ucid"), (Place::CallLeg, "other_leg")],
        ),
        (with(call_event(), "skill", "हृदय"), vec![(Place::NonAscii, "skill")]),
        (with(callback(), "Status", "Missed"), vec![(Place::CallbackStatus, "Missed")]),
        (with(callback(), "Type", "Inbound Call"), vec![(Place::CallbackType, "Inbound Call")]),
        (with(callback(), "TransferType", "Blind"), vec![(Place::CallbackTransferType, "Blind")]),
        (with(callback(), "HangupBy", "Customer"), vec![(Place::CallbackHangupBy, "Customer")]),
        (
            with(callback(), "AgentStatus", "x -> answered -> y"),
            vec![(Place::CallbackAgentStatus, "x"), (Place::CallbackAgentStatus, "y")],
        ),
        (with(callback(), "CustomerStatus", "Switched"), vec![(Place::CallbackCustomerStatus, "Switched")]),
        (with(callback(), "DialStatus", "gone"), vec![(Place::CallbackDialStatus, "gone")]),
        (with(callback(), "CampaignStatus", "PAUSED"), vec![(Place::CallbackCampaignStatus, "PAUSED")]),
        (with(callback(), "FallBackRule", "IVR"), vec![(Place::CallbackFallBackRule, "IVR")]),
        (with(callback(), "Rating", 5), vec![(Place::CallbackField, "Rating")]),
        (with(callback(), "Duration", "x"), vec![(Place::Duration, "duration")]),
        // Values that may be somebody's are never noticed.
        (with(callback(), "AgentName", "Asha Verma"), none.clone()),
        (with(callback(), "Disposition", "Call 919000000001 back"), none),
    ] {
        assert_eq!(shown(&read(&event).noticed), expected, "{event}");
    }
    let noticed = read(&with(agent_event(), "action", "Asha 9000000001")).noticed;
    assert!(!format!("{noticed:?}").contains("Asha"), "a notice is not for logs");
}
