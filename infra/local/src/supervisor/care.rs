//! Looking after one component: its waiting, its lives, its end.

use std::{
    process::ExitStatus,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tokio::{process::Child, sync::watch, time::sleep};

use super::{Board, Limits};
use crate::{
    components::{Component, Process, Step, Work},
    disk,
    health::Probe,
    home::Home,
    process::{self, Identity},
    state::{ComponentState, Condition, now},
};

/// Between two questions to a component that comes up.
const PROBE_EVERY: Duration = Duration::from_millis(50);

/// What every carer shares.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) home: Home,
    pub(super) board: Board,
    pub(super) limits: Limits,
}

impl Context {
    fn change(&self, name: &str, change: impl FnOnce(&mut ComponentState)) {
        self.board.send_modify(|state| {
            if let Some(component) = state.components.iter_mut().find(|component| component.name == name) {
                let before = component.condition;
                change(component);
                if component.condition != before {
                    component.since = now();
                }
            }
        });
    }

    fn set(&self, name: &str, condition: Condition) {
        self.change(name, |component| {
            component.condition = condition;
            if matches!(condition, Condition::Stopped) {
                component.process = None;
            }
        });
    }
}

/// Resolves when the supervisor says stop.
async fn told(orders: &mut watch::Receiver<bool>) {
    // Where the supervisor is gone there is nobody to run for.
    let _gone = orders.wait_for(|stop| *stop).await;
}

enum Ended {
    /// Stopped because we were told to.
    Told,
    /// By itself.
    Died {
        /// One sentence.
        reason: String,
        /// How long it had been ready.
        ready_for: Option<Duration>,
    },
}

/// Looks after one component until told to stop.
pub(super) async fn care(component: Component, context: Context, mut orders: watch::Receiver<bool>) {
    let Component { name, needs, work, .. } = component;
    let mut watched = context.board.subscribe();
    let settled = watched
        .wait_for(|state| needs.iter().filter_map(|need| state.component(need)).all(|need| need.ready_after.is_some()));
    tokio::select! {
        _ = settled => {}
        () = told(&mut orders) => return context.set(&name, Condition::Stopped),
    }
    let begun = Instant::now();
    let mut deaths = 0;
    loop {
        let ended = match &work {
            Work::Process(process) => live(&name, process, &context, &mut orders, begun).await,
            Work::Task(step) => perform(&name, step, &context, &mut orders, begun).await,
        };
        let (reason, ready_for) = match ended {
            Ended::Told => return context.set(&name, Condition::Stopped),
            Ended::Died { reason, ready_for } => (reason, ready_for),
        };
        if ready_for.is_some_and(|time| time >= context.limits.calm) {
            deaths = 0;
        }
        deaths += 1;
        let pause = context.limits.backoff(deaths);
        let never_ready = context.board.borrow().component(&name).is_none_or(|own| own.ready_after.is_none());
        // Whatever had its whole time and did not come up will not come up the next time either.
        let had_its_time = match &work {
            Work::Process(process) => begun.elapsed() >= process.start_within,
            Work::Task(_) => false,
        };
        let never_comes_up = never_ready && (had_its_time || deaths >= context.limits.attempts_to_start);
        let hopeless = never_comes_up || deaths >= context.limits.crash_loop;
        tracing::warn!(component = name, deaths, pause_ms = pause.as_millis(), reason, "a component died");
        context.change(&name, |own| {
            own.condition = if hopeless { Condition::Failed } else { Condition::Restarting };
            own.reason = Some(reason);
            own.process = None;
            own.restarts += 1;
        });
        tokio::select! {
            () = sleep(pause) => {}
            () = told(&mut orders) => return context.set(&name, Condition::Stopped),
        }
    }
}

fn ready(context: &Context, name: &str, condition: Condition, begun: Instant) {
    let took = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    context.change(name, |own| {
        own.condition = condition;
        own.ready_after.get_or_insert(took);
    });
}

/// Does a task once; afterwards only waits for the end.
async fn perform(
    name: &str,
    step: &Step,
    context: &Context,
    orders: &mut watch::Receiver<bool>,
    begun: Instant,
) -> Ended {
    context.set(name, Condition::Starting);
    tokio::select! {
        done = step() => match done {
            Ok(()) => ready(context, name, Condition::Done, begun),
            Err(reason) => return Ended::Died { reason, ready_for: None },
        },
        () = told(orders) => return Ended::Told,
    }
    told(orders).await;
    Ended::Told
}

/// One life of a process: from its preparation to its end.
async fn live(
    name: &str,
    process: &Process,
    context: &Context,
    orders: &mut watch::Receiver<bool>,
    begun: Instant,
) -> Ended {
    let died = |reason: String| Ended::Died { reason, ready_for: None };
    context.set(name, Condition::Starting);
    if let Some(before) = &process.before {
        tokio::select! {
            prepared = before() => if let Err(reason) = prepared { return died(reason) },
            () = told(orders) => return Ended::Told,
        }
    }
    let mut child = match process.launch.start(&context.home.log(name)) {
        Ok(child) => child,
        Err(error) => {
            return died(format!("{} cannot be started: {error}", process.launch.program.display()));
        }
    };
    context.change(name, |own| {
        own.process = child.id().and_then(Identity::of);
        own.started_at = Some(now());
    });
    let came_up = async {
        healthy(&process.probe, process.start_within).await?;
        match &process.after {
            Some(after) => after().await,
            None => Ok(()),
        }
    };
    tokio::select! {
        status = child.wait() => return died(last_words(name, context, status)),
        up = came_up => if let Err(reason) = up {
            end(&mut child, process).await;
            return died(reason);
        },
        () = told(orders) => {
            end(&mut child, process).await;
            return Ended::Told;
        }
    }
    ready(context, name, Condition::Ready, begun);
    let since = Instant::now();
    tokio::select! {
        status = child.wait() => {
            Ended::Died { reason: last_words(name, context, status), ready_for: Some(since.elapsed()) }
        }
        () = told(orders) => {
            end(&mut child, process).await;
            Ended::Told
        }
    }
}

/// Asks until it is healthy.
async fn healthy(probe: &Probe, within: Duration) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        match probe.ask().await {
            Ok(()) => return Ok(()),
            Err(complaint) if begun.elapsed() > within => {
                return Err(format!("it was not ready within {} s; when last asked: {complaint}", within.as_secs()));
            }
            Err(_) => sleep(PROBE_EVERY).await,
        }
    }
}

/// How a process ended, in one sentence.
fn last_words(name: &str, context: &Context, status: std::io::Result<ExitStatus>) -> String {
    let how = status.map_or_else(|error| format!("it was lost ({error})"), |status| format!("it ended ({status})"));
    match disk::complaint(context.home.root(), context.limits.least_free_bytes) {
        Ok(Some(full)) => format!("{how}, and {full}"),
        Ok(None) | Err(_) => format!("{how}; `helix logs {name}` shows why"),
    }
}

/// Ends a process in good order, and by force once its time is up.
async fn end(child: &mut Child, process: &Process) {
    let Some(pid) = child.id() else { return };
    process::send(pid, process.stop.signal);
    if tokio::time::timeout(process.stop.within, child.wait()).await.is_err() {
        tracing::warn!(pid, program = %process.launch.program.display(), "it did not end in time and is killed");
        process::send(pid, Signal::KILL);
        let _ended = child.wait().await;
    }
}
