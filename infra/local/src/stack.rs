//! The stack as a list of components, made of what the person asked for.

use serde::{Deserialize, Serialize};

use crate::{
    components::{Component, caddy, clickhouse, kafka, postgres, redis, registry, services, setup},
    error::Error,
    files,
    home::Home,
    ports::Ports,
    secrets::Secrets,
    tools::Tools,
    workspaces::Workspace,
};

/// What `up` decided, kept in `run/plan.json` for the supervisor that it starts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) ports: Ports,
    pub(crate) workspaces: Vec<Workspace>,
    /// Only these components; all where it is empty.
    pub(crate) only: Vec<String>,
    pub(crate) least_free_bytes: u64,
}

impl Plan {
    pub(crate) fn save(&self, home: &Home) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        files::write(&home.run().join("plan.json"), &text, files::PUBLIC)
    }

    pub(crate) fn load(home: &Home) -> Result<Self, Error> {
        let path = home.run().join("plan.json");
        let text = std::fs::read_to_string(&path).map_err(Error::file("read", &path))?;
        serde_json::from_str(&text).map_err(|error| Error::file("understand", &path)(std::io::Error::other(error)))
    }

    pub(crate) fn chosen(&self, component: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == component)
    }

    /// The components in the order of their start. Writes their settings and makes their folders.
    pub(crate) fn components(&self, home: &Home, tools: &Tools, secrets: &Secrets) -> Result<Vec<Component>, Error> {
        let Self { ports, workspaces, .. } = self;
        let mut list = vec![
            kafka::component(home, ports, tools)?,
            postgres::component(home, ports, tools, secrets)?,
            clickhouse::component(home, ports, tools, secrets)?,
            registry::component(home, ports, tools)?,
            redis::component(home, ports, tools, "telephony", secrets.redis_telephony.reveal())?,
        ];
        for workspace in workspaces {
            let Some(own) = secrets.workspaces.get(&workspace.slug) else {
                continue;
            };
            list.push(redis::component(home, ports, tools, &workspace.slug, own.redis.reveal())?);
        }
        list.push(caddy::component(home, ports, tools, workspaces)?);
        list.push(setup::component(ports));
        list.extend(services::components(home, ports, tools, workspaces));
        Ok(list)
    }
}
