//! The services of Helix: verbs of this very program, all reading the home's `helix.toml`.

use std::{ffi::OsString, time::Duration};

use super::{Component, Process, Stop, Work};
use crate::{health::Probe, home::Home, ports::Ports, process::Launch, tools::Tools, workspaces::Workspace};

pub(crate) fn components(home: &Home, ports: &Ports, tools: &Tools, workspaces: &[Workspace]) -> Vec<Component> {
    let service = |name: String, verb: &[&str], needs: &[&str]| {
        let mut arguments: Vec<OsString> = verb.iter().map(OsString::from).collect();
        arguments.extend(["--config".into(), home.helix_toml().into_os_string()]);
        let launch = Launch { folder: home.root().to_path_buf(), ..Launch::new(&tools.helix, arguments) };
        let address = ports.address(&name);
        let plain = Process::new(launch, Probe::Http { address, path: "/readyz".to_owned(), status: 200 });
        // They drain what they have taken before they end; a projector that is behind is ready once it has caught up.
        let process = Process {
            stop: Stop { within: Duration::from_secs(15), ..plain.stop },
            start_within: Duration::from_secs(120),
            ..plain
        };
        let mut all_needs = vec!["topics".to_owned()];
        all_needs.extend(needs.iter().map(|need| (*need).to_owned()));
        Component { port: Some(address.port()), name, needs: all_needs, work: Work::Process(Box::new(process)) }
    };
    let redises: Vec<String> = workspaces.iter().map(|workspace| format!("redis-{}", workspace.slug)).collect();
    let redises: Vec<&str> = redises.iter().map(String::as_str).collect();
    let mut list = vec![
        service("ingest".to_owned(), &["ingest"], &["redis-telephony"]),
        service("project-postgres".to_owned(), &["project", "postgres"], &["postgres"]),
        service("project-clickhouse".to_owned(), &["project", "clickhouse"], &["clickhouse"]),
        service("project-live".to_owned(), &["project", "live"], &redises),
        service("automation".to_owned(), &["automation"], &["postgres"]),
    ];
    for workspace in workspaces {
        let own_redis = format!("redis-{}", workspace.slug);
        // It registers with ingest when it starts.
        let needs = ["ingest", "postgres", "clickhouse", &own_redis];
        list.push(service(format!("sidecar-{}", workspace.slug), &["sidecar", &workspace.slug], &needs));
    }
    list
}
