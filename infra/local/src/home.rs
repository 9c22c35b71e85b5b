//! A home: the one folder that holds everything of a local stack, and the lock that gives it one supervisor.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use crate::{dev_env, error::Error, files, helix_toml, ports::Ports, secrets::Secrets, workspaces::Workspace};

/// The file that says that a folder is ours. `clean` touches no folder without it.
pub const MARKER: &str = ".helix-home";
const MARKER_TEXT: &str = "The home of a local Helix stack. `helix clean` removes what the stack keeps here.\n";

/// Everything this crate makes in a home. `clean` removes these and nothing else.
const ENTRIES: [&str; 14] = [
    "run",
    "logs",
    "secrets",
    "kafka",
    "registry",
    "postgres",
    "redis",
    "clickhouse",
    "caddy",
    "spool",
    "audit",
    "dev.env",
    "helix.toml",
    "ports.json",
];

/// Writes `dev.env` and `helix.toml` anew: where everything is, for clients and for the services.
///
/// # Errors
/// Where a file cannot be written, a token not be signed, or the services' configuration does not read.
pub fn write_files(home: &Home, ports: &Ports, secrets: &Secrets, workspaces: &[Workspace]) -> Result<(), Error> {
    dev_env::write(home, ports, secrets, workspaces)?;
    helix_toml::write(home, ports, secrets, workspaces)
}

/// A home by its absolute path. Its folders need not exist yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
}

/// The right to supervise a home, for as long as it is held.
#[derive(Debug)]
pub struct Ownership {
    _file: File,
}

impl Home {
    /// The home at `path`, relative to the working directory.
    ///
    /// # Errors
    /// Where the working directory is gone.
    pub fn at(path: &Path) -> Result<Self, Error> {
        let root = std::path::absolute(path).map_err(Error::file("find", path))?;
        Ok(Self { root: root.canonicalize().unwrap_or(root) })
    }

    /// Makes the home where it is new.
    ///
    /// # Errors
    /// Where the folder holds other people's files, or cannot be written.
    pub fn create(&self) -> Result<(), Error> {
        let marker = self.root.join(MARKER);
        if !marker.is_file() {
            if let Ok(mut entries) = fs::read_dir(&self.root)
                && entries.next().is_some()
            {
                return Err(Error::Usage(format!(
                    "{} holds other files and is no Helix home: name an empty or new folder with --home",
                    self.root.display()
                )));
            }
            // Others may pass through: Postgres runs as a user of its own where the stack is started by root.
            files::folder(&self.root, 0o755)?;
            files::write(&marker, MARKER_TEXT, files::PUBLIC)?;
        }
        for name in ["run", "logs"] {
            files::folder(&self.root.join(name), 0o755)?;
        }
        files::folder(&self.secrets(), 0o700)
    }

    /// Whether the folder bears our marker.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.root.join(MARKER).is_file()
    }

    /// Takes the lock; `None` where another process holds it.
    ///
    /// # Errors
    /// Where the lock file cannot be opened.
    pub fn own(&self) -> Result<Option<Ownership>, Error> {
        let path = self.run().join("supervisor.lock");
        let file =
            File::options().create(true).truncate(false).write(true).open(&path).map_err(Error::file("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Ownership { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(Error::file("lock", &path)(error)),
        }
    }

    /// Waits for the lock, which the supervisor gives back when it ends.
    ///
    /// # Errors
    /// Where the lock file cannot be opened.
    pub fn own_when_free(&self) -> Result<Ownership, Error> {
        let path = self.run().join("supervisor.lock");
        let file =
            File::options().create(true).truncate(false).write(true).open(&path).map_err(Error::file("open", &path))?;
        file.lock().map_err(Error::file("lock", &path))?;
        Ok(Ownership { _file: file })
    }

    /// Removes what this crate made here, and the folder itself where nothing else is in it. Gives the entries that
    /// were left because they are not ours.
    ///
    /// # Errors
    /// [`Error::NotOurs`] without the marker; [`Error::File`] where something cannot be removed.
    pub fn remove(&self) -> Result<Vec<String>, Error> {
        if !self.is_ours() {
            return Err(Error::NotOurs { path: self.root.clone() });
        }
        for name in ENTRIES {
            let path = self.root.join(name);
            // `symlink_metadata`: a link that somebody put here is removed itself, not what it points to.
            match fs::symlink_metadata(&path) {
                Ok(found) if found.is_dir() => fs::remove_dir_all(&path).map_err(Error::file("remove", &path))?,
                Ok(_) => fs::remove_file(&path).map_err(Error::file("remove", &path))?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::file("remove", &path)(error)),
            }
        }
        let marker = self.root.join(MARKER);
        fs::remove_file(&marker).map_err(Error::file("remove", &marker))?;
        let mut left = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(Error::file("read", &self.root))? {
            let entry = entry.map_err(Error::file("read", &self.root))?;
            left.push(entry.file_name().to_string_lossy().into_owned());
        }
        if left.is_empty() {
            fs::remove_dir(&self.root).map_err(Error::file("remove", &self.root))?;
        }
        Ok(left)
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Process ids and states.
    #[must_use]
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// Keys and passwords; only the owner may enter.
    #[must_use]
    pub fn secrets(&self) -> PathBuf {
        self.root.join("secrets")
    }

    /// The log of a component.
    #[must_use]
    pub fn log(&self, component: &str) -> PathBuf {
        self.root.join("logs").join(format!("{component}.log"))
    }

    /// The data folder of a component, by a path below the home.
    #[must_use]
    pub fn data(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Where clients find everything (contract.md).
    #[must_use]
    pub fn dev_env(&self) -> PathBuf {
        self.root.join("dev.env")
    }

    /// The services' configuration.
    #[must_use]
    pub fn helix_toml(&self) -> PathBuf {
        self.root.join("helix.toml")
    }
}
