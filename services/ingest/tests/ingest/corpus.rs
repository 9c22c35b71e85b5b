//! Every sample of the provider through reader and normaliser.

use std::fmt::Write;

use helix_schemas::fact::{Body, Kind};

use super::support::{context, sample, samples, the_one, understood};

#[test]
fn every_sample_is_understood_as_written_down() {
    let mut shown = String::new();
    for sample in samples() {
        writeln!(shown, "== {}", sample.id).unwrap();
        match understood(sample.body.as_bytes(), &context(sample.path.as_deref())) {
            Err(why) => writeln!(shown, "unreadable: {why}").unwrap(),
            Ok(events) => {
                for event in events {
                    match event {
                        Err(why) => writeln!(shown, "rejected: {}", why.code()).unwrap(),
                        Ok(event) => {
                            let text = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
                            writeln!(
                                shown,
                                "{} {} account={} agent={} call={} leg={} did={} at={} from={}",
                                event.id,
                                event.body.kind(),
                                event.account,
                                text(event.agent.map(|agent| agent.to_string())),
                                text(event.call.map(|call| call.to_string())),
                                text(event.leg.map(|leg| leg.to_string())),
                                text(event.did.map(|did| did.to_string())),
                                event.occurred_at.to_rfc3339(),
                                String::from(event.occurred_at_from),
                            )
                            .unwrap();
                            writeln!(shown, "  {}", serde_json::to_string(&event.body).unwrap().replace(",\"", ", \""))
                                .unwrap();
                        }
                    }
                }
            }
        }
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn a_repeat_with_another_send_time_is_the_same_event() {
    let context = context(Some("/api/supervisor/call-event"));
    let [first, second] = ["C07.1", "C07.2"].map(|id| the_one(sample(id).body.as_bytes(), &context));
    assert_eq!(first.id, second.id);
    assert_eq!(first.content, second.content);
    assert!(first.body == second.body && first.occurred_at == second.occurred_at);
    // The same holds for the envelope's letter case.
    let rang = the_one(sample("C01.1").body.as_bytes(), &context);
    assert_eq!(rang.id, the_one(sample("C08.2").body.as_bytes(), &context).id);
}

#[test]
fn call_ids_and_numbers_beyond_two_to_the_53_survive() {
    let event = the_one(sample("C05.1").body.as_bytes(), &context(Some("/api/supervisor/call-event")));
    assert_eq!(event.call.unwrap().as_str(), "31733467784618213");
    assert_eq!(event.leg.unwrap().as_str(), "9062173329753891");
    assert_eq!(event.did.unwrap().as_str(), "918040000001");
    let Body::CallRang(rang) = event.body else { panic!("not ringing") };
    assert_eq!(rang.party.caller.as_deref(), Some("9000000001"));
}

#[test]
fn the_content_and_not_the_path_decides_the_kind() {
    let paths = ["/api/supervisor/agent-event", "/api/supervisor/call-event", "/webhooks/ozonetel/missed-call"];
    for (id, kind) in [("A01.1", Kind::AgentStateChanged), ("C01.1", Kind::CallRang), ("K01.1", Kind::CallSummarised)] {
        let events = paths.map(|path| the_one(sample(id).body.as_bytes(), &context(Some(path))));
        assert!(events.iter().all(|event| event.body.kind() == kind && event.id == events[0].id));
    }
}

#[test]
fn every_spelling_of_the_did_is_read() {
    for spelling in ["Did", "DId", "dId", "DID", "did"] {
        let body = format!(r#"{{"monitorUCID":"1","{spelling}":918040000001,"Status":"NotAnswered"}}"#);
        let event = the_one(body.as_bytes(), &context(None));
        assert_eq!(event.did.unwrap().as_str(), "918040000001");
    }
}

fn summary(fields: &str) -> helix_schemas::fact::CallSummarised {
    let event = the_one(format!(r#"{{"monitorUCID":"1",{fields}}}"#).as_bytes(), &context(None));
    let Body::CallSummarised(summary) = event.body else { panic!("no summary") };
    *summary
}

#[test]
fn the_times_of_a_summary_are_derived_as_far_as_they_can_be_believed() {
    let start = r#""StartTime":"2026-03-24 14:39:52""#;
    let millis = |summary: &Option<helix_schemas::time::OccurredAt>| summary.map(|at| at.millis() - 1_774_343_392_000);
    let plain =
        summary(&format!(r#"{start},"EndTime":"2026-03-24 14:41:15","Status":"answered","TimeToAnswer":"00:00:09""#));
    assert_eq!(
        (millis(&plain.started_at), millis(&plain.answered_at), millis(&plain.ended_at)),
        (Some(0), Some(9_000), Some(83_000))
    );
    let by_talk =
        summary(&format!(r#"{start},"EndTime":"2026-03-24 14:41:15","Status":"Answered","Duration":"00:01:14""#));
    assert_eq!(millis(&by_talk.answered_at), Some(9_000));
    let missed = summary(&format!(r#"{start},"Status":"Not Answered","TimeToAnswer":"00:00:09""#));
    assert_eq!((missed.answered, missed.answered_at), (Some(false), None));
    let reversed = summary(&format!(r#"{start},"EndTime":"2023-03-24 14:41:15","CallDuration":"00:00:18""#));
    assert_eq!(millis(&reversed.ended_at), Some(18_000));
    let hopeless = summary(&format!(r#"{start},"EndTime":"2023-03-24 14:41:15""#));
    assert_eq!(hopeless.ended_at, None);
    assert_eq!(summary(r#""Status":"Ringing""#).answered, None);
}

#[test]
fn a_chain_is_aligned_and_its_last_agent_is_the_handler() {
    let body = r#"{"monitorUCID":"1","AgentID":"None -> a@x.in -> b -> ","AgentName":" -> A","AgentStatus":"x -> y -> z -> w"}"#;
    let event = the_one(body.as_bytes(), &context(None));
    assert_eq!(event.agent.unwrap().as_str(), "b");
    let Body::CallSummarised(summary) = event.body else { panic!("no summary") };
    let links: Vec<_> = summary
        .agents
        .iter()
        .map(|link| {
            (
                link.agent.as_ref().map(helix_schemas::names::AgentId::as_str),
                link.name.as_deref(),
                link.status.as_deref(),
            )
        })
        .collect();
    assert_eq!(links, [(Some("a@x.in"), Some("A"), Some("y")), (Some("b"), None, Some("z"))]);
}

#[test]
fn every_action_means_its_state_in_any_letter_case() {
    let meanings = [
        ("login", "paused"),
        ("LOGIN", "paused"),
        ("release", "ready"),
        ("READY", "ready"),
        ("Idle", "ready"),
        ("AUX", "paused"),
        ("pause", "paused"),
        ("calling", "ringing"),
        ("InCall", "on_call"),
        ("ACW", "wrap_up"),
        ("logout", "offline"),
    ];
    for (action, state) in meanings {
        let body =
            format!(r#"{{"eventType":"AGENT","data":{{"action":"{action}","agent_id":"a","auxReason":"Tea"}}}}"#);
        let event = the_one(body.as_bytes(), &context(None));
        let Body::AgentStateChanged(changed) = event.body else { panic!("{action}") };
        assert_eq!((changed.action.as_str(), changed.state.0.as_str()), (action, state));
        let reason = match state {
            "paused" if action.eq_ignore_ascii_case("login") => Some("signed_in"),
            "paused" => Some("Tea"),
            _ => None,
        };
        assert_eq!(changed.reason.as_deref(), reason);
    }
}
