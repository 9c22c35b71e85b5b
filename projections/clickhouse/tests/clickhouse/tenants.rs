//! Row policies: a user of one workspace, over the tables and through every view.

use std::collections::BTreeMap;

use helix_fold::settings::Settings;
use helix_schemas::fact::{AgentState, Body};

use crate::{
    engine,
    story::{World, ended, inbound, rang, state, summary, workspace},
};

#[tokio::test]
async fn a_user_of_one_workspace_reads_its_rows_alone_through_every_view() {
    let settings = ["ramaiah", "global"].map(|name| (workspace(name), Settings::default()));
    let mut world = World::in_database(engine::TENANTS, BTreeMap::from(settings)).await;
    for name in ["ramaiah", "global"] {
        let first = summary(40, "c", |said| said.disposition = Some("Booked".into()));
        let mut conflicting = first.clone();
        if let Body::CallSummarised(said) = &mut conflicting.body {
            said.disposition = Some("Cancelled".into());
        }
        let mut facts = [
            rang(0, "c", Some("agent.one"), inbound()),
            ended(30, "c", Some("agent.one"), inbound()),
            state(0, "agent.one", AgentState::Ready, None),
            first,
            conflicting,
        ];
        for fact in &mut facts {
            fact.workspace = workspace(name);
        }
        world.tell(facts).await;
    }
    // As a rebuild makes it: a table of that name, with everybody's rows.
    world.run("CREATE TABLE {db}.facts_standby AS {db}.facts").await;
    world.run("ALTER TABLE {db}.facts_standby ATTACH PARTITION tuple() FROM {db}.facts").await;
    let sources = [
        "facts",
        "facts_standby",
        "workspace_settings",
        "calls",
        "agent_intervals",
        "agents",
        "agent_sessions",
        "missed_calls",
        "facts_once",
        "fact_conflicts",
    ];
    let seen =
        |source: &str| format!("SELECT arraySort(groupUniqArray(toString(workspace_id))) AS seen FROM {{db}}.{source}");
    for source in sources {
        let rows = world.rows(&seen(source)).await;
        assert_eq!(rows[0]["seen"], serde_json::json!(["global", "ramaiah"]), "{source}, as administrator");
    }
    world.client = world.client.clone().with_user("ramaiah").with_password("reader");
    for source in sources {
        let rows = world.rows(&seen(source)).await;
        assert_eq!(rows[0]["seen"], serde_json::json!(["ramaiah"]), "{source}, as ramaiah");
    }
    // A policy goes by the name: after an exchange either table has the one of its new name.
    let administrator = clickhouse::Client::default().with_url(engine::url());
    administrator.query_raw("EXCHANGE TABLES tenants.facts AND tenants.facts_standby").execute().await.unwrap();
    for source in ["facts", "facts_standby"] {
        let rows = world.rows(&seen(source)).await;
        assert_eq!(rows[0]["seen"], serde_json::json!(["ramaiah"]), "{source}, exchanged, as ramaiah");
    }
    let progress = world.client.query_raw("SELECT count() FROM tenants.projection_progress").execute().await;
    assert!(progress.is_err(), "what is not granted is refused");
}
