//! Postgres from Debian's packages, in a data folder of our own, with the roles of the read models.
//!
//! It refuses to run as root; where we are, it runs as the packages' user `postgres`, who must be able to reach the
//! home. Roles, database and settings are those of `infra/postgres`, which the containers use too.

use std::{fs, os::unix::fs::chown, path::PathBuf, time::Duration};

use helix_kit::secret::Secret;
use rustix::process::Signal;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, postgres::PgConnectOptions};

use super::{Component, Process, Stop, Work, step};
use crate::{
    dev_env::postgres_url,
    error::Error,
    files,
    health::Probe,
    home::Home,
    ports::Ports,
    process::{self, AtParentsDeath, Launch, User},
    secrets::{Secrets, kept},
    tools::Tools,
};

const SETTINGS: &str = include_str!("../../../postgres/postgresql.conf");
const ROLES: &str = include_str!("../../../postgres/roles.sql");
const WORKSPACE: &str = include_str!("../../../postgres/workspace.sql");

/// The user that Debian's packages make.
pub(crate) const SYSTEM_USER: &str = "postgres";
/// The superuser of the database.
const ADMINISTRATOR: &str = "helix_admin";

/// As whom Postgres runs: another user only where we are root.
pub(crate) fn user() -> Option<User> {
    if process::am_root() { process::user(SYSTEM_USER) } else { None }
}

pub(crate) fn component(home: &Home, ports: &Ports, tools: &Tools, secrets: &Secrets) -> Result<Component, Error> {
    let folder = home.data("postgres");
    let user = user();
    // Postgres wants its data folder closed to others; its parent is ours.
    files::folder(&folder, 0o755)?;
    let cluster = Cluster {
        programs: tools.postgres.clone().unwrap_or_default(),
        data: folder.join("data"),
        password_file: folder.join(".initial-password"),
        user: user.clone(),
        administrator_password: secrets.postgres_admin.reveal().to_owned(),
    };
    let arguments =
        vec!["-D".to_owned(), cluster.data.display().to_string(), "-p".to_owned(), ports.of("postgres").to_string()];
    let launch = Launch {
        folder: folder.clone(),
        user,
        // The postmaster then ends its backends before itself.
        at_parents_death: AtParentsDeath::Quit,
        ..Launch::new(cluster.programs.join("postgres"), arguments)
    };
    let probe = Probe::Postgres { address: ports.address("postgres") };
    let before = step(move || cluster.clone().prepare());
    let options = PgConnectOptions::new()
        .host("127.0.0.1")
        .port(ports.of("postgres"))
        .username(ADMINISTRATOR)
        .password(secrets.postgres_admin.reveal())
        .database("postgres");
    let roles = Roles {
        options,
        owner_password: secrets.postgres_owner.reveal().to_owned(),
        workspaces: secrets
            .workspaces
            .keys()
            .map(|slug| WorkspaceRole::ensure(home, ports, slug))
            .collect::<Result<_, _>>()?,
    };
    let after = step(move || roles.clone().make());
    let process = Process {
        before: Some(before),
        after: Some(after),
        // SIGTERM would wait for clients to leave; SIGINT closes their connections and ends in order.
        stop: Stop { signal: Signal::INT, within: Duration::from_secs(15) },
        ..Process::new(launch, probe)
    };
    Ok(Component {
        name: "postgres".to_owned(),
        port: Some(ports.of("postgres")),
        needs: Vec::new(),
        work: Work::Process(Box::new(process)),
    })
}

#[derive(Clone)]
struct Cluster {
    programs: PathBuf,
    data: PathBuf,
    password_file: PathBuf,
    user: Option<User>,
    administrator_password: String,
}

impl Cluster {
    /// Leaves a data folder that a postmaster can start in: initialised, with our settings, free of an earlier
    /// postmaster that was killed. The caller holds the home's lock, so no other supervisor's postmaster is in it.
    async fn prepare(self) -> Result<(), String> {
        process::kill_all_in(&self.data);
        if !self.data.join("PG_VERSION").is_file() {
            self.initialise().await?;
        }
        let words = |error: std::io::Error| format!("{}: {error}", self.data.display());
        match fs::remove_file(self.data.join("postmaster.pid")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(words(error)),
            Ok(()) | Err(_) => {}
        }
        let settings = self.data.join("postgresql.conf");
        if fs::read_to_string(&settings).is_ok_and(|text| text == SETTINGS) {
            return Ok(());
        }
        fs::write(&settings, SETTINGS).map_err(words)
    }

    async fn initialise(&self) -> Result<(), String> {
        let words = |error: std::io::Error| format!("{}: {error}", self.data.display());
        // A folder without PG_VERSION is what an interrupted initdb left.
        let fresh = self.data.with_file_name("data.new");
        for leftover in [&self.data, &fresh] {
            match fs::remove_dir_all(leftover) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(words(error)),
                Ok(()) | Err(_) => {}
            }
        }
        fs::create_dir(&fresh).map_err(words)?;
        files::write(&self.password_file, &self.administrator_password, files::PRIVATE)
            .map_err(|error| error.to_string())?;
        if let Some(user) = &self.user {
            for path in [&fresh, &self.password_file] {
                chown(path, Some(user.uid), Some(user.gid)).map_err(words)?;
            }
        }
        let arguments = [
            "--pgdata".to_owned(),
            fresh.display().to_string(),
            format!("--username={ADMINISTRATOR}"),
            format!("--pwfile={}", self.password_file.display()),
            "--auth=scram-sha-256".to_owned(),
            "--encoding=UTF8".to_owned(),
            "--locale=C.UTF-8".to_owned(),
        ];
        let launch = Launch {
            user: self.user.clone(),
            folder: self.data.parent().map(PathBuf::from).unwrap_or_default(),
            ..Launch::new(self.programs.join("initdb"), arguments)
        };
        let made = launch.finish().await;
        let _gone = fs::remove_file(&self.password_file);
        made?;
        fs::rename(&fresh, &self.data).map_err(words)
    }
}

/// Bytes of a role's name at most.
const LONGEST_NAME: usize = 63;

/// The login role of one workspace: `ws_` and the slug; the slug alone where that would be too long (workspace.sql says why
/// it is nobody else's name).
pub(crate) fn role_name(slug: &str) -> String {
    let name = format!("ws_{slug}");
    if name.len() > LONGEST_NAME { slug.to_owned() } else { name }
}

/// A role that sees one workspace's rows.
#[derive(Clone)]
struct WorkspaceRole {
    slug: String,
    name: String,
    password: Secret,
}

impl WorkspaceRole {
    /// With the password that the home keeps, and the URL beside it in `secrets/postgres-<slug>.url`.
    fn ensure(home: &Home, ports: &Ports, slug: &str) -> Result<Self, Error> {
        let password = kept(home, &format!("postgres-{slug}.password"))?;
        let name = role_name(slug);
        let url = postgres_url(&name, password.reveal(), ports);
        files::write(&home.secrets().join(format!("postgres-{slug}.url")), &format!("{url}\n"), files::PRIVATE)?;
        Ok(Self { slug: slug.to_owned(), name, password })
    }

    /// Slugs, names and passwords have letters, digits, `-` and `_` alone, so they need no escaping.
    fn statements(&self) -> String {
        WORKSPACE
            .replace(":workspace", &self.slug)
            .replace(":role_password", self.password.reveal())
            .replace(":role", &self.name)
    }
}

/// The database of the read models, the role that owns it, and those that read of it.
#[derive(Clone)]
struct Roles {
    options: PgConnectOptions,
    owner_password: String,
    workspaces: Vec<WorkspaceRole>,
}

impl Roles {
    async fn make(self) -> Result<(), String> {
        self.make_all().await.map_err(|error: sqlx::Error| format!("its roles cannot be made: {error}"))
    }

    async fn make_all(self) -> Result<(), sqlx::Error> {
        let mut connection = PgConnection::connect_with(&self.options).await?;
        let exists: bool = sqlx::query_scalar("select exists (select from pg_database where datname = 'helix')")
            .fetch_one(&mut connection)
            .await?;
        // Passwords are hex digits, so they need no escaping.
        let roles = ROLES.replace(":owner_password", &self.owner_password);
        connection.execute(AssertSqlSafe(roles)).await?;
        if !exists {
            connection.execute("create database helix owner helix").await?;
        }
        connection.close().await?;
        let mut connection = PgConnection::connect_with(&self.options.database("helix")).await?;
        for workspace in &self.workspaces {
            connection.execute(AssertSqlSafe(workspace.statements())).await?;
        }
        connection.close().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_of_a_workspace_has_a_name_that_fits_and_that_no_other_has() {
        assert_eq!(role_name("ramaiah"), "ws_ramaiah");
        assert_eq!(role_name("helix"), "ws_helix");
        for length in 58..=63 {
            let slug = "a".repeat(length);
            let name = role_name(&slug);
            assert!(name.len() <= LONGEST_NAME, "{name}");
            assert!(name.ends_with(&slug), "{name}");
        }
    }
}
