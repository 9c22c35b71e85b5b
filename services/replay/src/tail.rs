//! `helix replay tail`: facts as they come.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use crate::{
    ReplayError,
    filter::Filter,
    line,
    log::{FactLog, Place, Stop},
};

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// At the log's start.
    Beginning,
    /// This many offsets before the end of each partition.
    Last(i64),
}

/// Writes facts that the filter takes, one a line, until `stop`; with `follow` false until the end of the log as it was.
/// Blocking. Gives the places of records that are no facts of ours.
///
/// # Errors
/// Where the log cannot be read.
pub fn tail(
    log: &FactLog,
    filter: &Filter,
    from: From,
    follow: bool,
    json: bool,
    stop: &Stop,
    out: &mut impl Write,
) -> Result<Vec<Place>, ReplayError> {
    let mut cut = log.whole()?;
    if let From::Last(count) = from {
        for (low, high) in cut.0.values_mut() {
            *low = (*high - count).max(*low);
        }
    }
    let mut each = |place, fact| {
        if filter.takes(&fact) {
            let text = if json { line::to_json(place, &fact).to_string() } else { line::to_text(place, &fact) };
            match writeln!(out, "{text}").and_then(|()| if follow { out.flush() } else { Ok(()) }) {
                Ok(()) => {}
                // Whoever read us has enough, as `head` does.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => stop.stop(),
                Err(source) => {
                    return Err(ReplayError::File { path: "stdout".to_owned(), source });
                }
            }
        }
        Ok(())
    };
    let read = if follow {
        let from: BTreeMap<i32, i64> = cut.0.iter().map(|(id, (low, _))| (*id, *low)).collect();
        log.follow(&from, stop, &mut each)
    } else {
        log.read(&cut, stop, &mut each)
    };
    let unreadable = match read {
        Ok(unreadable) => unreadable,
        Err(ReplayError::Interrupted) => Vec::new(),
        Err(error) => return Err(error),
    };
    match out.flush() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(ReplayError::File { path: "stdout".to_owned(), source: error })
        }
        Ok(()) | Err(_) => Ok(unreadable),
    }
}
