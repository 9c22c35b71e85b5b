//! Why the local stack could not do what was asked. Every message is one sentence for the person at the terminal.

use std::path::PathBuf;

/// A failure of a command.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something is missing or in the way before anything was started; each line names its remedy.
    #[error("the stack cannot start:\n  {}", .0.join("\n  "))]
    Preflight(Vec<String>),
    /// What was asked makes no sense.
    #[error("{0}")]
    Usage(String),
    /// A folder that is none of ours.
    #[error("{} is no Helix home (it lacks {}); nothing was touched", path.display(), crate::home::MARKER)]
    NotOurs {
        /// The folder.
        path: PathBuf,
    },
    /// Nothing runs in that home.
    #[error("nothing runs in {}: start the stack with `make up`", home.display())]
    NotRunning {
        /// The home.
        home: PathBuf,
    },
    /// A file or folder cannot be used.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried, as `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The system refused something that concerns no file.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A component did not come up.
    #[error("{component} did not start: {reason}{}", tail(.log))]
    Component {
        /// Its name.
        component: String,
        /// One sentence.
        reason: String,
        /// The last lines of its log.
        log: Vec<String>,
    },
    /// A key, token or hash could not be made.
    #[error("a secret cannot be made: {0}")]
    Secret(String),
    /// The topics are not as they must be.
    #[error(transparent)]
    Topics(#[from] crate::topics::TopicError),
    /// The services' configuration does not read.
    #[error(transparent)]
    Config(#[from] helix_kit::config::ConfigError),
    /// The stack was told to stop before it was ready.
    #[error("the stack was stopped before it was ready")]
    Interrupted,
}

fn tail(log: &[String]) -> String {
    if log.is_empty() { String::new() } else { format!("\nits last log lines:\n  {}", log.join("\n  ")) }
}

impl Error {
    /// The exit code of contract.md: 1 a check failed, 2 usage, 3 a component cannot be reached.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::NotOurs { .. } => 2,
            Self::NotRunning { .. } | Self::Component { .. } | Self::Topics(_) => 3,
            Self::Preflight(_)
            | Self::File { .. }
            | Self::System { .. }
            | Self::Secret(_)
            | Self::Config(_)
            | Self::Interrupted => 1,
        }
    }

    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}
