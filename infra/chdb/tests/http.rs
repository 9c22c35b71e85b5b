//! The server as its clients see it: a child process, plain HTTP, and kills.
//!
//! Every test starts a server of its own on a free port with a data folder of its own.

// Helpers fail the test that calls them.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use clickhouse::Row;
use reqwest::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// A running server; killed and cleaned away on drop.
struct Server {
    child: Child,
    url: String,
    data: TempDir,
    http: reqwest::Client,
}

impl Server {
    fn start() -> Self {
        Self::start_with(tempfile::tempdir().unwrap(), &[])
    }

    fn start_with(data: TempDir, options: &[&str]) -> Self {
        let mut child = spawn(data.path(), "127.0.0.1:0", options);
        let mut address = String::new();
        std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        assert!(!address.is_empty(), "the server ended before it listened; its reason stands above");
        let url = format!("http://{}", address.trim());
        Self { child, url, data, http: reqwest::Client::new() }
    }

    /// SIGKILL, then a new process over the same data.
    fn kill_and_restart(mut self) -> Self {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let data = std::mem::replace(&mut self.data, tempfile::tempdir().unwrap());
        drop(self);
        Self::start_with(data, &[])
    }

    async fn send(&self, url_query: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Response {
        let url = reqwest::Url::parse_with_params(&self.url, url_query).unwrap();
        self.http.post(url).body(body).send().await.unwrap()
    }

    async fn get(&self, url_query: &[(&str, &str)]) -> Response {
        self.http.get(reqwest::Url::parse_with_params(&self.url, url_query).unwrap()).send().await.unwrap()
    }

    /// Runs a statement that must succeed.
    async fn run(&self, sql: &str) -> String {
        let response = self.send(&[], sql.to_owned()).await;
        let status = response.status();
        let text = response.text().await.unwrap();
        assert_eq!(status, StatusCode::OK, "{sql}: {text}");
        text
    }

    async fn refused(&self, url_query: &[(&str, &str)], sql: &str) -> (u16, String) {
        let response = self.send(url_query, sql.to_owned()).await;
        (response.status().as_u16(), header(&response, "x-clickhouse-exception-code"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(data: &Path, listen: &str, options: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_helix-chdb-serve"))
        .arg(library())
        .arg(data)
        .arg(listen)
        .args(options)
        .env("TZ", "UTC")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn library() -> PathBuf {
    let installed =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../clickhouse/node_modules/@chdb/lib-linux-x64-gnu/libchdb.so");
    let library = std::env::var_os("HELIX_CHDB_LIBRARY").map_or(installed, PathBuf::from);
    assert!(
        library.is_file(),
        "{} is missing: run `npm ci` in infra/clickhouse, or name the library in HELIX_CHDB_LIBRARY",
        library.display()
    );
    library
}

fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn ping_and_an_empty_request_answer_ok() {
    let server = Server::start();
    for path in ["/ping", "/", "/replicas_status"] {
        let response = server.http.get(format!("{}{path}", server.url)).send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), "Ok.\n", "{path}");
    }
    assert_eq!(server.http.head(&server.url).send().await.unwrap().status(), StatusCode::OK);
    let elsewhere = server.http.get(format!("{}/nowhere", server.url)).send().await.unwrap();
    assert_eq!(elsewhere.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_result_comes_in_the_format_of_the_statement_of_the_request_or_the_default() {
    let server = Server::start();
    let sql = "SELECT 1 AS a, 'x' AS b";
    let csv = server.get(&[("query", sql), ("default_format", "CSV"), ("query_id", "mine")]).await;
    assert_eq!(header(&csv, "x-clickhouse-format"), "CSV");
    assert!(header(&csv, "content-type").starts_with("text/csv"));
    assert_eq!(header(&csv, "x-clickhouse-query-id"), "mine");
    assert_eq!(header(&csv, "x-clickhouse-timezone"), "UTC");
    assert_eq!(csv.text().await.unwrap(), "1,\"x\"\n");
    assert_eq!(server.run(sql).await, "1\tx\n");
    let json = server.send(&[("default_format", "CSV")], format!("{sql} FORMAT JSONEachRow")).await;
    assert_eq!(header(&json, "x-clickhouse-format"), "JSONEachRow");
    assert_eq!(json.text().await.unwrap(), "{\"a\":1,\"b\":\"x\"}\n");
    assert_eq!(server.send(&[("query", "SELECT")], "2").await.text().await.unwrap(), "2\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_streamed_result_is_byte_for_byte_the_whole_result() {
    let server = Server::start();
    let sql = "SELECT number AS a, toString(number) AS b FROM numbers(700000)";
    // A statement that names totals is never streamed.
    let never_streamed =
        "SELECT number AS a, toString(number) AS b FROM (SELECT number, 1 AS totals FROM numbers(700000))";
    for format in [
        "TSV",
        "CSVWithNames",
        "TSVWithNamesAndTypes",
        "RowBinary",
        "RowBinaryWithNamesAndTypes",
        "JSONEachRow",
        "JSONCompactEachRowWithNamesAndTypes",
    ] {
        let streamed = server.send(&[("default_format", format)], sql).await.bytes().await.unwrap();
        let whole = server.send(&[("default_format", format)], never_streamed).await;
        let limit = server.send(&[("default_format", format)], format!("{sql} LIMIT 1")).await.bytes().await.unwrap();
        let whole = whole.bytes().await.unwrap();
        assert_eq!(streamed.len(), whole.len(), "{format}");
        assert!(streamed == whole, "{format}");
        assert!(streamed.starts_with(&limit), "{format}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn parameters_are_bound_and_never_part_of_the_statement() {
    let server = Server::start();
    let evil = "x'; DROP TABLE t; --";
    let response =
        server.send(&[("param_n", "7"), ("param_s", evil)], "SELECT {n:UInt8} + 1, {s:String} FORMAT TSVRaw").await;
    assert_eq!(response.text().await.unwrap(), format!("8\t{evil}\n"));
    assert_eq!(server.refused(&[("param_n", "seven")], "SELECT {n:UInt8}").await.1, "457");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn row_binary_keeps_every_byte_wherever_the_statement_stands() {
    let server = Server::start();
    server.run("CREATE TABLE t (a UInt8, s String) ENGINE = MergeTree ORDER BY a").await;
    // Line ends, semicolons, quotes and zeros: what a reader of statements could stumble over.
    let rows = b"\x01\x06\n\n;\n\n\x00\x02\x05'\n\n--\x0a\x02\n\n";
    let statement = "INSERT INTO t FORMAT RowBinary";
    let by_url = server.send(&[("query", statement)], rows.to_vec()).await;
    let summary = header(&by_url, "x-clickhouse-summary");
    assert_eq!(by_url.status(), StatusCode::OK, "{}", by_url.text().await.unwrap());
    assert!(summary.contains("\"written_rows\":\"3\""), "{summary}");
    let in_body = [statement.as_bytes(), b"\n", rows].concat();
    assert_eq!(server.send(&[], in_body).await.status(), StatusCode::OK);
    let stored = server.run("SELECT a, hex(s), count() FROM t GROUP BY a, s ORDER BY a").await;
    assert_eq!(stored, "1\t0A0A3B0A0A00\t2\n2\t270A0A2D2D\t2\n10\t0A0A\t2\n");
    let torn = server.send(&[("query", statement)], rows[..rows.len() - 1].to_vec()).await;
    assert_eq!(header(&torn, "x-clickhouse-exception-code"), "33");
    assert_eq!(server.run("SELECT count() FROM t").await, "6\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn settings_and_databases_of_a_query_do_not_reach_the_next() {
    let server = Server::start();
    let ask = "SELECT getSetting('max_block_size'), currentDatabase()";
    let before = server.run(ask).await;
    let changed = server.send(&[("max_block_size", "77"), ("database", "system")], ask).await;
    assert_eq!(changed.text().await.unwrap(), "77\tsystem\n");
    server.run("SET max_block_size = 78").await;
    server.run("USE system").await;
    server.run("CREATE TEMPORARY TABLE mine (a UInt8)").await;
    for _ in 0..8 {
        assert_eq!(server.run(ask).await, before);
    }
    assert_eq!(server.refused(&[], "SELECT * FROM mine").await, (404, "60".to_owned()));
    assert_eq!(server.refused(&[("no_such_setting", "1")], "SELECT 1").await, (404, "115".to_owned()));
    assert_eq!(server.refused(&[("max_threads", "many")], "SELECT 1").await.0, 400);
    assert_eq!(server.refused(&[("database", "nowhere")], "SELECT 1").await, (404, "81".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_error_carries_its_code_its_status_and_its_text() {
    let server = Server::start();
    let response = server.send(&[], "SELECT nonsense").await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert_eq!(header(&response, "x-clickhouse-exception-code"), "47");
    let text = response.text().await.unwrap();
    assert!(text.starts_with("Code: 47. DB::Exception: ") && text.ends_with("(official build))\n"), "{text}");
    assert_eq!(server.refused(&[], "SELEKT 1").await, (400, "62".to_owned()));
    assert_eq!(server.refused(&[], "SELECT 1; SELECT 2").await, (400, "62".to_owned()));
    assert_eq!(server.refused(&[], "1 + 1").await, (400, "62".to_owned()));
    assert_eq!(server.refused(&[], "SELECT sleep(3) SETTINGS max_execution_time = 1").await.0, 408);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_result_that_fails_on_the_way_breaks_off_and_one_that_is_waited_for_is_a_plain_error() {
    let server = Server::start();
    let sql = "SELECT throwIf(number = 8000000), repeat('x', 50) FROM numbers(9000000)";
    let response = server.send(&[], sql).await;
    assert_eq!(response.status(), StatusCode::OK);
    let tag = header(&response, "x-clickhouse-exception-tag");
    assert_eq!(tag.len(), 16);
    let (mut received, mut response) = (Vec::new(), response);
    let broken = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => received.extend_from_slice(&chunk),
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(broken, "a broken result must not look whole");
    let end = String::from_utf8_lossy(&received[received.len().saturating_sub(2000)..]).into_owned();
    assert!(end.contains("Code: 395.") && end.ends_with(&format!(" {tag}\r\n__exception__\r\n")), "{end}");
    assert_eq!(
        server.refused(&[("wait_end_of_query", "1"), ("max_result_bytes", "0")], sql).await,
        (500, "395".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_get_cannot_write() {
    let server = Server::start();
    server.run("CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a").await;
    for sql in
        ["INSERT INTO t VALUES (1)", "DROP TABLE t", "SET readonly = 0", "CREATE TABLE u (a UInt8) ENGINE = Memory"]
    {
        let response = server.get(&[("query", sql)]).await;
        assert_eq!(header(&response, "x-clickhouse-exception-code"), "164", "{sql}");
    }
    assert_eq!(server.get(&[("query", "SELECT count() FROM t")]).await.text().await.unwrap(), "0\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn acknowledged_rows_survive_a_kill_in_the_middle_and_no_insert_is_torn() {
    const ROWS: u64 = 500;
    let mut server = Server::start();
    server.run("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a").await;
    let mut stored = 0;
    for round in 0..4_u64 {
        let (http, url) = (server.http.clone(), server.url.clone());
        let acknowledged = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
        let count = std::sync::Arc::clone(&acknowledged);
        let writing = tokio::spawn(async move {
            let rows = (0..ROWS).map(|row| format!("{row}\n")).collect::<String>();
            let url = reqwest::Url::parse_with_params(&url, [("query", "INSERT INTO t FORMAT TSV")]).unwrap();
            while let Ok(response) = http.post(url.clone()).body(rows.clone()).send().await {
                assert_eq!(response.status(), StatusCode::OK);
                count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            }
        });
        // At another moment in each round, once something is written.
        while acknowledged.load(std::sync::atomic::Ordering::SeqCst) == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(150 + 70 * round)).await;
        assert!(server.data.path().join("status").exists(), "the engine's lock file is what a kill leaves behind");
        server = server.kill_and_restart();
        writing.await.unwrap();
        let acknowledged = acknowledged.load(std::sync::atomic::Ordering::SeqCst);
        let found = server.run("SELECT count() FROM t").await.trim().parse::<u64>().unwrap();
        // The one insert that the kill met may be stored or not, but never in part.
        assert!((stored + acknowledged * ROWS..=stored + (acknowledged + 1) * ROWS).contains(&found), "{found}");
        assert_eq!(found % ROWS, 0, "{found}");
        stored = found;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_deduplication_token_holds_across_a_kill() {
    let server = Server::start();
    server
        .run(
            "CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 100",
        )
        .await;
    let insert = [("query", "INSERT INTO t FORMAT RowBinary"), ("insert_deduplication_token", "t-1")];
    for _ in 0..2 {
        assert_eq!(server.send(&insert, vec![1, 2, 3]).await.status(), StatusCode::OK);
    }
    assert_eq!(server.run("SELECT count() FROM t").await, "3\n");
    let server = server.kill_and_restart();
    assert_eq!(server.send(&insert, vec![1, 2, 3]).await.status(), StatusCode::OK);
    assert_eq!(server.run("SELECT count() FROM t").await, "3\n");
    let other = [insert[0], ("insert_deduplication_token", "t-2")];
    assert_eq!(server.send(&other, vec![1, 2, 3]).await.status(), StatusCode::OK);
    assert_eq!(server.run("SELECT count() FROM t").await, "6\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn queries_run_at_the_same_time_and_one_too_many_is_told_to_come_back() {
    let server = Server::start_with(tempfile::tempdir().unwrap(), &["workers=2", "queue=1"]);
    let started_at = std::time::Instant::now();
    let two = futures_util::future::join(server.run("SELECT sleep(3)"), server.run("SELECT sleep(3)")).await;
    assert_eq!(two, ("0\n".to_owned(), "0\n".to_owned()));
    assert!(started_at.elapsed().as_millis() < 6000, "one after the other: {:?}", started_at.elapsed());
    let answers = futures_util::future::join_all((0..6).map(|_| server.refused(&[], "SELECT sleep(3)"))).await;
    let refused = answers.iter().filter(|answer| **answer == (503, "202".to_owned())).count();
    let ran = answers.iter().filter(|answer| answer.0 == 200).count();
    assert_eq!((ran, refused), (3, 3), "{answers:?}");
    assert_eq!(server.run("SELECT 1").await, "1\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn many_writers_and_readers_lose_and_mix_nothing() {
    let server = Server::start();
    server.run("CREATE TABLE t (w UInt8, a UInt32) ENGINE = MergeTree ORDER BY (w, a)").await;
    let writers = (0..6_u8).map(|writer| {
        let server = &server;
        async move {
            for batch in 0..10_u32 {
                let rows = (batch * 100..batch * 100 + 100).map(|row| format!("{writer}\t{row}\n")).collect::<String>();
                let url = [("query", "INSERT INTO t FORMAT TSV"), ("max_insert_block_size", "1000")];
                assert_eq!(server.send(&url, rows).await.status(), StatusCode::OK);
                let threads = (writer % 2 + 1).to_string();
                let seen = server.send(&[("max_threads", threads.as_str())], "SELECT getSetting('max_threads')").await;
                assert_eq!(seen.text().await.unwrap().trim(), threads);
            }
        }
    });
    futures_util::future::join_all(writers).await;
    assert_eq!(server.run("SELECT count(), uniqExact(w, a), sum(a) FROM t").await, "6000\t6000\t2997000\n");
}

#[derive(Row, Serialize, Deserialize, PartialEq, Debug)]
struct Call {
    id: u64,
    agent: String,
    talk_seconds: Option<u32>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_projectors_client_library_writes_and_reads() {
    let server = Server::start();
    let client = clickhouse::Client::default().with_url(&server.url);
    client.query("CREATE DATABASE helix").execute().await.unwrap();
    let client = client.with_database("helix");
    client
        .query("CREATE TABLE calls (id UInt64, agent String, talk_seconds Nullable(UInt32)) ENGINE = MergeTree ORDER BY id")
        .execute()
        .await
        .unwrap();
    let calls =
        (0..200_000).map(|id| Call { id, agent: format!("agent\n\n{id}"), talk_seconds: (id % 3 == 0).then_some(9) });
    let mut insert = client.insert::<Call>("calls").await.unwrap();
    for call in calls {
        insert.write(&call).await.unwrap();
    }
    insert.end().await.unwrap();
    let read = client.query("SELECT ?fields FROM calls ORDER BY id").fetch_all::<Call>().await.unwrap();
    assert_eq!(read.len(), 200_000);
    assert_eq!(read[199_999], Call { id: 199_999, agent: "agent\n\n199999".to_owned(), talk_seconds: None });
    let one = client.query("SELECT count() FROM calls WHERE id < ?").bind(5).fetch_one::<u64>().await.unwrap();
    assert_eq!(one, 5);
    let failed = client.query("SELECT throwIf(number = 8000000) FROM numbers(9000000)").fetch_all::<u8>().await;
    // The library names the code unless the frame around it reaches it in two pieces.
    assert!(failed.is_err(), "a failure on the way must reach the caller");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_body_and_a_result_over_their_limits_are_refused() {
    let server = Server::start_with(tempfile::tempdir().unwrap(), &["max_body_bytes=1000", "max_result_bytes=100000"]);
    assert_eq!(server.refused(&[], &format!("SELECT '{}'", "x".repeat(1000))).await, (413, "229".to_owned()));
    assert_eq!(server.refused(&[], "SELECT number FROM numbers(100000) FORMAT JSON").await.1, "396");
    assert_eq!(server.run("SELECT count() FROM (SELECT number FROM numbers(100000))").await, "100000\n");
    assert_eq!(server.run("SELECT number FROM numbers(1000000)").await.lines().count(), 1_000_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_administrators_password_is_asked_for_in_every_way_a_client_may_send_it() {
    let server = Server::start_with(tempfile::tempdir().unwrap(), &["password=secret"]);
    assert_eq!(server.refused(&[], "SELECT 1").await, (403, "516".to_owned()));
    assert_eq!(server.refused(&[("password", "wrong")], "SELECT 1").await, (403, "516".to_owned()));
    assert_eq!(server.refused(&[("user", "default"), ("password", "secret")], "SELECT 1").await.0, 200);
    let basic = server.http.post(&server.url).basic_auth("default", Some("secret")).body("SELECT 1");
    assert_eq!(basic.send().await.unwrap().status(), StatusCode::OK);
    let headers =
        server.http.post(&server.url).header("X-ClickHouse-User", "default").header("X-ClickHouse-Key", "secret");
    assert_eq!(headers.body("SELECT 1").send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_workspaces_user_reads_its_own_rows_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users.json");
    let user = |name: &str| {
        let hash = sha2::Sha256::digest(b"pw").iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        serde_json::json!({"name": name, "password_sha256_hex": hash, "scope": {"workspace": name}})
    };
    std::fs::write(&users, serde_json::json!([user("ramaiah")]).to_string()).unwrap();
    let users_option = format!("users={}", users.display());
    let options = [users_option.as_str(), "policy=helix.facts.workspace_id", "view=helix.calls"];
    let server = Server::start_with(tempfile::tempdir().unwrap(), &options);
    server.run("CREATE DATABASE helix").await;
    server
        .run("CREATE TABLE helix.facts (workspace_id String, n UInt8) ENGINE = MergeTree ORDER BY (workspace_id, n)")
        .await;
    server.run("CREATE TABLE helix.progress (n UInt8) ENGINE = MergeTree ORDER BY n").await;
    server.run("INSERT INTO helix.facts VALUES ('ramaiah', 1), ('ramaiah', 2), ('global', 3), ('', 4)").await;
    server
        .run("CREATE VIEW helix.calls AS SELECT workspace_id, sum(n) AS total FROM helix.facts GROUP BY workspace_id")
        .await;

    let ramaiah = [("user", "ramaiah"), ("password", "pw"), ("database", "helix")];
    let global = [("user", "global"), ("password", "pw"), ("database", "helix")];
    let read = async |sql: &str| server.send(&ramaiah, sql.to_owned()).await.text().await.unwrap();
    assert_eq!(read("SELECT * FROM facts ORDER BY n").await, "ramaiah\t1\nramaiah\t2\n");
    assert_eq!(read("SELECT * FROM calls").await, "ramaiah\t3\n");
    assert_eq!(read("SELECT count() FROM helix.facts AS f CROSS JOIN helix.facts AS g").await, "4\n");
    assert_eq!(read("SELECT * FROM calls FORMAT JSONCompactEachRow").await, "[\"ramaiah\", 3]\n");
    assert_eq!(server.run("SELECT count() FROM helix.facts").await, "4\n", "the administrator sees all");

    let outfile = format!("SELECT * FROM facts INTO OUTFILE '{}'", folder.path().join("out").display());
    for sql in [
        "SELECT * FROM progress",
        "SELECT * FROM system.parts",
        "SELECT * FROM system.processes",
        "SELECT file('/etc/hostname')",
        "SELECT * FROM file('/etc/hostname', 'RawBLOB')",
        "SELECT * FROM mergeTreeIndex('helix', 'facts')",
        "SELECT * FROM url('http://127.0.0.1:1/', 'TSV', 'a String')",
        "SELECT * FROM facts SETTINGS log_comment = 'global'",
        "SET log_comment = 'global'",
        "SET ROLE helix_administrator",
        "SET ROLE ALL",
        "SELECT 1; SELECT * FROM facts",
        "EXECUTE AS default SELECT * FROM facts",
        "INSERT INTO facts VALUES ('ramaiah', 9)",
        "INSERT INTO facts SELECT 'ramaiah', 9",
        "ALTER TABLE facts DELETE WHERE 1",
        "CREATE TABLE x (a UInt8) ENGINE = Memory",
        "CREATE TEMPORARY TABLE x (a UInt8)",
        "DROP TABLE facts",
        "KILL QUERY WHERE 1",
        "SHOW PROCESSLIST",
        "SYSTEM SHUTDOWN",
        outfile.as_str(),
    ] {
        let (status, code) = server.refused(&ramaiah, sql).await;
        assert_ne!(status, 200, "{sql}");
        assert!(["48", "60", "62", "78", "164", "344", "497"].contains(&code.as_str()), "{sql}: {code}");
    }
    assert!(!folder.path().join("out").exists());
    for setting in
        [("log_comment", "global"), ("readonly", "0"), ("dialect", "prql"), ("format_schema", "/etc/hostname")]
    {
        let mut asked = ramaiah.to_vec();
        asked.push(setting);
        assert_eq!(server.refused(&asked, "SELECT * FROM facts").await.1, "452", "{setting:?}");
    }
    assert_eq!(server.refused(&global, "SELECT 1").await, (403, "516".to_owned()));
    std::fs::write(&users, serde_json::json!([user("ramaiah"), user("global")]).to_string()).unwrap();
    let added = server.send(&global, "SELECT * FROM facts").await.text().await.unwrap();
    assert_eq!(added, "global\t3\n", "a workspace is added without a restart");
    assert_eq!(server.run("SELECT count() FROM helix.facts").await, "4\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn compressed_bodies_are_taken() {
    let server = Server::start();
    server.run("CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a").await;
    // "1\n2\n" as gzip.
    let gzip = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x33\xe4\x32\xe2\x02\x00\x61\x78\xe1\x69\x04\x00\x00\x00";
    let url = reqwest::Url::parse_with_params(&server.url, [("query", "INSERT INTO t FORMAT TSV")]).unwrap();
    let sent = server.http.post(url).header("Content-Encoding", "gzip").body(gzip.to_vec()).send().await.unwrap();
    assert_eq!(sent.status(), StatusCode::OK, "{}", sent.text().await.unwrap());
    assert_eq!(server.run("SELECT groupArray(a) FROM t").await, "[1,2]\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_server_that_cannot_start_says_why() {
    let server = Server::start();
    let busy = server.url.trim_start_matches("http://").to_owned();
    let free = tempfile::tempdir().unwrap();
    let reason = |data: &Path, listen: &str, library: PathBuf, zone: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_helix-chdb-serve"))
            .args([library.as_os_str(), data.as_os_str(), listen.as_ref()])
            .env("TZ", zone)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let any = "127.0.0.1:0";
    assert!(reason(free.path(), &busy, library(), "UTC").contains("Listen"));
    assert!(reason(server.data.path(), any, library(), "UTC").contains("InUse"));
    assert!(reason(free.path(), any, "/nonexistent/libchdb.so".into(), "UTC").contains("LibraryMissing"));
    assert!(reason(free.path(), any, library(), "Asia/Kolkata").contains("TimeZone"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_server_told_to_stop_lets_its_query_end_and_leaves_clean_data() {
    let mut server = Server::start();
    server.run("CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a").await;
    let mut query = BufReader::new(TcpStream::connect(server.url.trim_start_matches("http://")).await.unwrap());
    let (sql, mut told) = ("SELECT sleep(2)", String::new());
    let head = format!("POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n", sql.len());
    query.write_all(head.as_bytes()).await.unwrap();
    // Whoever is told to go on is in the server's hands.
    query.read_line(&mut told).await.unwrap();
    assert_eq!(told, "HTTP/1.1 100 Continue\r\n");
    query.write_all(sql.as_bytes()).await.unwrap();
    let pid = rustix::process::Pid::from_child(&server.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    query.read_to_string(&mut told).await.unwrap();
    assert!(told.contains("\r\nHTTP/1.1 200 ") && told.contains("\n0\n"), "{told}");
    let status = tokio::task::block_in_place(|| server.child.wait()).unwrap();
    assert!(status.success(), "{status}");
}
