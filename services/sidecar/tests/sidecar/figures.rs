//! The metrics against a count of the rows by hand, over a seeded history: the same in every split, and they add up.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use helix_history::Plan;
use helix_kit::auth::Role;
use helix_schemas::fact::{AgentState, Body};
use serde_json::{Value, json};
use sqlx::Row as _;

use crate::{hospital::Hospital, stage::WORKSPACE};

const COUNTED: [&str; 5] = ["offered", "answered", "missed", "shortAbandoned", "inProgress"];
const PAIRS: [(&str, &str); 7] = [
    ("serviceLevel", "answeredWithin"),
    ("serviceLevel", "denominator"),
    ("asa", "totalWaitSeconds"),
    ("asa", "answered"),
    ("aht", "handled"),
    ("abandonment", "numerator"),
    ("abandonment", "denominator"),
];

type Figures = BTreeMap<String, i64>;

fn figures(row: &Value) -> Figures {
    let single = COUNTED.map(|name| (name.to_owned(), row[name].as_i64().unwrap()));
    let pairs = PAIRS.map(|(name, part)| (format!("{name}.{part}"), row[name][part].as_i64().unwrap()));
    single.into_iter().chain(pairs).collect()
}

fn sum<'a>(rows: impl IntoIterator<Item = &'a Value>) -> Figures {
    let mut total = Figures::new();
    for row in rows {
        for (name, value) in figures(row) {
            *total.entry(name).or_default() += value;
        }
    }
    total
}

/// One call, as far as it counts.
struct Call {
    at: DateTime<Utc>,
    inbound: bool,
    outcome: String,
    wait: i64,
    queue: String,
}

async fn calls(hospital: &Hospital) -> Vec<Call> {
    let rows = sqlx::query("select started_at, direction, outcome, wait_seconds, skill from read.calls");
    let rows = rows.fetch_all(&hospital.records.pool).await.unwrap();
    let of = |row: &sqlx::postgres::PgRow| Call {
        at: row.get("started_at"),
        inbound: row.get::<Option<String>, _>("direction").as_deref() != Some("outbound"),
        outcome: row.get("outcome"),
        wait: row.get::<Option<i64>, _>("wait_seconds").unwrap_or_default(),
        queue: row.get::<Option<String>, _>("skill").unwrap_or_default(),
    };
    rows.iter().map(of).collect()
}

/// A leg at an agent.
struct Leg {
    agent: String,
    outcome: String,
    talk: Option<i64>,
}

/// One call with what by-agent figures and AHT are made of.
struct Story {
    agent: String,
    talk: i64,
    legs: Vec<Leg>,
    /// Time in wrap-up with it, by agent.
    wrap_ups: BTreeMap<String, i64>,
}

async fn stories(hospital: &Hospital) -> Vec<(Call, Story)> {
    let rows = sqlx::query(
        "select call_id, started_at, direction, outcome, wait_seconds, skill, talk_seconds, agent_id from read.calls",
    );
    let mut found = Vec::new();
    for row in rows.fetch_all(&hospital.records.pool).await.unwrap() {
        let id: String = row.get("call_id");
        let legs = sqlx::query(
            "select agent_id, outcome, talk_seconds from read.call_legs where call_id = $1 and agent_id is not null
             order by position",
        );
        let legs = legs.bind(&id).fetch_all(&hospital.records.pool).await.unwrap();
        let wrap_ups = sqlx::query_as(
            "select agent_id, sum(extract(epoch from date_trunc('second', ended_at) - date_trunc('second', started_at)))::bigint
             from read.agent_intervals where call_id = $1 and state = 'wrap_up' group by 1",
        );
        let wrap_ups: Vec<(String, i64)> = wrap_ups.bind(&id).fetch_all(&hospital.records.pool).await.unwrap();
        let call = Call {
            at: row.get("started_at"),
            inbound: row.get::<Option<String>, _>("direction").as_deref() != Some("outbound"),
            outcome: row.get("outcome"),
            wait: row.get::<Option<i64>, _>("wait_seconds").unwrap_or_default(),
            queue: row.get::<Option<String>, _>("skill").unwrap_or_default(),
        };
        let legs = legs.iter().map(|leg| Leg {
            agent: leg.get("agent_id"),
            outcome: leg.get("outcome"),
            talk: leg.get("talk_seconds"),
        });
        let story = Story {
            agent: row.get::<Option<String>, _>("agent_id").unwrap_or_default(),
            talk: row.get::<Option<i64>, _>("talk_seconds").unwrap_or_default(),
            legs: legs.collect(),
            wrap_ups: wrap_ups.into_iter().collect(),
        };
        found.push((call, story));
    }
    found
}

/// Each agent's share in a call, and the seconds it spent on it: docs/metrics.md, "By agent", word for word.
fn shares(call: &Call, story: &Story) -> Vec<(String, Call, i64)> {
    let share = |outcome: &str| Call {
        at: call.at,
        inbound: call.inbound,
        outcome: outcome.to_owned(),
        wait: call.wait,
        queue: call.queue.clone(),
    };
    let ended = call.outcome == "answered";
    if story.legs.is_empty() {
        return vec![(String::new(), share(&call.outcome), if ended { story.talk } else { 0 })];
    }
    let answers: Vec<&Leg> = story.legs.iter().filter(|leg| leg.outcome == "answered").collect();
    let known: i64 = answers.iter().filter_map(|leg| leg.talk).sum();
    let last_unknown = answers.iter().rev().find(|leg| leg.talk.is_none()).copied();
    let agents: BTreeSet<&str> = story.legs.iter().map(|leg| leg.agent.as_str()).collect();
    let of = |agent: &str| {
        let own = || answers.iter().filter(|leg| leg.agent == agent);
        let answered = own().count() > 0 || answers.is_empty() && ended && story.agent == agent;
        let is_on = story.legs.iter().any(|leg| leg.agent == agent && leg.outcome != "unanswered");
        let outcome = match call.outcome.as_str() {
            "answered" if answered => "answered",
            "in_progress" if is_on => "in_progress",
            "answered" | "in_progress" => "missed",
            other => other,
        };
        let talk = if !answered || !ended {
            0
        } else if answers.len() <= 1 {
            story.talk
        } else {
            let rest = |leg: &&&Leg| last_unknown.is_some_and(|last| std::ptr::eq(last, **leg));
            own().map(|leg| leg.talk.unwrap_or(0)).sum::<i64>()
                + own().filter(rest).map(|_| (story.talk - known).max(0)).sum::<i64>()
        };
        let wrap_up = if ended { story.wrap_ups.get(agent).copied().unwrap_or(0) } else { 0 };
        (agent.to_owned(), share(outcome), talk + wrap_up)
    };
    agents.into_iter().map(of).collect()
}

fn seconds<'a>(rows: impl IntoIterator<Item = &'a Value>) -> i64 {
    rows.into_iter().map(|row| row["aht"]["totalSeconds"].as_i64().unwrap()).sum()
}

/// By the words of docs/metrics.md.
fn counted<'a>(calls: impl IntoIterator<Item = &'a Call>) -> Figures {
    let mut figures: Figures = COUNTED
        .map(str::to_owned)
        .into_iter()
        .chain(PAIRS.map(|(name, part)| format!("{name}.{part}")))
        .map(|name| (name, 0))
        .collect();
    let mut add = |name: &str, value: i64| *figures.get_mut(name).unwrap() += value;
    for call in calls {
        if call.outcome == "answered" {
            add("aht.handled", 1);
        }
        if !call.inbound {
            continue;
        }
        add("offered", 1);
        match call.outcome.as_str() {
            "answered" => {
                add("answered", 1);
                add("serviceLevel.answeredWithin", i64::from(call.wait <= 20));
                add("serviceLevel.denominator", 1);
                add("abandonment.denominator", 1);
                add("asa.totalWaitSeconds", call.wait);
                add("asa.answered", 1);
            }
            "missed" => {
                add("missed", 1);
                add("serviceLevel.denominator", 1);
                add("abandonment.numerator", 1);
                add("abandonment.denominator", 1);
            }
            "short_abandon" => add("shortAbandoned", 1),
            "in_progress" => add("inProgress", 1),
            other => panic!("{other}"),
        }
    }
    figures
}

fn moment(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn the_metrics_are_a_count_of_the_rows_and_add_up_in_every_split() {
    let seed = std::env::var("HELIX_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(7);
    println!("seed {seed}");
    let mut hospital = Hospital::open().await;
    // From 2026-03-24 05:30 in Kolkata on, some hours.
    let facts: Vec<_> = Plan::new(WORKSPACE, 12, seed).history().take(6000).collect();
    hospital.records.feed(&facts).await;
    // What is open counts until now.
    sqlx::query("update read.agent_intervals set ended_at = started_at + interval '30 s' where ended_at is null")
        .execute(&hospital.records.pool)
        .await
        .unwrap();
    let calls = calls(&hospital).await;
    let (from, to) = ("2026-03-24T05:37:00%2B05:30", "2026-03-24T10:22:30%2B05:30");
    let within: Vec<&Call> = {
        let [from, to] = [from, to].map(|text| text.replace("%2B", "+").parse::<DateTime<Utc>>().unwrap());
        calls.iter().filter(|call| call.at >= from && call.at < to).collect()
    };
    let expected = counted(within.iter().copied());
    assert!(COUNTED[..4].iter().all(|name| expected[*name] > 0), "the history shows too little: {expected:?}");

    let stories = stories(&hospital).await;
    let told: Vec<&(Call, Story)> = {
        let [from, to] = [from, to].map(|text| text.replace("%2B", "+").parse::<DateTime<Utc>>().unwrap());
        stories.iter().filter(|(call, _)| call.at >= from && call.at < to).collect()
    };
    let handle_seconds: i64 = told
        .iter()
        .filter(|(call, _)| call.outcome == "answered")
        .map(|(_, story)| story.talk + story.wrap_ups.values().sum::<i64>())
        .sum();
    assert!(told.iter().any(|(_, story)| !story.wrap_ups.is_empty()), "no wrap-up names its call");
    for interval in ["15m", "1h", "1d"] {
        let answer = hospital.get(&format!("/api/metrics?from={from}&to={to}&interval={interval}")).await;
        let rows = answer["rows"].as_array().unwrap();
        assert_eq!(sum(rows), expected, "{interval}");
        for row in rows {
            let (from, to) = (moment(&row["from"]), moment(&row["to"]));
            let here = calls.iter().filter(|call| call.at >= from && call.at < to);
            assert_eq!(figures(row), counted(here), "{interval} {from}");
            let of = |name: &str| row[name].as_i64().unwrap();
            let balance = of("answered") + of("missed") + of("shortAbandoned") + of("inProgress");
            assert_eq!(of("offered"), balance);
        }
        assert!(rows.windows(2).all(|pair| pair[0]["to"] == pair[1]["from"]));
        assert_eq!(moment(&rows[0]["from"]), moment(&answer["from"]));
        assert_eq!(moment(&rows[rows.len() - 1]["to"]), moment(&answer["to"]));
        assert_eq!(seconds(rows), handle_seconds, "{interval}");
    }

    for by in ["agent", "queue", "did"] {
        let answer = hospital.get(&format!("/api/metrics?from={from}&to={to}&interval=1h&by={by}")).await;
        let rows = answer["rows"].as_array().unwrap();
        if by == "agent" {
            let shares: Vec<_> = told.iter().flat_map(|(call, story)| shares(call, story)).collect();
            for row in rows {
                let (from, to) = (moment(&row["from"]), moment(&row["to"]));
                let here = || {
                    let own = shares.iter().filter(|(agent, ..)| row["by"] == agent.as_str());
                    own.filter(|(_, call, _)| call.at >= from && call.at < to)
                };
                assert_eq!(figures(row), counted(here().map(|(_, call, _)| call)), "{}", row["by"]);
                assert_eq!(seconds([row]), here().map(|(.., seconds)| seconds).sum::<i64>(), "{}", row["by"]);
            }
            assert_eq!(seconds(rows), shares.iter().map(|(.., seconds)| seconds).sum::<i64>());
        } else {
            assert_eq!(sum(rows), expected, "{by}");
            assert_eq!(seconds(rows), handle_seconds, "{by}");
        }
        // Every interval for every group.
        let mut groups: BTreeMap<&str, usize> = BTreeMap::new();
        rows.iter().for_each(|row| *groups.entry(row["by"].as_str().unwrap()).or_default() += 1);
        assert!(groups.values().all(|count| *count == 6), "{groups:?}");
        if by == "queue" {
            for row in rows {
                let (from, to) = (moment(&row["from"]), moment(&row["to"]));
                let here = within.iter().copied().filter(|call| call.at >= from && call.at < to);
                assert_eq!(figures(row), counted(here.filter(|call| row["by"] == call.queue.as_str())));
            }
        }
    }

    let queues: BTreeSet<&str> =
        within.iter().map(|call| call.queue.as_str()).filter(|queue| !queue.is_empty()).collect();
    assert!(queues.len() > 1, "{queues:?}");
    for queue in queues {
        let answer = hospital.get(&format!("/api/metrics?from={from}&to={to}&queue={queue}")).await;
        let here = within.iter().copied().filter(|call| call.queue == queue);
        assert_eq!(sum(answer["rows"].as_array().unwrap()), counted(here), "{queue}");
    }
}

/// 9:00 of that day in Kolkata is second 0.
const DAY: &str = "from=2026-03-02T00:00:00%2B05:30&to=2026-03-03T00:00:00%2B05:30&interval=1d";

fn of<'a>(rows: &'a Value, agent: &str) -> &'a Value {
    rows.as_array().unwrap().iter().find(|row| row["by"] == agent).unwrap()
}

#[tokio::test]
async fn a_transferred_call_is_handled_by_both_and_each_has_its_own_talk_and_wrap_up() {
    let mut hospital = Hospital::open().await;
    let facts = hospital.facts.clone();
    let number = "919845012345";
    hospital
        .records
        .feed(&[
            facts.state("agent.one", 0, AgentState::Ringing, None),
            facts.rang("c1", Some("agent.one"), 0, number),
            facts.state("agent.one", 5, AgentState::OnCall, None),
            facts.answered("c1", "agent.one", 5, number),
            facts.state("agent.two", 60, AgentState::Ringing, None),
            facts.rang("c1", Some("agent.two"), 60, number),
            facts.ended("c1", Some("agent.one"), 65, number),
            facts.state("agent.one", 65, AgentState::WrapUp, None),
            facts.state("agent.two", 70, AgentState::OnCall, None),
            facts.answered("c1", "agent.two", 70, number),
            facts.state("agent.one", 85, AgentState::Ready, None),
            facts.ended("c1", Some("agent.two"), 100, number),
            facts.state("agent.two", 100, AgentState::WrapUp, None),
            facts.state("agent.two", 107, AgentState::Ready, None),
            // It rang at the third, who let it ring; the first took it.
            facts.rang("c2", Some("agent.three"), 200, number),
            facts.ended("c2", Some("agent.three"), 215, number),
            facts.state("agent.three", 200, AgentState::Ringing, None),
            facts.state("agent.three", 215, AgentState::Ready, None),
            facts.rang("c2", Some("agent.one"), 216, number),
            facts.answered("c2", "agent.one", 220, number),
            facts.ended("c2", Some("agent.one"), 230, number),
        ])
        .await;
    let rows = hospital.get(&format!("/api/metrics?{DAY}&by=agent")).await["rows"].clone();
    let told = |agent: &str| {
        let row = of(&rows, agent);
        ["offered", "answered", "missed"].map(|name| row[name].as_i64().unwrap())
    };
    assert_eq!((told("agent.one"), told("agent.two"), told("agent.three")), ([2, 2, 0], [1, 1, 0], [1, 0, 1]));
    assert_eq!(of(&rows, "agent.one")["aht"], json!({"totalSeconds": 60 + 20 + 10, "handled": 2}));
    assert_eq!(of(&rows, "agent.two")["aht"], json!({"totalSeconds": 30 + 7, "handled": 1}));
    assert_eq!(of(&rows, "agent.three")["aht"], json!({"totalSeconds": 0, "handled": 0}));
    // Two calls, from the first answer to the last end.
    let total = hospital.get(&format!("/api/metrics?{DAY}")).await["rows"][0].clone();
    assert_eq!((&total["offered"], &total["answered"], &total["missed"]), (&json!(2), &json!(2), &json!(0)));
    assert_eq!(total["aht"], json!({"totalSeconds": 95 + 27 + 10, "handled": 2}));
    let list = hospital.get("/api/agents").await;
    assert_eq!(list["agents"].as_array().unwrap().len(), 3);
    for agent in ["agent.one", "agent.two", "agent.three"] {
        let day = hospital.get(&format!("/api/agents/{agent}/performance?date=2026-03-02")).await;
        let row = of(&rows, agent);
        for name in ["offered", "missed", "aht"] {
            assert_eq!(day[name], row[name], "{agent} {name}");
        }
        assert_eq!(day["handled"], row["aht"]["handled"], "{agent}");
        // What the agent is shown of itself, however it asks.
        let own = hospital.stage.token(WORKSPACE, Role::Agent, Some(agent));
        for by in ["", "&by=agent", "&by=queue"] {
            let path = format!("/api/metrics?{DAY}{by}");
            let shown = hospital.ask(reqwest::Method::GET, &path, &own, None).await.1["rows"][0].clone();
            for name in ["offered", "missed", "aht", "serviceLevel"] {
                assert_eq!(shown[name], row[name], "{agent} {by} {name}");
            }
        }
    }
}

#[tokio::test]
async fn wrap_up_counts_with_its_call_in_every_split_and_without_one_in_none() {
    let mut hospital = Hospital::open().await;
    let facts = hospital.facts.clone();
    let number = "919845012345";
    // The call begins in the first quarter, its wrap-up lies over 9:15; the other wrap-up is after no call.
    hospital
        .records
        .feed(&[
            facts.state("agent.one", 800, AgentState::Ringing, None),
            facts.rang("c1", Some("agent.one"), 800, number),
            facts.state("agent.one", 810, AgentState::OnCall, None),
            facts.answered("c1", "agent.one", 810, number),
            facts.ended("c1", Some("agent.one"), 860, number),
            facts.state("agent.one", 860, AgentState::WrapUp, None),
            facts.state("agent.one", 960, AgentState::Ready, None),
            facts.state("agent.two", 100, AgentState::WrapUp, None),
            facts.state("agent.two", 140, AgentState::Ready, None),
        ])
        .await;
    let range = "from=2026-03-02T09:00:00%2B05:30&to=2026-03-02T09:45:00%2B05:30&interval=15m";
    for split in ["", "&by=agent", "&by=queue", "&by=did", "&queue=Appointments", "&by=agent&did=918041763400"] {
        let rows = hospital.get(&format!("/api/metrics?{range}{split}")).await["rows"].clone();
        let told: Vec<i64> = rows.as_array().unwrap().iter().map(|row| seconds([row])).collect();
        assert_eq!(told, [150, 0, 0], "{split}");
    }
    let day = hospital.get("/api/agents/agent.two/performance?date=2026-03-02").await;
    assert_eq!((&day["wrapUpSeconds"], &day["aht"]["totalSeconds"]), (&json!(40), &json!(0)));
}

#[tokio::test]
async fn calls_without_a_queue_or_did_can_be_asked_for() {
    let mut hospital = Hospital::open().await;
    let facts = hospital.facts.clone();
    let mut none = facts.rang("none", None, 10, "919845012345");
    if let Body::CallRang(rang) = &mut none.body {
        (rang.party.skill, rang.party.did) = (None, None);
    }
    hospital.records.feed(&[facts.rang("some", None, 0, "919845012345"), none]).await;
    for (query, offered) in
        [("", 2), ("&queue=", 1), ("&did=", 1), ("&queue=&did=", 1), ("&queue=Appointments", 1), ("&queue=&did=1", 0)]
    {
        let rows = hospital.get(&format!("/api/metrics?{DAY}{query}")).await["rows"].clone();
        assert_eq!(rows[0]["offered"], offered, "{query}");
    }
}

#[tokio::test]
async fn a_range_without_calls_has_its_intervals_and_one_too_long_is_refused() {
    let hospital = Hospital::open().await;
    let today = hospital.get("/api/metrics?interval=1h").await;
    assert_eq!(today["rows"].as_array().unwrap().len(), 24);
    assert_eq!((&today["thresholdSeconds"], &today["zone"]), (&Value::from(20), &Value::from("Asia/Kolkata")));
    assert!(sum(today["rows"].as_array().unwrap()).values().all(|value| *value == 0));
    let admin = hospital.token(Role::Admin);
    for (query, code) in [
        ("from=2026-03-01T00:00:00Z&to=2026-03-09T00:00:00Z", "too_many_rows"),
        ("from=0001-01-01T00:00:00Z&to=9999-12-31T00:00:00Z&interval=1d", "too_many_rows"),
        ("interval=5m", "query_invalid"),
        ("by=nurse", "query_invalid"),
        ("queue=a%00b", "query_invalid"),
        ("from=2026-03-02T00:00:00Z&to=2026-03-01T00:00:00Z", "query_invalid"),
    ] {
        assert_eq!(hospital.refusal(&format!("/api/metrics?{query}"), &admin).await, (400, code.to_owned()), "{query}");
    }
}
