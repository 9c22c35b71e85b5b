//! The `helix` binary, called as a person calls it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, bail};

/// The binary of this build, beside the test's own.
///
/// # Errors
/// Where it was not built.
pub fn binary() -> Result<PathBuf> {
    let own = std::env::current_exe().context("the test's own path")?;
    // A program stands beside it, a test one folder deeper.
    let beside = own.ancestors().skip(1).take(2).map(|folder| folder.join("helix")).find(|path| path.is_file());
    beside.context("the helix binary is missing: `make test` builds it, or `cargo build -p helix`")
}

/// Runs a verb to its end.
///
/// # Errors
/// Where it cannot be started; its exit code is in the output.
pub fn run(config: &Path, arguments: &[&str]) -> Result<Output> {
    Command::new(binary()?)
        .arg("--config")
        .arg(config)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("helix {}", arguments.join(" ")))
}

/// Runs a verb that must end with 0 and gives what it printed.
///
/// # Errors
/// With both streams where it ended otherwise.
pub fn succeed(config: &Path, arguments: &[&str]) -> Result<String> {
    let output = run(config, arguments)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!(
            "helix {} ended with {}:\n{text}\n{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(text)
}
