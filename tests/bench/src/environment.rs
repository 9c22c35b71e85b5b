//! Where the figures were measured: a number without it cannot be compared with another.

use std::{fs, path::Path, process::Command};

use serde::Serialize;

/// The machine, the broker and the build.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Environment {
    cores: usize,
    cpu: String,
    kernel: String,
    memory_mib: u64,
    kafka: String,
    /// With `-dirty` where the tree differs from it.
    commit: String,
    /// Cargo's profile of both binaries.
    profile: String,
    /// One-minute load before the first run: what else the machine was doing.
    load_before: String,
}

impl Environment {
    /// Looks around; what cannot be found out is empty.
    pub(crate) fn observe(helix: &Path, kafka: Option<u64>) -> Self {
        let profile = helix.parent().and_then(Path::file_name).unwrap_or_default();
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            cpu: field("/proc/cpuinfo", "model name"),
            kernel: read("/proc/sys/kernel/osrelease"),
            memory_mib: field("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0) / 1024,
            kafka: kafka.and_then(kafka_version).unwrap_or_default(),
            commit: commit(),
            profile: profile.to_string_lossy().into_owned(),
            load_before: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
        }
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// The value of the first line with this name, as `name : value`.
fn field(path: &str, name: &str) -> String {
    let text = read(path);
    let value = text.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.trim() == name);
    value.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}

/// Of the jar that the broker's process holds open.
fn kafka_version(pid: u64) -> Option<String> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    files.flatten().filter_map(|file| fs::read_link(file.path()).ok()).find_map(|path| {
        let name = path.file_name()?.to_str()?.strip_prefix("kafka-server-common-")?.strip_suffix(".jar")?;
        Some(name.to_owned())
    })
}

fn git(arguments: &[&str]) -> Option<String> {
    let folder = env!("CARGO_MANIFEST_DIR");
    let output = Command::new("git").arg("-C").arg(folder).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn commit() -> String {
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return String::new() };
    let clean = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|changes| changes.is_empty());
    if clean { commit } else { format!("{commit}-dirty") }
}
