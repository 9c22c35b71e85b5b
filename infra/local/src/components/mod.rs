//! What the stack is made of. A component is data: how to start it, what it needs first, how to ask for its health.

pub(crate) mod caddy;
pub(crate) mod clickhouse;
pub(crate) mod kafka;
pub(crate) mod postgres;
pub(crate) mod redis;
pub(crate) mod registry;
pub(crate) mod services;
pub(crate) mod setup;

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use rustix::process::Signal;

use crate::{health::Probe, process::Launch};

/// Work beside a process, as creating its data folder. It may run again and must not mind.
pub type Step = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

/// Makes a [`Step`] of an async closure.
pub fn step<F, R>(function: F) -> Step
where
    F: Fn() -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), String>> + Send + 'static,
{
    Arc::new(move || Box::pin(function()))
}

/// One component.
#[derive(Clone)]
pub struct Component {
    /// Its name: of its log, in `status`, in `--only`.
    pub name: String,
    /// Where it listens.
    pub port: Option<u16>,
    /// Components that must have been ready first. It is stopped before them.
    pub needs: Vec<String>,
    /// What it does.
    pub work: Work,
}

impl std::fmt::Debug for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Component").field("name", &self.name).field("needs", &self.needs).finish_non_exhaustive()
    }
}

/// A process that runs as long as the stack, or a task that is done once.
#[derive(Clone)]
pub enum Work {
    /// A child.
    Process(Box<Process>),
    /// Done in the supervisor.
    Task(Step),
}

/// A child of the supervisor.
#[derive(Clone)]
pub struct Process {
    /// How to start it.
    pub launch: Launch,
    /// Before each start.
    pub before: Option<Step>,
    /// How to ask whether it serves.
    pub probe: Probe,
    /// After each start, once it serves and before it counts as ready.
    pub after: Option<Step>,
    /// How to end it.
    pub stop: Stop,
    /// It must serve within this time.
    pub start_within: Duration,
}

impl Process {
    /// With nothing before or after, ended by SIGTERM within ten seconds.
    #[must_use]
    pub fn new(launch: Launch, probe: Probe) -> Self {
        Self {
            launch,
            before: None,
            probe,
            after: None,
            stop: Stop { signal: Signal::TERM, within: Duration::from_secs(10) },
            start_within: Duration::from_secs(60),
        }
    }
}

/// How a process is asked to end.
#[derive(Debug, Clone, Copy)]
pub struct Stop {
    /// The signal.
    pub signal: Signal,
    /// Killed after this time.
    pub within: Duration,
}
