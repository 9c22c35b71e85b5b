//! A local stack for tests: started by `helix up`, ended with the value.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use sqlx::PgPool;

use crate::cli;

/// Nothing that a test waits for takes this long, unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A running stack.
#[derive(Debug)]
pub struct Stack {
    home: PathBuf,
    env: BTreeMap<String, String>,
    /// A client without a pool's surprises between tests.
    pub http: reqwest::Client,
    /// The administrator's connection.
    pub postgres: PgPool,
}

impl Stack {
    /// Starts a stack in a new home under the target folder and waits until it is ready.
    ///
    /// # Errors
    /// With what `helix up` said.
    pub async fn start() -> Result<Self> {
        let folder = cli::binary()?.parent().context("the target folder")?.join("e2e");
        let home = folder.join(format!("home-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let output = Command::new(cli::binary()?)
            .args(["up", "--detach", "--ports", "auto", "--home"])
            .arg(&home)
            .stdin(Stdio::null())
            .output()?;
        if !output.status.success() {
            bail!(
                "helix up failed: {}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let env = read_env(&home.join("dev.env"))?;
        let url = env.get("HELIX_POSTGRES_URL").context("HELIX_POSTGRES_URL")?;
        let postgres = PgPool::connect(url).await?;
        Ok(Self { home, env, http: reqwest::Client::new(), postgres })
    }

    /// A variable of `dev.env`.
    ///
    /// # Panics
    /// Where the contract's name is missing: that is the failure a test should show.
    #[must_use]
    pub fn env(&self, name: &str) -> &str {
        #[allow(clippy::panic)]
        self.env.get(name).unwrap_or_else(|| panic!("{name} is not in dev.env"))
    }

    /// All names of `dev.env`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.env.keys().map(String::as_str)
    }

    /// The home.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The services' configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.home.join("helix.toml")
    }

    /// `helix status --json`.
    ///
    /// # Errors
    /// Where it prints no JSON.
    pub fn status(&self) -> Result<Value> {
        let home = self.home.display().to_string();
        let output = Command::new(cli::binary()?).args(["status", "--json", "--home", &home]).output()?;
        serde_json::from_slice(&output.stdout).context("helix status --json")
    }

    /// The process of a component, while it is ready.
    ///
    /// # Errors
    /// Where the status cannot be read.
    pub fn pid(&self, component: &str) -> Result<Option<u64>> {
        let status = self.status()?;
        let components = status.get("components").and_then(Value::as_array).context("components")?;
        let found = components.iter().find(|one| one.get("component").and_then(Value::as_str) == Some(component));
        let found = found.with_context(|| format!("no component {component}"))?;
        let ready = found.get("state").and_then(Value::as_str) == Some("ready");
        Ok(found.get("pid").and_then(Value::as_u64).filter(|_| ready))
    }

    /// The metrics of a component, by the port that the status tells.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn metrics(&self, component: &str) -> Result<String> {
        let status = self.status()?;
        let components = status.get("components").and_then(Value::as_array).context("components")?;
        let found = components.iter().find(|one| one.get("component").and_then(Value::as_str) == Some(component));
        let port = found.and_then(|one| one.get("port")).and_then(Value::as_u64).context("its port")?;
        Ok(self.http.get(format!("http://127.0.0.1:{port}/metrics")).send().await?.text().await?)
    }

    /// Kills a component with SIGKILL and waits until the supervisor has another one ready.
    ///
    /// # Errors
    /// Where none is ready in time.
    pub async fn kill(&self, component: &str) -> Result<()> {
        let pid = self.pid(component)?.with_context(|| format!("{component} is not ready"))?;
        let killed = Command::new("kill").args(["-9", &pid.to_string()]).status()?;
        if !killed.success() {
            bail!("{component} (pid {pid}) could not be killed");
        }
        until(PATIENCE, "the killed component is ready again", async || {
            Ok(self.pid(component)?.is_some_and(|now| now != pid))
        })
        .await
    }

    /// Stops a component where it is, without its knowing, until the value is dropped.
    ///
    /// # Errors
    /// Where it is not ready, or no signal can be sent.
    pub fn freeze(&self, component: &str) -> Result<Frozen> {
        let pid = self.pid(component)?.with_context(|| format!("{component} is not ready"))?;
        signal(pid, "-STOP")?;
        Ok(Frozen { pid })
    }

    /// Posts a body to the ingest and gives status and JSON.
    ///
    /// # Errors
    /// Where nobody answers.
    pub async fn post(
        &self,
        path: &str,
        key: &str,
        content_type: &str,
        body: impl Into<reqwest::Body>,
    ) -> Result<(u16, Value)> {
        let url = format!("{}{path}", self.env("HELIX_INGEST_URL"));
        let request = self.http.post(url).header("x-helix-key", key).header("content-type", content_type);
        answer(request.body(body)).await
    }

    /// Posts an agent or call event that must be taken, and waits until Postgres and ClickHouse have applied it.
    ///
    /// # Errors
    /// Where the answer is not 202, or the projectors do not follow.
    pub async fn event(&self, event: &Value) -> Result<Value> {
        let key = self.env("HELIX_INGEST_KEY").to_owned();
        let (status, body) =
            self.post("/api/supervisor/agent-event", &key, "application/json", event.to_string()).await?;
        if status != 202 {
            bail!("{status}: {body}");
        }
        self.applied(&body).await?;
        Ok(body)
    }

    /// Waits until Postgres and ClickHouse have passed every fact that an answer names.
    ///
    /// # Errors
    /// Where they do not within a time that is generous for a loaded machine.
    pub async fn applied(&self, answer: &Value) -> Result<()> {
        let results = answer.get("results").and_then(Value::as_array).context("results")?;
        for result in
            results.iter().filter(|result| result.get("topic").and_then(Value::as_str) == Some("telephony.facts"))
        {
            let partition = result.get("partition").and_then(Value::as_i64).context("partition")?;
            let offset = result.get("offset").and_then(Value::as_i64).context("offset")?;
            until(PATIENCE, "postgres has applied the fact", async || {
                let next: Option<i64> = sqlx::query_scalar(
                    "select next_offset from helix.projection_progress where projection = 'postgres' and topic = 'telephony.facts' and partition = $1",
                )
                .bind(i32::try_from(partition)?)
                .fetch_optional(&self.postgres)
                .await?;
                Ok(next.is_some_and(|next| next > offset))
            })
            .await?;
            until(PATIENCE, "clickhouse has applied the fact", async || {
                Ok(self.clickhouse_progress().await?.get(&partition).is_some_and(|next| *next > offset))
            })
            .await?;
        }
        Ok(())
    }

    /// Where ClickHouse's projector stands, by partition: whichever generation is live.
    ///
    /// # Errors
    /// Where ClickHouse does not answer.
    pub async fn clickhouse_progress(&self) -> Result<BTreeMap<i64, i64>> {
        let text = self
            .clickhouse(
                "select partition, argMax(next_offset, (epoch, next_offset)) from helix.projection_progress
                 where projection = (
                     select ifNull(nullIf(JSONExtractString(comment, 'generation'), ''), 'clickhouse')
                     from system.tables where database = 'helix' and name = 'facts')
                   and topic = 'telephony.facts' group by partition format TSV",
            )
            .await?;
        let pair = |line: &str| -> Result<(i64, i64)> {
            let (partition, next) = line.split_once('\t').context("two columns")?;
            Ok((partition.parse()?, next.parse()?))
        };
        text.lines().map(pair).collect()
    }

    /// Asks ClickHouse, as any HTTP client does.
    ///
    /// # Errors
    /// With its words where it refuses.
    pub async fn clickhouse(&self, query: &str) -> Result<String> {
        let answer = self.http.post(self.env("HELIX_CLICKHOUSE_URL")).body(query.to_owned()).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        if !status.is_success() {
            bail!("clickhouse answered {status}: {text}");
        }
        Ok(text)
    }

    /// The board of a workspace, by its supervisor's token.
    ///
    /// # Errors
    /// Where the sidecar does not answer 200.
    pub async fn board(&self, workspace: &str) -> Result<Value> {
        let upper = workspace.to_ascii_uppercase();
        let url = format!("{}/api/supervisor/board", self.env(&format!("HELIX_SIDECAR_{upper}_URL")));
        let token = self.env(&format!("HELIX_TOKEN_{upper}_SUPERVISOR"));
        let (status, body) = answer(self.http.get(url).bearer_auth(token)).await?;
        if status != 200 {
            bail!("{status}: {body}");
        }
        Ok(body)
    }

    /// Stops the stack. Its home is removed only where `clean`, so that logs of a failure can be read.
    pub fn stop(&self, clean: bool) {
        let verb = if clean { "clean" } else { "down" };
        let Ok(binary) = cli::binary() else { return };
        let ended = Command::new(binary).arg(verb).arg("--home").arg(&self.home).output();
        if let Err(error) = ended {
            eprintln!("the stack in {} could not be stopped: {error}", self.home.display());
        }
    }
}

/// A frozen process. It goes on when this is dropped.
#[derive(Debug)]
pub struct Frozen {
    pid: u64,
}

impl Frozen {
    /// It never goes on.
    ///
    /// # Errors
    /// Where no signal can be sent.
    pub fn kill(self) -> Result<()> {
        signal(self.pid, "-9")
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // One that was killed meanwhile needs no word.
        let _gone = signal(self.pid, "-CONT");
    }
}

fn signal(pid: u64, word: &str) -> Result<()> {
    let sent = Command::new("kill").args([word, &pid.to_string()]).stderr(Stdio::null()).status()?;
    if !sent.success() {
        bail!("kill {word} {pid} ended with {sent}");
    }
    Ok(())
}

/// Sends a request and reads the answer as JSON; null where it is none.
///
/// # Errors
/// Where nobody answers.
pub async fn answer(request: reqwest::RequestBuilder) -> Result<(u16, Value)> {
    let response = request.timeout(PATIENCE).send().await?;
    let status = response.status().as_u16();
    let text = response.text().await?;
    Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
}

/// Asks again until the answer is yes.
///
/// # Errors
/// With `what` where it is still no after `patience`.
pub async fn until(patience: Duration, what: &str, mut asked: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    loop {
        if asked().await? {
            return Ok(());
        }
        if begun.elapsed() > patience {
            bail!("waited {} s in vain until {what}", patience.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A port that nobody has, for a process of the test's own: above those of stacks (`helix up --ports auto`) and below those from
/// which the system gives ports to whoever asks for any, so that nobody is given it before that process takes it.
///
/// # Errors
/// Where all of them are taken.
pub fn free_port() -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FROM: u16 = 32_000;
    const COUNT: u16 = 760;
    // Another run beside this one begins elsewhere.
    let begin = u16::try_from(std::process::id() % u32::from(COUNT))?;
    for _ in 0..COUNT {
        let port = FROM + begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port is free from {FROM} on")
}

fn read_env(path: &Path) -> Result<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let pairs = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
    Ok(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}
