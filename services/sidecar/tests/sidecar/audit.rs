//! What people do and see is written down before they are answered, and is in the log in the end.

use std::{fs, path::Path, time::Duration};

use helix_kit::auth::Role;
use helix_schemas::{
    decision::{AUDITED, attribute},
    fact::{Body, Fact},
    id::FactId,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    hospital::{Broker, Hospital},
    stage::{PASSWORD, Running, Stage, WORKSPACE, recorder},
    support::TestRedis,
};

const SUPERVISOR: &str = "supervisor@ramaiah.example";
/// What somebody types into the wrong field.
const TYPED: &str = "my secret password";

/// Who did what, in the order of the log, with ids.
fn audited(facts: &[Fact]) -> Vec<(FactId, Vec<String>)> {
    let told = facts.iter().filter_map(|fact| match &fact.body {
        Body::Decided(decided) if decided.decision == AUDITED => {
            let of = |name: &str| decided.attributes.get(name).cloned().unwrap_or_default();
            let names = [attribute::BY, attribute::ROLE, attribute::ACTION, attribute::COUNT];
            Some((fact.id, names.map(of).to_vec()))
        }
        _ => None,
    });
    told.collect()
}

fn words(rows: &[(FactId, Vec<String>)]) -> Vec<Vec<&str>> {
    rows.iter().map(|(_, row)| row.iter().map(String::as_str).collect()).collect()
}

/// The audit facts, once there are as many.
async fn until(broker: &Broker, count: usize) -> Vec<(FactId, Vec<String>)> {
    audited(&broker.until(move |facts| audited(facts).len() >= count).await)
}

async fn start(stage: &Stage) -> Running {
    stage.start(([127, 0, 0, 1], 0).into(), helix_sidecar::Extensions::default()).await
}

/// What a kill at this moment would leave of a folder.
fn image(from: &Path, to: &Path) {
    fs::create_dir_all(to.join(WORKSPACE)).unwrap();
    let name = Path::new(WORKSPACE).join("spool.redb");
    fs::copy(from.join(&name), to.join(&name)).unwrap();
}

async fn sign_in(hospital: &Hospital, email: &str, password: &str) -> (StatusCode, Value) {
    let body = json!({"email": email, "password": password});
    let request = hospital.http.post(format!("{}/api/auth/login", hospital.running.url)).json(&body);
    let response = request.send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

#[tokio::test]
async fn what_a_killed_sidecar_had_shown_is_in_the_log_after_the_next_start_as_the_same_facts() {
    let disk = tempfile::tempdir().unwrap();
    let (lived, killed) = (disk.path().join("lived"), disk.path().join("killed"));
    let mut hospital = Hospital::open_with(|stage| stage.config.audit.folder = lived.clone()).await;
    let facts = hospital.facts.clone();
    hospital.records.feed(&[facts.rang("c1", Some("agent.one"), 0, "919845012345")]).await;
    // The log is away: three people look at the same list, one after the other.
    let people = ["asha@ramaiah.example", "ravi@ramaiah.example", "uma@ramaiah.example"];
    for person in people {
        let token = hospital.stage.token_of(person, Role::Supervisor);
        assert_eq!(hospital.ask(Method::GET, "/api/calls", &token, None).await.0, 200);
    }
    image(&lived, &killed);
    let expected = people.map(|person| vec![person, "supervisor", "calls.list", "1"]);
    let broker = Broker::start().await;
    hospital.stage.config.log.brokers = broker.brokers();
    hospital.stage.config.registry.url = broker.registry_url.clone();
    hospital.stage.config.audit.folder = killed;
    let next = start(&hospital.stage).await;
    let first = until(&broker, 3).await;
    assert_eq!(words(&first), expected);
    next.stop().await;
    // The one that was not killed after all ends in order, without the log, and leaves the same to its next start.
    hospital.running.stop().await;
    hospital.stage.config.audit.folder = lived;
    hospital.running = start(&hospital.stage).await;
    let both = until(&broker, 6).await;
    assert_eq!(words(&both[3..]), expected);
    assert_eq!(both[..3], both[3..], "a repeat has another id");
    // What was acknowledged is appended no more: the next thing in the log is the next deed.
    hospital.running.stop().await;
    hospital.running = start(&hospital.stage).await;
    let token = hospital.stage.token_of("meera@ramaiah.example", Role::Admin);
    assert_eq!(hospital.ask(Method::GET, "/api/calls", &token, None).await.0, 200);
    let all = until(&broker, 7).await;
    assert_eq!(words(&all[6..]), [["meera@ramaiah.example", "admin", "calls.list", "1"]]);
}

#[tokio::test]
async fn looks_of_one_person_at_one_list_at_the_same_time_are_one_fact() {
    let broker = Broker::start().await;
    let hospital = Hospital::open_on(&broker).await;
    let facts = hospital.facts.clone();
    broker.append(&[facts.rang("c1", Some("agent.one"), 0, "919845012345")]).await;
    hospital.until_rows("read.calls", 1).await;
    let (asha, ravi) = (
        hospital.stage.token_of("asha@x.example", Role::Admin),
        hospital.stage.token_of("ravi@x.example", Role::Admin),
    );
    let asked = (0..16).map(|_| hospital.ask(Method::GET, "/api/calls", &asha, None));
    for (status, _) in futures_util::future::join_all(asked).await {
        assert_eq!(status, 200);
    }
    assert_eq!(hospital.ask(Method::GET, "/api/calls", &ravi, None).await.0, 200);
    let told = until(&broker, 2).await;
    assert_eq!(told.iter().map(|(_, row)| row[0].as_str()).collect::<Vec<_>>(), ["asha@x.example", "ravi@x.example"]);
}

#[tokio::test]
async fn every_sign_in_is_written_down_and_nobody_s_typing_is() {
    let broker = Broker::start().await;
    let hospital = Hospital::open_on(&broker).await;
    assert_eq!(sign_in(&hospital, SUPERVISOR, PASSWORD).await.0, 200);
    for _ in 0..5 {
        assert_eq!(sign_in(&hospital, SUPERVISOR, "wrong").await.0, 401);
    }
    assert_eq!(sign_in(&hospital, SUPERVISOR, PASSWORD).await.0, 429);
    for number in 0..3 {
        assert_eq!(sign_in(&hospital, &format!("{TYPED} {number}"), "x").await.0, 401);
    }
    // Bursts end with the process at the latest.
    hospital.running.stop().await;
    let facts = broker.until(|facts| audited(facts).len() >= 6).await;
    assert_eq!(
        words(&audited(&facts)),
        [
            [SUPERVISOR, "supervisor", "sign_in", "1"],
            [SUPERVISOR, "supervisor", "sign_in.refused", "1"],
            [SUPERVISOR, "supervisor", "sign_in.held_off", "1"],
            ["unknown", "unknown", "sign_in.refused", "1"],
            [SUPERVISOR, "supervisor", "sign_in.refused", "4"],
            ["unknown", "unknown", "sign_in.refused", "2"],
        ]
    );
    for fact in &facts {
        let text = serde_json::to_string(fact).unwrap();
        assert!(!text.contains(TYPED) && !text.contains("127.0.0.1"), "{text}");
    }
}

#[tokio::test]
async fn without_the_log_people_sign_in_and_without_a_disk_nothing_is_shown_that_must_be_written_down() {
    let disk = tempfile::tempdir().unwrap();
    let file = disk.path().join("file");
    fs::write(&file, "no folder can be made here").unwrap();
    let mut hospital = Hospital::open().await;
    let facts = hospital.facts.clone();
    hospital.records.feed(&[facts.rang("c1", Some("agent.one"), 0, "919845012345")]).await;
    assert_eq!(sign_in(&hospital, SUPERVISOR, PASSWORD).await.0, 200);
    hospital.stage.config.audit.folder = file.join("audit");
    hospital.running = start(&hospital.stage).await;
    let (status, answer) = sign_in(&hospital, SUPERVISOR, PASSWORD).await;
    assert_eq!((status.as_u16(), &answer["code"]), (503, &json!("component_down")), "{answer}");
    assert!(answer["token"].is_null() && answer["detail"].as_str().unwrap().contains("audit journal"), "{answer}");
    assert_eq!(sign_in(&hospital, SUPERVISOR, "wrong").await.0, 401);
    let refused = hospital.refusal("/api/calls", &hospital.token(Role::Supervisor)).await;
    assert_eq!(refused, (503, "component_down".to_owned()));
    // Nothing is written down of who is shown no numbers.
    let (status, masked) = hospital.ask(Method::GET, "/api/calls", &hospital.token(Role::Analyst), None).await;
    assert_eq!((status.as_u16(), &masked["calls"][0]["callId"]), (200, &json!("c1")));
    let said = hospital.http.get(format!("{}/readyz", hospital.running.url)).send().await.unwrap();
    let said: Value = said.json().await.unwrap();
    assert!(said["degraded"]["audit"].as_str().unwrap().contains("the audit journal"), "{said}");
    // It is used again as soon as it can be.
    fs::remove_file(&file).unwrap();
    let begun = std::time::Instant::now();
    while hospital.refusal("/api/calls", &hospital.token(Role::Supervisor)).await.0 != 200 {
        assert!(begun.elapsed() < Duration::from_secs(120), "it did not come back");
    }
}

#[tokio::test]
async fn a_sidecar_that_has_nowhere_to_keep_audit_facts_refuses_to_start() {
    let redis = TestRedis::start();
    let stage = Stage::set(&redis.url()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let never = std::future::pending::<()>();
    let ended = helix_sidecar::run(stage.config.clone(), WORKSPACE, listener, recorder(), never).await;
    let told = ended.unwrap_err().to_string();
    assert!(told.starts_with("audit.folder is not set"), "{told}");
}
