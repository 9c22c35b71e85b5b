//! A projector as a child of the test.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::project::{Action, Options};

/// A running projector; killed with the value.
#[derive(Debug)]
pub struct Projector {
    child: Child,
}

impl Projector {
    /// Starts it; its log goes to `<folder>/<name>.log`, appended.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start(binary: &Path, folder: &Path, options: &Options) -> Result<Self> {
        let name = if options.instance.is_empty() { "projector" } else { &options.instance };
        let path: PathBuf = folder.join(format!("{}-{name}.log", options.topic));
        let log = File::options().create(true).append(true).open(&path).with_context(|| path.display().to_string())?;
        let mut command = Command::new(binary);
        command.arg("project").args(["--store", options.store.as_str(), "--place", &options.place]);
        command.args(["--workspace", &options.workspace, "--topic", &options.topic, "--brokers", &options.brokers]);
        command.args(["--registry", &options.registry, "--instance", &options.instance]);
        command.args(["--database", &options.database, "--batch", &options.batch.to_string()]);
        command.args(["--nth", &options.nth.to_string(), "--forget", &options.forget.to_string()]);
        if let Some(point) = &options.point {
            let action = match options.action {
                Action::Die => "die",
                Action::Freeze => "freeze",
            };
            command.args(["--point", point, "--action", action]);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
        Ok(Self { child })
    }

    fn signal(&self, name: &str) -> Result<()> {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status()?;
        if !sent.success() {
            bail!("the projector {} took no {name}", self.child.id());
        }
        Ok(())
    }

    /// Kills it.
    ///
    /// # Errors
    /// Where it cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Stops it where it is.
    ///
    /// # Errors
    /// Where it is gone.
    pub fn freeze(&self) -> Result<()> {
        self.signal("-STOP")
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// Where it is gone.
    pub fn thaw(&self) -> Result<()> {
        self.signal("-CONT")
    }

    /// Whether it is stopped by a signal.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// Where it cannot be asked.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// Where it is still there after `patience`.
    pub async fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if begun.elapsed() > patience {
                bail!("the projector never came to its fault");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Projector {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
