//! The Postgres projector against `COPY` of the very rows that it left, what a rebuild does, and what a fact costs with
//! many agents and a long history (design.md section 16).
//!
//! The projector is the `helix` process over real Kafka. What a fact costs is measured on the store alone, batch by
//! batch, so that a history of millions needs no topic of millions.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use helix_fold::settings::Settings;
use helix_history::Plan;
use helix_kit::config::Config;
use helix_postgres::{AllSettings, PostgresStore};
use helix_runtime::{Batch, NextOffset, Offset, Prepared, Preparer, Record, Slice, Store};
use helix_schemas::{codec::Codec, fact::Fact, registry::Registry, topics};
use rdkafka::{
    ClientConfig,
    producer::{BaseRecord, Producer, ThreadedProducer},
};
use sqlx::{Connection, Executor, PgConnection, PgPool, Row};
use tokio::process::Command;

use crate::{
    environment::Environment,
    figures::{self, Figure, Series, Target},
    stack,
};

const COMPONENTS: &str = "kafka,registry,postgres,topics";
/// Sessions of a store that is measured alone.
const SESSIONS: u32 = 2;
const PATIENCE: Duration = Duration::from_secs(60);
/// Facts of one measured stretch of a history.
const WINDOW: usize = 50_000;
/// As the projector's own batches are.
const BATCH: usize = 10_000;

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Facts that the projector works off in each run.
    #[arg(long, default_value_t = 200_000)]
    facts: usize,
    /// Runs of the projector and of its floor.
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Facts of the long history; its beginning is a tenth of it.
    #[arg(long, default_value_t = 1_000_000)]
    history: usize,
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

struct Bench {
    helix: PathBuf,
    config_file: PathBuf,
    config: Config,
    admin: String,
    codec: Arc<Codec<Fact>>,
    registry: Registry,
}

async fn measure(options: &Options, helix: &Path, home: &Path) -> Result<Vec<Figure>> {
    say("starting a stack");
    let bench = Bench::start(helix, home).await?;
    say(&format!("appending {} facts", options.facts));
    bench.append(options.facts)?;
    let [mut projected, mut copied, mut rebuilt] = [const { Vec::new() }; 3];
    for run in 1..=options.runs {
        let database = bench.database(&format!("bench_{run}")).await?;
        let rate = bench.project(&database, options.facts).await?;
        let floor = bench.copy(&database, options.facts).await?;
        let again = bench.rebuild(&database).await?;
        say(&format!("run {run}: projector {rate:.0} facts/s, rebuild {again:.0}, COPY of the same rows {floor:.0}"));
        projected.push(rate);
        copied.push(floor);
        rebuilt.push(again);
    }
    let copied = Series::new("copy_of_the_same_rows", copied);
    let figure = |name: &str, runs, floor: Option<&Series>, target| Figure {
        subject: Series::new(name, runs),
        unit: "facts/s",
        floor: floor.cloned(),
        target,
        rate: 0,
    };
    let mut figures = vec![
        figure("postgres_projector", projected, Some(&copied), Some(Target::AtLeast(0.4))),
        figure("postgres_rebuild", rebuilt, Some(&copied), None),
    ];
    figures.extend(bench.cost_by_agents().await?);
    figures.extend(bench.cost_by_history(options.history).await?);
    Ok(figures)
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
        let env = std::fs::read_to_string(home.join("dev.env"))?;
        let admin = env.lines().find_map(|line| line.strip_prefix("HELIX_POSTGRES_URL="));
        let admin = admin.context("HELIX_POSTGRES_URL")?.trim_matches(['"', '\'']).to_owned();
        let registry = Registry::new(&config.registry.url);
        let codec = Arc::new(registry.fact_codec().await?);
        Ok(Self { helix: helix.to_owned(), config_file, config, admin, codec, registry })
    }

    fn append(&self, facts: usize) -> Result<()> {
        let mut client = ClientConfig::new();
        client.extend(self.config.log.connection());
        client.set("enable.idempotence", "true").set("partitioner", "murmur2_random").set("linger.ms", "20");
        let producer: ThreadedProducer<_> = client.create()?;
        for fact in Plan::new("ramaiah", 200, 1).history().take(facts) {
            let (key, value) = (fact.key(), self.codec.encode(&fact)?);
            let mut record = BaseRecord::to(topics::FACTS).key(&key).payload(&value);
            while let Err((error, again)) = producer.send(record) {
                unless_full(error)?;
                record = again;
                producer.flush(PATIENCE)?;
            }
        }
        Ok(producer.flush(PATIENCE)?)
    }

    /// An empty, migrated database of its own.
    async fn database(&self, name: &str) -> Result<String> {
        let mut admin = PgConnection::connect(&self.admin).await?;
        admin.execute(sqlx::AssertSqlSafe(format!("create database {name} owner helix"))).await?;
        let (server, _) = self.config.postgres.url.reveal().rsplit_once('/').context("a database in the URL")?;
        let url = format!("{server}/{name}");
        helix_postgres::migrate(&helix_postgres::connect(&url, 1).await?).await?;
        Ok(url)
    }

    fn verb(&self, database: &str) -> Command {
        let mut command = Command::new(&self.helix);
        command.arg("--config").arg(&self.config_file).env("HELIX__POSTGRES__URL", database);
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Facts a second of the real process, from its first batch to the end of the log.
    async fn project(&self, database: &str, facts: usize) -> Result<f64> {
        let pool = PgPool::connect(database).await?;
        let mut command = self.verb(database);
        // Each run is a group's only member: the last run's name must not be waited for.
        command.args(["project", "postgres"]).env("HELIX__PROJECT__POSTGRES__INSTANCE", "bench");
        let mut projector = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let end = i64::try_from(facts)?;
        let begun = Instant::now();
        let mut first: Option<(Instant, i64)> = None;
        let rate = loop {
            let done: i64 = sqlx::query_scalar(
                "select coalesce(sum(next_offset), 0)::bigint from helix.projection_progress where projection = 'postgres'",
            )
            .fetch_one(&pool)
            .await?;
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
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        projector.kill().await?;
        Ok(rate)
    }

    /// Facts a second, were their rows only copied: every row of every table, into like tables with like indexes.
    async fn copy(&self, database: &str, facts: usize) -> Result<f64> {
        let mut connection = PgConnection::connect(database).await?;
        let tables = sqlx::query(
            "select schemaname, tablename from pg_tables where schemaname in ('read', 'state') order by 1, 2",
        )
        .fetch_all(&mut connection)
        .await?;
        let mut took = Duration::ZERO;
        connection.execute("drop schema if exists floor cascade").await?;
        connection.execute("create schema floor").await?;
        for row in tables {
            let (schema, table): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            let rows = {
                use futures_util::TryStreamExt;
                let statement = format!("copy {schema}.{table} to stdout (format binary)");
                let chunks: Vec<_> = connection.copy_out_raw(&statement).await?.try_collect().await?;
                chunks.concat()
            };
            connection
                .execute(sqlx::AssertSqlSafe(format!(
                    "create table floor.{table} (like {schema}.{table} including all)"
                )))
                .await?;
            let begun = Instant::now();
            let mut copy = connection.copy_in_raw(&format!("copy floor.{table} from stdin (format binary)")).await?;
            for chunk in rows.chunks(1 << 16) {
                copy.send(chunk).await?;
            }
            copy.finish().await?;
            took += begun.elapsed();
        }
        Ok(facts as f64 / took.as_secs_f64())
    }

    /// Facts a second of `helix projection rebuild`.
    async fn rebuild(&self, database: &str) -> Result<f64> {
        let output = self.verb(database).args(["projection", "rebuild", "postgres", "--json"]).output().await?;
        if !output.status.success() {
            bail!("the rebuild failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        let told: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        told.pointer("/rebuilt/facts_per_second").and_then(serde_json::Value::as_f64).context("facts a second")
    }

    /// Microseconds a fact, and a row that it changes, with few and with many agents.
    async fn cost_by_agents(&self) -> Result<Vec<Figure>> {
        let (mut of_facts, mut of_rows) = (Vec::new(), Vec::new());
        for agents in [100, 10_000] {
            let mut place = self.place(&format!("agents_{agents}"), agents).await?;
            // Everybody has signed in by then.
            place.apply(WINDOW).await?;
            let (applied, written) = (place.applied, place.written().await?);
            let cost = place.apply(WINDOW).await?;
            let rows = (place.written().await? - written) as f64 / (place.applied - applied).max(1) as f64;
            if rows <= 0.0 {
                bail!("no row was counted");
            }
            say(&format!("{agents} agents: {cost:.1} us a fact, {rows:.2} rows a fact, {:.1} us a row", cost / rows));
            of_facts.push(cost);
            of_rows.push(cost / rows);
        }
        let mut figures = flat("postgres_cost_per_fact_10000_agents", "postgres_cost_per_fact_100_agents", &of_facts);
        figures.extend(flat("postgres_cost_per_row_10000_agents", "postgres_cost_per_row_100_agents", &of_rows));
        Ok(figures)
    }

    /// Microseconds a fact early and late in a long history.
    async fn cost_by_history(&self, facts: usize) -> Result<Vec<Figure>> {
        let mut place = self.place("history", 500).await?;
        let mut costs = Vec::new();
        for until in [facts / 10, facts] {
            place.apply(until.saturating_sub(WINDOW + place.applied)).await?;
            let cost = place.apply(WINDOW).await?;
            say(&format!("after {} facts: {cost:.1} us a fact", place.applied));
            costs.push(cost);
        }
        let name = |facts: usize| format!("postgres_cost_per_fact_after_{facts}");
        Ok(flat(&name(facts), &name(facts / 10), &costs))
    }

    async fn place(&self, name: &str, agents: u32) -> Result<Place> {
        let url = self.database(&format!("bench_{name}")).await?;
        let history = Plan::new("ramaiah", agents, 1).history();
        let workspace = helix_schemas::names::WorkspaceId::new("ramaiah")?;
        let settings = AllSettings([(workspace, Settings::default())].into_iter().collect());
        let pool = helix_postgres::connect(&url, SESSIONS).await?;
        let mut store = PostgresStore::new(pool.clone(), self.registry.clone(), self.codec.clone(), settings);
        let held = store.acquire(topics::FACTS, &[0]).await?;
        let epoch = held.first().context("a partition")?.epoch;
        Ok(Place { pool, store, history, codec: self.codec.clone(), epoch, next: 0, ahead: None, applied: 0 })
    }
}

/// A store with a history that goes on.
struct Place {
    /// The store's.
    pool: PgPool,
    store: PostgresStore,
    history: helix_history::History,
    codec: Arc<Codec<Fact>>,
    epoch: helix_runtime::Epoch,
    next: i64,
    /// The batch after the last that was applied.
    ahead: Option<Ahead>,
    applied: usize,
}

/// A batch, and what the store made of its records while the one before was applied.
struct Ahead {
    batch: Batch,
    prepared: Vec<Option<Prepared>>,
}

impl Ahead {
    fn of(batch: Batch, preparer: Option<&Preparer>) -> Self {
        let records = batch.slices.iter().flat_map(|slice| &slice.records);
        let prepared = preparer.map(|prepare| records.map(prepare).collect()).unwrap_or_default();
        Self { batch, prepared }
    }
}

impl Place {
    /// Applies so many facts, rounded up to batches; gives microseconds a fact, without what making them takes. As in the
    /// engine, the next batch is prepared while one is applied, and both are waited for.
    async fn apply(&mut self, facts: usize) -> Result<f64> {
        let mut took = Duration::ZERO;
        let until = self.applied + facts;
        let from = self.applied;
        while self.applied < until {
            let Ahead { batch, prepared } = match self.ahead.take() {
                Some(ahead) => ahead,
                None => Ahead::of(self.batch()?, None),
            };
            let next = self.batch()?;
            let preparer = self.store.preparer();
            let begun = Instant::now();
            let ahead = tokio::task::spawn_blocking(move || Ahead::of(next, preparer.as_ref()));
            self.store.apply_prepared(&batch, prepared).await?;
            self.ahead = Some(ahead.await?);
            took += begun.elapsed();
            self.applied += batch.len();
        }
        Ok(took.as_secs_f64() * 1e6 / (self.applied - from).max(1) as f64)
    }

    /// Rows that were inserted, changed or deleted in the tables of the projection since they were made.
    async fn written(&self) -> Result<i64> {
        // Each session keeps what it counted to itself for some time, unless it is asked.
        let mut sessions = Vec::new();
        for _ in 0..SESSIONS {
            sessions.push(self.pool.acquire().await?);
        }
        for session in &mut sessions {
            session.execute("select pg_stat_force_next_flush()").await?;
        }
        drop(sessions);
        Ok(sqlx::query_scalar(
            "select sum(n_tup_ins + n_tup_upd + n_tup_del)::bigint from pg_stat_user_tables
             where schemaname in ('read', 'state')",
        )
        .fetch_one(&self.pool)
        .await?)
    }

    fn batch(&mut self) -> Result<Batch> {
        let from = self.next;
        let mut records = Vec::with_capacity(BATCH);
        for fact in self.history.by_ref().take(BATCH) {
            let (key, value) = (fact.key().into(), self.codec.encode(&fact)?.into());
            records.push(Record { offset: Offset(self.next), key, value });
            self.next += 1;
        }
        let (from, to) = (NextOffset(from), NextOffset(self.next));
        let slice = Slice { partition: 0, epoch: self.epoch, from, to, records, parked: Vec::new() };
        Ok(Batch { topic: topics::FACTS.to_owned(), slices: vec![slice] })
    }
}

fn flat(name: &str, floor: &str, costs: &[f64]) -> Vec<Figure> {
    let cost = |index: usize| costs.get(index).copied().into_iter();
    vec![Figure {
        subject: Series::new(name, cost(1)),
        unit: "us",
        floor: Some(Series::new(floor, cost(0))),
        target: Some(Target::AtMost(1.2)),
        rate: 0,
    }]
}

/// A full queue is waited out; any other refusal ends the benchmark.
fn unless_full(error: rdkafka::error::KafkaError) -> Result<()> {
    match error.rdkafka_error_code() {
        Some(rdkafka::types::RDKafkaErrorCode::QueueFull) => Ok(()),
        Some(_) | None => Err(error.into()),
    }
}
