//! A configuration that is wrong is refused with the key at fault, and no secret is ever shown.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use helix_kit::{
    config::{Config, ConfigError, DEFAULT_TOML},
    http::Limits,
};

/// Every secret in [`GOOD`] holds this, so that none can be shown unseen.
const MARK: &str = "hush";

/// Two accounts, two workspaces, and all that may be left out said.
const GOOD: &str = r#"
[log.tls]
enabled = true
ca = "/etc/ca.pem"
certificate = "/etc/own.pem"
key = "/etc/own.key"
key_password = "hush-key-password"

[log.sasl]
mechanism = "SCRAM-SHA-512"
username = "helix"
password = "hush-sasl-password"

[postgres]
url = "postgres://helix:hush-postgres@127.0.0.1:15432/helix"

[accounts.ozonetel]
key = "hush-account-one-000"
zone = "Asia/Kolkata"
allowed_sources = ["203.0.113.0/24", "2001:db8::1"]
rate = { per_second = 100, burst = 200 }

[accounts.second]
key = "hush-account-two-000"
zone = "Asia/Dubai"

[workspaces.ramaiah]
name = "Ramaiah"
zone = "Asia/Kolkata"
account = "ozonetel"
allowed_sources = ["198.51.100.7"]
rate = { per_second = 10, burst = 20 }
forward = { url = "https://sidecar.example", key = "hush-forward-key", timeout = "3s", concurrency = 4 }
webhook_key = "hush-webhook-ramaiah"
register_key = "hush-register-ramaiah"
redis_url = "redis://:hush-redis-one@127.0.0.1:16380"
sidecar_listen = "127.0.0.1:4100"
sidecar_url = "http://127.0.0.1:4100"
signing_key = "ramaiah.pem"
agents = []
dids = []

[workspaces.global]
name = "Global"
zone = "Asia/Kolkata"
account = "second"
webhook_key = "hush-webhook-global-0"
register_key = "hush-register-global-0"
redis_url = "redis://:hush-redis-two@127.0.0.1:16381"
sidecar_listen = "127.0.0.1:4101"
sidecar_url = "http://127.0.0.1:4101"
signing_key = "global.pem"
agents = []
dids = []
"#;

fn load(text: &str) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("helix.toml");
    std::fs::write(&file, text).unwrap();
    Config::load(Some(&file))
}

/// [`GOOD`] with one thing changed.
fn changed(from: &str, to: &str) -> String {
    assert_eq!(GOOD.matches(from).count(), 1, "{from:?} must be there once");
    GOOD.replace(from, to)
}

/// [`GOOD`] with a section of the defaults changed.
fn with(section: &str) -> String {
    format!("{GOOD}\n{section}\n")
}

#[test]
fn the_defaults_and_a_full_file_are_good() {
    let bare = load("").unwrap();
    assert!(bare.accounts.is_empty() && bare.workspaces.is_empty());
    assert_eq!(bare.ingest.limits().header_timeout, Duration::from_secs(10));
    let config = load(GOOD).unwrap();
    let (ramaiah, global) = (&config.workspaces["ramaiah"], &config.workspaces["global"]);
    assert_eq!(config.account_of(ramaiah).unwrap().0, "ozonetel");
    assert_eq!(config.account_of(global).unwrap().0, "second");
    assert_eq!((ramaiah.rate.per_second, global.rate.per_second), (10, 2_000));
    let forward = ramaiah.forward.as_ref().unwrap();
    assert_eq!((forward.timeout, forward.concurrency), (Duration::from_secs(3), 4));
    let brief = changed(r#", timeout = "3s", concurrency = 4"#, "");
    let brief = load(&brief).unwrap();
    let forward = brief.workspaces["ramaiah"].forward.as_ref().unwrap();
    assert_eq!((forward.timeout, forward.concurrency), (Duration::from_secs(5), 8));
    let bounded = load(&with("[workspaces.global.automation]\nwrap_up = \"45s\"\nsilence = \"0s\"")).unwrap();
    let (own, default) = (bounded.workspaces["global"].automation, bounded.workspaces["ramaiah"].automation);
    assert_eq!((own.wrap_up.as_secs(), own.silence.as_secs(), own.waiting.as_secs()), (45, 0, 3_600));
    assert_eq!((default.wrap_up.as_secs(), default.silence.as_secs(), default.call_grace.as_secs()), (30, 14_400, 10));
    let abroad = load(&changed("name = \"Global\"\n", "name = \"Global\"\ncountry_code = \"971\"\n")).unwrap();
    assert_eq!(abroad.workspaces["global"].country_code, "971");
    assert_eq!(abroad.workspaces["ramaiah"].country_code, "91");
    let ruled = load(&with("[workspaces.global.rules]\nattempts = 5\npriority = { spam = -200 }")).unwrap();
    let (own, default) = (&ruled.workspaces["global"].rules, &ruled.workspaces["ramaiah"].rules);
    assert_eq!((own.attempts, own.priority.spam, own.priority.missed, own.due_after_seconds), (5, -200, 100, 600));
    assert_eq!((default.attempts, default.priority.spam), (3, -80));
}

#[test]
fn what_does_not_fit_is_refused_with_its_key_and_without_a_secret() {
    let cases = [
        // Times and bounds.
        (with("[ingest]\ndeadline = \"4s\""), "log.delivery_timeout must be below ingest.deadline"),
        (with("[log]\nreplicas = 0"), "log.replicas must be at least 1"),
        (with("[spool]\nafter = \"4s\""), "spool.after must be below log.delivery_timeout"),
        (with("[ingest]\nconnections = 0"), "ingest.connections must be at least 1"),
        (with("[ingest]\nheader_timeout = \"0s\""), "ingest.header_timeout must be above 0"),
        (
            with("[workspaces.global.automation]\nwrap_up = \"1500ms\""),
            "workspaces.global.automation.wrap_up is in whole",
        ),
        (with("[workspaces.global.automation]\nsilence = \"25h\""), "workspaces.global.automation.silence is in whole"),
        // TLS and SASL.
        (changed("SCRAM-SHA-512", "GSSAPI"), "log.sasl.mechanism must be"),
        (changed("SCRAM-SHA-512", ""), "log.sasl: mechanism and username go together"),
        (changed("username = \"helix\"", "username = \"\""), "log.sasl: mechanism and username go together"),
        (changed("certificate = \"/etc/own.pem\"", "certificate = \"\""), "log.tls: certificate and key go together"),
        (changed("key = \"/etc/own.key\"", "key = \"\""), "log.tls: certificate and key go together"),
        (changed("enabled = true", "enabled = false"), "log.tls: it is not enabled"),
        (changed("password = \"hush-sasl-password\"", "password = \"\""), "log.sasl: password must be set"),
        // Keys.
        (changed("hush-account-one-000", "hush"), "accounts.ozonetel.key must be set, to at least 16"),
        (changed("hush-webhook-ramaiah", ""), "workspaces.ramaiah.webhook_key must be set, to at least 16"),
        (changed("hush-register-global-0", "hush-15-letters"), "workspaces.global.register_key must be set"),
        (
            changed("hush-webhook-global-0", "hush-account-one-000"),
            "workspaces.global.webhook_key is also accounts.ozonetel.key",
        ),
        (
            changed("hush-register-ramaiah", "hush-webhook-ramaiah"),
            "workspaces.ramaiah.register_key is also workspaces.ramaiah.webhook_key",
        ),
        (changed("hush-account-two-000", "hush-account-one-000"), "accounts.second.key is also accounts.ozonetel.key"),
        // Zones, networks, rates.
        (changed("Asia/Dubai", "Dubai"), "accounts.second.zone \"Dubai\" is no IANA time zone"),
        (
            changed("name = \"Global\"\nzone = \"Asia/Kolkata\"", "name = \"Global\"\nzone = \"IST\""),
            "workspaces.global.zone \"IST\" is no IANA time zone",
        ),
        (
            changed("name = \"Global\"\n", "name = \"Global\"\ncountry_code = \"+91\"\n"),
            "workspaces.global.country_code is one to three digits, without + or 0 before them",
        ),
        (
            changed("203.0.113.0/24", "203.0.113.0/33"),
            "accounts.ozonetel.allowed_sources: \"203.0.113.0/33\" is no address",
        ),
        (changed("198.51.100.7", "gateway"), "workspaces.ramaiah.allowed_sources: \"gateway\" is no address"),
        (
            with("[ingest]\ntrusted_proxies = [\"10.0.0.0/8\", \"all\"]"),
            "ingest.trusted_proxies: \"all\" is no address",
        ),
        (changed("per_second = 100", "per_second = 0"), "accounts.ozonetel.rate: per_second and burst are at least 1"),
        (changed("burst = 20 ", "burst = 0 "), "workspaces.ramaiah.rate: per_second and burst are at least 1"),
        // The platform's keys.
        (with("[auth.platform]\nurl = \"keys.platform.example\""), "auth.platform.url is no http or https URL"),
        (
            with("[auth.platform]\nurl = \"https://keys.platform.example\"\nrefresh = \"10s\""),
            "auth.platform.refresh must be at least 30 s",
        ),
        (with("[auth.platform]\naudience = \"helix\""), "auth.platform: issuer and audience do nothing without url"),
        // What refers to something else.
        (changed("account = \"second\"", "account = \"third\""), "workspaces.global.account is none of [accounts]"),
        (changed("account = \"second\"\n", ""), "workspaces.global.account must say which of [accounts]"),
        (
            changed("https://sidecar.example", "sidecar.example"),
            "workspaces.ramaiah.forward.url is no http or https URL",
        ),
        (changed("concurrency = 4", "concurrency = 0"), "workspaces.ramaiah.forward.concurrency must be at least 1"),
        (changed("timeout = \"3s\"", "timeout = \"0s\""), "workspaces.ramaiah.forward.timeout must be above 0"),
        (with("[workspaces.global.rules]\nattempts = -1"), "workspaces.global.rules.attempts must be from 0 to 100"),
        (
            with("[workspaces.global.rules]\nspam_dispositions = [\"Spam\", \" \"]"),
            "workspaces.global.rules.spam_dispositions has an empty word",
        ),
        (
            with("[workspaces.global.rules.priority]\nspam = -99999999"),
            "workspaces.global.rules.priority.spam must be from -31536000 to 31536000",
        ),
        (
            changed("redis://:hush-redis-two@127.0.0.1:16381", "redis://:hush-redis-one@127.0.0.1:16380"),
            "workspaces.ramaiah.redis_url is also that of global",
        ),
        (
            GOOD.replace("workspaces.global", "workspaces.Global"),
            "workspaces.Global: a slug is 1 to 63 of a-z, 0-9 and -",
        ),
        (GOOD.replace("workspaces.global", &format!("workspaces.{}", "g".repeat(64))), "a slug is 1 to 63"),
    ];
    for (text, expected) in cases {
        let told = load(&text).expect_err(expected).to_string();
        assert!(told.contains(expected), "expected {expected:?} in {told:?}");
        assert!(!told.contains(MARK), "a secret is shown: {told}");
    }
}

#[test]
fn what_cannot_be_read_is_told_by_its_key_and_without_a_secret() {
    let cases = [
        (
            changed("key = \"hush-account-two-000\"", "key = 1234567890123456"),
            "accounts.second.key: a number is not a string",
        ),
        (
            changed("key = \"hush-account-two-000\"", "key = [\"hush-account-two-000\"]"),
            "accounts.second.key: a list is not",
        ),
        (changed("key = \"hush-account-two-000\"", "key = \"hush-account-two-000"), "TOML parse error at line"),
        (
            changed("key = \"hush-account-two-000\"", "keys = \"hush-account-two-000\""),
            "accounts.second.keys: there is no key keys",
        ),
        (changed("key = \"hush-account-two-000\"\n", ""), "accounts.second: key is missing"),
        (with("[ingest]\nlisten = \"hush-4200\""), "ingest.listen"),
        (with("[ingest]\nlisten = 4200"), "ingest.listen: a number is not socket address"),
        (with("[ingest]\nheader_timeout = \"hush\""), "ingest.header_timeout"),
        (with("[ingest]\nheader_timeout = 10"), "ingest.header_timeout: a number is not a duration"),
        (with("[ingest]\nconnections = \"hush\""), "ingest.connections: this text is not"),
        (with("[ingest]\nconnections = -1"), "ingest.connections"),
        (with("[spol]\nfolder = \"hush\""), "spol: there is no key spol"),
        (
            with("[[workspaces.global.users]]\nemail = \"a@b\"\npassword_hash = \"hush\"\nrole = \"hush\""),
            "workspaces.global.users.0.role: it is none of admin, supervisor, analyst, auditor, agent",
        ),
    ];
    for (text, expected) in cases {
        let told = load(&text).expect_err(expected).to_string();
        assert!(told.contains(expected), "expected {expected:?} in {told:?}");
        assert!(!told.contains(MARK) && !told.contains("1234567890"), "a value is shown: {told}");
    }
    let missing = Config::load(Some(&PathBuf::from("/nowhere/helix.toml"))).unwrap_err().to_string();
    assert!(missing.contains("there is no file /nowhere/helix.toml"), "{missing}");
}

#[test]
fn no_secret_is_in_a_dump() {
    let dump = format!("{:?}", load(GOOD).unwrap());
    assert!(!dump.contains(MARK), "{dump}");
    assert!(dump.contains("<redacted>"));
}

#[test]
fn the_brokers_are_reached_as_the_configuration_says() {
    let settings = |text: &str| load(text).unwrap().log.connection();
    let plain = [("bootstrap.servers", "127.0.0.1:19092")];
    let own =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>();
    assert_eq!(settings(""), own(&plain));
    assert_eq!(
        settings(GOOD),
        own(&[
            plain[0],
            ("security.protocol", "sasl_ssl"),
            ("ssl.ca.location", "/etc/ca.pem"),
            ("ssl.certificate.location", "/etc/own.pem"),
            ("ssl.key.location", "/etc/own.key"),
            ("ssl.key.password", "hush-key-password"),
            ("enable.ssl.certificate.verification", "true"),
            ("ssl.endpoint.identification.algorithm", "https"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.username", "helix"),
            ("sasl.password", "hush-sasl-password"),
        ])
    );
    // The machine's own authorities, nobody asked for a certificate of ours, nobody for a password.
    assert_eq!(
        settings("[log.tls]\nenabled = true"),
        own(&[
            plain[0],
            ("security.protocol", "ssl"),
            ("enable.ssl.certificate.verification", "true"),
            ("ssl.endpoint.identification.algorithm", "https"),
        ])
    );
    let sasl = "[log.sasl]\nmechanism = \"PLAIN\"\nusername = \"u\"\npassword = \"p\"";
    assert_eq!(
        settings(sasl),
        own(&[
            plain[0],
            ("security.protocol", "sasl_plaintext"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", "u"),
            ("sasl.password", "p"),
        ])
    );
}

#[test]
fn the_gateway_lets_a_silent_connection_go_before_the_services_do() {
    let caddyfile = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Caddyfile")).unwrap();
    let (_, rest) = caddyfile.split_once("keepalive ").expect("the Caddyfile says how long it keeps a connection");
    let kept = Duration::from_secs(rest.split_once("s\n").unwrap().0.parse().unwrap());
    for limit in [load("").unwrap().ingest.header_timeout, Limits::default().header_timeout] {
        assert!(kept < limit, "the gateway keeps one for {kept:?}, a service for {limit:?}");
    }
}

#[test]
fn every_key_of_the_defaults_is_one_that_is_read() {
    // Unknown keys are refused, so that the defaults load says that no key in them is idle; each has its own value here.
    let config = load("").unwrap();
    assert_eq!(config.ingest.listen, SocketAddr::from(([127, 0, 0, 1], 4200)));
    assert!(config.spool.folder.as_os_str().is_empty(), "a spool is asked for by naming its folder");
    assert!(config.audit.folder.as_os_str().is_empty(), "where audit facts wait is said, not guessed");
    assert_eq!((config.auth.platform.url.as_str(), config.auth.platform.refresh), ("", Duration::from_secs(600)));
    assert!(DEFAULT_TOML.contains("trusted_proxies"));
}
