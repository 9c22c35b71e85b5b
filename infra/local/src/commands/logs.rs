//! `logs`: the end of the components' logs, and what follows.

use std::{io::Write, path::PathBuf};

use crate::{error::Error, home::Home, log_files};

/// What to show.
#[derive(Debug, Clone)]
pub struct LogsOptions {
    /// The home.
    pub home: PathBuf,
    /// One component; all where there is none.
    pub component: Option<String>,
    /// Go on with what is appended.
    pub follow: bool,
    /// Lines of each log's end.
    pub lines: usize,
}

/// Writes the logs to `out`.
///
/// # Errors
/// [`Error::Usage`] for a component that has no log; [`Error::NotRunning`] for a home that never ran.
pub fn logs(options: &LogsOptions, out: &mut impl Write) -> Result<(), Error> {
    let home = Home::at(&options.home)?;
    let folder = home.root().join("logs");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        return Err(Error::NotRunning { home: home.root().to_path_buf() });
    };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter_map(|name| name.strip_suffix(".log").map(str::to_owned)).collect();
    names.sort();
    if let Some(component) = &options.component {
        if !names.contains(component) {
            return Err(Error::Usage(format!("{component} has no log: there are {}", names.join(", "))));
        }
        names.retain(|name| name == component);
    }
    let logs: Vec<(String, PathBuf)> = names.into_iter().map(|name| (name.clone(), home.log(&name))).collect();
    let width = if logs.len() > 1 { logs.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 2 } else { 0 };
    let written = (|| {
        for (name, path) in &logs {
            let name = if width == 0 { "" } else { name };
            for line in log_files::last_lines(path, options.lines) {
                writeln!(out, "{name:width$}{line}")?;
            }
        }
        if options.follow { log_files::follow(&logs, out) } else { out.flush() }
    })();
    match written {
        // The reader has seen enough, as `head` has.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(Error::file("read or write", folder)),
    }
}
