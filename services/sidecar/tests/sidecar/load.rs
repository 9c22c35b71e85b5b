//! What own pages of agents cost: `cargo test -p helix-sidecar -- --ignored --nocapture load`.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use helix_schemas::fact::AgentState;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::World;

const AGENTS: usize = 500;
const DELTAS: usize = 1000;
/// 100 deltas a second.
const EVERY: Duration = Duration::from_millis(10);

/// What reached the clients.
#[derive(Default)]
struct Told {
    joined: AtomicUsize,
    deltas: AtomicUsize,
    bytes: AtomicUsize,
    /// How long after the fact was handed to the projector the agent's own card came.
    delays: Mutex<Vec<Duration>>,
}

/// An agent's page, which reads what it is sent and looks for its own card.
async fn watch(world: &World, number: usize, sent: Arc<Vec<Mutex<Instant>>>, told: Arc<Told>) {
    let token = world.stage.token_of_agent(&agent(number));
    let mut line = tokio::net::TcpStream::connect(world.running.address).await.unwrap();
    let request =
        format!("GET /api/supervisor/events HTTP/1.1\r\nhost: sidecar\r\nauthorization: Bearer {token}\r\n\r\n");
    line.write_all(request.as_bytes()).await.unwrap();
    tokio::spawn(async move {
        let own = format!("agents/{}\"", agent(number));
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count) = line.read(&mut buffer).await {
            let text = String::from_utf8_lossy(&buffer[..count]);
            told.joined.fetch_add(text.matches("event: snapshot").count(), Ordering::Relaxed);
            told.deltas.fetch_add(text.matches("event: delta").count(), Ordering::Relaxed);
            told.bytes.fetch_add(count, Ordering::Relaxed);
            if text.contains(&own) {
                let delay = sent[number].lock().unwrap().elapsed();
                told.delays.lock().unwrap().push(delay);
            }
            if count == 0 {
                return;
            }
        }
    });
}

fn agent(number: usize) -> String {
    format!("agent.{number}")
}

/// Time on a processor that this process has taken: the sidecar, the fold and the clients.
fn used() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

async fn run(watching: usize) {
    let mut world = World::start().await;
    let facts = world.facts.clone();
    let all: Vec<_> = (0..AGENTS).map(|number| facts.state(&agent(number), 1, AgentState::Ready, None)).collect();
    world.feeder.feed(&all).await.unwrap();
    let (told, sent) = (Arc::<Told>::default(), (0..AGENTS).map(|_| Mutex::new(Instant::now())).collect());
    let sent = Arc::<Vec<Mutex<Instant>>>::new(sent);
    for number in 0..watching {
        watch(&world, number, sent.clone(), told.clone()).await;
    }
    while told.joined.load(Ordering::Relaxed) < watching {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    told.delays.lock().unwrap().clear();
    let (before, begun) = (used(), Instant::now());
    let (deltas, bytes) = (told.deltas.load(Ordering::Relaxed), told.bytes.load(Ordering::Relaxed));
    let mut ticks = tokio::time::interval(EVERY);
    for round in 0..DELTAS {
        ticks.tick().await;
        let (number, second) = (round % AGENTS, 2 + round as i64 / 100);
        let state = if (round / AGENTS).is_multiple_of(2) { AgentState::Paused } else { AgentState::Ready };
        *sent[number].lock().unwrap() = Instant::now();
        world.feeder.feed(&[facts.state(&agent(number), second, state, None)]).await.unwrap();
    }
    let took = begun.elapsed();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut delays = std::mem::take(&mut *told.delays.lock().unwrap());
    delays.sort();
    let at = |hundredth: usize| delays.get(delays.len() * hundredth / 100).copied().unwrap_or_default();
    println!(
        "{watching} agents watch: {DELTAS} deltas in {took:.1?}, {:.2?} of processor, {} frames and {} KiB to clients, \
         own cards {} after p50 {:.1?} p99 {:.1?}",
        used() - before,
        told.deltas.load(Ordering::Relaxed) - deltas,
        (told.bytes.load(Ordering::Relaxed) - bytes) / 1024,
        delays.len(),
        at(50),
        at(99),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn agents_who_watch_their_own_page() {
    for watching in [0, 1, AGENTS, 0, AGENTS] {
        run(watching).await;
    }
}
