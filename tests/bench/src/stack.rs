//! A stack for one benchmark: broker, registry and Redis by `helix up` on free ports in a home of its own, and the
//! ingest under test started here, because its process is what is measured and its rate limits must not be met.

use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use helix_kit::config::Config;
use tokio::{
    process::{Child, Command},
    time::sleep,
};

use crate::{
    connection::{Connection, get},
    events,
};

const COMPONENTS: &str = "kafka,registry,redis-telephony,topics";
/// Above any rate that is offered.
const UNLIMITED: &str = "1000000";
const PATIENCE: Duration = Duration::from_secs(60);

/// A running stack. Dropping it kills the ingest; [`remove`] and [`end`] end the rest.
#[derive(Debug)]
pub(crate) struct Stack {
    helix: PathBuf,
    home: PathBuf,
    config: Config,
    ingest: Child,
}

impl Stack {
    /// Starts it, and puts the workspaces' agents into the directory.
    ///
    /// # Errors
    /// With what `helix up` said, or where the ingest does not get ready.
    pub(crate) async fn start(helix: &Path, home: &Path) -> Result<Self> {
        let mut command = Command::new(helix);
        command.args(["up", "--detach", "--ports", "auto", "--only", COMPONENTS, "--home"]).arg(home);
        let output = command.stdin(Stdio::null()).output().await.with_context(|| helix.display().to_string())?;
        if !output.status.success() {
            let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
            bail!("helix up failed: {}", said.concat());
        }
        let config = Config::load(Some(&config_file(home)))?;
        let ingest = start_ingest(helix, home, &config)?;
        let stack = Self { helix: helix.to_owned(), home: home.to_owned(), config, ingest };
        stack.wait_and_register().await?;
        Ok(stack)
    }

    /// The binary under test.
    pub(crate) fn helix(&self) -> &Path {
        &self.helix
    }

    /// What the services read.
    pub(crate) const fn config(&self) -> &Config {
        &self.config
    }

    /// The file of it.
    pub(crate) fn config_file(&self) -> PathBuf {
        config_file(&self.home)
    }

    /// Where to post.
    pub(crate) const fn target(&self) -> SocketAddr {
        self.config.ingest.listen
    }

    /// The process of the ingest.
    ///
    /// # Errors
    /// Where it has ended.
    pub(crate) fn ingest(&self) -> Result<u32> {
        self.ingest.id().context("the ingest has ended")
    }

    /// The process of the broker, where the status tells.
    pub(crate) async fn kafka(&self) -> Option<u64> {
        let output = Command::new(&self.helix).args(["status", "--json", "--home"]).arg(&self.home).output().await;
        let status: serde_json::Value = serde_json::from_slice(&output.ok()?.stdout).ok()?;
        let components = status.get("components")?.as_array()?;
        components.iter().find(|one| one.get("component").is_some_and(|name| name == "kafka"))?.get("pid")?.as_u64()
    }

    async fn wait_and_register(&self) -> Result<()> {
        let begun = Instant::now();
        let ready = || -> Result<bool> {
            let mut connection = Connection::open(self.target())?;
            Ok(connection.exchange(&get("/readyz"))?.0 == 200)
        };
        while !ready().unwrap_or(false) {
            self.ingest()?;
            if begun.elapsed() > PATIENCE {
                bail!("the ingest is not ready after {} s", PATIENCE.as_secs());
            }
            sleep(Duration::from_millis(50)).await;
        }
        for request in events::registrations(&self.config) {
            let (status, _) = Connection::open(self.target())?.exchange(&request)?;
            if status != 200 {
                bail!("the directory answered {status} to a registration");
            }
        }
        Ok(())
    }
}

fn config_file(home: &Path) -> PathBuf {
    home.join("helix.toml")
}

/// Ends the stack of a home and removes it with all that the benchmark put there.
///
/// # Errors
/// Where that fails.
pub(crate) async fn remove(helix: &Path, home: &Path) -> Result<()> {
    tell(helix, "clean", home).await?;
    if home.exists() {
        std::fs::remove_dir_all(home).with_context(|| home.display().to_string())?;
    }
    Ok(())
}

/// Ends the stack of a home, whose logs are wanted.
///
/// # Errors
/// Where that fails.
pub(crate) async fn end(helix: &Path, home: &Path) -> Result<()> {
    if home.exists() { tell(helix, "down", home).await } else { Ok(()) }
}

async fn tell(helix: &Path, verb: &str, home: &Path) -> Result<()> {
    let output = Command::new(helix).arg(verb).arg("--home").arg(home).output().await?;
    if !output.status.success() {
        bail!("helix {verb} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

fn start_ingest(helix: &Path, home: &Path, config: &Config) -> Result<Child> {
    let log = File::create(home.join("bench-ingest.log"))?;
    let mut command = Command::new(helix);
    command.arg("ingest").arg("--config").arg(config_file(home)).stdin(Stdio::null()).kill_on_drop(true);
    command.stdout(log.try_clone()?).stderr(log);
    let accounts = config.accounts.keys().map(|name| format!("ACCOUNTS__{name}"));
    for owner in accounts.chain(config.workspaces.keys().map(|slug| format!("WORKSPACES__{slug}"))) {
        for limit in ["PER_SECOND", "BURST"] {
            command.env(format!("HELIX__{owner}__RATE__{limit}").to_ascii_uppercase(), UNLIMITED);
        }
    }
    command.spawn().context("the ingest cannot be started")
}
