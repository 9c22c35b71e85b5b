//! The supervisor: brings components up in the order of their needs, restarts what dies, stops all in reverse order.
//!
//! It knows processes, probes and time, and nothing of what the components are. It must run on the process's main
//! thread, in a runtime of one thread (see [`crate::process`]).

mod care;

use std::{
    collections::BTreeMap,
    future::Future,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use care::{Context, care};
use rustix::process::Signal;
use tokio::{sync::watch, task::JoinHandle, time::sleep};

use crate::{
    components::{Component, Work},
    disk,
    error::Error,
    health::Probe,
    home::{Home, Ownership},
    log_files,
    process::Identity,
    state::{ComponentState, Condition, Failure, Phase, StackState, now},
};

/// Bounds of the supervision.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// First pause before a restart; it doubles with each death in a row.
    pub first_backoff: Duration,
    /// Longest pause before a restart.
    pub longest_backoff: Duration,
    /// Ready for this long, and earlier deaths are forgotten.
    pub calm: Duration,
    /// Deaths in a row before a component that was never ready fails the start.
    pub attempts_to_start: u32,
    /// Deaths in a row that make a crash loop.
    pub crash_loop: u32,
    /// Free disk space below which the stack complains, bytes.
    pub least_free_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            first_backoff: Duration::from_millis(200),
            longest_backoff: Duration::from_secs(10),
            calm: Duration::from_secs(30),
            attempts_to_start: 3,
            crash_loop: 5,
            least_free_bytes: 2 << 30,
        }
    }
}

impl Limits {
    fn backoff(&self, deaths: u32) -> Duration {
        let doubled = self.first_backoff.saturating_mul(2_u32.saturating_pow(deaths.saturating_sub(1)));
        doubled.min(self.longest_backoff)
    }
}

/// Between two looks at the disk and the size of logs.
const HOUSEKEEPING: Duration = Duration::from_secs(2);
/// Lines of a log that are shown with a failure.
const TAIL: usize = 12;

type Board = Arc<watch::Sender<StackState>>;

/// Runs the components until `stop` resolves or one of them does not come up.
///
/// # Errors
/// [`Error::Component`] for what did not come up, after everything was stopped; [`Error::Interrupted`] where `stop`
/// came before all was ready.
pub async fn run(
    home: &Home,
    _ownership: &Ownership,
    components: Vec<Component>,
    limits: Limits,
    stop: impl Future<Output = ()>,
    mut observe: impl FnMut(&StackState),
) -> Result<(), Error> {
    let (board, mut watched) = watch::channel(first_state(&components)?);
    let board: Board = Arc::new(board);
    board.borrow().save(home)?;
    let logs: Vec<PathBuf> = components.iter().map(|component| home.log(&component.name)).collect();
    let housekeeping = tokio::spawn(keep_house(home.clone(), logs, board.clone(), limits));
    let depths = depths(&components);
    let mut carers: Vec<Carer> = Vec::new();
    for component in components {
        let (told, orders) = watch::channel(false);
        let depth = depths.get(&component.name).copied().unwrap_or_default();
        let name = component.name.clone();
        let context = Context { home: home.clone(), board: board.clone(), limits };
        carers.push(Carer { depth, told, name, handle: tokio::spawn(care(component, context, orders)) });
    }
    tokio::pin!(stop);
    let mut was_ready = false;
    let outcome = loop {
        let state = watched.borrow_and_update().clone();
        // A state that cannot be written is a full disk, which the housekeeping tells; the components go on.
        let _told_elsewhere = state.save(home);
        observe(&state);
        if !was_ready {
            if let Some(failure) = failure(home, &state) {
                break Err(failure);
            }
            if state.components.iter().all(|component| component.condition.is_settled()) {
                was_ready = true;
                board.send_modify(|state| state.phase = Phase::Ready);
                continue;
            }
        }
        tokio::select! {
            // The sender is held here, so this only ends by a change.
            _ = watched.changed() => {}
            () = &mut stop => break Ok(()),
        }
    };
    board.send_modify(|state| {
        state.phase = if outcome.is_err() { Phase::Failed } else { Phase::Stopping };
        state.failure = outcome.as_ref().err().cloned();
    });
    let _told_elsewhere = board.borrow().save(home);
    stop_all(carers, &board, home).await;
    housekeeping.abort();
    board.send_modify(|state| {
        if state.phase == Phase::Stopping {
            state.phase = Phase::Stopped;
        }
    });
    board.borrow().save(home)?;
    observe(&board.borrow());
    match outcome {
        Ok(()) if was_ready => Ok(()),
        Ok(()) => Err(Error::Interrupted),
        Err(Failure { component, reason, log }) => Err(Error::Component { component, reason, log }),
    }
}

fn first_state(components: &[Component]) -> Result<StackState, Error> {
    let supervisor = Identity::of(std::process::id()).ok_or_else(|| Error::System {
        action: "read /proc",
        source: std::io::Error::from(std::io::ErrorKind::Unsupported),
    })?;
    let started_at = now();
    let components = components
        .iter()
        .map(|component| ComponentState {
            name: component.name.clone(),
            condition: Condition::Waiting,
            since: started_at,
            process: None,
            started_at: None,
            ready_after: None,
            port: component.port,
            restarts: 0,
            reason: None,
            probe: match &component.work {
                Work::Process(process) => process.probe.clone(),
                Work::Task(_) => Probe::Running,
            },
        })
        .collect();
    Ok(StackState { supervisor, phase: Phase::Starting, started_at, components, warnings: Vec::new(), failure: None })
}

fn failure(home: &Home, state: &StackState) -> Option<Failure> {
    let failed = state.components.iter().find(|component| component.condition == Condition::Failed)?;
    Some(Failure {
        component: failed.name.clone(),
        reason: failed.reason.clone().unwrap_or_default(),
        log: log_files::last_lines(&home.log(&failed.name), TAIL),
    })
}

/// How many levels of needs lie below each component. Needs that nobody is called are none.
fn depths(components: &[Component]) -> BTreeMap<String, usize> {
    let mut depths: BTreeMap<String, usize> = components.iter().map(|component| (component.name.clone(), 0)).collect();
    // As many rounds as there are levels; a circle of needs would never start and is stopped in any order.
    for _ in 0..components.len() {
        for component in components {
            let below = component.needs.iter().filter_map(|need| depths.get(need)).max().map_or(0, |depth| depth + 1);
            depths.insert(component.name.clone(), below.min(components.len()));
        }
    }
    depths
}

struct Carer {
    name: String,
    depth: usize,
    told: watch::Sender<bool>,
    handle: JoinHandle<()>,
}

/// Stops level by level, those that nobody needs first.
async fn stop_all(mut carers: Vec<Carer>, board: &Board, home: &Home) {
    while let Some(deepest) = carers.iter().map(|carer| carer.depth).max() {
        let (level, rest): (Vec<Carer>, Vec<Carer>) = carers.into_iter().partition(|carer| carer.depth == deepest);
        carers = rest;
        for carer in &level {
            // A carer that has ended by itself has nothing to stop.
            let _ended = carer.told.send(true);
        }
        for carer in level {
            if carer.handle.await.is_err() {
                tracing::error!(component = carer.name, "its supervision broke off");
            }
        }
        let _told_elsewhere = board.borrow().save(home);
    }
}

/// Watches the disk and bounds the logs.
async fn keep_house(home: Home, logs: Vec<PathBuf>, board: Board, limits: Limits) {
    loop {
        sleep(HOUSEKEEPING).await;
        let mut warnings: Vec<String> = Vec::new();
        for log in &logs {
            if let Err(error) = log_files::bound(log, log_files::LIMIT_BYTES) {
                warnings.push(format!("{} cannot be bounded: {error}", log.display()));
            }
        }
        match disk::complaint(home.root(), limits.least_free_bytes) {
            Ok(complaint) => warnings.extend(complaint),
            Err(error) => warnings.push(error.to_string()),
        }
        if board.borrow().warnings != warnings {
            for warning in &warnings {
                tracing::warn!("{warning}");
            }
            board.send_modify(|state| state.warnings = warnings);
        }
    }
}

/// Kills what a supervisor that was killed left behind. The caller holds the home's lock.
pub(crate) fn end_leftovers(home: &Home, _ownership: &Ownership) -> Result<(), Error> {
    let Some(state) = StackState::load(home)? else {
        return Ok(());
    };
    let left: Vec<Identity> = state
        .components
        .iter()
        .filter_map(|component| component.process)
        .filter(|process| !process.is_gone())
        .collect();
    for process in &left {
        process.signal(Signal::KILL);
    }
    let patience = Instant::now();
    while left.iter().any(|process| !process.is_gone()) && patience.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
