//! Homes, secrets, dev.env and helix.toml.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use helix_kit::{
    auth::{Role, Signer, Verifier, sidecar_kid},
    config::Config,
};
use helix_local::{
    Error, Home, Workspace,
    ports::{PortChoice, Ports},
    secrets::Secrets,
};

use crate::folder;

fn made(path: &Path) -> (Home, Ports, Secrets) {
    let home = Home::at(&path.join("home")).unwrap();
    home.create().unwrap();
    let workspaces = Workspace::demo();
    let auto = PortChoice { auto: true, ..PortChoice::default() };
    let ports = Ports::resolve(&auto, &home, &workspaces).unwrap();
    let secrets = Secrets::ensure(&home, &workspaces).unwrap();
    helix_local::home::write_files(&home, &ports, &secrets, &workspaces).unwrap();
    (home, ports, secrets)
}

fn every_file(folder: &Path, into: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            every_file(&path, into);
        }
        into.push(path);
    }
}

#[test]
fn secrets_are_generated_once_and_readable_by_their_owner_alone() {
    let folder = folder();
    let (home, _, _) = made(folder.path());
    let read = || {
        let mut paths = Vec::new();
        every_file(&home.secrets(), &mut paths);
        paths.sort();
        let files = paths.iter().filter(|path| path.is_file());
        files.map(|path| (path.clone(), fs::read(path).unwrap())).collect::<BTreeMap<_, _>>()
    };
    let first = read();
    Secrets::ensure(&home, &Workspace::demo()).unwrap();
    assert_eq!(first, read(), "a second start changed a secret");
    let mut paths = vec![home.secrets(), home.dev_env(), home.helix_toml()];
    every_file(&home.secrets(), &mut paths);
    for path in paths {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    }
}

#[test]
fn dev_env_has_every_name_of_the_contract_and_a_shell_reads_the_same_values() {
    let folder = folder();
    let (home, _, _) = made(folder.path());
    let text = fs::read_to_string(home.dev_env()).unwrap();
    let written: BTreeMap<&str, &str> = text.lines().map(|line| line.split_once('=').unwrap()).collect();
    let mut names: Vec<String> = "HELIX_INGEST_URL HELIX_SIDECAR_RAMAIAH_URL HELIX_SIDECAR_GLOBAL_URL \
        HELIX_GATEWAY_URL HELIX_KAFKA_BROKERS HELIX_SCHEMA_REGISTRY_URL HELIX_POSTGRES_URL HELIX_CLICKHOUSE_URL \
        HELIX_REDIS_TELEPHONY_URL HELIX_REDIS_RAMAIAH_URL HELIX_REDIS_GLOBAL_URL HELIX_INGEST_KEY \
        HELIX_WEBHOOK_KEY_RAMAIAH HELIX_WEBHOOK_KEY_GLOBAL HELIX_REGISTER_KEY_RAMAIAH HELIX_REGISTER_KEY_GLOBAL"
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    for role in Role::ALL {
        for workspace in ["RAMAIAH", "GLOBAL"] {
            names.push(format!("HELIX_TOKEN_{workspace}_{}", role.as_str().to_uppercase()));
        }
    }
    for name in names {
        let value = written.get(name.as_str()).unwrap_or_else(|| panic!("{name} is missing"));
        assert!(!value.is_empty(), "{name} is empty");
        let script = format!(". '{}'; printf %s \"${name}\"", home.dev_env().display());
        let shell = Command::new("sh").args(["-euc", &script]).env_clear().output().unwrap();
        assert_eq!(String::from_utf8(shell.stdout).unwrap(), *value, "a shell reads {name} otherwise");
    }
}

#[test]
fn tokens_verify_with_the_key_set_and_a_sidecars_key_signs_for_its_workspace_alone() {
    let folder = folder();
    let (home, _, secrets) = made(folder.path());
    let verifier = Verifier::from_file("helix", &secrets.jwks).unwrap();
    let text = fs::read_to_string(home.dev_env()).unwrap();
    let tokens = text.lines().filter_map(|line| line.strip_prefix("HELIX_TOKEN_")).collect::<Vec<_>>();
    assert_eq!(tokens.len(), 10);
    for line in tokens {
        let (name, token) = line.split_once('=').unwrap();
        let claims = verifier.verify(token).unwrap();
        assert_eq!(format!("{}_{}", claims.workspace, claims.role.as_str()).to_uppercase(), name);
        let agent = (claims.role == Role::Agent).then(|| format!("{}admin", claims.workspace));
        assert_eq!(claims.agent_id, agent);
    }
    let signer =
        Signer::from_file("helix", &sidecar_kid("ramaiah"), &secrets.workspaces["ramaiah"].signing_key).unwrap();
    let day = std::time::Duration::from_secs(86_400);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let sign = |workspace| signer.sign("x", workspace, Role::Admin, None, i64::try_from(now).unwrap(), day).unwrap();
    assert!(verifier.verify(&sign("ramaiah")).is_ok());
    assert!(verifier.verify(&sign("global")).is_err());
}

#[test]
fn the_services_configuration_loads_and_names_every_demo_user() {
    let folder = folder();
    let (home, ports, _) = made(folder.path());
    let config = Config::load(Some(&home.helix_toml())).unwrap();
    assert_eq!(config.ingest.listen, ports.address("ingest"));
    assert_eq!(config.log.brokers, ports.address("kafka").to_string());
    let global = &config.workspaces["global"];
    assert_eq!(global.agents, ["globaladmin", "rekha.cc", "ganesh.cc"]);
    assert_eq!(global.dids, ["918041763265"]);
    assert_eq!(global.users.len(), 5);
    assert!(global.users.iter().all(|user| user.password_hash.reveal().starts_with("$argon2id$")));
    assert!(global.users.iter().any(|user| user.agent.as_deref() == Some("globaladmin")));
}

#[test]
fn clean_refuses_a_folder_without_the_marker() {
    let folder = folder();
    fs::write(folder.path().join("mine.txt"), "mine").unwrap();
    assert!(matches!(helix_local::clean(folder.path()), Err(Error::NotOurs { .. })));
    assert_eq!(fs::read_to_string(folder.path().join("mine.txt")).unwrap(), "mine");
}

#[test]
fn a_home_is_not_made_in_a_folder_with_other_files() {
    let folder = folder();
    fs::write(folder.path().join("mine.txt"), "mine").unwrap();
    assert!(matches!(Home::at(folder.path()).unwrap().create(), Err(Error::Usage(_))));
    assert!(!folder.path().join(".helix-home").exists());
}

#[test]
fn clean_leaves_what_is_not_ours_and_what_links_point_to() {
    let folder = folder();
    let (home, _, _) = made(folder.path());
    let elsewhere = folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("kept"), "kept").unwrap();
    std::os::unix::fs::symlink(&elsewhere, home.data("kafka")).unwrap();
    fs::write(home.data("note.txt"), "mine").unwrap();
    // As ingest makes it, where the configuration says.
    let spool = Config::load(Some(&home.helix_toml())).unwrap().spool.folder;
    assert_eq!(spool, home.data("spool"));
    let audit = Config::load(Some(&home.helix_toml())).unwrap().audit.folder;
    assert_eq!(audit, home.data("audit"));
    fs::create_dir_all(&spool).unwrap();
    // As a sidecar does.
    fs::create_dir_all(audit.join("ramaiah")).unwrap();
    fs::write(spool.join("spool.redb"), "facts").unwrap();
    assert_eq!(helix_local::clean(home.root()).unwrap(), ["note.txt"]);
    assert!(elsewhere.join("kept").is_file());
    assert!(!home.secrets().exists() && !spool.exists() && !audit.exists() && !home.is_ours());
}

#[test]
fn ports_move_by_flag_and_by_variable_and_are_remembered() {
    let folder = folder();
    let home = Home::at(&folder.path().join("home")).unwrap();
    home.create().unwrap();
    let variables = [("HELIX_PORT_REDIS_GLOBAL", "26381"), ("HELIX_PORT_KAFKA", "1"), ("PATH", "/bin")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let choice = PortChoice::read(None, &["kafka=29092".to_owned()], variables).unwrap();
    let ports = Ports::resolve(&choice, &home, &Workspace::demo()).unwrap();
    assert_eq!((ports.of("kafka"), ports.of("redis-global"), ports.of("ingest")), (29092, 26381, 4200));
    ports.save(&home).unwrap();
    assert_eq!(Ports::resolve(&PortChoice::default(), &home, &Workspace::demo()).unwrap(), ports);
    let unknown = PortChoice::read(None, &["kafak=1".to_owned()], []).unwrap();
    assert!(matches!(Ports::resolve(&unknown, &home, &Workspace::demo()), Err(Error::Usage(_))));
}
