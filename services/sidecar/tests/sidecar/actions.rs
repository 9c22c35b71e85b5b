//! What people do about missed calls, and what is left of it in the log.

use std::collections::BTreeSet;

use helix_kit::auth::Role;
use helix_schemas::{
    decision::{AUDITED, attribute},
    fact::{Body, Decided, Fact},
};
use serde_json::{Value, json};

use crate::hospital::{Broker, Hospital};

const ASHA: &str = "asha@ramaiah.example";
const RAVI: &str = "ravi@ramaiah.example";

async fn with_missed_calls(count: usize) -> (Broker, Hospital) {
    let broker = Broker::start().await;
    let hospital = Hospital::open_on(&broker).await;
    let facts = hospital.facts.clone();
    let story: Vec<Fact> = (0..count)
        .flat_map(|number| {
            let (call, caller) = (format!("m{number}"), format!("9198450100{number:02}"));
            let second = number as i64 * 60;
            [facts.rang(&call, None, second, &caller), facts.ended(&call, None, second + 50, &caller)]
        })
        .collect();
    broker.append(&story).await;
    hospital.until_rows("read.missed_calls", count as i64).await;
    (broker, hospital)
}

#[tokio::test]
async fn of_two_supervisors_at_once_exactly_one_holds_the_call_and_the_other_is_told() {
    let (_broker, hospital) = with_missed_calls(12).await;
    let (asha, ravi) = (hospital.stage.token_of(ASHA, Role::Supervisor), hospital.stage.token_of(RAVI, Role::Admin));
    let mut won_by_asha = 0;
    for number in 0..12 {
        let call = format!("m{number}");
        let (first, second) =
            tokio::join!(hospital.act(&call, "claim", &asha, None), hospital.act(&call, "claim", &ravi, None));
        let (winner, (won, lost)) = match (first.0, second.0) {
            (200, 409) => (ASHA, (first.1, second.1)),
            (409, 200) => (RAVI, (second.1, first.1)),
            others => panic!("{call}: {others:?} {} {}", first.1, second.1),
        };
        won_by_asha += usize::from(winner == ASHA);
        assert_eq!((&won["claimedBy"], &won["status"]), (&json!(winner), &json!("open")));
        assert_eq!((&lost["code"], &lost["claimedBy"]), (&json!("missed_call_claimed"), &json!(winner)));
        assert_eq!(lost["claimedAt"], won["claimedAt"]);
        assert!(!lost["detail"].as_str().unwrap().contains('@'));
    }
    println!("won by the first asked: {won_by_asha} of 12");
    // What the log made of it in the end is what both were told.
    let list = hospital.get("/api/missed-calls?limit=200").await;
    assert!(list["missedCalls"].as_array().unwrap().iter().all(|row| row["claimedBy"].is_string()));
}

#[tokio::test]
async fn a_claim_or_a_waive_that_is_asked_again_is_harmless_and_what_is_closed_stays_closed() {
    let (_broker, hospital) = with_missed_calls(1).await;
    let (asha, ravi) =
        (hospital.stage.token_of(ASHA, Role::Supervisor), hospital.stage.token_of(RAVI, Role::Supervisor));
    let (status, row) = hospital.act("m0", "claim", &asha, None).await;
    assert_eq!((status, &row["claimedBy"], &row["caller"]), (200, &json!(ASHA), &json!("919845010000")));
    assert_eq!(hospital.act("m0", "claim", &asha, None).await.1, row, "asked again");
    let reason = Some(json!({"reason": "  wrong number "}));
    let (status, answer) = hospital.act("m0", "waive", &ravi, reason.clone()).await;
    assert_eq!((status, &answer["code"]), (409, &json!("missed_call_claimed")));
    let (status, row) = hospital.act("m0", "waive", &asha, reason.clone()).await;
    assert_eq!((status, &row["status"]), (200, &json!("closed")), "{row}");
    assert_eq!((&row["closedReason"], &row["closedBy"]), (&json!("waived"), &json!(ASHA)));
    assert_eq!(hospital.act("m0", "waive", &asha, reason.clone()).await, (200, row), "asked again");
    for action in ["claim", "release", "waive"] {
        let (status, answer) = hospital.act("m0", action, &ravi, reason.clone()).await;
        assert_eq!((status, &answer["code"]), (409, &json!("missed_call_closed")), "{action}");
    }
    for body in [None, Some(json!({})), Some(json!({"reason": " "})), Some(json!({"reason": "x".repeat(501)}))] {
        let (status, answer) = hospital.act("m0", "waive", &asha, body).await;
        assert_eq!((status, &answer["code"]), (400, &json!("reason_missing")));
    }
    assert_eq!(hospital.act("nothing", "claim", &asha, None).await.0, 404);
}

#[tokio::test]
async fn whoever_works_on_missed_calls_can_free_one_that_another_holds() {
    let (_broker, hospital) = with_missed_calls(1).await;
    let (asha, ravi) =
        (hospital.stage.token_of(ASHA, Role::Supervisor), hospital.stage.token_of(RAVI, Role::Supervisor));
    assert_eq!(hospital.act("m0", "claim", &asha, None).await.0, 200);
    let (status, row) = hospital.act("m0", "release", &ravi, None).await;
    assert_eq!((status, &row["claimedBy"], &row["claimedAt"]), (200, &Value::Null, &Value::Null), "{row}");
    assert_eq!(hospital.act("m0", "release", &asha, None).await.0, 200, "a free one stays free");
    assert_eq!(hospital.act("m0", "claim", &ravi, None).await.1["claimedBy"], RAVI);
    assert_eq!(hospital.act("m0", "claim", &asha, None).await.0, 409);
}

fn audited(fact: &Fact) -> Option<&Decided> {
    match &fact.body {
        Body::Decided(decided) if decided.decision == AUDITED => Some(decided),
        _ => None,
    }
}

#[tokio::test]
async fn every_action_and_every_look_at_numbers_is_written_down_once() {
    let (broker, hospital) = with_missed_calls(3).await;
    let asha = hospital.stage.token_of(ASHA, Role::Supervisor);
    let analyst = hospital.token(Role::Analyst);
    // A page asks again and again; that is one look. Another page of the list is another.
    for _ in 0..3 {
        for path in ["/api/calls?limit=2", "/api/missed-calls"] {
            assert_eq!(hospital.ask(reqwest::Method::GET, path, &asha, None).await.0, 200);
            assert_eq!(hospital.ask(reqwest::Method::GET, path, &analyst, None).await.0, 200);
        }
    }
    let page = hospital.ask(reqwest::Method::GET, "/api/calls?limit=2", &asha, None).await.1;
    let next = format!("/api/calls?limit=2&cursor={}", page["nextCursor"].as_str().unwrap());
    assert_eq!(hospital.ask(reqwest::Method::GET, &next, &asha, None).await.0, 200);
    assert_eq!(hospital.act("m1", "claim", &asha, None).await.0, 200);
    let ravi = hospital.stage.token_of(RAVI, Role::Supervisor);
    assert_eq!(hospital.act("m1", "claim", &ravi, None).await.0, 409);

    let refused = |facts: &[Fact]| facts.iter().filter_map(audited).any(|decided| decided.by() == Some(RAVI));
    let facts = broker.until(refused).await;
    let told: Vec<Vec<&str>> = facts
        .iter()
        .filter_map(audited)
        .map(|decided| {
            let of = |name: &str| decided.attributes.get(name).map_or("", String::as_str);
            vec![
                of(attribute::BY),
                of(attribute::ROLE),
                of(attribute::ACTION),
                of(attribute::ABOUT),
                of(attribute::COUNT),
            ]
        })
        .collect();
    // In the order in which it was done.
    assert_eq!(
        told,
        [
            [ASHA, "supervisor", "calls.list", "", "2"],
            [ASHA, "supervisor", "missed_calls.list", "", "3"],
            [ASHA, "supervisor", "calls.list", "", "1"],
            [ASHA, "supervisor", "missed_calls.claim", "m1", "1"],
            [RAVI, "supervisor", "missed_calls.claim", "m1", "1"],
        ]
    );
    let keys: BTreeSet<String> = facts.iter().filter(|fact| audited(fact).is_some()).map(Fact::key).collect();
    assert_eq!(keys.into_iter().collect::<Vec<_>>(), ["ramaiah/-"]);
}
