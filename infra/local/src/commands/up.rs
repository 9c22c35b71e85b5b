//! `up`: checks, starts, waits until all is ready, says where everything is.

use std::{
    io::Write,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::{down, summary, supervise};
use crate::{
    error::Error,
    home::Home,
    log_files,
    ports::{PortChoice, Ports},
    preflight,
    secrets::Secrets,
    stack::Plan,
    state::{Condition, Phase, StackState},
    supervisor,
    tools::Tools,
    workspaces::Workspace,
};

/// What to bring up.
#[derive(Debug, Clone)]
pub struct UpOptions {
    /// The home.
    pub home: PathBuf,
    /// Ports that differ from the defaults.
    pub ports: PortChoice,
    /// In the background; else until Ctrl-C.
    pub detach: bool,
    /// Only these components; all where it is empty.
    pub only: Vec<String>,
    /// The hospitals.
    pub workspaces: Vec<Workspace>,
    /// Refuse to start with less free disk space, and complain later, MiB.
    pub least_free_mib: u64,
    /// Give up where all is not ready within this time.
    pub ready_within: Duration,
}

impl Default for UpOptions {
    fn default() -> Self {
        Self {
            home: PathBuf::from(".helix"),
            ports: PortChoice::default(),
            detach: true,
            only: Vec::new(),
            workspaces: Workspace::demo(),
            least_free_mib: 2048,
            ready_within: Duration::from_secs(180),
        }
    }
}

/// Between two looks at the state that the supervisor writes.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Brings the stack up. On a home whose stack runs it only waits until that is ready and says again where it is.
///
/// Must be called from the main thread and outside of a runtime: in the foreground it becomes the supervisor.
///
/// # Errors
/// [`Error::Preflight`] before anything was started; [`Error::Component`] after everything was stopped again.
pub fn up(options: &UpOptions, out: &mut dyn Write) -> Result<(), Error> {
    Workspace::check(&options.workspaces)?;
    let home = Home::at(&options.home)?;
    home.create()?;
    let begun = Instant::now();
    let ownership = loop {
        if let Some(ownership) = home.own()? {
            break ownership;
        }
        say(out, &format!("a stack runs in {} already", home.root().display()));
        match wait(&home, None, options.ready_within, out)? {
            Waited::Ready => return summary::write(&home, None, out),
            // It has ended in the meantime.
            Waited::Gone => {}
        }
    };
    supervisor::end_leftovers(&home, &ownership)?;
    let plan = Plan {
        ports: Ports::resolve(&options.ports, &home, &options.workspaces)?,
        workspaces: options.workspaces.clone(),
        only: options.only.clone(),
        least_free_bytes: options.least_free_mib << 20,
    };
    let tools = Tools::find().map_err(|source| Error::System { action: "find this program", source })?;
    preflight::check(&home, &plan.ports, &tools, &|name| plan.chosen(name), plan.least_free_bytes)?;
    plan.ports.save(&home)?;
    plan.save(&home)?;
    // Made here, in a process that ends soon: hashing passwords takes memory that an allocator may keep.
    Secrets::ensure(&home, &plan.workspaces)?;
    let stale = home.run().join("state.json");
    match std::fs::remove_file(&stale) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(Error::file("remove", stale)(error)),
        Ok(()) | Err(_) => {}
    }
    if !options.detach {
        let mut progress = Progress::default();
        let mut told = false;
        return supervise::run(&home, &ownership, &plan, |state| {
            progress.show(state, out);
            if state.phase == Phase::Ready && !told {
                told = true;
                let _terminal_gone = summary::write(&home, Some(begun.elapsed()), out);
            }
        });
    }
    drop(ownership);
    let mut supervisor = detach(&home)?;
    match wait(&home, Some(&mut supervisor), options.ready_within, out)? {
        Waited::Ready => {}
        Waited::Gone => return Err(Error::Interrupted),
    }
    summary::write(&home, Some(begun.elapsed()), out)
}

/// A terminal that is gone does not matter to the stack.
fn say(out: &mut dyn Write, line: &str) {
    let _terminal_gone = writeln!(out, "{line}");
}

/// Starts the supervisor in a session of its own, so that it outlives the terminal.
fn detach(home: &Home) -> Result<Child, Error> {
    let path = home.log("supervisor");
    let log = log_files::open(&path).map_err(Error::file("open", &path))?;
    let errors = log.try_clone().map_err(Error::file("open", &path))?;
    let program = std::env::current_exe().map_err(|source| Error::System { action: "find this program", source })?;
    let mut command = Command::new("setsid");
    command.arg(program).arg("supervise").arg("--home").arg(home.root());
    command.stdin(Stdio::null()).stdout(Stdio::from(log)).stderr(Stdio::from(errors)).current_dir("/");
    command.spawn().map_err(|source| Error::System { action: "start the supervisor (setsid of util-linux)", source })
}

enum Waited {
    Ready,
    /// A stack that another process started has ended.
    Gone,
}

/// Waits until the stack is ready. `supervisor` is the one that this process started, if it did.
fn wait(
    home: &Home,
    mut supervisor: Option<&mut Child>,
    within: Duration,
    out: &mut dyn Write,
) -> Result<Waited, Error> {
    let begun = Instant::now();
    let mut progress = Progress::default();
    loop {
        let ended = match &mut supervisor {
            Some(child) => {
                child.try_wait().map_err(|source| Error::System { action: "watch the supervisor", source })?.is_some()
            }
            None => home.own()?.is_some(),
        };
        let state = StackState::load(home)?;
        if let Some(state) = &state {
            progress.show(state, out);
            if state.phase == Phase::Ready && !ended && state.supervisor.is_alive() {
                return Ok(Waited::Ready);
            }
        }
        if ended && supervisor.is_none() {
            return Ok(Waited::Gone);
        }
        if ended {
            // Another `up` was faster: its stack is as good.
            if home.own()?.is_none() {
                supervisor = None;
                continue;
            }
            return Err(why_it_ended(home, state));
        }
        if begun.elapsed() > within {
            let waiting: Vec<&str> = state
                .iter()
                .flat_map(|state| &state.components)
                .filter(|component| !component.condition.is_settled())
                .map(|component| component.name.as_str())
                .collect();
            let reason = format!("not ready within {} s: {}", within.as_secs(), waiting.join(", "));
            down(home.root())?;
            return Err(Error::Component { component: "the stack".to_owned(), reason, log: Vec::new() });
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn why_it_ended(home: &Home, state: Option<StackState>) -> Error {
    match state.and_then(|state| state.failure) {
        Some(failure) => Error::Component { component: failure.component, reason: failure.reason, log: failure.log },
        None => Error::Component {
            component: "the supervisor".to_owned(),
            reason: "it ended".to_owned(),
            log: log_files::last_lines(&home.log("supervisor"), 5),
        },
    }
}

/// Says each change of a component once.
#[derive(Default)]
struct Progress {
    shown: Vec<(String, Condition, u32)>,
}

impl Progress {
    fn show(&mut self, state: &StackState, out: &mut dyn Write) {
        if state.phase != Phase::Starting && state.phase != Phase::Ready {
            return;
        }
        for component in &state.components {
            let now = (component.name.clone(), component.condition, component.restarts);
            if self.shown.contains(&now) {
                continue;
            }
            self.shown.retain(|(name, ..)| *name != component.name);
            self.shown.push(now);
            let name = &component.name;
            match component.condition {
                Condition::Ready | Condition::Done => {
                    let took = component.ready_after.unwrap_or_default();
                    say(out, &format!("  {name:<20} ready  {:>5}.{} s", took / 1000, took % 1000 / 100));
                }
                Condition::Restarting | Condition::Failed => {
                    let reason = component.reason.as_deref().unwrap_or_default();
                    say(out, &format!("  {name:<20} {}: {reason}", component.condition.as_str()));
                }
                Condition::Waiting | Condition::Starting | Condition::Stopped => {}
            }
        }
    }
}
