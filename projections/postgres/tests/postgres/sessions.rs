//! The view of sessions says what the fold says.

use std::collections::BTreeMap;

use helix_fold::{agent::Interval, session::sessions};
use helix_schemas::{
    decision::Decision,
    fact::{AgentState, Fact},
    time::OccurredAt,
};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use sqlx::{Row as _, types::chrono};

use crate::{
    random::history,
    story::{World, decided, state},
};

type Times = (i64, Option<i64>);

/// Start, end, what ended it, and the seconds: signed in, then by state.
type Told = (Times, Option<String>, [i64; 7]);

/// One session for each way to end, and one that lasts.
fn sessions_of_every_end() -> Vec<Fact> {
    let agent = "agent.three";
    let mut facts = vec![
        state(0, agent, AgentState::Paused, Some("signed_in")),
        state(5, agent, AgentState::Offline, None),
        state(10, agent, AgentState::Ready, None),
    ];
    let presumed = Decision::AgentPresumedOffline;
    facts.push(decided(30, presumed, Some(agent), None, Some(facts[2].id)));
    facts.push(state(40, agent, AgentState::Ready, None));
    facts.push(decided(60, Decision::SessionClosed, Some(agent), None, Some(facts[4].id)));
    facts.push(state(70, agent, AgentState::Ready, None));
    facts
}

#[tokio::test]
async fn the_view_of_sessions_is_the_fold_of_the_intervals() {
    let mut seen = 0;
    let mut ends: Vec<Option<String>> = Vec::new();
    for seed in 0..12 {
        println!("seed {seed}");
        let mut world = World::new().await;
        world.tell(history(&mut ChaCha8Rng::seed_from_u64(seed))).await;
        world.tell(sessions_of_every_end()).await;
        let mut expected: Vec<(String, String, Told)> = Vec::new();
        for (workspace, rows) in world.snapshot().await.rows {
            let mut by_agent: BTreeMap<String, Vec<Interval>> = BTreeMap::new();
            for row in rows.intervals {
                by_agent.entry(row.agent.to_string()).or_default().push(row.interval);
            }
            for (agent, intervals) in by_agent {
                for session in sessions(&intervals) {
                    let told = (
                        (session.started_at.millis(), session.ended_at.map(OccurredAt::millis)),
                        session.ended_by.map(|by| by.as_str().to_owned()),
                        [
                            session.signed_in_seconds,
                            session.ready_seconds,
                            session.ringing_seconds,
                            session.on_call_seconds,
                            session.wrap_up_seconds,
                            session.paused_seconds,
                            session.unknown_seconds,
                        ],
                    );
                    assert_eq!(told.2[0], told.2[1..].iter().sum::<i64>());
                    expected.push((workspace.to_string(), agent.clone(), told));
                }
            }
        }
        let found = sqlx::query(
            "select workspace_id, agent_id, started_at, ended_at, ended_by, signed_in_seconds, ready_seconds,
                    ringing_seconds, on_call_seconds, wrap_up_seconds, paused_seconds, unknown_seconds
             from agent_sessions order by workspace_id collate \"C\", agent_id collate \"C\", started_at",
        )
        .fetch_all(&world.pool)
        .await
        .unwrap();
        let millis = |at: chrono::DateTime<chrono::Utc>| at.timestamp_millis();
        let found: Vec<(String, String, Told)> = found
            .iter()
            .map(|row| {
                let times = (millis(row.get("started_at")), row.get::<Option<_>, _>("ended_at").map(millis));
                let seconds = std::array::from_fn(|place| row.get(5 + place));
                (row.get("workspace_id"), row.get("agent_id"), (times, row.get("ended_by"), seconds))
            })
            .collect();
        assert_eq!(found, expected);
        seen += found.len();
        ends.extend(found.into_iter().map(|(_, _, (_, ended_by, _))| ended_by));
    }
    assert!(seen > 30, "{seen} sessions");
    for end in [None, Some("logout"), Some("presumed"), Some("day_end")] {
        assert!(ends.contains(&end.map(str::to_owned)), "no session ended by {end:?}");
    }
}
