//! The gateway: Caddy with the repository's own Caddyfile, the same that serves production.

use std::fmt::Write as _;

use super::{Component, Process, Work};
use crate::{
    error::Error, files, health::Probe, home::Home, ports::Ports, process::Launch, tools::Tools, workspaces::Workspace,
};

const CADDYFILE: &str = include_str!("../../../../Caddyfile");
/// Workspaces that the Caddyfile names itself.
const NAMED: [&str; 2] = ["ramaiah", "global"];

pub(crate) fn component(
    home: &Home,
    ports: &Ports,
    tools: &Tools,
    workspaces: &[Workspace],
) -> Result<Component, Error> {
    let folder = home.data("caddy");
    files::folder(&folder, 0o700)?;
    let caddyfile = folder.join("Caddyfile");
    files::write(&caddyfile, CADDYFILE, files::PUBLIC)?;
    files::write(&folder.join("workspaces.caddy"), &further_workspaces(ports, workspaces), files::PUBLIC)?;
    let arguments =
        ["run".into(), "--adapter".into(), "caddyfile".into(), "--config".into(), caddyfile.into_os_string()];
    let mut launch =
        Launch { folder: folder.clone(), ..Launch::new(tools.caddy.clone().unwrap_or_default(), arguments) }
            .with("HELIX_GATEWAY_BIND", "127.0.0.1")
            .with("HELIX_GATEWAY_PORT", ports.of("gateway").to_string())
            .with("HELIX_INGEST_UPSTREAM", ports.address("ingest").to_string())
            .with("HELIX_GATEWAY_WORKSPACES", folder.join("workspaces*.caddy"))
            .with("XDG_DATA_HOME", folder.join("data"))
            .with("XDG_CONFIG_HOME", folder.join("config"));
    for workspace in workspaces {
        let upstream = ports.address(&format!("sidecar-{}", workspace.slug)).to_string();
        launch = launch.with(&format!("HELIX_SIDECAR_{}_UPSTREAM", workspace.variable()), upstream);
    }
    // No host of ours is asked for: the gateway lives when it refuses.
    let probe = Probe::Http { address: ports.address("gateway"), path: "/".to_owned(), status: 404 };
    Ok(Component {
        name: "gateway".to_owned(),
        port: Some(ports.of("gateway")),
        needs: Vec::new(),
        work: Work::Process(Box::new(Process::new(launch, probe))),
    })
}

/// Host blocks of workspaces beyond those that the Caddyfile names.
fn further_workspaces(ports: &Ports, workspaces: &[Workspace]) -> String {
    let mut text = String::from("# Written by `helix up`.\n");
    for workspace in workspaces.iter().filter(|workspace| !NAMED.contains(&workspace.slug.as_str())) {
        let slug = &workspace.slug;
        let upstream = ports.address(&format!("sidecar-{slug}"));
        // Writing to a String cannot fail.
        let _infallible = writeln!(
            text,
            "{{$HELIX_GATEWAY_SCHEME:http}}://{slug}.{{$HELIX_DOMAIN:engage.localhost}}:{{$HELIX_GATEWAY_PORT:8080}} {{\n\
             \timport workspace {slug} {upstream}\n}}"
        );
    }
    text
}
