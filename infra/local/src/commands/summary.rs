//! What `up` says at the end: where everything is, and who may sign in.

use std::{io::Write, time::Duration};

use crate::{error::Error, home::Home, secrets::Secrets, stack::Plan, state::StackState};

/// Writes it from what the home remembers.
pub(crate) fn write(home: &Home, took: Option<Duration>, out: &mut dyn Write) -> Result<(), Error> {
    let plan = Plan::load(home)?;
    let secrets = Secrets::ensure(home, &plan.workspaces)?;
    let mut lines = Vec::new();
    lines.push(match took {
        Some(took) => format!("\nHelix is up, after {}.{} s.", took.as_secs(), took.subsec_millis() / 100),
        None => "\nHelix is up.".to_owned(),
    });
    let state = StackState::load(home)?;
    lines.extend(state.iter().flat_map(|state| &state.warnings).map(|warning| format!("  warning: {warning}")));
    let ports = &plan.ports;
    let all = [
        ("ingest", "ingest", "http://"),
        ("gateway", "gateway", "http://"),
        ("Kafka", "kafka", ""),
        ("registry", "registry", "http://"),
        ("ClickHouse", "clickhouse", "http://"),
        ("Postgres", "postgres", ""),
    ];
    for (label, component, scheme) in all {
        if plan.chosen(component) {
            lines.push(format!("  {label:<11} {scheme}{}", ports.address(component)));
        }
    }
    let gateway = ports.of("gateway");
    for workspace in &plan.workspaces {
        let slug = &workspace.slug;
        if !plan.chosen(&format!("sidecar-{slug}")) {
            continue;
        }
        lines.push(format!(
            "\n{}: http://{slug}.engage.localhost:{gateway}/ (or http://{}/)",
            workspace.name,
            ports.address(&format!("sidecar-{slug}"))
        ));
        let users = secrets.workspaces.get(slug).map(|own| own.users.as_slice()).unwrap_or_default();
        for user in users {
            lines.push(format!("  {:<32} {}", user.email, user.password.reveal()));
        }
    }
    lines.push(format!("\nKeys, tokens and every address: {}", home.dev_env().display()));
    // The stack is up whether or not somebody still reads.
    let _terminal_gone = writeln!(out, "{}", lines.join("\n"));
    Ok(())
}
