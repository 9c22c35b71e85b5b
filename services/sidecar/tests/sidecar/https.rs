//! A key set by https: from whom the machine trusts, and from nobody else.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::json;

use crate::{
    keys::{IssuerKey, openssl_in},
    platform::{RARELY, World, claims},
};

/// Names the file of the authority that the process trusts, as OpenSSL reads it.
const TRUSTED: &str = "SSL_CERT_FILE";

/// OpenSSL's own server: one file, `keys`, over TLS.
struct Server {
    process: Child,
    url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It is gone already where these fail.
        let _killed = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// An authority; of it a certificate for this address (`server`) and one for another name (`other`).
fn certificates(folder: &Path) {
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "2"];
    let of = |more: &[&str]| openssl_in(folder, &[&["req", "-x509"], &key[..], more].concat());
    of(&["-subj", "/CN=authority", "-keyout", "authority.key", "-out", "authority.pem"]);
    for (name, alternative) in [("server", "IP:127.0.0.1"), ("other", "DNS:keys.another.example")] {
        of(&[
            "-CA",
            "authority.pem",
            "-CAkey",
            "authority.key",
            "-subj",
            "/CN=keys",
            "-addext",
            &format!("subjectAltName={alternative}"),
            "-keyout",
            &format!("{name}.key"),
            "-out",
            &format!("{name}.pem"),
        ]);
    }
}

impl Server {
    fn start(folder: &Path, name: &str) -> Self {
        let mut process = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-WWW", "-cert", &format!("{name}.pem"), "-key"])
            .arg(format!("{name}.key"))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = lines.find_map(|line| line.unwrap().strip_prefix("ACCEPT ").map(str::to_owned));
        let url = format!("https://{}/keys", address.expect("it tells where it listens"));
        // What it says of each request is read, so that it does not wait for us.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, url }
    }
}

#[tokio::test]
async fn a_key_set_behind_a_certificate_that_nobody_vouches_for_is_not_taken() {
    let (folder, key) = (tempfile::tempdir().unwrap(), IssuerKey::rsa("r1"));
    certificates(folder.path());
    std::fs::write(folder.path().join("keys"), json!({ "keys": [key.public()] }).to_string()).unwrap();
    let server = Server::start(folder.path(), "server");
    let world = World::trusting_at(server.url.clone(), RARELY).await;
    let reason = world.until_degraded().await;
    assert!(reason.contains("cannot be reached") && reason.ends_with("none of its keys is trusted"), "{reason}");
    assert_eq!(world.refusal(&key.sign(&claims())).await, (503, "component_down".to_owned()));
    assert_eq!(world.ask(&world.own_token()).await.0, 200);
    // What a process trusts is in its environment from its start: the rest of the test is one of its own.
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--ignored", "--exact", "https::in_a_process_that_trusts_the_authority"]);
    child.env(TRUSTED, folder.path().join("authority.pem"));
    let output = tokio::task::spawn_blocking(move || child.output()).await.unwrap().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

#[tokio::test]
#[ignore = "started by the test before it, in an environment that names an authority"]
async fn in_a_process_that_trusts_the_authority() {
    let authority = std::env::var(TRUSTED).expect("no authority is named");
    let folder = Path::new(&authority).parent().unwrap();
    let key = IssuerKey::rsa("r2");
    std::fs::write(folder.join("keys"), json!({ "keys": [key.public()] }).to_string()).unwrap();
    let server = Server::start(folder, "server");
    let world = World::trusting_at(server.url.clone(), RARELY).await;
    let token = key.sign(&claims());
    let taken = async {
        while world.ask(&token).await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), taken).await.expect("the set is not taken");
    // The same authority vouches for somebody else.
    let other = Server::start(folder, "other");
    let world = World::trusting_at(other.url.clone(), RARELY).await;
    assert!(world.until_degraded().await.contains("cannot be reached"));
    assert_eq!(world.refusal(&token).await, (503, "component_down".to_owned()));
}
