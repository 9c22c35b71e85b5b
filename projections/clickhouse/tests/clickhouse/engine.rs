//! The engine of these tests: this same binary again, as a child that serves until its standard input ends.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use helix_chdb::{Access, RowPolicy, Server};

const CHILD: &str = "HELIX_CLICKHOUSE_TEST_ENGINE";
const ANNOUNCES: &str = "engine listens on ";

struct Engine {
    url: String,
    // Its end of the pipe closes when this process ends, however it ends.
    _child: Child,
}

/// Base URL of the engine, started by whoever asks first.
pub fn url() -> &'static str {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    &ENGINE.get_or_init(start).url
}

fn start() -> Engine {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["engine::serves_the_other_tests", "--exact", "--ignored", "--nocapture"])
        .env(CHILD, library())
        .env("TZ", "UTC")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = loop {
        let line = lines.next().expect("the engine ended before it listened; its reason stands above").unwrap();
        if let Some((_, address)) = line.split_once(ANNOUNCES) {
            break address.to_owned();
        }
    };
    // The rest of its output must not fill the pipe.
    std::thread::spawn(move || lines.for_each(drop));
    Engine { url: format!("http://{address}"), _child: child }
}

fn library() -> PathBuf {
    let installed = "../../infra/clickhouse/node_modules/@chdb/lib-linux-x64-gnu/libchdb.so";
    let library = std::env::var_os("HELIX_CHDB_LIBRARY")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(installed), PathBuf::from);
    assert!(
        library.is_file(),
        "{} is missing: run `make test`, or `npm ci` in infra/clickhouse, or name the library in HELIX_CHDB_LIBRARY",
        library.display()
    );
    library
}

/// Not a test: the child's work. Run by hand it does nothing.
#[test]
#[ignore = "the engine's process, started by the tests that need it"]
fn serves_the_other_tests() {
    let Some(library) = std::env::var_os(CHILD) else { return };
    let data = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut options = helix_chdb::Options::new(library, data.path(), "127.0.0.1:0".parse().unwrap());
        options.queue = 256;
        options.access = Some(tenants(data.path()));
        let server = Server::bind(options).await.unwrap();
        println!("\n{ANNOUNCES}{}", server.local_addr());
        let (orphaned, orphan) = tokio::sync::oneshot::channel::<()>();
        std::thread::spawn(move || {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            drop(orphaned);
        });
        let shutdown = async {
            let _ = orphan.await;
        };
        server.run(shutdown).await.unwrap();
    });
    drop(data);
    // The test harness would report to a pipe that nobody reads any more.
    std::process::exit(0);
}

/// The database in which [`crate::tenants`] reads as a user of one workspace.
pub const TENANTS: &str = "tenants";

/// A user `ramaiah` with the password `reader` who sees that workspace alone.
fn tenants(folder: &Path) -> Access {
    let users = folder.join("users.json");
    let hash = "3d0941964aa3ebdcb00ccef58b1bb399f9f898465e9886d5aec7f31090a0fb30";
    let json = format!(r#"[{{"name":"ramaiah","password_sha256_hex":"{hash}","scope":{{"workspace":"ramaiah"}}}}]"#);
    std::fs::write(&users, json).unwrap();
    let policy =
        |table: &str| RowPolicy { database: TENANTS.into(), table: table.into(), column: "workspace_id".into() };
    let views = helix_clickhouse::WORKSPACE_VIEWS;
    Access {
        users,
        policies: helix_clickhouse::WORKSPACE_TABLES.iter().map(|table| policy(table)).collect(),
        views: views.iter().map(|view| format!("{TENANTS}.{view}")).collect(),
    }
}
