//! The metrics against a count of the rows by hand, over a seeded history: the same in every split, and they add up.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use helix_history::Plan;
use helix_kit::auth::Role;
use serde_json::Value;
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
    let calls = calls(&hospital).await;
    let (from, to) = ("2026-03-24T05:37:00%2B05:30", "2026-03-24T10:22:30%2B05:30");
    let within: Vec<&Call> = {
        let [from, to] = [from, to].map(|text| text.replace("%2B", "+").parse::<DateTime<Utc>>().unwrap());
        calls.iter().filter(|call| call.at >= from && call.at < to).collect()
    };
    let expected = counted(within.iter().copied());
    assert!(COUNTED[..4].iter().all(|name| expected[*name] > 0), "the history shows too little: {expected:?}");

    let mut handle_seconds = BTreeMap::new();
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
        let seconds: i64 = rows.iter().map(|row| row["aht"]["totalSeconds"].as_i64().unwrap()).sum();
        handle_seconds.insert(interval, seconds);
    }
    assert_eq!(handle_seconds["15m"], handle_seconds["1d"]);

    for by in ["agent", "queue", "did"] {
        let answer = hospital.get(&format!("/api/metrics?from={from}&to={to}&interval=1h&by={by}")).await;
        let rows = answer["rows"].as_array().unwrap();
        assert_eq!(sum(rows), expected, "{by}");
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
}

#[tokio::test]
async fn time_in_wrap_up_is_cut_at_the_intervals_and_none_of_it_is_lost() {
    use helix_schemas::fact::AgentState;
    let mut hospital = Hospital::open().await;
    let facts = hospital.facts.clone();
    // 9:00 is second 0: a wrap-up of 100 s over 9:15.
    hospital
        .records
        .feed(&[
            facts.state("agent.one", 860, AgentState::WrapUp, None),
            facts.state("agent.one", 960, AgentState::Ready, None),
        ])
        .await;
    let range = "from=2026-03-02T09:00:00%2B05:30&to=2026-03-02T09:45:00%2B05:30&interval=15m&by=agent";
    let rows = hospital.get(&format!("/api/metrics?{range}")).await["rows"].clone();
    let seconds: Vec<i64> =
        rows.as_array().unwrap().iter().map(|row| row["aht"]["totalSeconds"].as_i64().unwrap()).collect();
    assert_eq!(seconds, [40, 60, 0]);
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
        ("from=2026-03-02T00:00:00Z&to=2026-03-01T00:00:00Z", "query_invalid"),
    ] {
        assert_eq!(hospital.refusal(&format!("/api/metrics?{query}"), &admin).await, (400, code.to_owned()), "{query}");
    }
}
