//! The OpenAPI document says what the service does: its paths are the router's, its codes those of problems.rs, its
//! examples are taken, its schemas fit the answers, and docs/openapi/ingest.json is what the code makes of it.
//!
//! tests/e2e/openapi.rs goes on from here: schemathesis tries every operation on a running stack.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use helix_ingest::{
    directory::View,
    http::{
        openapi::{
            self,
            bodies::{Accepted, Alive, Listing, Probed, Problem, REASONS, Ready},
        },
        problems::CODES,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::support::{ACCOUNT_KEY, Answer, NOWHERE, Stage, WEBHOOK_KEY, cluster, config, directory, sample};

const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];

fn document() -> Value {
    serde_json::to_value(openapi::document()).unwrap()
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().unwrap().iter()
}

/// Methods by path.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let document = document();
    let methods = |item: &Value| members(item).map(|(method, _)| method.to_uppercase()).collect();
    members(&document["paths"]).map(|(path, item)| (path.clone(), methods(item))).collect()
}

/// No broker, no schemas: enough to see who answers.
fn unstarted() -> Stage {
    Stage::with(config(NOWHERE), Arc::new(View::fixed(&directory())), None)
}

/// The router's own list of paths, from what it shows for debugging: it has no other.
fn routed(stage: &Stage) -> BTreeSet<String> {
    let shown = format!("{:?}", stage.router);
    let (paths, _fallbacks) = shown.split_once("fallback_router").unwrap();
    let quoted = paths.split("RouteId(").filter_map(|part| part.split_once("): \"")?.1.split_once('"'));
    quoted.map(|(path, _)| path.to_owned()).collect()
}

fn concrete(path: &str) -> String {
    let values =
        [("{workspace}", "ramaiah"), ("{key}", "anything"), ("{agent}", "agent.one"), ("{did}", "918040000001")];
    values.into_iter().fold(path.to_owned(), |path, (name, value)| path.replace(name, value))
}

#[tokio::test]
async fn paths_and_methods_are_those_of_the_router() {
    let stage = unstarted();
    let documented = documented();
    assert_eq!(documented.keys().cloned().collect::<BTreeSet<_>>(), routed(&stage));
    for (path, methods) in &documented {
        for method in METHODS {
            let headers = [("x-helix-workspace", "ramaiah"), ("x-helix-key", "wrong")];
            let answer = stage.send(method, &concrete(path), &headers, r#"{"workspace":"ramaiah"}"#).await;
            if methods.contains(method) {
                assert!(![404, 405].contains(&answer.status.as_u16()), "{method} {path} answered {}", answer.status);
            } else {
                assert_eq!(answer.status, 405, "{method} {path} is not documented");
            }
        }
    }
}

/// Every `code` that some response of the document lists.
fn codes() -> BTreeSet<String> {
    let document = document();
    let responses = members(&document["components"]["responses"]).filter(|(name, _)| *name != "Accepted");
    let lists = responses.map(|(_, response)| {
        let schema = &response["content"]["application/problem+json"]["schema"];
        schema["allOf"][1]["properties"]["code"]["enum"].as_array().unwrap().clone()
    });
    lists.flatten().map(|code| code.as_str().unwrap().to_owned()).collect()
}

#[test]
fn codes_are_those_of_problems_rs_and_have_their_pages() {
    let mut said = codes();
    said.extend(REASONS.iter().map(|reason| (*reason).to_owned()));
    let pages = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
    for code in &said {
        assert!(pages.join(format!("{code}.md")).is_file(), "docs/errors/{code}.md");
    }
    let listed: BTreeSet<String> = CODES.into_iter().map(str::to_owned).collect();
    let undocumented: Vec<_> = listed.difference(&said).collect();
    assert!(undocumented.is_empty(), "in problems.rs and not in the document: {undocumented:?}");
    let answered = codes();
    let unlisted: Vec<_> = answered.difference(&listed).collect();
    assert!(unlisted.is_empty(), "in the document and not in problems.rs: {unlisted:?}");
}

#[test]
fn every_reference_leads_somewhere_and_operations_are_told_apart() {
    fn walk<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|member| walk(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let document = document();
    let mut references = Vec::new();
    walk(&document, &mut references);
    assert!(references.len() > 100);
    for reference in references {
        assert!(document.pointer(reference.strip_prefix('#').unwrap()).is_some(), "{reference}");
    }
    let operations = members(&document["paths"]).flat_map(|(_, item)| members(item));
    let ids: Vec<_> = operations.map(|(_, operation)| operation["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
}

/// The examples of a request body, by media type.
fn examples(document: &Value, body: &str) -> Vec<(String, String, Value)> {
    let content = members(&document["components"]["requestBodies"][body]["content"]);
    let shown = content.flat_map(|(media_type, content)| {
        members(&content["examples"])
            .map(move |(name, shown)| (media_type.clone(), name.clone(), shown["value"].clone()))
    });
    shown.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_example_is_taken() {
    let cluster = cluster();
    let stage = Stage::new(config(&cluster.bootstrap_servers()));
    let document = document();
    for (body, path, key) in [
        ("Events", "/api/supervisor/agent-event", ACCOUNT_KEY),
        ("Callbacks", "/workspaces/ramaiah/webhooks/ozonetel/missed-call", WEBHOOK_KEY),
    ] {
        let examples = examples(&document, body);
        assert_eq!(examples.len(), 5, "{body}");
        for (media_type, name, value) in examples {
            let body = if media_type == "application/json" {
                value.to_string()
            } else {
                let data: String =
                    form_urlencoded::byte_serialize(value["data"].as_str().unwrap().as_bytes()).collect();
                format!("data={data}")
            };
            let headers = [("content-type", media_type.as_str()), ("x-helix-key", key)];
            let answer = stage.send("POST", path, &headers, body).await;
            assert!(
                answer.statuses().iter().all(|status| matches!(*status, "stored" | "duplicate")),
                "{path} {name}: {}",
                answer.json
            );
        }
    }
}

/// Reads an answer into its documented type and back: what the type lacks is lost on the way, what the answer lacks
/// fails to read.
fn fits<T: DeserializeOwned + Serialize>(answer: &Answer) {
    let read: T =
        serde_json::from_value(answer.json.clone()).unwrap_or_else(|fault| panic!("{fault}: {}", answer.json));
    assert_eq!(serde_json::to_value(read).unwrap(), answer.json);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_fit_their_schemas() {
    let cluster = cluster();
    let stage = Stage::new(config(&cluster.bootstrap_servers()));
    let events = format!("/api/supervisor/agent-event?key={ACCOUNT_KEY}");
    let stored = sample("A01.1").body;
    let unrouted = stored.replace("agent.one", "stranger");
    let batch = format!("[{stored},{unrouted},7,{{\"eventType\":\"Agent\",\"data\":{{}}}}]");
    for body in [stored.clone(), unrouted, batch] {
        fits::<Accepted>(&stage.post(&events, body).await);
    }
    for answer in [
        stage.post(&events, "not an event").await,
        stage.post(&events, r#"{"eventType":"Agent","data":{}}"#).await,
        stage.post("/api/supervisor/agent-event", stored).await,
        stage.post("/nowhere", "").await,
        stage.send("PUT", "/livez", &[], "").await,
    ] {
        fits::<Problem>(&answer);
        let code = answer.json["code"].as_str().unwrap();
        assert!(codes().contains(code), "{code}");
    }
    fits::<Probed>(&stage.send("GET", "/webhooks/ozonetel/missed-call", &[], "").await);
    fits::<Alive>(&stage.send("GET", "/livez", &[], "").await);
    fits::<Ready>(&stage.send("GET", "/readyz", &[], "").await);
    fits::<Listing>(&stage.send("GET", "/api/supervisor/directory", &[("x-helix-key", ACCOUNT_KEY)], "").await);
    let served = stage.send("GET", openapi::PATH, &[], "").await;
    assert_eq!(served.json, document());
}

#[test]
fn the_committed_document_is_what_the_code_makes() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi/ingest.json");
    if std::env::var_os("HELIX_WRITE_OPENAPI").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, openapi::document().to_pretty_json().unwrap() + "\n").unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let committed: Value = serde_json::from_str(&committed).unwrap_or_default();
    // Compared as JSON: what differs is found by `git diff` once it is written anew.
    assert!(
        committed == document(),
        "docs/openapi/ingest.json is not what the code says: `make openapi` rewrites it, then read the difference"
    );
}
