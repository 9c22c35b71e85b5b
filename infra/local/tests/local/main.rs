//! The local stack, without the services: real processes, real ports, no waiting where an event can be awaited.

// clippy.toml allows these in tests; helpers of a test crate stand outside of its test functions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod command;
mod gateway;
mod home;
mod registry;
mod supervision;
mod topics;

use std::{path::PathBuf, process::Command};

/// A folder that is removed again, which Postgres' own user may pass.
pub(crate) fn folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// The example program, which cargo builds beside the tests.
pub(crate) fn stack_program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("examples/stack");
    assert!(program.is_file(), "build it first: cargo build -p helix-local --examples");
    program
}

/// Runs the example program to its end.
pub(crate) fn stack(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(stack_program()).args(arguments).current_dir("/").output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.success(), text)
}
