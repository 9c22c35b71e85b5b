//! What a connection may cost, and how all of them end. Time is only ever awaited as the end of a connection whose limit
//! it is.

use std::{
    convert::Infallible,
    io::ErrorKind,
    net::SocketAddr,
    process::Stdio,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::ConnectInfo,
    routing::{get, post},
};
use helix_kit::http::{Limits, serve};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    sync::{Notify, mpsc, oneshot},
    task::JoinHandle,
};
use tokio_stream::wrappers::ReceiverStream;

/// Short enough to wait for, long enough for a busy machine to answer within.
const SOON: Duration = Duration::from_millis(1000);

/// Nothing here takes this long unless it is broken.
const NEVER: Duration = Duration::from_secs(120);

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

async fn start(router: Router, limits: Limits) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let stopped = async {
        let _said_or_gone = stopped.await;
    };
    Server { address, stop, ended: tokio::spawn(serve(listener, router, limits, stopped)) }
}

/// Answers with the peer's address.
fn peer() -> Router {
    Router::new().route("/", get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }))
}

/// Answers with a stream, once, and gives what fills it.
fn events() -> (mpsc::Sender<Result<Bytes, Infallible>>, Router) {
    let (events, receiver) = mpsc::channel(1);
    let receiver = Arc::new(Mutex::new(Some(receiver)));
    let handler =
        move || async move { Body::from_stream(ReceiverStream::new(receiver.lock().unwrap().take().unwrap())) };
    (events, Router::new().route("/", get(handler)))
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

async fn ask(stream: &mut TcpStream) {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: helix\r\n\r\n").await.unwrap();
}

/// Reads one answer with a length and gives its body.
async fn answer(stream: &mut TcpStream) -> String {
    let mut reader = BufReader::with_capacity(1, stream);
    let (mut line, mut length) = (String::new(), 0);
    reader.read_line(&mut line).await.unwrap();
    assert!(line.starts_with("HTTP/1.1 200"), "{line:?}");
    while line != "\r\n" {
        line.clear();
        assert_ne!(reader.read_line(&mut line).await.unwrap(), 0, "the answer ended in its head");
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await.unwrap();
    String::from_utf8(body).unwrap()
}

/// Waits until the other side has ended the connection.
async fn closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(NEVER, stream.read_to_end(&mut rest));
    // A reset is an end as well.
    let _end = read.await.expect("the connection was not closed");
}

#[tokio::test]
async fn every_request_knows_its_peer() {
    let server = start(peer(), Limits::default()).await;
    let mut client = connect(server.address).await;
    for _ in 0..3 {
        ask(&mut client).await;
        assert_eq!(answer(&mut client).await, client.local_addr().unwrap().to_string());
    }
}

#[tokio::test]
async fn a_client_that_sends_its_head_slowly_is_disconnected() {
    let server = start(peer(), Limits { header_timeout: SOON, ..Limits::default() }).await;
    let begun = Instant::now();
    let (mut read, mut write) = connect(server.address).await.into_split();
    let dripping = tokio::spawn(async move {
        // Each byte comes in time; the whole never does.
        write.write_all(b"GET / HTTP/1.1\r\nHost: helix\r\nX-Slow: ").await?;
        loop {
            tokio::time::sleep(SOON / 10).await;
            write.write_all(b"x").await?;
        }
        #[expect(unreachable_code, reason = "says what the block gives")]
        Ok::<(), std::io::Error>(())
    });
    let mut rest = Vec::new();
    let _end = tokio::time::timeout(NEVER, read.read_to_end(&mut rest)).await.expect("it was not disconnected");
    assert!(begun.elapsed() >= SOON, "disconnected before its time: {:?}", begun.elapsed());
    dripping.abort();
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed_at_first_and_later() {
    let server = start(peer(), Limits { header_timeout: SOON, ..Limits::default() }).await;
    let mut silent = connect(server.address).await;
    closed(&mut silent).await;
    let mut once = connect(server.address).await;
    ask(&mut once).await;
    answer(&mut once).await;
    closed(&mut once).await;
}

#[tokio::test]
async fn a_stream_of_events_outlives_every_limit() {
    let (events, router) = events();
    let limits = Limits { header_timeout: SOON, stall: SOON, body_timeout: SOON, ..Limits::default() };
    let server = start(router, limits).await;
    let mut reader = connect(server.address).await;
    ask(&mut reader).await;
    for round in 0..4 {
        // As long as another connection takes to be closed, nothing is sent on this one.
        closed(&mut connect(server.address).await).await;
        let event = format!("event: {round}\n\n");
        events.send(Ok(event.clone().into())).await.unwrap();
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains(&event) {
            assert_ne!(reader.read_buf(&mut seen).await.unwrap(), 0, "the stream was cut in round {round}");
        }
    }
}

#[tokio::test]
async fn a_client_that_stops_reading_is_disconnected() {
    let (events, router) = events();
    let server = start(router, Limits { stall: SOON, ..Limits::default() }).await;
    let mut client = connect(server.address).await;
    ask(&mut client).await;
    let piece = Bytes::from(vec![b'x'; 1 << 16]);
    let filling = async { while events.send(Ok(piece.clone())).await.is_ok() {} };
    // The body is dropped with its connection: then nobody takes the events any more.
    tokio::time::timeout(NEVER, filling).await.expect("the connection was kept");
    drop(client);
}

#[tokio::test]
async fn a_client_that_reads_slowly_is_served_to_the_end() {
    let (events, router) = events();
    // Each piece is fetched in less than the limit, all of them take far longer.
    let server = start(router, Limits { header_timeout: SOON / 2, stall: SOON * 2, ..Limits::default() }).await;
    let mut client = connect(server.address).await;
    ask(&mut client).await;
    let piece = Bytes::from(vec![b'x'; 1 << 20]);
    let filling = tokio::spawn(async move {
        for _ in 0..32 {
            events.send(Ok(piece.clone())).await.unwrap();
        }
    });
    let mut buffer = vec![0; 4 << 20];
    for _ in 0..8 {
        closed(&mut connect(server.address).await).await;
        client.read_exact(&mut buffer).await.expect("the connection was cut");
    }
    filling.await.unwrap();
}

#[tokio::test]
async fn shutdown_finishes_what_runs_closes_what_is_idle_and_takes_nothing_new() {
    let (running, may_end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let handler = {
        let (running, may_end) = (running.clone(), may_end.clone());
        move |body: Bytes| async move {
            running.notify_one();
            may_end.notified().await;
            format!("took {} bytes", body.len())
        }
    };
    let server =
        start(peer().route("/work", post(handler)), Limits { header_timeout: NEVER, ..Limits::default() }).await;
    let mut idle = connect(server.address).await;
    ask(&mut idle).await;
    answer(&mut idle).await;
    let mut fresh = connect(server.address).await;
    let mut worker = connect(server.address).await;
    worker.write_all(b"POST /work HTTP/1.1\r\nHost: helix\r\nContent-Length: 5\r\n\r\nhello").await.unwrap();
    running.notified().await;

    server.stop.send(()).unwrap();
    closed(&mut idle).await;
    closed(&mut fresh).await;
    // The listener is gone with the loop that held it; until then the system may have taken one more.
    let refused = tokio::time::timeout(NEVER, async {
        loop {
            if let Err(error) = TcpStream::connect(server.address).await {
                break error;
            }
        }
    });
    assert_eq!(refused.await.expect("it still listens").kind(), ErrorKind::ConnectionRefused);
    assert!(!server.ended.is_finished(), "a request still runs");
    may_end.notify_one();
    assert_eq!(answer(&mut worker).await, "took 5 bytes");
    closed(&mut worker).await;
    tokio::time::timeout(NEVER, server.ended).await.expect("it did not end").unwrap();
}

/// Says when it is dropped.
struct Guard(Option<oneshot::Sender<()>>);

impl Drop for Guard {
    fn drop(&mut self) {
        // Nobody waits any more only where the test has failed already.
        let _told = self.0.take().unwrap().send(());
    }
}

#[tokio::test]
async fn shutdown_cuts_what_does_not_end_by_itself() {
    let begun = Arc::new(Notify::new());
    let (gone, mut dropped) = oneshot::channel();
    let guard = Arc::new(Mutex::new(Some(Guard(Some(gone)))));
    let hang = {
        let begun = begun.clone();
        move || async move {
            let _guard = guard.lock().unwrap().take().unwrap();
            begun.notify_one();
            std::future::pending::<&'static str>().await
        }
    };
    let waiting = Arc::new(Notify::new());
    let take = {
        let waiting = waiting.clone();
        move |body: Body| async move {
            waiting.notify_one();
            axum::body::to_bytes(body, 1024).await.map(|_| "taken").unwrap_or("broke off")
        }
    };
    let (_events, router) = events();
    let router = router.route("/hang", get(hang)).route("/take", post(take));
    let limits = Limits { body_timeout: NEVER, header_timeout: NEVER, drain: SOON, ..Limits::default() };
    let server = start(router, limits).await;
    let mut streaming = connect(server.address).await;
    ask(&mut streaming).await;
    let mut head = [0; 8];
    streaming.read_exact(&mut head).await.unwrap();
    let mut hanging = connect(server.address).await;
    hanging.write_all(b"GET /hang HTTP/1.1\r\nHost: helix\r\n\r\n").await.unwrap();
    begun.notified().await;
    let mut silent = connect(server.address).await;
    silent.write_all(b"POST /take HTTP/1.1\r\nHost: helix\r\nContent-Length: 100\r\n\r\n").await.unwrap();
    waiting.notified().await;

    let told = Instant::now();
    server.stop.send(()).unwrap();
    tokio::time::timeout(NEVER, server.ended).await.expect("what comes after serving would never be done").unwrap();
    assert!(told.elapsed() >= SOON, "cut before its time: {:?}", told.elapsed());
    // All of it is gone by then, not only left alone.
    dropped.try_recv().expect("a handler still runs");
    for client in [&mut streaming, &mut hanging, &mut silent] {
        closed(client).await;
    }
}

/// Answers with how many bytes it was sent.
fn count() -> Router {
    Router::new().route("/", post(|body: Bytes| async move { body.len().to_string() }))
}

#[tokio::test]
async fn a_body_that_does_not_come_costs_its_connection() {
    for announced in
        ["Content-Length: 100\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n", "Content-Length: 3\r\n\r\nab"]
    {
        let limits = Limits { connections: 1, header_timeout: NEVER, body_timeout: SOON, ..Limits::default() };
        let server = start(count(), limits).await;
        let begun = Instant::now();
        let mut silent = connect(server.address).await;
        silent.write_all(format!("POST / HTTP/1.1\r\nHost: helix\r\n{announced}").as_bytes()).await.unwrap();
        let mut next = connect(server.address).await;
        next.write_all(b"POST / HTTP/1.1\r\nHost: helix\r\nContent-Length: 2\r\n\r\nhi").await.unwrap();
        let mut said = String::new();
        let read = tokio::time::timeout(NEVER, silent.read_to_string(&mut said));
        read.await.expect("it holds its connection").unwrap();
        assert!(said.starts_with("HTTP/1.1 400"), "{announced:?}: {said:?}");
        assert!(begun.elapsed() >= SOON, "disconnected before its time: {:?}", begun.elapsed());
        assert_eq!(answer(&mut next).await, "2", "the place is free again");
    }
}

#[tokio::test]
async fn a_body_that_nobody_reads_ends_its_connection_with_the_answer() {
    let limits = Limits { header_timeout: NEVER, body_timeout: NEVER, ..Limits::default() };
    let server = start(count(), limits).await;
    let mut silent = connect(server.address).await;
    silent.write_all(b"POST /none HTTP/1.1\r\nHost: helix\r\nContent-Length: 100\r\n\r\n").await.unwrap();
    let mut said = String::new();
    tokio::time::timeout(NEVER, silent.read_to_string(&mut said)).await.expect("it was kept").unwrap();
    assert!(said.starts_with("HTTP/1.1 404"), "{said:?}");
}

/// Sends `body` as pieces of `length` bytes, one every tenth of [`SOON`], and gives what is answered and after how long.
async fn sent_by(address: SocketAddr, body: usize, length: usize) -> (String, Duration) {
    let (mut read, mut write) = connect(address).await.into_split();
    let begun = Instant::now();
    write
        .write_all(format!("POST / HTTP/1.1\r\nHost: helix\r\nContent-Length: {body}\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let sending = tokio::spawn(async move {
        for _ in 0..body / length {
            tokio::time::sleep(SOON / 10).await;
            // Where the other side has ended, what it answered tells.
            if write.write_all(&vec![b'x'; length]).await.is_err() {
                break;
            }
        }
        write
    });
    let mut said = Vec::new();
    let answered = async {
        while !said.windows(4).any(|end| end == b"\r\n\r\n") {
            if read.read_buf(&mut said).await.unwrap_or_default() == 0 {
                break;
            }
        }
    };
    tokio::time::timeout(NEVER, answered).await.expect("no answer");
    sending.abort();
    (String::from_utf8_lossy(&said).into_owned(), begun.elapsed())
}

#[tokio::test]
async fn a_body_that_drips_is_ended_and_one_that_only_takes_long_is_taken() {
    let server = start(count(), Limits { body_timeout: SOON, ..Limits::default() }).await;
    // Each byte comes in time; the whole would take minutes.
    let (said, _) = sent_by(server.address, 10_000, 1).await;
    // A byte that is under way as the connection ends may make it a reset, without the answer.
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 400"), "{said:?}");
    let (said, took) = sent_by(server.address, 40_000, 1_000).await;
    assert!(said.starts_with("HTTP/1.1 200"), "{said:?}");
    assert!(took > SOON * 3, "it did not take long: {took:?}");
}

#[tokio::test]
async fn the_time_that_a_handler_takes_is_not_its_clients() {
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let handler = {
        let (begun, go_on) = (begun.clone(), go_on.clone());
        move |body: Body| async move {
            begun.notify_one();
            go_on.notified().await;
            axum::body::to_bytes(body, usize::MAX).await.unwrap().len().to_string()
        }
    };
    let router = count().route("/late", post(handler));
    let server = start(router, Limits { body_timeout: SOON, ..Limits::default() }).await;
    let mut client = connect(server.address).await;
    client.write_all(b"POST /late HTTP/1.1\r\nHost: helix\r\nContent-Length: 2\r\n\r\n").await.unwrap();
    begun.notified().await;
    // As long as another's body takes to be given up, twice.
    for _ in 0..2 {
        let mut other = connect(server.address).await;
        other.write_all(b"POST / HTTP/1.1\r\nHost: helix\r\nContent-Length: 1\r\n\r\n").await.unwrap();
        closed(&mut other).await;
    }
    go_on.notify_one();
    client.write_all(b"hi").await.unwrap();
    assert_eq!(answer(&mut client).await, "2");
}

#[tokio::test]
async fn a_head_is_bounded_in_bytes_and_in_fields() {
    let server = start(peer(), Limits::default()).await;
    let status = async |fields: String| {
        let mut client = connect(server.address).await;
        let head = format!("GET / HTTP/1.1\r\nHost: helix\r\nConnection: close\r\n{fields}\r\n");
        // Of what is too much the rest may be refused while it is sent.
        let _sent = client.write_all(head.as_bytes()).await;
        let mut status = [0; 12];
        match client.read_exact(&mut status).await {
            Ok(_) => String::from_utf8_lossy(&status).into_owned(),
            Err(error) => error.kind().to_string(),
        }
    };
    let many = |count: usize| (0..count).map(|n| format!("X-{n}: x\r\n")).collect::<String>();
    assert_eq!(status(many(98)).await, "HTTP/1.1 200");
    assert_eq!(status(many(99)).await, "HTTP/1.1 431");
    assert_eq!(status(format!("X-Long: {}\r\n", "x".repeat(60_000))).await, "HTTP/1.1 200");
    // Where not all of it was read, the connection ends by a reset, which may overtake the answer.
    let refused = status(format!("X-Long: {}\r\n", "x".repeat(200_000))).await;
    assert!(["HTTP/1.1 431", "connection reset"].contains(&refused.as_str()), "{refused}");
}

#[tokio::test]
async fn further_connections_wait_until_one_ends() {
    let seen: Arc<Mutex<Vec<SocketAddr>>> = Arc::default();
    let handler = {
        let seen = seen.clone();
        move |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move {
            seen.lock().unwrap().push(peer);
            "taken"
        }
    };
    let server = start(Router::new().route("/", get(handler)), Limits { connections: 2, ..Limits::default() }).await;
    let mut first = connect(server.address).await;
    let mut second = connect(server.address).await;
    for stream in [&mut first, &mut second] {
        ask(stream).await;
        answer(stream).await;
    }
    let mut third = connect(server.address).await;
    ask(&mut third).await;
    // Time enough for a server that would take it: a hundred answers to another.
    for _ in 0..100 {
        ask(&mut first).await;
        answer(&mut first).await;
    }
    assert!(!seen.lock().unwrap().contains(&third.local_addr().unwrap()), "a third connection was served beside two");
    drop(second);
    assert_eq!(answer(&mut third).await, "taken");
}

/// The same test binary again, as a server with a limit of its own on open files. Gives it and its address.
async fn apart(soft: u64, hard: u64, connections: usize, name: &str) -> (Child, SocketAddr, u64) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(APART, format!("{soft} {hard} {connections}"))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    loop {
        let line = lines.next_line().await.unwrap().expect("the server ended before it began");
        if let Some((_, said)) = line.split_once("serving on ") {
            let (address, descriptors) = said.split_once(' ').unwrap();
            return (child, address.parse().unwrap(), descriptors.parse().unwrap());
        }
    }
}

const APART: &str = "HELIX_TEST_APART";

/// Where this process is the server of such a test: serves until it is killed.
async fn serve_apart() {
    let Ok(told) = std::env::var(APART) else { return };
    let told: Vec<u64> = told.split(' ').map(|number| number.parse().unwrap()).collect();
    setrlimit(Resource::Nofile, Rlimit { current: Some(told[0]), maximum: Some(told[1]) }).unwrap();
    let limits = Limits { connections: usize::try_from(told[2]).unwrap(), ..Limits::default() };
    let server = start(peer(), limits).await;
    // An answer shows that it has begun, with what it asks of the system done.
    let mut client = connect(server.address).await;
    ask(&mut client).await;
    answer(&mut client).await;
    println!("\nserving on {} {}", server.address, getrlimit(Resource::Nofile).current.unwrap());
    server.ended.await.unwrap();
}

#[tokio::test]
async fn a_server_out_of_descriptors_goes_on_when_there_are_some_again() {
    serve_apart().await;
    let name = "serve::a_server_out_of_descriptors_goes_on_when_there_are_some_again";
    let (child, address, had) = apart(64, 64, 8192, name).await;
    assert_eq!(had, 64, "it cannot have more than it may");
    let mut many = Vec::new();
    for _ in 0..100 {
        many.push(connect(address).await);
    }
    let open = format!("/proc/{}/fd", child.id().unwrap());
    while std::fs::read_dir(&open).unwrap().count() < 64 {
        tokio::task::yield_now().await;
    }
    let mut last = connect(address).await;
    ask(&mut last).await;
    drop(many);
    let answered = tokio::time::timeout(NEVER, answer(&mut last)).await.expect("it did not go on");
    assert_eq!(answered, last.local_addr().unwrap().to_string());
}

#[tokio::test]
async fn a_server_asks_for_the_descriptors_that_its_connections_need() {
    serve_apart().await;
    let name = "serve::a_server_asks_for_the_descriptors_that_its_connections_need";
    let (_child, _, had) = apart(64, 1024, 500, name).await;
    assert!((500..1024).contains(&had), "it has {had}");
    let (_child, _, had) = apart(64, 200, 500, name).await;
    assert_eq!(had, 200, "all that it may have");
}
