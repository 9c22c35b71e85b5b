//! The schema registry over HTTP, as clients use it.

use std::path::Path;

use helix_local::registry::{Options, serve};
use helix_schemas::{registry::RegistryError, schema::SUBJECTS};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

use crate::folder;

struct Server {
    url: String,
    stop: oneshot::Sender<()>,
    done: JoinHandle<Result<(), helix_local::registry::RegistryError>>,
}

impl Server {
    async fn start(data: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let options = Options { data: data.to_path_buf() };
        let done = tokio::spawn(async move { serve(listener, &options, async move { drop(stopped.await) }).await });
        Self { url, stop, done }
    }

    async fn stop(self) {
        drop(self.stop);
        self.done.await.unwrap().unwrap();
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut request = client.request(method.parse().unwrap(), format!("{}{path}", self.url));
        if let Some(body) = body {
            request = request.body(body.to_string()).header("content-type", "application/vnd.schemaregistry.v1+json");
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "application/vnd.schemaregistry.v1+json", "{path}");
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn register(&self, subject: &str, schema: &str) -> (u16, Value) {
        self.call("POST", &format!("/subjects/{subject}/versions"), Some(json!({"schema": schema}))).await
    }
}

fn record(fields: &str) -> String {
    format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#)
}

const A: &str = r#"{"name":"a","type":"string"}"#;
const OPTIONAL_B: &str = r#"{"name":"b","type":["null","long"],"default":null}"#;

#[tokio::test]
async fn ids_are_the_same_after_a_restart_and_the_same_schema_has_the_same_id() {
    let folder = folder();
    let server = Server::start(folder.path()).await;
    assert_eq!(server.register("one-value", &record(A)).await, (200, json!({"id": 1})));
    assert_eq!(server.register("two-value", &record(OPTIONAL_B)).await, (200, json!({"id": 2})));
    let spaced = r#"{ "name" : "R", "fields":[ {"type":"string", "name":"a"} ], "type":"record" }"#;
    assert_eq!(server.register("three-value", spaced).await, (200, json!({"id": 1})));
    server.stop().await;
    let server = Server::start(folder.path()).await;
    assert_eq!(server.register("two-value", &record(OPTIONAL_B)).await, (200, json!({"id": 2})));
    assert_eq!(server.register("four-value", r#""string""#).await, (200, json!({"id": 3})));
    let (_, found) = server.call("GET", "/schemas/ids/1", None).await;
    assert_eq!(found, json!({"schema": record(A)}));
    server.stop().await;
}

#[tokio::test]
async fn a_default_makes_another_schema() {
    let folder = folder();
    let server = Server::start(folder.path()).await;
    let (_, plain) = server.register("s", &record(A)).await;
    let with_default = record(r#"{"name":"a","type":"string","default":"x"}"#);
    let (status, other) = server.register("s", &with_default).await;
    assert_eq!(status, 200);
    assert_ne!(plain, other, "the default, which compatibility stands on, would be lost");
    server.stop().await;
}

#[tokio::test]
async fn an_incompatible_schema_is_refused_and_told_what_breaks() {
    let folder = folder();
    let server = Server::start(folder.path()).await;
    assert_eq!(server.register("s", &record(A)).await.0, 200);
    assert_eq!(server.register("s", &record(&format!("{A},{OPTIONAL_B}"))).await.0, 200);
    let required = record(&format!(r#"{A},{{"name":"c","type":"long"}}"#));
    let (status, body) = server.register("s", &required).await;
    assert_eq!((status, &body["error_code"]), (409, &json!(409)), "{body}");
    let (status, body) = server.register("s", "{not avro").await;
    assert_eq!((status, &body["error_code"]), (422, &json!(42201)));
    assert_eq!(server.call("GET", "/subjects/s/versions", None).await, (200, json!([1, 2])));
    let (_, verdict) = server
        .call("POST", "/compatibility/subjects/s/versions/1?verbose=True", Some(json!({"schema": required})))
        .await;
    assert_eq!(verdict["is_compatible"], json!(false));
    assert!(verdict["messages"][0].as_str().unwrap().contains("'c'"), "{verdict}");
    server.stop().await;
}

const BACKWARD: &str = "the new schema cannot read what version 1 wrote";
const FORWARD: &str = "version 1 cannot read what the new schema writes";

/// Changes of `{first}` that break one direction and not the other.
const ONE_DIRECTION: [(&str, &str, &str); 4] = [
    // A required field is gained: what was written before has none.
    (A, r#"{"name":"a","type":"string"},{"name":"b","type":"long"}"#, BACKWARD),
    // A required field is taken away: the old reader has nothing in its place.
    (r#"{"name":"a","type":"string"},{"name":"b","type":"long"}"#, A, FORWARD),
    // A long may not fit an int; an int always fits a long.
    (r#"{"name":"n","type":"long"}"#, r#"{"name":"n","type":"int"}"#, BACKWARD),
    (r#"{"name":"n","type":"int"}"#, r#"{"name":"n","type":"long"}"#, FORWARD),
];

#[tokio::test]
async fn each_direction_alone_is_enough_to_be_refused() {
    let folder = folder();
    let server = Server::start(folder.path()).await;
    for (number, (first, second, broken)) in ONE_DIRECTION.into_iter().enumerate() {
        let subject = format!("s{number}");
        assert_eq!(server.register(&subject, &record(first)).await.0, 200);
        let (status, body) = server.register(&subject, &record(second)).await;
        let message = body["message"].as_str().unwrap();
        let other = if broken == BACKWARD { FORWARD } else { BACKWARD };
        assert_eq!((status, &body["error_code"]), (409, &json!(409)), "{second}: {body}");
        assert!(message.contains(broken) && !message.contains(other), "{second}: {message}");
        assert_eq!(server.call("GET", &format!("/subjects/{subject}/versions"), None).await.1, json!([1]));
        // A level of the other direction takes the same change.
        let level = if broken == BACKWARD { "FORWARD_TRANSITIVE" } else { "BACKWARD_TRANSITIVE" };
        server.call("PUT", &format!("/config/{subject}"), Some(json!({"compatibility": level}))).await;
        assert_eq!(server.register(&subject, &record(second)).await.0, 200, "{second}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_change_that_the_last_version_allows_and_the_first_does_not_is_refused() {
    let folder = folder();
    let server = Server::start(folder.path()).await;
    let with = |kind: &str| record(&format!(r#"{A},{{"name":"n","type":"{kind}","default":0}}"#));
    // In between the field is gone, so the second version has no quarrel with either.
    for (number, (first, third, broken)) in
        [("long", "int", BACKWARD), ("int", "long", FORWARD)].into_iter().enumerate()
    {
        let subject = format!("s{number}");
        for schema in [with(first), record(A)] {
            assert_eq!(server.register(&subject, &schema).await.0, 200);
        }
        let path = |version: &str| format!("/compatibility/subjects/{subject}/versions/{version}?verbose=true");
        let body = || Some(json!({"schema": with(third)}));
        assert_eq!(server.call("POST", &path("latest"), body()).await.1["is_compatible"], json!(true));
        assert_eq!(server.call("POST", &path("1"), body()).await.1["is_compatible"], json!(false));
        let (status, refusal) = server.register(&subject, &with(third)).await;
        assert_eq!(status, 409, "{refusal}");
        assert!(refusal["message"].as_str().unwrap().contains(broken), "{refusal}");
        // Without `TRANSITIVE` only the last version is asked.
        server.call("PUT", &format!("/config/{subject}"), Some(json!({"compatibility": "FULL"}))).await;
        assert_eq!(server.register(&subject, &with(third)).await.0, 200);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_union_that_gains_a_branch_is_only_partly_readable_and_refused() {
    let folder = folder();
    let server = Server::start(folder.path()).await;
    let union = |branches: &str| record(&format!(r#"{{"name":"u","type":[{branches}]}}"#));
    assert_eq!(server.register("s", &union(r#""null","long""#)).await.0, 200);
    assert_eq!(server.register("s", &union(r#""null","long","string""#)).await.0, 409);
    server.stop().await;
}

#[tokio::test]
async fn the_paths_of_confluents_clients_answer_as_theirs() {
    let folder = folder();
    let server = Server::start(folder.path()).await;
    server.register("s", &record(A)).await;
    let whole = json!({"subject": "s", "version": 1, "id": 1, "schema": record(A)});
    assert_eq!(server.call("GET", "/subjects", None).await, (200, json!(["s"])));
    for version in ["1", "latest", "-1"] {
        assert_eq!(server.call("GET", &format!("/subjects/s/versions/{version}"), None).await, (200, whole.clone()));
    }
    assert_eq!(server.call("POST", "/subjects/s", Some(json!({"schema": record(A)}))).await, (200, whole));
    assert_eq!(server.call("GET", "/schemas/ids/1/versions", None).await.1, json!([{"subject": "s", "version": 1}]));
    assert_eq!(server.call("GET", "/schemas/ids/1/schema", None).await.1["name"], json!("R"));
    assert_eq!(server.call("GET", "/config", None).await.1, json!({"compatibilityLevel": "FULL_TRANSITIVE"}));
    let set = server.call("PUT", "/config/s", Some(json!({"compatibility": "BACKWARD"}))).await;
    assert_eq!(set, (200, json!({"compatibility": "BACKWARD"})));
    assert_eq!(server.call("GET", "/config/s", None).await.1, json!({"compatibilityLevel": "BACKWARD"}));
    for (method, path, body, status, code) in [
        ("GET", "/subjects/none/versions", None, 404, 40401),
        ("GET", "/subjects/none/versions/latest", None, 404, 40401),
        ("GET", "/subjects/s/versions/9", None, 404, 40402),
        ("GET", "/subjects/s/versions/zero", None, 422, 42202),
        ("GET", "/schemas/ids/9", None, 404, 40403),
        ("GET", "/schemas/ids/none", None, 404, 40403),
        ("POST", "/subjects/s", Some(json!({"schema": record(OPTIONAL_B)})), 404, 40403),
        ("GET", "/config/none", None, 404, 40408),
        ("PUT", "/config", Some(json!({"compatibility": "SOME"})), 422, 42203),
        ("DELETE", "/subjects/s", None, 422, 42205),
        ("DELETE", "/subjects/s/versions/1", None, 422, 42205),
        ("GET", "/nothing", None, 404, 404),
    ] {
        let (found, answer) = server.call(method, path, body).await;
        assert_eq!((found, &answer["error_code"]), (status, &json!(code)), "{method} {path}: {answer}");
        assert!(answer["message"].as_str().is_some_and(|message| !message.is_empty()));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_line_that_was_cut_short_is_forgotten_and_a_damaged_one_stops_the_start() {
    let folder = folder();
    let server = Server::start(folder.path()).await;
    server.register("s", &record(A)).await;
    server.stop().await;
    let file = folder.path().join("registry.jsonl");
    let whole = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{whole}{{\"event\":\"regis")).unwrap();
    let server = Server::start(folder.path()).await;
    assert_eq!(server.register("t", &record(OPTIONAL_B)).await, (200, json!({"id": 2})));
    server.stop().await;
    let whole = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, whole.replacen("registered", "forgotten", 1)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = Options { data: folder.path().to_path_buf() };
    let error = serve(listener, &options, std::future::pending()).await.unwrap_err().to_string();
    assert!(error.contains("line 1 of") && error.contains("restore the file"), "{error}");
}

#[tokio::test]
async fn the_schemas_of_this_build_register_with_our_own_client_and_bad_successors_do_not() {
    let folder = folder();
    let server = Server::start(folder.path()).await;
    let client = helix_schemas::registry::Registry::new(&server.url);
    for subject in &SUBJECTS {
        let ids = client.register_all(subject).await.unwrap();
        assert_eq!(ids.len(), subject.versions.len());
        assert_eq!(ids, client.register_all(subject).await.unwrap());
        // Every version of ours is compatible with every other, whichever came first.
        let backwards: Vec<_> = subject.versions.iter().rev().collect();
        for version in backwards {
            let name = format!("{}-reversed", subject.name());
            client.register(&name, version).await.unwrap();
        }
        for (change, successor) in bad_successors(subject.newest()) {
            let refusal = client.register(&subject.name(), &successor).await.unwrap_err();
            let RegistryError::Refused { status, message, .. } = refusal else { panic!("{change}: {refusal}") };
            assert_eq!(status, 409, "{change}: {message}");
        }
    }
    let (_, subjects) = server.call("GET", "/subjects?subjectPrefix=telephony.", None).await;
    assert_eq!(subjects.as_array().unwrap().len(), SUBJECTS.len() * 2);
    // The client keeps its connections open; a graceful stop would wait for them.
    server.done.abort();
}

/// What somebody may try with one of our schemas, and must not.
fn bad_successors(newest: &str) -> Vec<(&'static str, String)> {
    let change = |alter: fn(&mut Vec<Value>)| {
        let mut schema: Value = serde_json::from_str(newest).unwrap();
        alter(schema["fields"].as_array_mut().unwrap());
        schema.to_string()
    };
    vec![
        ("a required field taken away", change(|fields| drop(fields.remove(0)))),
        ("a required field gained", change(|fields| fields.push(json!({"name": "new", "type": "string"})))),
        ("a field of another type", change(|fields| fields[0]["type"] = json!("long"))),
        ("a field renamed", change(|fields| fields[0]["name"] = json!("renamed"))),
    ]
}
