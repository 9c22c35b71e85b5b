//! `status`: what the supervisor says, what the kernel says, and what each component says when asked now.

use std::{fmt, path::Path};

use serde::Serialize;

use crate::{
    disk,
    error::Error,
    health::Probe,
    home::Home,
    process,
    state::{ComponentState, Condition, Phase, StackState, now},
};

/// One component, now.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ComponentStatus {
    /// Its name.
    pub component: String,
    /// What the supervisor says.
    pub state: Condition,
    /// What it says itself: `ok`, or what it said instead. Nothing where it does not run.
    pub health: Option<String>,
    /// Its process.
    pub pid: Option<u32>,
    /// Where it listens.
    pub port: Option<u16>,
    /// How often it was started again.
    pub restarts: u32,
    /// How long its process has been running.
    pub uptime_seconds: Option<u64>,
    /// Resident memory, with that of its own children.
    pub memory_bytes: Option<u64>,
    /// One sentence about its last death.
    pub reason: Option<String>,
}

/// Everything, now.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusReport {
    /// The home.
    pub home: String,
    /// Where the stack stands; `stopped` where nothing runs.
    pub phase: Phase,
    /// The supervisor's process.
    pub supervisor_pid: Option<u32>,
    /// Free space on the home's disk.
    pub disk_free_bytes: u64,
    /// What needs attention, a sentence each.
    pub warnings: Vec<String>,
    /// In the order of their start.
    pub components: Vec<ComponentStatus>,
}

/// Asks everything.
///
/// # Errors
/// [`Error::NotRunning`] where no stack was ever started there; [`Error::NotOurs`].
pub fn status(home: &Path) -> Result<StatusReport, Error> {
    let home = Home::at(home)?;
    if !home.is_ours() {
        return Err(if home.root().exists() {
            Error::NotOurs { path: home.root().to_path_buf() }
        } else {
            Error::NotRunning { home: home.root().to_path_buf() }
        });
    }
    let state = StackState::load(&home)?.ok_or_else(|| Error::NotRunning { home: home.root().to_path_buf() })?;
    let runs = state.supervisor.is_alive();
    // On a thread of its own, so that a caller inside a runtime may ask as well.
    let healths = std::thread::scope(|scope| {
        let asked = scope.spawn(|| ask_all(&state.components));
        asked.join().unwrap_or_default()
    });
    let mut healths = healths.into_iter();
    let components =
        state.components.iter().map(|component| describe(component, healths.next().flatten(), runs)).collect();
    let phase = if runs {
        state.phase
    } else if matches!(state.phase, Phase::Failed) {
        Phase::Failed
    } else {
        Phase::Stopped
    };
    let mut warnings = state.warnings;
    if !runs && !matches!(state.phase, Phase::Stopped | Phase::Failed) {
        warnings.push("the supervisor was killed, and everything with it: `make up` starts it again".to_owned());
    }
    if let Some(failure) = &state.failure {
        warnings.push(format!("{} did not start: {}", failure.component, failure.reason));
    }
    Ok(StatusReport {
        home: home.root().display().to_string(),
        phase,
        supervisor_pid: runs.then_some(state.supervisor.pid),
        disk_free_bytes: disk::free_bytes(home.root())?,
        warnings,
        components,
    })
}

/// Probes all at once.
fn ask_all(components: &[ComponentState]) -> Vec<Option<String>> {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    runtime.block_on(async {
        let asked: Vec<_> = components
            .iter()
            .map(|component| {
                let probe = component.process.filter(|process| process.is_alive()).map(|_| component.probe.clone());
                tokio::spawn(async move {
                    let probe: Probe = probe?;
                    Some(probe.ask().await.err().unwrap_or_else(|| "ok".to_owned()))
                })
            })
            .collect();
        let mut healths = Vec::with_capacity(asked.len());
        for one in asked {
            healths.push(one.await.unwrap_or_default());
        }
        healths
    })
}

fn describe(component: &ComponentState, health: Option<String>, runs: bool) -> ComponentStatus {
    let alive = component.process.filter(|process| process.is_alive());
    let uptime = alive.and(component.started_at).map(|since| now().saturating_sub(since) / 1000);
    ComponentStatus {
        component: component.name.clone(),
        state: if runs { component.condition } else { Condition::Stopped },
        health,
        pid: alive.map(|process| process.pid),
        port: component.port,
        restarts: component.restarts,
        uptime_seconds: uptime,
        memory_bytes: alive.map(|process| process::memory(process.pid)),
        reason: component.reason.clone(),
    }
}

impl StatusReport {
    /// Whether the stack is up and every component says that it is well.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.phase == Phase::Ready
            && self.components.iter().all(|component| {
                component.state.is_settled() && component.health.as_deref().is_none_or(|health| health == "ok")
            })
    }

    /// Exit code of contract.md: 0 healthy, 1 not, 3 nothing runs.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if self.is_healthy() {
            0
        } else if self.supervisor_pid.is_none() {
            3
        } else {
            1
        }
    }

    /// As JSON, on one line.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Plain data: nothing in it can fail to serialise.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A table for a person.
impl fmt::Display for StatusReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<20} {:<11} {:>7} {:>6} {:>9} {:>8} {:>9}  HEALTH",
            "COMPONENT", "STATE", "PID", "PORT", "RESTARTS", "UPTIME", "MEMORY"
        )?;
        let dash = || "-".to_owned();
        for line in &self.components {
            let pid = line.pid.map_or_else(dash, |pid| pid.to_string());
            let port = line.port.map_or_else(dash, |port| port.to_string());
            let uptime = line.uptime_seconds.map_or_else(dash, readable_time);
            let memory = line.memory_bytes.map_or_else(dash, disk::readable);
            let health = line.health.clone().unwrap_or_else(dash);
            let (name, state, restarts) = (&line.component, line.state.as_str(), line.restarts);
            writeln!(f, "{name:<20} {state:<11} {pid:>7} {port:>6} {restarts:>9} {uptime:>8} {memory:>9}  {health}")?;
        }
        for line in self.components.iter().filter(|line| !line.state.is_settled()) {
            if let Some(reason) = &line.reason {
                writeln!(f, "{}: {reason}", line.component)?;
            }
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        let total = self.components.iter().filter_map(|line| line.memory_bytes).sum();
        let (total, free) = (disk::readable(total), disk::readable(self.disk_free_bytes));
        writeln!(f, "{} is {}: {total} in memory, {free} free on its disk", self.home, self.phase.as_str())
    }
}

fn readable_time(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600.. => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}
