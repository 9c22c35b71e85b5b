//! The ClickHouse projector against the insertion of the very blocks that it left, its rebuild, and what comparing two generations
//! takes (design.md section 16).
//!
//! The projector is the `helix` process over real Kafka, as in [`crate::projector`]. The floor has everything but the work: rows
//! that are bytes already, the same table, blocks of the same size, one connection.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use clap::Args;
use clickhouse::Client;
use helix_clickhouse::audit::Audit;
use helix_history::Plan;
use helix_kit::config::Config;
use helix_schemas::{registry::Registry, topics};
use rdkafka::{
    ClientConfig,
    producer::{BaseRecord, Producer, ThreadedProducer},
};
use tokio::process::Command;

use crate::{
    environment::Environment,
    figures::{self, Figure, Series, Target},
    stack,
};

/// Postgres holds the lock of whoever works on generations.
const COMPONENTS: &str = "kafka,registry,postgres,clickhouse,topics";
const PATIENCE: Duration = Duration::from_secs(60);
/// What the engine's process runs apart from any measurement.
const MERGES: &str = "SELECT count() FROM system.merges";

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Facts that the projector works off in each run.
    #[arg(long, default_value_t = 200_000)]
    facts: usize,
    /// Runs of the projector and of its floor.
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// The results, to which these are appended.
    #[arg(long)]
    out: PathBuf,
    /// The binary under test [default: beside this one].
    #[arg(long)]
    helix: Option<PathBuf>,
}

/// Measures, and appends the results; Ctrl-C ends it and leaves nothing running.
pub(crate) fn run(options: &Options) -> Result<()> {
    let own = std::env::current_exe().context("this program's path")?;
    let helix = options.helix.clone().unwrap_or_else(|| own.with_file_name("helix"));
    let folder = std::path::absolute(options.out.parent().unwrap_or(Path::new(".")))?;
    std::fs::create_dir_all(&folder)?;
    let home = folder.join(format!("home-{}", std::process::id()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let environment = Environment::observe(&helix, None);
        let measured = tokio::select! {
            measured = measure(options, &helix, &home) => measured,
            _ = tokio::signal::ctrl_c() => Err(anyhow!("interrupted")),
        };
        match measured {
            Ok(figures) => {
                stack::remove(&helix, &home).await?;
                figures::append(&options.out, &figures, &environment, 0)?;
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

fn say(line: &str) {
    eprintln!("bench: {line}");
}

async fn measure(options: &Options, helix: &Path, home: &Path) -> Result<Vec<Figure>> {
    say("starting a stack");
    let bench = Bench::start(helix, home).await?;
    say(&format!("appending {} facts", options.facts));
    bench.append(options.facts).await?;
    let [mut projected, mut inserted, mut rebuilt, mut compared] = [const { Vec::new() }; 4];
    for run in 1..=options.runs {
        let place = bench.place(&format!("bench_{run}"));
        let rate = place.project(options.facts).await?;
        let floor = place.insert(options.facts).await?;
        let again = place.rebuild().await?;
        let seconds = place.compare().await?;
        say(&format!(
            "run {run}: projector {rate:.0} facts/s, inserting the same blocks {floor:.0}, rebuild {again:.0}, diff {seconds:.1} s"
        ));
        projected.push(rate);
        inserted.push(floor);
        rebuilt.push(again);
        compared.push(seconds);
    }
    let floor = Series::new("insert_of_the_same_blocks", inserted);
    let figure = |name: &str, runs, unit, floor: Option<&Series>, target| Figure {
        subject: Series::new(name, runs),
        unit,
        floor: floor.cloned(),
        target,
        rate: 0,
    };
    Ok(vec![
        figure("clickhouse_projector", projected, "facts/s", Some(&floor), Some(Target::AtLeast(0.6))),
        figure("clickhouse_rebuild", rebuilt, "facts/s", Some(&floor), None),
        figure("clickhouse_diff", compared, "s", None, None),
    ])
}

struct Bench {
    helix: PathBuf,
    config_file: PathBuf,
    config: Config,
}

impl Bench {
    async fn start(helix: &Path, home: &Path) -> Result<Self> {
        let mut command = Command::new(helix);
        command.args(["up", "--detach", "--ports", "auto", "--only", COMPONENTS, "--home"]).arg(home);
        let output = command.stdin(Stdio::null()).output().await.with_context(|| helix.display().to_string())?;
        if !output.status.success() {
            let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
            bail!("helix up failed: {}", said.concat());
        }
        let config_file = home.join("helix.toml");
        let config = Config::load(Some(&config_file))?;
        Ok(Self { helix: helix.to_owned(), config_file, config })
    }

    async fn append(&self, facts: usize) -> Result<()> {
        let codec = Registry::new(&self.config.registry.url).fact_codec().await?;
        let mut client = ClientConfig::new();
        client.extend(self.config.log.connection());
        client.set("enable.idempotence", "true").set("partitioner", "murmur2_random").set("linger.ms", "20");
        let producer: ThreadedProducer<_> = client.create()?;
        for fact in Plan::new("ramaiah", 200, 1).history().take(facts) {
            let (key, value) = (fact.key(), codec.encode(&fact)?);
            let mut record = BaseRecord::to(topics::FACTS).key(&key).payload(&value);
            while let Err((error, again)) = producer.send(record) {
                if error.rdkafka_error_code() != Some(rdkafka::types::RDKafkaErrorCode::QueueFull) {
                    return Err(error.into());
                }
                record = again;
                producer.flush(PATIENCE)?;
            }
        }
        Ok(producer.flush(PATIENCE)?)
    }

    fn place(&self, database: &str) -> Place<'_> {
        let clickhouse = &self.config.clickhouse;
        let (url, user) = (clickhouse.url.clone(), clickhouse.user.clone());
        let password = clickhouse.password.reveal().to_owned();
        let mut client = Client::default().with_url(&url);
        if !user.is_empty() {
            client = client.with_user(&user).with_password(&password);
        }
        let options = helix_clickhouse::Options { url, database: database.to_owned(), user, password };
        Place { bench: self, options, client }
    }
}

/// A database of its own.
struct Place<'a> {
    bench: &'a Bench,
    options: helix_clickhouse::Options,
    client: Client,
}

impl Place<'_> {
    fn verb(&self) -> Command {
        let mut command = Command::new(&self.bench.helix);
        command.arg("--config").arg(&self.bench.config_file).env("HELIX__CLICKHOUSE__DATABASE", &self.options.database);
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    fn sql(&self, template: &str) -> String {
        template.replace("{db}", &self.options.database)
    }

    async fn number(&self, template: &str) -> Result<u64> {
        Ok(self.client.query_raw(&self.sql(template)).fetch_one::<u64>().await?)
    }

    /// Facts a second of the real process, from its first batch to the end of the log.
    async fn project(&self, facts: usize) -> Result<f64> {
        helix_clickhouse::migrate(&self.options).await?;
        let audit = Audit::new(&self.options)?;
        let mut command = self.verb();
        // Each run is a group's only member: the last run's name must not be waited for.
        command.args(["project", "clickhouse"]).env("HELIX__PROJECT__CLICKHOUSE__INSTANCE", "bench");
        let mut projector = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let end = i64::try_from(facts)?;
        let begun = Instant::now();
        let mut first: Option<(Instant, i64)> = None;
        let rate = loop {
            let positions = audit.standings(topics::FACTS).await?.positions;
            let done: i64 = positions.values().map(|at| at.next_offset.0).sum();
            let now = Instant::now();
            if done > 0 {
                let (at, from) = *first.get_or_insert((now, done));
                if done >= end {
                    break (end - from) as f64 / now.duration_since(at).as_secs_f64();
                }
            }
            if let Some(status) = projector.try_wait()? {
                bail!("the projector ended with {status}");
            }
            if begun.elapsed() > PATIENCE * 20 {
                bail!("the projector is at {done} of {end}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        projector.kill().await?;
        Ok(rate)
    }

    /// Facts a second, were their rows there already, in blocks as large as the projector's. As there, the first block is not
    /// counted.
    async fn insert(&self, facts: usize) -> Result<f64> {
        const BLOCKS: &str = "SELECT toUInt64(max(max_block_number)) FROM system.parts
            WHERE active AND database = '{db}' AND table = 'facts'";
        let rows = self.number("SELECT count() FROM {db}.facts_once").await?;
        let each = rows.div_ceil(self.number(BLOCKS).await?.max(2));
        let mut blocks: Vec<Bytes> = Vec::new();
        for from in (0..rows).step_by(usize::try_from(each)?) {
            let block = format!(
                "SELECT * FROM {{db}}.facts_once ORDER BY log_offset, log_partition LIMIT {each} OFFSET {from}"
            );
            blocks.push(self.client.query_raw(&self.sql(&block)).fetch_bytes("RowBinary")?.collect().await?);
        }
        self.client.query_raw(&self.sql("CREATE TABLE {db}.floor AS {db}.facts")).execute().await?;
        while self.number(MERGES).await? > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let mut begun = Instant::now();
        for (place, block) in blocks.into_iter().enumerate() {
            let mut insert = self
                .client
                .insert_formatted_with(self.sql("INSERT INTO {db}.floor FORMAT RowBinary"))
                .with_setting("insert_deduplicate", "1")
                .with_setting("insert_deduplication_token", place.to_string());
            insert.send(block).await?;
            insert.end().await?;
            if place == 0 {
                begun = Instant::now();
            }
        }
        let rate = (rows - each) as f64 / begun.elapsed().as_secs_f64();
        self.client.query_raw(&self.sql("DROP TABLE {db}.floor SYNC")).execute().await?;
        // A repeat is a fact of the log, and costs the projector what any other does.
        Ok(rate * facts as f64 / rows as f64)
    }

    async fn told(&self, arguments: &[&str]) -> Result<serde_json::Value> {
        let output = self.verb().args(arguments).output().await?;
        if !output.status.success() {
            bail!("{} failed: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Facts a second of `helix projection rebuild`.
    async fn rebuild(&self) -> Result<f64> {
        let told = self.told(&["projection", "rebuild", "clickhouse", "--json"]).await?;
        told.pointer("/rebuilt/facts_per_second").and_then(serde_json::Value::as_f64).context("facts a second")
    }

    /// Seconds of `helix projection diff`, from the process's start to its end. The two are the same.
    async fn compare(&self) -> Result<f64> {
        let begun = Instant::now();
        self.told(&["projection", "diff", "clickhouse", "--json"]).await?;
        Ok(begun.elapsed().as_secs_f64())
    }
}
