//! Postgres from Debian's packages, in a data folder of our own, with the roles of the read models.
//!
//! It refuses to run as root; where we are, it runs as the packages' user `postgres`, who must be able to reach the
//! home. Roles, database and settings are those of `infra/postgres`, which the containers use too.

use std::{fs, os::unix::fs::chown, path::PathBuf, time::Duration};

use rustix::process::Signal;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, postgres::PgConnectOptions};

use super::{Component, Process, Stop, Work, step};
use crate::{
    error::Error,
    files,
    health::Probe,
    home::Home,
    ports::Ports,
    process::{self, AtParentsDeath, Launch, User},
    secrets::Secrets,
    tools::Tools,
};

const SETTINGS: &str = include_str!("../../../postgres/postgresql.conf");
const ROLES: &str = include_str!("../../../postgres/roles.sql");

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
    let owner_password = secrets.postgres_owner.reveal().to_owned();
    let after = step(move || make_roles(options.clone(), owner_password.clone()));
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

/// The database and the role that owns the read models.
async fn make_roles(options: PgConnectOptions, owner_password: String) -> Result<(), String> {
    let make = async {
        let mut connection = PgConnection::connect_with(&options).await?;
        let exists: bool = sqlx::query_scalar("select exists (select from pg_database where datname = 'helix')")
            .fetch_one(&mut connection)
            .await?;
        // Passwords are hex digits, so they need no escaping.
        let roles = ROLES.replace(":owner_password", &owner_password);
        connection.execute(AssertSqlSafe(roles)).await?;
        if !exists {
            connection.execute("create database helix owner helix").await?;
        }
        connection.close().await
    };
    make.await.map_err(|error: sqlx::Error| format!("its roles cannot be made: {error}"))
}
