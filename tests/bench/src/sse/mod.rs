//! The live board as a page sees it: how long after a webhook a frame shows it, against a record that only crosses the
//! log, and one board for thousands of clients (design.md section 16).
//!
//! | module | decides |
//! |---|---|
//! | [`services`] | which processes run |
//! | [`lanes`] | what is posted, and by what it is known again on the board |
//! | [`watch`], [`pipe`] | webhook to frame, and its floor |
//! | [`deltas`], [`clients`] | one board for thousands: its deltas, its clients |
//! | [`stream`] | server-sent events |

mod clients;
mod deltas;
mod lanes;
mod pipe;
mod services;
mod stream;
mod watch;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use tokio::{
    runtime::Handle,
    sync::Mutex,
    task::spawn_blocking,
    time::{Instant, sleep, sleep_until},
};

use self::{
    clients::Clients,
    deltas::Deltas,
    lanes::Lanes,
    services::{SHARED, Service, Services, WATCHED, resident},
    watch::Watched,
};
use crate::{
    cpu,
    environment::Environment,
    figures::{self, Figure, Series, Target},
    frames,
    pace::Pace,
    records,
    sample::Sample,
    stack,
};

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Measured seconds of each run.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Seconds before them.
    #[arg(long, default_value_t = 5)]
    warm_up: u64,
    /// Runs of each floor and of the subjects, in turn.
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Webhooks a second.
    #[arg(long, default_value_t = 500)]
    rate: u64,
    /// Webhooks a second on an idle machine.
    #[arg(long, default_value_t = 5)]
    idle_rate: u64,
    /// Keep-alive connections of the generator.
    #[arg(long, default_value_t = 64)]
    connections: u64,
    /// Clients that share a board.
    #[arg(long, default_value_t = 2_000)]
    clients: usize,
    /// Deltas a second of that board.
    #[arg(long, default_value_t = 100)]
    deltas: u64,
    /// The results, to which these are appended.
    #[arg(long)]
    out: PathBuf,
    /// The binary under test [default: beside this one].
    #[arg(long)]
    helix: Option<PathBuf>,
}

/// The warm-up: the broker's compiler and every cache come to rest, and enough records for the floor are written.
const FIRST_SECONDS: u64 = 10;
/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// Measures, and appends the results; Ctrl-C ends it and leaves nothing running.
pub(crate) fn run(options: &Options) -> Result<()> {
    let rates = [options.rate, options.idle_rate, options.deltas, options.connections];
    if options.seconds == 0 || options.runs == 0 || options.clients == 0 || rates.contains(&0) {
        bail!("seconds, runs, rates, connections and clients are at least 1");
    }
    let own = std::env::current_exe().context("this program's path")?;
    let helix = options.helix.clone().unwrap_or_else(|| own.with_file_name("helix"));
    let folder = std::path::absolute(options.out.parent().unwrap_or(Path::new(".")))?;
    std::fs::create_dir_all(&folder)?;
    let home = folder.join(format!("home-{}", std::process::id()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let done = runtime.block_on(async {
        let measured = tokio::select! {
            measured = measure(options, &helix, &home) => measured,
            _ = tokio::signal::ctrl_c() => Err(anyhow!("interrupted")),
        };
        match measured {
            Ok((figures, environment)) => {
                stack::remove(&helix, &home).await?;
                figures::append(&options.out, &figures, &environment, options.seconds)?;
                println!("\n{}\n{}", figures::table(&figures, &environment), options.out.display());
                Ok(())
            }
            Err(error) => {
                stack::end(&helix, &home).await?;
                Err(error.context(format!("nothing was measured; the logs are in {}", home.display())))
            }
        }
    });
    // Blocking work that an interruption left behind is not waited for.
    runtime.shutdown_background();
    done
}

fn say(line: &str) {
    eprintln!("bench: {line}");
}

/// One run at one rate of webhooks.
struct Round {
    pipe: Sample,
    watched: Watched,
}

/// One run of a shared board: alone with one client, then with all.
struct Shared {
    one: Sample,
    redis: Sample,
    all: Sample,
    /// KiB.
    memory_per_client: f64,
    /// Of the sidecar, while all are sent every delta.
    cpu: Duration,
}

struct Bench<'a> {
    options: &'a Options,
    services: &'a Services,
}

async fn measure(options: &Options, helix: &Path, home: &Path) -> Result<(Vec<Figure>, Environment)> {
    say("starting a stack");
    let services = Services::start(helix, home).await?;
    let environment = Environment::observe(helix, services.kafka().await);
    let bench = Bench { options, services: &services };
    let mut figures = bench.webhooks().await.context("webhook to frame")?;
    figures.extend(bench.shared().await.context("one board for many")?);
    Ok((figures, environment))
}

impl Bench<'_> {
    const fn pace(&self, rate: u64) -> Pace {
        Pace { rate, warm_up: self.options.warm_up, seconds: self.options.seconds }
    }

    async fn webhooks(&self) -> Result<Vec<Figure>> {
        let live = self.services.live().await?;
        let sidecar = self.services.sidecar(WATCHED).await?;
        let mut lanes = Lanes::new(self.services.config(), WATCHED)?;
        let Options { rate, idle_rate, runs, .. } = *self.options;
        say(&format!("warming up, {rate}/s for {FIRST_SECONDS} s"));
        self.watch(&mut lanes, Pace { rate, warm_up: 0, seconds: FIRST_SECONDS }).await?;
        let log = &self.services.config().log;
        records::make_topic(log).await?;
        frames::write(&self.records(), records::capture(log)?)?;
        let (mut busy, mut idle) = (Vec::new(), Vec::new());
        for run in 1..=runs {
            for (rate, rounds) in [(rate, &mut busy), (idle_rate, &mut idle)] {
                let pace = self.pace(rate);
                let pipe = self.pipe(pace).await.context("produce to consume")?;
                let watched = self.watch(&mut lanes, pace).await?;
                say(&format!(
                    "{rate}/s run {run} of {runs}: webhook to frame p50 {:.2} ms, p99 {:.2} (produce to consume {:.2}, {:.2}; \
                     webhook to 202 {:.2}, {:.2})",
                    watched.frames.p50_ms,
                    watched.frames.p99_ms,
                    pipe.p50_ms,
                    pipe.p99_ms,
                    watched.answers.p50_ms,
                    watched.answers.p99_ms,
                ));
                rounds.push(Round { pipe, watched });
            }
        }
        sidecar.kill().await?;
        live.kill().await?;
        let mut figures = webhook_figures(&busy, rate, "", Target::AtMost(3.0));
        figures.extend(webhook_figures(&idle, idle_rate, "_idle", Target::ValueBelow(50.0)));
        Ok(figures)
    }

    fn records(&self) -> PathBuf {
        self.services.file("bench-records")
    }

    async fn watch(&self, lanes: &mut Lanes, pace: Pace) -> Result<Watched> {
        let events = lanes.take(pace.count())?;
        let ingest = self.services.config().ingest.listen;
        let sidecar = self.services.workspace(WATCHED)?.sidecar_listen;
        let token = self.services.token(WATCHED)?.to_owned();
        // A connection that is idle for long is closed by the ingest.
        let connections = usize::try_from(self.options.connections.min(pace.rate))?;
        spawn_blocking(move || watch::run(ingest, (sidecar, &token), events, pace, connections)).await?
    }

    async fn pipe(&self, pace: Pace) -> Result<Sample> {
        let (config, records, runtime) = (self.services.config_file(), self.records(), Handle::current());
        spawn_blocking(move || pipe::run(&config, &records, pace, &runtime)).await?
    }

    async fn shared(&self) -> Result<Vec<Figure>> {
        let Options { clients, deltas: rate, runs, seconds, .. } = *self.options;
        say(&format!("filling a board for {clients} clients"));
        let deltas = Arc::new(Mutex::new(Deltas::begin(self.services.config(), SHARED).await?));
        let mut rounds = Vec::new();
        for run in 1..=runs {
            // A process that has held as many clients before would have their memory still.
            let sidecar = self.services.sidecar(SHARED).await?;
            let round = self.shared_round(&deltas, &sidecar).await?;
            sidecar.kill().await?;
            say(&format!(
                "{clients} clients, {rate} deltas/s, run {run} of {runs}: p50 {:.1} ms, p99 {:.1} (one client {:.2}, Redis {:.2}), \
                 {:.1} KiB a client, {:.2} cores",
                round.all.p50_ms,
                round.all.p99_ms,
                round.one.p99_ms,
                round.redis.p99_ms,
                round.memory_per_client,
                round.cpu.as_secs_f64() / seconds as f64,
            ));
            rounds.push(round);
        }
        Ok(shared_figures(&rounds, self.options))
    }

    async fn shared_round(&self, deltas: &Arc<Mutex<Deltas>>, sidecar: &Service) -> Result<Shared> {
        let pid = sidecar.pid()?;
        // With as many deltas as the others get: what the sidecar keeps of them is no client's memory.
        let (one, _, _) = self.follow(deltas, 1, pid).await?;
        let before = resident(pid)?;
        let (all, redis, (cpu, most)) = self.follow(deltas, self.options.clients, pid).await?;
        let memory_per_client = most.saturating_sub(before) as f64 / 1024.0 / self.options.clients as f64;
        Ok(Shared { one, redis, all, memory_per_client, cpu })
    }

    /// Makes deltas for so many clients: what the clients saw, what writing took, the sidecar's CPU and most memory.
    async fn follow(
        &self,
        deltas: &Arc<Mutex<Deltas>>,
        clients: usize,
        pid: u32,
    ) -> Result<(Sample, Sample, (Duration, u64))> {
        let pace = self.pace(self.options.deltas);
        let sidecar = self.services.workspace(SHARED)?.sidecar_listen;
        let tokens = self.services.tokens(SHARED, clients)?;
        let clients = spawn_blocking(move || Clients::connect(sidecar, &tokens, clients, pace)).await??;
        let (began, begun) = tokio::sync::oneshot::channel();
        let (deltas, runtime) = (deltas.clone(), Handle::current());
        let making = spawn_blocking(move || -> Result<(Sample, Sample)> {
            let mut reading = None;
            let made = deltas.blocking_lock().run(pace, &runtime, || {
                let schedule = pace.begin();
                reading = Some(clients.begin(schedule));
                // Whoever waits for it has given up only where all is ending.
                let _told = began.send(schedule);
                Ok(schedule)
            });
            let read = reading.context("the clients were not begun")?.finish();
            let made = made?;
            Ok((read?, made))
        });
        let Ok(schedule) = begun.await else {
            making.await??;
            bail!("the deltas were not begun");
        };
        let (from, to) = schedule.window();
        let used = observe(pid, from.into(), to.into()).await;
        let (read, made) = making.await??;
        Ok((read, made, used?))
    }
}

/// What a process uses between two moments: CPU, and the most memory, bytes.
async fn observe(pid: u32, from: Instant, to: Instant) -> Result<(Duration, u64)> {
    sleep_until(from).await;
    let before = cpu::used(pid)?;
    let mut most = 0;
    while Instant::now() < to {
        most = most.max(resident(pid)?);
        sleep(LOOK.min(to.saturating_duration_since(Instant::now()))).await;
    }
    Ok((cpu::between(before, cpu::used(pid)?)?, most.max(resident(pid)?)))
}

/// The figures at one rate of webhooks; `target` is that of the p99.
fn webhook_figures(rounds: &[Round], rate: u64, suffix: &str, target: Target) -> Vec<Figure> {
    let series =
        |name: &str, value: &dyn Fn(&Round) -> f64| Series::new(format!("{name}{suffix}"), rounds.iter().map(value));
    let figure = |subject, floor| Figure { subject, unit: "ms", floor, target: None, rate };
    let quantile = |name: &str, value: fn(&Sample) -> f64| {
        let frames = series(&format!("webhook_to_frame_{name}"), &|round| value(&round.watched.frames));
        let pipe = series(&format!("bare_produce_to_consume_{name}"), &|round| value(&round.pipe));
        figure(frames, Some(pipe))
    };
    vec![
        Figure { target: Some(target), ..quantile("p99", |sample| sample.p99_ms) },
        quantile("p50", |sample| sample.p50_ms),
        figure(series("webhook_to_frame_202_p99", &|round| round.watched.answers.p99_ms), None),
        figure(series("webhook_to_frame_send_delay_p99", &|round| round.watched.answers.send_delay_p99_ms), None),
    ]
}

fn shared_figures(rounds: &[Shared], options: &Options) -> Vec<Figure> {
    let series = |name: &str, value: &dyn Fn(&Shared) -> f64| Series::new(name, rounds.iter().map(value));
    let figure = |subject, unit, floor, target| Figure { subject, unit, floor, target, rate: options.deltas };
    let below = |bound| Some(Target::ValueBelow(bound));
    let frames = options.clients as f64 * options.deltas as f64 * options.seconds as f64;
    let one = |name: &str, value: fn(&Sample) -> f64| Some(series(name, &|round| value(&round.one)));
    let cpu_seconds = |round: &Shared| round.cpu.as_secs_f64();
    vec![
        figure(
            series("sse_fan_out_p99", &|round| round.all.p99_ms),
            "ms",
            one("sse_one_client_p99", |sample| sample.p99_ms),
            below(250.0),
        ),
        figure(
            series("sse_fan_out_p50", &|round| round.all.p50_ms),
            "ms",
            one("sse_one_client_p50", |sample| sample.p50_ms),
            None,
        ),
        figure(series("sse_fan_out_memory_per_client", &|round| round.memory_per_client), "KiB", None, below(32.0)),
        figure(series("sse_fan_out_cores", &|round| cpu_seconds(round) / options.seconds as f64), "cores", None, None),
        figure(series("sse_fan_out_cpu_per_frame", &|round| cpu_seconds(round) * 1e6 / frames), "us", None, None),
        figure(series("sse_fan_out_redis_p99", &|round| round.redis.p99_ms), "ms", None, None),
    ]
}
