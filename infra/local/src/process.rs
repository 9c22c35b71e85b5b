//! Starting, finding and ending processes.
//!
//! No child outlives the supervisor. A child is started through `setpriv --pdeathsig`, so that the kernel ends it when
//! the *thread* that started it ends: the supervisor therefore starts children from its main thread only (its runtime
//! has one thread, the main one). Between the fork and the moment `setpriv` has asked for the signal, the supervisor
//! may die unnoticed; a shell then compares the parent's id and does not go on under another one.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};

use crate::log_files;

/// Goes on only under the parent whose id is `$0`, and becomes the program.
const UNDER_THE_SAME_PARENT: &str = r#"test "$PPID" = "$0" && exec "$@""#;

/// What the kernel sends to a child whose supervisor died.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AtParentsDeath {
    /// SIGKILL: for whatever has no children of its own and survives `kill -9` by design.
    Kill,
    /// SIGQUIT: Postgres' immediate shutdown, in which the postmaster ends its backends first.
    Quit,
}

/// A user to run as, where we are root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its id.
    pub uid: u32,
    /// Its group's id.
    pub gid: u32,
}

/// How to start a child.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Variables over those of the supervisor.
    pub environment: Vec<(String, OsString)>,
    /// Working folder.
    pub folder: PathBuf,
    /// Another user, where we are root.
    pub user: Option<User>,
    /// What it gets when the supervisor dies.
    pub at_parents_death: AtParentsDeath,
}

impl Launch {
    /// A program with arguments, killed when the supervisor dies.
    pub fn new<A: Into<OsString>>(program: impl Into<PathBuf>, arguments: impl IntoIterator<Item = A>) -> Self {
        Self {
            program: program.into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
            folder: PathBuf::from("/"),
            user: None,
            at_parents_death: AtParentsDeath::Kill,
        }
    }

    /// Sets a variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// The command, wrapped.
    fn command(&self) -> Command {
        let mut command = Command::new("setpriv");
        if let Some(user) = &self.user {
            command.arg(format!("--reuid={}", user.uid)).arg(format!("--regid={}", user.gid)).arg("--clear-groups");
        }
        command.args(match self.at_parents_death {
            AtParentsDeath::Kill => ["--pdeathsig", "KILL"],
            AtParentsDeath::Quit => ["--pdeathsig", "QUIT"],
        });
        command.args(["--", "/bin/sh", "-c", UNDER_THE_SAME_PARENT]).arg(std::process::id().to_string());
        command.arg(&self.program).args(&self.arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(&self.folder);
        // A Ctrl-C at the terminal is for the supervisor, which stops its children in order.
        command.process_group(0);
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Starts it, its output at the end of `log`.
    ///
    /// # Errors
    /// Where the log cannot be opened or the process not be made.
    pub fn start(&self, log: &Path) -> std::io::Result<Child> {
        let output = log_files::open(log)?;
        let mut command = self.command();
        command.stdout(Stdio::from(output.try_clone()?)).stderr(Stdio::from(output));
        command.spawn()
    }

    /// Runs it to its end and gives what it wrote.
    ///
    /// # Errors
    /// Where it cannot be started, and where it ends badly: its last words then.
    pub async fn finish(&self) -> Result<String, String> {
        let program = self.program.display();
        let output = self.command().output().await.map_err(|error| format!("{program} cannot be run: {error}"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let words = String::from_utf8_lossy(&output.stderr);
        let last: Vec<&str> = words.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        Err(format!("{program} failed ({}): {}", output.status, last.join(" | ")))
    }
}

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// Its number.
    pub pid: u32,
    /// When it started, in the kernel's ticks since boot.
    pub start_ticks: u64,
}

impl Identity {
    /// Of a running process.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        Some(Self { pid, start_ticks: stat_field(pid, 22)? })
    }

    /// Whether it still runs. One without memory is past its end: it is being taken apart, or was not yet waited for.
    #[must_use]
    pub fn is_alive(self) -> bool {
        stat_field(self.pid, 22) == Some(self.start_ticks) && stat_field(self.pid, 23) != Some(0)
    }

    /// Whether all that it held is free again: its memory goes first, its ports and locks only then.
    #[must_use]
    pub fn is_gone(self) -> bool {
        let is_zombie = || stat(self.pid).and_then(|fields| fields.first().cloned()).is_none_or(|state| state == "Z");
        stat_field(self.pid, 22) != Some(self.start_ticks) || is_zombie()
    }

    /// Signals it, and nothing else with its number.
    pub fn signal(self, signal: Signal) {
        if self.is_alive() {
            send(self.pid, signal);
        }
    }
}

/// Signals a process; one that is gone needs no signal.
pub(crate) fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _gone = kill_process(pid, signal);
    }
}

/// The fields of `/proc/<pid>/stat` after the program's name, which may hold anything.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after) = text.rsplit_once(')')?;
    Some(after.split_whitespace().map(str::to_owned).collect())
}

/// A field by its number in proc(5).
fn stat_field(pid: u32, number: usize) -> Option<u64> {
    stat(pid)?.get(number.checked_sub(3)?)?.parse().ok()
}

fn all_processes() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Resident memory of a process and its descendants, bytes; memory they share is counted once.
#[must_use]
pub fn memory(pid: u32) -> u64 {
    let parents: Vec<(u32, u64)> =
        all_processes().into_iter().filter_map(|process| Some((process, stat_field(process, 4)?))).collect();
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        family.extend(parents.iter().filter(|(_, of)| *of == u64::from(parent)).map(|(process, _)| *process));
        next += 1;
    }
    let mut own = 0;
    let mut shared = 0;
    for member in family {
        let Ok(status) = fs::read_to_string(format!("/proc/{member}/status")) else {
            continue;
        };
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0)
        };
        own += kib("RssAnon:") + kib("RssFile:");
        shared = shared.max(kib("RssShmem:"));
    }
    (own + shared) * 1024
}

/// Kills every process whose working folder is `folder`: what a killed postmaster may leave behind.
pub(crate) fn kill_all_in(folder: &Path) {
    let Ok(folder) = folder.canonicalize() else { return };
    for pid in all_processes() {
        if fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == folder) && pid != std::process::id() {
            send(pid, Signal::KILL);
        }
    }
}

/// Who listens on that port of this machine, as far as this user may know.
#[must_use]
pub fn listener_of(port: u16) -> Option<String> {
    let socket = ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| {
        let text = fs::read_to_string(table).ok()?;
        text.lines().skip(1).find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
            let listens = *fields.get(3)? == "0A";
            let same = u16::from_str_radix(local_port, 16).is_ok_and(|local| local == port);
            (listens && same).then(|| fields.get(9).map(|inode| format!("socket:[{inode}]"))).flatten()
        })
    })?;
    all_processes().into_iter().find_map(|pid| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        let holds =
            files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == socket.as_str()));
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        holds.then(|| format!("{} (pid {pid})", name.trim()))
    })
}

/// A user of this machine by name.
pub(crate) fn user(name: &str) -> Option<User> {
    let text = fs::read_to_string("/etc/passwd").ok()?;
    text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let found = *fields.first()? == name;
        let ids = (fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?);
        found.then(|| User { name: name.to_owned(), uid: ids.0, gid: ids.1 })
    })
}

/// Whether we are root.
pub(crate) fn am_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The first folder on the way to `path` that `user` may not pass.
pub(crate) fn barrier(path: &Path, user: &User) -> Option<PathBuf> {
    path.ancestors()
        .filter(|folder| folder.is_dir())
        .find(|folder| {
            fs::metadata(folder).is_ok_and(|found| {
                let bit = if found.uid() == user.uid {
                    0o100
                } else if found.gid() == user.gid {
                    0o010
                } else {
                    0o001
                };
                found.mode() & bit == 0
            })
        })
        .map(Path::to_path_buf)
}
