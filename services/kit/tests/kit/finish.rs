//! What every service's answers and figures have in common.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use helix_kit::{
    http::finish,
    problem::Problem,
    telemetry::{self, MetricsHandle},
};
use tower::ServiceExt;

/// The one recorder of this process.
pub fn metrics() -> MetricsHandle {
    static METRICS: OnceLock<MetricsHandle> = OnceLock::new();
    METRICS.get_or_init(|| telemetry::start_metrics("kit-tests").unwrap()).clone()
}

async fn ask(routes: &Router, method: &str, path: &str) -> Response {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    routes.clone().oneshot(request).await.unwrap()
}

#[tokio::test]
async fn what_a_stranger_makes_up_is_no_label() {
    let metrics = metrics();
    let routes = finish(Router::new().route("/calls/{call}", get(|| async { "a call" })), "labels");
    for nth in 0..20 {
        let made_up = format!("AAAA{nth}");
        assert_eq!(ask(&routes, &made_up, "/").await.status(), StatusCode::NOT_FOUND);
        assert_eq!(ask(&routes, &made_up, "/calls/1").await.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(ask(&routes, "GET", &format!("/none/{nth}?x={nth}")).await.status(), StatusCode::NOT_FOUND);
        assert_eq!(ask(&routes, "GET", &format!("/calls/{nth}?x={nth}")).await.status(), StatusCode::OK);
        assert_eq!(ask(&routes, "HEAD", &format!("/calls/{nth}")).await.status(), StatusCode::OK);
    }
    let rendered = metrics.render();
    let counts = rendered.lines().filter_map(|line| line.strip_prefix("helix_http_request_seconds_count"));
    let mut counts: Vec<&str> = counts.filter(|line| line.contains("service=\"labels\"")).collect();
    counts.sort_unstable();
    let expected = [
        r#"{service="labels",route="/calls/{call}",method="GET",status="200"} 20"#,
        r#"{service="labels",route="/calls/{call}",method="HEAD",status="200"} 20"#,
        r#"{service="labels",route="/calls/{call}",method="other",status="405"} 20"#,
        r#"{service="labels",route="none",method="GET",status="404"} 20"#,
        r#"{service="labels",route="none",method="other",status="404"} 20"#,
    ];
    assert_eq!(counts, expected);
}

#[tokio::test]
async fn no_answer_is_kept_unless_its_handler_says_for_how_long() {
    let kept = || async { ([(header::CACHE_CONTROL, "public, max-age=31536000, immutable")], "body").into_response() };
    let routes = Router::new()
        .route("/kept", get(kept))
        .route("/plain", get(|| async { "caller numbers" }))
        .route("/refused", get(|| async { Problem::component_down("the log") }));
    let routes = finish(routes, "kit-tests");
    let table = [
        ("GET", "/kept", 200, "public, max-age=31536000, immutable"),
        ("GET", "/plain", 200, "no-store"),
        ("GET", "/refused", 503, "no-store"),
        ("GET", "/none", 404, "no-store"),
        ("POST", "/kept", 405, "no-store"),
    ];
    for (method, path, status, expected) in table {
        let response = ask(&routes, method, path).await;
        let said = response.headers().get_all(header::CACHE_CONTROL).iter();
        let said: Vec<&str> = said.map(|value| value.to_str().unwrap()).collect();
        assert_eq!((response.status().as_u16(), said), (status, vec![expected]), "{method} {path}");
    }
}

#[test]
fn histograms_are_added_up_also_where_nobody_reads_them() {
    metrics();
    let is_there = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        // A thread that ends meanwhile has no name any more.
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
        names.into_iter().any(|name| name.trim() == "helix-upkeep")
    };
    // A thread takes its name as it begins.
    let begun = Instant::now();
    while !is_there() {
        assert!(begun.elapsed() < Duration::from_secs(120), "nobody adds them up");
        std::thread::yield_now();
    }
}
