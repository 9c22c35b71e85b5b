//! How long the API takes over many records: `cargo test -p helix-sidecar -- --ignored --nocapture measure`.

use std::time::{Duration, Instant};

use sqlx::Executor as _;

use crate::hospital::Hospital;

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
            let admin = hospital.token(helix_kit::auth::Role::Admin);
            let (status, _) = hospital.ask(reqwest::Method::GET, &path, &admin, None).await;
            assert!(status.is_success() || path.contains("by=agent"), "{path}: {status}");
            times.push(begun.elapsed());
        }
        times.sort();
        println!("{path}: median {:?}, slowest {:?}", times[3], times[6]);
    }
}
