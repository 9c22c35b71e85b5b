//! A client of the event stream, and everything a test of it needs running.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use helix_fold::board::visible::{Change, Visible};
use helix_kit::auth::Role;
use helix_runtime::{Lag, Store};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::{
    stage::{Running, Stage, WORKSPACE},
    support::{Facts, Feeder, Log, TestRedis, store},
};

/// A Redis, a projector, a sidecar.
pub struct World {
    pub redis: TestRedis,
    pub stage: Stage,
    pub feeder: Feeder,
    pub running: Running,
    pub facts: Facts,
    pub http: reqwest::Client,
}

impl World {
    pub async fn start() -> Self {
        let redis = TestRedis::start();
        let stage = Stage::set(&redis.url()).await;
        let mut feeder = Feeder::acquire(store(&redis.url(), WORKSPACE), Log::default()).await;
        feeder.store.beat(Some(Lag::default())).await.unwrap();
        let running = stage.start(([127, 0, 0, 1], 0).into(), helix_sidecar::Extensions::default()).await;
        let world = Self { redis, stage, feeder, running, facts: Facts::of(WORKSPACE), http: reqwest::Client::new() };
        world.until_ready().await;
        world
    }

    pub async fn until_ready(&self) {
        for _ in 0..1200 {
            let ready = self.http.get(self.url("/readyz")).send().await;
            if ready.is_ok_and(|response| response.status() == 200) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the sidecar did not become ready");
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.running.url)
    }

    pub async fn get(&self, path: &str, token: &str) -> reqwest::Response {
        self.http.get(self.url(path)).bearer_auth(token).send().await.unwrap()
    }

    pub fn supervisor(&self) -> String {
        self.stage.token(WORKSPACE, Role::Supervisor, None)
    }

    pub async fn events(&self, token: &str, last: Option<&str>) -> Events {
        let mut request = self.http.get(self.url("/api/supervisor/events")).bearer_auth(token);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
        Events { stream: response.bytes_stream().boxed(), rest: String::new() }
    }
}

/// What a busy machine takes from this runtime: by how much it was later than asked, in all. What must be done within a time in
/// a sidecar that runs here is given this on top.
pub struct Lateness {
    late: Arc<AtomicU64>,
    ticking: JoinHandle<()>,
}

impl Lateness {
    pub fn watch() -> Self {
        let late = Arc::<AtomicU64>::default();
        let told = late.clone();
        let ticking = tokio::spawn(async move {
            const EVERY: Duration = Duration::from_millis(20);
            loop {
                let asked = Instant::now();
                tokio::time::sleep(EVERY).await;
                let over = asked.elapsed().saturating_sub(EVERY);
                told.fetch_add(u64::try_from(over.as_micros()).unwrap(), Ordering::Relaxed);
            }
        });
        Self { late, ticking }
    }

    pub fn so_far(&self) -> Duration {
        Duration::from_micros(self.late.load(Ordering::Relaxed))
    }
}

impl Drop for Lateness {
    fn drop(&mut self) {
        self.ticking.abort();
    }
}

/// One event.
#[derive(Debug)]
pub struct Event {
    pub id: String,
    pub name: String,
    pub data: Value,
}

/// A client's end of the stream.
pub struct Events {
    stream: futures_util::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    rest: String,
}

impl Events {
    /// The next event; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some(end) = self.rest.find("\n\n") {
                let block: String = self.rest.drain(..end + 2).collect();
                let field = |name: &str| {
                    let line = block.lines().find_map(|line| line.strip_prefix(name));
                    line.map(|value| value.trim().to_owned())
                };
                if let Some(data) = field("data:") {
                    let data = serde_json::from_str(&data).unwrap();
                    return Some(Event { id: field("id:").unwrap(), name: field("event:").unwrap(), data });
                }
            }
            let piece =
                tokio::time::timeout(Duration::from_secs(60), self.stream.next()).await.expect("the stream is silent");
            self.rest.push_str(std::str::from_utf8(&piece?.ok()?).unwrap());
        }
    }

    pub async fn next_named(&mut self, name: &str) -> Event {
        loop {
            let event = self.next().await.expect("the stream ended");
            if event.name == name {
                return event;
            }
        }
    }
}

/// A copy as the page keeps one: from a snapshot, then delta by delta, its root compared each time.
pub struct Copy(pub Visible);

impl Copy {
    pub fn of(board: &Value) -> Self {
        let mut copy = Self(Visible::default());
        for (collection, id) in
            [("agents", "agentId"), ("calls", "callId"), ("waiting", "callId"), ("producers", "producer")]
        {
            for value in board[collection].as_array().unwrap() {
                copy.set(&format!("{collection}/{}", value[id].as_str().unwrap()), value);
            }
        }
        for path in ["today", "openMissedCalls"] {
            copy.set(path, &board[path]);
        }
        for name in ["occurredAt", "receivedAt"] {
            copy.set(&format!("watermark/{name}"), &board["watermark"][name]);
        }
        assert_eq!(copy.0.root().to_string(), board["root"].as_str().unwrap(), "the snapshot's root");
        copy
    }

    /// `Value` sorts members; the board's types bring them back into the contract's order.
    fn set(&mut self, path: &str, value: &Value) {
        use helix_fold::board::document::{AgentCard, CallCard, ProducerCard, Today, WaitingCard};
        let of = |value: &Value| value.clone();
        if value.is_null() {
            return;
        }
        match path.split('/').next().unwrap() {
            "agents" => self.0.set(path, &serde_json::from_value::<AgentCard>(of(value)).unwrap()),
            "calls" => self.0.set(path, &serde_json::from_value::<CallCard>(of(value)).unwrap()),
            "waiting" => self.0.set(path, &serde_json::from_value::<WaitingCard>(of(value)).unwrap()),
            "producers" => self.0.set(path, &serde_json::from_value::<ProducerCard>(of(value)).unwrap()),
            "today" => self.0.set(path, &serde_json::from_value::<Today>(of(value)).unwrap()),
            _ => self.0.set(path, value),
        };
    }

    pub fn apply(&mut self, delta: &Value) {
        for change in delta["changes"].as_array().unwrap() {
            let path = change["path"].as_str().unwrap();
            match change["op"].as_str().unwrap() {
                "set" => self.set(path, &change["value"]),
                "remove" => drop(self.0.apply(&Change::remove(path))),
                other => panic!("op {other}"),
            }
        }
        assert_eq!(self.0.root().to_string(), delta["hash"].as_str().unwrap(), "the delta's hash");
    }
}
