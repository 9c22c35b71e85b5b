//! Who is shown what: every endpoint for every role, numbers masked, and nothing of others.

use helix_kit::auth::Role;
use helix_kit::secret::Secret;
use helix_schemas::fact::AgentState;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{api::into_clickhouse, engine, hospital::Hospital, stage::WORKSPACE, support::Facts};

const NUMBER: &str = "919845012345";

async fn two_agents() -> Hospital {
    let mut hospital = Hospital::open_with(|stage| {
        stage.config.clickhouse.url = engine::url().to_owned();
        stage.config.clickhouse.database = engine::TENANTS.to_owned();
        stage.own().clickhouse_user = WORKSPACE.to_owned();
        stage.own().clickhouse_password = Secret::new("reader");
    })
    .await;
    let facts = hospital.facts.clone();
    let options = helix_clickhouse::Options {
        url: engine::url().to_owned(),
        database: engine::TENANTS.to_owned(),
        user: String::new(),
        password: String::new(),
    };
    helix_clickhouse::migrate(&options).await.unwrap();
    hospital
        .records
        .feed(&[
            facts.state("agent.one", 0, AgentState::Ready, None),
            facts.state("agent.two", 0, AgentState::Ready, None),
            facts.rang("one", Some("agent.one"), 10, NUMBER),
            facts.answered("one", "agent.one", 15, NUMBER),
            facts.ended("one", Some("agent.one"), 75, NUMBER),
            facts.rang("two", Some("agent.two"), 100, NUMBER),
            facts.answered("two", "agent.two", 110, NUMBER),
            facts.ended("two", Some("agent.two"), 120, NUMBER),
            facts.rang("missed", None, 200, NUMBER),
            facts.ended("missed", None, 250, NUMBER),
        ])
        .await;
    hospital
}

#[tokio::test]
async fn every_endpoint_is_open_to_the_roles_of_the_contract_and_to_no_others() {
    let hospital = two_agents().await;
    let all: &[Role] = &Role::ALL;
    let workers = &[Role::Admin, Role::Supervisor];
    let readers = &[Role::Admin, Role::Supervisor, Role::Analyst, Role::Auditor];
    let matrix: [(&str, &str, &[Role]); 12] = [
        ("GET", "/api/workspace", all),
        ("GET", "/api/agents", all),
        ("GET", "/api/agents/agent.one/timeline", all),
        ("GET", "/api/agents/agent.one/performance", all),
        ("GET", "/api/calls", all),
        ("GET", "/api/calls/one", all),
        ("GET", "/api/metrics?interval=1d", all),
        ("GET", "/api/missed-calls", readers),
        ("GET", "/api/missed-calls/summary", readers),
        // The log is away here: who may act is told so, who may not is refused before that.
        ("POST", "/api/missed-calls/missed/claim", workers),
        ("POST", "/api/missed-calls/missed/release", workers),
        ("POST", "/api/missed-calls/missed/waive", workers),
    ];
    for (method, path, open_to) in matrix {
        for role in Role::ALL {
            let body = path.ends_with("waive").then(|| json!({"reason": "wrong number"}));
            let method: Method = method.parse().unwrap();
            let (status, answer) = hospital.ask(method, path, &hospital.token(role), body).await;
            if open_to.contains(&role) {
                let down = status == StatusCode::SERVICE_UNAVAILABLE && answer["code"] == "component_down";
                assert!(status == StatusCode::OK || down && path.contains("missed/"), "{path} {role:?}: {answer}");
            } else {
                let refused = (status.as_u16(), answer["code"].as_str().unwrap());
                assert_eq!(refused, (403, "role_not_allowed"), "{path} {role:?}");
            }
        }
        let (status, answer) =
            hospital.ask(method.parse().unwrap(), path, &hospital.stage.token("global", Role::Admin, None), None).await;
        assert_eq!((status.as_u16(), answer["code"].as_str().unwrap()), (403, "wrong_workspace"), "{path}");
        let (status, _) = hospital.ask(method.parse().unwrap(), path, "nonsense", None).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[tokio::test]
async fn callers_numbers_reach_nobody_but_those_who_may_see_them() {
    let hospital = two_agents().await;
    for role in Role::ALL {
        for path in ["/api/calls", "/api/calls/one", "/api/missed-calls"] {
            let (status, answer) = hospital.ask(Method::GET, path, &hospital.token(role), None).await;
            if status == StatusCode::FORBIDDEN {
                continue;
            }
            let text = answer.to_string();
            if [Role::Admin, Role::Supervisor].contains(&role) {
                assert!(text.contains(NUMBER), "{path} {role:?}");
            } else {
                assert!(!text.contains(NUMBER) && text.contains("••••••2345"), "{path} {role:?}: {text}");
            }
        }
    }
}

#[tokio::test]
async fn a_recording_is_heard_by_those_alone_who_may_see_the_number() {
    let hospital = two_agents().await;
    sqlx::query("update read.calls set recording_url = 'https://recordings.example.invalid/919845012345.mp3'")
        .execute(&hospital.records.pool)
        .await
        .unwrap();
    for role in Role::ALL {
        let (_, answer) = hospital.ask(Method::GET, "/api/calls", &hospital.token(role), None).await;
        assert_eq!(answer["calls"][0]["recordingUrl"].is_string(), role.sees_callers(), "{role:?}");
    }
}

#[tokio::test]
async fn an_agent_is_shown_what_is_its_own() {
    let hospital = two_agents().await;
    let own = hospital.token(Role::Agent);
    let nobody = hospital.stage.token(WORKSPACE, Role::Agent, None);
    let ask = async |path: &str, token: &str| hospital.ask(Method::GET, path, token, None).await.1;
    let ids = |answer: &Value, list: &str, member: &str| -> Vec<String> {
        answer[list].as_array().unwrap().iter().map(|row| row[member].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&ask("/api/agents", &own).await, "agents", "agentId"), ["agent.one"]);
    assert_eq!(ids(&ask("/api/calls", &own).await, "calls", "callId"), ["one"]);
    assert_eq!(ids(&ask("/api/calls?agentId=agent.two", &own).await, "calls", "callId"), Vec::<String>::new());
    let range = "from=2026-03-02T00:00:00%2B05:30&to=2026-03-03T00:00:00%2B05:30&interval=1d";
    for by in ["", "&by=agent", "&by=queue", "&by=did"] {
        let rows = ask(&format!("/api/metrics?{range}{by}"), &own).await["rows"].clone();
        let offered: i64 = rows.as_array().unwrap().iter().map(|row| row["offered"].as_i64().unwrap()).sum();
        assert_eq!(offered, 1, "{by}");
    }
    for path in ["/api/agents/agent.two/timeline", "/api/agents/agent.two/performance"] {
        assert_eq!(hospital.refusal(path, &own).await, (404, "no_such_agent".to_owned()));
        assert_eq!(hospital.refusal(&path.replace("two", "one"), &nobody).await.0, 404);
    }
    assert_eq!(hospital.refusal("/api/calls/two", &own).await, (404, "no_such_call".to_owned()));
    assert_eq!(ids(&ask("/api/agents", &nobody).await, "agents", "agentId"), Vec::<String>::new());
    assert_eq!(ids(&ask("/api/calls", &nobody).await, "calls", "callId"), Vec::<String>::new());
}

#[tokio::test]
async fn of_a_call_that_went_to_others_too_an_agent_is_shown_its_own_part() {
    let mut hospital = two_agents().await;
    let facts = hospital.facts.clone();
    let call = format!("shared {}", uuid::Uuid::new_v4());
    let story = [
        facts.rang(&call, Some("agent.one"), 300, NUMBER),
        facts.rang(&call, Some("agent.two"), 320, NUMBER),
        facts.answered(&call, "agent.two", 325, NUMBER),
        facts.ended(&call, None, 385, NUMBER),
    ];
    hospital.records.feed(&story).await;
    into_clickhouse(&story).await;
    let path = format!("/api/calls/{}", call.replace(' ', "%20"));
    let own = hospital.token(Role::Agent);
    let detail = hospital.ask(Method::GET, &path, &own, None).await.1;
    assert!(!detail.to_string().contains("agent.two"), "{detail}");
    assert_eq!((&detail["agentId"], &detail["agentIds"]), (&Value::Null, &json!(["agent.one"])));
    assert_eq!(detail["legs"].as_array().unwrap().len(), 1);
    assert_eq!(detail["facts"].as_array().unwrap().len(), 1);
    assert_eq!(detail["facts"][0]["id"], story[0].id.to_string());
    let listed = hospital.ask(Method::GET, "/api/calls", &own, None).await.1;
    assert_eq!(listed["calls"][0]["callId"], call.as_str());
    assert!(!listed.to_string().contains("agent.two"), "{listed}");
    // Nor whether the other had a part in it.
    assert_eq!(hospital.ask(Method::GET, "/api/calls?agentId=agent.two", &own, None).await.1["calls"], json!([]));
    assert_eq!(hospital.ask(Method::GET, "/api/calls?agentId=agent.one", &own, None).await.1, listed);
    // Who answered it is shown as that, and others are shown all of it.
    let two = hospital.stage.token(WORKSPACE, Role::Agent, Some("agent.two"));
    let detail = hospital.ask(Method::GET, &path, &two, None).await.1;
    assert_eq!((&detail["agentId"], &detail["agentIds"]), (&json!("agent.two"), &json!(["agent.two"])));
    assert_eq!(detail["facts"].as_array().unwrap().len(), 2);
    let detail = hospital.get(&path).await;
    assert_eq!(detail["agentIds"], json!(["agent.one", "agent.two"]));
    // The end names nobody: it is a leg of its own.
    assert_eq!((detail["legs"].as_array().unwrap().len(), detail["facts"].as_array().unwrap().len()), (3, 4));
}

#[tokio::test]
async fn another_workspace_s_ids_are_unknown_whatever_role_the_database_gives() {
    for own_role in [true, false] {
        let mut hospital = Hospital::open_with(|stage| {
            stage.config.clickhouse.url = engine::url().to_owned();
        })
        .await;
        if !own_role {
            // The owner's role sees every workspace: the queries alone stand between.
            let url = hospital.records.database.url();
            hospital.stage.config.postgres.url = Secret::new(url);
            hospital.stage.own().postgres_url = Secret::default();
            hospital.running =
                hospital.stage.start(([127, 0, 0, 1], 0).into(), helix_sidecar::Extensions::default()).await;
        }
        let theirs = Facts::of("global");
        hospital
            .records
            .feed(&[
                theirs.state("rekha.cc", 0, AgentState::Ready, None),
                theirs.rang("theirs", Some("rekha.cc"), 0, NUMBER),
                theirs.ended("theirs", Some("rekha.cc"), 60, NUMBER),
            ])
            .await;
        let admin = hospital.token(Role::Admin);
        for path in ["/api/calls/theirs", "/api/agents/rekha.cc/timeline", "/api/agents/rekha.cc/performance"] {
            assert_eq!(hospital.refusal(path, &admin).await.0, 404, "{path}");
        }
        for action in ["claim", "release", "waive"] {
            let body = Some(json!({"reason": "not ours"}));
            let (status, answer) = hospital.act("theirs", action, &admin, body).await;
            assert_eq!((status, answer["code"].as_str().unwrap()), (404, "no_such_missed_call"), "{action}");
        }
        for (path, list) in
            [("/api/agents", "agents"), ("/api/calls", "calls"), ("/api/missed-calls?status=all", "missedCalls")]
        {
            assert_eq!(hospital.get(path).await[list], json!([]), "{path}");
        }
        for by in ["agent", "queue", "did"] {
            let range = "from=2026-03-02T00:00:00Z&to=2026-03-03T00:00:00Z&interval=1d";
            assert_eq!(hospital.get(&format!("/api/metrics?{range}&by={by}")).await["rows"], json!([]), "{by}");
        }
    }
}
