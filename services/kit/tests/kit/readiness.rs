//! What `/readyz` answers.

use axum::{body::Body, extract::Request, http::StatusCode};
use helix_kit::http::{Readiness, health_routes};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::finish::metrics;

#[tokio::test]
async fn a_degraded_part_is_told_and_work_still_comes() {
    let readiness = Readiness::default();
    let routes = health_routes(readiness.clone(), metrics());
    let ask = async || -> (StatusCode, Value) {
        let request = Request::get("/readyz").body(Body::empty()).unwrap();
        let response = routes.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    };
    let nothing = json!({"ready": true, "draining": false, "notReady": {}, "degraded": {}, "details": {}});
    assert_eq!(ask().await, (StatusCode::OK, nothing));

    readiness.not_ready("log", "it does not answer");
    readiness.degraded("spool", "over half");
    let (status, body) = ask().await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        (&body["notReady"], &body["degraded"]),
        (&json!({"log": "it does not answer"}), &json!({"spool": "over half"}))
    );

    // A part is in one state: what was last said of it.
    readiness.degraded("log", "slow");
    readiness.detail("spool", json!({"records": 7}));
    let (status, body) = ask().await;
    assert_eq!((status, &body["ready"], &body["notReady"]), (StatusCode::OK, &json!(true), &json!({})));
    assert_eq!(body["degraded"], json!({"log": "slow", "spool": "over half"}));
    assert_eq!(body["details"], json!({"spool": {"records": 7}}));

    readiness.not_ready("spool", "full");
    assert_eq!(ask().await.1["degraded"], json!({"log": "slow"}));
    readiness.ready("spool");
    readiness.ready("log");
    let (status, body) = ask().await;
    assert_eq!((status, &body["degraded"], &body["notReady"]), (StatusCode::OK, &json!({}), &json!({})));
    // A detail is no state: it stays until another is given.
    assert_eq!(body["details"], json!({"spool": {"records": 7}}));

    readiness.drain();
    let (status, body) = ask().await;
    assert_eq!((status, &body["draining"]), (StatusCode::SERVICE_UNAVAILABLE, &json!(true)));
}
