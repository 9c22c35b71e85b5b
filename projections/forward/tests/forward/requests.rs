//! What is sent, and what is not.

use helix_schemas::fact::{Body, Decided};

use crate::{
    progress::Kept,
    receiver::{Answer, Receiver},
    stage::{AGENT_EVENT, FORM, Stage, event},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_arrives_as_the_provider_sent_it() {
    let mut stage = Stage::new();
    let mut call = event("ramaiah", "agent.one", 1);
    call.source.endpoint = "/api/supervisor/call-event".into();
    let mut callback = event("ramaiah", "agent.one", 2);
    callback.source.endpoint = "/workspaces/{workspace}/webhooks/ozonetel/missed-call".into();
    callback.raw = b"data=%7B%7D".to_vec();
    callback.raw_content_type = FORM.into();
    callback.source.request_id = String::new();
    let mut by_host = event("ramaiah", "agent.one", 3);
    by_host.source.endpoint = "/webhooks/ozonetel/missed-call".into();
    stage.append(&[event("ramaiah", "agent.one", 0), call, callback, by_host]);
    let receiver = Receiver::scripted([]).await;
    let running = stage.start("ramaiah", &receiver, &Kept::default());
    receiver.settled(4).await;
    running.stop().await;
    let seen = receiver.seen();
    let paths: Vec<&str> = seen.iter().map(|seen| seen.path.as_str()).collect();
    let missed_call = "/webhooks/ozonetel/missed-call";
    assert_eq!(paths, [AGENT_EVENT, "/api/supervisor/call-event", missed_call, missed_call]);
    assert_eq!(seen[0].id(), event("ramaiah", "agent.one", 0).id.to_string());
    for (name, value) in [
        ("content-type", Some("application/json")),
        ("x-request-id", Some("request-0")),
        ("x-helix-workspace", Some("ramaiah")),
        ("x-helix-key", Some("a-key-of-the-receiver")),
    ] {
        assert_eq!(seen[0].header(name), value, "{name}");
    }
    assert_eq!(seen[0].body, "agent.one#0");
    assert_eq!((seen[2].body.as_str(), seen[2].header("content-type")), ("data=%7B%7D", Some(FORM)));
    assert_eq!(seen[2].header("x-request-id"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_another_workspaces_or_not_the_providers_is_passed_over() {
    let mut stage = Stage::new();
    let mut decided = event("ramaiah", "agent.one", 1000);
    decided.provider = "helix".into();
    decided.body = Body::Decided(Decided {
        decision: "WrapUpExpired".into(),
        effective_at: None,
        evidence: Vec::new(),
        attributes: [].into(),
    });
    decided.kind = decided.body.kind();
    let mut without_bytes = event("ramaiah", "agent.one", 1001);
    without_bytes.raw = Vec::new();
    stage.events("ramaiah", &["agent.one"], 1);
    stage.append(&[decided, without_bytes]);
    stage.append(&[event("ramaiah-two", "agent.one", 0), event("global", "rekha.cc", 0)]);
    // The sentinel: what lies before it was passed over by the time it has come.
    stage.events("ramaiah", &["agent.one"], 1);
    let (receiver, kept) = (Receiver::scripted([]).await, Kept::default());
    let running = stage.start("ramaiah", &receiver, &kept);
    stage.passed(&kept).await;
    running.stop().await;
    stage.all_settled("ramaiah", &receiver).await;
    assert!(receiver.seen().iter().all(|seen| seen.answer == Answer::Status(200)));
}
