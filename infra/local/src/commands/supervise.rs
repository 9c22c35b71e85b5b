//! The supervisor's own command, which `up --detach` starts. Not for people.

use std::path::Path;

use helix_kit::{config::TelemetryConfig, http::shutdown_signal, telemetry};

use crate::{
    error::Error,
    home::{self, Home, Ownership},
    preflight,
    secrets::Secrets,
    stack::Plan,
    state::StackState,
    supervisor::{self, Limits},
    tools::Tools,
};

/// Supervises what `up` planned for that home, until SIGTERM.
///
/// Must be called from the main thread and outside of a runtime: the kernel ends children with the thread that
/// started them.
///
/// # Errors
/// As [`crate::up`]; [`Error::Usage`] where another process supervises the home.
pub fn supervise(home: &Path) -> Result<(), Error> {
    telemetry::start_logs(&TelemetryConfig { log: "info".to_owned(), format: "text".to_owned() });
    let home = Home::at(home)?;
    let ownership =
        home.own()?.ok_or_else(|| Error::Usage(format!("{} is supervised already", home.root().display())))?;
    let plan = Plan::load(&home)?;
    run(&home, &ownership, &plan, |_| ())
}

/// The same, with the lock held and the plan at hand.
pub(crate) fn run(
    home: &Home,
    ownership: &Ownership,
    plan: &Plan,
    observe: impl FnMut(&StackState),
) -> Result<(), Error> {
    let secrets = Secrets::ensure(home, &plan.workspaces)?;
    home::write_files(home, &plan.ports, &secrets, &plan.workspaces)?;
    let tools = Tools::find().map_err(|source| Error::System { action: "find this program", source })?;
    let mut components = plan.components(home, &tools, &secrets)?;
    preflight::known(&components, &plan.only)?;
    components.retain(|component| plan.chosen(&component.name));
    let limits = Limits { least_free_bytes: plan.least_free_bytes, ..Limits::default() };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::System { action: "start the runtime", source })?;
    runtime.block_on(supervisor::run(home, ownership, components, limits, stop_signal(), observe))
}

/// SIGTERM or Ctrl-C; the end of a terminal is no reason to stop.
async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    // With a handler set, SIGHUP no longer ends the process. Where none can be set, it keeps its default.
    let _hangup = signal(SignalKind::hangup()).ok();
    shutdown_signal().await;
}
