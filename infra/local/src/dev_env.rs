//! `dev.env`: where everything is and who may use it, a `NAME=value` a line (contract.md, "Where things are").
//!
//! Readable by a shell: every value is made of characters that a shell takes as they are.

use std::fmt::Write as _;

use crate::{error::Error, files, home::Home, keys, ports::Ports, secrets::Secrets, workspaces::Workspace};

/// Names and values, in the order of the contract.
pub(crate) fn entries(
    ports: &Ports,
    secrets: &Secrets,
    workspaces: &[Workspace],
) -> Result<Vec<(String, String)>, Error> {
    let mut list: Vec<(String, String)> = Vec::new();
    let mut put = |name: String, value: String| list.push((name, value));
    let http = |component: &str| format!("http://{}", ports.address(component));
    put("HELIX_INGEST_URL".to_owned(), http("ingest"));
    for workspace in workspaces {
        let name = format!("HELIX_SIDECAR_{}_URL", workspace.variable());
        put(name, http(&format!("sidecar-{}", workspace.slug)));
    }
    put("HELIX_GATEWAY_URL".to_owned(), http("gateway"));
    put("HELIX_KAFKA_BROKERS".to_owned(), ports.address("kafka").to_string());
    put("HELIX_SCHEMA_REGISTRY_URL".to_owned(), http("registry"));
    put("HELIX_POSTGRES_URL".to_owned(), postgres_url("helix_admin", secrets.postgres_admin.reveal(), ports));
    put("HELIX_CLICKHOUSE_URL".to_owned(), http("clickhouse"));
    put("HELIX_REDIS_TELEPHONY_URL".to_owned(), redis_url("redis-telephony", secrets.redis_telephony.reveal(), ports));
    for workspace in workspaces {
        let Some(own) = secrets.workspaces.get(&workspace.slug) else {
            continue;
        };
        let component = format!("redis-{}", workspace.slug);
        put(format!("HELIX_REDIS_{}_URL", workspace.variable()), redis_url(&component, own.redis.reveal(), ports));
    }
    put("HELIX_INGEST_KEY".to_owned(), secrets.ingest_key.reveal().to_owned());
    for workspace in workspaces {
        let Some(own) = secrets.workspaces.get(&workspace.slug) else {
            continue;
        };
        let variable = workspace.variable();
        put(format!("HELIX_WEBHOOK_KEY_{variable}"), own.webhook_key.reveal().to_owned());
        put(format!("HELIX_REGISTER_KEY_{variable}"), own.register_key.reveal().to_owned());
        put(format!("HELIX_CLICKHOUSE_PASSWORD_{variable}"), own.clickhouse.reveal().to_owned());
        for (role, token) in keys::tokens(&secrets.platform_key, workspace)? {
            put(format!("HELIX_TOKEN_{variable}_{}", role.as_str().to_ascii_uppercase()), token);
        }
    }
    Ok(list)
}

/// The URL of the database for a role.
pub(crate) fn postgres_url(role: &str, password: &str, ports: &Ports) -> String {
    format!("postgres://{role}:{password}@{}/helix", ports.address("postgres"))
}

/// The URL of a Redis, with its password.
pub(crate) fn redis_url(component: &str, password: &str, ports: &Ports) -> String {
    format!("redis://:{password}@{}", ports.address(component))
}

/// Writes the file anew.
pub(crate) fn write(home: &Home, ports: &Ports, secrets: &Secrets, workspaces: &[Workspace]) -> Result<(), Error> {
    let mut text = String::new();
    for (name, value) in entries(ports, secrets, workspaces)? {
        // Writing to a String cannot fail.
        let _infallible = writeln!(text, "{name}={value}");
    }
    files::write(&home.dev_env(), &text, files::PRIVATE)
}
