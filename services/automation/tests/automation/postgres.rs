//! A Postgres of these tests' own: started with the first that needs it, ended and removed with the last. Each test has a
//! database of its own, owned by a role without privileges.

use std::{
    fs,
    net::TcpListener,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, PgPool};

struct Cluster {
    postmaster: Child,
    port: u16,
    // Kept: the folder goes with it.
    _folder: tempfile::TempDir,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ended = self.postmaster.kill();
        let _reaped = self.postmaster.wait();
    }
}

static CLUSTER: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());

/// The folder of the newest Postgres: Debian keeps each version's programs apart.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.filter_map(|entry| {
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        Some((version, entry.path().join("bin")))
    });
    let newest = newest.filter(|(_, programs)| programs.join("initdb").is_file()).max();
    newest.map(|(_, programs)| programs).expect("Debian's package postgresql is installed")
}

/// The packages' user, where we are root: Postgres refuses to be.
fn user() -> Option<(u32, u32)> {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
    if uid.split_whitespace().next() != Some("0") {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("postgres:")).expect("the packages' user");
    let fields: Vec<&str> = line.split(':').collect();
    Some((fields[2].parse().unwrap(), fields[3].parse().unwrap()))
}

fn command(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Some((uid, gid)) = user() {
        command.uid(uid).gid(gid);
    }
    command
}

/// One that nobody has, below those from which the system gives ports to whoever asks for any: nobody is given it before it is
/// taken.
fn free_port() -> u16 {
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let mut ports = (10_000..12_000).cycle().skip(usize::from(rand::random::<u16>() % 2_000));
    ports.find(free).unwrap()
}

impl Cluster {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        if let Some((uid, gid)) = user() {
            chown(folder.path(), Some(uid), Some(gid)).unwrap();
        }
        let made = command(&programs().join("initdb"), folder.path())
            .args(["--auth=trust", "--username=admin", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--pgdata"])
            .arg(&data)
            .status()
            .unwrap();
        assert!(made.success(), "initdb");
        let port = free_port();
        let postmaster = command(&programs().join("postgres"), folder.path())
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="])
            .args(["-c", "fsync=off", "-c", "max_connections=80"])
            .spawn()
            .unwrap();
        Self { postmaster, port, _folder: folder }
    }

    fn url(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/{database}", self.port)
    }

    async fn administrator(&self) -> PgConnection {
        for _ in 0..4800 {
            if let Ok(connection) = PgConnection::connect(&self.url("admin", "postgres")).await {
                return connection;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("postgres does not answer");
    }
}

/// One test's database.
pub struct Database {
    cluster: Arc<Cluster>,
    name: String,
    pub pool: PgPool,
}

impl Database {
    pub async fn new() -> Self {
        let cluster = {
            let mut shared = CLUSTER.lock().unwrap_or_else(PoisonError::into_inner);
            shared.upgrade().unwrap_or_else(|| {
                let cluster = Arc::new(Cluster::start());
                *shared = Arc::downgrade(&cluster);
                cluster
            })
        };
        let name = format!("t{:016x}", rand::random::<u64>());
        let mut administrator = cluster.administrator().await;
        for statement in [format!("create role {name} login"), format!("create database {name} owner {name}")] {
            administrator.execute(AssertSqlSafe(statement)).await.unwrap();
        }
        let pool = helix_automation::connect(&cluster.url(&name, &name), 4).await.unwrap();
        helix_automation::migrate(&pool).await.unwrap();
        Self { cluster, name, pool }
    }

    /// Where another instance finds it.
    pub fn url(&self) -> String {
        self.cluster.url(&self.name, &self.name)
    }

    /// A connection as a role that may read everything that it is shown.
    pub async fn reader(&self) -> PgConnection {
        let reader = format!("{}_reader", self.name);
        let mut administrator = self.cluster.administrator().await;
        administrator.execute(AssertSqlSafe(format!("create role {reader} login"))).await.unwrap();
        for statement in [
            format!("grant usage on schema automation to {reader}"),
            format!("grant select on all tables in schema automation to {reader}"),
        ] {
            self.pool.execute(AssertSqlSafe(statement)).await.unwrap();
        }
        PgConnection::connect(&self.cluster.url(&reader, &self.name)).await.unwrap()
    }
}
