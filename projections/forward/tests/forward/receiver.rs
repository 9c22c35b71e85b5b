//! A receiver over real HTTP that does what a script says, and writes down what it saw.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use axum::body::{Body, to_bytes};
use hyper::{Request, Response, body::Incoming, header::HeaderMap, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::stage::PATIENCE;

/// What the receiver does with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Status(u16),
    /// With `Retry-After`, in seconds.
    Later(u16, u64),
    /// Never answers; ends when the client has gone.
    Hang,
    /// Closes the connection without a word.
    Close,
}

/// One request.
#[derive(Debug, Clone)]
pub struct Seen {
    pub at: Instant,
    pub path: String,
    pub headers: HeaderMap,
    pub body: String,
    pub answer: Answer,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub fn id(&self) -> &str {
        self.header("x-helix-fact-id").expect("every request says which fact it is")
    }

    /// The client was told that this is behind it.
    pub fn settled(&self) -> bool {
        match self.answer {
            Answer::Status(status) => matches!(status, 200..=299 | 400 | 404..=406 | 409..=422),
            Answer::Later(..) | Answer::Hang | Answer::Close => false,
        }
    }
}

type Script = Box<dyn FnMut(&str) -> Answer + Send>;

struct State {
    script: Script,
    seen: Vec<Seen>,
}

struct Shared {
    state: Mutex<State>,
    changed: watch::Sender<usize>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The receiver; what it saw outlives its downtimes.
pub struct Receiver {
    shared: Arc<Shared>,
    address: SocketAddr,
    serving: Option<JoinHandle<()>>,
}

impl Receiver {
    /// Up, and answers as the script says; it is given the body of each request.
    pub async fn start(script: impl FnMut(&str) -> Answer + Send + 'static) -> Self {
        let state = State { script: Box::new(script), seen: Vec::new() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: watch::Sender::new(0) });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let serving = Some(tokio::spawn(serve(listener, shared.clone())));
        Self { shared, address, serving }
    }

    /// Answers as scripted until the script ends, 200 from then on.
    pub async fn scripted(answers: impl IntoIterator<Item = Answer>) -> Self {
        let mut answers: std::collections::VecDeque<Answer> = answers.into_iter().collect();
        Self::start(move |_| answers.pop_front().unwrap_or(Answer::Status(200))).await
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on it answers by another script.
    pub fn instead(&self, script: impl FnMut(&str) -> Answer + Send + 'static) {
        self.shared.state().script = Box::new(script);
    }

    /// Nothing listens any more, and every connection is cut.
    pub async fn down(&mut self) {
        let serving = self.serving.take().expect("it is up");
        serving.abort();
        assert!(serving.await.is_err_and(|error| error.is_cancelled()), "it served until now");
    }

    /// Listens again, on the port it had.
    pub async fn up(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("its own port");
        self.serving = Some(tokio::spawn(serve(listener, self.shared.clone())));
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.shared.state().seen.clone()
    }

    /// Waits until what was seen satisfies a condition.
    pub async fn until(&self, what: &str, done: impl Fn(&[Seen]) -> bool) {
        let mut changed = self.shared.changed.subscribe();
        let waiting = async {
            while !done(&self.shared.state().seen) {
                changed.changed().await.expect("the sender is held here");
            }
        };
        let outcome = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(outcome.is_ok(), "waited in vain until {what}; {} requests were seen", self.seen().len());
    }

    /// Waits until so many events were settled.
    pub async fn settled(&self, count: usize) {
        self.until(&format!("{count} events are settled"), |seen| {
            seen.iter().filter(|seen| seen.settled()).count() >= count
        })
        .await;
    }

    /// The law: of each key, every request is for the first event that is not settled yet. So nothing was overtaken,
    /// nothing skipped, nothing sent again that was settled. `expected`: ids by key, in order; all of them settled.
    pub fn check(&self, expected: &BTreeMap<String, Vec<String>>) {
        let key_of: BTreeMap<&str, &str> =
            expected.iter().flat_map(|(key, ids)| ids.iter().map(|id| (id.as_str(), key.as_str()))).collect();
        let mut next: BTreeMap<&str, usize> = expected.keys().map(|key| (key.as_str(), 0)).collect();
        for (number, seen) in self.seen().iter().enumerate() {
            let key = *key_of.get(seen.id()).expect("nothing else is delivered");
            let at = next.get_mut(key).expect("every key is there");
            let due = expected[key].get(*at).map(String::as_str);
            assert_eq!(due, Some(seen.id()), "request {number} of {key}, which has {at} behind it");
            *at += usize::from(seen.settled());
        }
        for (key, ids) in expected {
            assert_eq!(next[key.as_str()], ids.len(), "events of {key} that were settled");
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    // Connections end with this task: a set that is dropped aborts what is in it.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let shared = shared.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| answer(request, shared.clone()));
            // A client that went away, or an answer that was an error on purpose.
            let _ended = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> io::Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    assert_eq!(parts.method, "POST");
    let body = to_bytes(Body::new(body), usize::MAX).await.map_err(io::Error::other)?;
    let body = String::from_utf8_lossy(&body).into_owned();
    let answer = {
        let mut state = shared.state();
        let answer = (state.script)(&body);
        let path = parts.uri.path().to_owned();
        state.seen.push(Seen { at: Instant::now(), path, headers: parts.headers, body, answer });
        answer
    };
    shared.changed.send_modify(|count| *count += 1);
    let response = Response::builder();
    match answer {
        Answer::Status(status) => response.status(status).body("{\"ok\":true}".into()),
        Answer::Later(status, seconds) => response.status(status).header("retry-after", seconds).body(Body::empty()),
        Answer::Hang => std::future::pending().await,
        Answer::Close => return Err(io::Error::other("closed on purpose")),
    }
    .map_err(io::Error::other)
}
