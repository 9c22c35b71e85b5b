//! The commands, by a program that calls them as `helix` does, with the components that start in an instant.

use std::{fs, net::TcpListener, path::Path};

use helix_local::ports::Ports;
use redis::Commands as _;

use crate::{folder, stack};

const SMALL: &str = "registry,redis-telephony,gateway";

/// A stack that is cleaned away again.
pub(crate) struct Stack {
    pub(crate) home: String,
    _folder: tempfile::TempDir,
}

impl Stack {
    pub(crate) fn up(only: &str) -> Self {
        let folder = folder();
        let home = folder.path().join("home").display().to_string();
        let stack = Self { home, _folder: folder };
        let (well, said) = stack.run(&["up", "--ports", "auto", "--only", only]);
        assert!(well, "{said}");
        stack
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> (bool, String) {
        let mut all = vec![arguments[0], "--home", &self.home];
        all.extend(&arguments[1..]);
        stack(&all)
    }

    pub(crate) fn variable(&self, name: &str) -> String {
        let text = fs::read_to_string(Path::new(&self.home).join("dev.env")).unwrap();
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_else(|| panic!("{name} is not in dev.env")).to_owned()
    }

    fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.run(&["status", "--json"]).1).unwrap()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let (well, said) = self.run(&["clean"]);
        assert!(well || std::thread::panicking(), "{said}");
    }
}

#[test]
fn up_down_and_up_again_keep_data_and_twice_is_harmless() {
    let stack = Stack::up(SMALL);
    let before = stack.status();
    assert_eq!(before["phase"], "ready", "{before}");
    for component in before["components"].as_array().unwrap() {
        assert_eq!(component["health"], "ok", "{component}");
        assert!(component["memoryBytes"].as_u64().unwrap() > 0, "{component}");
    }
    let client = redis::Client::open(stack.variable("HELIX_REDIS_TELEPHONY_URL")).unwrap();
    let _: () = client.get_connection().unwrap().set("kept", "value").unwrap();
    let env = fs::read_to_string(Path::new(&stack.home).join("ports.json")).unwrap();
    let (well, said) = stack.run(&["up"]);
    assert!(well && said.contains("already") && said.contains("Helix is up"), "{said}");
    assert_eq!(stack.status()["supervisorPid"], before["supervisorPid"]);
    assert!(stack.run(&["down"]).0);
    assert_eq!(stack.status()["phase"], "stopped");
    assert!(stack.run(&["down"]).0, "a second `down` is harmless");
    let (well, said) = stack.run(&["up", "--only", SMALL]);
    assert!(well, "{said}");
    assert_eq!(fs::read_to_string(Path::new(&stack.home).join("ports.json")).unwrap(), env, "ports are remembered");
    let client = redis::Client::open(stack.variable("HELIX_REDIS_TELEPHONY_URL")).unwrap();
    let kept: String = client.get_connection().unwrap().get("kept").unwrap();
    assert_eq!(kept, "value");
    let (well, said) = stack.run(&["logs"]);
    assert!(well && said.contains("redis-telephony"), "{said}");
}

#[test]
fn a_busy_port_is_told_in_one_sentence_with_its_remedy_and_nothing_is_started() {
    let folder = folder();
    let home = folder.path().join("home").display().to_string();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let moved = format!("registry={port}");
    let (well, said) = stack(&["up", "--home", &home, "--ports", "auto", "--port", &moved, "--only", SMALL]);
    assert!(!well);
    let sentence = said.lines().find(|line| line.contains(&format!("port {port}"))).unwrap_or_else(|| panic!("{said}"));
    for part in ["registry", "in use", "HELIX_PORT_REGISTRY=", "--port registry=", &std::process::id().to_string()] {
        assert!(sentence.contains(part), "{part} is not in: {sentence}");
    }
    assert!(!Path::new(&home).join("run/state.json").exists());
}

#[test]
fn the_gateway_knows_its_hosts_and_refuses_all_else() {
    let stack = Stack::up("gateway");
    let gateway = stack.variable("HELIX_GATEWAY_URL");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let get = |host: &str, path: &str| {
        let request = client.get(format!("{gateway}{path}")).header("host", host);
        runtime.block_on(async {
            let answer = request.send().await.unwrap();
            let status = answer.status().as_u16();
            let problem: serde_json::Value = answer.json().await.unwrap();
            assert_eq!(problem["status"], status, "{host}{path}");
            status
        })
    };
    let ramaiah = "ramaiah.engage.localhost";
    let telephony = "telephony.engage.localhost";
    // The services are not there: 503 says that the path is public.
    for (host, path, status) in [
        (ramaiah, "/", 503),
        (ramaiah, "/api/supervisor/events", 503),
        (ramaiah, "/webhooks/ozonetel/missed-call", 503),
        (ramaiah, "/webhooks/ozonetel/missed-call/k/secret-key", 503),
        (ramaiah, "/metrics", 404),
        (ramaiah, "/readyz", 404),
        (ramaiah, "/LIVEZ", 404),
        (ramaiah, "/api/supervisor/register", 404),
        (ramaiah, "/webhooks/other", 404),
        (telephony, "/api/supervisor/agent-event/k/secret-key", 503),
        (telephony, "/api/supervisor/directory?key=secret-key", 503),
        (telephony, "/", 404),
        (telephony, "/metrics", 404),
        (telephony, "/api/supervisor/board", 404),
        ("unknown.engage.localhost", "/", 404),
        ("127.0.0.1", "/api/supervisor/directory", 404),
    ] {
        assert_eq!(get(host, path), status, "{host}{path}");
    }
    // A request is logged after its answer; the last path of all is asked for once.
    assert_eq!(get(telephony, "/the-last-of-all"), 404);
    let begun = std::time::Instant::now();
    let log = loop {
        let log = fs::read_to_string(Path::new(&stack.home).join("logs/gateway.log")).unwrap();
        if log.contains("the-last-of-all") {
            break log;
        }
        assert!(begun.elapsed().as_secs() < 60, "requests are not logged");
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    assert!(log.contains("missed-call"), "requests are logged");
    assert!(!log.contains("secret-key"), "a key is in the gateway's log");
}

#[test]
fn the_workspace_of_a_callback_is_its_host_and_never_what_the_client_says() {
    use std::io::{Read as _, Write as _};
    let stack = Stack::up("gateway");
    let ports: Ports =
        serde_json::from_str(&fs::read_to_string(Path::new(&stack.home).join("ports.json")).unwrap()).unwrap();
    let heard = |component: &str, host: &str, path: &str| {
        let upstream = TcpListener::bind(ports.address(component)).unwrap();
        let listening = std::thread::spawn(move || {
            let (mut socket, _) = upstream.accept().unwrap();
            let mut bytes = Vec::new();
            let mut buffer = [0_u8; 4096];
            while !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
                let count = socket.read(&mut buffer).unwrap();
                bytes.extend_from_slice(&buffer[..count]);
            }
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
            String::from_utf8(bytes).unwrap().to_ascii_lowercase()
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("{}{path}", stack.variable("HELIX_GATEWAY_URL"));
        let request = client.get(url).header("host", host).header("X-Helix-Workspace", "forged");
        let status = runtime.block_on(async { request.send().await.unwrap().status().as_u16() });
        assert_eq!(status, 200, "{host}{path}");
        listening.join().unwrap()
    };
    let callback = heard("ingest", "global.engage.localhost", "/webhooks/ozonetel/missed-call");
    assert!(callback.contains("x-helix-workspace: global\r\n") && !callback.contains("forged"), "{callback}");
    let event = heard("ingest", "telephony.engage.localhost", "/api/supervisor/agent-event");
    assert!(!event.contains("x-helix-workspace"), "{event}");
    let page = heard("sidecar-global", "global.engage.localhost", "/");
    assert!(!page.contains("x-helix-workspace"), "{page}");
}

#[test]
fn an_unknown_component_is_refused_by_name() {
    let folder = folder();
    let home = folder.path().join("home").display().to_string();
    let (well, said) = stack(&["up", "--home", &home, "--ports", "auto", "--only", "kafak"]);
    assert!(!well && said.contains("no component is called kafak"), "{said}");
}
