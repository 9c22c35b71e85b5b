//! Which component listens on which port of the loopback address.
//!
//! Defaults are those of contract.md. `--port kafka=29092` or `HELIX_PORT_KAFKA=29092` moves one; `--ports auto` takes
//! free ones for all. What was chosen is remembered in the home, so that every later command finds it.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

use serde::{Deserialize, Serialize};

use crate::{error::Error, files, home::Home, workspaces::Workspace};

/// The port of each component, by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports(BTreeMap<String, u16>);

/// What the person asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortChoice {
    /// Free ports for all that is not moved by name.
    pub auto: bool,
    /// Moved by name.
    pub moved: BTreeMap<String, u16>,
}

impl PortChoice {
    /// Reads `--ports` (`auto`), `--port` (`name=number`) and the variables `HELIX_PORT_<NAME>`; a flag wins over a
    /// variable.
    ///
    /// # Errors
    /// [`Error::Usage`] with the part at fault.
    pub fn read(
        all: Option<&str>,
        moved: &[String],
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Error> {
        let mut choice = Self::default();
        match all {
            None => {}
            Some("auto") => choice.auto = true,
            Some(other) => {
                return Err(Error::Usage(format!("--ports {other}: there is `auto`, which takes free ones")));
            }
        }
        for (variable, value) in environment {
            if let Some(name) = variable.strip_prefix("HELIX_PORT_") {
                choice.moved.insert(name.to_ascii_lowercase().replace('_', "-"), number(&variable, &value)?);
            }
        }
        for argument in moved {
            let Some((name, value)) = argument.split_once('=') else {
                return Err(Error::Usage(format!("--port {argument}: say name=number, as kafka=29092")));
            };
            choice.moved.insert(name.to_owned(), number(argument, value)?);
        }
        Ok(choice)
    }
}

fn number(what: &str, value: &str) -> Result<u16, Error> {
    match value.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        Ok(_) | Err(_) => Err(Error::Usage(format!("{what}: a port is a number from 1 to 65535"))),
    }
}

/// Name and default port of everything that listens.
fn defaults(workspaces: &[Workspace]) -> Vec<(String, u16)> {
    let mut list: Vec<(String, u16)> = [
        ("kafka", 19092),
        ("kafka-controller", 19093),
        ("registry", 18081),
        ("postgres", 15432),
        ("redis-telephony", 16379),
        ("clickhouse", 18123),
        ("gateway", 8080),
        ("ingest", 4200),
        ("project-postgres", 4301),
        ("project-clickhouse", 4302),
        ("project-live", 4303),
        ("automation", 4305),
    ]
    .into_iter()
    .map(|(name, port)| (name.to_owned(), port))
    .collect();
    for (place, workspace) in (0_u16..).zip(workspaces) {
        list.push((format!("redis-{}", workspace.slug), 16380_u16.saturating_add(place)));
        list.push((format!("sidecar-{}", workspace.slug), 4100_u16.saturating_add(place)));
    }
    list
}

/// The variable that moves a component.
#[must_use]
pub fn variable(name: &str) -> String {
    format!("HELIX_PORT_{}", name.to_ascii_uppercase().replace('-', "_"))
}

/// Whether nobody listens there.
#[must_use]
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Free ports are sought here: below the range from which the kernel takes ports for outgoing connections.
const AUTO_FROM: u16 = 20_000;
const AUTO_STEP: u16 = 32;
const AUTO_BLOCKS: u16 = 370;

impl Ports {
    /// Decides every port: moved by name, else remembered in the home, else free (`auto`) or the default.
    ///
    /// # Errors
    /// [`Error::Usage`] where a moved name is unknown or two components meet on one port.
    pub fn resolve(choice: &PortChoice, home: &Home, workspaces: &[Workspace]) -> Result<Self, Error> {
        let defaults = defaults(workspaces);
        for name in choice.moved.keys() {
            if !defaults.iter().any(|(known, _)| known == name) {
                let known: Vec<&str> = defaults.iter().map(|(known, _)| known.as_str()).collect();
                return Err(Error::Usage(format!("no component is called {name}: there are {}", known.join(", "))));
            }
        }
        let remembered = Self::load(home)?.map(|ports| ports.0).unwrap_or_default();
        let remembered_is_free =
            defaults.iter().all(|(name, _)| remembered.get(name).is_some_and(|port| is_free(*port)));
        let free = if choice.auto && !remembered_is_free { free_ports(defaults.len())? } else { Vec::new() };
        let mut ports = BTreeMap::new();
        for (place, (name, default)) in defaults.into_iter().enumerate() {
            let kept = remembered.get(&name).copied();
            let port =
                choice.moved.get(&name).copied().or_else(|| free.get(place).copied()).or(kept).unwrap_or(default);
            if let Some((other, _)) = ports.iter().find(|(_, taken)| **taken == port) {
                return Err(Error::Usage(format!(
                    "{name} and {other} would both listen on port {port}: move one, as {}=N or --port {name}=N",
                    variable(&name)
                )));
            }
            ports.insert(name, port);
        }
        Ok(Self(ports))
    }

    /// What the home remembers.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn load(home: &Home) -> Result<Option<Self>, Error> {
        let path = home.data("ports.json");
        let Some(text) = files::read(&path)? else {
            return Ok(None);
        };
        let ports = serde_json::from_str(&text).map_err(|error| Error::File {
            action: "understand",
            path,
            source: std::io::Error::other(error),
        })?;
        Ok(Some(ports))
    }

    /// Remembers them in the home.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn save(&self, home: &Home) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        files::write(&home.data("ports.json"), &text, files::PUBLIC)
    }

    /// The port of a component; 0 for a name that was never resolved.
    #[must_use]
    pub fn of(&self, name: &str) -> u16 {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// The loopback address of a component.
    #[must_use]
    pub fn address(&self, name: &str) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.of(name)))
    }

    /// Every component with its port.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u16)> {
        self.0.iter().map(|(name, port)| (name.as_str(), *port))
    }
}

/// A block of neighbouring free ports from a random place, so that stacks that start together do not meet.
fn free_ports(count: usize) -> Result<Vec<u16>, Error> {
    let mut random = [0_u8; 2];
    getrandom::fill(&mut random).map_err(|error| Error::Secret(error.to_string()))?;
    let first = u16::from_le_bytes(random) % AUTO_BLOCKS;
    for block in 0..AUTO_BLOCKS {
        let from = AUTO_FROM + (first + block) % AUTO_BLOCKS * AUTO_STEP;
        let list: Vec<u16> = (from..).take(count).collect();
        if list.iter().all(|port| is_free(*port)) {
            return Ok(list);
        }
    }
    Err(Error::Usage("no block of free ports was found between 20000 and 32000: end what listens there".to_owned()))
}
