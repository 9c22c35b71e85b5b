//! What people do about missed calls, and what is left of it in the log.

use std::collections::BTreeSet;

use helix_kit::auth::Role;
use helix_schemas::{
    decision::{AUDITED, Deciding, Decision, attribute},
    fact::{Body, Decided, Fact, Source},
    names::CallId,
    time::ReceivedAt,
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
    let untyped = hospital.http.post(format!("{}/api/missed-calls/m0/waive", hospital.running.url)).bearer_auth(&asha);
    let untyped = untyped.body(json!({"reason": "wrong number"}).to_string()).send().await.unwrap();
    assert_eq!(untyped.status(), 200, "whatever the content type says");
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

#[tokio::test]
async fn a_release_frees_the_claim_that_its_page_showed_and_no_newer_one() {
    let (_broker, hospital) = with_missed_calls(1).await;
    let [asha, ravi, devi] =
        [ASHA, RAVI, "devi@ramaiah.example"].map(|person| hospital.stage.token_of(person, Role::Supervisor));
    let shown = hospital.act("m0", "claim", &asha, None).await.1["claimedAt"].clone();
    assert_eq!(hospital.act("m0", "release", &devi, None).await.0, 200);
    let claim = hospital.act("m0", "claim", &devi, None).await.1["claimedAt"].clone();
    // Ravi's page is of some seconds ago.
    let (status, answer) = hospital.act("m0", "release", &ravi, Some(json!({"claimedAt": shown}))).await;
    assert_eq!((status, &answer["code"]), (409, &json!("missed_call_claimed")));
    assert_eq!((&answer["claimedBy"], &answer["claimedAt"]), (&json!("devi@ramaiah.example"), &claim));
    let row = hospital.get("/api/missed-calls").await["missedCalls"][0].clone();
    assert_eq!((&row["claimedBy"], &row["claimedAt"]), (&json!("devi@ramaiah.example"), &claim));
    for body in [json!({"claimedAt": "yesterday"}), json!({"claimedAt": 7}), json!("x")] {
        let (status, answer) = hospital.act("m0", "release", &ravi, Some(body)).await;
        assert_eq!((status, &answer["code"]), (400, &json!("release_malformed")));
    }
    let (status, row) = hospital.act("m0", "release", &ravi, Some(json!({"claimedAt": claim}))).await;
    assert_eq!((status, &row["claimedBy"]), (200, &Value::Null), "{row}");
    // Asked again: what it means is done.
    assert_eq!(hospital.act("m0", "release", &ravi, Some(json!({"claimedAt": claim}))).await.0, 200);
    assert_eq!(hospital.act("m0", "release", &ravi, Some(json!({}))).await.0, 200);
}

fn decisions(facts: &[Fact]) -> Vec<(&str, &str)> {
    let decided = facts.iter().filter_map(|fact| match &fact.body {
        Body::Decided(decided) if decided.decision != AUDITED => Some(decided),
        _ => None,
    });
    decided.map(|decided| (decided.decision.as_str(), decided.by().unwrap_or_default())).collect()
}

#[tokio::test]
async fn nothing_is_answered_from_a_row_that_does_not_show_the_last_decision_yet() {
    let (broker, hospital) = with_missed_calls(1).await;
    let (asha, ravi) =
        (hospital.stage.token_of(ASHA, Role::Supervisor), hospital.stage.token_of(RAVI, Role::Supervisor));
    let not_known = |(status, answer): (u16, Value)| (status, answer["code"].as_str().unwrap_or_default().to_owned());
    let not_yet = (503, "outcome_not_known".to_owned());
    // The projector waits for whoever holds its progress.
    let stand_still = async || {
        let mut held = hospital.records.pool.begin().await.unwrap();
        sqlx::query("select from helix.projection_progress for update").execute(&mut *held).await.unwrap();
        held
    };
    let held = stand_still().await;
    assert_eq!(not_known(hospital.act("m0", "claim", &asha, None).await), not_yet);
    // The row shows a free call: that is not what was decided.
    assert_eq!(not_known(hospital.act("m0", "release", &asha, None).await), not_yet);
    held.rollback().await.unwrap();
    let (status, row) = hospital.act("m0", "claim", &asha, None).await;
    assert_eq!((status, &row["claimedBy"]), (200, &json!(ASHA)));

    let held = stand_still().await;
    assert_eq!(not_known(hospital.act("m0", "release", &ravi, None).await), not_yet);
    // The row shows that she holds it.
    assert_eq!(not_known(hospital.act("m0", "claim", &asha, None).await), not_yet);
    held.rollback().await.unwrap();
    let (status, again) = hospital.act("m0", "claim", &asha, None).await;
    assert_eq!((status, &again["claimedBy"]), (200, &json!(ASHA)));
    assert!(again["claimedAt"].as_str() > row["claimedAt"].as_str());
    let facts = broker.until(|facts| decisions(facts).len() >= 3).await;
    let made = [("MissedCallClaimed", ASHA), ("MissedCallReleased", RAVI), ("MissedCallClaimed", ASHA)];
    assert_eq!(decisions(&facts), made);
}

#[tokio::test]
async fn a_call_of_the_far_future_moves_no_decision_there() {
    let (broker, hospital) = with_missed_calls(2).await;
    let facts = hospital.facts.clone();
    let asha = hospital.stage.token_of(ASHA, Role::Supervisor);
    let in_2099 = 73 * 365 * 86_400;
    broker
        .append(&[
            facts.rang("far", None, in_2099, "919845019999"),
            facts.ended("far", None, in_2099 + 50, "919845019999"),
        ])
        .await;
    hospital.until_rows("read.missed_calls", 3).await;
    let this_year = chrono::Utc::now().to_rfc3339();
    for call in ["far", "m0", "far"] {
        let (status, row) = hospital.act(call, "claim", &asha, None).await;
        assert_eq!((status, &row["claimedBy"]), (200, &json!(ASHA)), "{row}");
        assert_eq!(row["claimedAt"].as_str().unwrap()[..4], this_year[..4], "{call}");
        assert_eq!(hospital.act(call, "release", &asha, None).await.0, 200);
    }
    // A build that knew no bound claimed this one in 2099. It can be given back, and taken, now.
    let claim = Deciding {
        workspace: facts.workspace.clone(),
        decision: Decision::MissedCallClaimed,
        agent: None,
        call: Some(CallId::new("m1").unwrap()),
        effective_at: facts.at(in_2099),
        received_at: ReceivedAt::now(),
        evidence: Vec::new(),
        attributes: [(attribute::BY.to_owned(), RAVI.to_owned())].into(),
        request: Some(uuid::Uuid::new_v4().to_string()),
        source: Source::default(),
    };
    broker.append(&[claim.into_fact()]).await;
    while hospital.get("/api/missed-calls?limit=200").await.to_string().matches(RAVI).count() == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(hospital.act("m1", "release", &asha, None).await.0, 200);
    for _ in 0..2 {
        let (status, row) = hospital.act("m1", "claim", &asha, None).await;
        assert_eq!((status, &row["claimedBy"]), (200, &json!(ASHA)), "{row}");
        assert_eq!(row["claimedAt"].as_str().unwrap()[..4], this_year[..4]);
        let (status, row) = hospital.act("m1", "release", &asha, None).await;
        assert_eq!((status, &row["claimedBy"]), (200, &Value::Null), "{row}");
    }
}

#[tokio::test]
async fn a_recording_that_is_shown_without_a_number_is_written_down_too() {
    let (broker, hospital) = with_missed_calls(2).await;
    let changed =
        sqlx::query("update read.calls set caller = null, recording_url = 'https://r.invalid/' where call_id = 'm0'");
    changed.execute(&hospital.records.pool).await.unwrap();
    sqlx::query("update read.calls set caller = null where call_id = 'm1'")
        .execute(&hospital.records.pool)
        .await
        .unwrap();
    let asha = hospital.stage.token_of(ASHA, Role::Supervisor);
    assert_eq!(hospital.ask(reqwest::Method::GET, "/api/calls", &asha, None).await.0, 200);
    let facts = broker.until(|facts| facts.iter().any(|fact| audited(fact).is_some())).await;
    let told = facts.iter().find_map(audited).unwrap();
    assert_eq!(
        (told.attributes[attribute::ACTION].as_str(), told.attributes[attribute::COUNT].as_str()),
        ("calls.list", "1")
    );
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
