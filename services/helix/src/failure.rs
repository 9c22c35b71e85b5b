//! What a verb failed of, with its exit code.

use std::{error::Error, fmt, process::ExitCode};

/// A sentence for the person at the terminal, and the exit code of the contract.
#[derive(Debug)]
pub(crate) struct Failure {
    sentence: String,
    code: u8,
}

impl Failure {
    /// 1: a check failed, or the work could not be done.
    pub(crate) fn check(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), code: 1 }
    }

    /// 2: asked for something that makes no sense.
    pub(crate) fn usage(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), code: 2 }
    }

    /// 3: a component cannot be reached. The whole chain of causes is told.
    pub(crate) fn unreachable(component: &str, error: &dyn Error) -> Self {
        Self { sentence: format!("{component} cannot be reached: {}", chain(error)), code: 3 }
    }

    /// Any error, under a given code.
    pub(crate) fn of(code: u8, error: &dyn Error) -> Self {
        Self { sentence: chain(error), code }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

/// An error with all its causes, each once.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

impl From<helix_kit::config::ConfigError> for Failure {
    fn from(error: helix_kit::config::ConfigError) -> Self {
        Self::of(2, &error)
    }
}

impl From<helix_replay::ReplayError> for Failure {
    fn from(error: helix_replay::ReplayError) -> Self {
        Self::of(error.exit_code(), &error)
    }
}

impl From<helix_kit::http::BindError> for Failure {
    fn from(error: helix_kit::http::BindError) -> Self {
        Self::of(1, &error)
    }
}
