//! Tokens of the platform's issuer: its keys come by URL, change, and are away at times.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::get,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::Utc;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    stage::{Running, Stage, WORKSPACE, any_key, public_key, recorder},
    support::TestRedis,
};

const ISSUER: &str = "https://issuer.platform.example";
const AUDIENCE: &str = "helix";

/// What the platform's server of keys answers.
type Answer = Box<dyn Fn() -> Response + Send>;

/// The platform's server of keys.
pub struct Platform {
    address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    asked: Arc<AtomicUsize>,
}

impl Platform {
    pub async fn serve(keys: &[Value]) -> Self {
        let answer = Arc::new(Mutex::new(said(StatusCode::OK, json!({ "keys": keys }).to_string())));
        let asked = Arc::<AtomicUsize>::default();
        let (told, counted) = (answer.clone(), asked.clone());
        let handler = move || async move {
            counted.fetch_add(1, Ordering::SeqCst);
            (told.lock().unwrap())()
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/keys", get(handler));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, answer, asked }
    }

    pub fn url(&self) -> String {
        format!("http://{}/keys", self.address)
    }

    pub fn answer(&self, answer: impl Fn() -> Response + Send + 'static) {
        *self.answer.lock().unwrap() = Box::new(answer);
    }

    fn say(&self, status: StatusCode, body: impl Into<String>) {
        *self.answer.lock().unwrap() = said(status, body.into());
    }

    pub fn publish(&self, keys: &[Value]) {
        self.say(StatusCode::OK, json!({ "keys": keys }).to_string());
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub async fn until_asked(&self, times: usize) {
        let begun = Instant::now();
        while self.asked() < times {
            assert!(begun.elapsed() < PATIENCE, "it was asked {} times", self.asked());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn said(status: StatusCode, body: String) -> Answer {
    Box::new(move || (status, body.clone()).into_response())
}

pub fn claims() -> Value {
    let now = Utc::now().timestamp();
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "asha@platform.example", "workspace": WORKSPACE, "role": "supervisor",
        "iat": now, "exp": now + 3600,
    })
}

fn signed(kid: &str, key: &SigningKey, claims: &Value) -> String {
    let head = json!({"alg": "EdDSA", "typ": "JWT", "kid": kid});
    let text = [&head, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    let signature = URL_SAFE_NO_PAD.encode(key.sign(text.as_bytes()).to_bytes());
    format!("{text}.{signature}")
}

/// A sidecar that trusts the platform.
pub struct World {
    _redis: TestRedis,
    stage: Stage,
    running: Running,
    http: reqwest::Client,
}

impl World {
    pub async fn trusting(platform: &Platform, refresh: Duration) -> Self {
        Self::trusting_at(platform.url(), refresh).await
    }

    pub async fn trusting_at(url: String, refresh: Duration) -> Self {
        let redis = TestRedis::start();
        let mut stage = Stage::set(&redis.url()).await;
        stage.config.auth.platform.url = url;
        stage.config.auth.platform.issuer = ISSUER.to_owned();
        stage.config.auth.platform.audience = AUDIENCE.to_owned();
        stage.config.auth.platform.refresh = refresh;
        let running = stage.start(([127, 0, 0, 1], 0).into(), helix_sidecar::Extensions::default()).await;
        Self { _redis: redis, stage, running, http: reqwest::Client::new() }
    }

    pub async fn ask(&self, token: &str) -> (u16, Value) {
        let request = self.http.get(format!("{}/api/workspace", self.running.url)).bearer_auth(token);
        let response = request.send().await.unwrap();
        let (status, retry) = (response.status().as_u16(), response.headers().contains_key("retry-after"));
        assert!(status != 503 || retry, "503 without Retry-After");
        (status, response.json().await.unwrap())
    }

    pub async fn refusal(&self, token: &str) -> (u16, String) {
        let (status, body) = self.ask(token).await;
        (status, body["code"].as_str().unwrap_or_default().to_owned())
    }

    pub fn own_token(&self) -> String {
        self.stage.token_of("someone@example.org", helix_kit::auth::Role::Admin)
    }

    /// Why the keys are not fetched, once that is told.
    pub async fn until_degraded(&self) -> String {
        let begun = Instant::now();
        loop {
            let answer = self.http.get(format!("{}/readyz", self.running.url)).send().await.unwrap();
            let said: Value = answer.json().await.unwrap();
            if let Some(reason) = said["degraded"]["platform keys"].as_str() {
                return reason.to_owned();
            }
            assert!(begun.elapsed() < PATIENCE, "{said}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Nothing here takes this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);
pub const RARELY: Duration = Duration::from_secs(600);
pub const OFTEN: Duration = Duration::from_millis(50);

#[tokio::test]
async fn a_token_of_the_platform_s_issuer_opens_the_api_and_new_keys_are_found_by_asking_once() {
    let (first, second) = (any_key(), any_key());
    let platform = Platform::serve(&[public_key("p1", &first)]).await;
    let world = World::trusting(&platform, RARELY).await;
    // Whether the first fetch has ended or not: whoever comes meanwhile waits for it.
    platform.until_asked(1).await;
    let (status, answer) = world.ask(&signed("p1", &first, &claims())).await;
    assert_eq!((status, &answer["me"]["subject"]), (200, &json!("asha@platform.example")), "{answer}");
    assert_eq!(world.ask(&world.own_token()).await.0, 200);
    assert_eq!(platform.asked(), 1);
    platform.publish(&[public_key("p2", &second)]);
    let unknown = (0..10).map(|_| async { world.ask(&signed("p2", &second, &claims())).await.0 });
    assert_eq!(futures_util::future::join_all(unknown).await, [200; 10]);
    assert_eq!(platform.asked(), 2, "one fetch for all who wait");
    // The old key is gone with the set that had it; neither it nor any other name makes the sidecar ask again so soon.
    for kid in ["p1", "p3", "sidecar-nobody"] {
        assert_eq!(world.refusal(&signed(kid, &first, &claims())).await, (401, "token_invalid".to_owned()), "{kid}");
    }
    assert_eq!(platform.asked(), 2);
}

#[tokio::test]
async fn keys_that_come_in_the_clear_from_another_machine_are_never_asked_for() {
    // Nothing of it is asked: it does not get so far.
    let mut stage = Stage::set("redis://127.0.0.1:9").await;
    stage.config.auth.platform.url = "http://issuer.platform.example/keys".to_owned();
    stage.config.audit.folder = stage.folder.path().join("audit");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let never = std::future::pending::<()>();
    let refused = helix_sidecar::run(stage.config.clone(), WORKSPACE, listener, recorder(), never).await.unwrap_err();
    assert!(refused.to_string().contains("auth.platform.url must be https"), "{refused}");
}

#[tokio::test]
async fn what_the_platform_says_is_held_to_its_issuer_audience_and_this_workspace() {
    let key = any_key();
    let platform = Platform::serve(&[public_key("p1", &key)]).await;
    let world = World::trusting(&platform, RARELY).await;
    platform.until_asked(1).await;
    let changed = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        signed("p1", &key, &claims)
    };
    assert_eq!(world.ask(&changed("aud", json!([AUDIENCE, "other"]))).await.0, 200);
    let own_issuer = world.stage.config.auth.issuer.clone();
    for (name, value) in [
        ("iss", json!("https://another.example")),
        ("iss", json!(own_issuer)),
        ("aud", json!("another")),
        ("aud", Value::Null),
        ("exp", json!(Utc::now().timestamp() - 600)),
        ("role", json!("owner")),
    ] {
        let refused = world.refusal(&changed(name, value.clone())).await;
        assert_eq!(refused, (401, "token_invalid".to_owned()), "{name} {value}");
    }
    let other = world.refusal(&changed("workspace", json!("global"))).await;
    assert_eq!(other, (403, "wrong_workspace".to_owned()));
    assert_eq!(world.refusal(&signed("p1", &any_key(), &claims())).await.0, 401, "another's signature");
}

#[tokio::test]
async fn an_issuer_that_is_away_or_talks_nonsense_takes_nothing_from_anybody() {
    let key = any_key();
    let platform = Platform::serve(&[public_key("p1", &key)]).await;
    let world = World::trusting(&platform, OFTEN).await;
    platform.until_asked(1).await;
    let token = signed("p1", &key, &claims());
    assert_eq!(world.ask(&token).await.0, 200);
    for (status, body) in [
        (StatusCode::INTERNAL_SERVER_ERROR, String::new()),
        (StatusCode::FOUND, String::new()),
        (StatusCode::OK, "<html>".to_owned()),
        (StatusCode::OK, json!({ "keys": [] }).to_string()),
        (StatusCode::OK, format!("{{\"keys\": [], \"padding\": \"{}\"}}", "x".repeat(1024 * 1024))),
    ] {
        platform.say(status, body);
        // The one that is under way may have the old answer; the one after it has not.
        platform.until_asked(platform.asked() + 2).await;
        assert_eq!(world.ask(&token).await.0, 200);
        assert_eq!(world.ask(&world.own_token()).await.0, 200);
    }
    // Nobody can say whether this one is good.
    let unknown = world.refusal(&signed("p2", &key, &claims())).await;
    assert_eq!(unknown, (503, "component_down".to_owned()));
    assert!(world.until_degraded().await.ends_with("the last one holds"));
    platform.publish(&[public_key("p2", &key)]);
    platform.until_asked(platform.asked() + 2).await;
    let begun = Instant::now();
    while world.ask(&signed("p2", &key, &claims())).await.0 != 200 {
        assert!(begun.elapsed() < PATIENCE, "the new set is not trusted");
    }
    assert_eq!(world.refusal(&token).await, (401, "token_invalid".to_owned()), "a key that was taken back");
}

#[tokio::test]
async fn a_sidecar_starts_without_the_issuer_and_lets_its_own_people_in() {
    let key = any_key();
    let platform = Platform::serve(&[public_key("p1", &key)]).await;
    platform.say(StatusCode::SERVICE_UNAVAILABLE, "");
    let world = World::trusting(&platform, OFTEN).await;
    let token = signed("p1", &key, &claims());
    assert_eq!(world.ask(&world.own_token()).await.0, 200);
    assert_eq!(world.refusal(&token).await, (503, "component_down".to_owned()));
    assert!(world.until_degraded().await.ends_with("none of its keys is trusted"));
    assert_eq!(world.refusal("nonsense").await, (401, "token_invalid".to_owned()));
    platform.publish(&[public_key("p1", &key)]);
    let begun = Instant::now();
    while world.ask(&token).await.0 != 200 {
        assert!(begun.elapsed() < PATIENCE, "it was not fetched");
    }
}
