//! `down`: stops everything in order and keeps the data.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{error::Error, home::Home, state::StackState, supervisor};

/// The supervisor stops everything within this time, or it is killed, and its children with it.
const PATIENCE: Duration = Duration::from_secs(90);

/// Stops what runs in that home; tells whether anything did.
///
/// # Errors
/// [`Error::NotOurs`] where the folder is there and is no home.
pub fn down(home: &Path) -> Result<bool, Error> {
    let home = Home::at(home)?;
    if !home.is_ours() {
        return if home.root().exists() { Err(Error::NotOurs { path: home.root().to_path_buf() }) } else { Ok(false) };
    }
    home.create()?;
    let begun = Instant::now();
    let mut told = false;
    loop {
        if let Some(ownership) = home.own()? {
            supervisor::end_leftovers(&home, &ownership)?;
            return Ok(told);
        }
        // Right after its start a supervisor has no state yet.
        if let Some(state) = StackState::load(&home)? {
            if !told {
                state.supervisor.signal(Signal::TERM);
                told = state.supervisor.is_alive();
            }
            if begun.elapsed() > PATIENCE {
                state.supervisor.signal(Signal::KILL);
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
