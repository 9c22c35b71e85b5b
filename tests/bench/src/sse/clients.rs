//! Thousands of clients of one board in a few threads: plain sockets, and of each frame no more than its id is looked at.

use std::{
    cell::RefCell,
    io::ErrorKind,
    net::SocketAddr,
    rc::Rc,
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    sync::oneshot,
    task::LocalSet,
    time::{timeout, timeout_at},
};

use super::stream::{Event, Stream, request};
use crate::{
    pace::{Pace, Schedule},
    sample::{Latencies, Sample},
};

/// With the sidecar's threads more than two would only take turns on a small machine.
const THREADS: usize = 2;
/// One buffer a thread: what is read is looked at before the next read.
const BUFFER: usize = 256 * 1024;
/// How long a snapshot may take, and frames after the last delta was due.
const PATIENCE: Duration = Duration::from_secs(30);
/// Descriptors besides those of the clients.
const OTHER_DESCRIPTORS: u64 = 256;

/// Clients that are connected and have their snapshot.
#[derive(Debug)]
pub(super) struct Clients {
    threads: Vec<(oneshot::Sender<Schedule>, JoinHandle<Result<Latencies>>)>,
}

impl Clients {
    /// Connects, one client after the other in each thread, with the tokens in turn. Blocks.
    pub(super) fn connect(sidecar: SocketAddr, tokens: &[String], count: usize, pace: Pace) -> Result<Self> {
        make_room(count)?;
        let (connected, all_connected) = mpsc::channel();
        let mut threads = Vec::new();
        for thread in 0..THREADS {
            let own = count / THREADS + usize::from(thread < count % THREADS);
            let (begin, begun) = oneshot::channel();
            let requests: Vec<Vec<u8>> = tokens.iter().map(|token| request(token)).collect();
            let connected = connected.clone();
            let run = move || -> Result<Latencies> {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(LocalSet::new().run_until(async {
                    let (outcome, clients) = match connect(sidecar, &requests, own).await {
                        Ok(clients) => (Ok(()), clients),
                        Err(error) => (Err(error), Vec::new()),
                    };
                    connected.send(outcome).context("nobody waits for the clients")?;
                    drop(connected);
                    read_all(clients, begun.await.context("nothing begins")?, pace).await
                }))
            };
            threads.push((begin, thread::spawn(run)));
        }
        drop(connected);
        for _ in 0..THREADS {
            all_connected.recv().context("a thread of the clients died")??;
        }
        Ok(Self { threads })
    }

    /// Begins.
    pub(super) fn begin(self, schedule: Schedule) -> Reading {
        let threads = self.threads.into_iter().map(|(begin, thread)| {
            // A thread that has ended says why when it is joined.
            let _told = begin.send(schedule);
            thread
        });
        Reading(threads.collect())
    }
}

/// Clients that read.
#[derive(Debug)]
pub(super) struct Reading(Vec<JoinHandle<Result<Latencies>>>);

impl Reading {
    /// Waits until every client has every delta.
    pub(super) fn finish(self) -> Result<Sample> {
        let mut latencies = Latencies::new()?;
        for thread in self.0 {
            latencies.add(&thread.join().map_err(|_| anyhow!("a thread of the clients died"))??)?;
        }
        Ok(latencies.sample(Duration::ZERO))
    }
}

struct Client {
    socket: TcpStream,
    stream: Stream,
    /// Of the snapshot.
    version: u64,
    /// Deltas after it.
    seen: u64,
}

async fn connect(sidecar: SocketAddr, requests: &[Vec<u8>], count: usize) -> Result<Vec<Client>> {
    let mut buffer = vec![0; BUFFER];
    let mut clients = Vec::with_capacity(count);
    for (number, request) in (1..=count).zip(requests.iter().cycle()) {
        let connected = timeout(PATIENCE, Client::connect(sidecar, request, &mut buffer)).await;
        clients.push(connected.context("no snapshot in time")?.with_context(|| format!("client {number} of {count}"))?);
    }
    Ok(clients)
}

impl Client {
    async fn connect(sidecar: SocketAddr, request: &[u8], buffer: &mut [u8]) -> Result<Self> {
        let mut socket = TcpStream::connect(sidecar).await?;
        socket.set_nodelay(true)?;
        socket.write_all(request).await?;
        let mut client = Self { socket, stream: Stream::new(), version: 0, seen: 0 };
        let mut snapshot = None;
        while snapshot.is_none() {
            client.socket.readable().await?;
            client.read(buffer, |_, event| {
                if event.name == "snapshot" {
                    snapshot = Some(event.version()?);
                }
                Ok(())
            })?;
        }
        client.version = snapshot.unwrap_or_default();
        Ok(client)
    }

    /// Reads what is there; tells each event with the moment at which it was read.
    fn read(&mut self, buffer: &mut [u8], mut told: impl FnMut(Instant, Event<'_>) -> Result<()>) -> Result<()> {
        let length = match self.socket.try_read(buffer) {
            Ok(0) => bail!("the sidecar ended the stream"),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let now = Instant::now();
        self.stream.feed(buffer.get(..length).unwrap_or_default(), |event| told(now, event))
    }
}

/// What the clients of a thread share.
struct Shared {
    pace: Pace,
    schedule: Schedule,
    latencies: RefCell<Latencies>,
    buffer: RefCell<Vec<u8>>,
}

async fn read_all(clients: Vec<Client>, schedule: Schedule, pace: Pace) -> Result<Latencies> {
    let shared = Shared { pace, schedule, latencies: RefCell::new(Latencies::new()?), buffer: vec![0; BUFFER].into() };
    let shared = Rc::new(shared);
    let tasks: Vec<_> =
        clients.into_iter().map(|client| tokio::task::spawn_local(shared.clone().follow(client))).collect();
    for task in tasks {
        task.await.context("a client died")??;
    }
    let shared = Rc::into_inner(shared).context("a client still reads")?;
    Ok(shared.latencies.into_inner())
}

impl Shared {
    async fn follow(self: Rc<Self>, mut client: Client) -> Result<()> {
        let (_, end) = self.schedule.window();
        let followed = timeout_at((end + PATIENCE).into(), self.read_all(&mut client)).await;
        followed.with_context(|| format!("a client has {} of {} deltas", client.seen, self.pace.count()))?
    }

    /// Reads until a client has every delta, each of them once and in order.
    async fn read_all(&self, client: &mut Client) -> Result<()> {
        let (snapshot, mut seen) = (client.version, 0);
        while seen < self.pace.count() {
            client.socket.readable().await?;
            let mut buffer = self.buffer.borrow_mut();
            client.read(&mut buffer, |now, event| {
                match event.name {
                    "delta" => {}
                    "snapshot" => bail!("the board was begun anew"),
                    _ => return Ok(()),
                }
                let (version, expected) = (event.version()?, snapshot + seen + 1);
                if version != expected {
                    bail!("a client was sent version {version} where {expected} is next");
                }
                if seen >= self.pace.unmeasured() {
                    let took = now.saturating_duration_since(self.schedule.due(seen));
                    self.latencies.borrow_mut().record(Duration::ZERO, took);
                }
                seen += 1;
                Ok(())
            })?;
            client.seen = seen;
        }
        Ok(())
    }
}

/// Systems give a process few descriptors (often 1,024) until it asks for those that it may have.
fn make_room(clients: usize) -> Result<()> {
    let wanted = clients as u64 + OTHER_DESCRIPTORS;
    let now = getrlimit(Resource::Nofile);
    if now.current.is_some_and(|current| current < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: now.maximum })
            .with_context(|| format!("{clients} clients need {wanted} open files (ulimit -n)"))?;
    }
    Ok(())
}
