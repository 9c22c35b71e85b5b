//! The stack of these benchmarks: broker, registry, the Redis of each workspace and the ingest by `helix up`; the live
//! projector and the sidecars started here, because their processes are what is stopped and measured.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use helix_kit::{
    auth::{Role, Signer, sidecar_kid},
    config::{Config, WorkspaceConfig},
};
use tokio::{
    process::{Child, Command},
    time::sleep,
};

use crate::{
    connection::{Connection, get},
    events,
};

const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);

/// Whose board is watched while webhooks come.
pub(super) const WATCHED: &str = "ramaiah";
/// Whose board many clients share.
pub(super) const SHARED: &str = "global";

/// A sidecar takes at most 50 streams of one person.
const STREAMS_OF_ONE: usize = 40;
/// Longer than a run.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// A running stack. Dropping it kills the processes that were started here; [`crate::stack::remove`] ends the rest.
#[derive(Debug)]
pub(super) struct Services {
    helix: PathBuf,
    home: PathBuf,
    config: Config,
    env: BTreeMap<String, String>,
}

/// A process that was started here.
#[derive(Debug)]
pub(super) struct Service(Child);

impl Service {
    /// Its number.
    pub(super) fn pid(&self) -> Result<u32> {
        self.0.id().context("it has ended")
    }

    /// Ends it.
    pub(super) async fn kill(mut self) -> Result<()> {
        Ok(self.0.kill().await?)
    }
}

impl Services {
    /// Starts the stack and puts the workspaces' agents into the directory.
    ///
    /// # Errors
    /// With what `helix up` said.
    pub(super) async fn start(helix: &Path, home: &Path) -> Result<Self> {
        let redises = [WATCHED, SHARED].map(|slug| format!("redis-{slug}")).join(",");
        let components = format!("kafka,registry,redis-telephony,{redises},topics,ingest");
        let mut command = Command::new(helix);
        command.args(["up", "--detach", "--ports", "auto", "--only", &components, "--home"]).arg(home);
        let output = command.stdin(Stdio::null()).output().await.with_context(|| helix.display().to_string())?;
        if !output.status.success() {
            let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
            bail!("helix up failed: {}", said.concat());
        }
        let config = Config::load(Some(&home.join("helix.toml")))?;
        let env = fs::read_to_string(home.join("dev.env"))?;
        let env = env.lines().filter_map(|line| line.split_once('='));
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let services = Self { helix: helix.to_owned(), home: home.to_owned(), config, env };
        for request in events::registrations(&services.config) {
            let (status, _) = Connection::open(services.config.ingest.listen)?.exchange(&request)?;
            if status != 200 {
                bail!("the directory answered {status} to a registration");
            }
        }
        Ok(services)
    }

    /// What the services read.
    pub(super) const fn config(&self) -> &Config {
        &self.config
    }

    /// The file of it.
    pub(super) fn config_file(&self) -> PathBuf {
        self.home.join("helix.toml")
    }

    /// A place in the stack's home.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    /// A workspace.
    pub(super) fn workspace(&self, slug: &str) -> Result<&WorkspaceConfig> {
        self.config.workspaces.get(slug).with_context(|| format!("there is no workspace {slug}"))
    }

    /// A supervisor's token.
    pub(super) fn token(&self, slug: &str) -> Result<&str> {
        let name = format!("HELIX_TOKEN_{}_SUPERVISOR", slug.to_ascii_uppercase());
        self.env.get(&name).map(String::as_str).context(name)
    }

    /// Tokens of as many supervisors as so many clients need, signed as the sidecar signs.
    pub(super) fn tokens(&self, slug: &str, clients: usize) -> Result<Vec<String>> {
        let key = &self.workspace(slug)?.signing_key;
        let signer = Signer::from_file(&self.config.auth.issuer, &sidecar_kid(slug), key)?;
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
        let sign = |number: usize| {
            let person = format!("watcher.{number}@{slug}.example");
            Ok(signer.sign(&person, slug, Role::Supervisor, None, now, LIFETIME)?)
        };
        (0..clients.div_ceil(STREAMS_OF_ONE).max(1)).map(sign).collect()
    }

    /// The process of the broker, where the status tells.
    pub(super) async fn kafka(&self) -> Option<u64> {
        let output = Command::new(&self.helix).args(["status", "--json", "--home"]).arg(&self.home).output().await;
        let status: serde_json::Value = serde_json::from_slice(&output.ok()?.stdout).ok()?;
        let components = status.get("components")?.as_array()?;
        components.iter().find(|one| one.get("component").is_some_and(|name| name == "kafka"))?.get("pid")?.as_u64()
    }

    /// Starts the live projector, of every workspace.
    pub(super) async fn live(&self) -> Result<Service> {
        self.service("project-live", &["project", "live"], self.config.project.live.listen).await
    }

    /// Starts a workspace's sidecar. It needs a board to be ready.
    pub(super) async fn sidecar(&self, slug: &str) -> Result<Service> {
        self.service(&format!("sidecar-{slug}"), &["sidecar", slug], self.workspace(slug)?.sidecar_listen).await
    }

    async fn service(&self, name: &str, verb: &[&str], listen: SocketAddr) -> Result<Service> {
        let log = File::options().create(true).append(true).open(self.home.join(format!("bench-{name}.log")))?;
        let mut command = Command::new(&self.helix);
        command.args(verb).arg("--config").arg(self.config_file()).stdin(Stdio::null()).kill_on_drop(true);
        let child = command.stdout(log.try_clone()?).stderr(log).spawn().with_context(|| name.to_owned())?;
        let mut service = Service(child);
        let ready = || -> Result<bool> { Ok(Connection::open(listen)?.exchange(&get("/readyz"))?.0 == 200) };
        let begun = Instant::now();
        while !ready().unwrap_or(false) {
            if let Some(status) = service.0.try_wait()? {
                bail!("{name} ended with {status}");
            }
            if begun.elapsed() > PATIENCE {
                bail!("{name} is not ready after {} s", PATIENCE.as_secs());
            }
            sleep(LOOK).await;
        }
        Ok(service)
    }
}

/// Memory of a process that is in RAM, bytes.
pub(super) fn resident(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().context("VmRSS")?;
    Ok(kib * 1024)
}
