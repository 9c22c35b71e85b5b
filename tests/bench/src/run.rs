//! The order of a benchmark: a warm-up whose records become the floors', then rounds in which every floor and the
//! subject have their turn, so that what the machine does meanwhile falls on all of them alike.

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::{
    environment::Environment,
    events,
    figures::{self, Figure, Series, Target},
    frames, records,
    sample::Sample,
    stack::{self, Stack},
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
    /// Runs of each floor and of the subject, in turn.
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Events a second; the first is the one of the targets.
    #[arg(long, value_delimiter = ',', default_value = "1000,2000")]
    rates: Vec<u64>,
    /// Keep-alive connections of the generator.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// The results, one JSON object a line.
    #[arg(long)]
    out: PathBuf,
    /// The binary under test [default: beside this one].
    #[arg(long)]
    helix: Option<PathBuf>,
}

/// Greatest ratio of CPU and of latency (design.md section 16).
const TARGET: f64 = 1.5;
/// The warm-up: the broker's compiler and every cache come to rest, and enough records for the floors are written.
const FIRST_RATE: u64 = 2_000;
const FIRST_SECONDS: u64 = 10;

/// Measures everything and writes the results; Ctrl-C ends it and leaves nothing running.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.seconds == 0 || options.runs == 0 || options.rates.is_empty() || options.rates.contains(&0) {
        bail!("seconds, runs and rates are at least 1");
    }
    let own = std::env::current_exe().context("this program's path")?;
    let helix = options.helix.clone().unwrap_or_else(|| own.with_file_name("helix"));
    let folder = std::path::absolute(options.out.parent().unwrap_or(Path::new(".")))?;
    std::fs::create_dir_all(&folder)?;
    let home = folder.join(format!("home-{}", std::process::id()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let measured = tokio::select! {
            measured = measure(options, &own, &helix, &home) => measured,
            _ = tokio::signal::ctrl_c() => Err(anyhow!("interrupted")),
        };
        match measured {
            Ok((figures, environment)) => {
                stack::remove(&helix, &home).await?;
                figures::write(&options.out, &figures, &environment, options.seconds)?;
                println!("\n{}\n{}", figures::table(&figures, &environment), options.out.display());
                Ok(())
            }
            Err(error) => {
                stack::end(&helix, &home).await?;
                Err(error.context(format!("nothing was measured; the logs are in {}", home.display())))
            }
        }
    })
}

/// Starts a stack and measures.
async fn measure(options: &Options, own: &Path, helix: &Path, home: &Path) -> Result<(Vec<Figure>, Environment)> {
    say("starting a stack");
    let stack = Stack::start(helix, home).await?;
    Bench { options, own, home, stack: &stack }.measure().await
}

fn say(line: &str) {
    eprintln!("bench: {line}");
}

struct Bench<'a> {
    options: &'a Options,
    own: &'a Path,
    home: &'a Path,
    stack: &'a Stack,
}

/// What one round measured.
struct Round {
    http: Sample,
    produce: Sample,
    pacing: Sample,
    together: Sample,
    ingest: Sample,
}

impl Bench<'_> {
    async fn measure(&self) -> Result<(Vec<Figure>, Environment)> {
        let environment = Environment::observe(self.stack.helix(), self.stack.kafka().await);
        say(&format!("warming up, {FIRST_RATE}/s for {FIRST_SECONDS} s"));
        self.write_requests(0, FIRST_RATE * (FIRST_SECONDS + 1))?;
        self.load_ingest(FIRST_RATE, 1, FIRST_SECONDS).await?;
        let log = &self.stack.config().log;
        records::make_topic(log).await?;
        frames::write(&self.records(), records::capture(log)?)?;

        let mut figures = Vec::new();
        let mut day = 0;
        for (place, rate) in self.options.rates.iter().copied().enumerate() {
            let mut rounds = Vec::new();
            for run in 1..=self.options.runs {
                day += 1;
                self.write_requests(day, rate * (self.options.warm_up + self.options.seconds))?;
                let round = self.round(rate).await.with_context(|| format!("run {run} at {rate}/s"))?;
                say(&format!(
                    "{rate}/s run {run} of {}: cpu us {:.1} (axum {:.1} + produce {:.1} - pacing {:.1}; in one process {:.1}), \
                     p99 ms {:.2} (produce {:.2})",
                    self.options.runs,
                    round.ingest.cpu_us,
                    round.http.cpu_us,
                    round.produce.cpu_us,
                    round.pacing.cpu_us,
                    round.together.cpu_us,
                    round.ingest.p99_ms,
                    round.produce.p99_ms,
                ));
                rounds.push(round);
            }
            figures.extend(figures_of(&rounds, rate, place == 0));
        }
        Ok((figures, environment))
    }

    fn requests(&self) -> PathBuf {
        self.home.join("bench-requests")
    }

    fn records(&self) -> PathBuf {
        self.home.join("bench-records")
    }

    fn write_requests(&self, day: i64, count: u64) -> Result<()> {
        frames::write(&self.requests(), events::requests(self.stack.config(), day, count)?)
    }

    async fn round(&self, rate: u64) -> Result<Round> {
        let (warm_up, seconds) = (self.options.warm_up, self.options.seconds);
        Ok(Round {
            http: self.load_bare(rate, &[]).await.context("the bare handler")?,
            produce: self.produce(rate, false).await.context("the bare producer")?,
            ingest: self.load_ingest(rate, warm_up, seconds).await.context("the ingest")?,
            pacing: self.produce(rate, true).await.context("the pacing")?,
            together: self.load_bare(rate, &self.log_arguments()).await.context("handler and producer in one")?,
        })
    }

    fn log_arguments(&self) -> [OsString; 4] {
        ["--config".into(), self.stack.config_file().into(), "--records".into(), self.records().into()]
    }

    async fn load_ingest(&self, rate: u64, warm_up: u64, seconds: u64) -> Result<Sample> {
        self.load(self.stack.target(), self.stack.ingest()?, "stored", [rate, warm_up, seconds]).await
    }

    async fn load_bare(&self, rate: u64, arguments: &[OsString]) -> Result<Sample> {
        let mut command = self.verb("bare-http");
        let mut server = command.args(arguments).stdout(Stdio::piped()).spawn()?;
        let target = address(&mut server).await?;
        let pid = server.id().context("it has ended")?;
        let pace = [rate, self.options.warm_up, self.options.seconds];
        let sample = self.load(target, pid, "any", pace).await?;
        server.kill().await?;
        Ok(sample)
    }

    async fn load(&self, target: SocketAddr, pid: u32, expect: &str, pace: [u64; 3]) -> Result<Sample> {
        let mut command = self.verb("load");
        command.args(["--target", &target.to_string(), "--pid", &pid.to_string(), "--expect", expect]);
        command.args(["--connections", &self.options.connections.to_string()]).arg("--requests").arg(self.requests());
        sample(paced(&mut command, pace)).await
    }

    async fn produce(&self, rate: u64, pacing_only: bool) -> Result<Sample> {
        let mut command = self.verb("bare-produce");
        command.args(self.log_arguments());
        if pacing_only {
            command.arg("--pacing-only");
        }
        sample(paced(&mut command, [rate, self.options.warm_up, self.options.seconds])).await
    }

    fn verb(&self, verb: &str) -> Command {
        let mut command = Command::new(self.own);
        command.arg(verb).stdin(Stdio::null()).kill_on_drop(true);
        command
    }
}

fn paced(command: &mut Command, [rate, warm_up, seconds]: [u64; 3]) -> &mut Command {
    command.args(["--rate", &rate.to_string(), "--warm-up", &warm_up.to_string(), "--seconds", &seconds.to_string()])
}

/// Runs a process to its end and reads what it measured.
async fn sample(command: &mut Command) -> Result<Sample> {
    let output = command.output().await?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim().trim_start_matches("helix-bench: "));
    }
    serde_json::from_slice(&output.stdout).context("what a process measured")
}

/// The first line of a floor that serves.
async fn address(server: &mut Child) -> Result<SocketAddr> {
    let output = server.stdout.take().context("its output")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).await?;
    line.trim().parse().context("the floor did not say where it listens")
}

/// The figures at one rate. Only those of the first rate have a target.
fn figures_of(rounds: &[Round], rate: u64, first: bool) -> Vec<Figure> {
    let named = |name: &str| if first { name.to_owned() } else { format!("{name}_at_{rate}") };
    let of = |name: &str, value: &dyn Fn(&Round) -> f64| Series::new(named(name), rounds.iter().map(value));
    let figure = |subject, unit, floor| Figure { subject, unit, floor, target: None, rate };
    let produce_cpu = |round: &Round| round.produce.cpu_us - round.pacing.cpu_us;
    let ingest_cpu = |name: &str| of(name, &|round| round.ingest.cpu_us);
    let sum = of("bare_axum_plus_bare_produce", &|round| round.http.cpu_us + produce_cpu(round));
    let together = of("bare_axum_and_produce_in_one_process", &|round| round.together.cpu_us);
    let target = first.then_some(Target::AtMost(TARGET));
    let ms = |name: &str, floor: &str, value: fn(&Sample) -> f64| {
        let subject = of(name, &|round| value(&round.ingest));
        figure(subject, "ms", Some(of(floor, &|round| value(&round.produce))))
    };
    vec![
        Figure { target, ..figure(ingest_cpu("ingest_cpu_per_event"), "us", Some(sum)) },
        Figure { target, ..ms("webhook_to_202_p99", "bare_produce_to_ack_p99", |sample| sample.p99_ms) },
        ms("webhook_to_202_p50", "bare_produce_to_ack_p50", |sample| sample.p50_ms),
        ms("webhook_to_202_p999", "bare_produce_to_ack_p999", |sample| sample.p999_ms),
        figure(ingest_cpu("ingest_cpu_per_event_to_one_process"), "us", Some(together)),
        figure(of("bare_axum_cpu_per_request", &|round| round.http.cpu_us), "us", None),
        figure(of("bare_produce_cpu_per_record", &produce_cpu), "us", None),
        figure(of("bare_one_process_p99", &|round| round.together.p99_ms), "ms", None),
        figure(of("bare_axum_p99", &|round| round.http.p99_ms), "ms", None),
        figure(of("generator_send_delay_p99", &|round| round.ingest.send_delay_p99_ms), "ms", None),
    ]
}
