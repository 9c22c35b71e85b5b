//! How long the API takes over many records, and what the audit journal adds to an answer:
//! `cargo test -p helix-sidecar -- --ignored --nocapture measure`.

use std::time::{Duration, Instant};

use helix_kit::auth::Role;
use sqlx::Executor as _;

use crate::hospital::{Broker, Hospital};

/// 500 agents, ten days of 200 intervals each, 20,000 calls a day, each tenth missed.
const RECORDS: &str = "
insert into read.agents (workspace_id, agent_id, state, since, presumed)
select 'ramaiah', 'agent.' || n, 'ready', now(), false from generate_series(1, 500) n;
insert into read.agent_intervals (workspace_id, agent_id, state, started_at, ended_at, presumed)
select 'ramaiah', 'agent.' || n, (array['ready', 'ringing', 'on_call', 'wrap_up', 'paused'])[1 + i % 5],
       now() - interval '10 days' + i * interval '432 s', now() - interval '10 days' + (i + 1) * interval '432 s', false
from generate_series(1, 500) n, generate_series(0, 1999) i;
insert into read.calls (workspace_id, call_id, direction, outcome, caller, did, skill, agent_id, agent_ids, started_at,
                        answered_at, ended_at, wait_seconds, talk_seconds, presumed, conflicts)
select 'ramaiah', 'c' || i, 'inbound', case when i % 10 = 0 then 'missed' else 'answered' end, '9198450' || i % 50000,
       '918041763400', (array['General', 'Cardiology', 'Billing'])[1 + i % 3], 'agent.' || 1 + i % 500,
       array['agent.' || 1 + i % 500], now() - i * interval '4.32 s', now() - i * interval '4.32 s', now(), i % 40, 60, false,
       '{}'
from generate_series(1, 200000) i;
insert into read.call_legs (workspace_id, call_id, position, agent_id, outcome, transferred)
select 'ramaiah', call_id, 1, agent_id, case when outcome = 'missed' then 'unanswered' else 'answered' end, false from read.calls;
insert into read.missed_calls (workspace_id, call_id, caller, did, missed_at, status, attempts, priority, due_at)
select 'ramaiah', call_id, caller, did, started_at, 'open', 0, 100 + length(caller) % 3, started_at
from read.calls where outcome = 'missed';
analyze;";

#[tokio::test]
#[ignore = "a measurement"]
async fn answers_over_many_records() {
    let hospital = Hospital::open().await;
    hospital.records.pool.execute("set statement_timeout = 0").await.unwrap();
    let mut administrator = hospital.records.database.administrator().await;
    administrator.execute(RECORDS).await.unwrap();
    for path in [
        "/api/agents",
        "/api/agents/agent.7/timeline",
        "/api/agents/agent.7/performance",
        "/api/calls",
        "/api/calls?agentId=agent.7&outcome=missed",
        "/api/calls?agentId=nobody",
        "/api/calls?agentId=nobody&from=2020-01-01T00:00:00Z&outcome=missed&direction=outbound",
        "/api/missed-calls",
        "/api/missed-calls?sort=due&status=all&limit=200",
        "/api/metrics?interval=15m",
        "/api/metrics?interval=1h&by=queue",
        "/api/metrics?interval=1d&by=agent",
        "/api/metrics?interval=1h&by=agent&queue=Billing",
        "/api/metrics?interval=1h&from={day}&to={to}",
        "/api/metrics?interval=1h&by=queue&from={day}&to={to}",
        "/api/metrics?interval=1d&by=agent&from={day}&to={to}",
        "/api/metrics?interval=1d&from={week}&to={to}",
    ] {
        // Whole days, whenever this is run.
        let now = chrono::Utc::now();
        let text = |days: i64| (now - chrono::TimeDelta::days(days)).to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let path = path.replace("{day}", &text(1)).replace("{week}", &text(7)).replace("{to}", &text(0));
        let mut times: Vec<Duration> = Vec::new();
        for _ in 0..7 {
            let begun = Instant::now();
            let admin = hospital.token(Role::Admin);
            let (status, _) = hospital.ask(reqwest::Method::GET, &path, &admin, None).await;
            assert!(status.is_success() || path.contains("by=agent"), "{path}: {status}");
            times.push(begun.elapsed());
        }
        times.sort();
        println!("{path}: median {:?}, slowest {:?}", times[3], times[6]);
    }
}

/// 5,000 calls of a day.
const CALLS: &str = "
insert into read.calls (workspace_id, call_id, direction, outcome, caller, did, skill, agent_id, agent_ids, started_at,
                        answered_at, ended_at, wait_seconds, talk_seconds, presumed, conflicts)
select 'ramaiah', 'c' || i, 'inbound', 'answered', '91984501' || i, '918041763400', 'General', 'agent.1',
       array['agent.1'], now() - i * interval '17 s', now() - i * interval '17 s', now(), i % 40, 60, false, '{}'
from generate_series(1, 5000) i;
analyze;";

const ASKED: usize = 2000;

/// Who asks, and whether an answer is written down before it is given.
const ASKERS: [(&str, Role, bool); 3] = [
    ("shows no number, nothing to write down", Role::Analyst, false),
    ("shows numbers, each by another person: each is written down", Role::Supervisor, true),
    ("shows numbers to the same person again: nothing to write down", Role::Supervisor, false),
];

/// Middle and last hundredth of as many answers, by as many clients at once.
async fn answered(hospital: &Hospital, clients: usize, tokens: &[String]) -> (Duration, Duration, Duration) {
    let begun = Instant::now();
    let asking = tokens.chunks(tokens.len() / clients).map(|tokens| async move {
        let mut times = Vec::with_capacity(tokens.len());
        for token in tokens {
            let begun = Instant::now();
            let (status, _) = hospital.ask(reqwest::Method::GET, "/api/calls", token, None).await;
            assert!(status.is_success(), "{status}");
            times.push(begun.elapsed());
        }
        times
    });
    let mut times: Vec<Duration> = futures_util::future::join_all(asking).await.concat();
    times.sort();
    (times[times.len() / 2], times[times.len() * 99 / 100], begun.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn what_the_audit_journal_costs_an_answer_that_shows_numbers() {
    let broker = Broker::start().await;
    let hospital = Hospital::open_on(&broker).await;
    hospital.records.database.administrator().await.execute(CALLS).await.unwrap();
    let mut person = 0;
    for clients in [1, 50] {
        for _ in 0..3 {
            for (what, role, differs) in ASKERS {
                let asked = if clients == 1 { ASKED / 10 } else { ASKED };
                let tokens: Vec<String> = (0..asked)
                    .map(|_| {
                        person += usize::from(differs);
                        hospital.stage.token_of(&format!("person{person}@example.org"), role)
                    })
                    .collect();
                let (middle, late, took) = answered(&hospital, clients, &tokens).await;
                println!("{clients} clients, {asked} answers in {took:.2?}, p50 {middle:.2?}, p99 {late:.2?}: {what}");
                if differs {
                    let begun = Instant::now();
                    // There is nothing else in this log.
                    broker.until(move |facts| facts.len() >= person).await;
                    println!("  all of it in the log {:.2?} later", begun.elapsed());
                }
            }
        }
    }
}
