//! `clean`: stops everything and removes the home.

use std::path::Path;

use super::down;
use crate::{error::Error, home::Home};

/// Stops what runs and removes what the stack keeps in that home: only in a folder that bears our marker, and there
/// only what this crate made. Gives what was left because it is none of ours; no home is nothing to clean.
///
/// # Errors
/// [`Error::NotOurs`]; [`Error::Usage`] where another `up` took the home in the meantime.
pub fn clean(home: &Path) -> Result<Vec<String>, Error> {
    down(home)?;
    let home = Home::at(home)?;
    if !home.root().exists() {
        return Ok(Vec::new());
    }
    let _ownership =
        home.own()?.ok_or_else(|| Error::Usage("another `helix up` was faster: stop it first".to_owned()))?;
    home.remove()
}
