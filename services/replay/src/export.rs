//! `helix replay export`: facts to a file as JSON Lines, with a manifest that says what is in it.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    ReplayError,
    filter::Filter,
    line,
    log::{FactLog, Place, Stop},
};

/// What an export holds, so that it can be checked without us.
#[derive(Debug, Clone, Serialize)]
pub struct Manifest {
    /// The file's name.
    pub file: String,
    /// Lines in it.
    pub facts: u64,
    /// Lines by kind.
    pub kinds: BTreeMap<String, u64>,
    /// Offsets that were read, from (inclusive) until (exclusive), by partition.
    pub offsets: BTreeMap<i32, (i64, i64)>,
    /// Records of these offsets that are no facts of ours, and in no line.
    pub unreadable: Vec<Place>,
    /// SHA-256 of the file, hex.
    pub sha256: String,
}

struct Hashing<W> {
    inner: W,
    hash: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Writes every fact of the log as it is now that the filter takes to `path`, and the manifest to `path.manifest.json`.
/// Sorted by partition and offset within a partition. Blocking; shows progress on a terminal.
///
/// # Errors
/// [`ReplayError::Interrupted`] after Ctrl-C: the unfinished file is removed.
pub fn export(log: &FactLog, filter: &Filter, path: &Path, stop: &Stop) -> Result<Manifest, ReplayError> {
    let fault = |source| ReplayError::File { path: path.display().to_string(), source };
    let cut = log.whole()?;
    let bar = progress_bar(cut.span(), "exporting");
    let file = File::create(path).map_err(fault)?;
    let mut out = Hashing { inner: BufWriter::with_capacity(1 << 20, file), hash: Sha256::new() };
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    let read = log.read(&cut, stop, |place, fact| {
        bar.inc(1);
        if filter.takes(&fact) {
            writeln!(out, "{}", line::to_json(place, &fact)).map_err(fault)?;
            *kinds.entry(fact.kind.as_str().to_owned()).or_default() += 1;
        }
        Ok(())
    });
    let unreadable = match read {
        Ok(unreadable) => unreadable,
        Err(error) => {
            bar.abandon();
            std::fs::remove_file(path).map_err(fault)?;
            return Err(error);
        }
    };
    out.flush().map_err(fault)?;
    out.inner.get_ref().sync_all().map_err(fault)?;
    bar.finish_and_clear();
    let manifest = Manifest {
        file: path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        facts: kinds.values().sum(),
        kinds,
        offsets: cut.0,
        unreadable,
        sha256: hex::encode(out.hash.finalize()),
    };
    let beside = path.with_file_name(format!("{}.manifest.json", manifest.file));
    let text = serde_json::to_string_pretty(&manifest).unwrap_or_default();
    std::fs::write(&beside, text + "\n")
        .map_err(|source| ReplayError::File { path: beside.display().to_string(), source })?;
    Ok(manifest)
}

/// A bar over offsets with rate and remaining time; hidden where stderr is no terminal.
pub(crate) fn progress_bar(length: u64, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {per_sec} {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(what);
    bar
}
