//! The process under test: the engine over a real store, with a fault armed.

use std::{process::Command, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use async_trait::async_trait;
use clap::Args;
use helix_automation::AutomationStore;
use helix_clickhouse::ClickHouseStore;
use helix_fold::settings::Settings;
use helix_live::{Decoder, LiveStore};
use helix_postgres::{AllSettings, PostgresStore};
use helix_runtime::{
    Batch, Engine, EngineConfig, Lag, Membership, Position, Standing, Store, StoreError,
    fault::{self, Point},
};
use helix_schemas::{names::WorkspaceId, registry::Registry};

use crate::{automation, subject::Kind};

/// What the process does at its fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Action {
    /// Dies at once, without a word to anybody.
    Die,
    /// Stops where it is, as under SIGSTOP, whatever it holds.
    Freeze,
}

/// How to run it.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The store.
    #[arg(long)]
    pub store: Kind,
    /// Where it is: a URL, with the database's name.
    #[arg(long)]
    pub place: String,
    /// ClickHouse's database.
    #[arg(long, default_value = "")]
    pub database: String,
    /// The hospital.
    #[arg(long)]
    pub workspace: String,
    /// The topic.
    #[arg(long)]
    pub topic: String,
    /// The brokers.
    #[arg(long)]
    pub brokers: String,
    /// The schema registry.
    #[arg(long)]
    pub registry: String,
    /// A name that survives its restarts.
    #[arg(long, default_value = "")]
    pub instance: String,
    /// A batch is cut at this many facts.
    #[arg(long, default_value_t = 150)]
    pub batch: usize,
    /// Where it is to fail, as `after-write`.
    #[arg(long)]
    pub point: Option<String>,
    /// The how many-th time it gets there.
    #[arg(long, default_value_t = 3)]
    pub nth: u64,
    /// What it does there.
    #[arg(long, default_value = "die")]
    pub action: Action,
    /// The how many-th applied batch is said not to have been.
    #[arg(long, default_value_t = 0)]
    pub forget: u64,
}

/// Runs until SIGTERM.
///
/// # Errors
/// Where the engine stopped by itself.
pub async fn project(options: Options) -> Result<()> {
    tracing_subscriber::fmt().with_ansi(false).with_writer(std::io::stderr).init();
    arm(&options)?;
    let registry = Registry::new(&options.registry);
    let codec = Arc::new(registry.fact_codec().await?);
    let workspace = WorkspaceId::new(&options.workspace)?;
    let settings = std::iter::once((workspace.clone(), Settings::default())).collect();
    match options.store {
        Kind::Postgres => {
            let pool = helix_postgres::connect(&options.place, 2).await?;
            let store = PostgresStore::new(pool, registry, codec, AllSettings(settings));
            run(&options, Membership::Group, store).await
        }
        Kind::Clickhouse => {
            let place = helix_clickhouse::Options {
                url: options.place.clone(),
                database: options.database.clone(),
                user: String::new(),
                password: String::new(),
            };
            let store = ClickHouseStore::open(&place, registry, codec, &settings).await?;
            run(&options, Membership::Group, store).await
        }
        Kind::Automation => {
            let pool = helix_automation::connect(&options.place, 2).await?;
            let log = Arc::new(automation::Topic::new(&options.brokers, &options.topic, codec.clone())?);
            let store = AutomationStore::new(pool, (Some(registry), codec), automation::bounds(&workspace), log);
            run(&options, Membership::Group, store).await
        }
        Kind::Live => {
            let decoder = Decoder::new(codec, Some(registry));
            let store = LiveStore::new(&options.place, workspace, Settings::default(), decoder)?;
            run(&options, Membership::All, store).await
        }
    }
}

fn arm(options: &Options) -> Result<()> {
    let Some(word) = &options.point else { return Ok(()) };
    let point = Point::ALL.into_iter().find(|point| point.as_str() == word).context("no such point")?;
    fault::arm(
        point,
        options.nth,
        match options.action {
            Action::Die => || std::process::abort(),
            Action::Freeze => freeze,
        },
    );
    Ok(())
}

/// SIGSTOP stops every thread at once, wherever it is.
fn freeze() {
    let own = std::process::id().to_string();
    let frozen = Command::new("kill").args(["-STOP", &own]).status();
    if !frozen.is_ok_and(|status| status.success()) {
        std::process::abort();
    }
    // The signal may be on its way still.
    std::thread::sleep(Duration::from_millis(50));
}

async fn run<S: Store + 'static>(options: &Options, membership: Membership, store: S) -> Result<()> {
    let config = EngineConfig {
        connection: vec![("bootstrap.servers".to_owned(), options.brokers.clone())],
        topic: options.topic.clone(),
        group: format!("faults-{}", options.topic),
        instance: (!options.instance.is_empty()).then(|| options.instance.clone()),
        membership,
        batch_records: options.batch,
        batch_bytes: 4 << 20,
        batch_time: Duration::from_millis(20),
        park_limit: helix_runtime::PARK_LIMIT,
        watch: helix_runtime::Watch::default(),
    };
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let stopped = async move {
        terminated.recv().await;
    };
    let store = Forgetful { inner: store, left: options.forget };
    Ok(Engine::new(config, store).run(stopped).await?)
}

/// A store whose answer is lost once: everything was written, and the engine is told that nothing is known.
struct Forgetful<S> {
    inner: S,
    left: u64,
}

#[async_trait]
impl<S: Store> Store for Forgetful<S> {
    fn projection(&self) -> &str {
        self.inner.projection()
    }

    async fn acquire(&mut self, topic: &str, partitions: &[i32]) -> Result<Vec<Position>, StoreError> {
        self.inner.acquire(topic, partitions).await
    }

    async fn apply(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.inner.apply(batch).await?;
        if self.left == 1 {
            self.left = 0;
            tracing::warn!("a commit's answer is lost");
            return Err(StoreError::unavailable("the connection broke after the commit"));
        }
        self.left = self.left.saturating_sub(1);
        Ok(())
    }

    async fn standing(&mut self, topic: &str, partitions: &[i32]) -> Result<Option<Standing>, StoreError> {
        self.inner.standing(topic, partitions).await
    }

    async fn beat(&mut self, lag: Option<Lag>) -> Result<(), StoreError> {
        self.inner.beat(lag).await
    }
}
