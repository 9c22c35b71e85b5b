//! ClickHouse: the embedded engine in a child that speaks ClickHouse's HTTP interface (crate helix-chdb).

use std::{ffi::OsString, time::Duration};

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{Component, Process, Stop, Work};
use crate::{
    error::Error, files, health::Probe, home::Home, ports::Ports, process::Launch, secrets::Secrets, tools::Tools,
};

pub(crate) fn component(home: &Home, ports: &Ports, tools: &Tools, secrets: &Secrets) -> Result<Component, Error> {
    let folder = home.data("clickhouse");
    files::folder(&folder, 0o700)?;
    let users = home.secrets().join("clickhouse-users.json");
    files::write(&users, &users_text(secrets), files::PRIVATE)?;
    let address = ports.address("clickhouse");
    let mut arguments: Vec<OsString> = vec!["clickhouse-local".into()];
    for (flag, value) in [
        ("--library", tools.chdb.clone().into_os_string()),
        ("--data", folder.join("data").into_os_string()),
        ("--listen", address.to_string().into()),
        ("--users", users.into_os_string()),
    ] {
        arguments.push(flag.into());
        arguments.push(value);
    }
    // The engine takes its zone from the environment and refuses any but this one.
    let launch = Launch { folder, ..Launch::new(&tools.helix, arguments) }.with("TZ", "UTC");
    let probe = Probe::Http { address, path: "/ping".to_owned(), status: 200 };
    let plain = Process::new(launch, probe);
    let process = Process { stop: Stop { within: Duration::from_secs(20), ..plain.stop }, ..plain };
    Ok(Component {
        name: "clickhouse".to_owned(),
        port: Some(address.port()),
        needs: Vec::new(),
        work: Work::Process(Box::new(process)),
    })
}

/// One user a workspace, called as the workspace, who sees that workspace's rows only.
fn users_text(secrets: &Secrets) -> String {
    let users: Vec<_> = secrets
        .workspaces
        .iter()
        .map(|(slug, own)| {
            json!({
                "name": slug,
                "password_sha256_hex": hex::encode(Sha256::digest(own.clickhouse.reveal().as_bytes())),
                "scope": { "workspace": slug },
            })
        })
        .collect();
    serde_json::Value::from(users).to_string()
}
