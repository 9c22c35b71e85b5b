//! The schema registry, as a child like the others.
//!
//! It could run inside the supervisor; as a child a fault of its own costs only itself, it is restarted, measured and
//! logged as all others are, and its fsync never holds up the supervision.

use super::{Component, Process, Work};
use crate::{error::Error, files, health::Probe, home::Home, ports::Ports, process::Launch, tools::Tools};

pub(crate) fn component(home: &Home, ports: &Ports, tools: &Tools) -> Result<Component, Error> {
    let folder = home.data("registry");
    files::folder(&folder, 0o700)?;
    let address = ports.address("registry");
    let arguments = [
        "registry".into(),
        "--data".into(),
        folder.clone().into_os_string(),
        "--listen".into(),
        address.to_string().into(),
    ];
    let launch = Launch { folder, ..Launch::new(&tools.helix, arguments) };
    let probe = Probe::Http { address, path: "/subjects".to_owned(), status: 200 };
    Ok(Component {
        name: "registry".to_owned(),
        port: Some(address.port()),
        needs: Vec::new(),
        work: Work::Process(Box::new(Process::new(launch, probe))),
    })
}
