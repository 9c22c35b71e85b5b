//! Where the programs and libraries are that a package manager installed.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

/// Programs and libraries, as found; preflight says what is missing.
#[derive(Debug, Clone)]
pub(crate) struct Tools {
    pub(crate) java: Option<PathBuf>,
    pub(crate) kafka_jars: PathBuf,
    pub(crate) postgres: Option<PathBuf>,
    pub(crate) redis: Option<PathBuf>,
    pub(crate) caddy: Option<PathBuf>,
    pub(crate) setpriv: Option<PathBuf>,
    pub(crate) chdb: PathBuf,
    /// This very program, whose verbs the services are.
    pub(crate) helix: PathBuf,
}

impl Tools {
    /// Looks for all of them.
    pub(crate) fn find() -> std::io::Result<Self> {
        let checkout = checkout();
        Ok(Self {
            java: java(),
            kafka_jars: from_variable("HELIX_KAFKA_JARS").unwrap_or_else(|| checkout.join("infra/kafka/jars")),
            postgres: postgres(),
            redis: program("redis-server"),
            caddy: program("caddy"),
            setpriv: program("setpriv"),
            chdb: from_variable("HELIX_CHDB_LIBRARY")
                .unwrap_or_else(|| checkout.join("infra/clickhouse/node_modules/@chdb/lib-linux-x64-gnu/libchdb.so")),
            helix: std::env::current_exe()?,
        })
    }
}

fn from_variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The checkout that this program was built from, or the one that it lies in now.
fn checkout() -> PathBuf {
    let is_checkout = |folder: &Path| folder.join("infra/kafka/pom.xml").is_file();
    let built_from = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(Path::to_path_buf);
    if let Some(folder) = built_from.as_ref().filter(|folder| is_checkout(folder)) {
        return folder.clone();
    }
    let program = std::env::current_exe().unwrap_or_default();
    let around = program.ancestors().find(|folder| is_checkout(folder)).map(Path::to_path_buf);
    around.or(built_from).unwrap_or_default()
}

/// A program on the path, or where administrators' programs are.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn java() -> Option<PathBuf> {
    let own = from_variable("JAVA_HOME").map(|home| home.join("bin/java")).filter(|file| file.is_file());
    own.or_else(|| program("java"))
}

/// The major version of a Java, from the `release` file beside it, else by asking it.
pub(crate) fn java_version(java: &Path) -> Option<u32> {
    let major = |text: &str| {
        let (_, after) = text.split_once('"')?;
        let (version, _) = after.split_once('"')?;
        version.split(['.', '-', '+']).next()?.parse().ok()
    };
    let release = java.canonicalize().ok()?.ancestors().nth(2)?.join("release");
    if let Ok(text) = std::fs::read_to_string(release)
        && let Some(line) = text.lines().find(|line| line.starts_with("JAVA_VERSION="))
    {
        return major(line);
    }
    let output = std::process::Command::new(java).arg("-version").output().ok()?;
    major(&String::from_utf8_lossy(&output.stderr))
}

/// The folder of the newest Postgres' programs: Debian keeps each version's apart.
fn postgres() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok();
    let newest = versions.into_iter().flatten().flatten().filter_map(|entry| {
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        let programs = entry.path().join("bin");
        programs.join("initdb").is_file().then_some((version, programs))
    });
    newest.max().map(|(_, programs)| programs).or_else(|| program("initdb")?.parent().map(Path::to_path_buf))
}
