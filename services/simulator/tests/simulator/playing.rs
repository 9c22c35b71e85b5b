//! The player against a small ingest in this process.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use helix_simulator::{Day, Faults, Options, SimulateError, WorkspaceTarget, run_until};

/// What the ingest got and how it is to answer next (empty: 202).
#[derive(Default)]
struct Book {
    got: Vec<(String, String, Vec<u8>)>,
    answers: VecDeque<u16>,
}

type Shared = Arc<Mutex<Book>>;

async fn take(State(book): State<Shared>, headers: HeaderMap, uri: Uri, body: Bytes) -> Response {
    if uri.path() == "/livez" {
        return StatusCode::OK.into_response();
    }
    let mut book = book.lock().unwrap();
    match book.answers.pop_front() {
        None | Some(202) => {}
        Some(status) => {
            return (StatusCode::from_u16(status).unwrap(), [("retry-after", "0")]).into_response();
        }
    }
    let key = headers.get("x-helix-key").map(|key| key.to_str().unwrap().to_owned()).unwrap_or_default();
    book.got.push((uri.path().to_owned(), key, body.to_vec()));
    (StatusCode::ACCEPTED, r#"{"requestId":"r","results":[{"status":"stored"}]}"#).into_response()
}

async fn serve(listener: tokio::net::TcpListener, book: Shared) {
    axum::serve(listener, Router::new().fallback(take).with_state(book)).await.unwrap();
}

async fn ingest() -> (String, Shared) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let book = Shared::default();
    tokio::spawn(serve(listener, Arc::clone(&book)));
    (url, book)
}

fn options(url: &str) -> Options {
    let targets = vec![WorkspaceTarget::demo_ramaiah("key-r"), WorkspaceTarget::demo_global("key-g")];
    let mut options = Options::demo(url, "key-events", targets);
    (options.hours, options.agents, options.calls_per_hour) = (1, 4, 40);
    (options.speed, options.faults, options.quiet) = (0, Faults::none(), true);
    options.start = Some(helix_simulator::Scenario::sample(1, "w").start);
    options
}

fn never() -> std::future::Pending<()> {
    std::future::pending()
}

/// Each workspace's bodies as generated, callbacks with the workspace's path and key.
fn expected(options: &Options) -> BTreeMap<String, Vec<(String, String, Vec<u8>)>> {
    let day = |target: &WorkspaceTarget| {
        let deliveries = Day::generate(&options.scenario(target, options.start.unwrap())).deliveries;
        deliveries
            .into_iter()
            .map(|delivery| {
                let callback = delivery.endpoint == helix_simulator::Endpoint::Callback;
                let key = if callback { &target.webhook_key } else { &options.ingest_key };
                (delivery.endpoint.path(&target.slug), key.clone(), delivery.body)
            })
            .collect()
    };
    options.workspaces.iter().map(|target| (target.slug.clone(), day(target))).collect()
}

/// What arrived of one workspace, in order.
fn of_workspace(book: &Shared, wanted: &[(String, String, Vec<u8>)]) -> Vec<(String, String, Vec<u8>)> {
    let known: std::collections::BTreeSet<_> = wanted.iter().collect();
    book.lock().unwrap().got.iter().filter(|got| known.contains(got)).cloned().collect()
}

#[tokio::test]
async fn a_whole_day_arrives_in_order_per_workspace_with_the_right_keys() {
    let (url, book) = ingest().await;
    let options = options(&url);
    let summary = run_until(options.clone(), never()).await.unwrap();
    let expected = expected(&options);
    for (workspace, wanted) in &expected {
        assert_eq!(&of_workspace(&book, wanted), wanted, "{workspace}");
    }
    let total: usize = expected.values().map(Vec::len).sum();
    assert_eq!((summary.planned, summary.played.sent), (total as u64, total as u64));
    assert_eq!(summary.played.accepted(), total as u64);
    assert_eq!((summary.played.errors, summary.interrupted), (0, false));
}

#[tokio::test]
async fn a_busy_or_failing_gateway_is_tried_again_and_nothing_is_lost_or_reordered() {
    let (url, book) = ingest().await;
    book.lock().unwrap().answers = [429, 503, 202, 502, 504, 503].into();
    let mut options = options(&url);
    options.workspaces.truncate(1);
    let summary = run_until(options.clone(), never()).await.unwrap();
    let wanted = &expected(&options)["ramaiah"];
    assert_eq!(&book.lock().unwrap().got, wanted);
    assert_eq!(summary.played.retries, 5);
    assert_eq!(summary.played.errors, 0);
}

#[tokio::test]
async fn an_ingest_that_restarts_half_way_gets_every_delivery() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let book = Shared::default();
    // Its own runtime, so that killing it closes every connection at once, like a killed process.
    let first = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let std_listener = listener.into_std().unwrap();
    let shared = Arc::clone(&book);
    first.spawn(async move { serve(tokio::net::TcpListener::from_std(std_listener).unwrap(), shared).await });

    let mut options = options(&format!("http://{address}"));
    options.workspaces.truncate(1);
    options.speed = 3_600; // an hour in a second
    let playing = tokio::spawn(run_until(options.clone(), never()));
    while book.lock().unwrap().got.len() < 50 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    first.shutdown_background();
    let again = loop {
        match tokio::net::TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    // One delivery meets somebody who hangs up: only then is there an ingest again.
    drop(again.accept().await.unwrap());
    tokio::spawn(serve(again, Arc::clone(&book)));
    let summary = playing.await.unwrap().unwrap();
    let wanted = &expected(&options)["ramaiah"];
    let mut got = book.lock().unwrap().got.clone();
    // The one that was in flight when the ingest died may have arrived twice.
    got.dedup();
    assert_eq!(&got, wanted);
    assert!(summary.played.retries > 0);
    assert_eq!(summary.played.sent, wanted.len() as u64);
}

/// Bodies of agent events by agent, in order.
fn by_agent(requests: &[(String, String, Vec<u8>)]) -> BTreeMap<String, Vec<Vec<u8>>> {
    let mut agents: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    for (_, _, body) in requests.iter().filter(|(path, _, _)| path.ends_with("/agent-event")) {
        let object: serde_json::Value = serde_json::from_slice(body).unwrap();
        agents.entry(object["data"]["agentId"].to_string()).or_default().push(body.clone());
    }
    agents
}

#[tokio::test]
async fn several_lanes_lose_nothing_and_keep_the_order_of_each_agent() {
    let (url, book) = ingest().await;
    let options = Options { concurrency: 8, ..options(&url) };
    run_until(options.clone(), never()).await.unwrap();
    for (workspace, mut wanted) in expected(&options) {
        let mut got = of_workspace(&book, &wanted);
        assert_eq!(by_agent(&got), by_agent(&wanted), "{workspace}");
        wanted.sort();
        got.sort();
        assert_eq!(got, wanted, "{workspace}");
    }
}

#[tokio::test]
async fn simulated_time_runs_as_many_times_faster_as_asked() {
    let (url, _book) = ingest().await;
    let options = Options { speed: 3_600, ..options(&url) };
    let began = Instant::now();
    let summary = run_until(options, never()).await.unwrap();
    let simulated = (summary.reached - summary.start).num_milliseconds() as u128;
    assert!(began.elapsed().as_millis() >= simulated / 3_600);
}

#[tokio::test]
async fn a_stop_ends_the_run_cleanly_with_what_was_sent() {
    let (url, book) = ingest().await;
    let options = Options { speed: 60, ..options(&url) };
    // Of three requests of two lanes one at least came after the answer to another.
    let some_are_sent = async {
        while book.lock().unwrap().got.len() < 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let summary = run_until(options, some_are_sent).await.unwrap();
    assert!(summary.interrupted);
    assert!(summary.played.sent > 0 && summary.played.sent < summary.planned);
    assert!(book.lock().unwrap().got.len() as u64 >= summary.played.sent);
}

#[tokio::test]
async fn nobody_there_is_exit_code_3_and_a_wrong_key_is_2() {
    let mut nobody = options("http://127.0.0.1:9");
    nobody.connect_patience = Duration::from_millis(300);
    let error = run_until(nobody, never()).await.unwrap_err();
    assert!(matches!(error, SimulateError::Unreachable { .. }));
    assert_eq!(error.exit_code(), 3);

    let (url, book) = ingest().await;
    book.lock().unwrap().answers = [401, 401].into();
    let error = run_until(options(&url), never()).await.unwrap_err();
    assert!(matches!(error, SimulateError::Refused { status: 401, .. }));
    assert_eq!(error.exit_code(), 2);

    let error = run_until(options("ftp://nowhere"), never()).await.unwrap_err();
    assert_eq!(error.exit_code(), 2);
}

#[tokio::test]
async fn agents_and_numbers_are_registered_first_when_there_is_a_key() {
    let (url, book) = ingest().await;
    let mut options = options(&url);
    options.workspaces.truncate(1);
    options.workspaces[0].register_key = Some("key-register".to_owned());
    run_until(options, never()).await.unwrap();
    let (path, key, body) = book.lock().unwrap().got[0].clone();
    assert_eq!((path.as_str(), key.as_str()), ("/api/supervisor/register", "key-register"));
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["agents"], serde_json::json!(["ramaiahadmin", "agent.one", "agent.two", "sim.ramaiah.04"]));
    assert_eq!(body["dids"], serde_json::json!(["918041763400"]));
}
