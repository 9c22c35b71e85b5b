//! The API resource by resource: what is listed, in which order, by which filter, whole over its pages.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{TimeDelta, Utc};
use helix_clickhouse::ClickHouseStore;
use helix_fold::settings::{Settings, Tz};
use helix_kit::secret::Secret;
use helix_runtime::Store as _;
use helix_schemas::{fact::AgentState, names::WorkspaceId, registry::Registry, topics};
use serde_json::{Value, json};

use crate::{
    engine,
    hospital::Hospital,
    stage::WORKSPACE,
    support::{Log, PARTITIONS, codec},
};

fn texts<'a>(rows: &'a Value, member: &str) -> Vec<&'a str> {
    rows.as_array().unwrap().iter().map(|row| row[member].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_workspace_tells_its_bounds_and_who_is_asking() {
    let hospital = Hospital::open_with(|stage| {
        let alerts = json!([{"metric": "longestWait", "above": 60}, {"metric": "serviceLevel", "below": 80}]);
        stage.own().alerts = serde_json::from_value(alerts).unwrap();
    })
    .await;
    assert_eq!(
        hospital.get("/api/workspace").await,
        json!({
            "workspace": WORKSPACE, "name": "Ramaiah Memorial Hospital", "zone": "Asia/Kolkata",
            "thresholds": {"serviceLevelSeconds": 20, "shortAbandonSeconds": 10, "wrapUpSeconds": 30},
            "alerts": [{"metric": "longestWait", "above": 60}, {"metric": "serviceLevel", "below": 80}],
            "me": {"subject": "someone@example.org", "role": "supervisor", "agentId": null},
        })
    );
}

#[tokio::test]
async fn a_page_of_calls_goes_on_where_it_ended_though_new_calls_come_in() {
    let mut hospital = Hospital::open().await;
    let facts = hospital.facts.clone();
    // Three that began in the same second: among them the id decides.
    for (place, second) in [0, 10, 20, 20, 20, 30, 40].into_iter().enumerate() {
        hospital.records.feed(&[facts.rang(&format!("c{place}"), Some("agent.one"), second, "919845012345")]).await;
    }
    let mut seen: Vec<String> = Vec::new();
    let mut cursor = String::new();
    for page in 0.. {
        let answer = hospital.get(&format!("/api/calls?limit=2&cursor={cursor}")).await;
        seen.extend(texts(&answer["calls"], "callId").into_iter().map(str::to_owned));
        // Newer than all, and between what was shown.
        let late = [
            facts.rang(&format!("new{page}"), None, 100 + page, "1"),
            facts.rang(&format!("mid{page}"), None, 41, "1"),
        ];
        hospital.records.feed(&late).await;
        match answer["nextCursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, ["c6", "c5", "c2", "c3", "c4", "c1", "c0"]);
    for bad in [
        "limit=0",
        "limit=201",
        "limit=x",
        "from=1",
        "outcome=lost",
        "direction=up",
        "agentId=%00",
        "from=2026-03-02T00:00:00Z&to=2026-03-01T00:00:00Z",
    ] {
        let refused =
            hospital.refusal(&format!("/api/calls?{bad}"), &hospital.token(helix_kit::auth::Role::Admin)).await;
        assert_eq!(refused, (400, "query_invalid".to_owned()), "{bad}");
    }
    for bad in ["x", "e30", "WyJjYWxscyIsWzkyMjMzNzIwMzY4NTQ3NzU4MDddLCJjIl0"] {
        let refused =
            hospital.refusal(&format!("/api/calls?cursor={bad}"), &hospital.token(helix_kit::auth::Role::Admin)).await;
        assert_eq!(refused, (400, "cursor_invalid".to_owned()), "{bad}");
    }
}

/// Calls of a minute each, of which each 7,000th is missed and one agent's.
const MANY_CALLS: &str = "
insert into read.calls (workspace_id, call_id, direction, outcome, agent_id, agent_ids, started_at, presumed, conflicts)
select 'ramaiah', 'c' || i, 'inbound', case when i % 7000 = 0 then 'missed' else 'answered' end, null,
       case when i % 7000 = 0 then array['agent.rare'] else array['agent.one'] end,
       timestamptz '2026-03-02T00:00:00Z' - i * interval '1 minute', false, '{}'
from generate_series(1, 42000) i";

#[tokio::test]
async fn few_calls_among_many_are_found_each_once_and_in_order_in_stretches() {
    let hospital = Hospital::open().await;
    sqlx::query(MANY_CALLS).execute(&hospital.records.pool).await.unwrap();
    let rare: Vec<String> = (1..=6).map(|number| format!("c{}", number * 7000)).collect();
    for query in ["agentId=agent.rare", "outcome=missed&direction=inbound", "agentId=agent.rare&outcome=missed"] {
        for limit in [1, 2, 5, 6, 200] {
            let (mut seen, mut cursor): (Vec<String>, String) = (Vec::new(), String::new());
            loop {
                let page = hospital.get(&format!("/api/calls?{query}&limit={limit}&cursor={cursor}")).await;
                let found = texts(&page["calls"], "callId");
                assert!(found.len() <= limit);
                seen.extend(found.into_iter().map(str::to_owned));
                match page["nextCursor"].as_str() {
                    Some(next) => cursor = next.to_owned(),
                    None => break,
                }
            }
            assert_eq!(seen, rare, "{query} {limit}");
        }
    }
    let none = hospital.get("/api/calls?agentId=typo&from=2026-02-01T00:00:00Z").await;
    assert_eq!(none["calls"], json!([]));
}

#[tokio::test]
async fn a_cursor_at_the_end_of_all_numbers_is_a_place_like_any_other() {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let mut hospital = Hospital::open().await;
    let facts = hospital.facts.clone();
    hospital
        .records
        .feed(&[facts.rang("m", None, 0, "919845012345"), facts.ended("m", None, 60, "919845012345")])
        .await;
    for (rank, found) in [(i64::MIN, 0), (i64::MAX, 1), (100, 1)] {
        let cursor = URL_SAFE_NO_PAD.encode(json!(["missed:priority", [rank, 1_000_000], "c"]).to_string());
        let page = hospital.get(&format!("/api/missed-calls?cursor={cursor}")).await;
        assert_eq!(page["missedCalls"].as_array().unwrap().len(), found, "{rank}");
    }
}

#[tokio::test]
async fn calls_are_found_by_agent_direction_outcome_and_time() {
    let mut hospital = Hospital::open().await;
    let facts = hospital.facts.clone();
    hospital
        .records
        .feed(&[
            facts.rang("answered", Some("agent.one"), 0, "919845012345"),
            facts.answered("answered", "agent.one", 5, "919845012345"),
            facts.ended("answered", Some("agent.one"), 65, "919845012345"),
            facts.rang("missed", Some("agent.two"), 100, "919845012346"),
            facts.ended("missed", Some("agent.two"), 140, "919845012346"),
            facts.dialled("out", Some("agent.two"), 200, "919845012346"),
            facts.rang("now", None, 300, "919845012347"),
        ])
        .await;
    let moment = |second| facts.at(second).to_rfc3339();
    for (query, found) in [
        (String::new(), vec!["now", "out", "missed", "answered"]),
        ("agentId=agent.two".to_owned(), vec!["out", "missed"]),
        ("agentId=agent.two&direction=outbound".to_owned(), vec!["out"]),
        ("outcome=missed".to_owned(), vec!["missed"]),
        ("outcome=in_progress&direction=inbound".to_owned(), vec!["now"]),
        (format!("from={}&to={}", moment(100), moment(300)), vec!["out", "missed"]),
        (format!("to={}", moment(1)), vec!["answered"]),
        ("agentId=nobody".to_owned(), vec![]),
    ] {
        let answer = hospital.get(&format!("/api/calls?{query}")).await;
        assert_eq!(texts(&answer["calls"], "callId"), found, "{query}");
        assert_eq!(answer["nextCursor"], Value::Null);
    }
    let answered = hospital.get("/api/calls?outcome=answered").await["calls"][0].clone();
    assert_eq!(
        answered,
        json!({
            "callId": "answered", "direction": "inbound", "outcome": "answered", "caller": "919845012345",
            "did": "918041763400", "campaign": null, "skill": "Appointments", "agentId": "agent.one",
            "agentIds": ["agent.one"], "startedAt": moment(0), "answeredAt": moment(5), "endedAt": moment(65),
            "waitSeconds": 5, "talkSeconds": 60, "holdSeconds": null, "wrapUpSeconds": null, "disposition": null,
            "hangupBy": null, "recordingUrl": null, "presumed": false, "conflicts": [],
        })
    );
}

#[tokio::test]
async fn one_call_has_its_legs_and_where_its_facts_lie_in_the_log() {
    let mut hospital = Hospital::open_with(|stage| {
        stage.config.clickhouse.url = engine::url().to_owned();
        stage.config.clickhouse.database = engine::TENANTS.to_owned();
        stage.own().clickhouse_user = WORKSPACE.to_owned();
        stage.own().clickhouse_password = Secret::new("reader");
    })
    .await;
    let facts = hospital.facts.clone();
    // An id that a careless statement would stumble over.
    let call = format!("41'\\ {}", uuid::Uuid::new_v4());
    let rang = facts.rang(&call, Some("agent.one"), 0, "919845012345");
    let story = [
        rang.clone(),
        facts.rang(&call, Some("agent.two"), 20, "919845012345"),
        facts.answered(&call, "agent.two", 25, "919845012345"),
        // Delivered twice: where it lay first is what is told.
        rang.clone(),
    ];
    hospital.records.feed(&story).await;
    let before = into_clickhouse(&story).await;
    let path = format!("/api/calls/{}", call.replace('\\', "%5C").replace(' ', "%20").replace('\'', "%27"));
    let detail = hospital.get(&path).await;
    assert_eq!((&detail["callId"], &detail["caller"]), (&json!(call), &json!("919845012345")));
    assert_eq!(texts(&detail["legs"], "agentId"), ["agent.one", "agent.two"]);
    assert_eq!(detail["legs"][1]["waitSeconds"], 5);
    let told = detail["facts"].as_array().unwrap();
    assert_eq!(told.len(), 3);
    let first = told.iter().find(|fact| fact["id"] == rang.id.to_string()).unwrap();
    assert_eq!(
        (&first["topic"], &first["kind"], &first["occurredAt"]),
        (&json!(topics::FACTS), &json!("CallRang"), &json!(facts.at(0).to_rfc3339()))
    );
    assert_eq!(first["receivedAt"], json!("2026-03-02T03:30:00.120Z"));
    assert!(first["partition"].is_i64());
    assert_eq!(first["offset"], before[&i32::try_from(first["partition"].as_i64().unwrap()).unwrap()]);
}

/// The tests of this binary share an engine: one writes at a time, after what others wrote.
static WRITING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Tells the offset of the first in each partition.
pub async fn into_clickhouse(facts: &[helix_schemas::fact::Fact]) -> BTreeMap<i32, i64> {
    let _alone = WRITING.lock().await;
    let options = helix_clickhouse::Options {
        url: engine::url().to_owned(),
        database: engine::TENANTS.to_owned(),
        user: String::new(),
        password: String::new(),
    };
    let settings = [(WorkspaceId::new(WORKSPACE).unwrap(), Settings::default())].into();
    let registry = Registry::new("http://127.0.0.1:9");
    let mut store = ClickHouseStore::open(&options, registry, codec(), &settings).await.unwrap();
    let all: Vec<i32> = (0..PARTITIONS).collect();
    let positions = store.acquire(topics::FACTS, &all).await.unwrap();
    let mut log = Log::default();
    for position in &positions {
        let before = (0..position.next_offset.0).map(|offset| helix_runtime::Record {
            offset: helix_runtime::Offset(offset),
            key: bytes::Bytes::new(),
            value: bytes::Bytes::new(),
        });
        log.partitions.insert(position.partition, before.collect());
    }
    facts.iter().for_each(|fact| log.append(fact));
    store.apply(&log.batch(&positions, 1000)).await.unwrap();
    positions.iter().map(|position| (position.partition, position.next_offset.0)).collect()
}

#[tokio::test]
async fn the_worklist_is_whole_over_its_pages_in_every_order() {
    let mut hospital = Hospital::open().await;
    let facts = hospital.facts.clone();
    // Some callers call twice: their second call is more urgent. Some hang up at once: less urgent.
    for number in 0..9 {
        let (call, caller, second) = (format!("m{number}"), format!("91984501000{}", number % 4), number * 100);
        let rings = if number % 3 == 0 { 5 } else { 40 };
        hospital
            .records
            .feed(&[facts.rang(&call, None, second, &caller), facts.ended(&call, None, second + rings, &caller)])
            .await;
    }
    // Answered later: the first caller's are closed.
    hospital
        .records
        .feed(&[
            facts.rang("back", Some("agent.one"), 2000, "919845010001"),
            facts.answered("back", "agent.one", 2004, "919845010001"),
        ])
        .await;
    for (sort, key) in [("priority", "priority"), ("due", "dueAt"), ("missedAt", "missedAt")] {
        for (status, count) in [("open", 7), ("closed", 2), ("all", 9)] {
            let mut rows: Vec<Value> = Vec::new();
            let mut cursor = String::new();
            loop {
                let page = hospital
                    .get(&format!("/api/missed-calls?sort={sort}&status={status}&limit=2&cursor={cursor}"))
                    .await;
                assert_eq!(page["total"], count, "{sort} {status}");
                rows.extend(page["missedCalls"].as_array().unwrap().iter().cloned());
                match page["nextCursor"].as_str() {
                    Some(next) => cursor = next.to_owned(),
                    None => break,
                }
            }
            let ids: BTreeSet<&str> = rows.iter().map(|row| row["callId"].as_str().unwrap()).collect();
            assert_eq!((rows.len(), ids.len()), (count, count), "{sort} {status}");
            let ordered = rows.windows(2).all(|pair| match key {
                "priority" => pair[0][key].as_i64() >= pair[1][key].as_i64(),
                "dueAt" => pair[0][key].as_str() <= pair[1][key].as_str(),
                _ => pair[0][key].as_str() >= pair[1][key].as_str(),
            });
            assert!(ordered, "{sort} {status}: {rows:?}");
            assert!(status == "all" || rows.iter().all(|row| row["status"] == status));
        }
    }
    let first = hospital.get("/api/missed-calls").await["missedCalls"][0].clone();
    assert_eq!((&first["skill"], &first["did"]), (&json!("Appointments"), &json!("918041763400")));
    let other_order =
        hospital.get("/api/missed-calls?sort=due&limit=1").await["nextCursor"].as_str().unwrap().to_owned();
    let refused = hospital
        .refusal(
            &format!("/api/missed-calls?sort=priority&cursor={other_order}"),
            &hospital.token(helix_kit::auth::Role::Admin),
        )
        .await;
    assert_eq!(refused, (400, "cursor_invalid".to_owned()));
}

#[tokio::test]
async fn an_agent_s_day_is_told_in_intervals_sessions_and_figures_that_add_up() {
    let mut hospital = Hospital::open().await;
    let facts = hospital.facts.clone();
    let number = "919845012345";
    let mut story = vec![
        // Signed in the evening before, over midnight.
        facts.state("agent.one", -40_000, AgentState::Ready, None),
        facts.state("agent.one", -30_000, AgentState::Offline, None),
        facts.state("agent.one", 0, AgentState::Ready, None),
        facts.state("agent.one", 100, AgentState::Ringing, None),
        facts.rang("c1", Some("agent.one"), 100, number),
        facts.state("agent.one", 108, AgentState::OnCall, None),
        facts.answered("c1", "agent.one", 108, number),
        facts.state("agent.one", 168, AgentState::WrapUp, None),
        facts.ended("c1", Some("agent.one"), 168, number),
        facts.state("agent.one", 188, AgentState::Ready, None),
        facts.state("agent.one", 200, AgentState::Ringing, None),
        facts.rang("c2", Some("agent.one"), 200, "919845012346"),
        facts.ended("c2", Some("agent.one"), 230, "919845012346"),
        facts.state("agent.one", 230, AgentState::Paused, Some("tea")),
        facts.state("agent.one", 330, AgentState::Offline, None),
    ];
    story.push(facts.state("agent.two", 0, AgentState::Ready, None));
    hospital.records.feed(&story).await;

    let timeline = hospital.get("/api/agents/agent.one/timeline?date=2026-03-02").await;
    let states =
        ["ready", "offline", "ready", "ringing", "on_call", "wrap_up", "ready", "ringing", "paused", "offline"];
    assert_eq!(texts(&timeline["intervals"], "state"), states);
    assert_eq!(timeline["intervals"][0]["startedAt"], facts.at(-40_000).to_rfc3339());
    assert_eq!(
        (&timeline["intervals"][4]["callId"], &timeline["intervals"][9]["endedAt"]),
        (&json!("c1"), &Value::Null)
    );
    assert_eq!(
        timeline["sessions"],
        json!([
            {
                "startedAt": facts.at(-40_000).to_rfc3339(), "endedAt": facts.at(-30_000).to_rfc3339(),
                "endedBy": "logout", "signedInSeconds": 10_000,
            },
            {
                "startedAt": facts.at(0).to_rfc3339(), "endedAt": facts.at(330).to_rfc3339(), "endedBy": "logout",
                "signedInSeconds": 330,
            },
        ])
    );
    // 9:00 less 40,000 s is 21:53:20 the day before: 7,600 s of that session lie in it, 2,400 in this day.
    let eve = hospital.get("/api/agents/agent.one/performance?date=2026-03-01").await;
    assert_eq!((&eve["signedInSeconds"], &eve["states"]), (&json!(7600), &json!({"ready": 7600})));

    let day = hospital.get("/api/agents/agent.one/performance?date=2026-03-02").await;
    assert_eq!(
        day,
        json!({
            "agentId": "agent.one", "date": "2026-03-02", "handled": 1, "offered": 2, "missed": 1,
            "talkSeconds": 60, "holdSeconds": 0, "wrapUpSeconds": 20, "signedInSeconds": 2730,
            "states": {"ready": 2512, "ringing": 38, "on_call": 60, "wrap_up": 20, "paused": 100},
            "aht": {"totalSeconds": 80, "handled": 1},
            "occupancy": {"numerator": 80, "denominator": 2630},
            "utilisation": {"numerator": 80, "denominator": 2730},
            "dispositions": [{"disposition": null, "calls": 1}],
        })
    );
    let by_agent = hospital.get("/api/metrics?from=2026-03-01T18:30:00Z&interval=1d&by=agent").await;
    let row = by_agent["rows"].as_array().unwrap().iter().find(|row| row["by"] == "agent.one").unwrap().clone();
    assert_eq!(row["aht"], day["aht"]);

    let token = hospital.token(helix_kit::auth::Role::Supervisor);
    for (path, refusal) in [
        ("/api/agents/nobody/timeline", (404, "no_such_agent")),
        ("/api/agents/nobody/performance", (404, "no_such_agent")),
        ("/api/agents/%FF/performance", (404, "no_such_agent")),
        ("/api/agents/agent.one/timeline?date=02.03.2026", (400, "query_invalid")),
        ("/api/agents/agent.one/performance?date=2026-02-30", (400, "query_invalid")),
    ] {
        assert_eq!(hospital.refusal(path, &token).await, (refusal.0, refusal.1.to_owned()), "{path}");
    }
}

#[tokio::test]
async fn a_state_that_ends_ahead_of_its_time_counts_no_second_that_has_not_passed() {
    let mut hospital = Hospital::open().await;
    let mut facts = hospital.facts.clone();
    let begun = Utc::now();
    facts.start = begun.timestamp_millis();
    let tomorrow = 20 * 3600;
    let story = [
        facts.state("agent.one", -60, AgentState::Ready, None),
        facts.state("agent.one", tomorrow, AgentState::Paused, Some("tea")),
    ];
    hospital.records.feed(&story).await;
    let moments = [-60, 0, tomorrow].map(|second| begun + TimeDelta::seconds(second));
    let dates = moments.map(|at| at.with_timezone(&Tz::Asia__Kolkata).date_naive().to_string());
    let (mut signed_in, mut idle) = (0, 0);
    for date in BTreeSet::from(dates) {
        let day = hospital.get(&format!("/api/agents/agent.one/performance?date={date}")).await;
        signed_in += day["signedInSeconds"].as_i64().unwrap();
        idle += day["occupancy"]["denominator"].as_i64().unwrap();
    }
    let passed = (Utc::now() - moments[0]).num_seconds() + 1;
    assert_eq!(signed_in, idle);
    assert!((59..=passed).contains(&idle), "{idle} of {passed} s");
    let listed = hospital.get("/api/agents").await["agents"][0]["today"]["readySeconds"].as_i64().unwrap();
    assert!(listed <= passed + 1, "{listed} of {passed} s");
}

/// The hospital's day, as the second in which it began: one that began some seconds ago and does not end during a test.
async fn a_day_that_lasts() -> i64 {
    const BEGUN: i64 = 10;
    const LEFT: i64 = 120;
    loop {
        let second = (Utc::now().timestamp() + 19_800).rem_euclid(86_400);
        if (BEGUN..86_400 - LEFT).contains(&second) {
            return Utc::now().timestamp() - second;
        }
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
}

#[tokio::test]
async fn the_agents_list_has_the_present_and_today_s_seconds() {
    let mut hospital = Hospital::open().await;
    // From this day's first second on, so that it is today whenever the test runs.
    let local_day = a_day_that_lasts().await;
    let facts = crate::support::Facts { start: local_day * 1000, ..hospital.facts.clone() };
    hospital
        .records
        .feed(&[
            facts.state("agent.one", -50, AgentState::Ready, None),
            facts.state("agent.one", 1, AgentState::Ringing, None),
            facts.rang("c1", Some("agent.one"), 1, "919845012345"),
            facts.state("agent.one", 3, AgentState::OnCall, None),
            facts.answered("c1", "agent.one", 3, "919845012345"),
            facts.ended("c1", Some("agent.one"), 4, "919845012345"),
            facts.state("agent.one", 4, AgentState::Offline, None),
            facts.state("agent.two", 0, AgentState::Paused, Some("tea")),
        ])
        .await;
    let list = hospital.get("/api/agents").await;
    let as_of: chrono::DateTime<Utc> = list["asOf"].as_str().unwrap().parse().unwrap();
    assert_eq!(
        list["agents"][0],
        json!({
            "agentId": "agent.one", "name": "Agent One", "state": "offline", "since": facts.at(4).to_rfc3339(),
            "reason": null, "callId": null, "mode": "INBOUND", "presumed": false,
            "today": {
                "signedInSeconds": 4, "readySeconds": 1, "ringingSeconds": 2, "onCallSeconds": 1, "wrapUpSeconds": 0,
                "pausedSeconds": 0, "handled": 1,
            },
        })
    );
    let two = &list["agents"][1];
    assert_eq!((&two["state"], &two["reason"]), (&json!("paused"), &json!("tea")));
    // An open interval counts until now.
    assert_eq!(two["today"]["pausedSeconds"], as_of.timestamp() - local_day);
}
