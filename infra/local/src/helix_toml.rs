//! `helix.toml`: the services' configuration for this home, over the defaults of helix-kit.

use std::fmt::Write as _;

use helix_kit::config::Config;

use crate::{
    components::postgres::role_name,
    dev_env::{postgres_url, redis_url},
    error::Error,
    files,
    home::Home,
    keys,
    ports::Ports,
    secrets::Secrets,
    workspaces::Workspace,
};

/// A TOML basic string. JSON's escapes are a subset of TOML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn list(texts: &[String]) -> String {
    let items: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", items.join(", "))
}

/// The text of the file.
pub(crate) fn text(home: &Home, ports: &Ports, secrets: &Secrets, workspaces: &[Workspace]) -> String {
    let mut out = String::from("# Written anew by each `helix up`; changes made here are lost.\n");
    // Writing to a String cannot fail, so what `write!` gives back says nothing.
    let mut line = |text: String| {
        let _infallible = writeln!(out, "{text}");
    };
    let mut section = |name: &str, entries: &[(&str, String)]| {
        line(format!("\n[{name}]"));
        for (key, value) in entries {
            line(format!("{key} = {value}"));
        }
    };
    let listen = |component: &str| quoted(&ports.address(component).to_string());
    section("log", &[("brokers", listen("kafka")), ("replicas", "1".to_owned())]);
    section("registry", &[("url", quoted(&format!("http://{}", ports.address("registry"))))]);
    section("postgres", &[("url", quoted(&postgres_url("helix", secrets.postgres_owner.reveal(), ports)))]);
    section("clickhouse", &[("url", quoted(&format!("http://{}", ports.address("clickhouse"))))]);
    let telephony = redis_url("redis-telephony", secrets.redis_telephony.reveal(), ports);
    section("telephony_redis", &[("url", quoted(&telephony))]);
    let ingest_url = quoted(&format!("http://{}", ports.address("ingest")));
    section("ingest", &[("listen", listen("ingest")), ("url", ingest_url)]);
    let folder = |name: &str| quoted(&home.data(name).display().to_string());
    section("spool", &[("folder", folder("spool"))]);
    section("audit", &[("folder", folder("audit"))]);
    let account_key = quoted(secrets.ingest_key.reveal());
    section("accounts.ozonetel", &[("key", account_key), ("zone", quoted("Asia/Kolkata"))]);
    for projector in ["postgres", "clickhouse", "live"] {
        section(
            &format!("project.{projector}"),
            // One instance of each: after a crash it has its partitions back at once.
            &[("listen", listen(&format!("project-{projector}"))), ("instance", quoted("local"))],
        );
    }
    section("automation", &[("listen", listen("automation")), ("instance", quoted("local"))]);
    let jwks = secrets.jwks.display().to_string();
    section("auth", &[("issuer", quoted(keys::ISSUER)), ("jwks", quoted(&jwks))]);
    for workspace in workspaces {
        let slug = &workspace.slug;
        let Some(own) = secrets.workspaces.get(slug) else {
            continue;
        };
        let sidecar = format!("sidecar-{slug}");
        // Its sidecar reads with roles that see nothing else.
        let postgres = postgres_url(&role_name(slug), own.postgres.reveal(), ports);
        section(
            &format!("workspaces.{slug}"),
            &[
                ("name", quoted(&workspace.name)),
                ("zone", quoted(&workspace.zone)),
                ("webhook_key", quoted(own.webhook_key.reveal())),
                ("register_key", quoted(own.register_key.reveal())),
                ("redis_url", quoted(&redis_url(&format!("redis-{slug}"), own.redis.reveal(), ports))),
                ("postgres_url", quoted(&postgres)),
                ("clickhouse_user", quoted(slug)),
                ("clickhouse_password", quoted(own.clickhouse.reveal())),
                ("sidecar_listen", listen(&sidecar)),
                ("sidecar_url", quoted(&format!("http://{}", ports.address(&sidecar)))),
                ("signing_key", quoted(&own.signing_key.display().to_string())),
                ("agents", list(&workspace.agents)),
                ("dids", list(&workspace.dids)),
            ],
        );
        for user in &own.users {
            let mut entries = vec![
                ("email", quoted(&user.email)),
                ("password_hash", quoted(user.password_hash.reveal())),
                ("role", quoted(user.role.as_str())),
            ];
            if let Some(agent) = &user.agent {
                entries.push(("agent", quoted(agent)));
            }
            section(&format!("[workspaces.{slug}.users]"), &entries);
        }
    }
    out
}

/// Writes the file anew and reads it as the services will.
pub(crate) fn write(home: &Home, ports: &Ports, secrets: &Secrets, workspaces: &[Workspace]) -> Result<(), Error> {
    let path = home.helix_toml();
    files::write(&path, &text(home, ports, secrets, workspaces), files::PRIVATE)?;
    Config::load(Some(&path))?;
    Ok(())
}
