//! The components' logs: bounded in size, read from the end, followed.
//!
//! A child writes its own file, so that it goes on writing whatever becomes of the supervisor. The bound is kept by
//! copying a grown file to `<name>.log.1` and emptying it; lines written in the instant between are lost.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom, Write},
    path::{Path, PathBuf},
    time::Duration,
};

/// A log grows to this, and one former file of at most this size is kept.
pub(crate) const LIMIT_BYTES: u64 = 8 << 20;
/// At most this much of a log's end is read to find its last lines.
const TAIL_BYTES: u64 = 256 << 10;

/// Opens a log at its end.
pub(crate) fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Moves what stands in a log that has grown past `limit` aside.
pub(crate) fn bound(path: &Path, limit: u64) -> std::io::Result<()> {
    if std::fs::metadata(path).is_ok_and(|found| found.len() > limit) {
        std::fs::copy(path, former(path))?;
        OpenOptions::new().write(true).open(path)?.set_len(0)?;
    }
    Ok(())
}

fn former(path: &Path) -> PathBuf {
    path.with_extension("log.1")
}

/// The last `count` lines.
pub(crate) fn last_lines(path: &Path, count: usize) -> Vec<String> {
    let mut text = end_of(path);
    if text.lines().count() < count {
        text = end_of(&former(path)) + &text;
    }
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].iter().map(|line| (*line).to_owned()).collect()
}

fn end_of(path: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    // A log that is not there has no lines.
    read().unwrap_or_default()
}

/// Writes what is appended to the logs, each line after its component's name, until `out` takes no more.
pub(crate) fn follow(logs: &[(String, PathBuf)], out: &mut impl Write) -> std::io::Result<()> {
    let width = logs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut places: Vec<u64> =
        logs.iter().map(|(_, path)| std::fs::metadata(path).map_or(0, |found| found.len())).collect();
    let mut parts = vec![String::new(); logs.len()];
    loop {
        for (((name, path), place), part) in logs.iter().zip(&mut places).zip(&mut parts) {
            let Ok(mut file) = File::open(path) else { continue };
            let length = file.metadata()?.len();
            if length < *place {
                *place = 0;
            }
            file.seek(SeekFrom::Start(*place))?;
            let mut bytes = Vec::new();
            *place += file.take(TAIL_BYTES).read_to_end(&mut bytes)? as u64;
            part.push_str(&String::from_utf8_lossy(&bytes));
            while let Some(end) = part.find('\n') {
                let line: String = part.drain(..=end).collect();
                if logs.len() > 1 {
                    write!(out, "{name:width$}  ")?;
                }
                out.write_all(line.as_bytes())?;
            }
        }
        out.flush()?;
        // Files have no event that works on every file system, and a person reads this.
        std::thread::sleep(Duration::from_millis(200));
    }
}
