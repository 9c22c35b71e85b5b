//! A Postgres of these tests alone: Debian's programs in a folder of its own, with the settings and roles of infra/postgres.

use std::{
    fs,
    net::TcpListener,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, PgPool};

const SETTINGS: &str = include_str!("../../../../infra/postgres/postgresql.conf");
const ROLES: &str = include_str!("../../../../infra/postgres/roles.sql");
const WORKSPACE: &str = include_str!("../../../../infra/postgres/workspace.sql");
const OWNER_PASSWORD: &str = "owner";
const ADMINISTRATOR: &str = "helix_admin";

/// Serves until its standard input ends, which is when this process ends, however it ends; then cleans up.
const SERVE: &str = r#"
"$0" -D "$1/data" -p "$2" >"$1/log" 2>&1 </dev/null &
server=$!
read _
kill -INT "$server"
wait "$server"
rm -rf "$1"
"#;

pub struct Server {
    pub port: u16,
    // Its end of the pipe closes with this process.
    _child: Child,
}

/// The server, started by whoever asks first.
pub fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(start)
}

fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = versions.filter_map(|entry| {
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        Some((version, entry.path().join("bin")))
    });
    let newest = found.filter(|(_, programs)| programs.join("initdb").is_file()).max();
    newest.expect("Postgres is missing: `make test` installs it").1
}

/// Postgres refuses to run as root; then it runs as the packages' user.
fn system_user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let user = users.lines().find(|line| line.starts_with("postgres:")).expect("the packages make a user postgres");
    let fields: Vec<&str> = user.split(':').collect();
    Some((fields[2].parse().unwrap(), fields[3].parse().unwrap()))
}

fn command(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env("TZ", "UTC");
    if let Some((user, group)) = system_user() {
        command.uid(user).gid(group);
    }
    command
}

/// One that nobody has, below those from which the system gives ports to whoever asks for any: nobody is given it before it is
/// taken.
fn free_port() -> u16 {
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let any = uuid::Uuid::new_v4().as_u128() % 2_000;
    let mut ports = (10_000..12_000).cycle().skip(usize::try_from(any).unwrap());
    ports.find(free).unwrap()
}

fn start() -> Server {
    // Kept until the child removes it.
    let folder = tempfile::Builder::new().prefix("helix-postgres-").tempdir().unwrap().keep();
    if let Some((user, group)) = system_user() {
        chown(&folder, Some(user), Some(group)).unwrap();
    }
    let programs = programs();
    let made = command(&programs.join("initdb"), &folder)
        .args([
            "--username",
            ADMINISTRATOR,
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
            "--pgdata",
        ])
        .arg(folder.join("data"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    // To look into it: settings of one's own, as for auto_explain. The log is in the folder until the tests end.
    let more = std::env::var("HELIX_POSTGRES_SETTINGS").unwrap_or_default();
    fs::write(folder.join("data/postgresql.conf"), format!("{SETTINGS}{more}\n")).unwrap();
    let port = free_port();
    let child = command(Path::new("/bin/sh"), &folder)
        .args(["-c", SERVE])
        .arg(programs.join("postgres"))
        .arg(&folder)
        .arg(port.to_string())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let server = Server { port, _child: child };
    // From a thread of its own: whoever asks first may be inside of a runtime.
    std::thread::scope(|scope| scope.spawn(|| prepare(&server, &folder)).join().unwrap());
    server
}

fn prepare(server: &Server, folder: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let begun = Instant::now();
        let mut administrator = loop {
            match PgConnection::connect(&server.url_of(ADMINISTRATOR, "postgres")).await {
                Ok(connection) => break connection,
                Err(error) => assert!(
                    begun.elapsed() < Duration::from_secs(120),
                    "{error}\n{}",
                    fs::read_to_string(folder.join("log")).unwrap_or_default()
                ),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let roles = ROLES.replace(":owner_password", OWNER_PASSWORD);
        administrator.execute(AssertSqlSafe(roles)).await.unwrap();
    });
}

impl Server {
    pub fn url_of(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}:{OWNER_PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }
}

/// A database of one test.
pub struct Database {
    pub name: String,
}

impl Database {
    /// Empty, with nothing migrated.
    pub async fn empty() -> Self {
        let name = format!("test_{}", uuid::Uuid::new_v4().simple());
        let mut administrator = administrator("postgres").await;
        administrator.execute(AssertSqlSafe(format!("create database {name} owner helix"))).await.unwrap();
        Self { name }
    }

    /// The URL of the owner.
    pub fn url(&self) -> String {
        server().url_of("helix", &self.name)
    }

    /// The superuser in it.
    pub async fn administrator(&self) -> PgConnection {
        administrator(&self.name).await
    }

    /// The owner's pool, as the projector opens it.
    pub async fn pool(&self) -> PgPool {
        helix_postgres::connect(&self.url(), 8).await.unwrap()
    }

    /// Makes the login role of a workspace and connects as it.
    pub async fn as_workspace(&self, workspace: &str, role: &str) -> PgConnection {
        let statements =
            WORKSPACE.replace(":workspace", workspace).replace(":role_password", OWNER_PASSWORD).replace(":role", role);
        self.administrator().await.execute(AssertSqlSafe(statements)).await.unwrap();
        PgConnection::connect(&server().url_of(role, &self.name)).await.unwrap()
    }
}

async fn administrator(database: &str) -> PgConnection {
    PgConnection::connect(&server().url_of(ADMINISTRATOR, database)).await.unwrap()
}
