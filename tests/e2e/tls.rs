//! TLS and passwords to the brokers, against a Kafka of its own with certificates made here.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use anyhow::{Context, ensure};
use helix_tests::{
    cli,
    stack::{PATIENCE, Stack, answer, free_port, until},
};
use serde_json::json;

use crate::Outcome;

/// Settings of the local Kafka; what is said later in the file goes over what is said before.
const SETTINGS: &str = include_str!("../../infra/kafka/server.properties");

/// What must be seen nowhere.
const PASSWORD: &str = "hush-sasl-password";
const KEY_PASSWORD: &str = "hush-key-password";

/// A Kafka that is spoken to over TLS alone, by three doors: with its certificate, with ours as well, with a password.
struct Kafka {
    process: Child,
    folder: tempfile::TempDir,
    tls: u16,
    mutual: u16,
    password: u16,
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // It is gone already where these fail.
        let _killed = self.process.kill();
        let _reaped = self.process.wait();
    }
}

impl Kafka {
    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

fn run(program: &str, folder: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program).args(arguments).current_dir(folder).stdin(Stdio::null()).output();
    let output = output.with_context(|| program.to_owned())?;
    ensure!(
        output.status.success(),
        "{program} {}: {}{}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Authorities `ca` and `other-ca`; of the first a certificate for 127.0.0.1 (`broker.pem` with its key) and one for a
/// client (`client.pem`, and `client.key` under a password).
fn certificates(folder: &Path) -> anyhow::Result<()> {
    let openssl = |arguments: &str| run("openssl", folder, &arguments.split(' ').collect::<Vec<_>>());
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1";
    for ca in ["ca", "other-ca"] {
        openssl(&format!("req -x509 {key} -noenc -days 2 -subj /CN={ca} -keyout {ca}.key -out {ca}.pem"))?;
    }
    let signed = "-CA ca.pem -CAkey ca.key -days 2 -x509";
    openssl(&format!(
        "req {signed} {key} -noenc -subj /CN=broker -addext subjectAltName=IP:127.0.0.1 -keyout broker.key -out broker.crt"
    ))?;
    openssl(&format!(
        "req {signed} {key} -passout pass:{KEY_PASSWORD} -subj /CN=helix -keyout client.key -out client.pem"
    ))?;
    let both =
        format!("{}{}", fs::read_to_string(folder.join("broker.key"))?, fs::read_to_string(folder.join("broker.crt"))?);
    fs::write(folder.join("broker.pem"), both)?;
    Ok(())
}

fn start() -> anyhow::Result<Kafka> {
    let folder = tempfile::tempdir()?;
    let path = folder.path();
    certificates(path)?;
    let [plain, controller, tls, mutual] = [free_port()?, free_port()?, free_port()?, free_port()?];
    let password = free_port()?;
    let doors = format!(
        "PLAINTEXT://127.0.0.1:{plain},TLS://127.0.0.1:{tls},MUTUAL://127.0.0.1:{mutual},PASSWORD://127.0.0.1:{password}"
    );
    let settings = SETTINGS
        .replace("@CONTROLLER@", &format!("127.0.0.1:{controller}"))
        .replace("@LOG@", &path.join("log").display().to_string());
    let at = path.display();
    let over = format!(
        "
listeners={doors},CONTROLLER://127.0.0.1:{controller}
advertised.listeners={doors}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,TLS:SSL,MUTUAL:SSL,PASSWORD:SASL_SSL
ssl.keystore.type=PEM
ssl.keystore.location={at}/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location={at}/ca.pem
listener.name.mutual.ssl.client.auth=required
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.password.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
"
    );
    let properties = path.join("server.properties");
    fs::write(&properties, settings + &over)?;
    let properties = properties.display().to_string();
    let jars = Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/kafka/jars/*").display().to_string();
    let java = |main: &str, arguments: &[&str]| {
        let mut command = Command::new("java");
        command.args(["-Xms64m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", &jars, main]);
        command.args(arguments).current_dir(path).stdin(Stdio::null());
        command
    };
    let user = format!("SCRAM-SHA-512=[name=helix,password={PASSWORD}]");
    let format = ["format", "--cluster-id", "AAAAAAAAAAAAAAAAAAAAAA", "--config", &properties, "--add-scram", &user];
    let formatted = java("kafka.tools.StorageTool", &format).output()?;
    ensure!(formatted.status.success(), "{}", String::from_utf8_lossy(&formatted.stderr));
    let log = fs::File::create(path.join("kafka.log"))?;
    let process = java("kafka.Kafka", &[&properties]).stdout(log.try_clone()?).stderr(log).spawn()?;
    Ok(Kafka { process, folder, tls, mutual, password })
}

/// A verb, with the stack's configuration but these brokers.
fn helix(stack: &Stack, brokers: &str, own: &[(&str, &str)], verb: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(cli::binary()?);
    command.arg("--config").arg(stack.config()).args(verb).stdin(Stdio::null());
    command.env("HELIX__LOG__BROKERS", brokers).env("HELIX__LOG__TLS__ENABLED", "true");
    command.envs(own.iter().copied());
    Ok(command)
}

fn init(stack: &Stack, brokers: &str, own: &[(&str, &str)]) -> anyhow::Result<Output> {
    Ok(helix(stack, brokers, own, &["init"])?.output()?)
}

/// Ends with 3 and a sentence that holds `words`, and no password.
fn refused(output: &Output, words: &str) -> Outcome {
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(3), "{}: {told}", output.status);
    ensure!(told.to_lowercase().contains(words), "{words:?} is not in {told:?}");
    ensure!(!told.contains("hush"), "a secret is shown: {told}");
    ensure!(told.trim_end().lines().count() == 1, "more than a sentence: {told}");
    Ok(())
}

fn made(output: &Output, words: &str) -> Outcome {
    let told = String::from_utf8_lossy(&output.stdout);
    let faults = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && told.contains(words), "{}: {told}{faults}", output.status);
    Ok(())
}

pub(crate) async fn the_brokers_are_believed_by_their_certificate_and_name_alone(stack: &Stack) -> Outcome {
    let mut kafka = start()?;
    let tls = format!("127.0.0.1:{}", kafka.tls);
    let (ca, other) = (kafka.file("ca.pem"), kafka.file("other-ca.pem"));
    let ca = ("HELIX__LOG__TLS__CA", ca.as_str());
    // It listens once it can be asked; a connection that sends nothing is no harm.
    until(PATIENCE, "Kafka listens", async || {
        ensure!(kafka.process.try_wait()?.is_none(), "{}", fs::read_to_string(kafka.folder.path().join("kafka.log"))?);
        Ok(std::net::TcpStream::connect(&tls).is_ok())
    })
    .await?;

    refused(&init(stack, &tls, &[("HELIX__LOG__TLS__CA", &other)])?, "certificate verify failed")?;
    // Without an authority of its own: those of the machine, which do not know ours.
    refused(&init(stack, &tls, &[])?, "certificate verify failed")?;
    let elsewhere = format!("localhost:{}", kafka.tls);
    refused(&init(stack, &elsewhere, &[ca])?, "certificate verify failed")?;
    made(&init(stack, &tls, &[ca])?, "topics made: telephony.facts")?;

    // Who we are, by a certificate.
    let mutual = format!("127.0.0.1:{}", kafka.mutual);
    let (certificate, key) = (kafka.file("client.pem"), kafka.file("client.key"));
    let own = [
        ca,
        ("HELIX__LOG__TLS__CERTIFICATE", &certificate),
        ("HELIX__LOG__TLS__KEY", &key),
        ("HELIX__LOG__TLS__KEY_PASSWORD", KEY_PASSWORD),
    ];
    made(&init(stack, &mutual, &own)?, "topics made: none")?;
    refused(&init(stack, &mutual, &[ca])?, "bad certificate")?;

    // By a password.
    let scram = format!("127.0.0.1:{}", kafka.password);
    let with = |password: &'static str| {
        [
            ca,
            ("HELIX__LOG__SASL__MECHANISM", "SCRAM-SHA-512"),
            ("HELIX__LOG__SASL__USERNAME", "helix"),
            ("HELIX__LOG__SASL__PASSWORD", password),
        ]
    };
    made(&init(stack, &scram, &with(PASSWORD))?, "topics made: none")?;
    refused(&init(stack, &scram, &with("hush-wrong-password"))?, "authentication failed")?;

    an_event_goes_through(stack, &kafka, &scram, &with(PASSWORD)).await
}

/// An ingest of its own takes an event and the log gives it back, all by that door.
async fn an_event_goes_through(stack: &Stack, kafka: &Kafka, brokers: &str, own: &[(&str, &str)]) -> Outcome {
    let listen = format!("127.0.0.1:{}", free_port()?);
    let spool: PathBuf = kafka.folder.path().join("spool");
    let mut ingest = helix(stack, brokers, own, &["ingest"])?
        .env("HELIX__INGEST__LISTEN", &listen)
        .env("HELIX__SPOOL__FOLDER", &spool)
        .stderr(fs::File::create(kafka.folder.path().join("ingest.log"))?)
        .spawn()?;
    let outcome = async {
        until(PATIENCE, "the ingest is ready", async || {
            let asked = stack.http.get(format!("http://{listen}/readyz")).send().await;
            Ok(asked.is_ok_and(|answer| answer.status() == 200))
        })
        .await?;
        // Its directory knows nobody: the agent is registered with it first.
        let registered = stack
            .http
            .post(format!("http://{listen}/api/supervisor/register"))
            .header("x-helix-key", stack.env("HELIX_REGISTER_KEY_RAMAIAH"))
            .json(&json!({"workspace": "ramaiah", "url": stack.env("HELIX_SIDECAR_RAMAIAH_URL"), "agents": ["tls.agent"], "dids": []}));
        let (status, body) = answer(registered).await?;
        ensure!(status == 200, "{status}: {body}");
        let at = "2026-06-02 08:00:00";
        let event = json!({"eventType": "Agent", "eventTime": at, "username": "demo_user", "data": {
            "action": "login", "agentUniqeId": 1, "agentId": "tls.agent", "agentMode": "INBOUND", "eventTime": at}});
        let posted = stack
            .http
            .post(format!("http://{listen}/api/supervisor/agent-event"))
            .header("x-helix-key", stack.env("HELIX_INGEST_KEY"));
        let (status, body) = answer(posted.json(&event)).await?;
        ensure!(status == 202 && body["results"][0]["status"] == "stored", "{status}: {body}");
        let read =
            helix(stack, brokers, own, &["replay", "tail", "--from-beginning", "--no-follow", "--json"])?.output()?;
        made(&read, "\"tls.agent\"")
    }
    .await;
    let killed = ingest.kill();
    ingest.wait()?;
    let log = fs::read_to_string(kafka.folder.path().join("ingest.log"))?;
    ensure!(!log.contains("hush"), "a secret is in the log of the ingest");
    outcome.with_context(|| log)?;
    Ok(killed?)
}
